//! A node with eth0 and wlan0 in one subnet, and a peer that is also the router, on a bridge, each
//! in a network namespace of its own; and the crate at work in the node's. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests are tests")]
#![allow(dead_code, reason = "no test file needs all of them")]

use control::{Shutdown, ShutdownTrigger, Snapshot, StatusBoard};
use model::status::{Subsystem, SubsystemState};
use model::{Cidr, Link, Node, Revision, Settings};
use network::Options;
use nix::sched::{CloneFlags, setns, unshare};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::watch;

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs something on a thread of its own inside a namespace.
pub(crate) fn inside<T: Send + 'static>(
    namespace: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let path = format!("/run/netns/{namespace}");
    std::thread::spawn(move || {
        setns(File::open(path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
        work()
    })
}

/// Three namespaces, gone when dropped.
pub(crate) struct Lab {
    name: String,
}

impl Lab {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let lab = Self { name: format!("network-{}-{number}", std::process::id()) };
        for part in ["node", "peer", "switch"] {
            run(&format!("ip netns add {}-{part}", lab.name));
        }
        lab.on("switch", "ip link add name br0 type bridge forward_delay 0");
        lab.on("switch", "ip link set br0 up");
        lab.plug("node", "eth0");
        lab.plug("node", "wlan0");
        lab.plug("peer", "eth0");
        lab.on("peer", "ip addr add 192.168.1.100/24 dev eth0");
        lab.on("peer", "ip addr add 192.168.1.1/24 dev eth0");
        lab.on("peer", "ip link set eth0 up");
        lab.on("peer", "ip link set lo up");
        lab.on("peer", "ip addr add 10.9.9.9/32 dev lo");
        lab
    }

    pub(crate) fn namespace(&self, part: &str) -> String {
        format!("{}-{part}", self.name)
    }

    pub(crate) fn on(&self, part: &str, command: &str) -> String {
        run(&format!("ip netns exec {} {command}", self.namespace(part)))
    }

    pub(crate) fn plug(&self, part: &str, interface: &str) {
        let port = format!("{part}-{interface}");
        let namespace = self.namespace(part);
        let pair = "type veth peer name";
        self.on("switch", &format!("ip link add name {port} {pair} {interface} netns {namespace}"));
        self.on("switch", &format!("ip link set {port} master br0 up"));
    }

    pub(crate) fn mac(&self, part: &str, interface: &str) -> String {
        let path = format!("cat /sys/class/net/{interface}/address");
        self.on(part, &path).trim().to_owned()
    }

    pub(crate) fn addresses(&self, interface: &str) -> BTreeSet<String> {
        let lines = self.on("node", &format!("ip -4 -o addr show dev {interface}"));
        lines.lines().map(|l| l.split_whitespace().nth(3).unwrap().to_owned()).collect()
    }

    pub(crate) fn ping(&self, part: &str, arguments: &str) -> bool {
        let namespace = self.namespace(part);
        let command = format!("netns exec {namespace} ping -n -c 1 -W 1 {arguments}");
        let status =
            Command::new("ip").args(command.split_whitespace()).stdout(Stdio::null()).status();
        status.unwrap().success()
    }

    /// Pings without a pause until stopped.
    pub(crate) fn pinging(&self, part: &str, arguments: &str) -> Pinging {
        let namespace = self.namespace(part);
        let command = format!("netns exec {namespace} ping -n -i 0.02 {arguments}");
        let mut ip = Command::new("ip");
        Pinging(
            ip.args(command.split_whitespace())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for part in ["node", "peer", "switch"] {
            let _ = Command::new("ip").args(["netns", "del", &self.namespace(part)]).status();
        }
    }
}

pub(crate) struct Pinging(Child);

impl Pinging {
    /// Sent and received.
    pub(crate) fn stop(mut self) -> (u32, u32) {
        let id = nix::unistd::Pid::from_raw(self.0.id().try_into().unwrap());
        nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGINT).unwrap();
        let mut text = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        let line = text.lines().find(|l| l.contains(" packets transmitted")).unwrap();
        let numbers: Vec<u32> =
            line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        (numbers[0], numbers[1])
    }
}

