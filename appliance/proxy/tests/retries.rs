//! What is tried again because the operator says so, beside a real HAProxy: the same requests, the
//! same failing server, and the same reaches the server that works.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use common::haproxy::{Haproxy, server_line};
use common::{Conn, Peer, Proxy, Scripted, free_port, server, settings, until};
use model::{Millis, RetryOn, Weight};
use std::sync::atomic::Ordering::SeqCst;

/// The longest content HAProxy keeps besides the head: its buffer less what it reserves.
const FITS: usize = 15_000;

type Script = fn(&mut Peer);

fn unavailable(peer: &mut Peer) {
    while peer.request().is_some() {
        peer.send("HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n");
    }
}

fn hangs_up(peer: &mut Peer) {
    peer.request();
}

fn talks_junk(peer: &mut Peer) {
    peer.request();
    peer.send("what?\r\n\r\n");
}

/// Until it is left.
fn says_nothing(peer: &mut Peer) {
    while peer.request().is_some() {}
}

/// How a server fails, and what that is called.
const FAILURES: &[(RetryOn, Script)] = &[
    (RetryOn::Unavailable, unavailable),
    (RetryOn::EmptyResponse, hangs_up),
    (RetryOn::JunkResponse, talks_junk),
    (RetryOn::ResponseTimeout, says_nothing),
];

/// Content in which a piece that is missing or there twice shows.
fn content(size: usize) -> String {
    (0..size).map(|i| char::from(b'a' + u8::try_from((i / 7 + i) % 26).unwrap())).collect()
}

fn whole(method: &str, size: usize) -> String {
    let content = content(size);
    format!("{method} /x HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n{content}")
}

fn chunked(size: usize, piece: usize) -> String {
    let mut text = "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    for part in content(size).as_bytes().chunks(piece) {
        text += &format!("{:x}\r\n{}\r\n", part.len(), String::from_utf8_lossy(part));
    }
    text + "0\r\n\r\n"
}

/// A request's content, however it is framed.
fn content_of(request: &str) -> String {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return body.to_owned();
    }
    let (mut rest, mut all) = (body, String::new());
    while let Some((size, data)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        all += &data[..size];
        rest = if size == 0 { "" } else { &data[size + 2..] };
    }
    all
}

/// A server that fails and nearly always comes first, one that works, and both balancers before
/// them.
struct Pair {
    bad: Scripted,
    good: Scripted,
    ours: Proxy,
    theirs: Haproxy,
}

fn pair(failure: &(RetryOn, Script), redispatch: bool, rules: &[&str]) -> Pair {
    let (retry_on, script) = *failure;
    let (bad, good) = (Scripted::new(script), Scripted::named("good"));
    let mut servers = vec![server("bad", bad.address), server("good", good.address)];
    servers[0].weight = Weight::new(200).unwrap();
    let mut all = settings(free_port(), servers);
    all.frontends[0].rules = rules.iter().map(|r| r.parse().unwrap()).collect();
    all.backends[0].retry_on = vec![retry_on];
    all.backends[0].retries = 2;
    all.backends[0].redispatch = redispatch;
    all.backends[0].timeout_server = Millis(600);
    assert_eq!(model::check(&all), []);
    let mut lines = vec![
        format!("retry-on {}", retry_on.keyword()),
        "retries 2".to_owned(),
        "timeout server 600".to_owned(),
        server_line("bad", bad.address, "weight 200"),
        server_line("good", good.address, "weight 1"),
    ];
    if redispatch {
        lines.push("option redispatch".to_owned());
    }
    Pair { ours: Proxy::with(all, 1, None), theirs: Haproxy::start(rules, &lines), bad, good }
}

impl Pair {
    /// The answer's status, how often the failing server was asked, and what the other one got.
    fn outcome(&self, mut conn: Conn, request: &str) -> (u16, usize, Vec<String>) {
        let (bad, good) = (self.bad.requests().len(), self.good.requests().len());
        conn.send(request.as_bytes());
        let status = conn.answer(false).unwrap().status;
        let good = self.good.requests()[good..].iter().map(|r| content_of(r)).collect();
        (status, self.bad.requests().len() - bad, good)
    }

    fn both(&self, name: &str, request: &str) -> (u16, usize, Vec<String>) {
        let ours = self.outcome(self.ours.connect(), request);
        let theirs = self.outcome(self.theirs.connect(), request);
        assert_eq!(ours, theirs, "{name}");
        ours
    }
}

