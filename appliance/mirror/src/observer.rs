//! One node's tree, kept up to date.

use crate::error::plain;
use crate::guard::Source;
use crate::pending::{Batch, Pending};
use crate::root::Root;
use crate::scan::{Filters, Scan, scan};
use crate::tree::{Entry, RelPath, Tree, below};
use crate::watch::Watch;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Full compares where not everything can be watched.
const POLLING: Duration = Duration::from_secs(10);

/// Watches a directory and knows what is in it.
#[derive(Debug)]
pub(crate) struct Observer {
    path: PathBuf,
    filters: Filters,
    root: Option<Arc<Root>>,
    watch: Watch,
    pending: Pending,
    /// What is there and not excluded.
    pub(crate) tree: Arc<Tree>,
    /// What is excluded, without what lies below it.
    pub(crate) kept: BTreeSet<RelPath>,
    /// What could not be read.
    pub(crate) problems: Vec<(RelPath, String)>,
    /// Whether it could be read at all.
    pub(crate) source: Source,
}

impl Observer {
    /// Watches nothing before the first [`Self::rescan`]. Must be called within a tokio runtime.
    pub(crate) fn new(path: PathBuf, filters: Filters) -> io::Result<Self> {
        Ok(Self {
            path,
            filters,
            root: None,
            watch: Watch::new()?,
            pending: Pending::default(),
            tree: Arc::default(),
            kept: BTreeSet::new(),
            problems: Vec::new(),
            source: Source::Missing,
        })
    }

    /// The directory as it is held open.
    pub(crate) fn root(&self) -> Option<&Arc<Root>> {
        self.root.as_ref()
    }

    /// Uses other filters from the next rescan on; false when they are the same.
    pub(crate) fn set_filters(&mut self, filters: Filters) -> bool {
        let new = self.filters != filters;
        self.filters = filters;
        new
    }

    /// Could not everything be watched?
    pub(crate) fn is_limited(&self) -> bool {
        self.watch.limited
    }

    /// Is what is held open still what is at the path? Costs one system call.
    pub(crate) fn in_place(&self) -> bool {
        match &self.root {
            Some(root) => root.in_place(),
            None => self.source == Source::Missing && !self.path.exists(),
        }
    }

    /// Full compares are due at least every `slow`, and more often while something escapes
    /// notification.
    pub(crate) fn compare_every(&self, slow: Duration) -> Duration {
        let blind = self.watch.limited
            || !self.problems.is_empty()
            || matches!(self.source, Source::Unreadable(_));
        if blind { slow.min(POLLING) } else { slow }
    }

    /// Waits for changes and keeps them for later.
    pub(crate) async fn listen(&mut self) -> io::Result<()> {
        let heard = self.watch.heard().await?;
        self.pending.hear(heard, Instant::now());
        Ok(())
    }

