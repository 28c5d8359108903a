//! The mirror's side: listens to its origin and to its own tree, and makes the one equal to the
//! other.
//!
//! This file takes inputs in; `round.rs` decides and begins the work, `arrive.rs` ends it.

use crate::apply::Writer;
use crate::error::plain;
use crate::filter::Filter;
use crate::guard::{Guard, Hold, Source};
use crate::link::Event;
use crate::live::Live;
use crate::observer::Observer;
use crate::origin::{Config, GLANCE};
use crate::plan::{Scope, Seen};
use crate::scan::Filters;
use crate::tree::{RelPath, Tree};
use crate::wire::Message;
use crate::{arrive::Arrivals, round::Removal};
use model::NodeId;
use model::status::MirrorPhase;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// What stands in the way on this node is tried again after so long.
const AGAIN: Duration = Duration::from_secs(5);
/// The largest tree a node of 1 GB can hold twice.
const MAX_ENTRIES: usize = 500_000;
/// The most messages taken in before the work they bring is looked at.
const GULP: usize = 64;

/// Where a mirror's things are.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The site's directory.
    pub(crate) path: PathBuf,
    /// The same, as the operator knows it.
    pub(crate) directory: String,
    /// Where files are written before they are put in place.
    pub(crate) staging: PathBuf,
    /// Who is followed.
    pub(crate) origin: NodeId,
}

/// What the origin has told.
#[derive(Debug)]
pub(crate) struct Remote {
    /// Its tree.
    pub(crate) tree: Tree,
    /// What it leaves out.
    pub(crate) filter: Arc<Filter>,
    /// Whether it could be read.
    pub(crate) source: Source,
    /// What could not.
    pub(crate) problems: Vec<(RelPath, String)>,
}

/// A file the origin is asked for.
#[derive(Debug)]
pub(crate) struct Want {
    /// The request's number.
    pub(crate) id: u64,
    /// Which file.
    pub(crate) path: RelPath,
    /// Tell the origin what is here; it may be the same.
    pub(crate) compare: bool,
}

/// What is in the way on this node.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// For the operator.
    pub(crate) reason: String,
    /// When to try again.
    pub(crate) until: Instant,
}

/// One site on a mirror. Owned by the site's thread.
pub(crate) struct Follower {
    pub(crate) place: Place,
    pub(crate) live: Arc<Live>,
    pub(crate) config: Config,
    pub(crate) observer: Observer,
    pub(crate) writer: Option<Writer>,
    pub(crate) link: Option<mpsc::Sender<Message>>,
    /// Complete, or None.
    pub(crate) remote: Option<Remote>,
    /// On its way.
    pub(crate) listing: Option<Remote>,
    /// Changes on their way.
    pub(crate) changes: Vec<RelPath>,
    /// What may differ.
    pub(crate) scope: Scope,
    pub(crate) seen: BTreeMap<RelPath, Seen>,
    pub(crate) guard: Guard,
    /// Why nothing, or nothing but additions, is done; and the files that would have gone.
    pub(crate) hold: Option<(Hold, Vec<RelPath>)>,
    pub(crate) trouble: Option<Trouble>,
    pub(crate) wanted: VecDeque<Want>,
    pub(crate) next_id: u64,
    pub(crate) arrivals: Arrivals,
    pub(crate) removals: VecDeque<Removal>,
    /// Directories whose attributes are to be set when nothing moves any more.
    pub(crate) touched: BTreeSet<RelPath>,
    /// Files that were being written to when the origin read them: when to ask again.
    pub(crate) busy: BTreeMap<RelPath, Instant>,
    /// How often these were asked for in vain.
    pub(crate) tries: BTreeMap<RelPath, u32>,
    pub(crate) blocked: BTreeMap<RelPath, &'static str>,
    pub(crate) failed: BTreeMap<RelPath, String>,
    pub(crate) down: Option<(String, bool)>,
    pub(crate) begun: Instant,
    compared: Instant,
    rescan: bool,
}

