//! Health checks: one task per server, for the whole process.

use crate::config::{Backend, Server};
use crate::health::{Fsm, Turn};
use crate::live::{candidates, lock};
use crate::shared::Shared;
use control::StatusBoard;
use model::{Check, Name, ServerState};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// So much of a response must hold its status line.
const STATUS_LINE: usize = 1024;

/// What a running check depends on.
#[derive(Clone, Debug, PartialEq)]
struct Plan {
    backend: Name,
    server: Name,
    address: SocketAddrV4,
    check: Check,
}

/// The checks that run, by the server's id.
#[derive(Debug, Default)]
pub(crate) struct Checks(HashMap<u64, (Plan, JoinHandle<()>)>);

impl Checks {
    /// Checks these backends' servers and no others.
    pub(crate) fn set(&mut self, shared: &Arc<Shared>, board: &StatusBoard, all: &[Arc<Backend>]) {
        let mut old = std::mem::take(&mut self.0);
        for backend in all {
            let check = &backend.settings.check;
            let count = u32::try_from(backend.servers.len()).unwrap_or(1).max(1);
            for (at, server) in (0_u32..).zip(&backend.servers) {
                let was = old.remove(&server.live.id);
                if !check.enabled || server.state == ServerState::Maint {
                    if let Some((_, task)) = was {
                        task.abort();
                    }
                    if !check.enabled {
                        server.live.set_health(None);
                    }
                    continue;
                }
                let plan = Plan {
                    backend: backend.settings.name.clone(),
                    server: server.name.clone(),
                    address: server.address,
                    check: check.clone(),
                };
                let task = match was {
                    Some((before, task)) if before == plan && !task.is_finished() => task,
                    was => {
                        begin(server, check, was.is_none());
                        if let Some((_, task)) = was {
                            task.abort();
                        }
                        // Spread, so that they do not all start at the same moment.
                        let offset = check.inter.duration() * at / count;
                        let (shared, board) = (Arc::clone(shared), board.clone());
                        tokio::spawn(run(shared, board, plan.clone(), server.clone(), offset))
                    }
                };
                self.0.insert(server.live.id, (plan, task));
            }
        }
        for (_, task) in old.into_values() {
            task.abort();
        }
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        self.0.values().for_each(|(_, task)| task.abort());
    }
}

/// Gets a server's state ready: one that was not checked before starts up and is one failure
/// away from down; one that was goes on as it is under the new numbers.
fn begin(server: &Server, check: &Check, new: bool) {
    let mut checked = lock(&server.live.checked);
    if new {
        checked.fsm = Fsm::new(check.rise, check.fall);
        checked.uptime.set(true, std::time::Instant::now());
    } else {
        checked.fsm.set(check.rise, check.fall);
    }
    server.live.set_health(Some(checked.fsm.is_up()));
}

async fn run(
    shared: Arc<Shared>,
    board: StatusBoard,
    plan: Plan,
    server: Server,
    offset: Duration,
) {
    let inter = plan.check.inter.duration().max(Duration::from_millis(10));
    let path = plan.check.http_path.as_ref().map(|p| p.as_str());
    tokio::time::sleep(offset).await;
    loop {
        let begun = Instant::now();
        let found = probe(plan.address, path, inter).await;
        let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(0);
        note(&shared, &board, &plan, &server, &found, took);
        tokio::time::sleep_until(begun + inter).await;
    }
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    word: &'static str,
    code: Option<u16>,
    text: String,
}

impl Found {
    fn passed(&self) -> bool {
        matches!(self.word, "L4OK" | "L7OK")
    }
}

fn found(word: &'static str, text: impl Into<String>) -> Found {
    Found { word, code: None, text: text.into() }
}

async fn probe(address: SocketAddrV4, path: Option<&str>, limit: Duration) -> Found {
    let end = Instant::now() + limit;
    let mut stream = match tokio::time::timeout_at(end, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) if matches!(e.kind(), ErrorKind::TimedOut) => {
            return found("L4TOUT", "Layer4 timeout");
        }
        Ok(Err(e)) => {
            let own =
                [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EADDRNOTAVAIL];
            return if e.raw_os_error().is_some_and(|code| own.contains(&code)) {
                found("SOCKERR", format!("Socket error: {e}"))
            } else {
                found("L4CON", format!("Layer4 connection problem: {e}"))
            };
        }
        Err(_) => return found("L4TOUT", "Layer4 timeout"),
    };
    // Two checks a second would leave thousands of connections in TIME_WAIT.
    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    let Some(path) = path else { return found("L4OK", "Layer4 check passed") };
    match tokio::time::timeout_at(end, ask(&mut stream, address, path)).await {
        Ok(found) => found,
        Err(_) => found("L7TOUT", "Layer7 timeout"),
    }
}

