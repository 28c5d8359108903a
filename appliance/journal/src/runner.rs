//! The edge: the shared journal, the kernel's log, the memory that outlives a crash, the network.

use crate::bucket::Bucket;
use crate::error::Error;
use crate::kmsg::{self, KernelLine};
use crate::layer::JournalLayer;
use crate::line::{Severity, When, head, plain};
use crate::ring::{Lines, Ring};
use crate::syslog;
use rustix::time::{ClockId, clock_gettime};
use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// Text kept in memory.
const ROOM: usize = 1024 * 1024;
/// Lines below a warning that are kept across a crash: so many at once, so many a second.
const KEPT_AT_ONCE: u64 = 200;
const KEPT_A_SECOND: u64 = 20;
/// Lines that may wait to be sent.
const QUEUE: usize = 256;
/// The longest record of the kernel, details included (CONSOLE_EXT_LOG_MAX).
const RECORD: usize = 8192;

thread_local! {
    static LINE: Cell<String> = const { Cell::new(String::new()) };
}

/// Where lines are sent to besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The syslog server; its usual port is 514.
    pub to: SocketAddr,
    /// This board's name there.
    pub host_name: String,
}

/// What did not go everywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Lines since the start of this process.
    pub lines: u64,
    /// Lines of little weight that were not kept across a crash, because there were too many.
    pub not_kept: u64,
    /// Lines that were not sent, because the queue was full or the network refused them.
    pub not_sent: u64,
}

struct Keeper {
    file: File,
    bucket: Bucket,
}

struct Waiting {
    when: When,
    severity: Severity,
    target: String,
    text: String,
}

struct Inner {
    ring: Mutex<Ring>,
    keeper: Mutex<Option<Keeper>>,
    queue: Mutex<Option<SyncSender<Waiting>>>,
    exported: AtomicBool,
    clock_set: AtomicBool,
    not_kept: AtomicU64,
    not_sent: Arc<AtomicU64>,
    version: watch::Sender<u64>,
}

