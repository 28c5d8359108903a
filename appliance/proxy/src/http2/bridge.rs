//! One HTTP/2 stream as a connection of HTTP/1.1: what is read from it is the request's body,
//! what is written to it the response.
//!
//! It is written by us alone, so that what does not fit is our own fault; it ends the stream with
//! an error, never with something that looks whole.

use super::head::{self, Framing};
use super::life::Guard;
use crate::framing::{Body, put_chunk_size};
use crate::message::put_field;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::StatusCode;
use http::header::SEC_WEBSOCKET_ACCEPT;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// While so much of one stream waits for the visitor, no more is taken from the server.
pub(super) const WAITING: usize = 16 * 1024;
/// Our heads are shorter.
const LONGEST_HEAD: usize = 128 * 1024;

/// A stream.
pub(crate) struct Bridge {
    incoming: Incoming,
    respond: SendResponse<Bytes>,
    out: Out,
    shape: Shape,
    local: Option<SocketAddr>,
    guard: Guard,
}

/// What of a request matters to its stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// The head that is read before says that the body comes in chunks.
    pub(super) chunked: bool,
    /// No content is answered.
    pub(super) is_head: bool,
    /// It asks for a WebSocket.
    pub(super) websocket: bool,
}

/// The request's body, as HTTP/1.1 has it.
struct Incoming {
    stream: RecvStream,
    chunked: bool,
    ended: bool,
    /// Content in `ready`, which the visitor gets room for once it is taken.
    owed: usize,
    ready: Vec<u8>,
    at: usize,
}

/// The response.
enum Out {
    /// Its head, as far as it is there.
    Head(Vec<u8>),
    Body {
        stream: SendStream<Bytes>,
        /// What of it is still to be written.
        left: Body,
        /// Nothing of it waits yet.
        fresh: bool,
    },
    /// Nothing more can come.
    Ended,
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge").finish_non_exhaustive()
    }
}

fn gone() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl Bridge {
    pub(super) fn new(
        stream: RecvStream,
        respond: SendResponse<Bytes>,
        shape: Shape,
        local: Option<SocketAddr>,
        guard: Guard,
    ) -> Self {
        let chunked = shape.chunked;
        let ended = stream.is_end_stream() && !chunked;
        Self {
            incoming: Incoming { stream, chunked, ended, owed: 0, ready: Vec::new(), at: 0 },
            respond,
            out: Out::Head(Vec::new()),
            shape,
            local,
            guard,
        }
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.local.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Ready when the visitor wants nothing of this any more.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.out {
            Out::Head(_) => self.respond.poll_reset(cx).map(|_| ()),
            Out::Body { stream, .. } => stream.poll_reset(cx).map(|_| ()),
            Out::Ended => Poll::Pending,
        }
    }

    /// How much the visitor should be brought next; waits until it has room.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Out::Body { stream, fresh: false, .. } = &mut self.out else {
            return Poll::Ready(Ok(self.guard.piece()));
        };
        // Room for more than a byte would be taken from streams that have something to say. What
        // is sent beyond it waits in the stream's buffer.
        stream.reserve_capacity(1);
        while stream.capacity() == 0 {
            match ready!(stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                _ => return Poll::Ready(Err(gone())),
            }
        }
        Poll::Ready(Ok(self.guard.piece()))
    }

    /// The response is all there. What is not whole is reset.
    fn finish(&mut self) {
        if let Out::Body { stream, left: Body::UntilClose, .. } = &mut self.out {
            if stream.send_data(Bytes::new(), true).is_ok() {
                self.out = Out::Ended;
            }
        }
        self.cut();
    }

    /// Ends it so that nobody takes for whole what is not.
    pub(crate) fn cut(&mut self) {
        match &mut self.out {
            Out::Head(_) => self.respond.send_reset(Reason::INTERNAL_ERROR),
            Out::Body { stream, .. } => stream.send_reset(Reason::INTERNAL_ERROR),
            Out::Ended => {}
        }
        self.out = Out::Ended;
    }

    /// Takes a piece of a head; returns how much of `data` belonged to it.
    fn head(&mut self, data: &[u8]) -> io::Result<usize> {
        let Out::Head(before) = &mut self.out else { return Ok(0) };
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        let mut whole = std::mem::take(before);
        let held = whole.len();
        let from = held.saturating_sub(3);
        whole.extend_from_slice(data);
        let Some(end) = memchr::memmem::find(&whole[from..], b"\r\n\r\n") else {
            let fits = whole.len() <= LONGEST_HEAD;
            *before = whole;
            return if fits { Ok(data.len()) } else { Err(invalid()) };
        };
        whole.truncate(from + end + 4);
        let used = whole.len() - held;
        let (mut response, framing) = head::response(&Bytes::from(whole)).ok_or_else(invalid)?;
        let status = response.status();
        if status == StatusCode::SWITCHING_PROTOCOLS && self.shape.websocket {
            // RFC 8441 5.1: any success says as much here.
            *response.status_mut() = StatusCode::OK;
            response.headers_mut().remove(SEC_WEBSOCKET_ACCEPT);
        } else if status.is_informational() {
            self.respond.send_informational(response).map_err(|_| gone())?;
            return Ok(used);
        }
        let bodyless = self.shape.is_head || [204, 304].contains(&status.as_u16());
        let left = match framing {
            _ if bodyless => Body::Done,
            Framing::Length(length) => Body::length(length),
            Framing::Chunked => Body::chunked(),
            Framing::UntilClose => Body::UntilClose,
        };
        let done = left.is_done();
        let stream = self.respond.send_response(response, done).map_err(|_| gone())?;
        self.out = if done { Out::Ended } else { Out::Body { stream, left, fresh: true } };
        Ok(used)
    }

    /// Takes a piece of the body.
    fn body(&mut self, data: &[u8]) -> io::Result<usize> {
        let Out::Body { stream, left, fresh } = &mut self.out else { return Ok(data.len()) };
        let mut used = 0;
        let mut content = Vec::new();
        while used < data.len() && !left.is_done() {
            let piece = left.step(&data[used..]).map_err(|_| io::ErrorKind::InvalidData)?;
            content.extend_from_slice(&data[used..][piece.data]);
            used += piece.consumed;
        }
        let trailers = match left {
            Body::Chunked(chunks) if chunks.is_done() => head::trailers(chunks.trailers()),
            _ => None,
        };
        let done = left.is_done();
        let last = done && trailers.is_none();
        if last || !content.is_empty() {
            self.guard.took(content.len());
            stream.send_data(Bytes::from(content), last).map_err(|_| gone())?;
            *fresh = false;
        }
        if let Some(trailers) = trailers {
            stream.send_trailers(trailers).map_err(|_| gone())?;
        }
        if done {
            self.out = Out::Ended;
        }
        Ok(used.max(1))
    }
}

