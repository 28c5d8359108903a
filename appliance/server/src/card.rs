//! What reading takes: buffers, and threads that may wait for the card.

use crate::beneath::Access;
use crate::error::Fault;
use crate::files::read;
use bytes::Bytes;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

/// As much of a file as is in memory for one visitor at a time.
pub(crate) const CHUNK: usize = 64 * 1024;
/// Files up to this size get a buffer of their own; larger ones borrow one.
const OWN: usize = 4096;
/// Buffers kept for the next reader. A buffer is usually back before the next chunk is read, so
/// a few serve many visitors and stay in the processor's cache.
const SPARE: usize = 8;
/// Threads that may wait for the card at once. A card does one thing at a time anyway.
const WAITERS: usize = 16;

/// Shared by every connection.
#[derive(Debug)]
pub(crate) struct Card {
    /// One permit for each thread that waits.
    pub(crate) waiters: Arc<Semaphore>,
    spare: Mutex<Vec<Box<[u8]>>>,
}

/// A buffer on its way to a visitor; goes back when the last byte has been handed over.
struct Lent {
    card: Arc<Card>,
    buffer: Box<[u8]>,
    length: usize,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut spare = self.card.spare();
        if spare.len() < SPARE {
            spare.push(std::mem::take(&mut self.buffer));
        }
    }
}

impl Card {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { waiters: Arc::new(Semaphore::new(WAITERS)), spare: Mutex::default() })
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Box<[u8]>>> {
        // Buffers are whole whatever happened to their last user.
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads up to `length` bytes, at most [`CHUNK`], at `offset`; fewer when the file ends.
    pub(crate) fn read(
        self: &Arc<Self>,
        file: &File,
        offset: u64,
        length: usize,
        access: Access,
    ) -> Result<Bytes, Fault> {
        if length <= OWN {
            let mut own = vec![0; length];
            let got = read(file, offset, &mut own, access)?;
            own.truncate(got);
            return Ok(own.into());
        }
        let buffer = self.spare().pop().unwrap_or_else(|| vec![0; CHUNK].into_boxed_slice());
        let mut lent = Lent { card: self.clone(), buffer, length: 0 };
        let length = length.min(CHUNK);
        lent.length = read(file, offset, &mut lent.buffer[..length], access)?;
        Ok(Bytes::from_owner(lent))
    }
}
