//! The reference cluster, running.

use crate::error::{Doing, Error, Result};
use crate::netns::{Namespace, run};
use crate::network::{FLOATING_IP, LINKS, NODES, Network};
use crate::process::{enter_fresh, enter_like, start};
use crate::reference;
use crate::registry::{Record, all, clean_stale};
use crate::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How a lab is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// The appliance's program.
    pub bramble: PathBuf,
    /// Where the nodes keep their data. None: a temporary directory, removed at the end. Data
    /// found there is used as it is.
    pub state: Option<PathBuf>,
    /// The settings document all nodes are given; none: the reference cluster's. A missing
    /// `cluster.key` is made up.
    pub settings: Option<String>,
    /// The admin password of every node; none: they start unclaimed.
    pub password: Option<String>,
    /// More arguments for `bramble run` on every node.
    pub arguments: Vec<String>,
    /// The nodes whose appliance is started; the others are there, with nothing running.
    pub start: Vec<String>,
    /// Made for people by `lab up` rather than for a test.
    pub for_people: bool,
}

impl Options {
    /// The reference cluster with this program.
    pub fn new(bramble: impl Into<PathBuf>) -> Self {
        Self {
            bramble: bramble.into(),
            state: None,
            settings: None,
            password: None,
            arguments: Vec::new(),
            start: NODES.map(str::to_owned).to_vec(),
            for_people: false,
        }
    }

    /// The same with an admin password on every node.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// The same with another settings document.
    #[must_use]
    pub fn settings(mut self, document: impl Into<String>) -> Self {
        self.settings = Some(document.into());
        self
    }

    /// The same with changes of a node's network taken back after so many seconds.
    #[must_use]
    pub fn confirm_within(mut self, seconds: u64) -> Self {
        self.arguments.extend(["--confirm-within".to_owned(), seconds.to_string()]);
        self
    }

    /// The same with only these appliances started.
    #[must_use]
    pub fn start(mut self, nodes: &[&str]) -> Self {
        self.start = nodes.iter().map(|n| (*n).to_owned()).collect();
        self
    }
}

#[derive(Debug, Default)]
struct NodeState {
    powered: bool,
    child: Option<Child>,
    /// How the last process ended.
    ended: Option<ExitStatus>,
}

impl NodeState {
    fn pid(&mut self) -> Option<u32> {
        let child = self.child.as_mut()?;
        match child.try_wait() {
            Ok(None) => Some(child.id()),
            Ok(Some(status)) => {
                self.ended = Some(status);
                self.child = None;
                None
            }
            Err(_) => None,
        }
    }
}

/// The reference cluster in namespaces of its own. Dropping it removes all of them, with every
/// process in them.
#[derive(Debug)]
pub struct Lab {
    network: Network,
    record: Record,
    bramble: PathBuf,
    arguments: Vec<String>,
    nodes: Mutex<BTreeMap<&'static str, NodeState>>,
    graceful: bool,
}

