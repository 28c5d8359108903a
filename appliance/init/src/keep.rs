//! The little that process 1 itself keeps on the data partition.

use nix::libc;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// No file here is longer.
const LONGEST: u64 = 4096;
const CLOCK: &str = "clock";
const RESETS: &str = "resets";

/// A directory only process 1 can read.
#[derive(Clone, Debug)]
pub(crate) struct Keep {
    directory: PathBuf,
}

impl Keep {
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        match DirBuilder::new().mode(0o700).create(directory) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        Ok(Self { directory: directory.into() })
    }

    pub(crate) fn read(&self, name: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.directory.join(name)).ok()?.take(LONGEST).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Whole or not at all, whenever the power goes.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        replace(&self.directory.join(name), bytes, 0o600, None)?;
        File::open(&self.directory)?.sync_all()
    }

    /// Gone for good when this returns.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.directory.join(name))?;
        File::open(&self.directory)?.sync_all()
    }

    fn number(&self, name: &str) -> Option<u64> {
        String::from_utf8(self.read(name)?).ok()?.trim().parse().ok()
    }

    /// The time when the board was last known to be on, in seconds since 1970.
    pub(crate) fn clock(&self) -> Option<u64> {
        self.number(CLOCK)
    }

    /// Remembers the time, unless it is that of a clock that was never set.
    pub(crate) fn save_clock(&self, built_unix: u64) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        if now < built_unix || self.clock() == Some(now) {
            return Ok(());
        }
        self.write(CLOCK, format!("{now}\n").as_bytes())
    }

    /// How often in a row the board was started again because nothing else helped.
    pub(crate) fn resets(&self) -> u8 {
        self.number(RESETS).and_then(|count| u8::try_from(count).ok()).unwrap_or(0)
    }

    pub(crate) fn set_resets(&self, count: u8) -> io::Result<()> {
        if self.resets() == count {
            return Ok(());
        }
        self.write(RESETS, format!("{count}\n").as_bytes())
    }
}

/// Writes beside the file and puts it in its place. The directory may belong to somebody less
/// trusted: a link left where the new file is written is not followed.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32, owner: Option<u32>) -> io::Result<()> {
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(mode)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&new)?;
    file.write_all(bytes)?;
    // Before it has its name: whoever reads it must never find it closed.
    if owner.is_some() {
        fchown(&file, owner, owner)?;
    }
    file.sync_all()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_and_nonsense_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let keep = Keep::open(&directory.path().join("init")).unwrap();
        assert_eq!((keep.clock(), keep.resets()), (None, 0));
        keep.set_resets(2).unwrap();
        keep.save_clock(0).unwrap();
        let again = Keep::open(&directory.path().join("init")).unwrap();
        assert_eq!(again.resets(), 2);
        assert!(again.clock().unwrap() > 1_700_000_000);
        keep.write(CLOCK, b"\xff\xfe").unwrap();
        keep.write(RESETS, b"70000").unwrap();
        assert_eq!((keep.clock(), keep.resets()), (None, 0));
        keep.save_clock(u64::MAX).unwrap();
        assert_eq!(keep.clock(), None, "a clock that was never set");
    }

    #[test]
    fn a_link_in_the_way_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (target, path) =
            (directory.path().join("precious"), directory.path().join("facts.json"));
        fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, path.with_extension("new")).unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        replace(&path, b"{}", 0o644, None).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"precious");
        assert_eq!(fs::read(&path).unwrap(), b"{}");
        assert!(path.symlink_metadata().unwrap().is_file());
    }
}
