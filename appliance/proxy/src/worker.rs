//! One thread of the data plane: its listeners, its connections, its pool.

use crate::client::{self, Slot};
use crate::config::{Config, Frontend};
use crate::listen::{Listening, Place};
use crate::pool::Pool;
use crate::shared::Shared;
use crate::splice::Pipes;
use crate::spread::Guest;
use crate::stream::Stream;
use crate::timers::Timers;
use crate::udp;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{SocketAddr, SocketAddrV4};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinSet, LocalSet};

/// What a read takes at most. One buffer for all connections of the thread.
const SCRATCH: usize = 128 * 1024;
/// How finely deadlines are kept.
const TICK_MS: u64 = 100;
const TICK: Duration = Duration::from_millis(TICK_MS);
/// How often an idle thread shows that it is alive.
const IDLE_TICK: Duration = Duration::from_millis(500);
/// Buffers kept for the next request, and the largest of them.
const BUFFERS: usize = 64;
const BUFFER_LIMIT: usize = 32 * 1024;
/// How large a new one is: most heads fit.
const NEW_BUFFER: usize = 1024;
/// A closing listener takes what finishes its handshake within this time: a visitor on a slow line
/// needs that long. Whoever begins one meanwhile tries again after a second (RFC 6298 2.1), when it
/// is gone.
const LAST_HANDSHAKES: Duration = Duration::from_millis(750);

/// What the manager tells a worker.
#[derive(Debug)]
pub(crate) enum Order {
    /// Take visitors from this socket.
    Open(Place, Listening),
    /// Accept what waits, then close.
    Close(Place),
    /// Serve this visitor.
    Take(Guest),
    /// End.
    Stop,
}

/// A thread's state; never leaves the thread.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    /// Its number.
    pub(crate) index: usize,
    config: RefCell<Arc<Config>>,
    generation: Cell<u64>,
    pub(crate) scratch: RefCell<Box<[u8]>>,
    buffers: RefCell<Vec<Vec<u8>>>,
    /// What HTTP/2 gathers a TLS record in. Not one of the buffers: they are held for as long as
    /// requests take, and must not all become as large.
    pub(crate) record: RefCell<Vec<u8>>,
    pub(crate) pool: Pool,
    pub(crate) pipes: Pipes,
    pub(crate) timers: Timers,
    /// Content that servers have sent and visitors with HTTP/2 have not been sent.
    pub(crate) waiting: Cell<usize>,
    busy: Notify,
    /// Visitors it has let in within one tick, and which.
    arrivals: Cell<(u64, usize)>,
}

impl Worker {
    /// The settings of this moment.
    pub(crate) fn config(&self) -> Arc<Config> {
        let generation = self.shared.generation.load(Acquire);
        if generation != self.generation.get() {
            *self.config.borrow_mut() = self.shared.config();
            self.generation.set(generation);
        }
        Arc::clone(&self.config.borrow())
    }

    /// Changes whenever [`Self::config`] may return something else.
    pub(crate) fn generation(&self) -> u64 {
        self.shared.generation.load(Acquire)
    }

    /// Milliseconds of the process.
    pub(crate) fn now(&self) -> u64 {
        self.shared.now_ms()
    }

    /// An empty buffer.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        self.buffers.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(NEW_BUFFER))
    }

    /// Takes a buffer back.
    pub(crate) fn recycle(&self, mut buffer: Vec<u8>) {
        let mut all = self.buffers.borrow_mut();
        if all.len() < BUFFERS && (1..=BUFFER_LIMIT).contains(&buffer.capacity()) {
            buffer.clear();
            all.push(buffer);
        }
    }

    /// How many visitors this thread has let in during this tick, with the one that comes now.
    fn count_arrival(&self) -> usize {
        let tick = self.now() / TICK_MS;
        let (before, count) = self.arrivals.get();
        let count = if before == tick { count + 1 } else { 1 };
        self.arrivals.set((tick, count));
        count
    }

    /// Says that there is a deadline to watch.
    pub(crate) fn watch_timers(&self) {
        self.busy.notify_one();
    }
}

