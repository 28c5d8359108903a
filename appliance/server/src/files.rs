//! Finding the file a request means, and reading from it.

use crate::beneath::{Access, open, open_root};
use crate::encoding::{Accepted, Coding};
use crate::error::Fault;
use crate::etag::Meta;
use crate::path::Target;
use crate::types::{MediaType, media_type};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Dir, FileType, Stat, fstat};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};
use std::fs::File;
use std::io::IoSliceMut;
use std::path::PathBuf;

/// A site as it is served.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SiteRoot {
    /// Its directory.
    pub(crate) path: PathBuf,
    /// The same as the operator knows it, below the data directory.
    pub(crate) directory: String,
    /// Names tried in a directory, in order.
    pub(crate) index: Vec<String>,
}

/// A file ready to be sent.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) file: File,
    pub(crate) meta: Meta,
    pub(crate) media: MediaType,
    pub(crate) coding: Option<Coding>,
}

/// What a target turned out to be.
#[derive(Debug)]
pub(crate) enum Found {
    /// A file.
    File(Opened),
    /// A directory that was asked for without its slash.
    Directory,
    /// The top of a site nobody has put a file into yet.
    Empty,
}

/// Looks `target` up in the site.
pub(crate) fn find(
    site: &SiteRoot,
    target: &Target,
    accepted: Accepted,
    access: Access,
) -> Result<Found, Fault> {
    let top = target.path.is_empty();
    let root = match open_root(&site.path, access) {
        Ok(root) => root,
        Err(Errno::NOENT) if top => return Ok(Found::Empty),
        Err(errno) => return Err(errno.into()),
    };
    let lookup = Lookup { site, root: root.as_fd(), accepted, access };
    if !target.directory {
        let fd = lookup.open(&target.path)?;
        let stat = fstat(&fd)?;
        return match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Ok(Found::Directory),
            _ => Ok(Found::File(lookup.choose(&target.path, fd, &stat)?)),
        };
    }
    for name in &site.index {
        let mut path = target.path.clone();
        if !top {
            path.push(b'/');
        }
        path.extend_from_slice(name.as_bytes());
        let fd = match lookup.open(&path) {
            Ok(fd) => fd,
            Err(Fault::Missing) => continue,
            Err(fault) => return Err(fault),
        };
        let stat = fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            return Ok(Found::File(lookup.choose(&path, fd, &stat)?));
        }
    }
    if top && lookup.is_empty()? {
        return Ok(Found::Empty);
    }
    Err(Fault::Missing)
}

struct Lookup<'a> {
    site: &'a SiteRoot,
    root: BorrowedFd<'a>,
    accepted: Accepted,
    access: Access,
}

impl Lookup<'_> {
    fn open(&self, path: &[u8]) -> Result<OwnedFd, Fault> {
        Ok(open(self.root, &self.site.path, path, self.access)?)
    }

    /// The file itself, or the precompressed sibling the visitor prefers.
    fn choose(&self, path: &[u8], fd: OwnedFd, stat: &Stat) -> Result<Opened, Fault> {
        let meta = readable(stat)?;
        let media = media_type(path);
        let plain = Opened { file: File::from(fd), meta, media, coding: None };
        if !media.compressible {
            return Ok(plain);
        }
        for coding in self.accepted.codings() {
            let mut sibling = path.to_vec();
            sibling.extend_from_slice(coding.ending());
            let fd = match self.open(&sibling) {
                Ok(fd) => fd,
                Err(Fault::Again) => return Err(Fault::Again),
                Err(_) => continue,
            };
            // One that is older than the file was made from another version of it.
            match readable(&fstat(&fd)?) {
                Ok(packed) if packed.mtime_ns >= meta.mtime_ns => {
                    let coding = Some(coding);
                    return Ok(Opened { file: File::from(fd), meta: packed, media, coding });
                }
                _ => {}
            }
        }
        Ok(plain)
    }

    /// Has nobody put anything a visitor could see into the root?
    fn is_empty(&self) -> Result<bool, Fault> {
        if self.access == Access::Cached {
            return Err(Fault::Again);
        }
        let root = self.open(b"")?;
        for entry in Dir::new(root)? {
            if !entry?.file_name().to_bytes().starts_with(b".") {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A regular file that everyone may read. This process is root and could read any file; a site's
/// files are public only if their mode says so, as under a web server with a user of its own.
fn readable(stat: &Stat) -> Result<Meta, Fault> {
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Fault::Missing);
    }
    if stat.st_mode & 0o004 == 0 {
        return Err(Fault::Forbidden);
    }
    // The fields' widths differ between machines.
    fn wide(value: impl TryInto<i128>) -> i128 {
        value.try_into().unwrap_or(0)
    }
    Ok(Meta {
        mtime_ns: wide(stat.st_mtime) * 1_000_000_000 + wide(stat.st_mtime_nsec),
        size: u64::try_from(wide(stat.st_size)).unwrap_or(0),
    })
}

/// Fills `buffer` from `offset` on; returns how much of it, less when the file ends before.
pub(crate) fn read(
    file: &File,
    offset: u64,
    buffer: &mut [u8],
    access: Access,
) -> Result<usize, Fault> {
    let mut filled = 0;
    while filled < buffer.len() {
        let rest = &mut buffer[filled..];
        let at = offset.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX));
        let got = match access {
            Access::Cached => {
                preadv2(file, &mut [IoSliceMut::new(rest)], at, ReadWriteFlags::NOWAIT)
            }
            Access::Blocking => pread(file, rest, at),
        };
        match got {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(Errno::INTR) => {}
            // A kernel or a file system that cannot say what it has in memory.
            Err(Errno::NOSYS) if access == Access::Cached => return Err(Fault::Again),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(filled)
}
