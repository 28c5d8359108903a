//! After `101 Switching Protocols`: bytes both ways, until both sides are done.

use crate::standing::Standing;
use crate::timers::Timer;
use crate::worker::Worker;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

#[derive(Default)]
struct Way {
    waiting: Vec<u8>,
    at: usize,
    ended: bool,
    shut: bool,
    bytes: u64,
}

/// Copies until both sides have closed, one fails, nothing moves for `silence` milliseconds or the
/// server's connections are broken off. Returns bytes to the server and to the client.
pub(crate) async fn run(
    worker: &Worker,
    timer: &Timer,
    standing: &Standing,
    (client, server): (&mut TcpStream, &mut TcpStream),
    early: Vec<u8>,
    silence: u64,
) -> (u64, u64) {
    let ended = standing.ended();
    let mut up = Way { waiting: early, ..Way::default() };
    let mut down = Way::default();
    let mut seen = worker.now();
    std::future::poll_fn(|cx| {
        let now = worker.now();
        if standing.ended() != ended {
            return Poll::Ready(());
        }
        loop {
            let moved = match (
                step(worker, client, server, &mut up, cx),
                step(worker, server, client, &mut down, cx),
            ) {
                (Ok(a), Ok(b)) => a || b,
                _ => return Poll::Ready(()),
            };
            if up.shut && down.shut {
                return Poll::Ready(());
            }
            if !moved {
                break;
            }
            seen = now;
        }
        timer.set(Some(seen.saturating_add(silence)));
        timer.poll(cx, now)
    })
    .await;
    (up.bytes, down.bytes)
}

fn step(
    worker: &Worker,
    from: &mut TcpStream,
    to: &mut TcpStream,
    way: &mut Way,
    cx: &mut Context<'_>,
) -> std::io::Result<bool> {
    if way.at < way.waiting.len() {
        return match Pin::new(to).poll_write(cx, &way.waiting[way.at..])? {
            Poll::Pending => Ok(false),
            Poll::Ready(0) => Err(std::io::ErrorKind::WriteZero.into()),
            Poll::Ready(n) => {
                way.at += n;
                way.bytes += u64::try_from(n).unwrap_or(0);
                if way.at == way.waiting.len() {
                    (way.waiting, way.at) = (Vec::new(), 0);
                }
                Ok(true)
            }
        };
    }
    if way.ended {
        if !way.shut && Pin::new(to).poll_shutdown(cx)?.is_ready() {
            way.shut = true;
        }
        return Ok(false);
    }
    let mut scratch = worker.scratch.borrow_mut();
    let mut buffer = ReadBuf::new(&mut scratch);
    if Pin::new(from).poll_read(cx, &mut buffer)?.is_pending() {
        return Ok(false);
    }
    let data = buffer.filled();
    if data.is_empty() {
        way.ended = true;
        return Ok(true);
    }
    let n = match Pin::new(to).poll_write(cx, data)? {
        Poll::Ready(n) => n,
        Poll::Pending => 0,
    };
    way.bytes += u64::try_from(n).unwrap_or(0);
    way.waiting.extend_from_slice(&data[n..]);
    Ok(true)
}
