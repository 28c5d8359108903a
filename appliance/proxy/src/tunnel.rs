//! After a change of protocol, and in mode tcp: bytes both ways, until both sides are done.
//!
//! A pipe is taken only while bytes are on their way, so that an idle connection holds none.

use crate::splice::{self, Pipe};
use crate::standing::Standing;
use crate::stream::{Stream, Wire};
use crate::timers::Timer;
use crate::worker::Worker;
use model::Millis;
use socket2::SockRef;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
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
    /// The same for a side where one direction has ended; None: as before.
    client_fin: Option<u64>,
    server_fin: Option<u64>,
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
            client_fin: frontend.timeout_client_fin.map(ms),
            server_fin: backend.timeout_server_fin.map(ms),
        }
    }

    /// After how long whose silence ends something: a side counts while something is expected of
    /// it, to send or to take.
    fn limit(&self, up: &Way, down: &Way) -> (u64, End) {
        let half = up.ended || down.ended;
        let of = |fin: Option<u64>, before| fin.filter(|_| half).unwrap_or(before);
        let (client, server) = (of(self.client_fin, self.client), of(self.server_fin, self.server));
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

/// Ends a connection by a reset when it is closed, with whatever is still on its way.
fn reset(socket: Option<&TcpStream>) {
    if let Some(socket) = socket {
        // One that is gone already is closed as it is.
        let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
    }
}

/// Copies until both sides have closed, one fails, or the server's connections are broken off.
///
/// As in HAProxy a side that says nothing for as long as `silence` says has ended its direction by
/// that: the other side is told, and may go on until it ends its own or is silent, too. A side that
/// takes nothing for so long is reset, and so is the server when the client's connection fails.
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
    // Whose silence was the first.
    let mut silent = None;
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
                return Poll::Ready(silent.unwrap_or(End::Closed));
            }
            if moved {
                seen = now;
                continue;
            }
            let (limit, end) = silence.limit(&up, &down);
            timer.set(Some(seen.saturating_add(limit)));
            if timer.poll(cx, now).is_pending() {
                return Poll::Pending;
            }
            let (says, takes, next) = match end {
                End::ServerSilent => (&mut down, &up, silence.client_fin),
                _ => (&mut up, &down, silence.server_fin),
            };
            if takes.is_waiting() {
                reset(if end == End::ServerSilent { server.socket() } else { client.socket() });
                return Poll::Ready(silent.unwrap_or(end));
            }
            says.ended = true;
            silent = silent.or(Some(end));
            // A time-out of its own for what is left begins now; another goes on.
            if next.is_some() {
                seen = now;
            }
        }
    })
    .await;
    if end == End::ClientFailed {
        reset(Some(server));
    }
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
