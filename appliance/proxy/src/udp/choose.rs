//! A place on a server for one visitor. Nobody waits: datagrams are asked again anyway.

use crate::balance::key;
use crate::config::{Backend, Server};
use crate::persist::{self, Keep};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// A visitor at a backend.
#[derive(Debug)]
pub(super) struct Busy(Arc<Backend>);

impl Busy {
    pub(super) fn new(backend: &Arc<Backend>) -> Self {
        let traffic = &backend.live.traffic;
        traffic.current.enter();
        traffic.total.up();
        Self(Arc::clone(backend))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.live.traffic.current.leave();
    }
}

/// A visitor at a server.
#[derive(Debug)]
pub(super) struct Seat {
    backend: Arc<Backend>,
    index: usize,
}

impl Seat {
    /// At this server, if it has room.
    fn take(backend: &Arc<Backend>, index: usize) -> Option<Self> {
        let server = backend.servers.get(index)?;
        let live = &server.live;
        match live.standing.maxconn(server.maxconn) {
            0 => {
                live.traffic.current.enter();
            }
            limit if live.traffic.current.enter_below(u64::from(limit)) => {}
            _ => return None,
        }
        live.traffic.total.up();
        live.chosen.up();
        live.touched.set(backend.live.tick());
        Some(Self { backend: Arc::clone(backend), index })
    }

    pub(super) fn server(&self) -> &Server {
        &self.backend.servers[self.index]
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let live = &self.server().live;
        live.traffic.current.leave();
        live.touched.set(self.backend.live.tick());
    }
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoSeat {
    /// There is no server, or no other one.
    NoServer,
    /// All have as many visitors as they may have.
    Full,
}

/// The server for a visitor: the one he is known to have been at, or the algorithm's choice. `avoid`
/// has just failed.
pub(super) fn choose(
    backend: &Arc<Backend>,
    source: Ipv4Addr,
    avoid: Option<usize>,
    now_ms: u64,
) -> Result<Seat, NoSeat> {
    let settings = &backend.settings;
    let plan = persist::plan(backend, &mut Vec::new(), source, 0, now_ms);
    let own = plan.as_ref().and_then(|p| p.server).filter(|own| Some(*own) != avoid);
    let asker = key::Asker { head: &[], source, content: &[] };
    let hash = key::of(&settings.balance, settings.hash_type, &asker);
    // Where the one he is led to has no room the others are tried; some algorithms name one several
    // times in a row.
    let tries = backend.servers.len().saturating_mul(2).saturating_add(1);
    for attempt in 0..tries {
        let first = attempt == 0;
        let led = own.filter(|_| first);
        let index = led.or_else(|| backend.live.pick(backend, hash.filter(|_| first), avoid));
        // The algorithm names the one to avoid where there is no other.
        let index = index.filter(|i| Some(*i) != avoid).ok_or(NoSeat::NoServer)?;
        if let Some(seat) = Seat::take(backend, index) {
            if let Some(plan) = &plan {
                Keep { plan, backend, server: index }.learn(&[]);
            }
            return Ok(seat);
        }
    }
    Err(NoSeat::Full)
}
