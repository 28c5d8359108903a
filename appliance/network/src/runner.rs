//! The edge: wakes up, looks, and takes the steps of the plan.

use crate::announce::{self, Announcer, Place};
use crate::dhcp::machine::Source;
use crate::dhcp::runner::{self as dhcp, Clients};
use crate::error::Error;
use crate::facts::{Facts, facts};
use crate::handle::Handle;
use crate::kernel::Kernel;
use crate::options::Options;
use crate::pace::Pace;
use crate::plan::{Learned, Op, Plan, Wanted, left_behind, plan};
use crate::resolv;
use crate::servers::name_servers;
use crate::view::View;
use crate::{hostname, mdns, setup, sysctl, time};
use control::{Reporter, Shutdown, Snapshot, SnapshotReceiver, supervise};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

/// While something is wrong that no event announces (a read-only file system, a refused step),
/// it is tried again so often.
const RETRY: Duration = Duration::from_secs(5);
/// And in peace, against a lost event.
const LOOK: Duration = Duration::from_secs(60);
/// A plan is carried out and looked at again at most so often in one go: the kernel adds and
/// removes things of its own accord, which can leave a second step to take.
const ROUNDS: usize = 4;

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
    let (facts, known) = watch::channel(Facts::default());
    let service = Service { reporter: reporter.clone(), shutdown: shutdown.clone() };
    let owner = handle.clone();
    service.start(move |shutdown| setup::runner::run(owner.clone(), shutdown));
    if options.mdns {
        let known = known.clone();
        service.start(move |shutdown| mdns::runner::run(known.clone(), shutdown));
    }
    if let Some(clock) = options.clock.clone() {
        let servers = options.time_servers.clone();
        service.start(move |shutdown| {
            time::runner::run(clock.clone(), servers.clone(), known.clone(), shutdown)
        });
    }
    tokio::spawn(supervise(reporter.clone(), shutdown.clone(), move || {
        let outside = Outside {
            options: options.clone(),
            reporter: reporter.clone(),
            handle: held.clone(),
            facts: facts.clone(),
        };
        run(snapshots.clone(), shutdown.clone(), outside)
    }));
    handle
}

/// Runs a part that has nothing to report, and again when it has failed.
struct Service {
    reporter: Reporter,
    shutdown: Shutdown,
}

impl Service {
    fn start<F, R>(&self, part: F)
    where
        F: Fn(Shutdown) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let (reporter, shutdown) = (self.reporter.clone(), self.shutdown.clone());
        let stop = shutdown.clone();
        tokio::spawn(supervise(reporter, shutdown, move || part(stop.clone())));
    }
}

/// What outlives a failure of [`run`].
struct Outside {
    options: Options,
    reporter: Reporter,
    handle: Handle,
    facts: watch::Sender<Facts>,
}

