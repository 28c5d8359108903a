//! Opening a file below a directory, wherever its symbolic links point.
//!
//! `openat2` with `RESOLVE_BENEATH` (Linux 5.6) lets the kernel follow links and guarantees that
//! no step leaves the directory, even while somebody swaps a file for a link between two steps.
//! Where it is missing, and for absolute links that lead back into the site (which
//! `RESOLVE_BENEATH` refuses), [`walk`] takes the same steps one descriptor at a time.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2, readlinkat};
use rustix::io::Errno;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// May the caller wait for the card?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// No: only what the kernel has in memory; `EAGAIN` otherwise.
    Cached,
    /// Yes.
    Blocking,
}

/// As many symbolic links as the kernel follows in one path.
const MAX_LINKS: u32 = 40;

/// `NONBLOCK` so that a named pipe without a writer does not hold the thread.
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NOCTTY).union(OFlags::NONBLOCK);
const HANDLE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Set once the kernel has said that it has no `openat2`.
static MISSING: AtomicBool = AtomicBool::new(false);

/// Opens the directory of a site.
pub(crate) fn open_root(path: &Path, access: Access) -> Result<OwnedFd, Errno> {
    let flags = HANDLE | OFlags::DIRECTORY;
    if access == Access::Blocking {
        return openat(CWD, path, flags, Mode::empty());
    }
    if MISSING.load(Ordering::Relaxed) {
        return Err(Errno::AGAIN);
    }
    cached(openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED))
}

/// Opens `path` for reading, below `root`, which was opened from `root_path`.
pub(crate) fn open(
    root: BorrowedFd<'_>,
    root_path: &Path,
    path: &[u8],
    access: Access,
) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match access {
        Access::Cached if MISSING.load(Ordering::Relaxed) => Err(Errno::AGAIN),
        Access::Cached => {
            let found = openat2(root, path, READ, Mode::empty(), resolve | ResolveFlags::CACHED);
            match cached(found) {
                // Perhaps an absolute link that leads back in; following it takes a walk.
                Err(Errno::XDEV) => Err(Errno::AGAIN),
                other => other,
            }
        }
        Access::Blocking if MISSING.load(Ordering::Relaxed) => walk(root, root_path, path),
        Access::Blocking => match openat2(root, path, READ, Mode::empty(), resolve) {
            // EAGAIN: a rename went on while `..` was followed (openat2(2)). EPERM: a sandbox
            // that does not know the call.
            Err(Errno::XDEV | Errno::AGAIN | Errno::NOSYS | Errno::PERM) => {
                walk(root, root_path, path)
            }
            other => other,
        },
    }
}

/// Notes a kernel that lacks `openat2`, or (before Linux 5.12) its `RESOLVE_CACHED`.
fn cached(result: Result<OwnedFd, Errno>) -> Result<OwnedFd, Errno> {
    match result {
        Err(Errno::NOSYS | Errno::INVAL) => {
            MISSING.store(true, Ordering::Relaxed);
            Err(Errno::AGAIN)
        }
        Err(Errno::PERM) => Err(Errno::AGAIN),
        other => other,
    }
}

/// Follows `path` step by step. Each directory entered stays open, so `..` goes back to where
/// the walk came from rather than to wherever that directory may have been moved.
fn walk(root: BorrowedFd<'_>, root_path: &Path, path: &[u8]) -> Result<OwnedFd, Errno> {
    let mut entered: Vec<OwnedFd> = Vec::new();
    let mut ahead: Vec<Vec<u8>> = Vec::new();
    push_components(&mut ahead, path);
    let mut links = 0;
    while let Some(name) = ahead.pop() {
        if name == b".." {
            entered.pop().ok_or(Errno::XDEV)?;
            continue;
        }
        let here = entered.last().map_or(root, |fd| fd.as_fd());
        let next = openat(here, &*name, HANDLE | OFlags::NOFOLLOW, Mode::empty())?;
        match FileType::from_raw_mode(fstat(&next)?.st_mode) {
            FileType::Symlink => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP);
                }
                let target = readlinkat(&next, "", Vec::new())?.into_bytes();
                if target.starts_with(b"/") {
                    let inside = below(root_path, &target).ok_or(Errno::XDEV)?;
                    entered.clear();
                    push_components(&mut ahead, &inside);
                } else {
                    push_components(&mut ahead, &target);
                }
            }
            FileType::Directory => entered.push(next),
            _ if !ahead.is_empty() => return Err(Errno::NOTDIR),
            // Whatever has this name by now, it is in this directory and no link.
            _ => return openat(here, &*name, READ | OFlags::NOFOLLOW, Mode::empty()),
        }
    }
    let here = entered.last().map_or(root, |fd| fd.as_fd());
    openat(here, ".", READ, Mode::empty())
}

fn push_components(ahead: &mut Vec<Vec<u8>>, path: &[u8]) {
    let names = path.split(|b| *b == b'/').filter(|n| !n.is_empty() && *n != b".");
    ahead.extend(names.rev().map(<[u8]>::to_vec));
}

