//! What a mirror has to do to become equal to its origin.
//!
//! Pure: two listings in, ordered steps out. Creations and updates come first, deletions last,
//! and what an exclude pattern protects is neither touched nor counted.

use crate::tree::{Entry, Kind, RelPath, Stamp, Tree, below};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

/// Which paths to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Everything.
    All,
    /// These, and what lies below them where that matters.
    Paths(BTreeSet<RelPath>),
}

impl Scope {
    /// Nothing.
    pub(crate) fn none() -> Self {
        Self::Paths(BTreeSet::new())
    }

    /// Is there nothing to look at?
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Paths(paths) if paths.is_empty())
    }

    /// Adds one path.
    pub(crate) fn add(&mut self, path: RelPath) {
        if let Self::Paths(paths) = self {
            paths.insert(path);
        }
    }
}

/// The last known change stamps of a file whose content was seen to be equal on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// On the origin.
    pub(crate) origin: Stamp,
    /// Here.
    pub(crate) local: Stamp,
}

/// Both sides, and what is known about them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sides<'a> {
    /// The origin's tree, without what is excluded.
    pub(crate) origin: &'a Tree,
    /// This node's tree, without what is excluded.
    pub(crate) local: &'a Tree,
    /// The excluded paths found on this node; what lies below them is not listed.
    pub(crate) kept: &'a BTreeSet<RelPath>,
    /// What is known about contents.
    pub(crate) seen: &'a BTreeMap<RelPath, Seen>,
    /// Can this process give files away?
    pub(crate) owners: bool,
    /// Are both listings complete? If not, nothing is deleted, and nothing is replaced that is
    /// more than a file.
    pub(crate) complete: bool,
}

/// One thing to do. The entry to become equal to is the origin's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Make a directory, after removing the file or link that is in its place.
    Directory(RelPath),
    /// Make or replace a link.
    Symlink(RelPath),
    /// Get a file.
    File {
        /// Its path.
        path: RelPath,
        /// The file here may well be the same: ask the origin to compare before it sends.
        compare: bool,
    },
    /// Set mode, owner and time; the content is the same.
    Attributes(RelPath),
}

/// What to do, in order: `steps`, then `deletes`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Creations and updates; every directory before what is in it.
    pub(crate) steps: Vec<Step>,
    /// Paths to delete; every directory after what is in it.
    pub(crate) deletes: Vec<RelPath>,
    /// The files and links that go, those in a replaced directory included.
    pub(crate) doomed: Vec<RelPath>,
    /// What cannot be made equal, and why.
    pub(crate) blocked: Vec<(RelPath, &'static str)>,
    /// Files whose content was not seen before and is taken to be equal, because size and time
    /// are.
    pub(crate) trusted: Vec<RelPath>,
}

const HOLDS_EXCLUDED: &str =
    "it is a file on the origin and a directory here that holds excluded files, so it is left";
const SPECIAL: &str = "it is a fifo, a socket or a device on the origin; these are not mirrored";

/// A file of at least this size whose time alone has changed is compared before it is sent.
const COMPARE_FROM: u64 = 64 * 1024;

/// Compares both sides within `scope`.
pub(crate) fn plan(sides: &Sides<'_>, scope: &Scope) -> Plan {
    let mut plan = Plan::default();
    match scope {
        Scope::All => {
            for (path, entry) in sides.origin {
                create(sides, path, entry, &mut plan);
            }
            for (path, entry) in sides.local.iter().rev() {
                remove(sides, path, entry, &mut plan);
            }
        }
        Scope::Paths(paths) => {
            let widened = widen(sides, paths);
            for path in &widened {
                if let Some(entry) = sides.origin.get(path) {
                    create(sides, path, entry, &mut plan);
                }
            }
            for path in widened.iter().rev() {
                if let Some(entry) = sides.local.get(path) {
                    remove(sides, path, entry, &mut plan);
                }
            }
        }
    }
    plan
}

/// The doomed files that are not merely moved: no file of the same size and time appears under
/// another name. Moving the directory that holds most of a site is no loss.
pub(crate) fn lost(plan: &Plan, sides: &Sides<'_>) -> Vec<RelPath> {
    let mut appearing: HashMap<(u64, Stamp), usize> = HashMap::new();
    for step in &plan.steps {
        let Step::File { path, .. } = step else { continue };
        let Some(Entry { kind: Kind::File { size }, mtime, .. }) = sides.origin.get(path) else {
            continue;
        };
        if !sides.local.contains_key(path) {
            *appearing.entry((*size, *mtime)).or_default() += 1;
        }
    }
    let mut moved = |path: &RelPath| {
        let Some(Entry { kind: Kind::File { size }, mtime, .. }) = sides.local.get(path) else {
            return false;
        };
        match appearing.get_mut(&(*size, *mtime)) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    };
    plan.doomed.iter().filter(|p| !moved(p)).cloned().collect()
}

