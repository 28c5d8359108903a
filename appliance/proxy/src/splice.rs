//! Bytes from one socket to another without a detour through this process: splice(2) over a pipe.

use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};
use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// What a pipe takes unless somebody makes it larger.
const PIPE: usize = 64 * 1024;
/// Pipes kept for the next connection.
const KEPT: usize = 32;

/// A pipe, and how much is in it.
#[derive(Debug)]
pub(crate) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    filled: usize,
}

impl Pipe {
    pub(crate) fn filled(&self) -> usize {
        self.filled
    }
}

/// A thread's empty pipes.
#[derive(Debug, Default)]
pub(crate) struct Pipes(RefCell<Vec<Pipe>>);

impl Pipes {
    /// An empty pipe.
    ///
    /// # Errors
    /// When there are no descriptors left; then bytes are copied instead.
    pub(crate) fn take(&self) -> io::Result<Pipe> {
        if let Some(pipe) = self.0.borrow_mut().pop() {
            return Ok(pipe);
        }
        let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        Ok(Pipe { read, write, filled: 0 })
    }

    /// Takes a pipe back; one with something in it is closed.
    pub(crate) fn give(&self, pipe: Pipe) {
        let mut all = self.0.borrow_mut();
        if pipe.filled == 0 && all.len() < KEPT {
            all.push(pipe);
        }
    }
}

const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

/// Socket to pipe. 0: the other side has ended.
pub(crate) fn fill(
    from: &TcpStream,
    pipe: &mut Pipe,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    loop {
        if from.poll_read_ready(cx)?.is_pending() {
            return Poll::Pending;
        }
        let moved = from
            .try_io(Interest::READABLE, || Ok(splice(from, None, &pipe.write, None, PIPE, FLAGS)?));
        match moved {
            Ok(n) => {
                pipe.filled += n;
                return Poll::Ready(Ok(n));
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Poll::Ready(Err(e)),
        }
    }
}

/// Pipe to socket.
pub(crate) fn drain(
    pipe: &mut Pipe,
    to: &TcpStream,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    loop {
        if to.poll_write_ready(cx)?.is_pending() {
            return Poll::Pending;
        }
        let moved = to.try_io(Interest::WRITABLE, || {
            Ok(splice(&pipe.read, None, to, None, pipe.filled, FLAGS)?)
        });
        match moved {
            Ok(n) => {
                pipe.filled = pipe.filled.saturating_sub(n);
                return Poll::Ready(Ok(n));
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Poll::Ready(Err(e)),
        }
    }
}
