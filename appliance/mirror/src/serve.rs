//! Reading files for a mirror, never a torn one.
//!
//! A file is sent only if it did not change from before its first byte was read until after its
//! last. The kernel's change stamps are coarse, so a file changed a moment ago is left alone
//! until a further change would show.

use crate::error::plain;
use crate::live::Live;
use crate::origin::Published;
use crate::root::{Root, stat_fd};
use crate::tree::{Entry, Kind, RelPath, Stamp};
use crate::wire::{Failure, Hash, MAX_DATA, Message};
use bytes::Bytes;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// Longer than a tick of any kernel (100 Hz).
const TICK: Duration = Duration::from_millis(20);
/// Content hashed at a time, where nothing is sent.
const GULP: usize = 256 * 1024;

/// A file a mirror wants.
#[derive(Debug)]
pub(crate) struct Request {
    /// The mirror's number for it.
    pub(crate) id: u64,
    /// Which.
    pub(crate) path: RelPath,
    /// What the mirror has.
    pub(crate) have: Option<Hash>,
}

/// Answers requests until the mirror is gone. Small files overtake large ones, so that a page
/// does not wait for a film.
pub(crate) fn serve(
    mut requests: mpsc::Receiver<Request>,
    outgoing: &mpsc::Sender<Message>,
    published: &Published,
    live: &Live,
    stopped: &AtomicBool,
) {
    let mut large: VecDeque<Reading> = VecDeque::new();
    while !stopped.load(Ordering::Relaxed) {
        let request = if large.is_empty() {
            match requests.blocking_recv() {
                Some(request) => Some(request),
                None => return,
            }
        } else {
            match requests.try_recv() {
                Ok(request) => Some(request),
                Err(mpsc::error::TryRecvError::Empty) => None,
                Err(mpsc::error::TryRecvError::Disconnected) => return,
            }
        };
        let message = match request {
            Some(request) => begin(published, &request, stopped, &mut large),
            None => large.pop_front().map(|reading| advance(reading, &mut large)),
        };
        let Some(message) = message else { continue };
        let sent = match &message {
            Message::File { content, .. } | Message::Data { content, .. } => content.len(),
            _ => 0,
        };
        if outgoing.blocking_send(message).is_err() {
            return;
        }
        live.facts().bytes += u64::try_from(sent).unwrap_or(0);
    }
}

/// A large file on its way.
struct Reading {
    id: u64,
    file: OwnedFd,
    before: Entry,
    left: u64,
    hasher: blake3::Hasher,
}

/// Why a file is not sent.
struct Refusal(Failure, String);

impl From<Errno> for Refusal {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO => vanished(),
            error => Self(Failure::Unreadable, plain(error)),
        }
    }
}

fn vanished() -> Refusal {
    Refusal(Failure::Vanished, "it is gone".to_owned())
}

fn changing() -> Refusal {
    Refusal(Failure::Changing, "it is being written to".to_owned())
}

fn begin(
    published: &Published,
    request: &Request,
    stopped: &AtomicBool,
    large: &mut VecDeque<Reading>,
) -> Option<Message> {
    let id = request.id;
    let root = {
        let state = published.state();
        // Only what is listed is served: not what is excluded, and nothing but files.
        let listed = state.tree.get(&request.path).is_some_and(Entry::is_file);
        state.root.clone().filter(|_| listed)
    };
    let opened = root.ok_or_else(vanished).and_then(|root| open(&root, &request.path));
    let answer = opened.and_then(|(file, before, size)| {
        if let Some(have) = &request.have {
            if hash(&file, &before, size, stopped)? == *have {
                return Ok(Some(Message::Same { id, entry: before }));
            }
        }
        if let Some(small) = usize::try_from(size).ok().filter(|s| *s <= MAX_DATA) {
            return whole(id, &file, before, small).map(Some);
        }
        let start = Message::Start { id, entry: before.clone() };
        let hasher = blake3::Hasher::new();
        large.push_back(Reading { id, file, before, left: size, hasher });
        Ok(Some(start))
    });
    answer.unwrap_or_else(|refusal| Some(failed(id, refusal)))
}

fn failed(id: u64, Refusal(failure, reason): Refusal) -> Message {
    Message::Failed { id, failure, reason }
}

