//! The edge: wakes up, looks, and takes the steps of the plan.

use crate::announce::{self, Announcer, Place};
use crate::check::{Port, Reach};
use crate::dhcp::machine::Source;
use crate::dhcp::runner::{self as dhcp, Clients};
use crate::error::Error;
use crate::facts::{Facts, facts};
use crate::handle::{Handle, Seen, conflict};
use crate::kernel::Kernel;
use crate::neighbours::runner::{self as neighbours, Found, Neighbours};
use crate::neighbours::watch::{Finding, Targets};
use crate::options::Options;
use crate::pace::Pace;
use crate::plan::{Learned, Op, Plan, Wanted, left_behind, plan};
use crate::resolv;
use crate::servers::{name_servers, time_servers};
use crate::trial::trials::{Command, Known, Trials, Ways};
use crate::trial::way::Way;
use crate::view::{Interface, View};
use crate::{hostname, mdns, setup, sysctl, time};
use control::{Reporter, Shutdown, Snapshot, SnapshotReceiver, supervise};
use model::status::{NetworkTrial, TrialState};
use model::{Cidr, Node};
use std::collections::{BTreeMap, BTreeSet};
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
/// An interface that was just switched on gets a carrier within so long if it ever does; until
/// then its address is not set, because nobody could be asked whether it is free.
const DARK: Duration = Duration::from_secs(4);
/// While an address waits for that.
const SOON: Duration = Duration::from_millis(500);

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
        let (about, found) = (options.about.clone(), options.found.clone());
        let wanted = handle.browsing();
        service.start(move |shutdown| {
            let words = mdns::runner::Words {
                about: about.clone(),
                found: found.clone(),
                wanted: wanted.clone(),
            };
            mdns::runner::run(known.clone(), words, shutdown)
        });
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
    let watched = Neighbours::default();
    let heard = watched.news();
    let confirm = outside.options.confirm.clone();
    let board = outside.reporter.board().clone();
    let trials = confirm.map(|confirm| Trials::new(confirm, board, reserved.clone()));
    let mut runner = Runner {
        kernel,
        outside,
        clients,
        neighbours: watched,
        trials,
        commands: Vec::new(),
        stood: BTreeMap::new(),
        dark: BTreeMap::new(),
        settings: Wanted::default(),
        wanted: Wanted::default(),
        taken: BTreeSet::new(),
        pace: Pace::new(Instant::now()),
        announcer: Announcer::default(),
        said: Vec::new(),
    };
    loop {
        // Before the settings are looked at: what was said is about these or older ones.
        runner.commands.extend(runner.outside.handle.commands());
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
            () = heard.notified() => {}
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
    neighbours: Neighbours,
    trials: Option<Trials>,
    /// What somebody wants of the trials.
    commands: Vec<Command>,
    /// What each interface last had.
    stood: BTreeMap<&'static str, Way>,
    /// Since when interfaces have been on without a carrier.
    dark: BTreeMap<String, Instant>,
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
        let mut problems = Vec::new();
        let before = self.kernel.view().unwrap_or_else(|error| {
            tracing::warn!("the kernel cannot be asked: {error}");
            View::default()
        });
        let found = self.neighbours.found();
        let known = self.learn(snapshot, &before, &found, &mut problems);
        let settings = Wanted::of(
            snapshot,
            &Learned { sources: BTreeMap::new(), held: BTreeSet::new(), ..known.clone() },
        );
        if settings != self.settings {
            self.taken.clear();
            self.settings = settings;
        }
        self.wanted = Wanted::of(snapshot, &known);
        let trials = self.trials.as_ref().map(Trials::status).unwrap_or_default();
        let mut seen = View::default();
        let working = match self.settle(&mut problems) {
            Ok((view, working)) => {
                let now = Seen { view: &view, found: &found, trials: &trials };
                if self.outside.handle.set(&self.wanted, &known, &now) {
                    self.outside.reporter.board().touch();
                }
                problems.extend(conflicts(&self.wanted, &known, &now));
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
        self.outside.handle.set_reach(self.reach(snapshot, &known, &seen));
        problems.extend(without_an_address(&known, &working));
        problems.extend(tried(&trials));
        if self.pace.fight(Instant::now()) {
            problems.push(
                "another program keeps changing this node's addresses or routes; stop it (a DHCP \
                 client?) or take the addresses out of the settings"
                    .to_owned(),
            );
        }
        // Until it is known whether an address is free there is nothing to say of it.
        let asking = known.held.iter().any(|(name, address)| !taken(&found, name, *address));
        let mut pause = if asking && problems.is_empty() {
            SOON
        } else {
            self.report(snapshot, &working, problems)
        };
        if asking {
            pause = pause.min(SOON);
        }
        let due =
            [self.announcer.pause(Instant::now()), self.trials.as_ref().and_then(Trials::pause)];
        due.into_iter().flatten().fold(pause, Duration::min)
    }

    /// What DHCP servers have said so far, what the neighbours have, and what is tried. Sees to
    /// it that all of them are asked.
    fn learn(
        &mut self,
        snapshot: &Snapshot,
        view: &View,
        found: &BTreeMap<String, Found>,
        problems: &mut Vec<String>,
    ) -> Learned {
        let mut known = Learned {
            dhcp: self.outside.options.dhcp,
            reserved: self.outside.handle.reserved(),
            sources: self.clients.sources(),
            ..Learned::default()
        };
        if let Some(trials) = &mut self.trials {
            let about = Known { view, dhcp: known.dhcp, sources: &known.sources, found };
            let commands = std::mem::take(&mut self.commands);
            known.ways = trials.follow(snapshot, &about, &commands, problems);
        }
        if known.dhcp {
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
            self.clients.follow(places.collect(), |place| left_behind(place.index, view));
            known.sources = self.clients.sources();
        } else {
            known.sources.clear();
        }
        let all = Wanted::of(snapshot, &known);
        self.neighbours.follow(watch_places(&all, &known, view));
        known.held = self.held(&all, view, found);
        self.stand_in(snapshot, &mut known);
        known
    }

    /// An address that may not be set yet takes nothing away from the one before it.
    fn stand_in(&mut self, snapshot: &Snapshot, known: &mut Learned) {
        let unknown = Node::default();
        let node = snapshot.settings.node(snapshot.node()).unwrap_or(&unknown);
        for (name, link) in node.links() {
            let ways = known.ways(name, link, snapshot);
            let address = ways.in_force.address;
            let held = address.is_some_and(|a| known.held.contains(&(name.to_owned(), a)));
            if !held {
                self.stood.insert(name, ways.in_force);
            } else if let Some(before) = self.stood.get(name).filter(|w| w.address != address) {
                known.ways.insert(name.to_owned(), Ways { in_force: *before, ..ways });
            }
        }
    }

    /// Static addresses that may not be set yet.
    fn held(
        &mut self,
        all: &Wanted,
        view: &View,
        found: &BTreeMap<String, Found>,
    ) -> BTreeSet<(String, Cidr)> {
        let now = Instant::now();
        self.dark.retain(|name, _| {
            view.interface(name).is_some_and(|interface| interface.up && !interface.running)
        });
        let mut held = BTreeSet::new();
        for link in all.links.iter().chain(&all.beside).filter(|link| !link.learned) {
            let Some(interface) = view.interface(&link.name) else { continue };
            let set = view
                .addresses
                .iter()
                .any(|a| a.interface == interface.index && a.address == link.address);
            let off = !interface.up && self.taken.contains(&interface.index);
            if set || off {
                continue;
            }
            let wait = if !interface.up {
                true
            } else if !interface.running {
                let since = *self.dark.entry(link.name.clone()).or_insert(now);
                now.saturating_duration_since(since) < DARK
            } else {
                let found = found.get(&link.name);
                let finding = found.and_then(|f| f.findings.get(&link.address.addr()));
                finding != Some(&Finding::Free) && !found.is_some_and(|f| f.unable)
            };
            if wait {
                held.insert((link.name.clone(), link.address));
            }
        }
        held
    }

    /// Tells the neighbours about addresses that have just become usable.
    fn announce(&mut self, view: &View) {
        let links = self.wanted.links.iter().chain(&self.wanted.beside);
        let places = links.filter_map(|link| {
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
            for link in self.wanted.links.iter().chain(&self.wanted.beside) {
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

    /// What there is to try when somebody asks how the network does.
    fn reach(&self, snapshot: &Snapshot, known: &Learned, view: &View) -> Reach {
        let settings = &snapshot.settings;
        let node = settings.node(snapshot.node());
        let options = &self.outside.options;
        let ports = view.interfaces.iter().filter(|i| i.mac != [0; 6]).map(|i| {
            let addresses = view.addresses.iter().filter(|a| a.interface == i.index);
            Port {
                name: i.name.clone(),
                index: i.index,
                mac: i.mac,
                running: i.up && i.running,
                addresses: addresses.map(|a| a.address).collect(),
            }
        });
        let routers = self
            .wanted
            .links
            .iter()
            .filter_map(|link| Some((link.name.clone(), link.gateway?, link.address.addr())));
        let time_servers = if options.clock.is_some() {
            let mut groups = time_servers(settings, node, &self.wanted, known, view);
            groups.push(options.time_servers.clone());
            groups.into_iter().next().unwrap_or_default()
        } else {
            Vec::new()
        };
        let peers = snapshot.effective.peers.iter();
        let peers = peers.flat_map(|(id, at)| at.iter().map(move |at| (id.clone(), *at.ip())));
        Reach {
            ports: ports.collect(),
            own: view.interfaces.iter().map(|i| i.mac).collect(),
            routers: routers.collect(),
            name_servers: name_servers(settings, node, &self.wanted, known, view).servers,
            time_servers,
            internet: options.internet.clone(),
            name: options.well_known_name.clone(),
            peers: peers.collect(),
        }
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

/// What to listen for on each interface.
fn watch_places(all: &Wanted, known: &Learned, view: &View) -> Vec<neighbours::Place> {
    let own: BTreeSet<[u8; 6]> = view.interfaces.iter().map(|i| i.mac).collect();
    let mut places = Vec::new();
    for (name, _) in Node::default().links() {
        let Some(interface) = view.interface(name) else { continue };
        let set = |address: Cidr| {
            let mut addresses = view.addresses.iter();
            addresses.any(|a| a.interface == interface.index && a.address == address)
        };
        let links = || all.links.iter().chain(&all.beside).filter(|link| link.name == name);
        let fixed = links().filter(|link| !link.learned);
        let addresses = fixed.map(|link| (link.address.addr(), set(link.address))).collect();
        let tried = known.ways.get(name).filter(|ways| ways.beside.is_some());
        let lent = known.sources.get(name).and_then(|source| source.lease.as_ref());
        let routers = tried.into_iter().flat_map(|ways| {
            let lent = lent.and_then(|lease| lease.router);
            [ways.in_force.router().or(lent), ways.beside.as_ref().and_then(Way::router)]
        });
        let from = |router: std::net::Ipv4Addr| {
            let mut near = links().map(|link| link.address).filter(|a| set(*a));
            near.find(|a| a.contains(router)).map_or(std::net::Ipv4Addr::UNSPECIFIED, Cidr::addr)
        };
        let routers = routers.flatten().map(|router| (router, from(router))).collect();
        let targets = Targets { addresses, routers };
        if targets != Targets::default() {
            let Interface { index, mac, .. } = *interface;
            let carrier = interface.up && interface.running;
            let (name, own) = (name.to_owned(), own.clone());
            places.push(neighbours::Place { name, index, mac, carrier, own, targets });
        }
    }
    places
}

/// Somebody else is known to have it.
fn taken(found: &BTreeMap<String, Found>, name: &str, address: Cidr) -> bool {
    let finding = found.get(name).and_then(|f| f.findings.get(&address.addr()));
    matches!(finding, Some(Finding::Taken(_)))
}

/// Addresses that others have too, for the operator.
fn conflicts(wanted: &Wanted, known: &Learned, seen: &Seen<'_>) -> Vec<String> {
    let mut names: Vec<&String> = wanted.links.iter().map(|link| &link.name).collect();
    names.extend(known.held.iter().map(|(name, _)| name));
    names.sort_unstable();
    names.dedup();
    let of = |name: &String| {
        let found = conflict(name, seen)?;
        let (address, mac) = (found.address, found.mac);
        Some(if found.used {
            format!(
                "another device ({mac}) uses {name}'s address {address} too, so that visitors of \
                 either may land at the other; give one of the two another address"
            )
        } else {
            format!(
                "{address} is in use by another device ({mac}): {name} keeps off it until it is \
                 free; give one of the two another address"
            )
        })
    };
    names.into_iter().filter_map(of).collect()
}

/// Changes that do not hold yet, or no longer, for the operator.
fn tried(trials: &BTreeMap<String, NetworkTrial>) -> Vec<String> {
    let of = |(name, trial): (&String, &NetworkTrial)| match &trial.state {
        TrialState::Trying { .. } => Some(format!(
            "{name} has {} and tries {} beside it, until another board or you get through there",
            trial.from, trial.to
        )),
        TrialState::Kept { .. } | TrialState::TakenBack { .. } => None,
    };
    trials.iter().filter_map(of).collect()
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
