//! Hearing of changes from the kernel (inotify(7)).

use crate::tree::{RelPath, below};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::mem::MaybeUninit;
use tokio::io::unix::AsyncFd;

/// What happened since the last look.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Paths to look at again.
    pub(crate) changed: Vec<RelPath>,
    /// Directories that appeared: what is in them was not heard of.
    pub(crate) appeared: Vec<RelPath>,
    /// Files that are being written to and may still be open.
    pub(crate) written: Vec<RelPath>,
    /// Something was missed, or the root itself moved: everything is to be looked at again.
    pub(crate) lost: bool,
}

impl Heard {
    /// Did nothing happen?
    pub(crate) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.appeared.is_empty() && self.written.is_empty() && !self.lost
    }
}

/// Watches the directories of one tree.
#[derive(Debug)]
pub(crate) struct Watch {
    queue: AsyncFd<OwnedFd>,
    paths: HashMap<i32, RelPath>,
    watches: BTreeMap<RelPath, i32>,
    /// The kernel's limit was reached: changes are found by full compares only.
    pub(crate) limited: bool,
}

impl Watch {
    /// Watches nothing yet. Must be called within a tokio runtime.
    pub(crate) fn new() -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Ok(Self {
            // SAFETY: an `OwnedFd` refers to the same open file for as long as it lives.
            queue: unsafe { AsyncFd::register_with_interest(fd, tokio::io::Interest::READABLE) }?,
            paths: HashMap::new(),
            watches: BTreeMap::new(),
            limited: false,
        })
    }

    /// Watches a directory from now on. Call this before reading it.
    pub(crate) fn add(&mut self, path: &RelPath, fd: BorrowedFd<'_>) {
        let flags = WatchFlags::CLOSE_WRITE
            | WatchFlags::MODIFY
            | WatchFlags::ATTRIB
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR
            | WatchFlags::EXCL_UNLINK;
        // Through the descriptor, so that it is this directory whatever its name is by now.
        let name = format!("/proc/self/fd/{}", fd.as_raw_fd());
        match inotify::add_watch(self.queue.get_ref(), name, flags) {
            Ok(watch) => {
                if let Some(old) = self.paths.insert(watch, path.clone()) {
                    if old != *path && self.watches.get(&old) == Some(&watch) {
                        self.watches.remove(&old);
                    }
                }
                self.watches.insert(path.clone(), watch);
            }
            Err(Errno::NOENT) => {}
            Err(_) => self.limited = true,
        }
    }

    /// Is this directory watched?
    pub(crate) fn has(&self, path: &RelPath) -> bool {
        self.watches.contains_key(path)
    }

    /// No longer watches a directory and those below it.
    pub(crate) fn forget(&mut self, path: &RelPath) {
        let mut gone: Vec<_> = below(&self.watches, path).map(|(p, w)| (p.clone(), *w)).collect();
        gone.extend(self.watches.get(path).map(|w| (path.clone(), *w)));
        for (path, watch) in gone {
            self.watches.remove(&path);
            if self.paths.get(&watch) == Some(&path) {
                self.paths.remove(&watch);
                // It may be gone by itself already.
                let _ = inotify::remove_watch(self.queue.get_ref(), watch);
            }
        }
    }

    /// Waits until something happened, and says what. Nothing is lost when it is not waited for
    /// to the end.
    pub(crate) async fn heard(&mut self) -> io::Result<Heard> {
        loop {
            let mut events = Vec::new();
            let mut guard = self.queue.readable().await?;
            // An error clears the readiness; there is nothing else to do about it.
            let _ = guard.try_io(|fd| drain(fd.get_ref(), &mut events));
            drop(guard);
            let mut heard = Heard::default();
            for event in events {
                self.note(event, &mut heard);
            }
            if !heard.is_empty() {
                return Ok(heard);
            }
        }
    }

    fn note(&mut self, event: Event, heard: &mut Heard) {
        let what = event.what;
        if what.intersects(ReadFlags::QUEUE_OVERFLOW | ReadFlags::UNMOUNT) {
            heard.lost = true;
        }
        let Some(path) = self.paths.get(&event.watch).cloned() else { return };
        if what.contains(ReadFlags::IGNORED) {
            self.paths.remove(&event.watch);
            if self.watches.get(&path) == Some(&event.watch) {
                self.watches.remove(&path);
            }
            return;
        }
        let Some(name) = event.name else {
            let away = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF;
            if path.is_root() && what.intersects(away) {
                heard.lost = true;
            }
            heard.changed.push(path);
            return;
        };
        let Some(child) = path.join(&name) else { return };
        if what == ReadFlags::MODIFY {
            heard.written.push(child);
            return;
        }
        let listed =
            ReadFlags::CREATE | ReadFlags::DELETE | ReadFlags::MOVED_FROM | ReadFlags::MOVED_TO;
        if what.intersects(listed) {
            // The directory's own time changed with it.
            heard.changed.push(path);
        }
        if what.contains(ReadFlags::ISDIR) {
            if what.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
                heard.appeared.push(child.clone());
            }
            if what.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM) {
                self.forget(&child);
            }
        }
        heard.changed.push(child);
    }
}

struct Event {
    watch: i32,
    what: ReadFlags,
    name: Option<Vec<u8>>,
}

/// Takes events off the queue: all there are, up to a bound.
fn drain(queue: &OwnedFd, events: &mut Vec<Event>) -> io::Result<()> {
    let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
    let mut reader = Reader::new(queue.as_fd(), &mut buffer);
    loop {
        match reader.next() {
            Ok(event) => events.push(Event {
                watch: event.wd(),
                what: event.events(),
                name: event.file_name().map(|n| n.to_bytes().to_vec()).filter(|n| !n.is_empty()),
            }),
            Err(_) if !events.is_empty() => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        if events.len() >= 4096 && reader.is_buffer_empty() {
            return Ok(());
        }
    }
}
