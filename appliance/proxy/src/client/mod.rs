//! One visitor's connection: reads request heads, hands each to [`exchange`], and goes on or
//! closes. Holds no buffer while idle.

mod arrive;
mod reply;
mod wait;

use crate::config::Frontend;
use crate::exchange::{self, After};
use crate::http2;
use crate::log::Termination;
use crate::message::Parsed;
use crate::proxy_protocol;
use crate::request::{self, Origin, Refused, Request};
use crate::rules::Facts;
use crate::shared::Shared;
use crate::stream::Stream;
use crate::tcp;
use crate::timers::Timer;
use crate::track::{Counts, Tracked};
use crate::worker::Worker;
use model::Mode;
use std::future::poll_fn;
use std::net::SocketAddrV4;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// While we stop, a visitor who has just agreed on TLS gets so long to ask for something.
const LAST_REQUEST_MS: u64 = 1000;

/// A visitor's connection.
pub(crate) struct Client {
    pub(crate) worker: Rc<Worker>,
    pub(crate) io: Stream,
    pub(crate) peer: SocketAddrV4,
    local: SocketAddrV4,
    /// There is TLS between us.
    pub(crate) tls: bool,
    /// Where the visitor connected to, if a proxy in front of us told.
    told: Option<SocketAddrV4>,
    pub(crate) timer: Timer,
    pub(crate) frontend: Arc<Frontend>,
    generation: u64,
    /// Bytes read and not yet used.
    pub(crate) pending: Vec<u8>,
    /// The frontend is gone from the settings: this is the last request.
    pub(crate) closing: bool,
    first: bool,
    /// When the request's first byte came.
    began: Option<u64>,
    /// Rules count the visitor.
    pub(crate) tracked: Option<Rc<Tracked>>,
    /// Streams share that of their connection.
    _slot: Option<Slot>,
}

/// A request on its way.
pub(crate) struct Ticket {
    pub(crate) request: Request,
    /// What is sent to the server.
    pub(crate) head: Vec<u8>,
    /// The request line, for the log.
    pub(crate) line: Vec<u8>,
    /// How long its head was.
    pub(crate) bytes: usize,
    pub(crate) began: u64,
    pub(crate) received: u64,
    pub(crate) wall_ms: u64,
    /// `X-Forwarded-For` is still to be added: rules must not see it.
    pub(crate) owes_forwarded: bool,
    /// It is sent once at most, because a rule says so.
    pub(crate) once: bool,
    /// How much of its content has gone to a server that did not answer it.
    pub(crate) resent: u64,
}

enum Next {
    Request(Box<Ticket>),
    Refused(Refused, Vec<u8>),
    /// It took too long for its head.
    Slow,
    /// It went away in the middle of a head.
    Broken,
    /// It went away or stayed silent between requests.
    Idle,
    /// It never asked for anything: it went away, or else was silent for too long.
    Nothing {
        gone: bool,
    },
}

/// A place among the frontend's `maxconn`.
#[derive(Debug)]
pub(crate) struct Slot {
    frontend: Arc<Frontend>,
    shared: Arc<Shared>,
    /// The thread that has a connection to serve with it.
    thread: Option<usize>,
}

impl Slot {
    pub(crate) fn new(
        frontend: &Arc<Frontend>,
        shared: &Arc<Shared>,
        thread: Option<usize>,
    ) -> Self {
        thread.into_iter().for_each(|thread| shared.spread.enter(thread));
        shared.connections.enter();
        frontend.live.traffic.current.enter();
        frontend.live.traffic.total.up();
        Self { frontend: Arc::clone(frontend), shared: Arc::clone(shared), thread }
    }

