//! A visitor's connection with the patience this server has for it.
//!
//! Three limits: a request's head must be complete within [`Limits::head`] of its first byte
//! (or of the connection's begin), a connection may be idle between requests for
//! [`Limits::idle`], and a visitor who reads must read something every [`Limits::stall`].
//! One timer per connection, moved only when it would ring too late, so that a request that
//! comes in one piece costs no timer at all.

use crate::counters::Tally;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a visitor may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For the head of a request.
    pub(crate) head: Duration,
    /// Between requests.
    pub(crate) idle: Duration,
    /// Without taking a single byte of a response.
    pub(crate) stall: Duration,
    /// For hearing the end of what a visitor was still sending when the connection was closed.
    pub(crate) linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(15),
            idle: Duration::from_secs(75),
            stall: Duration::from_secs(60),
            linger: Duration::from_secs(2),
        }
    }
}

const IDLE: u32 = 0;
const HEAD: u32 = 1;
const BUSY: u32 = 2;
const KIND: u32 = 3;

/// What a connection is doing, shared between its stream, its service and its task.
///
/// The low two bits say what, the rest count changes, so that the stream can tell a new wait
/// from the one it knows.
#[derive(Debug)]
pub(crate) struct Activity {
    state: AtomicU32,
    /// A `Content-Length` came in. hyper drops it when there is a `Transfer-Encoding` too, and
    /// RFC 9112 6.1 wants such a request noticed.
    length_seen: AtomicBool,
    /// A request's body was left unread.
    unread: AtomicBool,
}

impl Activity {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: AtomicU32::new(HEAD),
            length_seen: AtomicBool::new(false),
            unread: AtomicBool::new(false),
        })
    }

    fn enter(&self, kind: u32) {
        let count = self.state.load(Ordering::Relaxed) & !KIND;
        self.state.store(count.wrapping_add(KIND + 1) | kind, Ordering::Relaxed);
    }

    /// Between requests?
    pub(crate) fn is_idle(&self) -> bool {
        self.state.load(Ordering::Relaxed) & KIND == IDLE
    }

    /// Has a `Content-Length` come in on this connection?
    pub(crate) fn length_seen(&self) -> bool {
        self.length_seen.load(Ordering::Relaxed)
    }

    /// Notes that a request's body is left where it is.
    pub(crate) fn leave_body(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    /// Is the visitor perhaps still sending, although nobody will read it? So after a head that
    /// was refused, and after a request whose body nobody wanted.
    fn is_interrupted(&self) -> bool {
        self.unread.load(Ordering::Relaxed) || self.state.load(Ordering::Relaxed) & KIND == HEAD
    }

    /// Marks the connection as busy until the result is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.enter(BUSY);
        Busy(self.clone())
    }
}

/// A request is being answered.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.enter(IDLE);
    }
}

/// The connection itself.
pub(crate) struct Stream {
    tcp: TcpStream,
    activity: Arc<Activity>,
    tally: Arc<Tally>,
    limits: Limits,
    /// The state this wait belongs to, and its begin.
    seen: u32,
    since: Instant,
    /// Something was written since `since`.
    moved: bool,
    timer: Option<Pin<Box<Sleep>>>,
    /// The end of what was read last, for a field name that comes in two pieces.
    tail: Vec<u8>,
    /// Our half is closed, and until when the visitor's is listened to.
    closing: Option<Instant>,
}

impl Stream {
    pub(crate) fn new(
        tcp: TcpStream,
        activity: Arc<Activity>,
        tally: Arc<Tally>,
        limits: Limits,
    ) -> Self {
        let seen = activity.state.load(Ordering::Relaxed);
        let (since, timer, tail, closing) = (Instant::now(), None, Vec::new(), None);
        Self { tcp, activity, tally, limits, seen, since, moved: false, timer, tail, closing }
    }

