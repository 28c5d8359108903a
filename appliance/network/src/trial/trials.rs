//! The trials of all interfaces, joined to the store, the settings and the other nodes.

use crate::dhcp::machine::Source;
use crate::neighbours::runner::Found;
use crate::neighbours::watch::Finding;
use crate::trial::Confirm;
use crate::trial::machine::{Facts, Input, Output, Trial};
use crate::trial::record::{Records, read, write};
use crate::trial::way::Way;
use crate::trial::witness;
use crate::uptime;
use crate::view::View;
use control::{Author, Change, Rejected, Snapshot, StatusBoard};
use model::status::NetworkTrial;
use model::{Cidr, Edit, Node, TakeBack};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Between two attempts to be reached.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// What an interface is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ways {
    pub(crate) in_force: Way,
    pub(crate) beside: Option<Way>,
}

/// What somebody wants of the trials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Keep,
    Vouch,
}

/// What is known of the interfaces.
pub(crate) struct Known<'a> {
    pub(crate) view: &'a View,
    pub(crate) dhcp: bool,
    pub(crate) sources: &'a BTreeMap<String, Source>,
    pub(crate) found: &'a BTreeMap<String, Found>,
}

/// An attempt to be reached.
#[derive(Debug)]
struct Attempt {
    address: Ipv4Addr,
    again: Duration,
    task: JoinHandle<()>,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Interface, address and who got through.
type Reached = Arc<Mutex<Vec<(String, Ipv4Addr, String)>>>;

pub(crate) struct Trials {
    confirm: Confirm,
    board: StatusBoard,
    news: Arc<Notify>,
    trials: BTreeMap<String, Trial>,
    /// What was stored last.
    stored: Option<String>,
    attempts: BTreeMap<String, Attempt>,
    reached: Reached,
    submitting: BTreeMap<String, JoinHandle<()>>,
}

impl Trials {
    pub(crate) fn new(confirm: Confirm, board: StatusBoard, news: Arc<Notify>) -> Self {
        Self {
            confirm,
            board,
            news,
            trials: BTreeMap::new(),
            stored: None,
            attempts: BTreeMap::new(),
            reached: Reached::default(),
            submitting: BTreeMap::new(),
        }
    }