    /// Another thread serves it.
    pub(crate) fn change_to(&mut self, thread: usize) {
        self.shared.spread.enter(thread);
        let before = self.thread.replace(thread);
        before.into_iter().for_each(|thread| self.shared.spread.leave(thread));
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.thread.into_iter().for_each(|thread| self.shared.spread.leave(thread));
        if self.shared.connections.now() >= self.shared.maxconn() {
            self.shared.room.notify_waiters();
        }
        self.shared.connections.leave();
        let live = &self.frontend.live;
        if std::thread::panicking() {
            live.faults.internal.up();
        }
        let before = live.traffic.current.now();
        live.traffic.current.leave();
        if before >= u64::from(self.frontend.settings.maxconn) {
            live.room.notify_waiters();
        }
    }
}

/// Serves a new connection; `generation` is that of the settings its frontend is from.
pub(crate) fn spawn(
    worker: &Rc<Worker>,
    io: Stream,
    peer: SocketAddrV4,
    local: SocketAddrV4,
    slot: Slot,
    generation: u64,
) {
    let was_idle = worker.timers.is_empty();
    let client = Client {
        worker: Rc::clone(worker),
        io,
        peer,
        local,
        tls: false,
        told: None,
        timer: worker.timers.timer(),
        frontend: Arc::clone(&slot.frontend),
        generation,
        pending: Vec::new(),
        closing: false,
        first: true,
        began: None,
        tracked: None,
        _slot: Some(slot),
    };
    if was_idle {
        worker.watch_timers();
    }
    tokio::task::spawn_local(client.serve());
}

impl Client {
    async fn serve(mut self) {
        self.refresh();
        if !self.is_let_in() {
            self.frontend.live.dcon.up();
            return;
        }
        if self.frontend.settings.accept_proxy && !Box::pin(self.be_introduced()).await {
            self.frontend.live.ereq.up();
            return;
        }
        if self.frontend.ssl.contains(&self.local) && !Box::pin(self.shake_hands()).await {
            self.frontend.live.ereq.up();
            return;
        }
        if let Stream::Tls(io) = &self.io {
            if io.get_ref().1.alpn_protocol() == Some(b"h2") {
                return Box::pin(self.speak_http2()).await;
            }
        }
        if self.frontend.settings.mode == Mode::Tcp {
            return Box::pin(tcp::run(&mut self)).await;
        }
        let mut waiting_since = self.worker.now();
        loop {
            let after = match poll_fn(|cx| self.poll_head(cx, waiting_since)).await {
                Next::Request(ticket) => {
                    self.first = false;
                    // In a box, so that an idle connection does not carry its size.
                    Box::pin(exchange::run(&mut self, *ticket)).await
                }
                Next::Refused(refused, line) => {
                    self.refuse(refused.status(), Termination::REFUSED, &line).await
                }
                Next::Slow => self.refuse(408, Termination::CLIENT_SLOW, b"").await,
                Next::Broken => self.refuse(400, Termination::CLIENT_REQUEST, b"").await,
                Next::Nothing { gone } => self.refuse_nothing(gone).await,
                Next::Idle => After::Close,
            };
            self.began = None;
            match after {
                After::KeepAlive if self.may_stay() => {}
                After::KeepAlive | After::Close => return self.bid_farewell().await,
                After::Cut => return,
                After::Linger => return self.linger().await,
            }
            waiting_since = self.worker.now();
        }
    }

    /// What the frontend's table knows of the visitor.
    pub(crate) fn counts(&self) -> Counts {
        let table = self.frontend.settings.stick_table.as_ref();
        let visitors = &self.frontend.live.visitors;
        let of = |table| visitors.counts(table, *self.peer.ip(), self.worker.now());
        table.map_or(Counts::NONE, of)
    }

    async fn speak_http2(mut self) {
        if let Stream::Tls(io) = std::mem::replace(&mut self.io, Stream::Closed) {
            http2::run(self, io).await;
        }
    }

    /// A client for one stream of this connection.
    pub(crate) fn stream(&self, io: Stream) -> Self {
        Self {
            worker: Rc::clone(&self.worker),
            io,
            peer: self.peer,
            local: self.local,
            tls: self.tls,
            told: self.told,
            timer: self.worker.timers.timer(),
            frontend: Arc::clone(&self.frontend),
            generation: self.generation,
            pending: Vec::new(),
            closing: self.closing,
            first: false,
            began: None,
            tracked: self.tracked.clone(),
            _slot: None,
        }
    }

