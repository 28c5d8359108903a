//! The same bytes to our proxy and to a real HAProxy, each in front of a server that records what
//! it is sent: what one passes on and the other refuses is a difference that needs a reason.
//!
//! The requests are made from a grammar of what is right and what is nearly right about the framing
//! of messages. `DIFF_CASES=50000` makes more of them, `DIFF_FROM=1000` others; the same number is the
//! same case again.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

mod common;
mod differential_cases;

use common::haproxy::{Haproxy, server_line};
use common::{Proxy, free_port, server, settings};
use differential_cases::{Case, HAPROXY, REASONS, WE};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request as a strict server reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub fields: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Seen {
    /// The values of a field.
    pub fn values(&self, name: &str) -> Vec<&[u8]> {
        let of_name = self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        of_name.map(|(_, v)| v.as_slice()).collect()
    }

    /// What two servers must agree on. An absolute form is the same as a path with a Host.
    fn essence(&self) -> (&str, &str, &[u8]) {
        let target = match self.target.split_once("://") {
            Some((_, rest)) => rest.find(['/', '?']).map_or("", |at| &rest[at..]),
            None => &self.target,
        };
        let target = if target.is_empty() && self.method == "OPTIONS" { "*" } else { target };
        let slash = target.is_empty() || target.starts_with('?');
        (&self.method, if slash && target.is_empty() { "/" } else { target }, &self.body)
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.target)?;
        for (name, value) in &self.fields {
            write!(f, " | {name}: {}", value.escape_ascii())?;
        }
        write!(f, " || {}", self.body.escape_ascii())
    }
}

/// What a server was sent.
#[derive(Default)]
struct Record {
    requests: Vec<Seen>,
    /// Bytes that are no request.
    junk: Vec<String>,
}

/// A server that reads strictly, records, and answers everything with 200.
struct Recorder {
    address: SocketAddrV4,
    record: Arc<Mutex<Record>>,
}

impl Recorder {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { unreachable!() };
        let record: Arc<Mutex<Record>> = Arc::default();
        let all = Arc::clone(&record);
        std::thread::spawn(move || {
            while let Ok((io, _)) = listener.accept() {
                let record = Arc::clone(&all);
                std::thread::spawn(move || serve(io, &record));
            }
        });
        Self { address, record }
    }

    fn take(&self) -> Record {
        std::mem::take(&mut self.record.lock().unwrap())
    }
}

/// One connection of a recorder.
fn serve(mut io: TcpStream, record: &Mutex<Record>) {
    io.set_nodelay(true).unwrap();
    let mut buffer = Vec::new();
    let mut part = vec![0_u8; 65536];
    let mut invited = false;
    loop {
        match read_request(&buffer) {
            Ok(Some((seen, used))) => {
                let length = if seen.method == "HEAD" { "" } else { "ok" };
                record.lock().unwrap().requests.push(seen);
                buffer.drain(..used);
                invited = false;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{length}");
                if io.write_all(head.as_bytes()).is_err() {
                    return;
                }
                continue;
            }
            Ok(None) => {}
            Err(why) => {
                let text = format!("{why}: {}", buffer.escape_ascii());
                return record.lock().unwrap().junk.push(text);
            }
        }
        let head = buffer.windows(4).any(|w| w == b"\r\n\r\n");
        if head && !invited && buffer.to_ascii_lowercase().windows(7).any(|w| w == b"expect:") {
            invited = true;
            let _ = io.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        match io.read(&mut part) {
            Ok(n) if n > 0 => buffer.extend_from_slice(&part[..n]),
            _ => return,
        }
    }
}

/// One whole request at the start of `input` and its length; None while it is not whole.
fn read_request(input: &[u8]) -> Result<Option<(Seen, usize)>, &'static str> {
    let Some(end) = input.windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(None) };
    let head = &input[..end];
    let mut lines = Vec::new();
    let mut rest = head;
    while let Some(at) = rest.windows(2).position(|w| w == b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    lines.push(rest);
    if lines.iter().any(|l| l.iter().any(|b| b"\r\n".contains(b))) {
        return Err("bare CR or LF");
    }
    let first = String::from_utf8_lossy(lines[0]).into_owned();
    let words: Vec<&str> = first.split(' ').collect();
    let [method, target, version] = words[..] else { return Err("request line") };
    if !version.starts_with("HTTP/1.") {
        return Err("version");
    }
    let mut fields = Vec::new();
    for line in &lines[1..] {
        let colon = line.iter().position(|b| *b == b':').ok_or("no colon")?;
        let name = String::from_utf8_lossy(&line[..colon]).into_owned();
        if name.is_empty() || name.contains([' ', '\t']) {
            return Err("name");
        }
        fields.push((name, line[colon + 1..].trim_ascii().to_vec()));
    }
    let mut seen = Seen { method: method.into(), target: target.into(), fields, body: Vec::new() };
    let (lengths, codings) = (seen.values("content-length"), seen.values("transfer-encoding"));
    let at = end + 4;
    let (body, used) = match (&lengths[..], &codings[..]) {
        ([], []) => (Vec::new(), at),
        ([length], []) => {
            let length: usize = std::str::from_utf8(length)
                .ok()
                .filter(|l| l.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|l| l.parse().ok())
                .ok_or("length")?;
            match input.get(at..at.saturating_add(length)) {
                Some(body) => (body.to_vec(), at + length),
                None => return Ok(None),
            }
        }
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => {
            match read_chunks(&input[at..])? {
                Some((body, used)) => (body, at + used),
                None => return Ok(None),
            }
        }
        _ => return Err("framing"),
    };
    seen.body = body;
    Ok(Some((seen, used)))
}