impl Lab {
    /// Makes the network and starts the nodes. Returns when they have been started; wait for
    /// what you need with [`Lab::wait_ready`].
    ///
    /// # Errors
    /// Without root or iproute2, when the state directory is another lab's, or when a node does
    /// not take its settings. Nothing is left behind then.
    pub fn start(options: &Options) -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            let text = "the lab makes network namespaces and must be run as root";
            return Err(Error::other(text));
        }
        if !options.bramble.is_file() {
            let path = options.bramble.display();
            return Err(Error::other(format!("there is no program {path}; build it first")));
        }
        clean_stale()?;
        let (state, temporary) = match &options.state {
            Some(dir) => {
                fs::create_dir_all(dir).doing(|| format!("making {}", dir.display()))?;
                (dir.canonicalize().doing(|| format!("finding {}", dir.display()))?, false)
            }
            None => {
                let dir = tempfile::Builder::new().prefix("bramble-lab-").tempdir();
                (dir.doing(|| "making a temporary directory".to_owned())?.keep(), true)
            }
        };
        if let Some(other) = all().iter().find(|r| r.alive() && r.state == state) {
            let text = format!("{} is in use by process {}", state.display(), other.pid);
            return Err(Error::other(text));
        }
        let record = Record::register(&state, temporary, options.for_people)?;
        let lab = Self {
            network: Network::named(&record.prefix),
            record,
            bramble: options.bramble.clone(),
            arguments: options.arguments.clone(),
            nodes: Mutex::new(NODES.map(|n| (n, NodeState::default())).into()),
            graceful: options.for_people,
        };
        lab.network.build()?;
        lab.prepare(options)?;
        for name in NODES {
            wait::go_on()?;
            lab.network.add_node(name)?;
            lab.state_of(name)?.1.powered = true;
        }
        for name in &options.start {
            lab.node(name).start()?;
        }
        Ok(lab)
    }

    /// Gives every node its data directory, settings and password.
    fn prepare(&self, options: &Options) -> Result<()> {
        let shared = self.record.state.join("settings.toml");
        if !shared.exists() {
            let document = match &options.settings {
                Some(document) => reference::with_key(document)?,
                None => reference::document()?,
            };
            write(&shared, &document)?;
        }
        for name in NODES {
            wait::go_on()?;
            let dir = self.node(name).dir();
            let done = dir.join(".lab-prepared");
            if done.exists() {
                continue;
            }
            fs::create_dir_all(&dir).doing(|| format!("making {}", dir.display()))?;
            run(Command::new(&self.bramble)
                .args(["settings", "import", "--data"])
                .arg(&dir)
                .args(["--node", name])
                .arg(&shared))?;
            if let Some(password) = &options.password {
                self.set_password(&dir, password)?;
            }
            if name == "web01" {
                let site = dir.join("site");
                fs::create_dir_all(&site).doing(|| format!("making {}", site.display()))?;
                write(&site.join("index.html"), reference::DEMO_PAGE)?;
            }
            write(&done, "")?;
        }
        Ok(())
    }

    fn set_password(&self, dir: &Path, password: &str) -> Result<()> {
        let mut child = Command::new(&self.bramble)
            .args(["password", "--data"])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .doing(|| "starting bramble password".to_owned())?;
        if let Some(mut input) = child.stdin.take() {
            let line = format!("{password}\n");
            input.write_all(line.as_bytes()).doing(|| "writing the password".to_owned())?;
        }
        let status = child.wait().doing(|| "waiting for bramble password".to_owned())?;
        if status.success() {
            return Ok(());
        }
        Err(Error::other(format!("bramble password --data {} failed: {status}", dir.display())))
    }

    /// Where the nodes keep their data.
    pub fn state(&self) -> &Path {
        &self.record.state
    }

    /// What this lab has made.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The network, for cables and partitions.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The namespace the visitors live in.
    pub fn client(&self) -> Namespace {
        self.network.space("client")
    }

    /// One of the four nodes. Its operations fail if there is no such node.
    pub fn node<'a>(&'a self, name: &str) -> Node<'a> {
        let known = NODES.into_iter().find(|n| *n == name);
        Node { lab: self, name: known.unwrap_or("(unknown)"), asked: name.to_owned() }
    }

    fn state_of(&self, name: &str) -> Result<(&'static str, StateGuard<'_>)> {
        let known = NODES.into_iter().find(|n| *n == name);
        let known = known.ok_or_else(|| {
            Error::other(format!("there is no node {name:?}; the nodes are {}", NODES.join(", ")))
        })?;
        let guard = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((known, StateGuard { guard, name: known, spare: NodeState::default() }))
    }

    /// A command that will run where the node (or `client`, or `router`) is. The caller decides
    /// what becomes of its output.
    ///
    /// # Errors
    /// When there is no such place, or the node has no power.
    pub fn command(&self, place: &str, program: &str, args: &[&str]) -> Result<Command> {
        let mut command = Command::new(program);
        command.args(args);
        if place == "client" || place == "router" {
            enter_fresh(&self.network.space(place), None, &mut command)?;
            return Ok(command);
        }
        match self.node(place).place()? {
            Place::Process(pid) => enter_like(pid, &mut command)?,
            Place::Space(space) => enter_fresh(&space, None, &mut command)?,
        }
        Ok(command)
    }

    /// Runs a command to its end where the node (or `client`, or `router`) is, and returns what
    /// it printed.
    ///
    /// # Errors
    /// When it fails.
    pub fn exec(&self, place: &str, program: &str, args: &[&str]) -> Result<String> {
        run(&mut self.command(place, program, args)?)
    }

    /// The nodes that have this address on an interface at this moment.
    pub fn holders(&self, address: &str) -> Vec<&'static str> {
        NODES.into_iter().filter(|n| self.node(n).has_address(address)).collect()
    }

    /// Waits until exactly this node holds the floating IP.
    ///
    /// # Errors
    /// After `limit`, with who held it last.
    pub fn wait_holder(&self, node: &str, limit: Duration) -> Result<()> {
        wait::until(limit, &format!("{node} to hold {FLOATING_IP}"), || {
            let holders = self.holders(FLOATING_IP);
            if holders == [node] { Ok(()) } else { Err(holders) }
        })
    }

    /// Waits until the site answers 200 on the floating IP, as the client sees it.
    ///
    /// # Errors
    /// After `limit`.
    pub fn wait_site(&self, limit: Duration) -> Result<()> {
        self.wait_ok(site(), "/", limit)
    }

    /// Waits until `GET path` at an address gives 200, as the client sees it.
    ///
    /// # Errors
    /// After `limit`.
    pub fn wait_ok(&self, addr: SocketAddr, path: &str, limit: Duration) -> Result<()> {
        let client = self.client();
        let request = crate::http::Request::get(path).timeout(Duration::from_secs(2));
        wait::until(limit, &format!("200 from http://{addr}{path}"), || match crate::http::request(
            &client, addr, &request,
        ) {
            Ok(response) if response.status == 200 => Ok(()),
            Ok(response) => Err(format!("status {}", response.status)),
            Err(e) => Err(e.to_string()),
        })
    }

    /// Waits until every started node's admin page answers and the site does.
    ///
    /// # Errors
    /// After `limit`, or at once when a started node has ended.
    pub fn wait_ready(&self, limit: Duration) -> Result<()> {
        for name in NODES {
            let node = self.node(name);
            if node.pid().is_none() && !self.state_of(name)?.1.started() {
                continue;
            }
            let admin = admin(name);
            let (client, request) = (self.client(), crate::http::Request::get("/"));
            wait::until(limit, &format!("{name}'s admin page"), || {
                if node.pid().is_none() {
                    return Ok(Err(Error::other(format!("{name} has ended:\n{}", node.log_end()))));
                }
                crate::http::request(&client, admin, &request).map(|_| Ok(()))
            })??;
        }
        self.wait_site(limit)
    }

    /// Removes everything: processes, namespaces, temporary data, the record. What is gone
    /// already is fine.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn shut_down(&self) -> Result<()> {
        if self.graceful {
            let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
            for state in nodes.values_mut() {
                if let Some(pid) = state.pid() {
                    let _ = signal(pid, Signal::SIGTERM);
                }
            }
            let _ = wait::until_true(Duration::from_secs(5), "the nodes to stop", || {
                nodes.values_mut().all(|s| s.pid().is_none())
            });
        }
        self.record.clean()?;
        for state in self.nodes.lock().unwrap_or_else(PoisonError::into_inner).values_mut() {
            if let Some(mut child) = state.child.take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(e) = self.shut_down() {
            eprintln!("lab: {e}");
        }
    }
}