#[test]
fn what_fits_in_a_buffer_is_sent_again() {
    for failure in FAILURES {
        let pair = pair(failure, true, &[]);
        let sent = |size: usize| (200, 1, vec![content(size)]);
        for (name, request, size) in [
            ("no content", whole("POST", 0), 0),
            ("some", whole("POST", 1024), 1024),
            ("of a method that may be repeated", whole("PUT", 1024), 1024),
            ("all that fits", whole("POST", FITS), FITS),
            ("in one chunk", chunked(1024, 1024), 1024),
            ("in many chunks", chunked(5000, 99), 5000),
        ] {
            let name = format!("{}: {name}", failure.0);
            assert_eq!(pair.both(&name, &request), sent(size), "{name}");
        }
        for (name, request) in
            [("too long", whole("POST", 20_000)), ("too long, in chunks", chunked(40_000, 4000))]
        {
            let name = format!("{}: {name}", failure.0);
            let (status, asked, passed) = pair.both(&name, &request);
            assert!(status >= 500 && asked == 1 && passed.is_empty(), "{name}: {status}");
        }
    }
}

/// HAProxy has the whole request before it begins to send it, or keeps nothing.
#[test]
fn content_may_come_later_than_the_head() {
    let pair = pair(&FAILURES[0], true, &[]);
    for request in [whole("POST", FITS), chunked(FITS, 1000)] {
        let (head, body) = request.split_at(request.find("\r\n\r\n").unwrap() + 4);
        let before = pair.bad.connections.load(SeqCst);
        let mut conn = pair.ours.connect();
        conn.send(head.as_bytes());
        until("a server is connected to", || pair.bad.connections.load(SeqCst) > before);
        for part in body.as_bytes().chunks(4000) {
            conn.send(part);
        }
        assert_eq!(conn.answer(false).unwrap().body, b"good");
        let got = pair.good.requests();
        assert_eq!(content_of(got.last().unwrap()), content(FITS));
        // The connection goes on.
        assert_eq!(conn.get("/").unwrap().body, b"good");
    }
    until("all is counted", || pair.ours.status().backends[0].traffic.scur == 0);
    let back = &pair.ours.status().backends[0];
    let (bad, good) = (&back.servers[0].traffic, &back.servers[1].traffic);
    assert!(bad.bin > 30_000 && good.bin > 30_000, "{} {}", bad.bin, good.bin);
}

#[test]
fn without_redispatch_the_same_server_is_asked_again() {
    for failure in &FAILURES[..2] {
        let pair = pair(failure, false, &[]);
        for request in [whole("POST", 1024), whole("GET", 0)] {
            let name = failure.0.to_string();
            let (status, asked, passed) = pair.both(&name, &request);
            assert!(status >= 500 && asked == 3 && passed.is_empty(), "{name}: {status} {asked}");
        }
    }
}

#[test]
fn a_rule_can_forbid_it() {
    let pair = pair(&FAILURES[0], true, &["http-request disable-l7-retry if METH_POST"]);
    assert_eq!(pair.both("a form", &whole("POST", 10)), (503, 1, Vec::new()));
    assert_eq!(pair.both("a page", &whole("GET", 0)), (200, 1, vec![String::new()]));
    let mut posts = pair.ours.connect();
    posts.send(whole("POST", 10).as_bytes());
    assert_eq!(posts.answer(false).unwrap().status, 503);
}

#[test]
fn without_retry_on_every_answer_is_passed_on() {
    let mut pair = pair(&FAILURES[0], true, &[]);
    pair.ours.change(|s| s.backends[0].retry_on.clear());
    for request in [whole("GET", 0), whole("POST", 1024)] {
        let (status, asked, passed) = pair.outcome(pair.ours.connect(), &request);
        assert!((status, asked) == (503, 1) && passed.is_empty());
    }
    // The last answer is passed on rather than replaced.
    pair.ours.change(|s| {
        s.backends[0].retry_on = vec![RetryOn::Unavailable];
        s.backends[0].servers.pop();
    });
    let (status, asked, _) = pair.outcome(pair.ours.connect(), &whole("POST", 10));
    assert_eq!((status, asked), (503, 3));
    until("it is counted", || pair.ours.status().backends[0].servers[0].wretr == 2);
}
