//! A small HTTP/1.1 client for tests: one request, one connection, everything read.

use crate::error::{Doing, Error, Result};
use crate::netns::Namespace;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// More than any page of the appliance; a body that does not end is a failure.
const MOST: usize = 32 * 1024 * 1024;

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `PUT` and so on.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Besides `Host`, `Connection` and `Content-Length`.
    pub headers: Vec<(String, String)>,
    /// What is sent after the head.
    pub body: Vec<u8>,
    /// For the whole exchange.
    pub timeout: Duration,
}

impl Request {
    /// A request without headers or body of its own.
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: Duration::from_secs(10),
        }
    }

    /// `GET path`.
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body and its type.
    #[must_use]
    pub fn body(self, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        let mut request = self.header("Content-Type", kind);
        request.body = body.into();
        request
    }

    /// Sets the time for the whole exchange.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn bytes(&self, addr: SocketAddr) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        if !self.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case("host")) {
            head.push_str(&format!("Host: {addr}\r\n"));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.body.is_empty() || self.method != "GET" {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        head.push_str("Connection: close\r\n\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// A response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// All headers in order.
    pub headers: Vec<(String, String)>,
    /// The body, without any transfer coding.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// With status and body, when it is none.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).map_err(|e| {
            let text: String = self.text().chars().take(300).collect();
            Error::other(format!("no JSON ({e}) in an answer {}: {text}", self.status))
        })
    }
}

/// Sends a request from inside a namespace.
///
/// # Errors
/// When the connection fails, the time is over, or the answer is no HTTP.
pub fn request(space: &Namespace, addr: SocketAddr, request: &Request) -> Result<Response> {
    space.within(|| send(addr, request))?
}

/// Sends a request from where the caller is.
///
/// # Errors
/// As [`request`].
pub fn send(addr: SocketAddr, request: &Request) -> Result<Response> {
    let deadline = Instant::now() + request.timeout;
    let mut stream = TcpStream::connect_timeout(&addr, request.timeout)
        .doing(|| format!("connecting to {addr}"))?;
    stream.set_write_timeout(Some(request.timeout)).doing(|| "setting a timeout".to_owned())?;
    // A server may refuse a large body before it has read all of it: its answer counts.
    let sent = stream.write_all(&request.bytes(addr));
    let mut raw = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    let what = || format!("{} http://{addr}{}", request.method, request.path);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::other(format!("{}: no whole answer in time", what())));
        }
        stream.set_read_timeout(Some(left)).doing(|| "setting a timeout".to_owned())?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => raw.extend_from_slice(chunk.get(..n).unwrap_or_default()),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => {
                // A reset after a whole answer is how a refused upload often ends.
                return parse(&raw, &request.method)
                    .map_err(|_| Error::Io { what: what(), source: e });
            }
        }
        if raw.len() > MOST {
            return Err(Error::other(format!("{}: the answer does not end", what())));
        }
        // Some servers keep the connection although they were asked not to.
        if let Ok(response) = parse(&raw, &request.method) {
            if response.header("content-length").is_some() || response.status == 304 {
                return Ok(response);
            }
        }
    }
    sent.doing(what).or_else(|e| if raw.is_empty() { Err(e) } else { Ok(()) })?;
    parse(&raw, &request.method)
        .map_err(|e| Error::other(format!("{} {}: {e}", what(), String::from_utf8_lossy(&raw))))
}

/// Reads a whole response; an incomplete one is an error.
fn parse(raw: &[u8], method: &str) -> Result<Response> {
    let short = || Error::other("the answer ends too early");
    let head_end = raw.windows(4).position(|w| w == b"\r\n\r\n").ok_or_else(short)?;
    let (head, body) = raw.split_at(head_end + 4);
    let head = String::from_utf8_lossy(head);
    let mut lines = head.trim_end().split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.get(2..5))
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| Error::other(format!("no HTTP: {status_line:?}")))?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect();
    let mut response = Response { status, headers, body: Vec::new() };
    if (100..200).contains(&status) {
        return parse(body, method);
    }
    if method == "HEAD" || status == 204 || status == 304 {
        return Ok(response);
    }
    let chunked = response
        .header("transfer-encoding")
        .is_some_and(|v| v.to_ascii_lowercase().ends_with("chunked"));
    response.body = if chunked {
        dechunk(body).ok_or_else(short)?
    } else if let Some(length) = response.header("content-length") {
        let length = length.parse().map_err(|_| Error::other("a bad Content-Length"))?;
        body.get(..length).ok_or_else(short)?.to_vec()
    } else {
        body.to_vec()
    };
    Ok(response)
}

fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|w| w == b"\r\n")?;
        let (line, after) = rest.split_at(end);
        let size = std::str::from_utf8(line).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        let after = after.get(2..)?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(after.get(..size)?);
        rest = after.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_body_of_known_length_and_a_chunked_one() {
        let r = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "GET").unwrap();
        assert_eq!((r.status, r.text().as_str()), (200, "hi"));
        let raw = b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
        let r = parse(raw, "GET").unwrap();
        assert_eq!((r.status, r.text().as_str()), (503, "abcd"));
    }

    #[test]
    fn an_incomplete_answer_is_an_error() {
        for raw in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhi",
            b"HTTP/1.1 200 OK\r\nContent-",
            b"SSH-2.0-x\r\n\r\n",
        ] {
            assert!(parse(raw, "GET").is_err(), "{}", String::from_utf8_lossy(raw));
        }
    }
}
