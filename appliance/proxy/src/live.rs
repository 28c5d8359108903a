//! What outlives a change of settings: counters, health and turns, shared by all threads.
//!
//! Frontends and backends are known by name, servers by backend, name and address. Counters are
//! relaxed atomics: each is right by itself, and nothing is decided by two of them together.

use crate::balance::{Balancer, Candidate, Load, SCALE};
use crate::config::Backend;
use crate::health::Fsm;
use crate::history::History;
use crate::paths::PathCounts;
use crate::persist::stick::{Changes, Stick};
use crate::queue::Queue;
use crate::standing::{Standing, Verdict};
use crate::track::Visitors;
use model::status::CheckStatus;
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Locks; what these locks protect is valid after any panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts for so many requests where a full server is compared with others.
const FULL: u64 = 1 << 32;

/// A count that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }
    pub(crate) fn up(&self) {
        self.add(1);
    }
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }
}

/// How many there are now, and the most there ever were.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    now: AtomicU64,
    max: AtomicU64,
}

impl Gauge {
    pub(crate) fn enter(&self) -> u64 {
        let now = self.now.fetch_add(1, Relaxed) + 1;
        if now > self.max.load(Relaxed) {
            self.max.fetch_max(now, Relaxed);
        }
        now
    }
    /// Enters if there are fewer than `limit`.
    pub(crate) fn enter_below(&self, limit: u64) -> bool {
        let more = |now: u64| (now < limit).then_some(now + 1);
        let entered = self.now.fetch_update(Relaxed, Relaxed, more);
        if let Ok(before) = entered {
            self.max.fetch_max(before + 1, Relaxed);
        }
        entered.is_ok()
    }
    pub(crate) fn leave(&self) {
        self.now.fetch_sub(1, Relaxed);
    }
    pub(crate) fn now(&self) -> u64 {
        self.now.load(Relaxed)
    }
    pub(crate) fn max(&self) -> u64 {
        self.max.load(Relaxed)
    }
}

/// How fast a counter grows, looked at once a second.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    before: Counter,
    rate: Counter,
    max: Counter,
}

impl Rate {
    /// Takes the counter as it is, about a second after the last time, and says how far it grew.
    pub(crate) fn sample(&self, total: u64) -> u64 {
        let rate = total.saturating_sub(self.before.get());
        self.before.set(total);
        self.rate.set(rate);
        if rate > self.max.get() {
            self.max.set(rate);
        }
        rate
    }
    pub(crate) fn get(&self) -> u64 {
        self.rate.get()
    }
    pub(crate) fn max(&self) -> u64 {
        self.max.get()
    }
}

/// The average over the last 1,024 values, and the largest ever.
#[derive(Debug, Default)]
pub(crate) struct Average {
    sum: Counter,
    count: Counter,
    max: Counter,
}

impl Average {
    pub(crate) fn add(&self, value: u64) {
        let (sum, count) = (self.sum.get(), self.count.get());
        if value > self.max.get() {
            self.max.set(value);
        }
        if count < 1024 {
            self.count.set(count + 1);
            self.sum.set(sum + value);
        } else {
            self.sum.set(sum + value - (sum / 1024).min(sum));
        }
    }
    pub(crate) fn get(&self) -> u64 {
        self.sum.get() / self.count.get().max(1)
    }
    pub(crate) fn max(&self) -> u64 {
        self.max.get()
    }
}

/// Traffic of a frontend, backend or server.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) current: Gauge,
    pub(crate) total: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    pub(crate) rate: Rate,
    /// Responses: 1xx to 5xx, then any other.
    pub(crate) statuses: [Counter; 6],
    pub(crate) history: History,
}

impl Traffic {
    pub(crate) fn status(&self, status: u16) {
        let class = match status {
            100..=599 => usize::from(status / 100 - 1),
            _ => 5,
        };
        self.statuses[class].up();
    }
}

/// What went wrong here, and not with a visitor or a server.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Requests that came to nothing by it (HAProxy `eint`).
    pub(crate) internal: Counter,
    /// Fields that rules could not write (HAProxy `wrew`).
    pub(crate) rewrites: Counter,
}

impl Faults {
    /// Rules would have made a head too long, and the request ends with that.
    pub(crate) fn no_room(&self) {
        self.internal.up();
        self.rewrites.up();
    }
}

