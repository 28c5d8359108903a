//! A directory tree held by a descriptor, and the way to a path in it that no symbolic link can
//! divert.

use crate::tree::{Entry, Kind, RelPath, Stamp};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// Paths are opened in pieces of at most this length, below `PATH_MAX`.
const PIECE: usize = 3000;

/// The root directory of a tree.
#[derive(Debug)]
pub(crate) struct Root {
    path: PathBuf,
    fd: OwnedFd,
    identity: Identity,
}

/// Tells one directory from another that took its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: (u32, u32),
    inode: u64,
}

impl Identity {
    fn of(stat: &Statx) -> Self {
        Self { device: (stat.stx_dev_major, stat.stx_dev_minor), inode: stat.stx_ino }
    }
}

fn stat_flags() -> StatxFlags {
    StatxFlags::BASIC_STATS
}

impl Root {
    /// Opens the directory. It may itself be reached through a link: that is the operator's.
    pub(crate) fn open(path: &Path) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        let stat = rustix::fs::statx(&fd, c"", AtFlags::EMPTY_PATH, stat_flags())?;
        Ok(Self { path: path.to_owned(), fd, identity: Identity::of(&stat) })
    }

    /// Is this still the directory at its path? Not when it was moved or mounted over.
    pub(crate) fn in_place(&self) -> bool {
        let stat = rustix::fs::statx(CWD, &self.path, AtFlags::empty(), stat_flags());
        stat.is_ok_and(|s| Identity::of(&s) == self.identity)
    }

    /// Its file system.
    pub(crate) fn device(&self) -> (u32, u32) {
        self.identity.device
    }

    /// Opens a directory of the tree.
    pub(crate) fn dir(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// Opens something of the tree. No link is followed, not even at the end.
    pub(crate) fn open_at(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        if path.is_empty() {
            return open_beneath(self.fd.as_fd(), b".", flags);
        }
        let mut held: Option<OwnedFd> = None;
        let mut rest = path;
        loop {
            let from = held.as_ref().map_or(self.fd.as_fd(), AsFd::as_fd);
            let cut = if rest.len() <= PIECE {
                None
            } else {
                rest.get(..PIECE).and_then(|p| p.iter().rposition(|b| *b == b'/'))
            };
            let Some(cut) = cut else { return open_beneath(from, rest, flags) };
            let (piece, after) = rest.split_at(cut);
            let way = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let next = open_beneath(from, piece, way)?;
            held = Some(next);
            rest = after.strip_prefix(b"/").unwrap_or(after);
        }
    }

    /// What lies at a path now; None when nothing does.
    pub(crate) fn look(&self, path: &RelPath) -> Result<Option<Entry>, Errno> {
        let found = match path.split() {
            None => stat_fd(self.fd.as_fd()).map(Some),
            Some((parent, name)) => match self.open_at(parent, OFlags::PATH | OFlags::DIRECTORY) {
                Ok(dir) => look_in(dir.as_fd(), name),
                Err(error) => Err(error),
            },
        };
        match found {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            other => other,
        }
    }
}

fn open_beneath(dir: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    loop {
        match rustix::fs::openat2(dir, path, flags, Mode::empty(), resolve) {
            // A rename elsewhere disturbed the walk (openat2(2)).
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Before Linux 5.6, or under a filter that does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => return open_stepwise(dir, path, flags),
            other => return other,
        }
    }
}

/// One component at a time, none of them a link.
fn open_stepwise(dir: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut held: Option<OwnedFd> = None;
    let mut parts = path.split(|b| *b == b'/').peekable();
    while let Some(part) = parts.next() {
        let from = held.as_ref().map_or(dir, AsFd::as_fd);
        let last = parts.peek().is_none();
        let way = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let next = rustix::fs::openat(from, part, if last { flags } else { way }, Mode::empty())?;
        if last {
            return Ok(next);
        }
        held = Some(next);
    }
    Err(Errno::NOENT)
}

/// What an open descriptor refers to.
pub(crate) fn stat_fd(fd: BorrowedFd<'_>) -> Result<Entry, Errno> {
    let stat = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, stat_flags())?;
    entry_of(&stat, || Err(Errno::INVAL))
}

/// What lies under a name in a directory; None when nothing does.
pub(crate) fn look_in(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Entry>, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let stat = match rustix::fs::statx(dir, name, flags, stat_flags()) {
        Err(Errno::NOENT) => return Ok(None),
        other => other?,
    };
    let target = || {
        let target = rustix::fs::readlinkat(dir, name, Vec::new())?;
        Ok(target.as_bytes().into())
    };
    match entry_of(&stat, target) {
        // It was replaced between the two calls; the event of that is still to come.
        Err(Errno::NOENT | Errno::INVAL) => Ok(None),
        other => other.map(Some),
    }
}

fn entry_of(
    stat: &Statx,
    target: impl FnOnce() -> Result<Box<[u8]>, Errno>,
) -> Result<Entry, Errno> {
    let mode = u32::from(stat.stx_mode);
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => Kind::Dir,
        FileType::RegularFile => Kind::File { size: stat.stx_size },
        FileType::Symlink => Kind::Symlink { target: target()? },
        _ => Kind::Special,
    };
    let stamp = |t: rustix::fs::StatxTimestamp| Stamp { secs: t.tv_sec, nanos: t.tv_nsec };
    Ok(Entry {
        kind,
        mode: mode & 0o7777,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        mtime: stamp(stat.stx_mtime),
        ctime: stamp(stat.stx_ctime),
    })
}
