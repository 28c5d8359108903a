//! A place on a server: chosen by the algorithm, counted, and waited for where all are taken.

use crate::client::Client;
use crate::config::Backend;
use crate::live::{ServerLive, Traffic};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;
use std::task::Poll;

/// A request under way at a backend or server.
pub(crate) struct Busy<'a> {
    traffic: &'a Traffic,
    server: Option<(&'a ServerLive, &'a Backend)>,
}

impl<'a> Busy<'a> {
    pub(crate) fn backend(backend: &'a Backend) -> Self {
        let traffic = &backend.live.traffic;
        traffic.current.enter();
        traffic.total.up();
        Self { traffic, server: None }
    }

    /// At this server, if it has room.
    fn server(backend: &'a Backend, index: usize) -> Option<Self> {
        let server = backend.servers.get(index)?;
        let live = &server.live;
        match server.limit(backend) {
            0 => {
                live.traffic.current.enter();
            }
            limit if live.traffic.current.enter_below(limit) => {}
            _ => return None,
        }
        live.traffic.total.up();
        live.touched.set(backend.live.tick());
        Some(Self { traffic: &live.traffic, server: Some((live, backend)) })
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.traffic.current.leave();
        if let Some((server, backend)) = self.server {
            server.touched.set(backend.live.tick());
            if !server.queue.call() {
                backend.live.queue.call();
            }
        }
    }
}

/// A place on a server.
pub(crate) struct Admitted<'a> {
    pub(crate) index: usize,
    pub(crate) busy: Busy<'a>,
    /// Milliseconds it was waited for.
    pub(crate) waited: u64,
    /// How many were before it in the server's queue and in the backend's.
    pub(crate) before: [u64; 2],
}

/// Why there is no place.
#[derive(Debug)]
pub(crate) enum Denied {
    /// There is no server to wait for.
    NoServer,
    /// It took too long.
    TooLong {
        /// Milliseconds it was waited for.
        waited: u64,
        /// How many were before it in the server's queue and in the backend's.
        before: [u64; 2],
    },
    /// The settings have changed while it was waited for, so many milliseconds in all: this is what
    /// the backend is now. Who waited on by the old ones might wait for a server that nobody is
    /// sent to any more, or below a limit that nobody else keeps.
    Changed(Arc<Backend>, u64),
}

/// Finds a place, and waits for one as long as `timeout queue` says, of which `waited`
/// milliseconds are over.
///
/// `pick` names the algorithm's next choice, of all servers if its argument says so; `bound` says that it names the same server each time
/// for this visitor, who then waits for this very one.
pub(crate) async fn admit<'a>(
    client: &Client,
    backend: &'a Backend,
    bound: bool,
    waited: u64,
    mut pick: impl FnMut(bool) -> Option<usize>,
) -> Result<Admitted<'a>, Denied> {
    let index = pick(false).ok_or(Denied::NoServer)?;
    let waiting = !backend.live.queue.is_empty()
        || backend.servers.get(index).is_some_and(|s| !s.live.queue.is_empty());
    let limited =
        backend.servers.get(index).is_some_and(|s| s.live.standing.maxconn(s.maxconn) > 0);
    if !(waiting && limited) {
        if let Some(busy) = Busy::server(backend, index) {
            return Ok(Admitted { index, busy, waited, before: [0, 0] });
        }
    }
    // In a box, so that nobody else carries its size.
    Box::pin(wait(client, backend, bound.then_some(index), waited, pick)).await
}

async fn wait<'a>(
    client: &Client,
    backend: &'a Backend,
    mut bound: Option<usize>,
    before_this: u64,
    mut pick: impl FnMut(bool) -> Option<usize>,
) -> Result<Admitted<'a>, Denied> {
    let worker = &client.worker;
    let began = worker.now().saturating_sub(before_this);
    let generation = worker.generation();
    let settings = &backend.settings;
    let limit = settings.timeout_queue.unwrap_or(settings.timeout_connect);
    let end = began.saturating_add(u64::from(limit.0));
    let led = bound.is_some();
    if let Some(server) = bound.and_then(|i| backend.servers.get(i)) {
        // HAProxy: a server whose queue is full passes its visitors on.
        if server.maxqueue > 0 && server.live.queue.len() >= u64::from(server.maxqueue) {
            bound = None;
        }
    }
    let anyone = led && bound.is_none();
    let queue = match bound.and_then(|i| backend.servers.get(i)) {
        Some(server) => &server.live.queue,
        None => &backend.live.queue,
    };
    // HAProxy counts the request itself, too.
    let length = queue.len() + 1;
    let before = if bound.is_some() { [length, 0] } else { [0, length] };
    let place = queue.join();
    let mut epoch = worker.shared.health_epoch.load(Acquire);
    loop {
        if place.is_first() {
            // Some algorithms name one server several times in a row.
            for _ in 0..backend.servers.len().saturating_mul(2).max(1) {
                let index = pick(anyone).ok_or(Denied::NoServer)?;
                let other = bound.is_none()
                    && backend.servers.get(index).is_some_and(|s| !s.live.queue.is_empty());
                if other {
                    continue;
                }
                if let Some(busy) = Busy::server(backend, index) {
                    let waited = worker.now() - began;
                    return Ok(Admitted { index, busy, waited, before });
                }
            }
        }
        client.timer.set(Some(end));
        let in_time = poll_fn(|cx| {
            let now = worker.shared.health_epoch.load(Acquire);
            if place.was_called(cx) || now != epoch {
                epoch = now;
                return Poll::Ready(true);
            }
            client.timer.poll(cx, worker.now()).map(|()| false)
        })
        .await;
        if !in_time {
            return Err(Denied::TooLong { waited: worker.now() - began, before });
        }
        if worker.generation() != generation {
            let config = worker.config();
            let is_it = |b: &&Arc<Backend>| {
                b.settings.name == settings.name && b.settings.mode == settings.mode
            };
            // One that is gone serves those to the end who were sent to it.
            if let Some(next) = config.backends.iter().find(is_it) {
                if next.generation != backend.generation {
                    return Err(Denied::Changed(Arc::clone(next), worker.now() - began));
                }
            }
        }
        if !place.is_first() {
            // Woken for another reason: is there still a server to wait for?
            pick(anyone).ok_or(Denied::NoServer)?;
        }
    }
}