    /// Ready once the wait that goes on has lasted too long.
    fn poll_patience(&mut self, cx: &mut Context<'_>, writing: bool) -> Poll<()> {
        let state = self.activity.state.load(Ordering::Relaxed);
        if state != self.seen || self.moved {
            (self.seen, self.moved) = (state, false);
            self.since = Instant::now();
        }
        let limit = match state & KIND {
            _ if writing => self.limits.stall,
            HEAD => self.limits.head,
            IDLE => self.limits.idle,
            _ => return Poll::Pending,
        };
        let deadline = self.since + limit;
        self.poll_until(cx, deadline)
    }

    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    fn look_for_length(&mut self, new: &[u8]) {
        const NAME: &[u8] = b"content-length";
        if self.activity.length_seen() {
            return;
        }
        let mut found = ends_in_name(new, NAME);
        if !self.tail.is_empty() && !found {
            let join = new.len().min(NAME.len() + 1);
            self.tail.extend_from_slice(&new[..join]);
            found = ends_in_name(&self.tail, NAME);
        }
        if found {
            self.activity.length_seen.store(true, Ordering::Relaxed);
        }
        self.tail.clear();
        // A head that is complete leaves nothing to join.
        if !new.ends_with(b"\r\n\r\n") {
            self.tail.extend_from_slice(&new[new.len().saturating_sub(NAME.len())..]);
        }
    }

    fn count(&mut self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(n)) = &result {
            self.moved = true;
            self.tally.sent(*n);
        }
        result
    }
}

/// Is there a colon with `name` right before it?
fn ends_in_name(bytes: &[u8], name: &[u8]) -> bool {
    bytes.iter().enumerate().filter(|(_, b)| **b == b':').any(|(at, _)| {
        at.checked_sub(name.len()).is_some_and(|from| bytes[from..at].eq_ignore_ascii_case(name))
    })
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let result = Pin::new(&mut this.tcp).poll_read(cx, buf);
        match result {
            Poll::Ready(Ok(())) => {
                let new = &buf.filled()[before..];
                if !new.is_empty() {
                    if this.activity.is_idle() {
                        this.activity.enter(HEAD);
                    }
                    this.look_for_length(new);
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                if this.poll_patience(cx, false).is_pending() {
                    return Poll::Pending;
                }
                if this.activity.is_idle() {
                    // As if the visitor had closed: nothing is under way.
                    return Poll::Ready(Ok(()));
                }
                this.tally.timed_out();
                // RFC 9110 15.5.9. Nothing else is being written while a head is read; if the
                // socket does not take it at once, so be it.
                let _ = this.tcp.try_write(
                    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                );
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let result = Pin::new(&mut this.tcp).poll_write(cx, buf);
        if result.is_pending() && this.poll_patience(cx, true).is_ready() {
            this.tally.timed_out();
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        this.count(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let result = Pin::new(&mut this.tcp).poll_write_vectored(cx, bufs);
        if result.is_pending() && this.poll_patience(cx, true).is_ready() {
            this.tally.timed_out();
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        this.count(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let until = match this.closing {
            Some(until) => until,
            None => {
                ready!(Pin::new(&mut this.tcp).poll_shutdown(cx))?;
                *this.closing.insert(Instant::now() + this.limits.linger)
            }
        };
        if !this.activity.is_interrupted() {
            return Poll::Ready(Ok(()));
        }
        // RFC 9112 9.6: closing while bytes come in would reset the connection, and the reset
        // may overtake the response that explains it.
        let mut waste = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut waste);
            match Pin::new(&mut this.tcp).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() && Instant::now() < until => {}
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return this.poll_until(cx, until).map(Ok),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_found_in_any_case_and_only_before_a_colon() {
        let has = |text: &str| ends_in_name(text.as_bytes(), b"content-length");
        assert!(has("GET / HTTP/1.1\r\nContent-Length: 3\r\n"));
        assert!(has("content-length:3"));
        assert!(has("CONTENT-LENGTH:3"));
        assert!(!has("content-length 3"));
        assert!(!has("content-type: x\r\nhost: content-length"));
        assert!(!has(":"));
    }

    #[test]
    fn activity() {
        let activity = Activity::new();
        assert!(!activity.is_idle());
        let busy = activity.begin();
        assert!(!activity.is_idle());
        drop(busy);
        assert!(activity.is_idle());
        let before = activity.state.load(Ordering::Relaxed);
        drop(activity.begin());
        assert_ne!(activity.state.load(Ordering::Relaxed), before);
    }
}
