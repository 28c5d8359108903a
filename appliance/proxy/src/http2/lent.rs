//! A connection that is lent to the protocol and comes back when that is done with it.
//!
//! The protocol writes frame by frame and flushes behind most of them; each would be a TLS record
//! and a system call of its own. So what it writes is gathered into whole records, and goes out
//! when the owner says so: once the protocol has nothing more to say for now.

use crate::stream::Early;
use crate::worker::Worker;
use std::cell::RefCell;
use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

/// The most that one TLS record carries (RFC 8446 5.1).
const RECORD: usize = 16 * 1024;

pub(super) type Tls = Box<TlsStream<Early>>;

/// What the protocol has of it.
pub(super) struct Lent(Rc<RefCell<Gathered>>);

/// What its owner has meanwhile.
pub(super) struct Deposit(Rc<RefCell<Gathered>>);

struct Gathered {
    io: Tls,
    /// Less than a record; no buffer is held while there is nothing in it.
    frames: Vec<u8>,
    /// How much was written since the owner asked.
    written: usize,
    worker: Rc<Worker>,
}

pub(super) fn lend(io: Tls, worker: &Rc<Worker>) -> (Lent, Deposit) {
    let gathered = Gathered { io, frames: Vec::new(), written: 0, worker: Rc::clone(worker) };
    let shared = Rc::new(RefCell::new(gathered));
    (Lent(Rc::clone(&shared)), Deposit(shared))
}

impl Deposit {
    /// How many bytes were written since this was asked last.
    pub(super) fn written(&self) -> usize {
        std::mem::take(&mut self.0.borrow_mut().written)
    }

    /// Has everything go out that was written.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_flush(cx)
    }

    /// The connection; None while it is lent.
    pub(super) fn back(self) -> Option<Tls> {
        Rc::try_unwrap(self.0).ok().map(|gathered| gathered.into_inner().io)
    }
}

impl Gathered {
    /// Takes what fits into a record that is not full yet, or as many whole records as there are.
    fn poll_write(&mut self, cx: &mut Context<'_>, data: [&[u8]; 2]) -> Poll<io::Result<usize>> {
        let [first, second] = data;
        let held = self.frames.len();
        let whole = (held + first.len() + second.len()) / RECORD * RECORD;
        if whole == 0 {
            if self.frames.capacity() == 0 {
                self.frames = self.worker.record.take();
                self.frames.reserve(RECORD);
            }
            self.frames.extend_from_slice(first);
            self.frames.extend_from_slice(second);
            self.written += first.len() + second.len();
            return Poll::Ready(Ok(first.len() + second.len()));
        }
        let first = &first[..first.len().min(whole - held)];
        let second = &second[..second.len().min(whole - held - first.len())];
        let sealed = ready!(self.poll_seal(cx, [first, second]))?;
        self.written += sealed;
        Poll::Ready(Ok(sealed))
    }

    /// Makes records of what is held and of `data`; returns how much of `data` is in them.
    fn poll_seal(&mut self, cx: &mut Context<'_>, data: [&[u8]; 2]) -> Poll<io::Result<usize>> {
        let [first, second] = data;
        loop {
            let slices = [IoSlice::new(&self.frames), IoSlice::new(first), IoSlice::new(second)];
            let sealed = self.io.get_mut().1.writer().write_vectored(&slices)?;
            let of_held = sealed.min(self.frames.len());
            self.frames.drain(..of_held);
            if self.frames.is_empty() && self.frames.capacity() > 0 {
                self.worker.record.replace(std::mem::take(&mut self.frames));
            }
            if sealed > of_held || (self.frames.is_empty() && first.len() + second.len() == 0) {
                return Poll::Ready(Ok(sealed - of_held));
            }
            // There are as many records on their way as may be.
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.frames.is_empty() {
            ready!(self.poll_seal(cx, [&[], &[]]))?;
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }
}

impl AsyncRead for Lent {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Lent {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_write(cx, [data, &[]])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut filled = slices.iter().filter(|s| !s.is_empty()).map(|s| &**s);
        let first = filled.next().unwrap_or_default();
        let second = filled.next().unwrap_or_default();
        self.0.borrow_mut().poll_write(cx, [first, second])
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The owner flushes.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathered = self.0.borrow_mut();
        ready!(gathered.poll_flush(cx))?;
        Pin::new(&mut gathered.io).poll_shutdown(cx)
    }
}
