//! Files on their way from the origin into the tree.

use crate::apply::Staged;
use crate::follow::Follower;
use crate::plan::Seen;
use crate::tree::{Entry, Kind, RelPath, Stamp};
use crate::wire::{Failure, Hash};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// So many files are made to last one by one; more of them together.
const SINGLY: usize = 8;
/// Files wait for others to be placed with at most so many, so many bytes, and so long.
const BATCH: usize = 256;
const BATCH_BYTES: u64 = 16 * 1024 * 1024;
const BATCH_TIME: Duration = Duration::from_millis(300);
/// A file that is being written to is asked for again after so long, then twice as long.
const BUSY_FIRST: Duration = Duration::from_millis(250);
const BUSY_LONGEST: Duration = Duration::from_secs(5);
/// From then on the operator is told.
const BUSY_TOLD: u32 = 6;

/// A request that was sent.
#[derive(Debug)]
struct Asked {
    path: RelPath,
    /// The change stamp of the copy here that the origin compares with.
    compared: Option<Stamp>,
    /// The part that came so far.
    part: Option<Part>,
}

#[derive(Debug)]
struct Part {
    staged: Staged,
    entry: Entry,
    received: u64,
    hasher: blake3::Hasher,
}

/// A complete file, not yet in its place.
#[derive(Debug)]
struct Ready {
    id: u64,
    path: RelPath,
    staged: Staged,
    entry: Entry,
}

/// Files on their way.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    /// The newest request of each path; an older one is void.
    expected: HashMap<RelPath, u64>,
    /// The same by number.
    ids: BTreeSet<u64>,
    asked: BTreeMap<u64, Asked>,
    ready: Vec<Ready>,
    ready_bytes: u64,
    ready_since: Option<Instant>,
}

impl Arrivals {
    /// A file will be asked for.
    pub(crate) fn expect(&mut self, path: RelPath, id: u64) {
        if let Some(old) = self.expected.insert(path, id) {
            self.ids.remove(&old);
        }
        self.ids.insert(id);
    }

    /// Is this the newest request for the path?
    pub(crate) fn is_expected(&self, path: &RelPath, id: u64) -> bool {
        self.expected.get(path) == Some(&id)
    }

    /// It was asked for.
    pub(crate) fn ask(&mut self, id: u64, path: RelPath, compared: Option<Stamp>) {
        self.asked.insert(id, Asked { path, compared, part: None });
    }

    /// How many answers are still to come.
    pub(crate) fn asked(&self) -> usize {
        self.asked.len()
    }

    /// The oldest request that is not done.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.ids.first().copied()
    }

    /// Is nothing on its way?
    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Forgets everything; what was staged is removed.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// When what is ready is to be placed at the latest.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.ready_since.map(|since| since + BATCH_TIME)
    }

    fn done(&mut self, path: &RelPath, id: u64) {
        if self.is_expected(path, id) {
            self.expected.remove(path);
        }
        self.ids.remove(&id);
    }
}

impl Follower {
    /// A small file is here.
    pub(crate) fn arrived_whole(&mut self, id: u64, entry: &Entry, hash: &Hash, content: &[u8]) {
        let Some(asked) = self.arrivals.asked.remove(&id) else { return };
        let path = asked.path;
        if !self.arrivals.is_expected(&path, id) {
            return;
        }
        self.live.facts().bytes += u64::try_from(content.len()).unwrap_or(0);
        let good =
            matches!(entry.kind, Kind::File { size } if usize::try_from(size) == Ok(content.len()));
        if !good || blake3::hash(content).as_bytes() != hash {
            self.damaged(&path, id);
            return;
        }
        let Some(writer) = &mut self.writer else { return };
        let staged = writer.stage().and_then(|mut staged| {
            staged.write(content)?;
            writer.finish(&staged, entry)?;
            Ok(staged)
        });
        self.ready(id, path, entry.clone(), staged);
    }