struct StateGuard<'a> {
    guard: MutexGuard<'a, BTreeMap<&'static str, NodeState>>,
    name: &'static str,
    spare: NodeState,
}

impl StateGuard<'_> {
    fn started(&self) -> bool {
        self.guard.get(self.name).is_some_and(|s| s.child.is_some() || s.ended.is_some())
    }
}

impl std::ops::Deref for StateGuard<'_> {
    type Target = NodeState;
    fn deref(&self) -> &NodeState {
        self.guard.get(self.name).unwrap_or(&self.spare)
    }
}

impl std::ops::DerefMut for StateGuard<'_> {
    fn deref_mut(&mut self) -> &mut NodeState {
        self.guard.get_mut(self.name).unwrap_or(&mut self.spare)
    }
}

enum Place {
    Process(u32),
    Space(Namespace),
}

/// One node of a lab.
#[derive(Clone, Debug)]
pub struct Node<'a> {
    lab: &'a Lab,
    name: &'static str,
    asked: String,
}

impl Node<'_> {
    /// Its data directory.
    pub fn dir(&self) -> PathBuf {
        self.lab.record.state.join(self.name)
    }

    /// Its site's directory.
    pub fn site(&self) -> PathBuf {
        self.dir().join("site")
    }

    /// What its appliance has written.
    pub fn log(&self) -> String {
        fs::read(self.dir().join("log"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The last lines of that.
    pub fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(15)..).unwrap_or_default().join("\n")
    }

    /// Its namespace.
    pub fn space(&self) -> Namespace {
        self.lab.network.space(self.name)
    }

    /// Its appliance's process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.lab.state_of(&self.asked).ok()?.1.pid()
    }

    /// Has it power?
    pub fn powered(&self) -> bool {
        self.lab.state_of(&self.asked).is_ok_and(|(_, s)| s.powered)
    }

    fn place(&self) -> Result<Place> {
        let (name, mut state) = self.lab.state_of(&self.asked)?;
        if !state.powered {
            return Err(Error::other(format!("{name} has no power")));
        }
        Ok(state.pid().map_or_else(|| Place::Space(self.space()), Place::Process))
    }

    /// Starts its appliance.
    ///
    /// # Errors
    /// Without power, or when it runs already.
    pub fn start(&self) -> Result<()> {
        let (name, mut state) = self.lab.state_of(&self.asked)?;
        if !state.powered {
            return Err(Error::other(format!("{name} has no power")));
        }
        if let Some(pid) = state.pid() {
            return Err(Error::other(format!("{name} runs already, as process {pid}")));
        }
        let dir = self.dir();
        let log = File::options()
            .create(true)
            .append(true)
            .open(dir.join("log"))
            .doing(|| format!("opening the log of {name}"))?;
        let errors = log.try_clone().doing(|| format!("opening the log of {name}"))?;
        let resolv_conf = dir.join("resolv.conf");
        if !resolv_conf.exists() {
            write(&resolv_conf, "")?;
        }
        let mut command = Command::new(&self.lab.bramble);
        command.args(["run", "--data"]).arg(&dir).args(&self.lab.arguments);
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        state.child = Some(start(&self.space(), Some(&resolv_conf), command)?);
        Ok(())
    }

    /// Sends SIGTERM to its appliance and waits until it has ended.
    ///
    /// # Errors
    /// When it does not run, or does not end within 15 seconds.
    pub fn stop(&self) -> Result<ExitStatus> {
        self.end(Signal::SIGTERM, Duration::from_secs(15))
    }

    /// Sends SIGKILL to its appliance.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self) -> Result<ExitStatus> {
        self.end(Signal::SIGKILL, Duration::from_secs(5))
    }

    fn end(&self, how: Signal, limit: Duration) -> Result<ExitStatus> {
        let (name, mut state) = self.lab.state_of(&self.asked)?;
        let pid = state.pid().ok_or_else(|| Error::other(format!("{name} does not run")))?;
        signal(pid, how)?;
        let what = format!("{name} to end after {how}");
        wait::until_true(limit, &what, || state.pid().is_none())?;
        state.ended.ok_or_else(|| Error::other(format!("{name} ended, nobody knows how")))
    }

    /// Cuts its power, or gives it back and starts its appliance. Already so: nothing happens.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn power(&self, on: bool) -> Result<()> {
        let (name, mut state) = self.lab.state_of(&self.asked)?;
        match (state.powered, on) {
            (true, false) => {
                state.powered = false;
                self.lab.network.remove_node(name)?;
                if let Some(mut child) = state.child.take() {
                    state.ended = child.wait().ok();
                }
                Ok(())
            }
            (false, true) => {
                self.lab.network.add_node(name)?;
                state.powered = true;
                drop(state);
                self.start()
            }
            _ => Ok(()),
        }
    }

    /// Pulls or plugs one of its cables.
    ///
    /// # Errors
    /// Without power, or when there is no such link.
    pub fn link(&self, link: &str, up: bool) -> Result<()> {
        self.place()?;
        self.lab.network.set_link(self.name, link, up)
    }

    /// The IPv4 addresses on one of its links, as `ip` shows them, such as `192.168.1.10/24`.
    pub fn addresses(&self, link: &str) -> Vec<String> {
        let shown = self.space().ip(&["-4", "-o", "addr", "show", "dev", link]);
        let words = shown.unwrap_or_default();
        words
            .lines()
            .filter_map(|line| line.split_whitespace().skip_while(|w| *w != "inet").nth(1))
            .map(str::to_owned)
            .collect()
    }

    /// Does it have this address on any link?
    pub fn has_address(&self, address: &str) -> bool {
        LINKS
            .iter()
            .any(|link| self.addresses(link).iter().any(|a| a.split('/').next() == Some(address)))
    }
}

/// Where a node's admin page is, by its wired address.
pub fn admin(node: &str) -> SocketAddr {
    SocketAddr::from((wired(node), 1936))
}

/// Where the site is.
pub fn site() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(192, 168, 1, 15), 80))
}

/// A node's wired address in the reference cluster.
pub fn wired(node: &str) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 1, last_byte(node))
}

/// A node's wireless address in the reference cluster.
pub fn wireless(node: &str) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 1, last_byte(node) + 10)
}

fn last_byte(node: &str) -> u8 {
    match node {
        "web01" => 10,
        "web02" => 11,
        "lbmaster" => 14,
        _ => 12,
    }
}

fn signal(pid: u32, how: Signal) -> Result<()> {
    let pid = i32::try_from(pid).map_err(|_| Error::other("a process id out of range"))?;
    kill(Pid::from_raw(pid), how).doing(|| format!("sending {how} to process {pid}"))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).doing(|| format!("writing {}", path.display()))
}
