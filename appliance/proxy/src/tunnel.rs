//! After a change of protocol, and in mode tcp: bytes both ways, until both sides are done.
//!
//! A pipe is taken only while bytes are on their way, so that an idle connection holds none.

use crate::splice::{self, Pipe};
use crate::standing::Standing;
use crate::stream::{Stream, Wire};
use crate::timers::Timer;
use crate::worker::Worker;
use model::Millis;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

#[derive(Default)]
struct Way {
    waiting: Vec<u8>,
    at: usize,
    /// Some of what was written may not have left yet.
    unflushed: bool,
    pipe: Option<Pipe>,
    ended: bool,
    shut: bool,
    bytes: u64,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Both sides have closed.
    Closed,
    /// The client's connection failed.
    ClientFailed,
    /// The server's connection failed.
    ServerFailed,
    /// The client was silent for too long.
    ClientSilent,
    /// The server was silent for too long.
    ServerSilent,
    /// The server's connections are broken off.
    Killed,
}

/// Bytes that were moved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved {
    pub(crate) up: u64,
    pub(crate) down: u64,
    pub(crate) end: End,
}

/// How long either side may be silent, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Silence {
    client: u64,
    server: u64,
    /// The same for a side where one direction has ended.
    client_fin: u64,
    server_fin: u64,
}

impl Silence {
    /// As HAProxy has it: `timeout tunnel` stands for the time-outs of both sides, `client-fin` and
    /// `server-fin` for any other once one direction has ended.
    pub(crate) fn of(frontend: &model::Frontend, backend: &model::Backend) -> Self {
        let either =
            |own: Millis| if backend.timeout_tunnel.0 > 0 { backend.timeout_tunnel } else { own };
        let (client, server) = (either(frontend.timeout_client), either(backend.timeout_server));
        let ms = |t: Millis| u64::from(t.0);
        Self {
            client: ms(client),
            server: ms(server),
            client_fin: ms(frontend.timeout_client_fin.unwrap_or(client)),
            server_fin: ms(backend.timeout_server_fin.unwrap_or(server)),
        }
    }

    /// After how long whose silence ends it all: a side counts while something is expected of it,
    /// to send or to take.
    fn limit(&self, up: &Way, down: &Way) -> (u64, End) {
        let half = up.ended || down.ended;
        let (client, server) =
            if half { (self.client_fin, self.server_fin) } else { (self.client, self.server) };
        let client = (!up.ended || down.is_waiting()).then_some((client, End::ClientSilent));
        let server = (!down.ended || up.is_waiting()).then_some((server, End::ServerSilent));
        let sooner = client.into_iter().chain(server).min_by_key(|(limit, _)| *limit);
        sooner.unwrap_or((self.client, End::ClientSilent))
    }
}

impl Way {
    /// Is there something that the other side has not taken yet?
    fn is_waiting(&self) -> bool {
        self.at < self.waiting.len()
            || self.unflushed
            || self.pipe.as_ref().is_some_and(|p| p.filled() > 0)
    }
}

enum Failed {
    Reading,
    Writing,
}

/// Copies until both sides have closed, one fails, nothing moves for as long as `silence` says or
/// the server's connections are broken off.
pub(crate) async fn run(
    worker: &Worker,
    timer: &Timer,
    standing: &Standing,
    (client, server): (&mut Stream, &mut TcpStream),
    early: Vec<u8>,
    silence: Silence,
) -> Moved {
    let ended = standing.ended();
    let mut up = Way { waiting: early, ..Way::default() };
    let mut down = Way::default();
    let mut seen = worker.now();
    let end = std::future::poll_fn(|cx| {
        let now = worker.now();
        if standing.ended() != ended {
            return Poll::Ready(End::Killed);
        }
        loop {
            let moved = match step(worker, client, server, &mut up, cx) {
                Ok(moved) => moved,
                Err(Failed::Reading) => return Poll::Ready(End::ClientFailed),
                Err(Failed::Writing) => return Poll::Ready(End::ServerFailed),
            };
            let moved = moved
                || match step(worker, server, client, &mut down, cx) {
                    Ok(moved) => moved,
                    Err(Failed::Reading) => return Poll::Ready(End::ServerFailed),
                    Err(Failed::Writing) => return Poll::Ready(End::ClientFailed),
                };
            if up.shut && down.shut {
                return Poll::Ready(End::Closed);
            }
            if !moved {
                break;
            }
            seen = now;
        }
        let (limit, end) = silence.limit(&up, &down);
        timer.set(Some(seen.saturating_add(limit)));
        timer.poll(cx, now).map(|()| end)
    })
    .await;
    for pipe in [up.pipe.take(), down.pipe.take()].into_iter().flatten() {
        worker.pipes.give(pipe);
    }
    Moved { up: up.bytes, down: down.bytes, end }
}