/// What remains of an absolute path below the root, if it lies there by name. The remainder is
/// walked like any other, so a `..` in it cannot leave.
fn below(root_path: &Path, target: &[u8]) -> Option<Vec<u8>> {
    let target = Path::new(std::ffi::OsStr::from_bytes(target));
    let real = std::fs::canonicalize(root_path).ok();
    [Some(root_path), real.as_deref()]
        .into_iter()
        .flatten()
        .filter(|root| root.is_absolute())
        .find_map(|root| target.strip_prefix(root).ok())
        .map(|rest| rest.as_os_str().as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, create_dir, write};
    use std::io::Read;
    use std::os::unix::fs::symlink;

    type Opener = fn(BorrowedFd<'_>, &Path, &[u8]) -> Result<OwnedFd, Errno>;

    fn kernel(root: BorrowedFd<'_>, at: &Path, path: &[u8]) -> Result<OwnedFd, Errno> {
        open(root, at, path, Access::Blocking)
    }

    /// First from memory, and where that cannot be known without waiting, again with waiting.
    fn patient(root: BorrowedFd<'_>, at: &Path, path: &[u8]) -> Result<OwnedFd, Errno> {
        match open(root, at, path, Access::Cached) {
            Err(Errno::AGAIN) => open(root, at, path, Access::Blocking),
            other => other,
        }
    }

    const OPENERS: [Opener; 3] = [kernel, walk, patient];

    fn content(fd: OwnedFd) -> String {
        let mut text = String::new();
        File::from(fd).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn links_inside_work_and_links_outside_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let root_path = dir.path().join("root");
        create_dir(&root_path).unwrap();
        create_dir(root_path.join("sub")).unwrap();
        write(dir.path().join("secret"), "secret").unwrap();
        write(root_path.join("a"), "a").unwrap();
        write(root_path.join("sub/b"), "b").unwrap();
        let link = |target: &Path, name: &str| symlink(target, root_path.join(name)).unwrap();
        link(Path::new("a"), "to-a");
        link(Path::new("sub"), "to-sub");
        link(Path::new("../a"), "sub/up");
        link(Path::new("../../secret"), "sub/out");
        link(Path::new("../secret"), "out");
        link(Path::new("/etc/passwd"), "passwd");
        link(Path::new("/proc/self/root/etc/passwd"), "magic");
        link(&dir.path().join("secret"), "absolute-out");
        link(&root_path.join("sub/b"), "absolute-in");
        link(&root_path.join("sub/../../secret"), "absolute-trick");
        link(Path::new("loop"), "loop");
        link(Path::new(".."), "parent");
        let root = open_root(&root_path, Access::Blocking).unwrap();
        for (i, opener) in OPENERS.iter().enumerate() {
            let open = |path: &str| opener(root.as_fd(), &root_path, path.as_bytes());
            for (path, want) in [
                ("a", "a"),
                ("sub/b", "b"),
                ("to-a", "a"),
                ("to-sub/b", "b"),
                ("sub/up", "a"),
                ("to-sub/up", "a"),
                ("absolute-in", "b"),
            ] {
                assert_eq!(content(open(path).unwrap()), want, "{path} by opener {i}");
            }
            for (path, want) in [
                ("out", Errno::XDEV),
                ("sub/out", Errno::XDEV),
                ("to-sub/out", Errno::XDEV),
                ("passwd", Errno::XDEV),
                ("absolute-out", Errno::XDEV),
                ("absolute-trick", Errno::XDEV),
                ("parent", Errno::XDEV),
                ("parent/secret", Errno::XDEV),
                ("magic", Errno::XDEV),
                ("loop", Errno::LOOP),
                ("none", Errno::NOENT),
                ("a/b", Errno::NOTDIR),
                ("a/", Errno::NOTDIR),
            ] {
                let found = open(path).map(|_| ());
                // A slash at the end is taken off before this is reached; only the kernel minds.
                if path == "a/" && i == 1 {
                    continue;
                }
                assert_eq!(found, Err(want), "{path} by opener {i}");
            }
            assert!(open("sub").is_ok() && open("").is_ok());
        }
    }

    #[test]
    fn a_name_swapped_between_file_and_link_never_leads_outside() {
        let dir = tempfile::tempdir().unwrap();
        let root_path = dir.path().join("root");
        create_dir(&root_path).unwrap();
        write(dir.path().join("secret"), "secret").unwrap();
        let root = open_root(&root_path, Access::Blocking).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (name, spare) = (root_path.join("x"), root_path.join("spare"));
                while !stop.load(Ordering::Relaxed) {
                    write(&spare, "fine").unwrap();
                    std::fs::rename(&spare, &name).unwrap();
                    symlink("../secret", &spare).unwrap();
                    std::fs::rename(&spare, &name).unwrap();
                }
            });
            for opener in OPENERS {
                let (mut fine, mut refused, mut left) = (0, 0, 200_000);
                while (fine < 50 || refused < 50) && left > 0 {
                    left -= 1;
                    match opener(root.as_fd(), &root_path, b"x") {
                        Ok(fd) => {
                            assert_eq!(content(fd), "fine");
                            fine += 1;
                        }
                        Err(_) => refused += 1,
                    }
                }
                assert!(fine >= 50 && refused >= 50, "{fine} served, {refused} refused");
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}