/// A frontend's state.
#[derive(Debug, Default)]
pub(crate) struct FrontendLive {
    pub(crate) traffic: Traffic,
    pub(crate) requests: Counter,
    pub(crate) request_rate: Rate,
    pub(crate) ereq: Counter,
    /// Requests that a rule has denied.
    pub(crate) dreq: Counter,
    /// Connections that a rule has refused.
    pub(crate) dcon: Counter,
    /// What rules count of each visitor.
    pub(crate) visitors: Visitors,
    /// Requests that a rule has answered in another way.
    pub(crate) intercepted: Counter,
    pub(crate) faults: Faults,
    /// What is asked for most.
    pub(crate) paths: PathCounts,
    /// Wakes who waits for a connection to end because there are `maxconn`.
    pub(crate) room: Notify,
}

/// Since when it has been up or down, and for how long it was down before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uptime {
    pub(crate) up: bool,
    pub(crate) since: Instant,
    pub(crate) down_before_ms: u64,
    pub(crate) downs: u64,
}

impl Uptime {
    pub(crate) fn new(now: Instant) -> Self {
        Self { up: true, since: now, down_before_ms: 0, downs: 0 }
    }

    pub(crate) fn set(&mut self, up: bool, now: Instant) -> bool {
        if self.up == up {
            return false;
        }
        let spent = now.saturating_duration_since(self.since);
        if up {
            self.down_before_ms += u64::try_from(spent.as_millis()).unwrap_or(0);
        } else {
            self.downs += 1;
        }
        (self.up, self.since) = (up, now);
        true
    }

    pub(crate) fn since_s(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.since).as_secs()
    }

    pub(crate) fn downtime_s(&self, now: Instant) -> u64 {
        let current = if self.up { 0 } else { self.since_s(now) };
        self.down_before_ms / 1000 + current
    }
}

/// A backend's state.
#[derive(Debug)]
pub(crate) struct BackendLive {
    pub(crate) traffic: Traffic,
    pub(crate) econ: Counter,
    pub(crate) faults: Faults,
    pub(crate) uptime: Mutex<Uptime>,
    /// Who waits for any of its servers.
    pub(crate) queue: Queue,
    /// Changes with everything that can change who can be chosen.
    version: AtomicU64,
    turn: Mutex<(u64, Balancer)>,
    /// A server starts slowly.
    pub(crate) warming: AtomicBool,
    /// Which visitors were sent where.
    pub(crate) stick: Stick,
    clock: AtomicU64,
}

impl BackendLive {
    pub(crate) fn new(now: Instant, changes: Arc<Changes>) -> Self {
        Self {
            traffic: Traffic::default(),
            econ: Counter::default(),
            faults: Faults::default(),
            uptime: Mutex::new(Uptime::new(now)),
            queue: Queue::default(),
            version: AtomicU64::new(1),
            turn: Mutex::default(),
            warming: AtomicBool::new(false),
            stick: Stick::new(changes),
            clock: AtomicU64::new(0),
        }
    }

    /// Somebody went up or down, came, left or changed weight.
    pub(crate) fn changed(&self) {
        self.version.fetch_add(1, Relaxed);
    }

    /// The next server for a request, by its place in `backend`.
    ///
    /// `hash` is of what the algorithm looks at, where it looks at something.
    pub(crate) fn pick(
        &self,
        backend: &Backend,
        hash: Option<u32>,
        avoid: Option<usize>,
    ) -> Option<usize> {
        let mut turn = lock(&self.turn);
        // A thread may still hold the list of before a change; the version it brings tells
        // one list from another.
        let version = self.version.load(Relaxed) ^ (backend.generation << 32);
        if turn.0 != version {
            turn.0 = version;
            turn.1.set(&backend.algorithm, candidates(backend));
        }
        turn.1.pick(hash, avoid, |index| {
            let (server, live) = (&backend.servers[index], &backend.servers[index].live);
            let running = live.traffic.current.now();
            let limit = server.limit(backend);
            let room = limit == 0 || running < limit;
            // Whoever looks for the least loaded one finds a full one last. A balance factor
            // compares with the average, which this must not upset.
            let crowd = if room || backend.settings.hash_balance_factor > 0 { 0 } else { FULL };
            Load { running: running + crowd, touched: live.touched.get(), room }
        })
    }

