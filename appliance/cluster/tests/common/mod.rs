//! Whole nodes' channels, each on a loopback address of its own.
#![allow(dead_code, reason = "each test file uses some of it")]
#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests")]

use cluster::{Answer, Gift, Handle, Household, Identity, NewBoard, Options, Service, Versions};
use control::{Shutdown, ShutdownTrigger, Snapshot, StatusBoard};
use model::status::{NodeStatus, Subsystem, SubsystemState};
use model::{DeviceId, Link, NODE_PORT, Node, NodeId, Revision, Secret, Settings};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(crate) fn id(text: &str) -> NodeId {
    text.parse().unwrap()
}

/// An address that no other test of this or another process uses.
pub(crate) fn address() -> Ipv4Addr {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 1 + high % 250, low, COUNT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn node(name: &str, wired: Ipv4Addr) -> Node {
    let link = Link { address: Some(format!("{wired}/8").parse().unwrap()), ..Link::default() };
    Node { id: id(name), name: name.parse().unwrap(), eth0: link, ..Node::default() }
}

pub(crate) fn settings(nodes: &[Node]) -> Settings {
    let mut settings = Settings::default();
    settings.cluster.key = Secret::new("the key that all nodes of the test have");
    settings.nodes = nodes.to_vec();
    settings
}

/// The settings of one node, changed by the test and by pins.
pub(crate) struct Desk {
    pub(crate) id: NodeId,
    pub(crate) revision: u64,
    pub(crate) settings: Settings,
    snapshots: watch::Sender<Arc<Snapshot>>,
    /// How many pins were asked for.
    pub(crate) pins: u32,
    /// So many of them come to nothing.
    pub(crate) busy: u32,
}

impl Desk {
    pub(crate) fn change(&mut self, edit: impl FnOnce(&mut Settings)) {
        edit(&mut self.settings);
        self.revision += 1;
        let snapshot = Snapshot::new(Revision(self.revision), self.settings.clone(), &self.id);
        self.snapshots.send_replace(Arc::new(snapshot));
    }

    fn pin(&mut self, node: &NodeId, device: DeviceId) {
        self.pins += 1;
        if self.pins <= self.busy {
            return;
        }
        let found = |s: &mut Settings| s.nodes.iter().position(|n| n.id == *node);
        if let Some(at) = found(&mut self.settings) {
            self.change(|s| s.nodes[at].device = Some(device));
        }
    }
}

/// One node.
pub(crate) struct Fixture {
    pub(crate) id: NodeId,
    pub(crate) at: SocketAddrV4,
    pub(crate) board: StatusBoard,
    pub(crate) handle: Handle,
    pub(crate) desk: Arc<Mutex<Desk>>,
    pub(crate) home: Arc<Home>,
    _stop: ShutdownTrigger,
}

/// A board and what makes it a member, as far as a test needs them.
pub(crate) struct Home {
    pub(crate) claimed: AtomicBool,
    pub(crate) powered_for: Mutex<Duration>,
    pub(crate) token: Mutex<Option<Secret>>,
    pub(crate) flashes: Mutex<Vec<Option<u8>>>,
    pub(crate) invited: Mutex<Vec<NewBoard>>,
    pub(crate) withdrawn: Mutex<Vec<NewBoard>>,
    pub(crate) accepted: Mutex<Vec<NodeId>>,
    /// The power fails while it takes over what it is given.
    pub(crate) dies: AtomicBool,
    /// Why it cannot take over what it is given.
    pub(crate) cannot: Mutex<Option<String>>,
    desk: Arc<Mutex<Desk>>,
}

impl Household for Home {
    fn claimed(&self) -> bool {
        self.claimed.load(Ordering::Relaxed)
    }
    fn powered_for(&self) -> Duration {
        *self.powered_for.lock().unwrap()
    }
    fn model(&self) -> String {
        "Raspberry Pi 3".to_owned()
    }
    fn join_token(&self) -> Option<Secret> {
        self.token.lock().unwrap().clone()
    }
    fn blink(&self, flashes: Option<u8>) -> Answer<'_, ()> {
        self.flashes.lock().unwrap().push(flashes);
        Box::pin(async { Ok(()) })
    }
}

impl Gift for Home {
    fn invite(&self, board: NewBoard) -> Answer<'_, Vec<u8>> {
        Box::pin(async move {
            self.invited.lock().unwrap().push(board.clone());
            let mut desk = self.desk.lock().unwrap();
            desk.change(|settings| match settings.nodes.iter_mut().find(|n| n.id == board.node) {
                Some(entry) => entry.device = Some(board.device),
                None => settings.nodes.push(board.entry),
            });
            Ok(serde_json::to_vec(&desk.settings).unwrap())
        })
    }
    fn withdraw(&self, board: NewBoard) -> Answer<'_, ()> {
        Box::pin(async move {
            self.desk.lock().unwrap().change(|s| s.nodes.retain(|n| n.id != board.node));
            self.withdrawn.lock().unwrap().push(board);
            Ok(())
        })
    }
    fn accept(&self, node: NodeId, gift: Vec<u8>) -> Answer<'_, ()> {
        Box::pin(async move {
            if self.dies.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            if let Some(why) = self.cannot.lock().unwrap().clone() {
                return Err(why);
            }
            self.accepted.lock().unwrap().push(node);
            let settings: Settings = serde_json::from_slice(&gift).unwrap();
            self.desk.lock().unwrap().change(|own| *own = settings);
            self.claimed.store(true, Ordering::Relaxed);
            Ok(())
        })
    }
}

