//! The tries of one request, or of one connection in mode tcp: which server is next, what of those
//! before is remembered, and what the log line tells of it.

use crate::admit::{Admitted, Busy, Denied, admit};
use crate::client::Client;
use crate::config::{Backend, Server};
use crate::exchange::{NotConnected, catch_breath};
use crate::log::{Termination, Way};
use crate::persist::Plan;
use std::sync::Arc;

/// What is remembered from one try to the next.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    /// What the log line tells.
    pub(crate) way: Way,
    /// The server tried last.
    pub(crate) server: Option<usize>,
    /// Where persistence leads.
    pub(crate) led: Option<usize>,
    /// The hash of what the algorithm looks at, where it looks at something.
    pub(crate) hash: Option<u32>,
    /// What the backend became while a place was waited for.
    pub(crate) moved: Option<Arc<Backend>>,
    /// Another one than this, if there is any.
    avoid: Option<usize>,
    /// Without `option redispatch` the same server is tried again.
    again: Option<usize>,
    /// There was no connection to the last one: it gets a pause before it is tried again.
    breathless: bool,
    /// What is logged if nothing else is left to try.
    failure: Option<Termination>,
    /// How long a place was waited for so far, where the settings have changed meanwhile.
    waiting: u64,
}

/// Why there is no place on a server.
#[derive(Debug)]
pub(crate) enum NoPlace {
    /// The settings have changed while it was waited for; this is what the backend is now.
    Changed(Arc<Backend>),
    /// There is none to be had.
    GivenUp(Termination),
}

impl Tries {
    /// Finds a place on the next server, and waits for one if need be.
    pub(crate) async fn next<'b>(
        &mut self,
        client: &Client,
        backend: &'b Backend,
    ) -> Result<(usize, Busy<'b>), NoPlace> {
        let (hash, avoid) = (self.hash, self.avoid);
        // Who is led to one server waits for this one, unless its queue is full.
        let led = self.again.or(self.led.filter(|led| Some(*led) != avoid));
        let bound = led.is_some() || hash.is_some();
        let usable = |i: &usize| backend.servers.get(*i).is_some_and(|s| s.live.is_up());
        let pick = |anyone: bool| {
            let led = led.filter(|i| !anyone && usable(i));
            led.or_else(|| backend.live.pick(backend, hash.filter(|_| !anyone), avoid))
        };
        let Admitted { index, busy, waited, before } =
            match admit(client, backend, bound, self.waiting, pick).await {
                Ok(admitted) => admitted,
                Err(denied) => return Err(self.denied(backend, denied)),
            };
        self.way.waited(waited, before);
        self.waiting = 0;
        match self.server {
            Some(last) if last != index => {
                backend.servers[last].live.redispatches.up();
                self.way.redispatched = true;
            }
            Some(_) if self.breathless => catch_breath(backend).await,
            _ => {}
        }
        self.server = Some(index);
        let live = &backend.servers[index].live;
        if led != Some(index) {
            // As HAProxy counts it: not where persistence has led.
            live.chosen.up();
        }
        live.last_request.set(client.worker.now());
        Ok((index, busy))
    }

    fn denied(&mut self, backend: &Backend, denied: Denied) -> NoPlace {
        match denied {
            Denied::Changed(next, waited) => {
                self.waiting = waited;
                return NoPlace::Changed(next);
            }
            Denied::TooLong { waited, before } => {
                self.way.waited(waited, before);
                self.failure = Some(Termination::QUEUE_TIMEOUT);
            }
            Denied::NoServer => {}
        }
        backend.live.econ.up();
        NoPlace::GivenUp(self.failure.unwrap_or(Termination::NO_SERVER))
    }

    /// Goes on with what the backend has become, where its servers have other places.
    pub(crate) fn go_on_with(
        &mut self,
        next: Arc<Backend>,
        backend: &mut Arc<Backend>,
        plan: Option<&mut Plan>,
    ) {
        let same = |i| backend.same_server(i, &next);
        for place in [&mut self.server, &mut self.led, &mut self.avoid, &mut self.again] {
            *place = place.and_then(same);
        }
        if let Some(plan) = plan {
            plan.moved(same);
        }
        self.moved = Some(Arc::clone(&next));
        *backend = next;
    }

    /// May it be tried once more?
    pub(crate) fn has_more(&self, backend: &Backend) -> bool {
        self.way.retries < u32::from(backend.settings.retries)
    }

    /// There was no connection to the last server. `Err` is how that is logged if it was the last
    /// try.
    pub(crate) fn not_connected(
        &mut self,
        backend: &Backend,
        server: &Server,
        error: &NotConnected,
    ) -> Result<(), Termination> {
        server.live.econ.up();
        self.failure = Some(error.termination());
        if !self.has_more(backend) {
            backend.live.econ.up();
            return Err(error.termination());
        }
        self.elsewhere(backend, server);
        self.once_more(server);
        self.breathless = true;
        Ok(())
    }

    /// The next one is another than this, which was tried last, if the settings say so and if there
    /// is one.
    pub(crate) fn elsewhere(&mut self, backend: &Backend, server: &Server) {
        let same = !backend.settings.redispatch && server.live.is_up();
        self.again = self.server.filter(|_| same);
        self.avoid = self.server;
    }

    /// It is tried once more.
    pub(crate) fn once_more(&mut self, server: &Server) {
        self.way.retries += 1;
        server.live.retries.up();
        self.breathless = false;
    }
}
