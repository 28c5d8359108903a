//! One request to one server and its response back, both directions at once.
//!
//! Reads go through the thread's scratch buffer; what the other side does not take at once is
//! kept, and nothing more is read before it is gone.

use crate::framing::{Body, put_chunk_size};
use crate::live::ServerLive;
use crate::message::{Parsed, put_trailers};
use crate::persist::Aftermath;
use crate::response::{self, Asked, Response};
use crate::stream::Stream;
use crate::timers::Timer;
use crate::worker::Worker;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Content up to this size is copied behind the head, to go out in one piece.
const COPY: usize = 8 * 1024;
/// A request is kept up to this size, head and content, where it may have to be sent again (HAProxy
/// `tune.bufsize`).
pub(crate) const KEPT: usize = 16 * 1024;
/// More interim responses than this are the server's fault.
const INTERIMS: u8 = 16;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The client has the whole response.
    Complete,
    /// The server changed the protocol; the client knows.
    Upgraded,
    /// The server broke off before it answered anything.
    NoAnswer,
    /// The server broke off in its response's head.
    BrokenHead,
    /// The response's head could not be trusted.
    BadHead,
    /// The server took too long for its response's head.
    ServerSlow,
    /// The server broke off, or broke the rules, in its response's body.
    ServerBroke,
    /// The server was silent in its response's body for too long.
    ServerSilent,
    /// The client went away.
    ClientGone,
    /// The client was silent for too long.
    ClientSilent,
    /// The request's body broke the rules.
    BadBody,
    /// The requests of this server are broken off.
    Killed,
    /// Rules would have made the response's head too long.
    NoRoom,
    /// An answer with one of the statuses that are tried again.
    Unwanted(u16),
}

/// The two ends, the message and what is known of it so far.
pub(crate) struct Relay<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) timer: &'a Timer,
    pub(crate) client: &'a mut Stream,
    /// Bytes of the client that were read before.
    pub(crate) pending: &'a mut Vec<u8>,
    pub(crate) server: &'a mut TcpStream,
    pub(crate) live: &'a ServerLive,
    pub(crate) asked: Asked,
    /// What of the request's body is still to come.
    pub(crate) body: &'a mut Body,
    /// Nothing is lost when the request is sent again.
    pub(crate) repeatable: bool,
    /// What was sent of it stays in `up`, so that it can be sent again on the operator's wish.
    pub(crate) kept: bool,
    /// Statuses that are tried again instead of passed on.
    pub(crate) unwanted: &'a [u16],
    /// What the server's number for breaking requests off was at the start.
    pub(crate) ended: u64,
    pub(crate) client_limit: u64,
    pub(crate) server_limit: u64,
    /// What goes to the server next, from `up_at` on; before it what was sent, if it is kept.
    pub(crate) up: &'a mut Vec<u8>,
    pub(crate) up_at: usize,
    /// The server takes nothing any more; it may still answer.
    pub(crate) up_dead: bool,
    /// What goes to the client next, from `down_at` on.
    pub(crate) down: Vec<u8>,
    pub(crate) down_at: usize,
    /// Some of what went there may not have left yet.
    pub(crate) unflushed: bool,
    /// The client has no room for more.
    pub(crate) crowded: bool,
    /// The start of a response's head.
    pub(crate) partial: Vec<u8>,
    pub(crate) response: Option<Response>,
    /// What is done to the response's head.
    pub(crate) aftermath: Option<&'a Aftermath<'a>>,
    pub(crate) answered_at: Option<u64>,
    pub(crate) interims: u8,
    pub(crate) client_seen: u64,
    pub(crate) server_seen: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) now: u64,
}

type Step = Result<bool, End>;

