//! Changing a mirror's tree so that a reader, or a power cut, sees the old or the new file and
//! nothing in between.
//!
//! Files are written under a number in a staging directory outside the tree and renamed into it
//! when they are complete and on the disk. Every path is reached from the root by descriptors
//! that follow no link.

use crate::root::{Root, look_in, stat_fd};
use crate::tree::{Entry, Kind, RelPath};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, RawDir, SeekFrom, StatxFlags, Timespec, Timestamps,
    UTIME_OMIT, Uid,
};
use rustix::io::Errno;
use std::path::Path;
use std::sync::Arc;

/// Runs of zeros of this length become holes.
const HOLE: usize = 4096;

/// Writes to one tree.
#[derive(Debug)]
pub(crate) struct Writer {
    root: Arc<Root>,
    staging: OwnedFd,
    next: u64,
    /// The directory used last, to save opening it for every file in it.
    near: Option<(RelPath, OwnedFd)>,
    /// False after the kernel refused to give a file away.
    pub(crate) owners: bool,
}

/// A file on its way into the tree. Removed when it is dropped before it was placed.
#[derive(Debug)]
pub(crate) struct Staged {
    file: Option<OwnedFd>,
    staging: OwnedFd,
    name: String,
    placed: bool,
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.placed {
            let _ = rustix::fs::unlinkat(&self.staging, &self.name, AtFlags::empty());
        }
    }
}

impl Staged {
    /// Appends content, leaving holes where it is zero.
    pub(crate) fn write(&mut self, content: &[u8]) -> Result<(), Errno> {
        let Some(file) = &self.file else { return Err(Errno::BADF) };
        for block in content.chunks(HOLE) {
            if block.len() == HOLE && block.iter().all(|b| *b == 0) {
                let step = i64::try_from(HOLE).unwrap_or(0);
                rustix::fs::seek(file, SeekFrom::Current(step))?;
                continue;
            }
            let mut rest = block;
            while !rest.is_empty() {
                let written = rustix::io::retry_on_intr(|| rustix::io::write(file, rest))?;
                rest = rest.get(written..).unwrap_or_default();
            }
        }
        Ok(())
    }

    /// Writes everything out and closes the file.
    pub(crate) fn sync(&mut self) -> Result<(), Errno> {
        match self.file.take() {
            Some(file) => rustix::fs::fsync(file),
            None => Ok(()),
        }
    }

    /// Closes the file; [`Writer::sync_all`] is still to be called.
    pub(crate) fn close(&mut self) {
        self.file = None;
    }
}