    /// Another time, later than all before.
    pub(crate) fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Relaxed) + 1
    }
}

/// Who can be chosen: the usable servers, or else the first usable backup, or all of them (HAProxy
/// `option allbackups`).
pub(crate) fn candidates(backend: &Backend) -> Vec<Candidate> {
    let dynamic = backend.settings.balance.is_dynamic(backend.settings.hash_type);
    let slowstart = backend.settings.slowstart.duration();
    let candidate = |(index, s): (usize, &crate::config::Server)| {
        let weight = s.live.standing.weight(s.weight);
        let warm = if dynamic { s.live.sixteenths(slowstart) } else { SCALE };
        Candidate { index, weight, effective: weight * warm }
    };
    let usable = |backup: bool, retired: bool| {
        let servers = backend.servers.iter().enumerate();
        let usable = servers
            .filter(|(_, s)| s.backup == backup && s.takes_new() && (retired || !s.is_retired()));
        let most = if backup && !backend.settings.allbackups { 1 } else { usize::MAX };
        usable.take(most).map(candidate).collect::<Vec<_>>()
    };
    // Who still looks at older settings must not go where nobody goes any more, unless they have
    // nobody else: whoever takes that server's place in the newer ones is not known here.
    [(false, false), (true, false), (false, true), (true, true)]
        .into_iter()
        .map(|(backup, retired)| usable(backup, retired))
        .find(|some| !some.is_empty())
        .unwrap_or_default()
}

/// Of checks and agents of whom nothing is known so far.
pub(crate) fn unasked() -> CheckStatus {
    CheckStatus { check_status: "INI".to_owned(), ..CheckStatus::default() }
}

/// What checks and agent have found.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) fsm: Fsm,
    pub(crate) last: CheckStatus,
    /// The last check passed only conditionally.
    pub(crate) stopping: bool,
    pub(crate) agent_up: bool,
    /// A check is under way.
    pub(crate) running: bool,
    /// The agent is being asked.
    pub(crate) agent_running: bool,
    pub(crate) agent: CheckStatus,
    pub(crate) uptime: Uptime,
}

impl Checked {
    pub(crate) fn new(check: &model::Check, now: Instant) -> Self {
        Self {
            fsm: Fsm::new(check.rise, check.fall),
            last: unasked(),
            stopping: false,
            agent_up: true,
            running: false,
            agent_running: false,
            agent: unasked(),
            uptime: Uptime::new(now),
        }
    }
}

/// A server's state.
#[derive(Debug)]
pub(crate) struct ServerLive {
    /// Tells its connections from those of a former server of the same name.
    pub(crate) id: u64,
    pub(crate) standing: Standing,
    /// Who waits for this very server.
    pub(crate) queue: Queue,
    pub(crate) checked: Mutex<Checked>,
    pub(crate) traffic: Traffic,
    pub(crate) econ: Counter,
    pub(crate) eresp: Counter,
    pub(crate) faults: Faults,
    pub(crate) retries: Counter,
    pub(crate) redispatches: Counter,
    pub(crate) chosen: Counter,
    pub(crate) connects: Counter,
    pub(crate) reuses: Counter,
    pub(crate) idle: Gauge,
    pub(crate) client_aborts: Counter,
    pub(crate) server_aborts: Counter,
    pub(crate) queue_time: Average,
    pub(crate) connect_time: Average,
    pub(crate) response_time: Average,
    pub(crate) total_time: Average,
    /// The millisecond (of this process) of its last request; 0 for none.
    pub(crate) last_request: Counter,
    pub(crate) touched: Counter,
    /// Its connections are to be closed when idle: in maintenance, or gone from the settings.
    pub(crate) retired: AtomicBool,
}

impl ServerLive {
    pub(crate) fn new(id: u64, address: SocketAddrV4, check: &model::Check, now: Instant) -> Self {
        Self {
            id,
            standing: Standing::new(address, check.enabled),
            queue: Queue::default(),
            checked: Mutex::new(Checked::new(check, now)),
            traffic: Traffic::default(),
            econ: Counter::default(),
            eresp: Counter::default(),
            faults: Faults::default(),
            retries: Counter::default(),
            redispatches: Counter::default(),
            chosen: Counter::default(),
            connects: Counter::default(),
            reuses: Counter::default(),
            idle: Gauge::default(),
            client_aborts: Counter::default(),
            server_aborts: Counter::default(),
            queue_time: Average::default(),
            connect_time: Average::default(),
            response_time: Average::default(),
            total_time: Average::default(),
            last_request: Counter::default(),
            touched: Counter::default(),
            retired: AtomicBool::new(false),
        }
    }

