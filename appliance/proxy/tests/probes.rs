//! Connections on which nothing, or nothing whole, is asked for: what the visitor is told and what
//! is counted, in columns, in the table that rules look at and in the log, beside a real HAProxy.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use common::haproxy::{Haproxy, Logs, server_line};
use common::{Conn, PATIENCE, Peer, Proxy, Scripted, free_port, server, settings, until};
use model::Millis;
use std::net::Shutdown;

/// What a visitor does before asking for `/` on another connection.
#[derive(Clone, Copy, Debug)]
enum Deed {
    /// Sends this and closes.
    Close(&'static [u8]),
    /// Sends this, ends its direction and reads.
    End(&'static [u8]),
    /// Sends this, and waits for what comes of it.
    Wait(&'static [u8]),
}
use Deed::{Close, End, Wait};

impl Deed {
    /// The status of the answer, where there is one to be read.
    fn by(self, mut conn: Conn) -> String {
        let (Close(bytes) | End(bytes) | Wait(bytes)) = self;
        conn.send(bytes);
        if matches!(self, End(_)) {
            conn.io.shutdown(Shutdown::Write).unwrap();
        }
        match self {
            Close(_) => "closed by us".to_owned(),
            _ => conn.rest(PATIENCE).chars().take(12).collect(),
        }
    }
}

/// What rules see of the visitor: requests and errors, as the status of an answer says.
const RULES: [&str; 6] = [
    "tcp-request connection track-sc0 src",
    "http-request deny deny_status 410 if { sc_http_err_cnt(0) gt 1 }",
    "http-request deny deny_status 429 if { sc_http_err_cnt(0) gt 0 } { sc_http_req_cnt(0) gt 2 }",
    "http-request deny deny_status 425 if { sc_http_err_cnt(0) gt 0 }",
    "http-request deny deny_status 501 if { sc_http_req_cnt(0) gt 2 }",
    "http-request deny deny_status 405 if { sc_http_req_cnt(0) gt 1 }",
];
const TABLE: &str = "type ip size 1k expire 1m store http_req_cnt,http_err_cnt";
const COLUMNS: [&str; 6] = ["ereq", "hrsp_4xx", "hrsp_5xx", "req_tot", "stot", "scur"];

fn site(peer: &mut Peer) {
    while peer.request().is_some() {
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    }
}

/// The columns, in what `;csv` says.
fn columns(csv: &str) -> [u64; 6] {
    let mut rows = csv.lines().map(|l| l.trim_start_matches("# ").split(',').collect());
    let names: Vec<&str> = rows.next().unwrap();
    let front: Vec<&str> = rows.find(|r: &Vec<&str>| r[..2] == ["front", "FRONTEND"]).unwrap();
    COLUMNS.map(|c| front[names.iter().position(|n| *n == c).unwrap()].parse().unwrap())
}

fn less(now: [u64; 6], before: [u64; 6]) -> [u64; 6] {
    std::array::from_fn(|i| now[i] - before[i])
}

struct Sides {
    ours: Proxy,
    theirs: Haproxy,
    logs: Logs,
    /// What HAProxy had counted before anybody came.
    before: [u64; 6],
    _site: Scripted,
}

fn sides(ignore: bool, dontlognull: bool) -> Sides {
    let site = Scripted::new(site);
    let mut all = settings(free_port(), vec![server("s", site.address)]);
    let front = &mut all.frontends[0];
    front.stick_table = Some(TABLE.parse().unwrap());
    front.rules = RULES.iter().map(|r| r.parse().unwrap()).collect();
    front.timeout_http_request = Millis(400);
    (front.http_ignore_probes, front.dontlognull) = (ignore, dontlognull);
    assert_eq!(model::check(&all), []);
    let logs = Logs::new();
    let (log, table) = (logs.directive(), format!("stick-table {TABLE}"));
    let mut lines = vec!["option httplog", "timeout http-request 400ms", &log, &table];
    lines.extend(RULES);
    lines.extend(ignore.then_some("option http-ignore-probes"));
    lines.extend(dontlognull.then_some("option dontlognull"));
    let theirs = Haproxy::start(&lines, &[server_line("s", site.address, "")]);
    // Its start was seen by a connection, empty as well.
    until("the first connection is counted", || {
        let [_, _, _, requests, sessions, now] = columns(&theirs.ask("show stat"));
        (sessions, now) == (1, 0) && (ignore || requests == 1)
    });
    if !ignore && !dontlognull {
        logs.next();
    }
    let before = columns(&theirs.ask("show stat"));
    theirs.ask("clear table front");
    Sides { ours: Proxy::start(all), theirs, logs, before, _site: site }
}

impl Sides {
    /// What both have counted, once so many visitors have come and nobody is there.
    fn counted(&self, visitors: u64) -> [[u64; 6]; 2] {
        let ours = || columns(&model::status::stat::csv(&self.ours.status()));
        let real = || less(columns(&self.theirs.ask("show stat")), self.before);
        until("the visitors are gone", || {
            [ours(), real()].iter().all(|c| (c[4], c[5]) == (visitors, 0))
        });
        [ours(), real()]
    }

    /// What comes of a deed, and of a request after it, on both sides; `visitors` were there before.
    fn both(&self, deed: Deed, visitors: u64) -> [String; 2] {
        let told = [deed.by(self.ours.connect()), deed.by(self.theirs.connect())];
        self.counted(visitors + 1);
        let asked = [self.ours.connect(), self.theirs.connect()]
            .map(|mut conn| conn.get("/").unwrap().status);
        let counted = self.counted(visitors + 2);
        std::array::from_fn(|i| format!("{} {} {:?}", told[i], asked[i], counted[i]))
    }
}

const CASES: [Deed; 8] = [
    Close(b""),
    End(b""),
    Wait(b""),
    Close(b"GET / HT"),
    End(b"GET / HT"),
    Wait(b"GET / HT"),
    End(b"\r\n"),
    End(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
];

#[test]
fn who_asks_for_nothing_is_counted_as_haproxy_counts() {
    for ignore in [false, true] {
        let mut seen = Vec::new();
        for deed in CASES {
            let sides = sides(ignore, true);
            let [ours, theirs] = sides.both(deed, 0);
            assert_eq!(ours, theirs, "{deed:?} with http-ignore-probes {ignore}: ours, HAProxy's");
            seen.push(ours);
        }
        // Not all the same: the empty ones are errors, unless they are to be ignored.
        let empty = if ignore { "closed by us 200" } else { "closed by us 425" };
        assert!(seen[0].starts_with(empty), "{seen:?}");
        assert!(
            seen[2].starts_with(if ignore { "[closed] 200" } else { "HTTP/1.1 408 405" }),
            "{seen:?}"
        );
    }
}

#[test]
fn empty_connections_are_logged_only_where_that_is_wanted() {
    for dontlognull in [false, true] {
        let sides = sides(false, dontlognull);
        for (n, deed) in [(0, Close(b"")), (2, Wait(b"")), (4, Close(b"GET"))] {
            sides.both(deed, n);
        }
        let wanted = if dontlognull { 4 } else { 6 };
        until("all is logged", || sides.ours.handle.recent_log().len() == wanted);
        let parts = |line: &str| {
            let (_, line) = line.split_once(" front ").unwrap();
            let words: Vec<&str> = line.split(' ').collect();
            // Where it went, the status and how it ended.
            [words[0], words[2], words[6]].join(" ")
        };
        let ours: Vec<_> = sides.ours.handle.recent_log().iter().map(|l| parts(l)).collect();
        let theirs: Vec<_> = (0..wanted).map(|_| parts(&sides.logs.next())).collect();
        assert_eq!(ours, theirs);
    }
}