/// The log of this process and of the kernel under it. Cheap to clone.
#[derive(Clone)]
pub struct Journal(Arc<Inner>);

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("counters", &self.counters()).finish_non_exhaustive()
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self::new()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing behind these locks is left half done by a panic, and a log has to go on.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Journal {
    /// An empty journal, with room for a mebibyte of text that is taken as it is needed.
    pub fn new() -> Self {
        Self::with_room(ROOM)
    }

    pub(crate) fn with_room(bytes: usize) -> Self {
        Self(Arc::new(Inner {
            ring: Mutex::new(Ring::new(bytes)),
            keeper: Mutex::default(),
            queue: Mutex::default(),
            exported: AtomicBool::new(false),
            clock_set: AtomicBool::new(false),
            not_kept: AtomicU64::new(0),
            not_sent: Arc::default(),
            version: watch::channel(0).0,
        }))
    }

    /// Collects what this process says by `tracing`.
    pub fn layer(&self) -> JournalLayer {
        JournalLayer(self.clone())
    }

    /// The time of day may be shown from now on, or must not be.
    pub fn clock_is_set(&self, set: bool) {
        self.0.clock_set.store(set, Ordering::Relaxed);
    }

    /// The newest lines, at most so many.
    pub fn recent(&self, most: usize) -> Vec<String> {
        lock(&self.0.ring).recent(most).lines
    }

    /// The lines since this number, oldest first, at most so many. Begin with the number of
    /// [`Self::watch`] or with 0, go on with [`Lines::next`].
    pub fn since(&self, number: u64, most: usize) -> Lines {
        lock(&self.0.ring).since(number, most)
    }

    /// Wakes up when there are new lines; holds the number of the line that comes next.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.version.subscribe()
    }

    /// How many lines there were, and what became of them.
    pub fn counters(&self) -> Counters {
        Counters {
            lines: lock(&self.0.ring).next(),
            not_kept: self.0.not_kept.load(Ordering::Relaxed),
            not_sent: self.0.not_sent.load(Ordering::Relaxed),
        }
    }

    /// Adds a line that is said now.
    pub fn line(&self, severity: Severity, target: &str, text: &str) {
        let when = self.now();
        self.add(when, severity, target, text, true);
    }

    /// Adds a line of the kernel's log, with its own time. The kernel keeps it across a crash
    /// by itself.
    pub fn kernel_line(&self, line: &KernelLine) {
        let now = self.now();
        let age = now.boot_ms.saturating_sub(line.boot_ms);
        let unix_ms = now.unix_ms.map(|unix| unix.saturating_sub(age));
        let when = When { boot_ms: line.boot_ms, unix_ms };
        let target = if line.from_kernel { "kernel" } else { "kmsg" };
        self.add(when, line.severity, target, &line.text, false);
    }

    fn now(&self) -> When {
        let boot = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(boot.tv_sec).unwrap_or(0);
        let millis = u64::try_from(boot.tv_nsec / 1_000_000).unwrap_or(0);
        let unix_ms = if self.0.clock_set.load(Ordering::Relaxed) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).ok();
            now.and_then(|t| u64::try_from(t.as_millis()).ok())
        } else {
            None
        };
        When { boot_ms: seconds.saturating_mul(1000).saturating_add(millis), unix_ms }
    }

    fn add(&self, when: When, severity: Severity, target: &str, text: &str, keep: bool) {
        // Each thread writes its lines into the same room; one that is ending has none any more.
        let mut line = LINE.try_with(Cell::take).unwrap_or_default();
        line.clear();
        head(&mut line, when, severity, target);
        plain(&mut line, text);
        let next = {
            let mut ring = lock(&self.0.ring);
            ring.push(&line);
            ring.next()
        };
        self.0.version.send_modify(|number| *number = next.max(*number));
        if keep {
            self.keep_line(when, severity, &mut line);
        }
        let _ = LINE.try_with(|room| room.set(line));
        if self.0.exported.load(Ordering::Relaxed) {
            self.send(when, severity, target, text);
        }
    }

    fn keep_line(&self, when: When, severity: Severity, line: &mut String) {
        let mut keeper = lock(&self.0.keeper);
        let Some(open) = keeper.as_mut() else { return };
        if severity < Severity::Warning && !open.bucket.take(when.boot_ms) {
            self.0.not_kept.fetch_add(1, Ordering::Relaxed);
            return;
        }
        line.push('\n');
        // One write a line: pmsg keeps writes whole, so lines of two threads do not mix.
        if open.file.write_all(line.as_bytes()).is_err() {
            *keeper = None;
        }
    }

    fn send(&self, when: When, severity: Severity, target: &str, text: &str) {
        let waiting = Waiting { when, severity, target: target.to_owned(), text: text.to_owned() };
        let mut queue = lock(&self.0.queue);
        match queue.as_ref().map(|q| q.try_send(waiting)) {
            Some(Err(TrySendError::Full(_))) => {
                self.0.not_sent.fetch_add(1, Ordering::Relaxed);
            }
            Some(Err(TrySendError::Disconnected(_))) => {
                *queue = None;
                self.0.exported.store(false, Ordering::Relaxed);
            }
            Some(Ok(())) | None => {}
        }
    }

    /// Copies lines to this device from now on, `/dev/pmsg0` but in tests: warnings and errors
    /// always, the rest at a bounded rate.
    ///
    /// # Errors
    /// When it cannot be opened for writing.
    pub fn keep(&self, device: &Path) -> Result<(), Error> {
        let open = OpenOptions::new().append(true).open(device);
        let file = open.map_err(|source| Error::Open { path: device.to_owned(), source })?;
        let bucket = Bucket::new(KEPT_AT_ONCE, KEPT_A_SECOND);
        *lock(&self.0.keeper) = Some(Keeper { file, bucket });
        Ok(())
    }

    /// Reads the kernel's log from this device, `/dev/kmsg` but in tests, on a thread of its own
    /// that ends with the process, from the first line it still has. `each` sees every line.
    ///
    /// # Errors
    /// When it cannot be opened, or no thread can be started.
    pub fn follow_kernel(
        &self,
        device: &Path,
        each: impl Fn(&KernelLine) + Send + 'static,
    ) -> Result<(), Error> {
        let open = File::open(device);
        let file = open.map_err(|source| Error::Open { path: device.to_owned(), source })?;
        let journal = self.clone();
        std::thread::Builder::new()
            .name("kmsg".to_owned())
            .stack_size(128 * 1024)
            .spawn(move || journal.read_kernel(file, &each))
            .map_err(Error::Thread)?;
        Ok(())
    }

    fn read_kernel(&self, mut file: File, each: &dyn Fn(&KernelLine)) {
        let mut record = vec![0; RECORD];
        loop {
            match file.read(&mut record) {
                Ok(0) => return,
                Ok(length) => {
                    let bytes = record.get(..length).unwrap_or_default();
                    if let Some(line) = kmsg::parse(bytes) {
                        each(&line);
                        self.kernel_line(&line);
                    }
                }
                // EPIPE: the ring of the kernel went round before it was read; what follows is
                // the oldest line there is now. EINVAL: a record longer than any is skipped.
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted | ErrorKind::BrokenPipe | ErrorKind::InvalidInput => {}
                    _ => return,
                },
            }
        }
    }

    /// Sends lines to a syslog server from now on, or to none.
    ///
    /// # Errors
    /// When there is no way to it, or no thread can be started. Nothing is sent then.
    pub fn export(&self, wanted: Option<Export>) -> Result<(), Error> {
        let mut queue = lock(&self.0.queue);
        // The thread before ends with its queue.
        *queue = None;
        self.0.exported.store(false, Ordering::Relaxed);
        let Some(export) = wanted else { return Ok(()) };
        let any: SocketAddr = match export.to {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let to = export.to;
        let socket = UdpSocket::bind(any).map_err(|source| Error::Send { to, source })?;
        let (sender, receiver) = sync_channel(QUEUE);
        let not_sent = Arc::clone(&self.0.not_sent);
        std::thread::Builder::new()
            .name("syslog".to_owned())
            .stack_size(128 * 1024)
            .spawn(move || send_all(&socket, &export, &receiver, &not_sent))
            .map_err(Error::Thread)?;
        *queue = Some(sender);
        self.0.exported.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Has panics written here before anything else sees them.
    pub fn catch_panics(&self) {
        let before = std::panic::take_hook();
        let journal = self.clone();
        std::panic::set_hook(Box::new(move |panic| {
            journal.line(Severity::Error, "panic", &panic.to_string());
            before(panic);
        }));
    }
}

fn send_all(socket: &UdpSocket, export: &Export, lines: &Receiver<Waiting>, not_sent: &AtomicU64) {
    let pid = std::process::id();
    for line in lines {
        let Waiting { when, severity, target, text } = &line;
        let datagram = syslog::datagram(*when, *severity, &export.host_name, pid, target, text);
        // Not connected, so that a server that is not there yet refuses no later line.
        if socket.send_to(datagram.as_bytes(), export.to).is_err() {
            not_sent.fetch_add(1, Ordering::Relaxed);
        }
    }
}