    /// What each interface is to be given now, and what stands in the way of trying it.
    pub(crate) fn follow(
        &mut self,
        snapshot: &Snapshot,
        known: &Known<'_>,
        commands: &[Command],
        problems: &mut Vec<String>,
    ) -> BTreeMap<String, Ways> {
        let now = uptime::now();
        let settings = &snapshot.settings;
        let node = settings.node(snapshot.node());
        let said = |interface: &str| Way::find(node, interface, settings);
        let mut out: Vec<(String, Output)> = Vec::new();
        if self.trials.is_empty() {
            let text = self.confirm.memory.recall();
            let records = text.as_deref().map(read).unwrap_or_default();
            self.stored = text;
            for (name, _) in Node::default().links() {
                let record = records.get(name).copied();
                let settings = said(name).unwrap_or_default();
                let (trial, first) = Trial::new(name, self.confirm.within, record, &settings, now);
                out.extend(first.into_iter().map(|output| (name.to_owned(), output)));
                self.trials.insert(name.to_owned(), trial);
            }
        }
        let reached = {
            let mut held = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *held)
        };
        for (name, trial) in &mut self.trials {
            let way = said(name);
            let facts = facts(name, trial, way.as_ref(), known);
            let mut input = |input: Input<'_>| {
                let outputs = trial.handle(input, now);
                out.extend(outputs.into_iter().map(|output| (name.clone(), output)));
                trial.address()
            };
            let address = input(Input::Look(way.as_ref(), &facts));
            for (interface, at, by) in &reached {
                if interface == name && address == Some(*at) {
                    input(Input::Reached(by));
                }
            }
            for command in commands {
                match command {
                    Command::Keep => input(Input::Keep),
                    Command::Vouch => input(Input::Vouched(&way.unwrap_or_default())),
                };
            }
        }
        if out.iter().any(|(_, output)| *output == Output::Remember) {
            self.remember(problems);
        }
        for (name, output) in out {
            if let Output::TakeBack { why } = output {
                self.take_back(&name, &why, snapshot, node);
            }
        }
        self.ask(now);
        self.trials.iter().map(|(name, trial)| (name.clone(), ways(trial))).collect()
    }

    /// For the page.
    pub(crate) fn status(&self) -> BTreeMap<String, NetworkTrial> {
        let now = uptime::now();
        let of = |(name, trial): (&String, &Trial)| Some((name.clone(), trial.status(now)?));
        self.trials.iter().filter_map(of).collect()
    }

    /// When something may be due, while a change is tried.
    pub(crate) fn pause(&self) -> Option<Duration> {
        let due = self.trials.values().filter_map(Trial::due).min()?;
        Some(due.saturating_sub(uptime::now()).min(Duration::from_secs(1)))
    }

    fn remember(&mut self, problems: &mut Vec<String>) {
        let records: Records =
            self.trials.iter().map(|(name, trial)| (name.clone(), trial.record())).collect();
        let text = write(&records);
        if self.stored.as_ref() == Some(&text) {
            return;
        }
        match self.confirm.memory.keep(&text) {
            Ok(()) => self.stored = Some(text),
            Err(why) => problems.push(format!(
                "the network settings in use could not be remembered: {why}; a power cut during a \
                 change of addresses would make the change hold"
            )),
        }
    }

    /// Gives the settings what the interface has.
    fn take_back(&mut self, name: &str, why: &str, snapshot: &Snapshot, node: Option<&Node>) {
        let (Some(trial), Some(node)) = (self.trials.get(name), node) else { return };
        if self.submitting.get(name).is_some_and(|task| !task.is_finished()) {
            return;
        }
        let (Ok(interface), Some(now)) =
            (name.parse(), Way::find(Some(node), name, &snapshot.settings))
        else {
            return;
        };
        let before = *trial.in_force();
        let what = if before.address == now.address { "router" } else { "address" };
        let why = format!("{}'s {what} change on {name} was taken back: {why}", node.name);
        let shared = |way: &Way| way.address.is_some() && way.gateway.is_none();
        let both = shared(&before) && shared(&now) && before.cluster != now.cluster;
        let edit = Edit::TakeBack(TakeBack {
            node: node.id.clone(),
            interface,
            address: before.address,
            gateway: before.gateway,
            cluster_gateway: both.then_some(before.cluster),
            why: why.clone(),
        });
        let change =
            Change { base: Some(snapshot.revision), author: Author::Local, edits: vec![edit] };
        tracing::warn!("{why}");
        let (control, board) = (self.confirm.control.clone(), self.board.clone());
        let (news, key) = (self.news.clone(), notice(name));
        let task = tokio::spawn(async move {
            match control.submit(change).await {
                Ok(_) => board.notice(&key, format!("{why}.")),
                // Looked at again with the newer settings.
                Err(Rejected::Stale(_)) => {}
                Err(error) => {
                    tracing::warn!("the settings could not be taken back: {error}");
                    board.notice(
                        &key,
                        format!(
                            "{why}. The settings still say otherwise, because they could not be \
                             changed: {error}. Correct them."
                        ),
                    );
                }
            }
            news.notify_one();
        });
        self.submitting.insert(name.to_owned(), task);
    }

    /// Has other nodes connect to what is tried.
    fn ask(&mut self, now: Duration) {
        let trials = &self.trials;
        self.attempts.retain(|name, attempt| {
            let trial = trials.get(name).filter(|trial| trial.wants_witness());
            trial.and_then(Trial::address) == Some(attempt.address)
        });
        for (name, trial) in trials.iter().filter(|(_, trial)| trial.wants_witness()) {
            let Some(address) = trial.address() else { continue };
            let busy = self.attempts.get(name);
            if busy.is_some_and(|a| !a.task.is_finished() || now < a.again) {
                continue;
            }
            self.board.clear_notice(&notice(name));
            let (witness, name) = (self.confirm.witness.clone(), name.clone());
            let (held, news, interface) = (self.reached.clone(), self.news.clone(), name.clone());
            let task = tokio::spawn(async move {
                if let Some(by) = witness::reached(witness, address).await {
                    tracing::info!("{by} reached this node at {address}");
                    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
                    held.push((interface, address, by));
                    drop(held);
                    news.notify_one();
                }
            });
            self.attempts.insert(name, Attempt { address, again: now + ASK_AGAIN, task });
        }
    }
}

fn notice(interface: &str) -> String {
    format!("network-{interface}")
}

fn ways(trial: &Trial) -> Ways {
    Ways { in_force: *trial.in_force(), beside: trial.beside().copied() }
}

fn facts(name: &str, trial: &Trial, wanted: Option<&Way>, known: &Known<'_>) -> Facts {
    let interface = known.view.interface(name);
    let index = interface.map(|i| i.index);
    let addresses = known.view.addresses.iter().filter(|a| Some(a.interface) == index);
    let lease = known.sources.get(name).and_then(|source| source.lease.as_ref());
    let lent_router = lease.and_then(|lease| lease.router);
    let found = known.found.get(name);
    let presence = |router: Option<Ipv4Addr>| {
        found.zip(router).and_then(|(found, router)| found.presences.get(&router).copied())
    };
    let used = trial.in_force().address.map(Cidr::addr);
    let taken = wanted.and_then(|way| way.address).and_then(|address| {
        match found?.findings.get(&address.addr())? {
            // What this node has had all along is another matter: see `LinkStatus::conflict`.
            Finding::Taken(mac) if used != Some(address.addr()) => Some(*mac),
            _ => None,
        }
    });
    let old = trial.in_force();
    Facts {
        carrier: interface.is_some_and(|i| i.up && i.running),
        dhcp: known.dhcp,
        present: addresses.map(|a| a.address).collect(),
        lent_router,
        lease: lease.map(|lease| lease.address),
        taken,
        old_router: presence(old.router().or(lent_router)),
        new_router: presence(wanted.and_then(Way::router)),
    }
}
