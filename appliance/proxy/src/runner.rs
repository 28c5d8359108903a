//! The manager: turns snapshots into listeners, workers and checks, and watches over them.

use crate::check::{self, Checks};
use crate::listen::{self, Place};
use crate::live::lock;
use crate::shared::Shared;
use crate::status;
use crate::tls;
use crate::worker::{self, Order};
use control::{Reporter, Shutdown, Snapshot, SnapshotReceiver};
use model::{Effective, Revision, Role};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// How often the manager looks after its workers.
const WATCH: Duration = Duration::from_millis(200);
/// How often the dates of certificates are looked at.
const DATES: Duration = Duration::from_secs(3600);
const DATES_NOTICE: &str = "certificates";
/// A worker not seen for so long is not fit to hold the floating IP.
const STALE_MS: u64 = 3000;
/// Requests get so long to finish when the appliance stops and nobody said how long.
const FAREWELL: Duration = Duration::from_secs(5);

/// What the manager shares with its handle.
#[derive(Debug)]
pub(crate) struct Outside {
    pub(crate) shared: Arc<Shared>,
    /// Places that are listened at.
    pub(crate) open: Mutex<BTreeSet<Place>>,
    pub(crate) ready: watch::Sender<bool>,
    /// Until when requests may finish; None while nobody wants to stop.
    pub(crate) stop_by: watch::Sender<Option<Instant>>,
    pub(crate) stopped: watch::Sender<bool>,
}

struct Member {
    orders: mpsc::UnboundedSender<Order>,
    thread: JoinHandle<()>,
}

/// The manager's own state; survives a fault of the manager.
pub(crate) struct Manager {
    outside: Arc<Outside>,
    reporter: Reporter,
    workers: Vec<Member>,
    checks: Checks,
    running: Option<Running>,
    sampled: Instant,
    tried: Instant,
    /// When the certificates' dates were looked at.
    dated: Instant,
}

struct Running {
    revision: Revision,
    wanted: Wanted,
    problem: Option<String>,
}

/// The part of the settings that concerns the proxy.
#[derive(Clone, Default, PartialEq)]
struct Wanted {
    balancer: bool,
    effective: Effective,
}

impl Wanted {
    fn of(snapshot: &Snapshot) -> Self {
        let all = &snapshot.effective;
        if !all.is(Role::Balancer) {
            return Self::default();
        }
        let effective = Effective {
            frontends: all.frontends.clone(),
            backends: all.backends.clone(),
            maxconn: all.maxconn,
            ..Effective::default()
        };
        Self { balancer: true, effective }
    }
}

impl Manager {
    pub(crate) fn new(outside: Arc<Outside>, reporter: Reporter) -> Self {
        let now = Instant::now();
        Self {
            outside,
            reporter,
            workers: Vec::new(),
            checks: Checks::default(),
            running: None,
            sampled: now,
            tried: now,
            dated: now,
        }
    }

