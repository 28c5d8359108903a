//! One process per data directory.

use crate::database::make_directory;
use crate::error::StoreError;
use rustix::fs::FlockOperation;
use std::fs::{File, OpenOptions};
use std::path::Path;

/// Holds a data directory for this process; the kernel lets go of it when the process ends,
/// however it ends.
#[derive(Debug)]
pub struct DataLock(#[expect(dead_code, reason = "held for its lock")] File);

impl DataLock {
    /// Takes the directory, which is made if missing. Taken before the database is opened: a
    /// second process must not examine or set aside what the first one is writing.
    ///
    /// # Errors
    /// [`StoreError::InUse`] while another process has it.
    pub fn take(directory: &Path) -> Result<Self, StoreError> {
        make_directory(directory)?;
        let path = directory.join("lock");
        let file = |source| StoreError::File { path: path.clone(), source };
        let lock = OpenOptions::new().append(true).create(true).open(&path).map_err(file)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(lock)),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::InUse(directory.to_owned())),
            Err(error) => Err(file(error.into())),
        }
    }
}