    /// Serves the one request there is on this stream; `line` is how it is logged.
    pub(crate) async fn serve_one(mut self, head: Result<Vec<u8>, Refused>, line: Vec<u8>) {
        self.began = Some(self.worker.now());
        let next = match head {
            Ok(head) => self.head_in(head, None),
            Err(refused) => Some(Next::Refused(refused, Vec::new())),
        };
        let after = match next {
            Some(Next::Request(mut ticket)) => {
                self.worker.recycle(std::mem::replace(&mut ticket.line, line));
                Box::pin(exchange::run(&mut self, *ticket)).await
            }
            Some(Next::Refused(refused, _)) => {
                self.refuse(refused.status(), Termination::REFUSED, &line).await
            }
            _ => self.refuse(400, Termination::REFUSED, &line).await,
        };
        if after == After::Cut {
            return self.io.cut();
        }
        let limit = u64::from(self.frontend.settings.timeout_client.0);
        self.timer.set(Some(self.worker.now().saturating_add(limit)));
        let whole = poll_fn(|cx| match Pin::new(&mut self.io).poll_shutdown(cx) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending => self.timer.poll(cx, self.worker.now()).map(|()| false),
        });
        if !whole.await {
            self.io.cut();
        }
    }

    /// Where the visitor connected to.
    fn real_local(&self) -> SocketAddrV4 {
        match (self.told, self.io.local_addr()) {
            (Some(told), _) => told,
            (None, Ok(std::net::SocketAddr::V4(address))) => address,
            (None, _) => self.local,
        }
    }

    /// The visitor's connection, for who is told of it.
    pub(crate) fn ends(&self) -> proxy_protocol::Ends {
        (self.peer, self.real_local())
    }

    /// Nothing requires this connection to end after the current request?
    pub(crate) fn may_stay(&self) -> bool {
        !self.closing && !self.worker.shared.draining.load(Relaxed)
    }

    /// Takes over changed settings; a frontend that is gone ends the connection politely.
    pub(crate) fn refresh(&mut self) {
        let generation = self.worker.generation();
        if generation == self.generation {
            return;
        }
        self.generation = generation;
        let config = self.worker.config();
        match config.named(&self.frontend.settings.name) {
            Some(next) => {
                self.closing = !next.listen.contains(&self.local);
                self.frontend = Arc::clone(next);
            }
            None => self.closing = true,
        }
    }

    /// Waits for a whole request head.
    fn poll_head(&mut self, cx: &mut Context<'_>, since: u64) -> Poll<Next> {
        let worker = Rc::clone(&self.worker);
        // Bytes left from the request before may hold the next one.
        if self.began.is_none() && !self.pending.is_empty() {
            self.began = Some(since);
            let data = std::mem::take(&mut self.pending);
            if let Some(next) = self.head_in(data, None) {
                return Poll::Ready(next);
            }
        }
        loop {
            let mut scratch = worker.scratch.borrow_mut();
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.began = self.began.or_else(|| Some(worker.now()));
                    let data = buffer.filled();
                    let next = if self.pending.is_empty() {
                        self.head_in(Vec::new(), Some(data))
                    } else {
                        let mut all = std::mem::take(&mut self.pending);
                        all.extend_from_slice(data);
                        self.head_in(all, None)
                    };
                    if let Some(next) = next {
                        return Poll::Ready(next);
                    }
                }
                Poll::Ready(_) => {
                    return Poll::Ready(match self.pending.is_empty() {
                        false => Next::Broken,
                        true if self.first => Next::Nothing { gone: true },
                        true => Next::Idle,
                    });
                }
                Poll::Pending => break,
            }
        }
        let now = worker.now();
        let settings = &self.frontend.settings;
        let (from, limit) = match (self.began, self.first) {
            (Some(began), _) => (began, settings.timeout_http_request),
            (None, true) => (since, settings.timeout_http_request),
            (None, false) => (since, settings.timeout_http_keep_alive),
        };
        self.timer.set(Some(from.saturating_add(u64::from(limit.0))));
        if self.timer.poll(cx, now).is_ready() {
            return Poll::Ready(match (self.began, self.first) {
                (Some(_), _) => Next::Slow,
                (None, true) => Next::Nothing { gone: false },
                (None, false) => Next::Idle,
            });
        }
        if self.began.is_none() && worker.shared.draining.load(Relaxed) {
            // Who has only just agreed on TLS has its first request on the way.
            let soon = since.saturating_add(LAST_REQUEST_MS);
            if self.tls && self.first && now < soon {
                self.timer.set(Some(soon));
                return self.timer.poll(cx, now).map(|()| Next::Idle);
            }
            return Poll::Ready(Next::Idle);
        }
        Poll::Pending
    }

    /// Looks for a head in `owned`, or else in `borrowed`; what is left goes to `pending`.
    fn head_in(&mut self, mut owned: Vec<u8>, borrowed: Option<&[u8]>) -> Option<Next> {
        let input = borrowed.unwrap_or(&owned);
        let mut head = self.worker.buffer();
        let mut line = self.worker.buffer();
        let real_local = || self.real_local();
        let forwards = self.frontend.settings.forwardfor;
        let owes_forwarded = forwards && self.frontend.rules.is_some();
        let origin = Origin {
            forwarded_for: (forwards && !owes_forwarded).then(|| *self.peer.ip()),
            local: &real_local,
        };
        match request::parse(input, origin, &mut head, &mut line) {
            Ok(Parsed::Complete(request, bytes)) => {
                if borrowed.is_some() {
                    self.pending.extend_from_slice(&input[bytes..]);
                } else {
                    owned.drain(..bytes);
                    self.pending = owned;
                }
                let received = self.worker.now();
                let began = self.began.unwrap_or(received);
                Some(Next::Request(Box::new(Ticket {
                    request,
                    head,
                    line,
                    bytes,
                    began,
                    received,
                    wall_ms: Shared::wall_ms().saturating_sub(received - began),
                    owes_forwarded,
                    once: false,
                    resent: 0,
                })))
            }
            Ok(Parsed::Partial) => {
                match borrowed {
                    Some(data) => self.pending.extend_from_slice(data),
                    None => self.pending = owned,
                }
                self.worker.recycle(head);
                self.worker.recycle(line);
                // Empty lines between requests are no request yet.
                if !self.first
                    && self.pending.iter().all(|b| b"\r\n".contains(b))
                    && self.pending.len() < 16
                {
                    self.began = None;
                    self.pending = Vec::new();
                }
                None
            }
            Err(refused) => {
                self.worker.recycle(head);
                Some(Next::Refused(refused, line))
            }
        }
    }

    /// What rules know of a request besides its head.
    pub(crate) fn facts(&self, counting: bool) -> Facts {
        Facts {
            source: *self.peer.ip(),
            port: self.local.port(),
            tls: self.tls,
            counts: if counting { self.counts() } else { Counts::NONE },
            tracked: self.tracked.is_some(),
            once: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever ends a connection's task with a fault is an internal error of its frontend.
    #[test]
    fn a_fault_is_counted() {
        let (frontend, shared) = (Arc::new(Frontend::default()), Arc::new(Shared::new(1)));
        let slot = || Slot::new(&frontend, &shared, None);
        let faults = || frontend.live.faults.internal.get();
        drop(slot());
        assert_eq!(faults(), 0);
        let task = std::panic::AssertUnwindSafe(|| {
            let _slot = slot();
            panic!("a fault");
        });
        assert!(std::panic::catch_unwind(task).is_err());
        assert_eq!((faults(), frontend.live.traffic.current.now()), (1, 0));
    }
}