    /// Runs until the appliance stops.
    pub(crate) async fn run(&mut self, mut snapshots: SnapshotReceiver, shutdown: Shutdown) {
        let mut stop_by = self.outside.stop_by.subscribe();
        let first = snapshots.borrow_and_update().clone();
        self.apply(&first);
        loop {
            let busy = !self.workers.is_empty();
            tokio::select! {
                changed = snapshots.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let next = snapshots.borrow_and_update().clone();
                    self.apply(&next);
                }
                () = tokio::time::sleep(WATCH), if busy => self.look_after(),
                () = shutdown.requested() => break,
                _ = stop_by.wait_for(Option::is_some) => break,
            }
        }
        self.stop().await;
    }

    fn apply(&mut self, snapshot: &Snapshot) {
        let wanted = Wanted::of(snapshot);
        let same = self.running.as_ref().is_some_and(|r| r.wanted == wanted);
        let shared = Arc::clone(&self.outside.shared);
        if !same {
            let config = Arc::new(shared.registry.build(&wanted.effective, Instant::now()));
            shared.limit_connections(wanted.effective.maxconn);
            shared.active.store(wanted.balancer, Release);
            shared.publish(Arc::clone(&config));
            self.checks.set(&shared, self.reporter.board(), &config.backends);
            config.backends.iter().for_each(|b| check::settle(b));
        }
        let running = Running { revision: snapshot.revision, wanted, problem: None };
        self.running = Some(running);
        self.look_at_dates();
        self.listen();
        self.report();
    }

    /// Brings listeners and workers in line with the settings.
    fn listen(&mut self) {
        let shared = Arc::clone(&self.outside.shared);
        let config = shared.config();
        let wanted: BTreeSet<Place> = config.places().collect();
        let mut open = lock(&self.outside.open).clone();
        let gone: Vec<_> = open.difference(&wanted).copied().collect();
        for place in gone {
            self.tell(|| Some(Order::Close(place)));
            open.remove(&place);
        }
        let mut problem = None;
        if !wanted.is_empty() {
            problem = self.hire(&open).err();
        }
        for place in wanted {
            if problem.is_some() || open.contains(&place) {
                continue;
            }
            match self.open(place, &open) {
                Ok(()) => {
                    open.insert(place);
                }
                Err(reason) => problem = Some(reason),
            }
        }
        *lock(&self.outside.open) = open;
        self.tried = Instant::now();
        if let Some(running) = &mut self.running {
            running.problem = problem;
        }
        self.judge();
    }

    /// Opens a place on every worker, or on none.
    fn open(&self, place: Place, open: &BTreeSet<Place>) -> Result<(), String> {
        let explain = |error: std::io::Error| listen::explain(place, &error);
        // A foreign program that shares its port as we do would get half of the visitors.
        if !open.iter().any(|other| other.shares_port(&place)) {
            if let Err(error) = listen::probe(place, false) {
                if listen::holder(place) != listen::Holder::Ourselves {
                    return Err(explain(error));
                }
            }
        }
        let sockets: Result<Vec<_>, _> = self.workers.iter().map(|_| listen::open(place)).collect();
        let mut sockets = sockets.map_err(explain)?.into_iter();
        self.tell(|| Some(Order::Open(place, sockets.next()?)));
        tracing::info!("listening on {place}");
        Ok(())
    }

    fn tell(&self, mut order: impl FnMut() -> Option<Order>) {
        for member in &self.workers {
            if let Some(order) = order() {
                // A worker that is gone is replaced by look_after().
                let _ = member.orders.send(order);
            }
        }
    }

    /// Starts the workers that are missing, with all listeners that are open.
    fn hire(&mut self, open: &BTreeSet<Place>) -> Result<(), String> {
        let shared = &self.outside.shared;
        for index in 0..shared.threads() {
            let dead = match self.workers.get(index) {
                None => false,
                Some(member) if member.thread.is_finished() => true,
                Some(_) => continue,
            };
            if dead {
                tracing::error!("a balancing thread failed and is started again");
            }
            let (orders, receiver) = mpsc::unbounded_channel();
            let own = Arc::clone(shared);
            shared.beat(index, shared.now_ms());
            let thread = std::thread::Builder::new()
                .name(format!("proxy-{index}"))
                .spawn(move || {
                    if let Err(error) = worker::run(own, index, receiver) {
                        tracing::error!("a balancing thread cannot run: {error}");
                    }
                })
                .map_err(|e| format!("a balancing thread cannot be started: {e}"))?;
            for place in open {
                let socket = listen::open(*place).map_err(|e| listen::explain(*place, &e))?;
                let _ = orders.send(Order::Open(*place, socket));
            }
            shared.spread.open(index, orders.clone());
            let member = Member { orders, thread };
            match self.workers.get_mut(index) {
                Some(old) => *old = member,
                None => self.workers.push(member),
            }
        }
        Ok(())
    }

    /// Every now and then: replaces dead workers, tries again what failed, takes the rates.
    fn look_after(&mut self) {
        let shared = Arc::clone(&self.outside.shared);
        if self.sampled.elapsed() >= Duration::from_secs(1) {
            self.sampled = Instant::now();
            let config = shared.config();
            status::sample(&shared, &config);
            config.backends.iter().for_each(|b| b.warm());
            // Starts again what may have ended by a fault; the others go on.
            self.checks.set(&shared, self.reporter.board(), &config.backends);
        }
        if self.dated.elapsed() >= DATES {
            self.look_at_dates();
        }
        let active = !shared.config().frontends.is_empty();
        if !active {
            let idle = shared.connections.now() == 0 && shared.listeners.load(Acquire) == 0;
            if idle {
                self.dismiss();
            }
            return;
        }
        let dead = self.workers.iter().any(|m| m.thread.is_finished());
        let failed = self.running.as_ref().is_some_and(|r| r.problem.is_some());
        if dead || (failed && self.tried.elapsed() >= Duration::from_secs(1)) {
            self.listen();
            self.report();
        } else {
            self.judge();
        }
    }

    /// Says which of the certificates in use are over, or will be soon.
    fn look_at_dates(&mut self) {
        self.dated = Instant::now();
        let now = i64::try_from(Shared::wall_ms() / 1000).unwrap_or(i64::MAX);
        let frontends = self.running.iter().flat_map(|r| &r.wanted.effective.frontends);
        let mut sentences: Vec<String> = Vec::new();
        for certificate in frontends.flat_map(|f| &f.certificates) {
            let facts = certificate.facts().filter(|facts| facts.ends_soon(now));
            let left = facts.and_then(|facts| facts.days_left(now));
            sentences.extend(left.map(|left| tls::date_sentence(certificate, left)));
        }
        sentences.sort();
        sentences.dedup();
        let board = self.reporter.board();
        if sentences.is_empty() {
            board.clear_notice(DATES_NOTICE);
        } else {
            board.notice(DATES_NOTICE, sentences.join(" "));
        }
    }

    /// Says whether this node is fit to be sent visitors.
    fn judge(&self) {
        let shared = &self.outside.shared;
        let ready = self.running.as_ref().is_some_and(|running| {
            let now = shared.now_ms();
            let fresh = |i| now.saturating_sub(shared.last_beat(i)) < STALE_MS;
            running.wanted.balancer
                && running.problem.is_none()
                && (0..self.workers.len()).all(fresh)
        });
        self.outside.ready.send_if_modified(|r| std::mem::replace(r, ready) != ready);
    }

    fn report(&self) {
        let Some(running) = &self.running else { return };
        let problems = &self.outside.shared.config().problems;
        match &running.problem {
            Some(reason) => self.reporter.degraded(running.revision, reason.clone()),
            None if !problems.is_empty() => {
                self.reporter.degraded(running.revision, problems.join("; "));
            }
            None if running.wanted.balancer && !running.wanted.effective.frontends.is_empty() => {
                self.reporter.applied(running.revision);
            }
            None => self.reporter.idle(running.revision),
        }
    }

    fn dismiss(&mut self) {
        self.tell(|| Some(Order::Stop));
        for member in self.workers.drain(..) {
            if member.thread.join().is_err() {
                tracing::error!("a balancing thread ended with a fault");
            }
        }
    }

    /// The end: what is queued is accepted, what runs may finish.
    async fn stop(&mut self) {
        let shared = Arc::clone(&self.outside.shared);
        self.outside.ready.send_replace(false);
        shared.draining.store(true, Release);
        shared.look_again();
        let open = std::mem::take(&mut *lock(&self.outside.open));
        for place in open {
            self.tell(|| Some(Order::Close(place)));
        }
        let farewell = Instant::now() + FAREWELL;
        loop {
            let by = self.outside.stop_by.borrow().unwrap_or(farewell);
            let done = shared.connections.now() == 0 && shared.listeners.load(Acquire) == 0;
            if done || Instant::now() >= by {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.checks = Checks::default();
        let nothing = shared.registry.build(&Effective::default(), Instant::now());
        shared.publish(Arc::new(nothing));
        self.dismiss();
        shared.access.stop();
        self.outside.stopped.send_replace(true);
    }
}