pub(crate) fn key() -> Vec<u8> {
    Identity::generate().unwrap()
}

impl Fixture {
    pub(crate) fn start(name: &str, settings: &Settings) -> Self {
        Self::with(name, settings, &key(), Versions::OURS)
    }

    pub(crate) fn with(name: &str, settings: &Settings, key: &[u8], versions: Versions) -> Self {
        Self::calling(name, settings, key, versions, Vec::new())
    }

    /// One that looks for boards at these addresses.
    pub(crate) fn calling(
        name: &str,
        settings: &Settings,
        key: &[u8],
        versions: Versions,
        targets: Vec<SocketAddrV4>,
    ) -> Self {
        let own = settings.node(&id(name)).unwrap();
        let at = SocketAddrV4::new(own.addresses().last().unwrap(), NODE_PORT);
        Self::at(name, settings, key, versions, targets, at)
    }

    /// One that is where its settings do not say.
    pub(crate) fn at(
        name: &str,
        settings: &Settings,
        key: &[u8],
        versions: Versions,
        targets: Vec<SocketAddrV4>,
        at: SocketAddrV4,
    ) -> Self {
        let id = id(name);
        let (snapshots, receiver) = Snapshot::new(Revision(1), settings.clone(), &id).channel();
        let board = StatusBoard::new(id.clone(), "test");
        let (stop, shutdown) = Shutdown::new();
        let reporter = board.reporter(Subsystem::Cluster);
        let desk = Desk {
            id: id.clone(),
            revision: 1,
            settings: settings.clone(),
            snapshots,
            pins: 0,
            busy: 0,
        };
        let desk = Arc::new(Mutex::new(desk));
        let pinning = desk.clone();
        let pins = Arc::new(move |node: NodeId, device: DeviceId| {
            pinning.lock().unwrap().pin(&node, device);
        });
        let home = Arc::new(Home {
            claimed: AtomicBool::new(true),
            powered_for: Mutex::default(),
            token: Mutex::default(),
            flashes: Mutex::default(),
            invited: Mutex::default(),
            withdrawn: Mutex::default(),
            accepted: Mutex::default(),
            dies: AtomicBool::default(),
            cannot: Mutex::default(),
            desk: desk.clone(),
        });
        let identity = Identity::read(key).unwrap();
        let options = Options {
            listen: at,
            targets: Some(targets),
            versions,
            ..Options::new(identity, pins, home.clone(), home.clone())
        };
        let handle = cluster::start(receiver, reporter, shutdown, board.clone(), options).unwrap();
        Self { id, at, board, handle, desk, home, _stop: stop }
    }

    pub(crate) fn change(&self, edit: impl FnOnce(&mut Settings)) {
        self.desk.lock().unwrap().change(edit);
    }

    pub(crate) fn settings(&self) -> Settings {
        self.desk.lock().unwrap().settings.clone()
    }

    pub(crate) fn pinned(&self, node: &str) -> Option<DeviceId> {
        self.settings().node(&id(node)).unwrap().device.clone()
    }

    pub(crate) fn device(&self) -> Option<DeviceId> {
        Some(self.handle.device().clone())
    }

    pub(crate) fn notices(&self) -> String {
        let own = self.board.own();
        own.notices.into_iter().map(|n| n.text + "\n").collect()
    }

    pub(crate) fn state(&self) -> Option<SubsystemState> {
        let all = self.board.own().subsystems;
        let own = all.get(&Subsystem::Cluster)?;
        let newest = self.desk.lock().unwrap().revision;
        (own.revision == Revision(newest)).then(|| own.state.clone())
    }

    pub(crate) async fn degraded(&self, part: &str) {
        eventually(part, || match self.state() {
            Some(SubsystemState::Degraded { reason }) => reason.contains(part),
            _ => false,
        })
        .await;
    }

    pub(crate) fn knows(&self, other: &Self) -> Option<NodeStatus> {
        let all = self.board.nodes();
        let found = all.into_iter().find(|n| n.status.id == other.id && n.reachable);
        found.map(|n| n.status)
    }

    pub(crate) async fn meets(&self, other: &Self) {
        eventually("both know each other", || {
            self.knows(other).is_some() && other.knows(self).is_some()
        })
        .await;
    }

    /// Waits until it can be called.
    pub(crate) async fn listens(&self) {
        eventually("it listens", || std::net::TcpStream::connect(self.at).is_ok()).await;
    }

    pub(crate) fn serves_echo(&self) {
        self.handle.on(
            Service::Mirror,
            Arc::new(|_, stream| {
                Box::pin(async move {
                    let (mut reader, mut writer) = tokio::io::split(stream);
                    let _ = tokio::io::copy(&mut reader, &mut writer).await;
                    let _ = writer.shutdown().await;
                })
            }),
        );
    }
}
