//! What a visitor's connection costs that does nothing: ten thousand of them (or as many as the
//! limit for descriptors allows), each of which has had one answer.

use crate::peers::Peer;
use crate::plan::Way;
use crate::process::{self, Done};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

pub(crate) const CONNECTIONS: u32 = 10_000;
/// Some more are open for checks and for what is asked in between.
pub(crate) const SPARE: u32 = 50;

/// What was found at one proxy.
#[derive(Clone, Debug)]
pub(crate) struct Idle {
    pub(crate) name: &'static str,
    pub(crate) before_kib: f64,
    pub(crate) after_kib: f64,
    /// Connections that were open in the end.
    pub(crate) open: u32,
}

impl Idle {
    /// KiB for each of them.
    pub(crate) fn each(&self) -> f64 {
        (self.after_kib - self.before_kib) / f64::from(self.open.max(1))
    }
}

pub(crate) fn measure(peers: &[Peer], raw: &mut File) -> Done<Vec<Idle>> {
    let wanted = CONNECTIONS.min(process::most_connections() - SPARE);
    let mut all = Vec::new();
    for peer in peers {
        let Some(port) = peer.port(Way::Http) else { continue };
        let pids = peer.pids();
        let before_kib = process::memory(&pids);
        let mut connections = Vec::new();
        for _ in 0..wanted {
            match connection(port) {
                Ok(connection) => connections.push(connection),
                Err(error) => {
                    println!("{}: after {} connections: {error}", peer.name, connections.len());
                    break;
                }
            }
        }
        std::thread::sleep(Duration::from_millis(500));
        let after_kib = process::memory(&pids);
        let open = connections.iter().filter(|c| is_open(c)).count();
        let open = u32::try_from(open)?;
        let idle = Idle { name: peer.name, before_kib, after_kib, open };
        let line = serde_json::json!({
            "idle": peer.name, "before_kib": before_kib, "after_kib": after_kib, "open": open,
        });
        writeln!(raw, "{line}")?;
        all.push(idle);
    }
    Ok(all)
}

/// A connection that has had one answer.
fn connection(port: u16) -> Done<TcpStream> {
    let mut io = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    io.set_read_timeout(Some(Duration::from_secs(5)))?;
    io.write_all(b"GET /1 HTTP/1.1\r\nHost: bench\r\n\r\n")?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nx") {
        let mut part = [0; 1024];
        let n = io.read(&mut part)?;
        if n == 0 {
            return Err("the connection was closed".into());
        }
        answer.extend_from_slice(part.get(..n).unwrap_or_default());
    }
    if !answer.starts_with(b"HTTP/1.1 200") {
        return Err(String::from_utf8_lossy(&answer).into());
    }
    Ok(io)
}

fn is_open(io: &TcpStream) -> bool {
    let waits = io.set_nonblocking(true).is_ok();
    let peeked = io.peek(&mut [0]);
    waits && peeked.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock)
}