    /// How much of its weight counts at this moment: 16 for all of it, less while it starts slowly
    /// after it was down (HAProxy `slowstart`).
    pub(crate) fn sixteenths(&self, slowstart: Duration) -> u32 {
        let Some((since, whole)) = self.starting(slowstart) else { return SCALE };
        let part = (u64::from(SCALE) * since + whole) / whole;
        u32::try_from(part).unwrap_or(SCALE).clamp(1, SCALE)
    }

    /// While it starts slowly: for how many seconds it has, and of how many.
    pub(crate) fn starting(&self, slowstart: Duration) -> Option<(u64, u64)> {
        if slowstart.is_zero() {
            return None;
        }
        let uptime = lock(&self.checked).uptime;
        // Never at the start: nobody else could take the load.
        if uptime.downs == 0 || !uptime.up {
            return None;
        }
        let (whole, since) = (slowstart.as_secs().max(1), uptime.since.elapsed().as_secs());
        (since < whole).then_some((since, whole))
    }

    /// Percent of its weight that counts while it starts slowly (HAProxy's column `throttle`).
    pub(crate) fn throttle(&self, slowstart: Duration) -> Option<u32> {
        let sixteenths = self.sixteenths(slowstart);
        // HAProxy shows 1 to 100, and nothing once it is over.
        (sixteenths < SCALE).then(|| (sixteenths * 100 / SCALE).clamp(1, 100))
    }

    /// Not down: it may be sent what belongs to it.
    pub(crate) fn is_up(&self) -> bool {
        self.standing.verdict() != Verdict::Down
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Registry;
    use model::{Name, ServerState, Settings};

    /// A backend with these servers.
    fn settings(servers: &[(&str, ServerState)]) -> Settings {
        let name = |n: &str| n.parse::<Name>().unwrap();
        let server = |(at, (n, state)): (usize, &(&str, ServerState))| model::Server {
            name: name(n),
            address: Some(format!("127.0.0.{}:80", at + 1).parse().unwrap()),
            state: *state,
            ..model::Server::default()
        };
        Settings {
            nodes: vec![model::Node {
                id: "lb".parse().unwrap(),
                name: "Lb".parse().unwrap(),
                roles: [model::Role::Balancer].into(),
                ..model::Node::default()
            }],
            frontends: vec![model::Frontend {
                name: name("front"),
                bind: vec!["127.0.0.1:80".parse().unwrap()],
                default_backend: name("back"),
                ..model::Frontend::default()
            }],
            backends: vec![model::Backend {
                name: name("back"),
                servers: servers.iter().enumerate().map(server).collect(),
                ..model::Backend::default()
            }],
            ..Settings::default()
        }
    }

    #[test]
    fn who_still_looks_at_older_settings_is_served_as_long_as_anybody_is() {
        use ServerState::{Maint, Ready};
        let registry = Registry::default();
        let built = |servers: &[(&str, ServerState)]| {
            let effective = model::derive(&settings(servers), &"lb".parse().unwrap());
            registry.build(&effective, Instant::now())
        };
        let chosen = |config: &crate::config::Config| -> Vec<String> {
            let backend = &config.backends[0];
            let name = |c: &Candidate| backend.servers[c.index].name.to_string();
            candidates(backend).iter().map(name).collect()
        };
        let both = built(&[("a", Ready), ("b", Ready)]);
        assert_eq!(chosen(&both), ["a", "b"]);
        let first = built(&[("a", Ready), ("b", Maint)]);
        assert_eq!((chosen(&both), chosen(&first)), (vec!["a".into()], vec!["a".into()]));
        let second = built(&[("a", Maint), ("b", Ready)]);
        assert_eq!(chosen(&second), ["b"]);
        // What it has is out of use by now, and what takes its place is in maintenance there.
        assert_eq!(chosen(&first), ["a"]);
        let other = built(&[("c", Ready)]);
        assert_eq!((chosen(&other), chosen(&second)), (vec!["c".into()], vec!["b".into()]));
    }
}
