//! One health check: connects, asks, judges.

use super::{Found, ask_dns};
use crate::proxy_protocol;
use model::{Check, Mode, SendProxy};
use std::io::ErrorKind;
use std::net::SocketAddrV4;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// So much of a response must hold its status line.
const STATUS_LINE: usize = 1024;
/// So much of a response is looked at (HAProxy `tune.bufsize`).
const RESPONSE: usize = 16 * 1024;

/// The system's words without its number.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(text.as_str(), |(words, _)| words).to_owned()
}

/// Connects, or says in HAProxy's words why not.
pub(super) async fn connect(address: SocketAddrV4, end: Instant) -> Result<TcpStream, Found> {
    let stream = match tokio::time::timeout_at(end, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) if matches!(e.kind(), ErrorKind::TimedOut) => {
            return Err(Found::new("L4TOUT", "Layer4 timeout"));
        }
        Ok(Err(e)) => {
            let own =
                [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EADDRNOTAVAIL];
            return Err(if e.raw_os_error().is_some_and(|code| own.contains(&code)) {
                Found::new("SOCKERR", format!("Socket error: {}", plain(&e)))
            } else {
                Found::new("L4CON", format!("Layer4 connection problem: {}", plain(&e)))
            });
        }
        Err(_) => return Err(Found::new("L4TOUT", "Layer4 timeout")),
    };
    // Two checks a second would leave thousands of connections in TIME_WAIT.
    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    Ok(stream)
}

/// One check of a server at `address`; `up`: it is not down, so that a 404 may only drain it.
pub(super) async fn probe(
    address: SocketAddrV4,
    check: &Check,
    (mode, proxy): (Mode, SendProxy),
    up: bool,
) -> Found {
    let inter = check.inter.duration().max(Duration::from_millis(10));
    let end = Instant::now() + inter;
    let answer_by = || check.timeout.map_or(end, |t| Instant::now() + t.duration());
    // In mode tcp the way of the visitors is tried: servers may listen to one of the two only.
    if let (Some(name), Mode::Http | Mode::Udp) = (&check.dns_name, mode) {
        return ask_dns::by_datagram(address, name, check, answer_by()).await;
    }
    let mut stream = match connect(address, end).await {
        Ok(stream) => stream,
        Err(found) => return found,
    };
    // An own port is no port of the service, so nothing is told there (HAProxy does the same).
    let mut request = Vec::new();
    if check.port.is_none() {
        proxy_protocol::put(&mut request, proxy, None);
    }
    if let Some(name) = &check.dns_name {
        if stream.write_all(&request).await.is_err() {
            return Found::new("L4CON", "Layer4 connection problem");
        }
        return ask_dns::by_connection(&mut stream, name, check, answer_by()).await;
    }
    let Some(path) = &check.http_path else {
        let told = request.is_empty() || stream.write_all(&request).await.is_ok();
        return if told {
            Found::new("L4OK", "Layer4 check passed")
        } else {
            Found::new("L4CON", "Layer4 connection problem")
        };
    };
    let host = match &check.http_host {
        Some(host) => host.as_str().to_owned(),
        None => address.to_string(),
    };
    let method = check.http_method;
    request.extend_from_slice(
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes(),
    );
    match tokio::time::timeout_at(answer_by(), ask(&mut stream, &request, check)).await {
        Ok(mut found) => {
            if up && check.disable_on_404 && found.code == Some(404) {
                found = Found { code: found.code, ..Found::new("L7OKC", CONDITIONAL) };
            }
            found
        }
        Err(_) => Found::new("L7TOUT", "Layer7 timeout"),
    }
}

const CONDITIONAL: &str = "Layer7 check conditionally passed";

async fn ask(stream: &mut TcpStream, request: &[u8], check: &Check) -> Found {
    if let Err(e) = stream.write_all(request).await {
        return Found::new("L4CON", format!("Layer4 connection problem: {}", plain(&e)));
    }
    let mut answer = Vec::new();
    let mut status: Option<Found> = None;
    let mut part = [0_u8; 2048];
    loop {
        let n = stream.read(&mut part).await.unwrap_or(0);
        let ended = n == 0;
        answer.extend_from_slice(&part[..n]);
        let first = memchr::memchr(b'\n', &answer);
        if status.is_none() {
            match first {
                Some(end) => status = Some(judge(&answer[..end], check)),
                None if ended => {
                    let text = "Layer7 invalid response: the server closed the connection";
                    return Found::new("L7RSP", text);
                }
                None if answer.len() > STATUS_LINE => {
                    return Found::new("L7RSP", "Layer7 invalid response");
                }
                None => {}
            }
        }
        let Some(found) = &status else { continue };
        let Some(wanted) = &check.expect_string else { return found.clone() };
        if !found.passed() {
            return found.clone();
        }
        let body = memchr::memmem::find(&answer, b"\r\n\r\n").map(|at| &answer[at + 4..]);
        if body.is_some_and(|b| memchr::memmem::find(b, wanted.as_str().as_bytes()).is_some()) {
            return found.clone();
        }
        if ended || answer.len() >= RESPONSE {
            let text = "Layer7 invalid response: HTTP content check did not match";
            return Found { code: found.code, ..Found::new("L7RSP", text) };
        }
    }
}