    /// A large file begins.
    pub(crate) fn arriving(&mut self, id: u64, entry: Entry) {
        let Some(writer) = &mut self.writer else { return };
        let Some(asked) = self.arrivals.asked.get_mut(&id) else { return };
        match writer.stage() {
            Ok(staged) => {
                let hasher = blake3::Hasher::new();
                asked.part = Some(Part { staged, entry, received: 0, hasher });
            }
            Err(error) => {
                let path = asked.path.clone();
                self.failed_at(&path, error);
            }
        }
    }

    /// It goes on.
    pub(crate) fn more(&mut self, id: u64, content: &[u8]) {
        let Some(asked) = self.arrivals.asked.get_mut(&id) else { return };
        let Some(part) = &mut asked.part else { return };
        let length = u64::try_from(content.len()).unwrap_or(0);
        let path = asked.path.clone();
        let void = self.arrivals.expected.get(&path) != Some(&id);
        let Kind::File { size } = part.entry.kind else { return };
        if part.received + length > size || void {
            asked.part = None;
            return;
        }
        part.received += length;
        part.hasher.update(content);
        let written = part.staged.write(content);
        self.live.facts().bytes += length;
        if let Err(error) = written {
            asked.part = None;
            self.failed_at(&path, error);
        }
    }

    /// It is complete.
    pub(crate) fn arrived(&mut self, id: u64, hash: &Hash) {
        let Some(asked) = self.arrivals.asked.remove(&id) else { return };
        let path = asked.path;
        if !self.arrivals.is_expected(&path, id) {
            return;
        }
        let part = asked.part.filter(|part| {
            part.entry.kind == Kind::File { size: part.received }
                && part.hasher.finalize().as_bytes() == hash
        });
        let Some(part) = part else {
            self.damaged(&path, id);
            return;
        };
        let Some(writer) = &mut self.writer else { return };
        let finished = writer.finish(&part.staged, &part.entry);
        self.ready(id, path, part.entry, finished.map(|()| part.staged));
    }

    fn damaged(&mut self, path: &RelPath, id: u64) {
        tracing::warn!(%path, "a file arrived damaged and is asked for again");
        self.arrivals.done(path, id);
        self.ask_later(path.clone(), "it arrived damaged".to_owned());
    }

    fn ready(&mut self, id: u64, path: RelPath, entry: Entry, staged: Result<Staged, Errno>) {
        match staged {
            Ok(mut staged) => {
                if self.arrivals.ready.len() >= SINGLY {
                    staged.close();
                }
                if let Kind::File { size } = entry.kind {
                    self.arrivals.ready_bytes += size;
                }
                self.arrivals.ready_since.get_or_insert_with(Instant::now);
                self.arrivals.ready.push(Ready { id, path, staged, entry });
                let full =
                    self.arrivals.ready.len() >= BATCH || self.arrivals.ready_bytes >= BATCH_BYTES;
                if full {
                    self.place();
                }
            }
            Err(error) => {
                self.arrivals.done(&path, id);
                self.failed_at(&path, error);
            }
        }
    }

    /// Places what is ready, unless more is about to come.
    pub(crate) fn commit(&mut self, now: Instant) {
        let last = self.arrivals.ids.len() == self.arrivals.ready.len();
        if last || self.arrivals.due().is_some_and(|due| due <= now) {
            self.place();
        }
    }