fn read_chunks(input: &[u8]) -> Result<Option<(Vec<u8>, usize)>, &'static str> {
    let mut body = Vec::new();
    let mut at = 0;
    let line = |at: usize| {
        let end = input[at..].windows(2).position(|w| w == b"\r\n")?;
        Some((&input[at..at + end], at + end + 2))
    };
    loop {
        let Some((size, next)) = line(at) else { return Ok(None) };
        let size = size.split(|b| *b == b';').next().unwrap_or_default();
        let size = std::str::from_utf8(size).map_err(|_| "chunk size")?;
        if size.is_empty() || !size.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err("chunk size");
        }
        let size = usize::from_str_radix(size, 16).map_err(|_| "chunk size")?;
        at = next;
        if size == 0 {
            loop {
                let Some((trailer, next)) = line(at) else { return Ok(None) };
                at = next;
                if trailer.is_empty() {
                    return Ok(Some((body, at)));
                }
            }
        }
        let Some(data) = input.get(at..at.saturating_add(size + 2)) else { return Ok(None) };
        if !data.ends_with(b"\r\n") {
            return Err("chunk end");
        }
        body.extend_from_slice(&data[..size]);
        at += size + 2;
    }
}

/// Ends every case: whoever has understood all before it closes after this one.
const LAST: &[u8] = b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

fn send(port: u16, bytes: &[u8]) -> TcpStream {
    let mut io = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    io.set_nodelay(true).unwrap();
    // Whoever refuses may have closed already.
    let _ = io.write_all(bytes);
    io
}

/// What came back. Who waits for more, because a body swallowed the last request, is told after a
/// while that there is none.
fn finish(mut io: TcpStream, patience: u64) -> (String, bool) {
    let mut text = Vec::new();
    let mut closed = false;
    for patience in [40, patience] {
        io.set_read_timeout(Some(Duration::from_millis(patience))).unwrap();
        let slow = |e: std::io::Error| {
            matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
        };
        closed = !io.read_to_end(&mut text).is_err_and(slow);
        if closed {
            break;
        }
        let _ = io.shutdown(Shutdown::Write);
    }
    (String::from_utf8_lossy(&text).into_owned(), closed)
}

/// The request that only one sends on, and where it is in what was sent.
pub struct Doubt<'a> {
    pub line: &'a [u8],
    pub fields: &'a [u8],
    pub rest: &'a [u8],
    pub seen: &'a Seen,
}

impl<'a> Doubt<'a> {
    fn new(bytes: &'a [u8], before: &[Seen], seen: &'a Seen) -> Self {
        let mut at = 0;
        for request in before.iter().chain([seen]) {
            let target = request.target.as_bytes();
            let find = |what: &[u8]| {
                let mut all = bytes[at..].windows(what.len() + 1);
                all.position(|w| b" \t".contains(&w[0]) && w[1..].eq_ignore_ascii_case(what))
            };
            // An absolute form may be sent on in other words.
            let port = request.target.replacen("://h/", "://h:80/", 1);
            let whole = format!("http://h{}", request.target.trim_start_matches('/'));
            let found = [find(target), find(port.as_bytes()), find(whole.as_bytes())];
            let found = found.into_iter().flatten().min().or_else(|| find(b"http://"));
            at += found.map_or(0, |n| n + 1);
        }
        let start = bytes[..at].iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
        let rest = &bytes[start..];
        let line = rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |n| n + 1);
        let (line, rest) = rest.split_at(line);
        let none = rest.starts_with(b"\n") || rest.starts_with(b"\r\n");
        let end = (0..rest.len()).find(|n| {
            let left = &rest[*n..];
            left.starts_with(b"\n\n") || left.starts_with(b"\n\r\n")
        });
        let (fields, rest) =
            rest.split_at(if none { 0 } else { end.map_or(rest.len(), |n| n + 1) });
        Self { line, fields, rest, seen }
    }
}