/// Runs a worker on the current thread until it is told to stop.
pub(crate) fn run(
    shared: Arc<Shared>,
    index: usize,
    orders: mpsc::UnboundedReceiver<Order>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    let worker = Rc::new(Worker {
        index,
        config: RefCell::new(shared.config()),
        generation: Cell::new(shared.generation.load(Acquire)),
        scratch: RefCell::new(vec![0; SCRATCH].into_boxed_slice()),
        buffers: RefCell::default(),
        record: RefCell::default(),
        pool: Pool::new(shared.maxconn() / u64::try_from(shared.threads()).unwrap_or(1).max(1)),
        pipes: Pipes::default(),
        timers: Timers::default(),
        waiting: Cell::new(0),
        busy: Notify::new(),
        arrivals: Cell::default(),
        shared,
    });
    local.block_on(&runtime, obey(worker, index, orders));
    Ok(())
}

async fn obey(worker: Rc<Worker>, index: usize, mut orders: mpsc::UnboundedReceiver<Order>) {
    let mut tasks = JoinSet::new();
    tasks.spawn_local(tick(Rc::clone(&worker), index));
    let mut listeners: HashMap<Place, Rc<Notify>> = HashMap::new();
    loop {
        let order = tokio::select! {
            order = orders.recv() => order,
            Some(ended) = tasks.join_next() => {
                if ended.is_err() {
                    // Without clockwork or listener the thread is no use; the manager replaces
                    // it. A fault in a connection's task ends that connection only.
                    return;
                }
                continue;
            }
        };
        match order {
            Some(Order::Open(place, socket)) => {
                let close = Rc::new(Notify::new());
                match open(&mut tasks, &worker, place.address, socket, &close) {
                    Ok(()) => {
                        listeners.insert(place, close);
                    }
                    Err(error) => tracing::error!("cannot take visitors at {place}: {error}"),
                }
            }
            Some(Order::Close(place)) => {
                if let Some(close) = listeners.remove(&place) {
                    close.notify_one();
                }
            }
            Some(Order::Take(guest)) => welcome(&worker, guest),
            Some(Order::Stop) | None => return,
        }
    }
}

/// Has a task take visitors from a socket.
fn open(
    tasks: &mut JoinSet<()>,
    worker: &Rc<Worker>,
    address: SocketAddrV4,
    socket: Listening,
    close: &Rc<Notify>,
) -> std::io::Result<()> {
    let counted = Counted::new(&worker.shared);
    let (worker, close) = (Rc::clone(worker), Rc::clone(close));
    match socket {
        Listening::Tcp(socket) => {
            let listener = TcpListener::from_std(socket)?;
            tasks.spawn_local(accept(worker, listener, address, close, counted));
        }
        Listening::Udp(socket) => {
            let socket = UdpSocket::from_std(socket)?;
            tasks.spawn_local(udp::serve(worker, socket, address, close, counted));
        }
    }
    Ok(())
}

/// The thread's clockwork: deadlines, pool, heartbeat.
async fn tick(worker: Rc<Worker>, index: usize) {
    let mut health_seen = worker.shared.health_epoch.load(Relaxed);
    let mut purged = 0;
    loop {
        let now = worker.now();
        worker.shared.beat(index, now);
        let epoch = worker.shared.health_epoch.load(Acquire);
        if epoch == health_seen {
            worker.timers.tick(now);
        } else {
            // A server went down or the settings changed: everybody who waits looks again.
            health_seen = epoch;
            worker.timers.wake_all();
            worker.pool.purge(now);
        }
        if now >= purged + 1000 {
            purged = now;
            worker.pool.purge(now);
        }
        if worker.timers.is_empty() && worker.pool.is_empty() {
            tokio::select! {
                () = tokio::time::sleep(IDLE_TICK) => {}
                () = worker.busy.notified() => {}
            }
        }
        tokio::time::sleep(TICK).await;
    }
}

