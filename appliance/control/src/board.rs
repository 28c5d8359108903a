//! What every node reports, gathered where the pages can read it.

use crate::snapshot::Snapshot;
use model::status::{NodeReport, NodeStatus, Notice, Subsystem, SubsystemState, SubsystemStatus};
use model::{NodeId, Revision};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A peer is taken for out of reach after so long without a report.
const SILENCE: Duration = Duration::from_secs(3);

type Provider = Box<dyn Fn(&mut NodeStatus) + Send + Sync>;

struct Peer {
    arrived: Instant,
    status: NodeStatus,
}

struct Inner {
    started: Instant,
    own: Mutex<NodeStatus>,
    peers: Mutex<BTreeMap<NodeId, Peer>>,
    providers: Mutex<Vec<Provider>>,
    version: watch::Sender<u64>,
    own_version: watch::Sender<u64>,
}

/// Live status of this node and of the others. Cheap to clone.
///
/// Subsystems register a provider that fills in their part when somebody looks, so that counters
/// cost nothing while nobody does, and call [`Self::touch`] when something happened that an open
/// page should show at once.
#[derive(Clone)]
pub struct StatusBoard(Arc<Inner>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The data behind these locks is valid after any panic: single assignments only.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StatusBoard {
    /// A board for this node.
    pub fn new(id: NodeId, version: &str) -> Self {
        let own = NodeStatus {
            id,
            version: version.to_owned(),
            pid: std::process::id(),
            ..NodeStatus::default()
        };
        Self(Arc::new(Inner {
            started: Instant::now(),
            own: Mutex::new(own),
            peers: Mutex::default(),
            providers: Mutex::default(),
            version: watch::channel(0).0,
            own_version: watch::channel(0).0,
        }))
    }

    /// Has `fill` called with this node's status whenever it is read.
    pub fn provide(&self, fill: impl Fn(&mut NodeStatus) + Send + Sync + 'static) {
        lock(&self.0.providers).push(Box::new(fill));
    }

    /// A handle through which one subsystem reports its state.
    pub fn reporter(&self, subsystem: Subsystem) -> Reporter {
        Reporter { board: self.clone(), subsystem }
    }

    /// Says that something worth showing has happened.
    pub fn touch(&self) {
        bump(&self.0.own_version);
        bump(&self.0.version);
    }

    /// Wakes up when something worth showing has happened.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.version.subscribe()
    }

    /// Like [`Self::changes`], for this node alone: hearing from another node is none. What is
    /// sent to the others follows this one, or two nodes would keep each other awake.
    pub fn own_changes(&self) -> watch::Receiver<u64> {
        self.0.own_version.subscribe()
    }

    /// Notes which settings run now.
    pub fn running(&self, snapshot: &Snapshot) {
        let name = snapshot.settings.node(snapshot.node()).map(|n| n.name.to_string());
        let mut own = lock(&self.0.own);
        own.revision = snapshot.revision;
        own.name = name.unwrap_or_else(|| snapshot.node().to_string());
        drop(own);
        self.touch();
    }

    /// Shows the operator a notice, or replaces the one with the same key.
    pub fn notice(&self, key: &str, text: impl Into<String>) {
        let notice = Notice { key: key.to_owned(), text: text.into() };
        let mut own = lock(&self.0.own);
        own.notices.retain(|n| n.key != key);
        own.notices.push(notice);
        drop(own);
        self.touch();
    }

    /// Takes a notice down.
    pub fn clear_notice(&self, key: &str) {
        let mut own = lock(&self.0.own);
        let before = own.notices.len();
        own.notices.retain(|n| n.key != key);
        let changed = own.notices.len() != before;
        drop(own);
        if changed {
            self.touch();
        }
    }

    /// This node's status at this moment.
    pub fn own(&self) -> NodeStatus {
        let mut status = lock(&self.0.own).clone();
        status.uptime_ms = millis(self.0.started.elapsed());
        for fill in lock(&self.0.providers).iter() {
            fill(&mut status);
        }
        status
    }

    /// Keeps what another node reported.
    pub fn heard(&self, status: NodeStatus) {
        let id = status.id.clone();
        let peer = Peer { arrived: Instant::now(), status };
        lock(&self.0.peers).insert(id, peer);
        bump(&self.0.version);
    }

    /// Another node is alive and its last report still holds, but for the time it has been up.
    /// False if there is no report of it; the page is not woken.
    pub fn still_there(&self, id: &NodeId, uptime_ms: u64) -> bool {
        let mut peers = lock(&self.0.peers);
        let Some(peer) = peers.get_mut(id) else {
            return false;
        };
        peer.arrived = Instant::now();
        peer.status.uptime_ms = uptime_ms;
        true
    }

    /// Wakes the page without anything of this node having changed, for example because another
    /// node has been silent for too long.
    pub fn look_again(&self) {
        bump(&self.0.version);
    }

    /// Forgets nodes the settings no longer have.
    pub fn retain(&self, known: impl Fn(&NodeId) -> bool) {
        lock(&self.0.peers).retain(|id, _| known(id));
    }

    /// Every node's last report, this node's first.
    pub fn nodes(&self) -> Vec<NodeReport> {
        let mut all = vec![NodeReport { age_ms: 0, reachable: true, status: self.own() }];
        all.extend(lock(&self.0.peers).values().map(|peer| {
            let age = peer.arrived.elapsed();
            NodeReport {
                age_ms: millis(age),
                reachable: age < SILENCE,
                status: peer.status.clone(),
            }
        }));
        all
    }

    fn report(&self, subsystem: Subsystem, status: SubsystemStatus) {
        let mut own = lock(&self.0.own);
        let changed = own.subsystems.get(&subsystem) != Some(&status);
        own.subsystems.insert(subsystem, status);
        drop(own);
        if changed {
            self.touch();
        }
    }
}

fn bump(version: &watch::Sender<u64>) {
    version.send_modify(|v| *v = v.wrapping_add(1));
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// One subsystem's voice on the board.
#[derive(Clone)]
pub struct Reporter {
    board: StatusBoard,
    subsystem: Subsystem,
}

impl Reporter {
    /// Runs these settings.
    pub fn applied(&self, revision: Revision) {
        self.set(revision, SubsystemState::Applied);
    }

    /// These settings give it nothing to do here.
    pub fn idle(&self, revision: Revision) {
        self.set(revision, SubsystemState::Idle);
    }

    /// Runs what it can of these settings; `reason` says what is missing and what to do.
    pub fn degraded(&self, revision: Revision, reason: impl Into<String>) {
        self.set(revision, SubsystemState::Degraded { reason: reason.into() });
    }

    /// Ended unexpectedly.
    pub fn failed(&self, reason: impl Into<String>) {
        let own = lock(&self.board.0.own);
        let revision = own.subsystems.get(&self.subsystem).map(|s| s.revision).unwrap_or_default();
        drop(own);
        self.set(revision, SubsystemState::Failed { reason: reason.into() });
    }

    /// The board it reports to.
    pub fn board(&self) -> &StatusBoard {
        &self.board
    }

    fn set(&self, revision: Revision, state: SubsystemState) {
        self.board.report(self.subsystem, SubsystemStatus { revision, state });
    }
}