    /// When there is something to look at.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.pending.due()
    }

    /// Reads everything again. Returns the paths that are not as they were.
    pub(crate) fn rescan(&mut self) -> io::Result<Vec<RelPath>> {
        // What was heard so far is covered by the scan.
        self.pending = Pending::default();
        let still = self.root.as_ref().is_some_and(|r| r.in_place());
        if !still {
            self.watch = Watch::new()?;
            self.root = None;
        }
        self.watch.limited = false;
        let opened = match &self.root {
            Some(root) => Ok(Arc::clone(root)),
            None => Root::open(&self.path).map(Arc::new),
        };
        let mut found = Scan::default();
        match opened {
            Ok(root) => {
                let watch = &mut self.watch;
                found = scan(&root, &RelPath::root(), &self.filters, &mut |path, fd| {
                    watch.add(path, fd);
                });
                let whole = found.problems.iter().find(|(path, _)| path.is_root());
                self.source = match whole {
                    Some((_, why)) => Source::Unreadable(why.clone()),
                    None => Source::Listed,
                };
                self.root = Some(root);
            }
            Err(Errno::NOENT) => self.source = Source::Missing,
            Err(error) => self.source = Source::Unreadable(plain(error)),
        }
        let changed = differences(&self.tree, &found.tree);
        self.tree = Arc::new(found.tree);
        self.kept = found.kept;
        self.problems = found.problems;
        Ok(changed)
    }

    /// Looks at what was heard of. Returns the paths that are not as they were, or None when
    /// only a rescan helps.
    pub(crate) fn refresh(&mut self, now: Instant) -> Option<Vec<RelPath>> {
        let Batch { mut changed, appeared, lost } = self.pending.take(now);
        // What could not be read may be readable or gone now, and nothing says so.
        if lost || !self.problems.is_empty() {
            return None;
        }
        changed.extend(appeared.iter().cloned());
        let mut differing = Vec::new();
        let mut scanned: Option<RelPath> = None;
        for path in changed {
            // A directory comes before what is in it.
            if scanned.as_ref().is_some_and(|s| path.is_below(s)) {
                continue;
            }
            let deep = appeared.contains(&path);
            if self.look_again(&path, deep, &mut differing)? {
                scanned = Some(path);
            }
        }
        Some(differing)
    }

    /// None: only a rescan helps. Otherwise says whether everything below was read too.
    fn look_again(
        &mut self,
        path: &RelPath,
        deep: bool,
        differing: &mut Vec<RelPath>,
    ) -> Option<bool> {
        let root = Arc::clone(self.root.as_ref()?);
        let entry = root.look(path).ok()?;
        let directory = entry.as_ref().is_some_and(Entry::is_dir);
        if entry.is_some() && !path.is_root() && self.filters.hides(path, directory) {
            self.drop_below(path, differing);
            self.set(path, None, differing);
            self.kept.insert(path.clone());
            return Some(false);
        }
        self.kept.remove(path);
        // With other permissions it may be readable no longer, or only now.
        let permitted = |e: &Entry| (e.mode, e.uid, e.gid);
        let other = self.tree.get(path).map(permitted) != entry.as_ref().map(permitted);
        if directory && (deep || other || !self.watch.has(path)) {
            let watch = &mut self.watch;
            let found = scan(&root, path, &self.filters, &mut |path, fd| watch.add(path, fd));
            if !found.problems.is_empty() {
                return None;
            }
            let gone: Vec<_> = below(&self.tree, path)
                .filter(|(p, _)| !found.tree.contains_key(*p))
                .map(|(p, _)| p.clone())
                .collect();
            for path in gone {
                self.set(&path, None, differing);
            }
            for (path, entry) in found.tree {
                self.set(&path, Some(entry), differing);
            }
            self.kept.retain(|p| !p.is_below(path));
            self.kept.extend(found.kept);
            return Some(true);
        }
        if !directory {
            self.drop_below(path, differing);
        }
        self.set(path, entry, differing);
        Some(false)
    }

    fn drop_below(&mut self, path: &RelPath, differing: &mut Vec<RelPath>) {
        if !self.tree.get(path).is_some_and(Entry::is_dir) {
            return;
        }
        self.watch.forget(path);
        let gone: Vec<_> = below(&self.tree, path).map(|(p, _)| p.clone()).collect();
        for path in gone {
            self.set(&path, None, differing);
        }
        self.kept.retain(|p| !p.is_below(path));
    }

    fn set(&mut self, path: &RelPath, entry: Option<Entry>, differing: &mut Vec<RelPath>) {
        if self.tree.get(path) != entry.as_ref() {
            self.note(path, entry);
            differing.push(path.clone());
        }
    }

    /// Takes note of what this process itself has made of a path.
    pub(crate) fn note(&mut self, path: &RelPath, entry: Option<Entry>) {
        let tree = Arc::make_mut(&mut self.tree);
        match entry {
            Some(entry) => {
                tree.insert(path.clone(), entry);
            }
            None => {
                tree.remove(path);
            }
        }
    }
}

fn differences(old: &Tree, new: &Tree) -> Vec<RelPath> {
    let gone = old.keys().filter(|p| !new.contains_key(*p));
    let other = new.iter().filter(|(p, e)| old.get(*p) != Some(e)).map(|(p, _)| p);
    gone.chain(other).cloned().collect()
}