/// What lies below a path matters when a whole subtree comes, goes or is replaced. A directory
/// above a path matters when it stayed only because of what was in it, or is still to be made.
fn widen(sides: &Sides<'_>, paths: &BTreeSet<RelPath>) -> BTreeSet<RelPath> {
    let mut all = paths.clone();
    let is_dir = |tree: &Tree, path: &RelPath| tree.get(path).is_some_and(Entry::is_dir);
    for path in paths {
        let (there, here) = (is_dir(sides.origin, path), is_dir(sides.local, path));
        if there && !here {
            all.extend(below(sides.origin, path).map(|(p, _)| p.clone()));
        }
        if here && !there {
            all.extend(below(sides.local, path).map(|(p, _)| p.clone()));
        }
        let mut above = path.parent();
        while let Some(parent) = above {
            if is_dir(sides.origin, &parent) == is_dir(sides.local, &parent) {
                break;
            }
            above = parent.parent();
            all.insert(parent);
        }
    }
    all
}

fn holds_kept(sides: &Sides<'_>, path: &RelPath) -> bool {
    let prefix = [path.as_bytes(), b"/"].concat();
    let from = (Bound::Included(&prefix[..]), Bound::Unbounded);
    let next = sides.kept.range::<[u8], _>(from).next();
    sides.kept.contains(path) || next.is_some_and(|p| p.is_below(path))
}

fn create(sides: &Sides<'_>, path: &RelPath, origin: &Entry, plan: &mut Plan) {
    if origin.kind == Kind::Special {
        plan.blocked.push((path.clone(), SPECIAL));
        return;
    }
    let local = sides.local.get(path);
    if !origin.is_dir() {
        let replaced = local.is_some_and(Entry::is_dir);
        if replaced || sides.kept.contains(path) {
            if holds_kept(sides, path) {
                plan.blocked.push((path.clone(), HOLDS_EXCLUDED));
                return;
            }
            if !sides.complete {
                return;
            }
            let lost = below(sides.local, path).filter(|(_, e)| !e.is_dir());
            plan.doomed.extend(lost.map(|(p, _)| p.clone()));
        }
    }
    let attributes = local.is_some_and(|l| origin.same_attributes(l, sides.owners));
    match (&origin.kind, local.map(|l| &l.kind)) {
        (Kind::Dir, Some(Kind::Dir)) => {
            if !attributes {
                plan.steps.push(Step::Attributes(path.clone()));
            }
        }
        (Kind::Dir, other) => {
            if other.is_some() {
                plan.doomed.push(path.clone());
            }
            plan.steps.push(Step::Directory(path.clone()));
        }
        (Kind::Symlink { target }, Some(Kind::Symlink { target: old })) if target == old => {
            if !attributes {
                plan.steps.push(Step::Attributes(path.clone()));
            }
        }
        (Kind::Symlink { .. }, _) => plan.steps.push(Step::Symlink(path.clone())),
        (Kind::File { size }, Some(Kind::File { size: old })) if size == old => {
            let local = local.unwrap_or(origin);
            file_of_same_size(sides, path, origin, local, *size, attributes, plan);
        }
        (Kind::File { .. }, _) => {
            plan.steps.push(Step::File { path: path.clone(), compare: false });
        }
        (Kind::Special, _) => {}
    }
}

fn file_of_same_size(
    sides: &Sides<'_>,
    path: &RelPath,
    origin: &Entry,
    local: &Entry,
    size: u64,
    attributes: bool,
    plan: &mut Plan,
) {
    let get = |compare| Step::File { path: path.clone(), compare };
    if origin.mtime != local.mtime {
        plan.steps.push(get(size >= COMPARE_FROM));
        return;
    }
    // Times can be set back after an edit; the change stamps tell.
    let now = Seen { origin: origin.ctime, local: local.ctime };
    match sides.seen.get(path) {
        Some(seen) if *seen != now => plan.steps.push(get(true)),
        known => {
            if known.is_none() {
                plan.trusted.push(path.clone());
            }
            if !attributes {
                plan.steps.push(Step::Attributes(path.clone()));
            }
        }
    }
}

fn remove(sides: &Sides<'_>, path: &RelPath, local: &Entry, plan: &mut Plan) {
    if path.is_root() || !sides.complete || sides.origin.contains_key(path) {
        return;
    }
    if local.is_dir() && holds_kept(sides, path) {
        return;
    }
    let nearest = path.ancestors().find_map(|above| sides.origin.get(above));
    match nearest.map(|e| &e.kind) {
        // Goes with the directory that is replaced, or stays because that is blocked.
        Some(Kind::File { .. } | Kind::Symlink { .. } | Kind::Special) => {}
        Some(Kind::Dir) | None => {
            plan.deletes.push(path.clone());
            if !local.is_dir() {
                plan.doomed.push(path.clone());
            }
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
