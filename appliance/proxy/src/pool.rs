//! A thread's idle connections to servers.

use crate::live::ServerLive;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use tokio::net::TcpStream;

/// Idle connections a thread keeps in any case, where the system allows few visitors.
const AT_LEAST: usize = 64;
/// An idle connection is closed after so long.
const IDLE_MS: u64 = 30_000;

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) io: TcpStream,
    pub(crate) server: Arc<ServerLive>,
    /// It may serve one visitor after the other.
    pub(crate) shared: bool,
    /// Where the server was when this was opened; one known by its name may have moved since.
    pub(crate) at: Option<SocketAddrV4>,
    /// The millisecond of its last use.
    pub(crate) used: u64,
}

#[derive(Debug)]
struct Idle {
    server: Arc<ServerLive>,
    connections: Vec<Upstream>,
}

/// Idle connections by server.
#[derive(Debug)]
pub(crate) struct Pool {
    idle: RefCell<HashMap<u64, Idle>>,
    /// How many there are, over all servers.
    count: Cell<usize>,
    most: usize,
}

impl Pool {
    /// One that keeps a quarter of `connections`, the most that visitors may have to this thread.
    /// Fewer than are busy at once would be opened and closed all the time, which costs more than
    /// the requests themselves; more would take the descriptors that visitors need.
    pub(crate) fn new(connections: u64) -> Self {
        let most = usize::try_from(connections / 4).unwrap_or(usize::MAX).max(AT_LEAST);
        Self { idle: RefCell::default(), count: Cell::new(0), most }
    }

    fn left(&self, server: &ServerLive) {
        server.idle.leave();
        self.count.set(self.count.get().saturating_sub(1));
    }

    /// A connection that was still open a moment ago, the most recently used first, used last
    /// not before `since`.
    pub(crate) fn take(&self, server: &ServerLive, since: u64) -> Option<Upstream> {
        let mut all = self.idle.borrow_mut();
        let idle = all.get_mut(&server.id)?;
        while let Some(connection) = idle.connections.pop() {
            if connection.used < since {
                idle.connections.push(connection);
                return None;
            }
            self.left(server);
            if connection.at == server.standing.address() && is_quiet(&connection.io) {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection for the next request.
    pub(crate) fn give(&self, connection: Upstream) {
        if !connection.shared || connection.server.retired.load(Relaxed) {
            return;
        }
        if self.count.get() >= self.most {
            return;
        }
        let mut all = self.idle.borrow_mut();
        let idle = all.entry(connection.server.id).or_insert_with(|| Idle {
            server: Arc::clone(&connection.server),
            connections: Vec::new(),
        });
        connection.server.idle.enter();
        self.count.set(self.count.get() + 1);
        idle.connections.push(connection);
    }

    /// Closes those that are too old, that the server has closed, or whose server is retired.
    pub(crate) fn purge(&self, now: u64) {
        self.idle.borrow_mut().retain(|_, idle| {
            let retired = idle.server.retired.load(Relaxed);
            let server = Arc::clone(&idle.server);
            idle.connections.retain(|c| {
                let here = c.at == server.standing.address();
                let keep = !retired && here && c.used + IDLE_MS > now && is_quiet(&c.io);
                if !keep {
                    self.left(&server);
                }
                keep
            });
            !idle.connections.is_empty()
        });
    }

    /// Is there any?
    pub(crate) fn is_empty(&self) -> bool {
        self.idle.borrow().is_empty()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for idle in self.idle.borrow().values() {
            idle.connections.iter().for_each(|_| idle.server.idle.leave());
        }
    }
}

/// Nothing has come from the other side: neither its farewell nor bytes nobody asked for. Costs
/// a system call only when the runtime has seen something.
fn is_quiet(io: &TcpStream) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    match io.poll_read_ready(&mut cx) {
        Poll::Pending => true,
        Poll::Ready(Ok(())) => {
            // An earlier read may have left this set although nothing is there.
            let mut byte = [0_u8; 1];
            matches!(io.try_read(&mut byte), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock)
        }
        Poll::Ready(Err(_)) => false,
    }
}