fn open(root: &Root, path: &RelPath) -> Result<(OwnedFd, Entry, u64), Refusal> {
    // A fifo that took its place would block without the flag.
    let file = root.open_at(path.as_bytes(), OFlags::RDONLY | OFlags::NONBLOCK)?;
    let mut entry = stat_fd(file.as_fd())?;
    if is_fresh(entry.ctime) {
        std::thread::sleep(TICK);
        entry = stat_fd(file.as_fd())?;
        if is_fresh(entry.ctime) {
            return Err(changing());
        }
    }
    match entry.kind {
        Kind::File { size } => Ok((file, entry, size)),
        _ => Err(vanished()),
    }
}

/// Could a change right now get the same stamp?
fn is_fresh(ctime: Stamp) -> bool {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let nanos = |secs: i64, nanos: i128| i128::from(secs) * 1_000_000_000 + nanos;
    let age = nanos(now.tv_sec, now.tv_nsec.into()) - nanos(ctime.secs, ctime.nanos.into());
    // A stamp from before the clock was set back is not fresh for ever.
    (0..i128::try_from(TICK.as_nanos()).unwrap_or(0)).contains(&age)
}

fn unchanged(file: &OwnedFd, before: &Entry) -> Result<(), Refusal> {
    let now = stat_fd(file.as_fd())?;
    if now == *before { Ok(()) } else { Err(changing()) }
}

/// Fills the buffer; less means the file has become shorter.
fn read_exactly(file: &OwnedFd, buffer: &mut [u8]) -> Result<(), Refusal> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|r| !r.is_empty()) {
        match rustix::io::retry_on_intr(|| rustix::io::read(file, &mut *rest))? {
            0 => return Err(changing()),
            n => filled += n,
        }
    }
    Ok(())
}

fn whole(id: u64, file: &OwnedFd, entry: Entry, size: usize) -> Result<Message, Refusal> {
    let mut content = vec![0; size];
    read_exactly(file, &mut content)?;
    unchanged(file, &entry)?;
    let hash = *blake3::hash(&content).as_bytes();
    Ok(Message::File { id, entry, hash, content: Bytes::from(content) })
}

/// Sends the next part of a large file; it goes back in line unless it is done.
fn advance(mut reading: Reading, large: &mut VecDeque<Reading>) -> Message {
    let id = reading.id;
    let next = usize::try_from(reading.left).unwrap_or(usize::MAX).min(MAX_DATA);
    if next == 0 {
        return match unchanged(&reading.file, &reading.before) {
            Ok(()) => Message::Finish { id, hash: *reading.hasher.finalize().as_bytes() },
            Err(refusal) => failed(id, refusal),
        };
    }
    let mut content = vec![0; next];
    let read = read_exactly(&reading.file, &mut content);
    // Noticed now, a change costs one part and not the whole file.
    match read.and_then(|()| unchanged(&reading.file, &reading.before)) {
        Ok(()) => {
            reading.hasher.update(&content);
            reading.left -= u64::try_from(next).unwrap_or(reading.left);
            large.push_back(reading);
            Message::Data { id, content: Bytes::from(content) }
        }
        Err(refusal) => failed(id, refusal),
    }
}

fn hash(file: &OwnedFd, before: &Entry, size: u64, stopped: &AtomicBool) -> Result<Hash, Refusal> {
    let hash = hash_of(file, size, || stopped.load(Ordering::Relaxed))?;
    unchanged(file, before)?;
    rustix::fs::seek(file, rustix::fs::SeekFrom::Start(0))?;
    hash.ok_or_else(changing)
}

/// blake3 of the next `size` bytes; None when there are fewer or when told to stop.
pub(crate) fn hash_of(
    file: &OwnedFd,
    size: u64,
    stop: impl Fn() -> bool,
) -> Result<Option<Hash>, Errno> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; GULP.min(usize::try_from(size).unwrap_or(GULP))];
    let mut left = size;
    while left > 0 {
        let next = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(part) = buffer.get_mut(..next) else { return Ok(None) };
        let got = rustix::io::retry_on_intr(|| rustix::io::read(file, &mut *part))?;
        if got == 0 || stop() {
            return Ok(None);
        }
        hasher.update(part.get(..got).unwrap_or_default());
        left -= u64::try_from(got).unwrap_or(left);
    }
    Ok(Some(*hasher.finalize().as_bytes()))
}
