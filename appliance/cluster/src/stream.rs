//! Bytes over a connection whose ends have shaken hands: Noise transport messages, each behind
//! its length in two bytes (network order).
//!
//! An empty message is the end: a connection that is cut without one is an error for the
//! reader, so that nobody on the way can shorten what is said.

use crate::counters::{Counting, more};
use snow::TransportState;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const LENGTH: usize = 2;
const TAG: usize = 16;
/// The longest message a frame can hold (Noise revision 34, 3).
const LONGEST_FRAME: usize = LENGTH + 65_535;
/// The longest piece sent in one message. Twice this is what a stream that sends takes of memory.
const PIECE: usize = 32 * 1024;
/// What a stream that only hears little takes of memory.
const FIRST: usize = 2 * 1024;
/// Both ends change keys after so many messages each way (Noise revision 34, 11.3).
const REKEY: u64 = 1 << 16;

/// One end of an encrypted connection.
pub(crate) struct Framed<S> {
    io: S,
    noise: TransportState,
    counting: Arc<Counting>,
    /// Received and not yet opened: `input[start..end]`.
    input: Vec<u8>,
    start: usize,
    end: usize,
    /// Opened and not yet read: `plain[read..]`.
    plain: Vec<u8>,
    read: usize,
    ended: bool,
    /// Sealed and not yet sent: `output[sent..]`.
    output: Vec<u8>,
    sent: usize,
    closing: bool,
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Framed<S> {
    pub(crate) fn new(io: S, noise: TransportState, counting: Arc<Counting>) -> Self {
        Self {
            io,
            noise,
            counting,
            input: vec![0; FIRST],
            start: 0,
            end: 0,
            plain: Vec::new(),
            read: 0,
            ended: false,
            output: Vec::new(),
            sent: 0,
            closing: false,
        }
    }

    /// How many bytes the frame at the front has; None while not even that is known.
    fn frame(&self) -> Option<usize> {
        let length = self.input.get(self.start..self.end)?.first_chunk::<LENGTH>()?;
        Some(LENGTH + usize::from(u16::from_be_bytes(*length)))
    }

    /// Opens the frame at the front if it is complete.
    fn open(&mut self) -> io::Result<bool> {
        let Some(length) = self.frame() else {
            return Ok(false);
        };
        if length < LENGTH + TAG {
            return Err(invalid("a node sent a frame too short for its seal"));
        }
        if self.end - self.start < length {
            return Ok(false);
        }
        let frame = self.input.get(self.start + LENGTH..self.start + length).unwrap_or_default();
        self.plain.resize(frame.len(), 0);
        let opened = self
            .noise
            .read_message(frame, &mut self.plain)
            .map_err(|_| invalid("a frame from a node was altered on its way"))?;
        if self.noise.receiving_nonce() % REKEY == 0 {
            self.noise.rekey_incoming();
        }
        self.plain.truncate(opened);
        self.read = 0;
        self.ended = opened == 0;
        self.start += length;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        Ok(true)
    }

    /// Receives more of the frame at the front.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let needed = self.frame().unwrap_or(LENGTH).min(LONGEST_FRAME);
        if self.input.len() - self.start < needed {
            self.input.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if self.input.len() < needed {
                self.input.resize(needed, 0);
            }
        }
        let mut space = ReadBuf::new(self.input.get_mut(self.end..).unwrap_or_default());
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut space))?;
        let received = space.filled().len();
        more(&self.counting.bytes_received, received);
        self.end += received;
        Poll::Ready(if received == 0 {
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection to the node was cut"))
        } else {
            Ok(())
        })
    }

    /// Seals a piece; what was sealed before must have been sent.
    fn seal(&mut self, piece: &[u8]) -> io::Result<()> {
        self.output.resize(LENGTH + piece.len() + TAG, 0);
        self.sent = 0;
        let (length, message) = self.output.split_at_mut(LENGTH);
        let sealed = self
            .noise
            .write_message(piece, message)
            .map_err(|_| invalid("a frame could not be sealed"))?;
        if self.noise.sending_nonce() % REKEY == 0 {
            self.noise.rekey_outgoing();
        }
        let sealed = u16::try_from(sealed).map_err(|_| invalid("a frame is too long"))?;
        length.copy_from_slice(&sealed.to_be_bytes());
        Ok(())
    }

    /// Sends what is sealed.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.output.len() {
            let rest = self.output.get(self.sent..).unwrap_or_default();
            let sent = ready!(Pin::new(&mut self.io).poll_write(cx, rest))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            more(&self.counting.bytes_sent, sent);
            self.sent += sent;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Framed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let rest = this.plain.get(this.read..).unwrap_or_default();
            if !rest.is_empty() {
                let length = rest.len().min(buffer.remaining());
                buffer.put_slice(rest.get(..length).unwrap_or_default());
                this.read += length;
                return Poll::Ready(Ok(()));
            }
            if this.ended || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if !this.open()? {
                ready!(this.poll_fill(cx))?;
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Framed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.closing {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(self.poll_drain(cx))?;
        // An empty message would be the end.
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let length = buffer.len().min(PIECE);
        self.seal(buffer.get(..length).unwrap_or_default())?;
        // What cannot be sent now is sent with the next call.
        if let Poll::Ready(Err(error)) = self.poll_drain(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(length))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        if !self.closing {
            self.closing = true;
            self.seal(&[])?;
            ready!(self.poll_drain(cx))?;
        }
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
