//! The edge: wakes up, looks, and takes the steps of the plan.

use crate::announce::{self, Announcer, Place};
use crate::error::Error;
use crate::kernel::Kernel;
use crate::pace::Pace;
use crate::plan::{Op, Plan, Wanted, plan};
use crate::view::View;
use crate::{hostname, resolv, sysctl};
use control::{Reporter, Shutdown, Snapshot, SnapshotReceiver, supervise};
use model::status::LinkStatus;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// While something is wrong that no event announces (a read-only file system, a refused step),
/// it is tried again so often.
const RETRY: Duration = Duration::from_secs(5);
/// And in peace, against a lost event.
const LOOK: Duration = Duration::from_secs(60);
/// A plan is carried out and looked at again at most so often in one go: the kernel adds and
/// removes things of its own accord, which can leave a second step to take.
const ROUNDS: usize = 4;

/// Where things are; different in tests.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file that lists the name servers.
    pub resolv_conf: PathBuf,
    /// The kernel's settings.
    pub proc_sys: PathBuf,
    /// Whether to set the host name.
    pub host_name: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            resolv_conf: "/etc/resolv.conf".into(),
            proc_sys: "/proc/sys".into(),
            host_name: true,
        }
    }
}

/// What others may ask. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Handle {
    links: Arc<Mutex<Vec<LinkStatus>>>,
}

impl Handle {
    /// This node's network interfaces as the kernel has them now.
    pub fn links(&self) -> Vec<LinkStatus> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// True if this is news.
    fn set(&self, links: Vec<LinkStatus>) -> bool {
        let mut held = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let news = *held != links;
        *held = links;
        news
    }
}

/// Starts following the settings; needs a tokio runtime. Addresses stay when it stops: they are
/// still right, and a restart must not cut anybody off.
pub fn start(
    snapshots: SnapshotReceiver,
    reporter: Reporter,
    shutdown: Shutdown,
    options: Options,
) -> Handle {
    let handle = Handle::default();
    let held = handle.clone();
    tokio::spawn(supervise(reporter.clone(), shutdown.clone(), move || {
        run(snapshots.clone(), reporter.clone(), shutdown.clone(), options.clone(), held.clone())
    }));
    handle
}