impl Relay<'_> {
    /// Goes on as far as possible.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.now = self.worker.now();
        loop {
            let step = self.push_up(cx).and_then(|up| Ok(self.push_down(cx)? || up));
            match step {
                Ok(true) => {}
                Ok(false) => break,
                Err(end) => return Poll::Ready(end),
            }
        }
        if self.live.standing.ended() != self.ended {
            let again = self.repeatable && self.untouched();
            return Poll::Ready(if again { End::NoAnswer } else { End::Killed });
        }
        if self.repeatable && self.untouched() && !self.live.is_up() {
            // The checks have given the server up; others can answer.
            return Poll::Ready(End::NoAnswer);
        }
        if self.client.poll_gone(cx).is_ready() {
            return Poll::Ready(End::ClientGone);
        }
        self.watch(cx)
    }

    /// All of the request is here to be sent again.
    pub(crate) fn is_all_here(&self) -> bool {
        self.kept && self.body.is_done()
    }

    /// Room in `up`, where everything has been sent, for so many bytes more.
    fn make_room(&mut self, more: usize) {
        self.kept &= self.up.len() + more <= KEPT;
        if !self.kept {
            self.up.clear();
            self.up_at = 0;
        }
    }

    /// The server has not answered a single byte.
    fn untouched(&self) -> bool {
        self.response.is_none() && self.partial.is_empty() && self.interims == 0
    }

    fn watch(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let unsent = self.up_at < self.up.len() && !self.up_dead;
        let unread = self.down_at < self.down.len() || self.unflushed || self.crowded;
        let more_to_come = !self.body.is_done() && !self.up_dead;
        let client = (unread || (more_to_come && !unsent))
            .then(|| self.client_seen.saturating_add(self.client_limit));
        let server = (unsent || (!unread && !more_to_come))
            .then(|| self.server_seen.saturating_add(self.server_limit));
        self.timer.set(client.into_iter().chain(server).min());
        if self.timer.poll(cx, self.now).is_pending() {
            return Poll::Pending;
        }
        let client_first = client.is_some_and(|c| c <= self.now);
        Poll::Ready(match (client_first, self.response.is_some()) {
            (true, _) => End::ClientSilent,
            (false, false) => End::ServerSlow,
            (false, true) => End::ServerSilent,
        })
    }

    /// Client to server.
    fn push_up(&mut self, cx: &mut Context<'_>) -> Step {
        if self.up_dead {
            return Ok(false);
        }
        if self.up_at < self.up.len() {
            match Pin::new(&mut *self.server).poll_write(cx, &self.up[self.up_at..]) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(n)) if n > 0 => {
                    self.up_at += n;
                    self.server_seen = self.now;
                }
                // It may have answered before it stopped listening.
                Poll::Ready(_) => self.up_dead = true,
            }
            return Ok(true);
        }
        if self.body.is_done() {
            return Ok(false);
        }
        if !self.pending.is_empty() {
            let data = std::mem::take(self.pending);
            self.make_room(data.len());
            let used = encode(self.body, &data, self.up).map_err(|()| End::BadBody)?;
            self.bytes_in += size(used);
            self.pending.extend_from_slice(&data[used..]);
            return Ok(true);
        }
        let worker = self.worker;
        let mut scratch = worker.scratch.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch);
        match Pin::new(&mut *self.client).poll_read(cx, &mut buffer) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
            Poll::Ready(_) => return Err(End::ClientGone),
        }
        self.client_seen = self.now;
        let data = buffer.filled();
        self.make_room(data.len());
        let used = match self.body {
            Body::Length(_) => {
                let piece = self.body.step(data).map_err(|_| End::BadBody)?;
                let content = &data[piece.data];
                let sent = match Pin::new(&mut *self.server).poll_write(cx, content) {
                    Poll::Ready(Ok(n)) => n,
                    Poll::Ready(Err(_)) => {
                        self.up_dead = true;
                        content.len()
                    }
                    Poll::Pending => 0,
                };
                self.server_seen = self.now;
                if self.kept {
                    self.up.extend_from_slice(content);
                    self.up_at += sent;
                } else {
                    self.up.extend_from_slice(&content[sent..]);
                }
                piece.consumed
            }
            _ => encode(self.body, data, self.up).map_err(|()| End::BadBody)?,
        };
        self.bytes_in += size(used);
        self.pending.extend_from_slice(&data[used..]);
        Ok(true)
    }

    /// Server to client.
    fn push_down(&mut self, cx: &mut Context<'_>) -> Step {
        if self.down_at < self.down.len() {
            match Pin::new(&mut *self.client).poll_write(cx, &self.down[self.down_at..]) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(n)) if n > 0 => self.sent(n),
                Poll::Ready(_) => return Err(End::ClientGone),
            }
            if self.down_at < self.down.len() {
                return Ok(true);
            }
        }
        self.down.clear();
        self.down_at = 0;
        if self.unflushed {
            match Pin::new(&mut *self.client).poll_flush(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(_)) => return Err(End::ClientGone),
            }
        }
        match &self.response {
            Some(r) if r.status == 101 => return Err(End::Upgraded),
            Some(r) if r.body.is_done() => return Err(End::Complete),
            _ => {}
        }
        let room = self.client.poll_room(cx);
        self.crowded = room.is_pending();
        let room = match room {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(room)) => room,
            Poll::Ready(Err(_)) => return Err(End::ClientGone),
        };
        let worker = self.worker;
        let mut scratch = worker.scratch.borrow_mut();
        let room = room.min(scratch.len());
        let mut buffer = ReadBuf::new(&mut scratch[..room]);
        match Pin::new(&mut *self.server).poll_read(cx, &mut buffer) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
            Poll::Ready(Ok(())) => return self.server_closed(false),
            Poll::Ready(Err(_)) => return self.server_closed(true),
        }
        self.server_seen = self.now;
        let data = buffer.filled();
        if self.response.is_some() {
            self.content(data, cx)?;
        } else if self.partial.is_empty() {
            let used = self.head(data)?;
            if self.response.is_none() {
                self.partial.extend_from_slice(&data[used..]);
            } else {
                self.content(&data[used..], cx)?;
            }
        } else {
            let mut all = std::mem::take(&mut self.partial);
            all.extend_from_slice(data);
            let used = self.head(&all)?;
            if self.response.is_none() {
                all.drain(..used);
                self.partial = all;
            } else {
                self.content(&all[used..], cx)?;
            }
        }
        Ok(true)
    }

    fn sent(&mut self, n: usize) {
        self.down_at += n;
        self.unflushed = true;
        self.bytes_out += size(n);
        self.client_seen = self.now;
    }

    fn server_closed(&mut self, reset: bool) -> Step {
        let untouched = self.untouched();
        match &mut self.response {
            Some(r) if matches!(r.body, Body::UntilClose) && !reset => {
                r.body = Body::Done;
                Ok(true)
            }
            Some(_) => Err(End::ServerBroke),
            None if untouched => Err(End::NoAnswer),
            None => Err(End::BrokenHead),
        }
    }

    /// Reads interim and final heads; returns how many bytes they took.
    fn head(&mut self, data: &[u8]) -> Result<usize, End> {
        let mut used = 0;
        loop {
            let mut asked = self.asked;
            // The rest of a body that the answer did not wait for might be taken for a request.
            asked.keep_alive &= self.body.is_done();
            let start = self.down.len();
            let parsed = response::parse(&data[used..], asked, &mut self.down);
            match parsed.map_err(|_| End::BadHead)? {
                Parsed::Partial => return Ok(used),
                Parsed::Complete(response, len) => {
                    used += len;
                    let interim = response.status < 200 && response.status != 101;
                    if interim {
                        self.interims += 1;
                        if self.interims > INTERIMS {
                            return Err(End::BadHead);
                        }
                        continue;
                    }
                    if response.status == 101 && !self.body.is_done() {
                        return Err(End::BadHead);
                    }
                    let again = self.is_all_here() && self.interims == 0;
                    if again && self.unwanted.contains(&response.status) {
                        return Err(End::Unwanted(response.status));
                    }
                    let status = response.status;
                    self.forget();
                    self.answered_at = Some(self.now);
                    self.response = Some(response);
                    if self.aftermath.is_some_and(|a| !a.run(status, &mut self.down, start)) {
                        return Err(End::NoRoom);
                    }
                    return Ok(used);
                }
            }
        }
    }

    /// The request will not be sent again.
    fn forget(&mut self) {
        if std::mem::take(&mut self.kept) && self.up_at >= self.up.len() {
            self.worker.recycle(std::mem::take(self.up));
            self.up_at = 0;
        }
    }

    /// Passes on what belongs to the body.
    fn content(&mut self, data: &[u8], cx: &mut Context<'_>) -> Result<(), End> {
        let Some(response) = &mut self.response else { return Ok(()) };
        if response.status == 101 {
            self.down.extend_from_slice(data);
            return Ok(());
        }
        let used = match &mut response.body {
            Body::Chunked(_) if response.chunked_out => {
                let done = encode_with(
                    &mut response.body,
                    data,
                    &mut self.down,
                    self.asked.wants_trailers,
                );
                done.map_err(|()| End::ServerBroke)?
            }
            body @ Body::Chunked(_) => {
                let mut used = 0;
                loop {
                    let piece = body.step(&data[used..]).map_err(|_| End::ServerBroke)?;
                    self.down.extend_from_slice(&data[used..][piece.data]);
                    used += piece.consumed;
                    if piece.consumed == 0 || used == data.len() {
                        break used;
                    }
                }
            }
            body => {
                let piece = body.step(data).map_err(|_| End::ServerBroke)?;
                let content = &data[piece.data];
                if !self.down.is_empty() && content.len() <= COPY {
                    self.down.extend_from_slice(content);
                } else if !content.is_empty() {
                    let slices = [IoSlice::new(&self.down), IoSlice::new(content)];
                    let written = Pin::new(&mut *self.client).poll_write_vectored(cx, &slices);
                    let n = match written {
                        Poll::Ready(Ok(n)) => n,
                        Poll::Ready(Err(_)) => return Err(End::ClientGone),
                        Poll::Pending => 0,
                    };
                    let of_head = n.min(self.down.len());
                    let rest = &content[n - of_head..];
                    self.down.extend_from_slice(rest);
                    self.down_at = 0;
                    if n > 0 {
                        self.sent(of_head);
                        self.bytes_out += size(n - of_head);
                    }
                }
                piece.consumed
            }
        };
        if used < data.len() {
            // Whatever this is, it is no answer to anybody's request.
            if let Some(response) = &mut self.response {
                response.reusable = false;
            }
        }
        Ok(())
    }
}

/// Decodes a body and encodes it anew; returns how many bytes of `data` belonged to it.
fn encode(body: &mut Body, data: &[u8], out: &mut Vec<u8>) -> Result<usize, ()> {
    encode_with(body, data, out, true)
}

/// The same, and leaves out the trailers where nobody wants them.
pub(crate) fn encode_with(
    body: &mut Body,
    data: &[u8],
    out: &mut Vec<u8>,
    trailers: bool,
) -> Result<usize, ()> {
    let mut used = 0;
    while !body.is_done() && used < data.len() {
        let piece = body.step(&data[used..]).map_err(|_| ())?;
        let content = &data[used..][piece.data];
        used += piece.consumed;
        match body {
            Body::Chunked(chunks) => {
                if !content.is_empty() {
                    put_chunk_size(out, content.len());
                    out.extend_from_slice(content);
                    out.extend_from_slice(b"\r\n");
                }
                if chunks.is_done() {
                    out.extend_from_slice(b"0\r\n");
                    if trailers {
                        put_trailers(out, chunks.trailers()).map_err(|_| ())?;
                    }
                    out.extend_from_slice(b"\r\n");
                }
            }
            _ => out.extend_from_slice(content),
        }
    }
    Ok(used)
}

fn size(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(0)
}
