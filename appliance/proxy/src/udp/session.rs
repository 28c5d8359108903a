//! One visitor: a socket of his own to his server, and what he has asked.
//!
//! The listener's task hands his datagrams over ([`Session::ask`]); a task of his own passes the
//! answers on, and ends him when nothing more is to be expected.

use super::Listener;
use super::choose::{Busy, NoSeat, Seat, choose};
use super::socket;
use super::tally::Tally;
use crate::client::Slot;
use crate::config::{Backend, Frontend};
use crate::live::ServerLive;
use crate::log::{self, TcpLine, Termination, Way};
use crate::persist::takes_its_own;
use crate::shared::Shared;
use crate::timers::Timer;
use model::Name;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Poll, Waker};
use tokio::net::UdpSocket;

/// A visitor.
#[derive(Debug)]
pub(super) struct Session {
    id: u64,
    listener: Rc<Listener>,
    source: SocketAddrV4,
    /// Which of our addresses he asks; the answers leave from there.
    local: Ipv4Addr,
    state: RefCell<State>,
}

/// His server.
#[derive(Debug)]
struct Link {
    seat: Seat,
    socket: Rc<UdpSocket>,
    address: SocketAddrV4,
    /// The server's [`crate::standing::Standing::ended`] when he came.
    ended: u64,
}

impl Link {
    fn live(&self) -> &Arc<ServerLive> {
        &self.seat.server().live
    }

    fn is_broken_off(&self) -> bool {
        self.live().standing.ended() != self.ended
    }

    /// May his next datagram go there?
    fn is_usable(&self) -> bool {
        takes_its_own(self.seat.server())
            // Its visitors may still look at the settings of before.
            && !self.live().retired.load(Relaxed)
            && !self.is_broken_off()
            && self.live().standing.address() == Some(self.address)
    }
}

#[derive(Debug)]
pub(super) struct State {
    frontend: Arc<Frontend>,
    backend: Arc<Backend>,
    tally: Tally,
    link: Option<Link>,
    /// The last server there was.
    server: Option<(Name, Arc<ServerLive>)>,
    waker: Option<Waker>,
    end: Option<Termination>,
    /// His places among the frontend's `maxconn` and at the backend.
    places: Option<(Slot, Busy)>,
    began: u64,
    wall_ms: u64,
    way: Way,
    bytes: u64,
}

/// What a visitor's task does next.
enum Step {
    /// He is gone.
    End(Termination),
    /// Others have their turn.
    Yield,
    /// Waits for an answer, or just waits.
    Wait(Option<Rc<UdpSocket>>),
}

/// Answers passed on before others have their turn.
const BATCH: usize = 64;

/// Does this only mean that one datagram is lost?
fn is_harmless(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
        || error.raw_os_error() == Some(libc::EMSGSIZE)
}

