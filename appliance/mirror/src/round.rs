//! Deciding what to do, and beginning it.

use crate::error::plain;
use crate::follow::{Follower, Want};
use crate::guard::{Batch, Verdict};
use crate::plan::{Plan, Scope, Seen, Sides, Step, lost, plan};
use crate::serve::hash_of;
use crate::tree::{Entry, Kind, RelPath, below, files};
use crate::wire::{Hash, MAX_NEEDS, Message};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::sync::Arc;
use std::time::Instant;

/// Deletions that wait for the files of the same round.
#[derive(Debug)]
pub(crate) struct Removal {
    /// All requests up to this one must be done.
    pub(crate) after: u64,
    /// What is to go; every directory after what is in it.
    pub(crate) paths: Vec<RelPath>,
}

impl Follower {
    /// Compares, asks the guard, and begins what it lets pass.
    pub(crate) fn round(&mut self) {
        if self.scope.is_empty() || self.trouble.is_some() || self.writer.is_none() {
            return;
        }
        if self.hold.is_some() {
            self.scope = Scope::All;
        }
        let scope = std::mem::replace(&mut self.scope, Scope::none());
        let Some((planned, lost)) = self.compare(&scope) else {
            self.scope = scope;
            return;
        };
        let now = self.begun.elapsed();
        let Some(remote) = &self.remote else { return };
        let judged = {
            let (origin_files, local_files) = match scope {
                // Counting takes as long as comparing; only a loss needs the numbers.
                Scope::Paths(_) if lost.is_empty() => (1, 1),
                _ => (files(&remote.tree), files(&self.observer.tree)),
            };
            let batch = Batch {
                source: &remote.source,
                problem: remote.problems.first(),
                origin_files,
                local_files,
                doomed: &lost,
            };
            self.guard.judge(&batch, now)
        };
        let old = self.hold.take();
        match judged {
            Verdict::Go => {}
            Verdict::GoWithoutDeletes(hold) => {
                self.hold = Some((hold, lost.clone()));
            }
            Verdict::Stop(hold) => {
                if old.as_ref().map(|(h, _)| h) != Some(&hold) {
                    let said = hold.sentence(self.place.origin.as_str(), &self.place.directory);
                    tracing::warn!("{said}");
                }
                self.hold = Some((hold, lost));
                self.wanted.clear();
                self.arrivals.clear();
                self.removals.clear();
                return;
            }
        }
        self.guard.accept(&lost, now);
        match &scope {
            Scope::All => self.blocked.clear(),
            Scope::Paths(paths) => self.blocked.retain(|p, _| !paths.contains(p)),
        }
        self.begin(planned);
    }

    /// What is to be done, and the files that would be lost by it.
    fn compare(&self, scope: &Scope) -> Option<(Plan, Vec<RelPath>)> {
        let (remote, writer) = (self.remote.as_ref()?, self.writer.as_ref()?);
        let own = &self.config.filter;
        let mut shown = None;
        if remote.filter != *own {
            // The origin does not know this filter yet.
            let mut tree = remote.tree.clone();
            tree.retain(|path, entry| !own.hides(path, entry.is_dir()));
            shown = Some(tree);
        }
        let sides = Sides {
            origin: shown.as_ref().unwrap_or(&remote.tree),
            local: &self.observer.tree,
            kept: &self.observer.kept,
            seen: &self.seen,
            owners: writer.owners,
            complete: remote.source == crate::guard::Source::Listed
                && remote.problems.is_empty()
                && self.observer.problems.is_empty(),
        };
        let planned = plan(&sides, scope);
        let lost = lost(&planned, &sides);
        Some((planned, lost))
    }