impl Drop for Pinging {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The crate at work in the node's namespace.
pub(crate) struct Running {
    settings: Settings,
    revision: u64,
    snapshots: watch::Sender<Arc<Snapshot>>,
    pub(crate) board: StatusBoard,
    pub(crate) handle: network::Handle,
    runtime: tokio::runtime::Handle,
    stop: Option<ShutdownTrigger>,
    thread: Option<JoinHandle<String>>,
}

pub(crate) fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

pub(crate) fn settings() -> Settings {
    let link = |text| Link { address: Some(cidr(text)), ..Link::default() };
    let mut settings = Settings::default();
    settings.cluster.gateway = Some(Ipv4Addr::new(192, 168, 1, 1));
    settings.cluster.dns = vec![Ipv4Addr::new(192, 168, 1, 1), Ipv4Addr::new(9, 9, 9, 9)];
    settings.nodes = vec![Node {
        id: "web01".parse().unwrap(),
        name: "Web01".parse().unwrap(),
        eth0: link("192.168.1.10/24"),
        wlan0: link("192.168.1.20/24"),
        ..Node::default()
    }];
    settings
}

/// The settings of a board nobody has configured beyond its name.
pub(crate) fn bare() -> Settings {
    let mut settings = settings();
    settings.cluster.gateway = None;
    settings.cluster.dns.clear();
    settings.nodes[0].eth0 = Link::default();
    settings.nodes[0].wlan0 = Link::default();
    settings
}

impl Running {
    pub(crate) fn start(lab: &Lab, options: Options) -> Self {
        Self::with(lab, options, settings())
    }

    pub(crate) fn with(lab: &Lab, options: Options, settings: Settings) -> Self {
        Self::at(lab, "node", options, settings, || {})
    }

    /// In another namespace of the lab, after `prepare` on the thread it runs on.
    pub(crate) fn at(
        lab: &Lab,
        part: &str,
        options: Options,
        settings: Settings,
        prepare: impl FnOnce() + Send + 'static,
    ) -> Self {
        let id = "web01".parse().unwrap();
        let (snapshots, receiver) = Snapshot::new(Revision(1), settings.clone(), &id).channel();
        let board = StatusBoard::new(id, "test");
        let (stop, shutdown) = Shutdown::new();
        let (ready, wait) = mpsc::channel();
        let held = board.clone();
        let thread = inside(&lab.namespace(part), move || {
            unshare(CloneFlags::CLONE_NEWUTS).unwrap();
            prepare();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let reporter = held.reporter(Subsystem::Network);
                let handle = network::start(receiver, reporter, shutdown.clone(), options);
                let seen = handle.clone();
                held.provide(move |status| status.links = seen.links());
                ready.send((handle, tokio::runtime::Handle::current())).unwrap();
                shutdown.requested().await;
                nix::unistd::gethostname().unwrap().into_string().unwrap()
            })
        });
        let (handle, runtime) = wait.recv().unwrap();
        let (stop, thread) = (Some(stop), Some(thread));
        Self { settings, revision: 1, snapshots, board, handle, runtime, stop, thread }
    }

    /// Does something where the node is.
    pub(crate) fn block<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let (done, wait) = mpsc::channel();
        self.runtime.spawn(async move { done.send(work.await).unwrap() });
        wait.recv().unwrap()
    }

    pub(crate) fn change(&mut self, edit: impl FnOnce(&mut Settings)) {
        edit(&mut self.settings);
        self.revision += 1;
        let revision = Revision(self.revision);
        let id = "web01".parse().unwrap();
        let snapshot = Snapshot::new(revision, self.settings.clone(), &id);
        self.snapshots.send_replace(Arc::new(snapshot));
    }

    pub(crate) fn state(&self) -> Option<SubsystemState> {
        let all = self.board.own().subsystems;
        let own = all.get(&Subsystem::Network)?;
        (own.revision == Revision(self.revision)).then(|| own.state.clone())
    }

    pub(crate) fn applied(&self) {
        eventually("applied", || self.state() == Some(SubsystemState::Applied));
    }

    pub(crate) fn degraded(&self, part: &str) {
        eventually(
            part,
            || matches!(self.state(), Some(SubsystemState::Degraded { reason }) if reason.contains(part)),
        );
    }

    /// Ends it as a kill would: nothing is cleaned up. Returns the host name it had set.
    pub(crate) fn stop(mut self) -> String {
        self.stop.take().unwrap().trigger();
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(crate) fn options() -> (tempfile::TempDir, Options) {
    let folder = tempfile::tempdir().unwrap();
    let resolv_conf: PathBuf = folder.path().join("resolv.conf");
    (folder, Options { resolv_conf, ..Options::default() })
}
