//! What an HTTP/2 server must do with good, odd and hostile frames, over real sockets, and what
//! HAProxy 2.6 does with the same bytes. Each difference has a reason.
//!
//! A verdict is what becomes of the case's streams: a status, the code of a reset, or both. Or else
//! of the connection: "goaway" and a code, or "x" when it ends without a word. One that goes on must
//! serve the next request.

mod connections;
mod floods;
mod heads;
mod messages;

use crate::common::haproxy::{Haproxy, server_line};
use crate::common::{Scripted, free_port};
use crate::raw::{CONTINUATION, END_HEADERS, END_STREAM, HEADERS, Raw, block, frame};
use crate::visit::one;

/// The stream of the request that comes behind a case.
const NEXT: u32 = 1001;

/// One table's line.
pub struct Case {
    pub name: &'static str,
    /// What is sent behind the greeting.
    pub bytes: Vec<u8>,
    /// The streams that are waited for.
    pub streams: &'static [u32],
    /// What we make of it.
    pub ours: &'static str,
    /// What HAProxy makes of it, and why we do not, where that is something else.
    pub theirs: Option<(&'static str, &'static str)>,
}

impl Case {
    /// A case of stream 1.
    fn new(name: &'static str, bytes: Vec<u8>, ours: &'static str) -> Self {
        Self { name, bytes, streams: &[1], ours, theirs: None }
    }

    const fn but(mut self, theirs: &'static str, why: &'static str) -> Self {
        self.theirs = Some((theirs, why));
        self
    }

    const fn streams(mut self, streams: &'static [u32]) -> Self {
        self.streams = streams;
        self
    }
}

// Reasons that hold for more than one case.
const MALFORMED: &str =
    "the library ends the connection over what cannot be a field, as RFC 9113 5.4.1 lets it";
const WHOLE: &str = "RFC 9113 5.4.1 lets a fault of a stream end the connection";
const CODE: &str = "the connection ends; RFC 9113 5.4.1 leaves open which of the codes says so";
const ONLY: &str = "it is this request's fault, and others go on";
const WHO: &str = "who is meant must be clear (RFC 9113 8.3.1, RFC 9112 3.2)";
const FAULT: &str = "it is the visitor's fault and not ours";
const ONCE: &str = "a length is said once (RFC 9110 8.6 lets us refuse it)";
const AS_EVER: &str = "what is too much over HTTP/1.1 is too much here";

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "a.example"), (":path", "/")];

/// A head in as many frames as it needs.
fn in_frames(flags: u8, stream: u32, block: &[u8]) -> Vec<u8> {
    let mut parts = block.chunks(16_384).peekable();
    let mut kind = (HEADERS, flags);
    let mut out = Vec::new();
    while let Some(part) = parts.next() {
        let last = if parts.peek().is_none() { END_HEADERS } else { 0 };
        out.extend(frame(kind.0, kind.1 | last, stream, part));
        kind = (CONTINUATION, 0);
    }
    out
}

/// The head of these fields on a stream.
fn head(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    in_frames(0, stream, &block(fields))
}

/// The same with nothing behind it.
fn request(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    in_frames(END_STREAM, stream, &block(fields))
}

/// `GET`, and then these fields.
fn get_with<'a>(fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&GET, fields].concat()
}

/// The same with another value of a pseudo-header; None: without it.
fn get_but<'a>(name: &str, value: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
    let other =
        |(n, v): (&'a str, &'a str)| if n == name { Some((n, value?)) } else { Some((n, v)) };
    GET.into_iter().filter_map(other).collect()
}

fn verdict(mut raw: Raw, case: &Case) -> String {
    raw.greet();
    raw.send(&case.bytes);
    let next = get_but(":path", Some("/next"));
    raw.send(&request(NEXT, &next));
    let all = raw.read(|raw| {
        let ended = |stream| raw.answers.get(stream).is_some_and(|a| a.ended);
        raw.goaway.is_some_and(|code| code != "NO_ERROR")
            || [NEXT].iter().chain(case.streams).all(ended)
    });
    if let Some(code) = raw.goaway.filter(|code| *code != "NO_ERROR") {
        raw.read(|_| false);
        return format!("goaway {code}");
    }
    if !all {
        return "x".to_owned();
    }
    let next = raw.answers.remove(&NEXT).unwrap_or_default();
    assert_eq!((next.status, next.reset), (Some(200), None), "{}: the next request", case.name);
    let one = |stream: &u32| {
        let answer = &raw.answers[stream];
        let status = answer.status.map(|s| s.to_string());
        let all: Vec<String> = status.into_iter().chain(answer.reset.map(str::to_owned)).collect();
        all.join(" ")
    };
    case.streams.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Runs a table against us and against HAProxy.
fn compare(cases: &[Case]) {
    let (web, theirs) = (Scripted::echo(), Scripted::echo());
    let proxy = one(&web);
    let port = free_port();
    let bind = format!("bind 127.0.0.1:{port} proto h2");
    let haproxy = Haproxy::start(&[&bind], &[server_line("s1", theirs.address, "")]);
    let mut wrong = Vec::new();
    for case in cases {
        let ours = verdict(Raw::secure(proxy.port), case);
        if ours != case.ours {
            wrong.push(format!("{}: {ours:?}, not {:?}", case.name, case.ours));
        }
        let want = case.theirs.map_or(case.ours, |(verdict, _)| verdict);
        let found = verdict(Raw::plain(port), case);
        if found != want {
            wrong.push(format!("{}: HAProxy says {found:?}, not {want:?}", case.name));
        }
    }
    drop(haproxy);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Nothing that was hidden in another request has become one.
    let hidden = |requests: Vec<String>| requests.iter().any(|r| r.contains("hidden"));
    assert!(!hidden(web.requests()), "{:?}", web.requests());
}

#[test]
fn heads() {
    compare(&heads::table());
}

#[test]
fn messages() {
    compare(&messages::table());
}

#[test]
fn connections() {
    compare(&connections::table());
}

#[test]
fn floods() {
    compare(&floods::table());
}
