//! The server behind all proxies: answers every request for `/N` with N bytes.

use crate::peers::ORIGIN_PORT;
use crate::process::Done;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

type Answers = Rc<RefCell<HashMap<usize, Rc<[u8]>>>>;

/// The answers are the same every time and are made once: what the load and this server cost is
/// missing on the other side.
pub(crate) fn run() -> Done<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answers = Answers::default();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, ORIGIN_PORT)).await?;
        loop {
            let (io, _) = listener.accept().await?;
            io.set_nodelay(true)?;
            tokio::task::spawn_local(serve(io, Rc::clone(&answers)));
        }
    })
}

async fn serve(mut io: TcpStream, answers: Answers) {
    let mut input = Vec::with_capacity(4096);
    while io.read_buf(&mut input).await.is_ok_and(|n| n > 0) {
        while let Some(at) = input.windows(4).position(|w| w == b"\r\n\r\n") {
            let size = size(&input[..at]);
            // Checks of HAProxy ask with HTTP/1.0 and wait for the end.
            let last = input[..at].windows(9).any(|w| w == b"HTTP/1.0\r" || w == b"HTTP/1.0");
            input.drain(..at + 4);
            let answer = Rc::clone(answers.borrow_mut().entry(size).or_insert_with(|| made(size)));
            if io.write_all(&answer).await.is_err() || last {
                return;
            }
        }
    }
}

fn made(size: usize) -> Rc<[u8]> {
    let mut out = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").into_bytes();
    out.resize(out.len() + size, b'x');
    out.into()
}

/// N of `GET /N HTTP/1.1`.
fn size(head: &[u8]) -> usize {
    let path = head.split(|b| *b == b' ').nth(1).unwrap_or_default();
    std::str::from_utf8(path).ok().and_then(|p| p.get(1..)?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_says_how_much() {
        assert_eq!(size(b"GET /1024 HTTP/1.1\r\nHost: h"), 1024);
        assert_eq!(size(b"OPTIONS / HTTP/1.0"), 0);
        assert_eq!(size(b""), 0);
        let answer = made(3);
        assert!(answer.ends_with(b"Content-Length: 3\r\n\r\nxxx"));
    }
}