impl Writer {
    /// Makes the staging directory, or empties it of what an interrupted run has left.
    pub(crate) fn new(root: Arc<Root>, staging: &Path) -> Result<Self, Errno> {
        if let Err(error) = std::fs::create_dir_all(staging) {
            return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let staging = rustix::fs::openat(CWD, staging, flags, Mode::empty())?;
        rustix::fs::fchmod(&staging, Mode::RWXU)?;
        empty(staging.as_fd(), 0)?;
        Ok(Self { root, staging, next: 0, near: None, owners: true })
    }

    /// The tree it writes to.
    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    /// Can files be renamed from the staging directory into the tree?
    pub(crate) fn same_file_system(&self) -> bool {
        let found = rustix::fs::statx(&self.staging, c"", AtFlags::EMPTY_PATH, StatxFlags::INO);
        found.is_ok_and(|s| (s.stx_dev_major, s.stx_dev_minor) == self.root.device())
    }

    /// Opens a new file outside the tree.
    pub(crate) fn stage(&mut self) -> Result<Staged, Errno> {
        let name = self.name();
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let staging = rustix::io::fcntl_dupfd_cloexec(&self.staging, 0)?;
        let file = rustix::fs::openat(&staging, &name, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(Staged { file: Some(file), staging, name, placed: false })
    }

    fn name(&mut self) -> String {
        self.next += 1;
        format!("{:x}", self.next)
    }

    /// Gives a complete file its size, owner, mode and time.
    pub(crate) fn finish(&mut self, staged: &Staged, entry: &Entry) -> Result<(), Errno> {
        let Some(file) = &staged.file else { return Err(Errno::BADF) };
        if let Kind::File { size } = entry.kind {
            // A hole at the end is not written.
            if rustix::fs::tell(file)? != size {
                return Err(Errno::IO);
            }
            rustix::fs::ftruncate(file, size)?;
        }
        self.own(|uid, gid| rustix::fs::fchown(file, uid, gid), entry)?;
        rustix::fs::fchmod(file, mode(entry))?;
        rustix::fs::futimens(file, &times(entry))
    }

    /// Puts a file in its place. What was written must have been synced before.
    pub(crate) fn place(&mut self, staged: &mut Staged, path: &RelPath) -> Result<Entry, Errno> {
        let name = staged.name.clone();
        let entry = self.rename(&name, path)?;
        staged.placed = true;
        Ok(entry)
    }

    fn rename(&mut self, staged: &str, path: &RelPath) -> Result<Entry, Errno> {
        let (dir, name) = near(&self.root, &mut self.near, path)?;
        writable(dir, || rustix::fs::renameat(&self.staging, staged, dir, name))?;
        look_in(dir, name)?.ok_or(Errno::NOENT)
    }

    /// Makes or replaces a symbolic link.
    pub(crate) fn symlink(&mut self, path: &RelPath, entry: &Entry) -> Result<Entry, Errno> {
        let Kind::Symlink { target } = &entry.kind else { return Err(Errno::INVAL) };
        let name = self.name();
        rustix::fs::symlinkat(&target[..], &self.staging, &name)?;
        let made = self.set_link(&name, entry).and_then(|()| self.rename(&name, path));
        if made.is_err() {
            let _ = rustix::fs::unlinkat(&self.staging, &name, AtFlags::empty());
        }
        made
    }

    fn set_link(&mut self, name: &str, entry: &Entry) -> Result<(), Errno> {
        let staging = rustix::io::fcntl_dupfd_cloexec(&self.staging, 0)?;
        set_link(self, staging.as_fd(), name.as_bytes(), entry)
    }

    /// Makes a directory in place of whatever file or link is there. It gets its time later,
    /// when it is filled.
    pub(crate) fn mkdir(
        &mut self,
        path: &RelPath,
        entry: &Entry,
        replace: bool,
    ) -> Result<(), Errno> {
        if replace {
            self.remove(path, false)?;
        }
        let (dir, name) = near(&self.root, &mut self.near, path)?;
        match writable(dir, || rustix::fs::mkdirat(dir, name, Mode::RWXU)) {
            // Somebody was faster; that it is a directory is checked by opening it.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(dir, name, flags, Mode::empty())?;
        self.own(|uid, gid| rustix::fs::fchown(&made, uid, gid), entry)?;
        rustix::fs::fchmod(&made, mode(entry) | Mode::RWXU)
    }

    /// Gives what is there its owner, mode and time.
    pub(crate) fn attributes(&mut self, path: &RelPath, entry: &Entry) -> Result<(), Errno> {
        if let Kind::Symlink { .. } = entry.kind {
            let (parent, name) = path.split().ok_or(Errno::INVAL)?;
            let dir = self.root.dir(parent)?;
            return set_link(self, dir.as_fd(), name, entry);
        }
        let fd = match entry.kind {
            Kind::Dir => match self.root.dir(path.as_bytes()) {
                Err(Errno::ACCESS) => {
                    self.unlock(path)?;
                    self.root.dir(path.as_bytes())?
                }
                other => other?,
            },
            // A fifo that took its place would block without the flag.
            _ => self.root.open_at(path.as_bytes(), OFlags::RDONLY | OFlags::NONBLOCK)?,
        };
        let found = stat_fd(fd.as_fd())?;
        if found.is_dir() != entry.is_dir() || found.is_file() != entry.is_file() {
            return Err(Errno::NOENT);
        }
        if found.uid != entry.uid || found.gid != entry.gid {
            self.own(|uid, gid| rustix::fs::fchown(&fd, uid, gid), entry)?;
        }
        rustix::fs::fchmod(&fd, mode(entry))?;
        rustix::fs::futimens(&fd, &times(entry))
    }

    /// Lets a process that is not root read its own directory.
    fn unlock(&self, path: &RelPath) -> Result<(), Errno> {
        let way = self.root.open_at(path.as_bytes(), OFlags::PATH | OFlags::DIRECTORY)?;
        let mode = Mode::from_raw_mode(stat_fd(way.as_fd())?.mode);
        // fchmod(2) does not take such a descriptor; this is the way round.
        let name = format!("/proc/self/fd/{}", way.as_raw_fd());
        rustix::fs::chmod(name, mode | Mode::RWXU)
    }

    /// Removes a file, a link or an empty directory. Not being there is as good.
    pub(crate) fn remove(&mut self, path: &RelPath, directory: bool) -> Result<(), Errno> {
        let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        if directory && self.near.as_ref().is_some_and(|(p, _)| p == path || p.is_below(path)) {
            self.near = None;
        }
        let (dir, name) = match near(&self.root, &mut self.near, path) {
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        match writable(dir, || rustix::fs::unlinkat(dir, name, flags)) {
            Err(Errno::NOENT) => Ok(()),
            other => other,
        }
    }

    /// Makes renames in a directory last.
    pub(crate) fn sync_dir(&self, path: &[u8]) -> Result<(), Errno> {
        match self.root.dir(path) {
            Ok(dir) => rustix::fs::fsync(dir),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes everything last that was written so far: one journal commit for many files.
    pub(crate) fn sync_all(&self) -> Result<(), Errno> {
        rustix::fs::syncfs(&self.staging)
    }

    /// Forgets the directory used last, which may have been moved meanwhile.
    pub(crate) fn step_back(&mut self) {
        self.near = None;
    }

    fn own(
        &mut self,
        chown: impl FnOnce(Option<Uid>, Option<Gid>) -> Result<(), Errno>,
        entry: &Entry,
    ) -> Result<(), Errno> {
        if !self.owners {
            return Ok(());
        }
        match chown(Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid))) {
            Err(Errno::PERM | Errno::ACCESS | Errno::INVAL) => {
                self.owners = false;
                Ok(())
            }
            other => other,
        }
    }
}

fn set_link(
    writer: &mut Writer,
    dir: BorrowedFd<'_>,
    name: &[u8],
    entry: &Entry,
) -> Result<(), Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    writer.own(|uid, gid| rustix::fs::chownat(dir, name, uid, gid, flags), entry)?;
    rustix::fs::utimensat(dir, name, &times(entry), flags)
}

/// Does something in a directory. A process that is not root must first allow itself to write
/// there; the directory gets its own mode back with its time, when nothing moves any more.
fn writable(dir: BorrowedFd<'_>, act: impl Fn() -> Result<(), Errno>) -> Result<(), Errno> {
    match act() {
        Err(Errno::ACCESS) => {
            let mode = Mode::from_raw_mode(stat_fd(dir)?.mode);
            rustix::fs::fchmod(dir, mode | Mode::RWXU)?;
            act()
        }
        other => other,
    }
}

/// The directory a path lies in, opened or still open, and the path's name there.
fn near<'a, 'p>(
    root: &Root,
    near: &'a mut Option<(RelPath, OwnedFd)>,
    path: &'p RelPath,
) -> Result<(BorrowedFd<'a>, &'p [u8]), Errno> {
    let (parent, name) = path.split().ok_or(Errno::INVAL)?;
    let held = match near.take() {
        Some((held, fd)) if held.as_bytes() == parent => (held, fd),
        _ => (path.parent().ok_or(Errno::INVAL)?, root.dir(parent)?),
    };
    Ok((near.insert(held).1.as_fd(), name))
}

fn mode(entry: &Entry) -> Mode {
    Mode::from_raw_mode(entry.mode)
}

fn times(entry: &Entry) -> Timestamps {
    let nanos = i32::try_from(entry.mtime.nanos).unwrap_or(0);
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: entry.mtime.secs, tv_nsec: nanos.into() },
    }
}

/// Removes everything in a directory. Staging holds no directories of its own making; others are
/// entered only so deep.
fn empty(dir: BorrowedFd<'_>, depth: u32) -> Result<(), Errno> {
    let mut buffer = Vec::with_capacity(8 * 1024);
    let mut names = Vec::new();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let again = rustix::fs::openat(dir, c".", flags, Mode::empty())?;
    let mut entries = RawDir::new(again, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let name = entry?.file_name().to_owned();
        if name.as_bytes() != b"." && name.as_bytes() != b".." {
            names.push(name);
        }
    }
    for name in names {
        match rustix::fs::unlinkat(dir, &name, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) if depth < 64 => {
                let below = rustix::fs::openat(dir, &name, flags, Mode::empty())?;
                empty(below.as_fd(), depth + 1)?;
                rustix::fs::unlinkat(dir, &name, AtFlags::REMOVEDIR)?;
            }
            other => other?,
        }
    }
    Ok(())
}
