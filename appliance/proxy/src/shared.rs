//! What all threads of the proxy see.

use crate::access::AccessLog;
use crate::config::{Config, Registry};
use crate::live::{Counter, Gauge, Rate, lock};
use crate::spread::Spread;
use crate::statistics::Desk;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;

/// Descriptors for everything that is no connection of a visitor or to a server.
const RESERVE: u64 = 200;
/// More than this is no Raspberry Pi's business.
const MOST: u64 = 100_000;

/// HAProxy's rule for a global `maxconn` nobody has set: each connection of a visitor may need
/// another one to a server, and all of them a descriptor.
fn most_connections() -> u64 {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    (files.unwrap_or(u64::MAX).saturating_sub(RESERVE) / 2).clamp(100, MOST)
}

/// The proxy's common state.
#[derive(Debug)]
pub(crate) struct Shared {
    started: Instant,
    config: Mutex<Arc<Config>>,
    /// The generation of `config`; workers compare it instead of taking the lock.
    pub(crate) generation: AtomicU64,
    pub(crate) registry: Registry,
    /// Grows when something happened that waiting requests must look at.
    pub(crate) health_epoch: AtomicU64,
    /// Listening sockets open, over all workers.
    pub(crate) listeners: AtomicUsize,
    /// Connections of visitors.
    pub(crate) connections: Gauge,
    /// New ones in a second.
    pub(crate) connection_rate: Rate,
    /// The most of them (HAProxy's global `maxconn`).
    maxconn: AtomicU64,
    /// Wakes listeners that wait because there are as many.
    pub(crate) room: Notify,
    pub(crate) accept_errors: Counter,
    /// The process is about to end: idle connections go, the others finish.
    pub(crate) draining: AtomicBool,
    pub(crate) access: AccessLog,
    /// The statistics page that frontends show.
    pub(crate) statistics: Desk,
    beats: Vec<AtomicU64>,
    /// Who serves how many, and how to give them more.
    pub(crate) spread: Spread,
    /// This node balances.
    pub(crate) active: AtomicBool,
}

impl Shared {
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            started: Instant::now(),
            config: Mutex::default(),
            generation: AtomicU64::new(0),
            registry: Registry::default(),
            health_epoch: AtomicU64::new(0),
            listeners: AtomicUsize::new(0),
            connections: Gauge::default(),
            connection_rate: Rate::default(),
            maxconn: AtomicU64::new(most_connections()),
            room: Notify::new(),
            accept_errors: Counter::default(),
            draining: AtomicBool::new(false),
            access: AccessLog::default(),
            statistics: Desk::default(),
            beats: (0..threads).map(|_| AtomicU64::new(0)).collect(),
            spread: Spread::new(threads),
            active: AtomicBool::new(false),
        }
    }

    /// The settings of this moment.
    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&lock(&self.config))
    }

    /// Publishes other settings.
    pub(crate) fn publish(&self, config: Arc<Config>) {
        let generation = config.generation;
        *lock(&self.config) = config;
        self.generation.store(generation, Ordering::Release);
        self.look_again();
    }

    /// The most connections of visitors.
    pub(crate) fn maxconn(&self) -> u64 {
        self.maxconn.load(Ordering::Relaxed)
    }

    /// Takes over what the settings say about it, as far as the limit of open files allows.
    pub(crate) fn limit_connections(&self, wanted: Option<u32>) {
        let most = most_connections();
        let wanted = wanted.map_or(most, u64::from);
        if wanted > most {
            tracing::warn!(
                "maxconn {wanted} needs more open files than the system allows; \
                 at most {most} visitors are let in at once"
            );
        }
        self.maxconn.store(wanted.min(most), Ordering::Relaxed);
        self.room.notify_waiters();
    }

    /// Has every waiting request look at its server again.
    pub(crate) fn look_again(&self) {
        self.health_epoch.fetch_add(1, Ordering::Release);
    }

    /// Milliseconds since the proxy started, and one more so that 0 can mean never.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    /// Milliseconds since 1970.
    pub(crate) fn wall_ms() -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(0)
    }

    /// A worker is alive.
    pub(crate) fn beat(&self, worker: usize, now: u64) {
        if let Some(beat) = self.beats.get(worker) {
            beat.store(now, Ordering::Relaxed);
        }
    }

    /// The millisecond a worker was last seen alive.
    pub(crate) fn last_beat(&self, worker: usize) -> u64 {
        self.beats.get(worker).map_or(0, |b| b.load(Ordering::Relaxed))
    }

    /// How many workers there may be.
    pub(crate) fn threads(&self) -> usize {
        self.beats.len()
    }
}