/// What differs, or nothing.
fn difference(case: &Case, ours: &Record, theirs: &Record) -> Option<String> {
    if !ours.junk.is_empty() {
        return Some(format!("we sent on what is no request: {:?}", ours.junk));
    }
    let nul = |s: &&Seen| s.fields.iter().any(|(n, v)| n.contains('\0') || v.contains(&0));
    if let Some(seen) = ours.requests.iter().find(nul) {
        return Some(format!("we sent on a NUL: {seen}"));
    }
    if !theirs.junk.is_empty() {
        // What HAProxy sends on there, a strict server refuses.
        return None;
    }
    let mut pairs = ours.requests.iter().zip(&theirs.requests);
    if let Some((a, b)) = pairs.find(|(a, b)| a.essence() != b.essence()) {
        return Some(format!("understood differently:\n ours   {a}\n theirs {b}"));
    }
    let common = ours.requests.len().min(theirs.requests.len());
    let (who, all) = match (ours.requests.get(common), theirs.requests.get(common)) {
        (Some(_), _) => (HAPROXY, &ours.requests),
        (_, Some(_)) => (WE, &theirs.requests),
        _ => return None,
    };
    // What was the content of another request must not become one, whoever else refuses what.
    let smuggled = who == HAPROXY
        && (common.max(1)..all.len()).filter(|n| all[*n].target.contains("smuggled")).any(|n| {
            let before = Doubt::new(&case.bytes, &all[..n - 1], &all[n - 1]);
            let fields = before.fields.to_ascii_lowercase();
            let has = |name: &[u8]| fields.windows(name.len()).any(|w| w == name);
            has(b"content-length:") || has(b"transfer-encoding:")
        });
    let doubt = Doubt::new(&case.bytes, &all[..common], &all[common]);
    let excused = REASONS.iter().any(|r| r.who == who && (r.applies)(&doubt));
    (smuggled || !excused).then(|| {
        format!(
            "{who} what the other sends on: {}\n of {:?}{:?}",
            doubt.seen,
            doubt.line.escape_ascii().to_string(),
            doubt.fields.escape_ascii().to_string()
        )
    })
}

#[test]
fn what_one_sends_on_and_the_other_refuses_has_a_reason() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().map_or(default, |v| v.parse().expect("a number"))
    };
    let (count, from) = (number("DIFF_CASES", 300), number("DIFF_FROM", 0));
    let (ours, theirs) = (Recorder::start(), Recorder::start());
    let proxy = Proxy::start(settings(free_port(), vec![server("s1", ours.address)]));
    let haproxy = Haproxy::start(&[], &[server_line("s1", theirs.address, "")]);
    let mut failures = Vec::new();
    let (mut same, mut passed, mut excused) = (0_u64, 0_u64, 0_u64);
    for n in from..from + count {
        let mut case = Case::new(n);
        case.bytes.extend_from_slice(LAST);
        let (a, b) = (send(proxy.port, &case.bytes), send(haproxy.port, &case.bytes));
        // HAProxy takes CONNECT for the start of a tunnel, which nobody closes.
        let tunnel = case.bytes.windows(7).any(|w| w == b"CONNECT");
        let (b, _) = finish(b, if tunnel { 500 } else { 10_000 });
        let (a, a_closed) = finish(a, 10_000);
        let (ours, theirs) = (ours.take(), theirs.take());
        let text = case.bytes.escape_ascii().to_string();
        if !a_closed {
            failures.push(format!("case {n}: we do not close: {text}\n {a}"));
        }
        match difference(&case, &ours, &theirs) {
            Some(what) => failures.push(format!(
                "case {n}: {what}\n sent   {text}\n ours   {:?}\n theirs {:?}",
                statuses(&a),
                statuses(&b)
            )),
            None if ours.requests.len() == theirs.requests.len() => {
                same += 1;
                passed += u64::try_from(ours.requests.len()).unwrap();
            }
            None => excused += 1,
        }
        if failures.len() >= 40 {
            break;
        }
    }
    println!(
        "{same} cases alike with {passed} requests sent on, {excused} that differ with reason"
    );
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    // Otherwise the grammar makes nothing worth comparing.
    let enough = same > count / 2 && passed > count / 3;
    assert!(count < 100 || enough, "{same} {passed} {excused}");
}

fn statuses(text: &str) -> Vec<&str> {
    text.match_indices("HTTP/1.1 ").filter_map(|(at, m)| text[at + m.len()..].get(..3)).collect()
}
