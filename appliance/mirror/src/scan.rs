//! Reading a whole tree.

use crate::error::plain;
use crate::filter::Filter;
use crate::root::{Root, look_in};
use crate::tree::{RelPath, Tree};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::RawDir;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A path is excluded when any of these filters excludes it.
///
/// A mirror uses its own and its origin's: while a change of the patterns travels, what either
/// side protects is left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filters(pub(crate) Vec<Arc<Filter>>);

impl Filters {
    /// The path alone, its directories being included.
    pub(crate) fn excludes(&self, path: &RelPath, directory: bool) -> bool {
        self.0.iter().any(|f| f.excludes(path.as_bytes(), directory))
    }

    /// The path, by itself or with a directory above it.
    pub(crate) fn hides(&self, path: &RelPath, directory: bool) -> bool {
        self.0.iter().any(|f| f.hides(path, directory))
    }
}

/// What a scan found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// What is there and not excluded.
    pub(crate) tree: Tree,
    /// What is excluded, without what lies below it.
    pub(crate) kept: BTreeSet<RelPath>,
    /// What could not be read, and why.
    pub(crate) problems: Vec<(RelPath, String)>,
}

/// Told of every directory before it is read, so that it can be watched without a gap.
pub(crate) type Enter<'a> = &'a mut dyn FnMut(&RelPath, BorrowedFd<'_>);

/// Reads `start` and everything below it. What vanishes meanwhile is not there.
///
/// Directories are opened one at a time from the root, so that depth costs no descriptors and a
/// directory moved elsewhere meanwhile leads nowhere.
pub(crate) fn scan(root: &Root, start: &RelPath, filters: &Filters, enter: Enter<'_>) -> Scan {
    let mut found = Scan::default();
    match root.look(start) {
        Ok(Some(entry)) => {
            let directory = entry.is_dir();
            if !start.is_root() && filters.hides(start, directory) {
                found.kept.insert(start.clone());
                return found;
            }
            found.tree.insert(start.clone(), entry);
            if !directory {
                return found;
            }
        }
        Ok(None) => return found,
        Err(error) => {
            found.problems.push((start.clone(), plain(error)));
            return found;
        }
    }
    let mut waiting = vec![start.clone()];
    while let Some(path) = waiting.pop() {
        match read(root, &path, filters, enter, &mut found, &mut waiting) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(error) => found.problems.push((path, plain(error))),
        }
    }
    found
}

fn read(
    root: &Root,
    path: &RelPath,
    filters: &Filters,
    enter: Enter<'_>,
    found: &mut Scan,
    waiting: &mut Vec<RelPath>,
) -> Result<(), Errno> {
    let fd = root.dir(path.as_bytes())?;
    enter(path, fd.as_fd());
    let mut buffer = Vec::with_capacity(16 * 1024);
    let mut entries = RawDir::new(&fd, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let Some(child) = path.join(name) else {
            let shown = String::from_utf8_lossy(name).into_owned();
            found.problems.push((path.clone(), format!("the path of {shown} is too long")));
            continue;
        };
        match look_in(fd.as_fd(), name) {
            Ok(Some(entry)) => {
                let directory = entry.is_dir();
                if filters.excludes(&child, directory) {
                    found.kept.insert(child);
                    continue;
                }
                if directory {
                    waiting.push(child.clone());
                }
                found.tree.insert(child, entry);
            }
            Ok(None) => {}
            Err(error) => found.problems.push((child, plain(error))),
        }
    }
    Ok(())
}