async fn run(
    mut snapshots: SnapshotReceiver,
    reporter: Reporter,
    shutdown: Shutdown,
    options: Options,
    handle: Handle,
) {
    let (kernel, events) = loop {
        match open() {
            Ok(opened) => break opened,
            Err(error) => {
                let revision = snapshots.borrow_and_update().revision;
                let reason = format!("the kernel's network interface cannot be used: {error}");
                reporter.degraded(revision, reason);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = shutdown.requested() => return,
        }
    };
    let mut runner = Runner {
        kernel,
        options,
        reporter,
        handle,
        wanted: Wanted::default(),
        taken: BTreeSet::new(),
        pace: Pace::new(Instant::now()),
        announcer: Announcer::default(),
        said: Vec::new(),
    };
    loop {
        let snapshot = snapshots.borrow_and_update().clone();
        let pause = match runner.pace.wait(Instant::now()) {
            Duration::ZERO => runner.follow(&snapshot),
            fight => fight,
        };
        tokio::select! {
            changed = snapshots.changed() => if changed.is_err() {
                shutdown.requested().await;
                return;
            },
            ready = events.readable() => {
                // Readiness is cleared after the socket is empty: an event in between sets it
                // again (AsyncFd counts them).
                match (ready, runner.kernel.drain_events()) {
                    (Ok(mut guard), Ok(_)) => guard.clear_ready(),
                    (Err(error), _) | (_, Err(error)) => {
                        tracing::warn!("no more events from the kernel: {error}");
                        return; // started again with new sockets
                    }
                }
            }
            () = tokio::time::sleep(pause) => {}
            () = shutdown.requested() => return,
        }
    }
}

fn open() -> io::Result<(Kernel, AsyncFd<OwnedFd>)> {
    let kernel = Kernel::open()?;
    let events = kernel.events().try_clone_to_owned()?;
    // SAFETY: the AsyncFd owns the descriptor: it is closed after it is deregistered, not before.
    let events = unsafe { AsyncFd::register_with_interest(events, Interest::READABLE) }?;
    Ok((kernel, events))
}

struct Runner {
    kernel: Kernel,
    options: Options,
    reporter: Reporter,
    handle: Handle,
    wanted: Wanted,
    /// Interfaces that were switched on once for these settings.
    taken: BTreeSet<u32>,
    pace: Pace,
    announcer: Announcer,
    /// The problems last logged.
    said: Vec<String>,
}

impl Runner {
    /// Makes the system what the settings say, as far as it lets us, and says when to look again.
    fn follow(&mut self, snapshot: &Snapshot) -> Duration {
        let wanted = Wanted::of(snapshot);
        if wanted != self.wanted {
            self.taken.clear();
            self.wanted = wanted;
        }
        let mut problems = Vec::new();
        let working = match self.settle(&mut problems) {
            Ok((view, working)) => {
                if self.handle.set(links(&self.wanted, &view)) {
                    self.reporter.board().touch();
                }
                self.announce(&view);
                working
            }
            Err(error) => {
                problems.push(format!("the kernel cannot be asked: {error}"));
                Vec::new()
            }
        };
        self.names(snapshot, &mut problems);
        if self.pace.fight(Instant::now()) {
            problems.push(
                "another program keeps changing this node's addresses or routes; stop it (a DHCP \
                 client?) or take the addresses out of the settings"
                    .to_owned(),
            );
        }
        let pause = self.report(snapshot, &working, problems);
        self.announcer.pause(Instant::now()).map_or(pause, |announce| announce.min(pause))
    }

    /// Tells the neighbours about addresses that have just become usable.
    fn announce(&mut self, view: &View) {
        let places = self.wanted.links.iter().filter_map(|link| {
            let interface = view.interface(&link.name).filter(|i| i.up && i.running)?;
            let set = view.addresses.iter().find(|a| {
                a.interface == interface.index && a.address.addr() == link.address.addr()
            })?;
            Some(Place {
                interface: interface.index,
                mac: interface.mac,
                address: set.address.addr(),
            })
        });
        for place in self.announcer.due(&places.collect(), Instant::now()) {
            if let Err(error) = announce::send(&place) {
                tracing::warn!("{} could not be announced: {error}", place.address);
            }
        }
    }

    /// Plans and acts until there is nothing left to do.
    fn settle(&mut self, problems: &mut Vec<String>) -> io::Result<(View, Vec<String>)> {
        let mut refused: Vec<(Op, String)> = Vec::new();
        let mut tuned = BTreeSet::new();
        let mut acted = false;
        for _ in 0..ROUNDS {
            let view = self.kernel.view()?;
            for link in &self.wanted.links {
                if view.interface(&link.name).is_some() && tuned.insert(link.name.clone()) {
                    if let Err(error) = sysctl::apply(&self.options.proc_sys, &link.name) {
                        problems.push(format!(
                            "the kernel's ARP and routing rules of {} could not be set, so two \
                             interfaces in one network may answer for each other: {error}",
                            link.name
                        ));
                    }
                }
            }
            let Plan { mut ops, .. } = plan(&self.wanted, &view, &self.taken);
            ops.retain(|op| !refused.iter().any(|(no, _)| no == op));
            if ops.is_empty() {
                break;
            }
            acted = true;
            for op in ops {
                if let Op::SwitchOn(index) = op {
                    self.taken.insert(index);
                }
                match self.kernel.apply(&op) {
                    Ok(()) => tracing::debug!("done: {op:?}"),
                    // Somebody, perhaps the kernel itself, was there first.
                    Err(e) if e.raw_os_error() == Some(libc::EEXIST) => {}
                    Err(source) => {
                        let error = Error::Kernel { what: words(&op, &view), source };
                        refused.push((op, error.to_string()));
                    }
                }
            }
        }
        if acted {
            self.pace.corrected(Instant::now());
        }
        let view = self.kernel.view()?;
        for link in &self.wanted.links {
            self.taken.extend(view.interface(&link.name).filter(|i| i.up).map(|i| i.index));
        }
        let Plan { ops, working, problems: found } = plan(&self.wanted, &view, &self.taken);
        problems.extend(found);
        // What was refused at first may have come right since.
        let still = refused.into_iter().filter(|(op, _)| ops.contains(op));
        let mut reasons: Vec<String> = still.map(|(_, reason)| reason).collect();
        let working = if reasons.is_empty() { working } else { Vec::new() };
        reasons.truncate(3); // the others fail for the same reason
        problems.extend(reasons);
        Ok((view, working))
    }

    /// Host name and name servers.
    fn names(&self, snapshot: &Snapshot, problems: &mut Vec<String>) {
        let Some(node) = snapshot.settings.node(snapshot.node()) else {
            return;
        };
        if self.options.host_name && !node.name.is_empty() {
            if let Err(error) = hostname::apply(node.name.as_str()) {
                problems.push(error.to_string());
            }
        }
        let servers = &snapshot.settings.cluster.dns;
        if !servers.is_empty() {
            let text = resolv::content(servers);
            if let Err(error) = resolv::apply(&self.options.resolv_conf, &text) {
                problems.push(format!("the name servers could not be set: {error}"));
            }
        }
    }

    fn report(
        &mut self,
        snapshot: &Snapshot,
        working: &[String],
        problems: Vec<String>,
    ) -> Duration {
        let revision = snapshot.revision;
        if problems != self.said {
            for problem in &problems {
                tracing::warn!("{problem}");
            }
        }
        let pause = if problems.is_empty() { LOOK } else { RETRY };
        if !problems.is_empty() {
            let mut reason = problems.join("; ");
            if !working.is_empty() {
                let verb = if working.len() == 1 { "works" } else { "work" };
                reason = format!("{} {verb}; {reason}", working.join(" and "));
            }
            self.reporter.degraded(revision, reason);
        } else if snapshot.settings.node(snapshot.node()).is_some() {
            self.reporter.applied(revision);
        } else {
            self.reporter.idle(revision);
        }
        self.said = problems;
        pause
    }
}

/// A refused step, in words.
fn words(op: &Op, view: &View) -> String {
    let name = |index: u32| {
        let found = view.interfaces.iter().find(|i| i.index == index);
        found.map_or_else(|| format!("interface {index}"), |i| i.name.clone())
    };
    match op {
        Op::SwitchOn(index) => format!("{} could not be switched on", name(*index)),
        Op::AddAddress { interface, address, .. } => {
            format!("{address} could not be set on {}", name(*interface))
        }
        Op::RemoveAddress { interface, address } => {
            format!("{address} could not be removed from {}", name(*interface))
        }
        Op::AddRoute { route, .. } | Op::RemoveRoute(route) => {
            let to = route.to.map_or_else(|| "everywhere".to_owned(), |to| to.to_string());
            format!("the route to {to} through {} could not be set", name(route.interface))
        }
        Op::AddRule(rule) | Op::RemoveRule(rule) => {
            let from = rule.from.map(|a| a.to_string()).unwrap_or_default();
            format!("the routing rule for {from} could not be set")
        }
    }
}

/// The interfaces the page shows: those of a board, and those of the settings.
fn links(wanted: &Wanted, view: &View) -> Vec<LinkStatus> {
    let mut names: Vec<&str> = wanted.links.iter().map(|l| l.name.as_str()).collect();
    for (name, _) in model::Node::default().links() {
        if !names.contains(&name) && view.interface(name).is_some() {
            names.push(name);
        }
    }
    names.into_iter().map(|name| link_status(name, view)).collect()
}

fn link_status(name: &str, view: &View) -> LinkStatus {
    let Some(interface) = view.interface(name) else {
        return LinkStatus { name: name.to_owned(), ..LinkStatus::default() };
    };
    let addresses = view.addresses.iter().filter(|a| a.interface == interface.index);
    let mac: Vec<String> = interface.mac.iter().map(|b| format!("{b:02x}")).collect();
    LinkStatus {
        name: name.to_owned(),
        running: interface.up && interface.running,
        mac: mac.join(":"),
        addresses: addresses.map(|a| a.address).collect(),
    }
}
