//! Rules that count visitors, against a real HAProxy: the same lines and the same requests, and
//! the same ones are held back.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use common::haproxy::{Haproxy, server_line};
use common::{Conn, PATIENCE, Proxy, Scripted, free_port, server, settings, until};
use std::time::{Duration, Instant};

fn site() -> Scripted {
    Scripted::new(|peer| {
        while let Some(request) = peer.request() {
            let status = if request.contains("/none") { "404 Not Found" } else { "200 OK" };
            peer.send(&format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok"));
        }
    })
}

struct Both {
    _server: Scripted,
    ours: Proxy,
    theirs: Haproxy,
}

/// `table` stands behind `stick-table`.
fn both(table: &str, rules: &[&str]) -> Both {
    let site = site();
    let mut wanted = settings(free_port(), vec![server("s", site.address)]);
    wanted.frontends[0].stick_table = Some(table.parse().unwrap());
    wanted.frontends[0].rules = rules.iter().map(|r| r.parse().unwrap()).collect();
    wanted.frontends[0].timeout_tarpit = "500ms".parse().unwrap();
    assert_eq!(model::check(&wanted), []);
    let table = format!("stick-table {table}");
    let mut frontend = vec![table.as_str(), "timeout tarpit 500ms"];
    frontend.extend_from_slice(rules);
    let theirs = Haproxy::start(&frontend, &[server_line("s", site.address, "")]);
    // Its start was seen by a connection, which it counts once that is closed.
    std::thread::sleep(Duration::from_millis(200));
    theirs.ask("clear table front");
    Both { _server: site, ours: Proxy::start(wanted), theirs }
}

/// What a visitor sees who asks for these paths: `+` in front of one is a new connection, after
/// the one before is closed; `&` is one beside the others.
fn visit(connect: impl Fn() -> Conn, paths: &[&str]) -> String {
    let mut open: Vec<Conn> = Vec::new();
    let mut seen = Vec::new();
    for path in paths {
        let (new, path) = match path.split_at(1) {
            ("+", path) => {
                open.clear();
                // The other end has to notice.
                std::thread::sleep(Duration::from_millis(100));
                (true, path)
            }
            ("&", path) => (true, path),
            _ => (open.is_empty(), *path),
        };
        if new {
            open.push(connect());
        }
        let conn = open.last_mut().unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
        if std::io::Write::write_all(&mut conn.io, request.as_bytes()).is_err() {
            seen.push("closed".to_owned());
            continue;
        }
        match conn.answer(false) {
            Ok(answer) => seen.push(answer.status.to_string()),
            Err(_) => {
                seen.push("closed".to_owned());
                open.pop();
            }
        }
    }
    seen.join(" ")
}

#[test]
fn who_asks_for_too_much_is_held_back_as_by_haproxy() {
    let cases: &[(&str, &[&str], &[&str], &str)] = &[
        (
            "type ip size 1k expire 1m store http_req_rate(1m)",
            &[
                "http-request track-sc0 src",
                "http-request deny deny_status 429 if { sc_http_req_rate(0) gt 3 }",
            ],
            &["/", "/", "/", "/", "+/", "/"],
            "200 200 200 429 429 429",
        ),
        (
            "type ip size 1k expire 1m store http_req_cnt,http_err_cnt",
            &[
                "http-request track-sc0 src if { path_beg /login }",
                "http-request deny deny_status 429 if { sc0_http_req_cnt gt 2 }",
                "http-request deny if { src_http_req_cnt gt 3 }",
            ],
            &["/", "/login", "/", "/login", "/", "/login", "/", "/login", "/", "/"],
            // Who is not tracked in a request has no counter 0; by the address there is one.
            "200 200 200 200 200 429 200 429 403 403",
        ),
        (
            "type ip size 1k expire 1m store http_err_rate(1m)",
            &[
                "tcp-request connection track-sc0 src",
                "http-request deny deny_status 429 if { sc_http_err_rate(0) ge 3 }",
            ],
            &["/", "/none", "/none", "/", "/none", "/", "+/", "/none"],
            "200 404 404 200 404 429 429 429",
        ),
        (
            "type ip size 1k expire 1m store conn_cur",
            &[
                "tcp-request connection track-sc0 src",
                "tcp-request connection reject if { src_conn_cur gt 2 }",
            ],
            &["/", "&/", "&/", "&/", "+/", "&/", "&/"],
            "200 200 closed closed 200 200 closed",
        ),
        (
            "type ip size 1k expire 1m store conn_rate(1m)",
            &[
                "acl fast sc_conn_rate(0) gt 3",
                "tcp-request connection track-sc0 src",
                "tcp-request connection reject if fast",
            ],
            &["/", "/", "+/", "+/", "+/"],
            "200 200 200 200 closed",
        ),
        (
            "type ip size 1k expire 1m store conn_cnt",
            &[
                "tcp-request connection accept if { src 127.0.0.0/8 }",
                "tcp-request connection track-sc0 src",
                "http-request deny if { sc_conn_cnt(0) ge 0 }",
            ],
            &["/", "+/"],
            "200 200",
        ),
    ];
    for (table, rules, paths, want) in cases {
        let both = both(table, rules);
        let theirs = visit(|| both.theirs.connect(), paths);
        let ours = visit(|| both.ours.connect(), paths);
        assert_eq!((ours.as_str(), theirs.as_str()), (*want, *want), "{rules:?}: ours, HAProxy's");
    }
}

#[test]
fn a_tarpit_takes_its_time() {
    let both = both(
        "type ip size 10 store conn_cur",
        &[
            "http-request tarpit if { path /bot }",
            "http-request tarpit deny_status 429 if { path /b }",
        ],
    );
    for (path, status) in [("/bot", 500), ("/b", 429)] {
        for mut conn in [both.ours.connect(), both.theirs.connect()] {
            let began = Instant::now();
            assert_eq!(conn.get(path).unwrap().status, status);
            let took = began.elapsed();
            assert!(took >= Duration::from_millis(400) && took < PATIENCE, "{took:?}");
        }
    }
    let status = both.ours.status();
    assert_eq!(status.frontends[0].dreq, 2);
    assert!(both.ours.handle.recent_log().join("\n").contains(" PT"));
}

fn tarpit(timeout: &str) -> (Scripted, Proxy) {
    let backend = Scripted::named("page");
    let mut all = settings(free_port(), vec![server("s", backend.address)]);
    all.frontends[0].rules = vec!["http-request tarpit if { path /bot }".parse().unwrap()];
    all.frontends[0].timeout_tarpit = timeout.parse().unwrap();
    (backend, Proxy::with(all, 1, None))
}

#[test]
fn who_leaves_a_tarpit_leaves_his_place() {
    let (_backend, proxy) = tarpit("600s");
    let mut conns: Vec<_> = (0..4).map(|_| proxy.connect()).collect();
    conns.iter_mut().take(3).for_each(|c| c.send(b"GET /bot HTTP/1.1\r\nHost: h\r\n\r\n"));
    conns[3].send(b"POST /bot HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n123");
    until("they are held", || proxy.status().frontends[0].dreq == 4);
    // Far more than is kept for later.
    conns[1].send(&[b'x'; 300_000]);
    assert_eq!(proxy.status().frontends[0].traffic.scur, 4);
    conns.truncate(2);
    until("two have left", || proxy.status().frontends[0].traffic.scur == 2);
    conns[0].io.shutdown(std::net::Shutdown::Write).unwrap();
    until("one is left", || proxy.status().frontends[0].traffic.scur == 1);
    assert_eq!(conns[0].rest(PATIENCE), "[closed]");
    conns.clear();
    until("all have left", || proxy.status().frontends[0].traffic.scur == 0);
    until("they are logged", || proxy.handle.recent_log().len() == 4);
    let log = proxy.handle.recent_log();
    assert!(log.iter().all(|l| l.contains(" -1 0 - - PT-- ")), "{log:?}");
}

#[test]
fn a_tarpit_keeps_what_comes_behind() {
    let (_backend, proxy) = tarpit("200ms");
    let mut conn = proxy.connect();
    conn.send(b"GET /bot HTTP/1.1\r\nHost: h\r\n\r\nGET / HT");
    until("it is held", || proxy.status().frontends[0].dreq == 1);
    conn.send(b"TP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(conn.answer(false).unwrap().status, 500);
    assert_eq!(conn.answer(false).unwrap().body, b"page");
}

#[test]
fn counts_outlive_a_change_of_the_settings() {
    let mut both = both(
        "type ip size 1k expire 1m store http_req_rate(1m)",
        &[
            "http-request track-sc0 src",
            "http-request deny deny_status 429 if { sc_http_req_rate(0) gt 2 }",
        ],
    );
    let mut conn = both.ours.connect();
    assert_eq!(conn.get("/").unwrap().status, 200);
    both.ours.change(|s| s.frontends[0].maxconn = 500);
    assert_eq!(conn.get("/").unwrap().status, 200);
    assert_eq!(conn.get("/").unwrap().status, 429);
    // Without the rules nobody is held back, and the same visitor comes through.
    both.ours.change(|s| s.frontends[0].rules.clear());
    until("nobody is held back", || conn.get("/").unwrap().status == 200);
}