async fn run(mut snapshots: SnapshotReceiver, shutdown: Shutdown, outside: Outside) {
    let (kernel, events) = loop {
        match open() {
            Ok(opened) => break opened,
            Err(error) => {
                let revision = snapshots.borrow_and_update().revision;
                let reason = format!("the kernel's network interface cannot be used: {error}");
                outside.reporter.degraded(revision, reason);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = shutdown.requested() => return,
        }
    };
    let clients = Clients::new(outside.options.lease_memory.clone());
    let (leases, reserved) = (clients.news(), outside.handle.news());
    let mut runner = Runner {
        kernel,
        outside,
        clients,
        settings: Wanted::default(),
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
            () = leases.notified() => {}
            () = reserved.notified() => {}
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
    outside: Outside,
    clients: Clients,
    /// What the settings alone say.
    settings: Wanted,
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
        let known = self.learn(snapshot);
        let settings =
            Wanted::of(snapshot, &Learned { sources: Default::default(), ..known.clone() });
        if settings != self.settings {
            self.taken.clear();
            self.settings = settings;
        }
        self.wanted = Wanted::of(snapshot, &known);
        let mut problems = Vec::new();
        let mut seen = View::default();
        let working = match self.settle(&mut problems) {
            Ok((view, working)) => {
                if self.outside.handle.set(&self.wanted, &known, &view) {
                    self.outside.reporter.board().touch();
                }
                self.announce(&view);
                let new = facts(snapshot, &self.wanted, &known, &view);
                self.outside.facts.send_if_modified(|held| {
                    let news = *held != new;
                    *held = new;
                    news
                });
                seen = view;
                working
            }
            Err(error) => {
                problems.push(format!("the kernel cannot be asked: {error}"));
                Vec::new()
            }
        };
        self.names(snapshot, &known, &seen, &mut problems);
        problems.extend(without_an_address(&known, &working));
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

    /// What DHCP servers have said so far. Sees to it that they are asked.
    fn learn(&mut self, snapshot: &Snapshot) -> Learned {
        let mut known = Learned {
            dhcp: self.outside.options.dhcp,
            reserved: self.outside.handle.reserved(),
            ..Learned::default()
        };
        if !known.dhcp {
            return known;
        }
        match self.kernel.view() {
            Ok(view) => {
                let node = snapshot.settings.node(snapshot.node());
                let name = node.map(|n| n.name.to_string()).filter(|name| !name.is_empty());
                let name = name.unwrap_or_else(|| snapshot.node().to_string());
                let places = Wanted::without_address(snapshot, &known).into_iter();
                let places = places.filter_map(|interface| {
                    let found = view.interface(interface)?;
                    Some(dhcp::Place {
                        name: interface.to_owned(),
                        index: found.index,
                        mac: found.mac,
                        carrier: found.up && found.running,
                        host_name: Some(name.clone()),
                    })
                });
                self.clients.follow(places.collect(), |place| left_behind(place.index, &view));
            }
            Err(error) => tracing::warn!("the kernel cannot be asked: {error}"),
        }
        known.sources = self.clients.sources();
        known
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
                    if let Err(error) = sysctl::apply(&self.outside.options.proc_sys, &link.name) {
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
        let names = self.wanted.links.iter().map(|link| &link.name).chain(&self.wanted.waiting);
        for name in names {
            self.taken.extend(view.interface(name).filter(|i| i.up).map(|i| i.index));
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
    fn names(&self, snapshot: &Snapshot, known: &Learned, view: &View, problems: &mut Vec<String>) {
        let node = snapshot.settings.node(snapshot.node());
        let options = &self.outside.options;
        if let (Some(port), Some(node)) = (&options.host_name, node) {
            if !node.name.is_empty() {
                problems.extend(hostname::apply(node.name.as_str(), port.as_ref()).err());
            }
        }
        let mut leases = known.sources.values().filter_map(|source| source.lease.as_ref());
        let domain = leases.find_map(|lease| lease.domain.as_deref());
        let found = name_servers(&snapshot.settings, node, &self.wanted, known, view);
        // Without any, what the file says is left to whoever wrote it.
        if !found.servers.is_empty() {
            let text = resolv::content(&found, domain);
            if let Err(error) = resolv::apply(&options.resolv_conf, &text) {
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
            self.outside.reporter.degraded(revision, reason);
        } else if self.outside.options.dhcp || snapshot.settings.node(snapshot.node()).is_some() {
            self.outside.reporter.applied(revision);
        } else {
            self.outside.reporter.idle(revision);
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

/// What keeps a board from being reached that has no address in the settings at all.
fn without_an_address(known: &Learned, working: &[String]) -> Option<String> {
    let reached = |name: &String| known.sources.get(name).is_none_or(|s| s.lease.is_some());
    if known.sources.is_empty() || working.iter().any(reached) {
        return None;
    }
    let reason = |(name, source): (&String, &Source)| match (source.carrier, source.local) {
        (false, _) if name.starts_with("wl") => format!("{name} is on no Wi-Fi network"),
        (false, _) => format!("{name} has no cable, or is switched off"),
        (true, Some(local)) => format!(
            "no DHCP server answers on {name}, which uses {} meanwhile and reaches only what is \
             on the same cable",
            local.addr()
        ),
        (true, None) => format!("no DHCP server has answered on {name} yet"),
    };
    Some(known.sources.iter().map(reason).collect::<Vec<_>>().join(", "))
}