    fn begin(&mut self, planned: Plan) {
        for path in planned.trusted {
            if let (Some(there), Some(here)) = (self.there(&path), self.here(&path)) {
                let seen = Seen { origin: there.ctime, local: here.ctime };
                self.seen.insert(path, seen);
            }
        }
        self.blocked.extend(planned.blocked);
        for step in planned.steps {
            match step {
                Step::File { path, compare } => {
                    self.next_id += 1;
                    self.arrivals.expect(path.clone(), self.next_id);
                    self.wanted.push_back(Want { id: self.next_id, path, compare });
                }
                step => self.take_step(&step),
            }
            if self.trouble.is_some() {
                return;
            }
        }
        if !planned.deletes.is_empty() {
            self.removals.push_back(Removal { after: self.next_id, paths: planned.deletes });
        }
    }

    pub(crate) fn there(&self, path: &RelPath) -> Option<Entry> {
        self.remote.as_ref()?.tree.get(path).cloned()
    }

    pub(crate) fn here(&self, path: &RelPath) -> Option<Entry> {
        self.observer.tree.get(path).cloned()
    }

    fn take_step(&mut self, step: &Step) {
        let (Step::Directory(path) | Step::Symlink(path) | Step::Attributes(path)) = step else {
            return;
        };
        let Some(entry) = self.there(path) else { return };
        let done = match step {
            Step::Directory(_) => self.make_directory(path, &entry),
            Step::Symlink(_) => self.make_link(path, &entry),
            _ if entry.is_dir() => {
                // Later: what is still to be put into it changes its time.
                self.touched.insert(path.clone());
                Ok(())
            }
            _ => self.set_attributes(path, &entry),
        };
        if let Err(error) = done {
            self.failed_at(path, error);
        }
    }

    fn make_directory(&mut self, path: &RelPath, entry: &Entry) -> Result<(), Errno> {
        let replaced = self.here(path).is_some();
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.mkdir(path, entry, replaced)?;
        let made = writer.root().look(path)?;
        self.observer.note(path, made);
        self.touched.insert(path.clone());
        self.touched.extend(path.parent());
        Ok(())
    }

    fn make_link(&mut self, path: &RelPath, entry: &Entry) -> Result<(), Errno> {
        self.clear(path)?;
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let made = writer.symlink(path, entry)?;
        self.placed(path, made);
        Ok(())
    }