/// Follows until the settings' sender is gone.
pub(crate) async fn run(
    place: Place,
    live: Arc<Live>,
    mut config: watch::Receiver<Config>,
    events: &mut mpsc::Receiver<Event>,
) -> io::Result<()> {
    let current = config.borrow_and_update().clone();
    let observer = Observer::new(place.path.clone(), Filters(vec![Arc::clone(&current.filter)]))?;
    let now = Instant::now();
    let mut follower = Follower {
        place,
        live,
        config: current,
        observer,
        writer: None,
        link: None,
        remote: None,
        listing: None,
        changes: Vec::new(),
        scope: Scope::All,
        seen: BTreeMap::new(),
        guard: Guard::default(),
        hold: None,
        trouble: None,
        wanted: VecDeque::new(),
        next_id: 0,
        arrivals: Arrivals::default(),
        removals: VecDeque::new(),
        touched: BTreeSet::new(),
        busy: BTreeMap::new(),
        tries: BTreeMap::new(),
        blocked: BTreeMap::new(),
        failed: BTreeMap::new(),
        down: None,
        begun: now,
        compared: now,
        rescan: true,
    };
    let mut glance = tokio::time::interval(GLANCE);
    glance.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        follower.work()?;
        follower.show();
        let wake = follower.wake();
        tokio::select! {
            changed = config.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                follower.config = config.borrow_and_update().clone();
                follower.filters_changed();
            }
            event = events.recv() => {
                let Some(event) = event else { return Ok(()) };
                follower.take(event);
                for _ in 1..GULP {
                    let Ok(event) = events.try_recv() else { break };
                    follower.take(event);
                }
            }
            heard = follower.observer.listen() => heard?,
            () = tokio::time::sleep_until(wake.into()) => {}
            _ = glance.tick() => follower.rescan |= !follower.observer.in_place(),
        }
    }
}

impl Follower {
    fn every(&self) -> Duration {
        self.observer.compare_every(self.config.full_compare)
    }

    fn wake(&self) -> Instant {
        let busy = self.busy.values().copied().min();
        let trouble = self.trouble.as_ref().map(|t| t.until);
        [self.observer.due(), busy, trouble, self.arrivals.due()]
            .into_iter()
            .flatten()
            .chain([self.compared + self.every()])
            .min()
            .unwrap_or(self.compared)
    }