/// Accepts connections until told to close, and then those that are already on their way.
async fn accept(
    worker: Rc<Worker>,
    listener: TcpListener,
    address: SocketAddrV4,
    close: Rc<Notify>,
    _counted: Counted,
) {
    let mut frontend: Option<Arc<Frontend>> = worker.config().at(&address).cloned();
    let mut generation = worker.generation();
    let closing = close.notified();
    tokio::pin!(closing);
    loop {
        if generation != worker.generation() {
            generation = worker.generation();
            // While the last connections of a removed frontend come in, it stays what it was.
            frontend = worker.config().at(&address).cloned().or(frontend);
        }
        let Some(at) = &frontend else { return };
        if at.live.traffic.current.now() >= u64::from(at.settings.maxconn) {
            let room = at.live.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if at.live.traffic.current.now() >= u64::from(at.settings.maxconn) {
                tokio::select! {
                    () = room => {}
                    () = &mut closing => break,
                    // The limit itself may have been raised.
                    () = tokio::time::sleep(IDLE_TICK) => {}
                }
                continue;
            }
        }
        let shared = &worker.shared;
        if shared.connections.now() >= shared.maxconn() {
            tokio::select! {
                () = shared.room.notified() => {}
                () = &mut closing => break,
                // One may have ended just before.
                () = tokio::time::sleep(TICK) => {}
            }
            continue;
        }
        tokio::select! {
            biased;
            accepted = listener.accept() => match accepted {
                Ok((stream, SocketAddr::V4(peer))) => {
                    // The last place may have been taken while nobody came here.
                    let closed = tokio::select! {
                        biased;
                        () = place(shared, at) => false,
                        () = &mut closing => true,
                    };
                    seat(&worker, stream, peer, address, at, generation);
                    if closed {
                        break;
                    }
                }
                Ok(_) => {}
                Err(error) => pause(&worker, &error).await,
            },
            () = &mut closing => break,
        }
    }
    if let Some(frontend) = frontend {
        last_connections(&worker, &listener, address, &frontend, generation).await;
    }
}

/// Has the thread serve a visitor that has the least to do: this one, or another where the
/// difference is worth it.
fn seat(
    worker: &Rc<Worker>,
    stream: TcpStream,
    peer: SocketAddrV4,
    local: SocketAddrV4,
    frontend: &Arc<Frontend>,
    generation: u64,
) {
    let shared = &worker.shared;
    let other = shared.spread.lighter(worker.index, worker.count_arrival());
    let slot = Slot::new(frontend, shared, Some(other.unwrap_or(worker.index)));
    let Some(other) = other else {
        return client::spawn(worker, Stream::Plain(stream), peer, local, slot, generation);
    };
    let back = match stream.into_std() {
        Ok(stream) => {
            shared.spread.hand_over(other, Guest { stream, peer, local, slot, generation })
        }
        Err(error) => {
            tracing::debug!("the connection of {peer} cannot be handed over: {error}");
            None
        }
    };
    if let Some(mut guest) = back {
        guest.slot.change_to(worker.index);
        welcome(worker, guest);
    }
}

/// Serves a visitor that another thread has let in.
fn welcome(worker: &Rc<Worker>, guest: Guest) {
    let Guest { stream, peer, local, slot, generation } = guest;
    match TcpStream::from_std(stream) {
        Ok(stream) => {
            client::spawn(worker, Stream::Plain(stream), peer, local, slot, generation);
        }
        Err(error) => tracing::debug!("the connection of {peer} cannot be taken over: {error}"),
    }
}

/// Waits until another connection may be served.
async fn place(shared: &Shared, at: &Frontend) {
    let is_full = || {
        at.live.traffic.current.now() >= u64::from(at.settings.maxconn)
            || shared.connections.now() >= shared.maxconn()
    };
    while is_full() {
        tokio::select! {
            () = at.live.room.notified() => {}
            () = shared.room.notified() => {}
            // One may have ended just before.
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// Counts an open listener for as long as it is one.
pub(crate) struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.listeners.fetch_add(1, AcqRel);
        Self(Arc::clone(shared))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.listeners.fetch_sub(1, AcqRel);
    }
}

/// Closing a listener resets what waits in its queue. So new handshakes are kept out first, those
/// under way get time to finish, and what is in the queue is accepted.
async fn last_connections(
    worker: &Rc<Worker>,
    listener: &TcpListener,
    address: SocketAddrV4,
    frontend: &Arc<Frontend>,
    generation: u64,
) {
    if let Err(error) = crate::listen::refuse_new(listener) {
        tracing::debug!("new connections to {address} cannot be kept out: {error}");
    }
    let end = tokio::time::Instant::now() + LAST_HANDSHAKES;
    while let Ok(Ok((stream, peer))) = tokio::time::timeout_at(end, listener.accept()).await {
        if let SocketAddr::V4(peer) = peer {
            seat(worker, stream, peer, address, frontend, generation);
        }
    }
}

/// Waits after a failed accept. Most failures concern that one connection; without descriptors
/// or memory (EMFILE, ENFILE, ENOBUFS, ENOMEM) trying again at once would only spin.
async fn pause(worker: &Worker, error: &std::io::Error) {
    let short = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    if error.raw_os_error().is_some_and(|code| short.contains(&code)) {
        worker.shared.accept_errors.up();
        tokio::time::sleep(TICK).await;
    }
}
