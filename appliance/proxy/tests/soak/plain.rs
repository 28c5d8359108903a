//! The servers, and visitors without TLS.

use crate::common::{Conn, Scripted};
use crate::run::{Failure, Run, count};
use noise::Noise;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Answers `/N` with N bytes, anything with content with its length, and speaks a protocol of
/// echoes where it is asked to change.
pub(crate) fn origin() -> Scripted {
    Scripted::new(|peer| {
        while let Some(request) = peer.request() {
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            if head.contains("websocket") {
                peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n");
                return repeat(&mut peer.io);
            }
            let answer = if head.starts_with("POST") {
                // Framing of chunks does not count.
                body.bytes().filter(|b| *b == b'x').count().to_string()
            } else {
                let path = head.split(' ').nth(1).unwrap();
                "x".repeat(path[1..].parse().unwrap_or(2))
            };
            let length = answer.len();
            peer.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{answer}"));
        }
    })
}

/// Sends back whatever comes.
pub(crate) fn repeat(io: &mut TcpStream) {
    let mut part = [0_u8; 4096];
    while let Ok(n @ 1..) = io.read(&mut part) {
        if io.write_all(&part[..n]).is_err() {
            return;
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Asks {
    /// Pages up to this size.
    Pages(usize),
    /// Sends up to so much, with its length or in chunks.
    Sends(usize, bool),
}

impl Asks {
    /// A request, and the size of the page or the number that is right.
    fn request(self, noise: &mut Noise, keep: bool) -> (Vec<u8>, usize) {
        let end = if keep { "" } else { "Connection: close\r\n" };
        let (text, wanted) = match self {
            Self::Pages(most) => {
                let size = noise.below(most);
                (format!("GET /{size} HTTP/1.1\r\nHost: soak\r\n{end}\r\n"), size)
            }
            Self::Sends(most, chunked) => {
                let size = 1 + noise.below(most);
                let body = "x".repeat(size);
                let text = if chunked {
                    let (first, rest) = body.split_at(size / 2);
                    let chunk = |c: &str| match c.len() {
                        0 => String::new(),
                        n => format!("{n:x}\r\n{c}\r\n"),
                    };
                    format!(
                        "POST /form HTTP/1.1\r\nHost: soak\r\nTransfer-Encoding: chunked\r\n{end}\r\n{}{}0\r\n\r\n",
                        chunk(first),
                        chunk(rest)
                    )
                } else {
                    format!(
                        "POST /form HTTP/1.1\r\nHost: soak\r\nContent-Length: {size}\r\n{end}\r\n{body}"
                    )
                };
                (text, size)
            }
        };
        (text.into_bytes(), wanted)
    }
}

/// One request after the other, on a kept connection or on one of its own; says what failed.
pub(crate) fn visitor(port: u16, asks: Asks, keep: bool, seed: u64, run: &Run) -> Vec<Failure> {
    let mut noise = Noise::new(seed);
    let mut failures = Vec::new();
    let mut kept: Option<Conn> = None;
    while run.goes_on() && failures.len() < 10 {
        let mut conn = kept.take().unwrap_or_else(|| Conn::to(port));
        let (request, wanted) = asks.request(&mut noise, keep);
        conn.send(&request);
        let good = match conn.answer(false) {
            Ok(answer) if answer.status == 200 => {
                let right = match asks {
                    Asks::Pages(_) => answer.body.len() == wanted,
                    Asks::Sends(..) => answer.body == wanted.to_string().as_bytes(),
                };
                if keep && !answer.head.contains("Connection: close") {
                    kept = Some(conn);
                }
                if right { Ok(()) } else { Err(format!("{wanted}: {}", answer.head)) }
            }
            other => Err(format!("{other:?}")),
        };
        match good {
            Ok(()) => count(&run.plain),
            Err(text) => failures.push(run.failure(format!("{asks:?}, kept: {keep}: {text}"))),
        }
    }
    failures
}

/// One connection for the whole run, over which something comes back every tenth of a second.
pub(crate) fn held(port: u16, upgrade: bool, run: &Run) -> Vec<Failure> {
    let what = if upgrade { "the tunnel" } else { "the connection of mode tcp" };
    let mut conn = Conn::to(port);
    if upgrade {
        conn.send(b"GET /1 HTTP/1.1\r\nHost: soak\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
        let answer = conn.answer(true).unwrap();
        if answer.status != 101 {
            return vec![run.failure(format!("{what}: {}", answer.head))];
        }
    }
    while run.goes_on() {
        let mut back = [0_u8; 4];
        let there = conn.io.write_all(b"ping").and_then(|()| conn.io.read_exact(&mut back));
        if there.is_err() || back != *b"ping" {
            return vec![run.failure(format!("{what}: {there:?} {back:?}"))];
        }
        count(&run.echoes);
        std::thread::sleep(Duration::from_millis(100));
    }
    Vec::new()
}