    pub(crate) fn set_attributes(&mut self, path: &RelPath, entry: &Entry) -> Result<(), Errno> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.attributes(path, entry)?;
        let made = writer.root().look(path)?;
        if let Some(made) = &made {
            if entry.is_file() {
                let seen = Seen { origin: entry.ctime, local: made.ctime };
                self.seen.insert(path.clone(), seen);
            }
        }
        self.observer.note(path, made);
        Ok(())
    }

    /// A file or link is in its place.
    pub(crate) fn placed(&mut self, path: &RelPath, made: Entry) {
        self.observer.note(path, Some(made));
        self.guard.returned(path);
        self.failed.remove(path);
        self.touched.extend(path.parent());
        self.live.facts().copied += 1;
    }

    /// Empties and removes a directory that a file or link is about to replace. What was not
    /// listed when that was planned is not removed: it fails, and the next comparison decides.
    pub(crate) fn clear(&mut self, path: &RelPath) -> Result<(), Errno> {
        if !self.here(path).is_some_and(|e| e.is_dir()) {
            return Ok(());
        }
        let tree = Arc::clone(&self.observer.tree);
        let own = tree.get_key_value(path);
        let inside: Vec<_> = own.into_iter().chain(below(&tree, path)).collect();
        for (path, entry) in inside.into_iter().rev() {
            self.remove_one(path, entry.is_dir())?;
        }
        Ok(())
    }

    fn remove_one(&mut self, path: &RelPath, directory: bool) -> Result<(), Errno> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.remove(path, directory)?;
        self.observer.note(path, None);
        self.seen.remove(path);
        self.touched.remove(path);
        self.touched.extend(path.parent());
        self.live.facts().deleted += 1;
        Ok(())
    }

    /// Something could not be done to one path, or to any.
    pub(crate) fn failed_at(&mut self, path: &RelPath, error: Errno) {
        match error {
            Errno::NOSPC | Errno::DQUOT | Errno::ROFS | Errno::IO => {
                let reason = format!(
                    "{} on this node, so the mirror falls behind; what it has is still served. \
                     It is tried again by itself",
                    plain(error)
                );
                self.stop_for(reason);
            }
            // The tree here is not as it was; its events say how. The parent may be gone.
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ISDIR => {
                if let Some(writer) = &mut self.writer {
                    writer.step_back();
                }
                self.failed.insert(path.clone(), plain(error));
            }
            other => {
                self.failed.insert(path.clone(), plain(other));
            }
        }
    }

    /// Sends as many requests as may be open.
    pub(crate) fn ask(&mut self) {
        while self.arrivals.asked() < MAX_NEEDS {
            let Some(Want { id, path, compare }) = self.wanted.pop_front() else { return };
            // Overtaken by a newer request, or no longer there.
            if !self.arrivals.is_expected(&path, id) {
                continue;
            }
            let have = if compare { self.hash_here(&path) } else { None };
            let Some(link) = &self.link else { return };
            self.arrivals.ask(id, path.clone(), have.map(|(_, at)| at));
            let have = have.map(|(hash, _)| hash);
            if link.try_send(Message::Need { id, path, have }).is_err() {
                // The connection is ending; Down follows.
                return;
            }
        }
    }

    fn hash_here(&self, path: &RelPath) -> Option<(Hash, crate::tree::Stamp)> {
        let root = self.writer.as_ref()?.root();
        let file = root.open_at(path.as_bytes(), OFlags::RDONLY | OFlags::NONBLOCK).ok()?;
        let before = crate::root::stat_fd(std::os::fd::AsFd::as_fd(&file)).ok()?;
        let Kind::File { size } = before.kind else { return None };
        let hash = hash_of(&file, size, || false).ok()??;
        Some((hash, before.ctime))
    }

    /// Ends what can be ended: places files, deletes, sets the attributes of directories.
    pub(crate) fn settle(&mut self) {
        self.commit(Instant::now());
        while let Some(removal) = self.removals.front() {
            if self.arrivals.oldest().is_some_and(|id| id <= removal.after) {
                break;
            }
            let Some(removal) = self.removals.pop_front() else { break };
            self.remove_all(removal);
        }
        let moving = !self.arrivals.is_empty() || !self.removals.is_empty();
        if moving || self.touched.is_empty() || self.writer.is_none() {
            return;
        }
        // What is in a directory first: nothing here changes its time any more.
        for path in std::mem::take(&mut self.touched).into_iter().rev() {
            let Some(entry) = self.there(&path).filter(Entry::is_dir) else { continue };
            let Some(writer) = &mut self.writer else { return };
            let now = writer.root().look(&path);
            let owners = writer.owners;
            let done = match now {
                Ok(Some(now)) if now.is_dir() && entry.same_attributes(&now, owners) => {
                    self.observer.note(&path, Some(now));
                    Ok(())
                }
                Ok(Some(now)) if now.is_dir() => self.set_attributes(&path, &entry),
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = done {
                self.failed_at(&path, error);
            }
        }
    }

    fn remove_all(&mut self, removal: Removal) {
        for path in removal.paths {
            let back = self.remote.as_ref().is_none_or(|r| r.tree.contains_key(&path));
            let Some(here) = self.here(&path).filter(|_| !back) else { continue };
            match self.remove_one(&path, here.is_dir()) {
                Ok(()) => {}
                // Something came into it meanwhile, or it was exchanged: its events tell.
                Err(Errno::NOTEMPTY | Errno::ISDIR | Errno::NOTDIR | Errno::LOOP) => {}
                Err(error) => self.failed_at(&path, error),
            }
        }
    }
}