async fn ask(stream: &mut TcpStream, address: SocketAddrV4, path: &str) -> Found {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    if let Err(e) = stream.write_all(request.as_bytes()).await {
        return found("L4CON", format!("Layer4 connection problem: {e}"));
    }
    let mut start = Vec::new();
    loop {
        let mut part = [0_u8; 256];
        match stream.read(&mut part).await {
            Ok(n) if n > 0 => start.extend_from_slice(&part[..n]),
            _ => {
                return found("L7RSP", "Layer7 invalid response: the server closed the connection");
            }
        }
        if let Some(end) = memchr::memchr(b'\n', &start) {
            return judge(&start[..end]);
        }
        if start.len() > STATUS_LINE {
            return found("L7RSP", "Layer7 invalid response");
        }
    }
}

/// A status line: 2xx and 3xx are good.
fn judge(line: &[u8]) -> Found {
    let code = line
        .strip_prefix(b"HTTP/1.")
        .and_then(|rest| rest.get(2..5))
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| digits.parse::<u16>().ok())
        .filter(|code| (100..600).contains(code));
    match code {
        Some(code @ 200..=399) => {
            Found { word: "L7OK", code: Some(code), text: "Layer7 check passed".to_owned() }
        }
        Some(code) => {
            let reason = line.get(13..).unwrap_or_default().trim_ascii();
            let reason: String = String::from_utf8_lossy(reason)
                .chars()
                .filter(|c| !c.is_control())
                .take(60)
                .collect();
            let text = format!("Layer7 wrong status: {code} {reason}");
            Found { word: "L7STS", code: Some(code), text: text.trim_end().to_owned() }
        }
        None => found("L7RSP", "Layer7 invalid response"),
    }
}

fn note(
    shared: &Shared,
    board: &StatusBoard,
    plan: &Plan,
    server: &Server,
    found: &Found,
    took: u64,
) {
    let live = &server.live;
    let mut checked = lock(&live.checked);
    let was_up = checked.fsm.is_up();
    let turn = checked.fsm.check(found.passed());
    let first = checked.last.check_status == "INI";
    let last = &mut checked.last;
    found.word.clone_into(&mut last.check_status);
    last.check_code = found.code;
    last.check_duration = Some(took);
    found.text.clone_into(&mut last.last_chk);
    if was_up && !found.passed() {
        last.chkfail += 1;
    }
    if turn == Turn::Down {
        last.chkdown += 1;
    }
    if turn != Turn::None {
        let up = turn == Turn::Up;
        checked.uptime.set(up, std::time::Instant::now());
        live.set_health(Some(up));
    }
    drop(checked);
    let (backend, name) = (&plan.backend, &plan.server);
    match turn {
        Turn::Up => tracing::info!("server {backend}/{name} is up: {}", found.text),
        Turn::Down => tracing::warn!("server {backend}/{name} is down: {}", found.text),
        Turn::None => {}
    }
    if turn != Turn::None {
        if let Some(backend) = shared.config().backends.iter().find(|b| b.settings.name == *backend)
        {
            settle(backend);
        }
        shared.look_again();
    }
    if turn != Turn::None || first {
        board.touch();
    }
}

/// Has a backend's requests see who can be chosen now.
pub(crate) fn settle(backend: &Backend) {
    backend.live.changed();
    let up = !candidates(backend).is_empty();
    if lock(&backend.live.uptime).set(up, std::time::Instant::now()) && !up {
        tracing::warn!("backend {} has no server left", backend.settings.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines() {
        assert_eq!(judge(b"HTTP/1.1 200 OK\r").word, "L7OK");
        assert_eq!(judge(b"HTTP/1.0 302 Found").code, Some(302));
        let bad = judge(b"HTTP/1.1 503 Service Unavailable\r");
        assert_eq!((bad.word, bad.code), ("L7STS", Some(503)));
        assert_eq!(bad.text, "Layer7 wrong status: 503 Service Unavailable");
        for line in [&b"HTTP/1.1 20"[..], b"SSH-2.0-x", b"", b"HTTP/1.1 xyz", b"HTTP/2 200"] {
            assert_eq!(judge(line).word, "L7RSP", "{line:?}");
        }
    }

    #[tokio::test]
    async fn probing() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let std::net::SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!() };
        let limit = Duration::from_millis(300);
        assert_eq!(probe(address, None, limit).await.word, "L4OK");
        // Nobody answers.
        assert_eq!(probe(address, Some("/"), limit).await.word, "L7TOUT");
        drop(listener);
        assert_eq!(probe(address, None, limit).await.word, "L4CON");
    }
}