fn count(way: &mut Way, n: usize) {
    way.bytes += u64::try_from(n).unwrap_or(0);
}

fn step(
    worker: &Worker,
    from: &mut impl Wire,
    to: &mut impl Wire,
    way: &mut Way,
    cx: &mut Context<'_>,
) -> Result<bool, Failed> {
    if way.at < way.waiting.len() {
        return match Pin::new(to).poll_write(cx, &way.waiting[way.at..]) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(n)) if n > 0 => {
                way.at += n;
                way.unflushed = true;
                count(way, n);
                if way.at == way.waiting.len() {
                    (way.waiting, way.at) = (Vec::new(), 0);
                }
                Ok(true)
            }
            Poll::Ready(_) => Err(Failed::Writing),
        };
    }
    if way.unflushed {
        match Pin::new(&mut *to).poll_flush(cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(())) => way.unflushed = false,
            Poll::Ready(Err(_)) => return Err(Failed::Writing),
        }
    }
    let sockets = from.socket().zip(to.socket());
    if let Some((mut pipe, (_, to))) = way.pipe.take().zip(sockets) {
        if pipe.filled() > 0 {
            let drained = splice::drain(&mut pipe, to, cx);
            if pipe.filled() > 0 {
                way.pipe = Some(pipe);
            } else {
                worker.pipes.give(pipe);
            }
            return match drained {
                Poll::Pending => Ok(false),
                Poll::Ready(Ok(n)) => {
                    count(way, n);
                    Ok(true)
                }
                Poll::Ready(Err(_)) => Err(Failed::Writing),
            };
        }
        worker.pipes.give(pipe);
    }
    if way.ended {
        if !way.shut {
            match Pin::new(to).poll_shutdown(cx) {
                Poll::Ready(Ok(())) => way.shut = true,
                Poll::Ready(Err(_)) => return Err(Failed::Writing),
                Poll::Pending => {}
            }
        }
        return Ok(false);
    }
    let Some((socket, _)) = sockets else { return copy(worker, from, to, way, cx) };
    match socket.poll_read_ready(cx) {
        Poll::Pending => return Ok(false),
        Poll::Ready(Err(_)) => return Err(Failed::Reading),
        Poll::Ready(Ok(())) => {}
    }
    if let Ok(mut pipe) = worker.pipes.take() {
        let filled = splice::fill(socket, &mut pipe, cx);
        return match filled {
            Poll::Pending => {
                worker.pipes.give(pipe);
                Ok(false)
            }
            Poll::Ready(Ok(0)) => {
                worker.pipes.give(pipe);
                way.ended = true;
                Ok(true)
            }
            Poll::Ready(Ok(_)) => {
                way.pipe = Some(pipe);
                Ok(true)
            }
            Poll::Ready(Err(_)) => Err(Failed::Reading),
        };
    }
    copy(worker, from, to, way, cx)
}

/// Without a pipe, or where the bytes on a socket are not those to be passed on.
fn copy(
    worker: &Worker,
    from: &mut impl Wire,
    to: &mut impl Wire,
    way: &mut Way,
    cx: &mut Context<'_>,
) -> Result<bool, Failed> {
    let mut scratch = worker.scratch.borrow_mut();
    let mut buffer = ReadBuf::new(&mut scratch);
    match Pin::new(from).poll_read(cx, &mut buffer) {
        Poll::Pending => return Ok(false),
        Poll::Ready(Err(_)) => return Err(Failed::Reading),
        Poll::Ready(Ok(())) => {}
    }
    let data = buffer.filled();
    if data.is_empty() {
        way.ended = true;
        return Ok(true);
    }
    let n = match Pin::new(to).poll_write(cx, data) {
        Poll::Ready(Ok(n)) => n,
        Poll::Ready(Err(_)) => return Err(Failed::Writing),
        Poll::Pending => 0,
    };
    count(way, n);
    way.unflushed = true;
    way.waiting.extend_from_slice(&data[n..]);
    Ok(true)
}
