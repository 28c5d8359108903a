//! Mode udp: datagrams of one address and port go to one server, and its answers back, as nginx
//! does it in `stream` with `listen … udp`; HAProxy has nothing like it.
//!
//! Each worker has a socket of its own at each address (`SO_REUSEPORT`: the kernel keeps a visitor at
//! one of them), and each visitor one of his own to his server, so that answers find their way and
//! an ICMP error is his. `tally` counts what he has asked and been answered, `table` finds him and
//! knows who makes room for others; these two are pure. `choose` is a place on a server, `session`
//! one visitor, `socket` the sockets.
//!
//! A visitor ends by silence: `timeout_client`, `timeout_server` while an answer is due, and a second
//! once he has as many answers as `udp_responses` says. What a server refuses (ICMP) or had not
//! answered when its checks took it down is sent to another one. Where there are as many visitors as
//! `maxconn` allows, one makes room: who has his answers, else who has asked only once, else who
//! goes on but has been silent for five seconds; if there is none, the new datagram is dropped.
//! Counted: in `dreq` datagrams dropped because nobody had room, in `ereq` visitors forgotten before
//! their answer, in a server's `econ` what it refused, in its `eresp` answers that never came.

mod choose;
mod session;
pub(crate) mod socket;
mod table;
mod tally;

use crate::config::Frontend;
use crate::worker::{Counted, Worker};
use session::Session;
use std::cell::RefCell;
use std::net::SocketAddrV4;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use table::Table;
use tokio::net::UdpSocket;
use tokio::sync::Notify;

/// Datagrams read before the answers have their turn.
const BATCH: usize = 64;
/// A closing socket takes new visitors for so long still: their datagrams are on their way.
const LAST_MS: u64 = 250;
/// How often a closing socket looks whether it is done, and the pause after an error.
const TICK: Duration = Duration::from_millis(100);

/// A socket for visitors, and those it remembers.
#[derive(Debug)]
struct Listener {
    worker: Rc<Worker>,
    socket: UdpSocket,
    address: SocketAddrV4,
    table: RefCell<Table<Rc<Session>>>,
}

/// Whose visitors they are.
struct Owner {
    frontend: Option<Arc<Frontend>>,
    /// The settings have a frontend here.
    known: bool,
    generation: u64,
}

impl Owner {
    /// The settings of this moment. One that is gone stays what it was for those it has.
    fn look(&mut self, listener: &Listener) {
        let generation = listener.worker.generation();
        if self.frontend.is_none() || generation != self.generation {
            self.generation = generation;
            let now = listener.worker.config().at_udp(&listener.address).cloned();
            self.known = now.is_some();
            self.frontend = now.or(self.frontend.take());
        }
    }
}

/// Serves one socket until told to close, and then those it has until they end.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    socket: UdpSocket,
    address: SocketAddrV4,
    close: Rc<Notify>,
    _counted: Counted,
) {
    let table = RefCell::new(Table::new());
    let listener = Rc::new(Listener { worker, socket, address, table });
    let mut owner = Owner { frontend: None, known: false, generation: 0 };
    let mut closing: Option<u64> = None;
    loop {
        tokio::select! {
            biased;
            () = close.notified(), if closing.is_none() => {
                closing = Some(listener.worker.now() + LAST_MS);
            }
            ready = listener.socket.readable() => if ready.is_err() {
                tokio::time::sleep(TICK).await;
            },
            () = tokio::time::sleep(TICK), if closing.is_some() => {}
        }
        owner.look(&listener);
        let last = closing.is_some_and(|until| listener.worker.now() >= until);
        // An address that was given up and is wanted again has other sockets, and this one still
        // gets its part of the visitors.
        let new = owner.known || !last;
        let read = (0..BATCH).take_while(|_| listener.read(&owner, new)).count();
        if read == BATCH {
            tokio::task::yield_now().await;
        } else if last && listener.table.borrow().is_empty() {
            return;
        }
    }
}

impl Listener {
    /// Takes one datagram, if there is one.
    fn read(self: &Rc<Self>, owner: &Owner, new: bool) -> bool {
        let mut scratch = self.worker.scratch.borrow_mut();
        let came = socket::receive(&self.socket, self.address, &mut scratch);
        let Ok((n, source, local)) = came else { return false };
        let Some(frontend) = &owner.frontend else { return true };
        let data = &scratch[..n];
        if source.port() == 0 {
            // It cannot be answered (RFC 768).
            frontend.live.ereq.up();
            return true;
        }
        let known = self.table.borrow().get(&(source, local));
        let taken = known.is_some_and(|session| session.ask(frontend, data));
        if !taken && new {
            if self.has_room(frontend) {
                session::begin(self, frontend, (source, local), data);
            } else {
                frontend.live.dreq.up();
            }
        }
        true
    }

    /// Is there room for one more visitor? Somebody may have to make it.
    fn has_room(&self, frontend: &Frontend) -> bool {
        let shared = &self.worker.shared;
        let full = frontend.live.traffic.current.now() >= u64::from(frontend.settings.maxconn)
            || shared.connections.now() >= shared.maxconn();
        if !full {
            return true;
        }
        let least = self.table.borrow().least(|session| session.silence());
        least.map(|(_, session)| session.make_room()).is_some()
    }
}