impl Incoming {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (self.at, self.owed) = (0, 0);
        self.ready.clear();
        if self.ended {
            return Poll::Ready(Ok(()));
        }
        match ready!(self.stream.poll_data(cx)) {
            Some(Ok(data)) => {
                self.owed = data.len();
                if self.chunked && !data.is_empty() {
                    put_chunk_size(&mut self.ready, data.len());
                }
                self.ready.extend_from_slice(&data);
                if self.chunked && !data.is_empty() {
                    self.ready.extend_from_slice(b"\r\n");
                }
            }
            Some(Err(_)) => return Poll::Ready(Err(gone())),
            None => {
                let trailers = ready!(self.stream.poll_trailers(cx)).map_err(|_| gone())?;
                self.ended = true;
                if self.chunked {
                    self.ready.extend_from_slice(b"0\r\n");
                    for (name, value) in &trailers.unwrap_or_default() {
                        put_field(&mut self.ready, name.as_str().as_bytes(), value.as_bytes());
                    }
                    self.ready.extend_from_slice(b"\r\n");
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Bridge {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let incoming = &mut self.get_mut().incoming;
        while incoming.at >= incoming.ready.len() {
            if incoming.ended {
                return Poll::Ready(Ok(()));
            }
            ready!(incoming.poll_fill(cx))?;
        }
        let rest = &incoming.ready[incoming.at..];
        let n = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..n]);
        incoming.at += n;
        if incoming.at == incoming.ready.len() {
            let owed = std::mem::take(&mut incoming.owed);
            incoming.stream.flow_control().release_capacity(owed).map_err(|_| gone())?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bridge {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Out::Head(_) = this.out {
            return Poll::Ready(this.head(data));
        }
        ready!(this.poll_room(cx))?;
        Poll::Ready(this.body(data))
    }

    /// What was written waits for the visitor, who is not waited for.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().finish();
        Poll::Ready(Ok(()))
    }
}