fn bytes(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

impl State {
    fn new(shared: &Arc<Shared>, frontend: &Arc<Frontend>, backend: &Arc<Backend>) -> Self {
        let now = shared.now_ms();
        Self {
            frontend: Arc::clone(frontend),
            backend: Arc::clone(backend),
            tally: Tally::new(backend.settings.udp_responses, now),
            link: None,
            server: None,
            waker: None,
            end: None,
            places: Some((Slot::new(frontend, shared, None), Busy::new(backend))),
            began: now,
            wall_ms: Shared::wall_ms(),
            way: Way::default(),
            bytes: 0,
        }
    }

    /// Finds a server and opens a socket to it. `failed` has just let him down.
    fn connect(
        &mut self,
        source: Ipv4Addr,
        failed: Option<&Arc<ServerLive>>,
        now: u64,
    ) -> Result<(), Termination> {
        self.link = None;
        let mut avoid = failed
            .and_then(|live| self.backend.servers.iter().position(|s| Arc::ptr_eq(&s.live, live)));
        for _ in 0..self.backend.servers.len().max(1) {
            let seat = match choose(&self.backend, source, avoid, now) {
                Ok(seat) => seat,
                Err(NoSeat::Full) => {
                    self.frontend.live.dreq.up();
                    return Err(Termination::NO_ROOM);
                }
                Err(NoSeat::NoServer) => break,
            };
            let server = seat.server();
            let Some(address) = server.live.standing.address() else { break };
            server.live.connects.up();
            server.live.last_request.set(now);
            match socket::to_server(address) {
                Ok(socket) => {
                    if let Some((_, old)) = &self.server {
                        if !Arc::ptr_eq(old, &server.live) {
                            old.redispatches.up();
                            self.way.redispatched = true;
                        }
                    }
                    self.server = Some((server.name.clone(), Arc::clone(&server.live)));
                    let ended = server.live.standing.ended();
                    let socket = Rc::new(socket);
                    self.link = Some(Link { seat, socket, address, ended });
                    return Ok(());
                }
                Err(_) => {
                    server.live.econ.up();
                    let live = &server.live;
                    avoid = self.backend.servers.iter().position(|s| Arc::ptr_eq(&s.live, live));
                }
            }
        }
        self.backend.live.econ.up();
        Err(Termination::NO_SERVER)
    }

    /// The server cannot be used: what it has not answered is sent to another one, where the
    /// settings allow that.
    fn recover(&mut self, source: Ipv4Addr, now: u64) -> Result<(), Termination> {
        while let Some(link) = self.link.take() {
            if !self.tally.has_unanswered() {
                // The next question finds another one.
                return Ok(());
            }
            let settings = &self.backend.settings;
            if !settings.redispatch || self.tally.again >= u32::from(settings.retries) {
                self.backend.live.econ.up();
                return Err(Termination::NO_SERVER);
            }
            let failed = Arc::clone(link.live());
            drop(link);
            failed.retries.up();
            self.way.retries += 1;
            self.connect(source, Some(&failed), now)?;
            let unanswered = self.tally.take_unanswered(now);
            let Some(link) = &self.link else { continue };
            let refused = unanswered.iter().any(|data| {
                socket::ask(&link.socket, data).is_err_and(|error| !is_harmless(&error))
            });
            if !refused {
                return Ok(());
            }
            link.live().econ.up();
        }
        Ok(())
    }

    fn finish(&mut self, how: Termination) {
        self.end.get_or_insert(how);
        (self.link, self.places) = (None, None);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn count_in(&self, n: usize) {
        self.frontend.live.traffic.bytes_in.add(bytes(n));
        self.backend.live.traffic.bytes_in.add(bytes(n));
        if let Some(link) = &self.link {
            link.live().traffic.bytes_in.add(bytes(n));
        }
    }

    fn write_log(&self, shared: &Shared, source: SocketAddrV4, how: Termination) {
        if !self.frontend.settings.httplog {
            return;
        }
        let mut line = Vec::with_capacity(160);
        log::write_tcp(
            &mut line,
            &TcpLine {
                client: source,
                accepted_ms: self.wall_ms,
                frontend: self.frontend.settings.name.as_str(),
                tls: false,
                backend: self.backend.settings.name.as_str(),
                server: self.server.as_ref().map_or("<NOSRV>", |(name, _)| name.as_str()),
                total: shared.now_ms().saturating_sub(self.began),
                bytes: self.bytes,
                termination: how,
                counts: [
                    shared.connections.now(),
                    self.frontend.live.traffic.current.now(),
                    self.backend.live.traffic.current.now(),
                    self.server.as_ref().map_or(0, |(_, live)| live.traffic.current.now()),
                ],
                way: Way {
                    queue: self.server.as_ref().map(|_| 0),
                    connect: self.server.as_ref().map(|_| 0),
                    ..self.way
                },
            },
        );
        shared.access.push(&line);
    }
}

/// A datagram of a visitor who is not known, or not any more.
pub(super) fn begin(
    listener: &Rc<Listener>,
    frontend: &Arc<Frontend>,
    (source, local): (SocketAddrV4, Ipv4Addr),
    data: &[u8],
) {
    let shared = &listener.worker.shared;
    let Some(backend) = &frontend.backend else { return };
    let mut state = State::new(shared, frontend, backend);
    if let Err(how) = state.connect(*source.ip(), None, shared.now_ms()) {
        state.count_in(data.len());
        state.write_log(shared, source, how);
        return;
    }
    let was_idle = listener.worker.timers.is_empty();
    let timer = listener.worker.timers.timer();
    let session = listener.table.borrow_mut().put((source, local), |id| {
        let (listener, state) = (Rc::clone(listener), RefCell::new(state));
        Rc::new(Session { id, listener, source, local, state })
    });
    session.ask(frontend, data);
    if was_idle {
        listener.worker.watch_timers();
    }
    tokio::task::spawn_local(run(session, timer));
}

/// Whatever happens, nobody is remembered whose task has ended.
struct Leaving(Rc<Session>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.listener.table.borrow_mut().remove(self.0.id);
    }
}

async fn run(session: Rc<Session>, timer: Timer) {
    let leaving = Leaving(Rc::clone(&session));
    let how = loop {
        let socket = match session.step(&timer) {
            Step::End(how) => break how,
            Step::Yield => {
                tokio::task::yield_now().await;
                continue;
            }
            Step::Wait(socket) => socket,
        };
        let answered = async {
            match &socket {
                Some(socket) => socket::answered(socket).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = answered => {}
            () = session.woken(&timer) => {}
        }
    };
    drop(leaving);
    let shared = &session.listener.worker.shared;
    let state = session.state.borrow();
    if let Some((_, live)) = &state.server {
        live.total_time.add(shared.now_ms().saturating_sub(state.began));
    }
    state.write_log(shared, session.source, how);
}

impl Session {
    /// Takes a datagram of his; false where it begins something new: he is about to be forgotten,
    /// or the settings lead him elsewhere.
    pub(super) fn ask(&self, frontend: &Arc<Frontend>, data: &[u8]) -> bool {
        let now = self.listener.worker.now();
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        let most = u64::from(state.backend.settings.udp_requests);
        if state.end.is_some() || (most > 0 && state.tally.questions >= most) {
            return false;
        }
        if !Arc::ptr_eq(frontend, &state.frontend) {
            let Some(backend) = &frontend.backend else { return false };
            let same = backend.settings.name == state.backend.settings.name
                && frontend.settings.name == state.frontend.settings.name;
            if !same {
                return false;
            }
            (state.frontend, state.backend) = (Arc::clone(frontend), Arc::clone(backend));
        }
        let source = *self.source.ip();
        let mut done = Ok(());
        if !state.link.as_ref().is_some_and(Link::is_usable) {
            done = state.connect(source, None, now);
        }
        state.count_in(data.len());
        let keep = state.backend.settings.redispatch;
        state.tally.ask(data, keep, now);
        if let (Ok(()), Some(link)) = (done, &state.link) {
            let sent = socket::ask(&link.socket, data);
            if sent.is_err_and(|error| !is_harmless(&error)) {
                link.live().econ.up();
                done = state.recover(source, now);
            }
        }
        match done {
            Err(how) => state.finish(how),
            // Another socket may be there, which the task does not know yet.
            Ok(()) => {
                if let Some(waker) = state.waker.take() {
                    waker.wake();
                }
            }
        }
        let rank = state.tally.rank();
        drop(guard);
        self.listener.table.borrow_mut().touch(self.id, rank);
        true
    }

    /// Forgets him because others need the room.
    pub(super) fn make_room(&self) {
        let mut state = self.state.borrow_mut();
        if state.tally.owes() {
            state.frontend.live.ereq.up();
        }
        state.finish(Termination::NO_ROOM_DATA);
        drop(state);
        self.listener.table.borrow_mut().remove(self.id);
    }

    /// For how many milliseconds nothing was heard of him.
    pub(super) fn silence(&self) -> u64 {
        self.listener.worker.now().saturating_sub(self.state.borrow().tally.moved_ms())
    }

    /// Does what there is to do now.
    fn step(&self, timer: &Timer) -> Step {
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        let worker = &self.listener.worker;
        let now = worker.now();
        let mut answers = 0;
        loop {
            if let Some(how) = state.end {
                return Step::End(how);
            }
            let Some(link) = &state.link else { break };
            if !link.live().is_up() && state.tally.has_unanswered() {
                if let Err(how) = state.recover(*self.source.ip(), now) {
                    state.finish(how);
                }
            } else if link.is_broken_off() {
                link.live().server_aborts.up();
                state.finish(Termination::KILLED_DATA);
            } else if answers == BATCH {
                return Step::Yield;
            } else {
                answers += 1;
                match self.pass_on(state, now) {
                    Ok(()) => {}
                    Err(error) if is_harmless(&error) => break,
                    Err(_) => {
                        state.link.iter().for_each(|l| l.live().econ.up());
                        if let Err(how) = state.recover(*self.source.ip(), now) {
                            state.finish(how);
                        }
                    }
                }
            }
        }
        let client = u64::from(state.frontend.settings.timeout_client.0);
        let server = u64::from(state.backend.settings.timeout_server.0);
        let ending = worker.shared.draining.load(Relaxed);
        let deadline = state.tally.deadline(client, server, ending);
        if now < deadline {
            timer.set(Some(deadline));
            return Step::Wait(state.link.as_ref().map(|l| Rc::clone(&l.socket)));
        }
        if !state.tally.is_let_down() {
            state.finish(Termination::NORMAL);
            return Step::End(Termination::NORMAL);
        }
        if let Some((_, live)) = &state.server {
            live.eresp.up();
        }
        state.finish(Termination::SERVER_DATA_SLOW);
        Step::End(Termination::SERVER_DATA_SLOW)
    }

    /// Ready when his time is over, or something has happened that he must look at.
    async fn woken(&self, timer: &Timer) {
        let mut asleep = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut asleep, true) {
                return Poll::Ready(());
            }
            self.state.borrow_mut().waker = Some(cx.waker().clone());
            timer.poll(cx, self.listener.worker.now())
        })
        .await;
    }

    /// Passes one answer on.
    fn pass_on(&self, state: &mut State, now: u64) -> io::Result<()> {
        let Some(link) = &state.link else { return Ok(()) };
        let listener = &self.listener;
        let mut scratch = listener.worker.scratch.borrow_mut();
        let n = socket::answer(&link.socket, &mut scratch)?;
        // What cannot be sent now is lost, as on any way of a datagram.
        let _ = socket::send(&listener.socket, &scratch[..n], self.source, self.local);
        drop(scratch);
        let live = link.live();
        for traffic in [&state.frontend.live.traffic, &state.backend.live.traffic, &live.traffic] {
            traffic.bytes_out.add(bytes(n));
        }
        state.bytes += bytes(n);
        if let Some(waited) = state.tally.answer(now) {
            live.response_time.add(waited);
        }
        listener.table.borrow_mut().touch(self.id, state.tally.rank());
        Ok(())
    }
}