/// A status line. Good are the expected statuses, or 2xx and 3xx where nothing is expected; where
/// only a text is, any (HAProxy's rule replaces the default one).
pub(super) fn judge(line: &[u8], check: &Check) -> Found {
    let code = line
        .strip_prefix(b"HTTP/1.")
        .and_then(|rest| rest.get(2..5))
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| digits.parse::<u16>().ok())
        .filter(|code| (100..600).contains(code));
    let Some(code) = code else { return Found::new("L7RSP", "Layer7 invalid response") };
    let good = match (&check.expect_status, &check.expect_string) {
        (Some(statuses), _) => statuses.has(code),
        (None, Some(_)) => true,
        (None, None) => (200..400).contains(&code),
    };
    if good {
        return Found { code: Some(code), ..Found::new("L7OK", "Layer7 check passed") };
    }
    let reason = line.get(13..).unwrap_or_default().trim_ascii();
    let reason: String =
        String::from_utf8_lossy(reason).chars().filter(|c| !c.is_control()).take(60).collect();
    let text = format!("Layer7 wrong status: {code} {reason}");
    Found { code: Some(code), ..Found::new("L7STS", text.trim_end()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::CheckMethod;
    use std::net::SocketAddr;

    #[test]
    fn status_lines() {
        let plain = Check::default();
        assert_eq!(judge(b"HTTP/1.1 200 OK\r", &plain).word, "L7OK");
        assert_eq!(judge(b"HTTP/1.0 302 Found", &plain).code, Some(302));
        let bad = judge(b"HTTP/1.1 503 Service Unavailable\r", &plain);
        assert_eq!((bad.word, bad.code), ("L7STS", Some(503)));
        assert_eq!(bad.text, "Layer7 wrong status: 503 Service Unavailable");
        for line in [&b"HTTP/1.1 20"[..], b"SSH-2.0-x", b"", b"HTTP/1.1 xyz", b"HTTP/2 200"] {
            assert_eq!(judge(line, &plain).word, "L7RSP", "{line:?}");
        }
        let expects = Check { expect_status: "401,503".parse().ok(), ..Check::default() };
        assert_eq!(judge(b"HTTP/1.1 503 X", &expects).word, "L7OK");
        assert_eq!(judge(b"HTTP/1.1 200 X", &expects).word, "L7STS");
    }

    /// One answer for each connection; returns the address and the requests.
    async fn server(
        answer: &'static [u8],
    ) -> (SocketAddrV4, std::sync::Arc<tokio::sync::Mutex<Vec<u8>>>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!() };
        let seen = std::sync::Arc::new(tokio::sync::Mutex::new(Vec::new()));
        let own = std::sync::Arc::clone(&seen);
        tokio::spawn(async move {
            loop {
                let (mut io, _) = listener.accept().await.unwrap();
                let mut part = [0; 1024];
                let n = io.read(&mut part).await.unwrap_or(0);
                own.lock().await.extend_from_slice(&part[..n]);
                // In two pieces.
                let (a, b) = answer.split_at(answer.len() / 2);
                let _ = io.write_all(a).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
                let _ = io.write_all(b).await;
            }
        });
        (address, seen)
    }

    async fn word(address: SocketAddrV4, check: &Check) -> (&'static str, Option<u16>) {
        let found = probe(address, check, (Mode::Http, SendProxy::Off), true).await;
        (found.word, found.code)
    }

    #[tokio::test]
    async fn connections() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!() };
        let plain = Check { inter: model::Millis(300), ..Check::default() };
        assert_eq!(word(address, &plain).await, ("L4OK", None));
        // Nobody answers.
        let asks = Check { http_path: "/".parse().ok(), ..plain.clone() };
        assert_eq!(word(address, &asks).await, ("L7TOUT", None));
        drop(listener);
        assert_eq!(word(address, &plain).await, ("L4CON", None));
    }

    #[tokio::test]
    async fn what_is_asked_and_expected() {
        let (address, seen) = server(b"HTTP/1.1 404 Not Found\r\nX: ok\r\n\r\nall is well").await;
        let check = Check {
            inter: model::Millis::seconds(5),
            http_path: "/alive".parse().ok(),
            http_method: CheckMethod::Options,
            http_host: "h.example".parse().ok(),
            ..Check::default()
        };
        assert_eq!(word(address, &check).await, ("L7STS", Some(404)));
        let seen = String::from_utf8(seen.lock().await.clone()).unwrap();
        let want = "OPTIONS /alive HTTP/1.1\r\nHost: h.example\r\nConnection: close\r\n\r\n";
        assert_eq!(seen, want);
        let drains = Check { disable_on_404: true, ..check.clone() };
        assert_eq!(word(address, &drains).await, ("L7OKC", Some(404)));
        // A server that is down stays down.
        let found = probe(address, &drains, (Mode::Http, SendProxy::Off), false).await;
        assert_eq!(found.word, "L7STS");
        let text = Check { expect_string: "is well".parse().ok(), ..check.clone() };
        assert_eq!(word(address, &text).await, ("L7OK", Some(404)));
        // A text in a header is none in the content.
        let header = Check { expect_string: "X: ok".parse().ok(), ..check.clone() };
        assert_eq!(word(address, &header).await, ("L7RSP", Some(404)));
        let both = Check { expect_status: "200".parse().ok(), ..text };
        assert_eq!(word(address, &both).await, ("L7STS", Some(404)));
    }

    #[tokio::test]
    async fn the_proxy_protocol_comes_first() {
        let (address, seen) = server(b"HTTP/1.1 200 OK\r\n\r\n").await;
        let check = Check {
            inter: model::Millis::seconds(5),
            http_path: "/".parse().ok(),
            ..Check::default()
        };
        assert_eq!(probe(address, &check, (Mode::Http, SendProxy::V1), true).await.word, "L7OK");
        assert!(seen.lock().await.starts_with(b"PROXY UNKNOWN\r\nGET / "));
    }
}