    /// Both filters protect; when they are the same one is enough.
    fn filters_changed(&mut self) {
        let own = Arc::clone(&self.config.filter);
        let theirs = self.remote.as_ref().map(|r| Arc::clone(&r.filter));
        let theirs = theirs.filter(|t| *t != own);
        self.rescan |=
            self.observer.set_filters(Filters([own].into_iter().chain(theirs).collect()));
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Up(link) => {
                self.link = Some(link);
                self.down = None;
            }
            Event::Down { reason, refused, heard } => {
                if self.remote.is_some() {
                    if let Some(heard) = heard {
                        self.live.lost(heard);
                    }
                }
                self.down = Some((reason, refused));
                self.disconnected();
            }
            Event::Approve => {
                if let Some((hold, doomed)) = &self.hold {
                    if hold.can_be_approved() {
                        tracing::info!(
                            files = doomed.len(),
                            directory = self.place.directory,
                            "the operator approved a deletion on the mirror"
                        );
                        self.guard.approve(doomed);
                        self.scope = Scope::All;
                    }
                }
            }
            Event::Said(message) => self.said(message),
        }
    }

    fn disconnected(&mut self) {
        self.link = None;
        self.remote = None;
        self.listing = None;
        self.changes.clear();
        self.wanted.clear();
        self.arrivals.clear();
        self.removals.clear();
        self.busy.clear();
        self.tries.clear();
        self.hold = None;
        self.scope = Scope::All;
    }

    /// A tree that large would fill the memory; the connection ends.
    fn give_up(&mut self) {
        tracing::warn!(
            directory = self.place.directory,
            "the origin lists more than {MAX_ENTRIES} files and directories, more than a mirror \
             can hold"
        );
        self.disconnected();
    }

    fn said(&mut self, message: Message) {
        match message {
            Message::Begin { patterns, source } => {
                let filter = Arc::new(Filter::new(patterns));
                self.listing =
                    Some(Remote { tree: Tree::new(), filter, source, problems: Vec::new() });
            }
            Message::Entries(entries) => {
                if let Some(listing) = &mut self.listing {
                    listing.tree.extend(entries);
                    if listing.tree.len() > MAX_ENTRIES {
                        self.give_up();
                    }
                }
            }
            Message::End { problems } => {
                if let Some(mut listing) = self.listing.take() {
                    listing.problems = problems;
                    self.remote = Some(listing);
                    self.scope = Scope::All;
                    self.filters_changed();
                }
            }
            Message::Changes { more, changes } => {
                let Some(remote) = &mut self.remote else { return };
                for (path, entry) in changes {
                    match entry {
                        Some(entry) => remote.tree.insert(path.clone(), entry),
                        None => {
                            self.tries.remove(&path);
                            remote.tree.remove(&path)
                        }
                    };
                    self.changes.push(path);
                }
                if remote.tree.len().max(self.changes.len()) > MAX_ENTRIES {
                    self.give_up();
                } else if !more {
                    for path in std::mem::take(&mut self.changes) {
                        self.dirty(path);
                    }
                }
            }
            Message::File { id, entry, hash, content } => {
                self.arrived_whole(id, &entry, &hash, &content);
            }
            Message::Start { id, entry } => self.arriving(id, entry),
            Message::Data { id, content } => self.more(id, &content),
            Message::Finish { id, hash } => self.arrived(id, &hash),
            Message::Same { id, entry } => self.same(id, entry),
            Message::Failed { id, failure, reason } => self.not_sent(id, failure, reason),
            // An origin has no reason to say these, and they do no harm.
            Message::Hello { .. }
            | Message::Need { .. }
            | Message::Refused { .. }
            | Message::Ping => {}
        }
    }

    /// A path may differ now.
    pub(crate) fn dirty(&mut self, path: RelPath) {
        self.failed.remove(&path);
        self.busy.remove(&path);
        if self.hold.is_some() {
            // What is held is judged as a whole.
            self.scope = Scope::All;
        } else {
            self.scope.add(path);
        }
    }

    /// Everything there is to do now.
    fn work(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if self.trouble.as_ref().is_some_and(|t| t.until <= now) {
            self.trouble = None;
            self.scope = Scope::All;
        }
        if self.writer.is_none() && self.trouble.is_none() {
            self.open();
        }
        let due: Vec<_> =
            self.busy.iter().filter(|(_, at)| **at <= now).map(|(p, _)| p.clone()).collect();
        due.into_iter().for_each(|path| self.dirty(path));
        if self.compared + self.every() <= now {
            self.rescan = true;
        }
        if self.observer.due().is_some_and(|due| due <= now) {
            match self.observer.refresh(now) {
                Some(changed) => changed.into_iter().for_each(|path| self.dirty(path)),
                None => self.rescan = true,
            }
        }
        if self.rescan && self.writer.is_some() {
            self.rescan = false;
            self.rescan()?;
        }
        self.round();
        self.ask();
        self.settle();
        Ok(())
    }

    fn rescan(&mut self) -> io::Result<()> {
        let root = self.observer.root().cloned();
        self.observer.rescan()?;
        self.compared = Instant::now();
        self.scope = Scope::All;
        self.failed.clear();
        let same = match (&root, self.observer.root()) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (None, None) => true,
            _ => false,
        };
        if !same || self.observer.root().is_none() {
            self.writer = None;
            self.seen.clear();
            self.arrivals.clear();
            self.wanted.clear();
            self.removals.clear();
            self.open();
        }
        self.live.facts().compared_at = Some(self.compared);
        Ok(())
    }

    /// Opens, or makes, this node's directory and the staging directory.
    fn open(&mut self) {
        let opened = self.try_open();
        self.rescan = false;
        self.compared = Instant::now();
        self.live.facts().compared_at = Some(self.compared);
        if let Err(reason) = opened {
            self.trouble = Some(Trouble { reason, until: Instant::now() + AGAIN });
        }
    }

    fn try_open(&mut self) -> Result<(), String> {
        std::fs::create_dir_all(&self.place.path)
            .map_err(|e| format!("this node's directory of the site cannot be made: {e}"))?;
        self.observer.rescan().map_err(|e| e.to_string())?;
        self.scope = Scope::All;
        let Some(root) = self.observer.root().cloned() else {
            return Err("this node's directory of the site cannot be read".to_owned());
        };
        let writer = Writer::new(root, &self.place.staging)
            .map_err(|e| format!("the staging directory cannot be used: {}", plain(e)))?;
        if !writer.same_file_system() {
            return Err(format!(
                "the directory {} is on another file system than the data directory, so files \
                 cannot be replaced in one step; move it",
                self.place.directory
            ));
        }
        self.writer = Some(writer);
        Ok(())
    }

    /// Something on this node is in the way of everything: stops the work and tries later.
    pub(crate) fn stop_for(&mut self, reason: String) {
        tracing::warn!(directory = self.place.directory, "mirroring is interrupted: {reason}");
        self.trouble = Some(Trouble { reason, until: Instant::now() + AGAIN });
        self.arrivals.clear();
        self.wanted.clear();
        self.removals.clear();
        self.scope = Scope::All;
    }

    /// Is there nothing left to do?
    fn is_equal(&self) -> bool {
        self.remote.is_some()
            && self.writer.is_some()
            && self.hold.is_none()
            && self.trouble.is_none()
            && self.scope.is_empty()
            && self.wanted.is_empty()
            && self.arrivals.is_empty()
            && self.removals.is_empty()
            && self.busy.is_empty()
    }

    fn show(&self) {
        let phase = if let Some(trouble) = &self.trouble {
            MirrorPhase::Failed { reason: trouble.reason.clone() }
        } else if let Some((path, why)) = self.observer.problems.first() {
            let reason = format!(
                "part of this node's copy cannot be read: {path}: {why}. New and changed files \
                 still come; nothing is deleted until all of it can be read"
            );
            MirrorPhase::Failed { reason }
        } else if let Some((reason, true)) = &self.down {
            MirrorPhase::Failed { reason: reason.clone() }
        } else if self.remote.is_none() && self.listing.is_none() {
            MirrorPhase::Connecting
        } else if let Some((hold, _)) = &self.hold {
            let origin = self.place.origin.as_str();
            MirrorPhase::Held {
                reason: hold.sentence(origin, &self.place.directory),
                approvable: hold.can_be_approved(),
            }
        } else if self.is_equal() {
            MirrorPhase::Following
        } else {
            MirrorPhase::Syncing
        };
        let entries = self.observer.tree.len().saturating_sub(1);
        self.live.facts().entries = u64::try_from(entries).unwrap_or(u64::MAX);
        self.live.phase(phase);
        let mut lines = Vec::new();
        if self.writer.as_ref().is_some_and(|w| !w.owners) {
            lines.push(
                "owners: this node's process may not give files away, so they are its own"
                    .to_owned(),
            );
        }
        if self.observer.is_limited() {
            lines.push(
                "not all directories can be watched (fs.inotify.max_user_watches); changes made \
                 on this node are looked for every 10 s"
                    .to_owned(),
            );
        }
        let local =
            self.observer.problems.iter().map(|(p, why)| format!("{p} cannot be read here: {why}"));
        let failed = self.failed.iter().map(|(p, why)| format!("{p}: {why}"));
        let blocked = self.blocked.iter().map(|(p, why)| format!("{p}: {why}"));
        lines.extend(local.chain(failed).chain(blocked).take(20));
        self.live.skipped(lines);
    }
}