    fn place(&mut self) {
        let ready = std::mem::take(&mut self.arrivals.ready);
        self.arrivals.ready_bytes = 0;
        self.arrivals.ready_since = None;
        if ready.is_empty() {
            return;
        }
        let singly = ready.len() <= SINGLY;
        let Some(first) = ready.first().map(|r| r.path.clone()) else { return };
        let mut parents = BTreeSet::new();
        let mut ready = ready;
        let Some(writer) = &mut self.writer else { return };
        let synced = if singly {
            ready.iter_mut().try_for_each(|r| r.staged.sync())
        } else {
            ready.iter_mut().for_each(|r| r.staged.close());
            writer.sync_all()
        };
        if let Err(error) = synced {
            self.failed_at(&first, error);
            return;
        }
        let mut done = Vec::new();
        for Ready { id, path, mut staged, entry } in ready {
            let expected = self.arrivals.is_expected(&path, id);
            self.arrivals.done(&path, id);
            // It may have changed again, but it must still be a file there.
            if !expected || !self.there(&path).is_some_and(|e| e.is_file()) {
                continue;
            }
            let placed = self.clear(&path).and_then(|()| match &mut self.writer {
                Some(writer) => writer.place(&mut staged, &path),
                None => Err(Errno::NOENT),
            });
            match placed {
                Ok(made) => {
                    let seen = Seen { origin: entry.ctime, local: made.ctime };
                    self.seen.insert(path.clone(), seen);
                    self.tries.remove(&path);
                    self.placed(&path, made);
                    parents.extend(path.parent());
                    done.push((path, entry));
                }
                Err(error) => self.failed_at(&path, error),
            }
            if self.trouble.is_some() {
                return;
            }
        }
        let Some(writer) = &self.writer else { return };
        let synced = if singly {
            parents.iter().try_for_each(|p| writer.sync_dir(p.as_bytes()))
        } else {
            writer.sync_all()
        };
        if let Err(error) = synced {
            self.failed_at(&first, error);
            return;
        }
        self.learn(done);
    }

    /// The origin's files as they were when they were read are newer than as they were listed,
    /// or about to be listed anew.
    fn learn(&mut self, done: Vec<(RelPath, Entry)>) {
        let Some(remote) = &mut self.remote else { return };
        for (path, entry) in done {
            if let Some(listed) = remote.tree.get_mut(&path) {
                if listed.is_file() {
                    *listed = entry;
                }
            }
        }
    }

    /// The copy here has the same content.
    pub(crate) fn same(&mut self, id: u64, entry: Entry) {
        let Some(asked) = self.arrivals.asked.remove(&id) else { return };
        let path = asked.path;
        if !self.arrivals.is_expected(&path, id) {
            return;
        }
        self.arrivals.done(&path, id);
        let Some(writer) = &self.writer else { return };
        let now = writer.root().look(&path).ok().flatten();
        // Unless it has changed since it was compared.
        if asked.compared.is_none() || now.as_ref().map(|e| e.ctime) != asked.compared {
            self.dirty(path);
            return;
        }
        if let Err(error) = self.set_attributes(&path, &entry) {
            self.failed_at(&path, error);
            return;
        }
        self.tries.remove(&path);
        self.learn(vec![(path, entry)]);
    }

    /// The origin cannot send it.
    pub(crate) fn not_sent(&mut self, id: u64, failure: Failure, reason: String) {
        let Some(asked) = self.arrivals.asked.remove(&id) else { return };
        let path = asked.path;
        if !self.arrivals.is_expected(&path, id) {
            return;
        }
        self.arrivals.done(&path, id);
        match failure {
            // The change is announced by itself.
            Failure::Vanished => {
                self.tries.remove(&path);
            }
            Failure::Changing => self.ask_later(path, reason),
            Failure::Unreadable => {
                self.tries.remove(&path);
                self.failed.insert(path, format!("it cannot be read on the origin: {reason}"));
            }
        }
    }

    fn ask_later(&mut self, path: RelPath, reason: String) {
        let tries = self.tries.entry(path.clone()).or_insert(0);
        let pause = BUSY_FIRST.saturating_mul(1 << (*tries).min(8)).min(BUSY_LONGEST);
        *tries = tries.saturating_add(1);
        if *tries >= BUSY_TOLD {
            self.failed.insert(path.clone(), reason);
        }
        self.busy.insert(path, Instant::now() + pause);
    }
}
