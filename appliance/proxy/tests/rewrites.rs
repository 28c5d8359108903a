//! Rules that would make a head longer than it may be, beside a real HAProxy: the request ends with
//! 500, and the columns say whose fault it was.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use common::haproxy::{Haproxy, Logs, server_line};
use common::{Conn, Peer, Proxy, Scripted, free_port, server, settings, until};
use std::collections::BTreeMap;

/// Columns that hold a number of what happened here.
const COLUMNS: [&str; 12] = [
    "wrew", "eint", "ereq", "dreq", "econ", "eresp", "req_tot", "hrsp_2xx", "hrsp_4xx", "hrsp_5xx",
    "dses", "dcon",
];
/// What is written into the new field is six of these; HAProxy has room for 16 KiB, we for about
/// 32 in a response.
const LONG: usize = 6000;

fn site(peer: &mut Peer) {
    while peer.request().is_some() {
        let long = "y".repeat(LONG);
        peer.send(&format!("HTTP/1.1 200 OK\r\nX-Long: {long}\r\nContent-Length: 2\r\n\r\nok"));
    }
}

/// What is not 0 and not empty, by proxy and server.
fn read(csv: &str) -> BTreeMap<String, Vec<String>> {
    let mut rows = csv.lines().map(|l| l.trim_start_matches("# ").split(',').collect());
    let names: Vec<&str> = rows.next().unwrap();
    rows.filter(|r: &Vec<&str>| r.len() >= names.len())
        .map(|row| {
            let value = |c: &str| row[names.iter().position(|n| *n == c).unwrap()].to_owned();
            let seen = COLUMNS.map(|c| (c, value(c)));
            let seen = seen.iter().filter(|(_, v)| !matches!(v.as_str(), "" | "0"));
            (row[..2].join("/"), seen.map(|(c, v)| format!("{c} {v}")).collect())
        })
        .collect()
}

#[test]
fn a_head_that_becomes_too_long_ends_as_with_haproxy() {
    let times = |fetch: &str| fetch.repeat(6);
    let cases = [
        (format!("http-request set-header X-New {}", times("%[req.hdr(x-long)]")), "PR"),
        (format!("http-request add-header X-New {}", times("%[req.hdr(x-long)]")), "PR"),
        (format!("http-response set-header X-New {}", times("%[res.hdr(x-long)]")), "PH"),
        ("http-request set-header X-New %[req.hdr(x-long)]".to_owned(), "--"),
    ];
    for (rule, ends) in cases {
        let site = Scripted::new(site);
        let mut all = settings(free_port(), vec![server("s", site.address)]);
        all.frontends[0].rules = vec![rule.parse().unwrap()];
        assert_eq!(model::check(&all), []);
        let proxy = Proxy::start(all);
        let logs = Logs::new();
        let log = logs.directive();
        let lines = ["option httplog", "option http-ignore-probes", &log, &rule];
        let theirs = Haproxy::start(&lines, &[server_line("s", site.address, "")]);
        let ask = |mut conn: Conn| {
            let long = "x".repeat(LONG);
            conn.send(format!("GET / HTTP/1.1\r\nHost: h\r\nX-Long: {long}\r\n\r\n").as_bytes());
            conn.answer(false).unwrap().status
        };
        let want = if ends == "--" { 200 } else { 500 };
        assert_eq!((ask(proxy.connect()), ask(theirs.connect())), (want, want), "{rule}");
        let ours = || read(&model::status::stat::csv(&proxy.status()));
        let real = || read(&theirs.ask("show stat"));
        let counted = "req_tot 1".to_owned();
        until("both have counted it", || {
            [ours(), real()].iter().all(|all| {
                let front = &all["front/FRONTEND"];
                front.contains(&counted) && front.iter().any(|c| c.starts_with("hrsp"))
            })
        });
        assert_eq!(ours(), real(), "{rule}");
        assert_eq!(ours()["front/FRONTEND"].contains(&"wrew 1".to_owned()), want == 500);
        until("it is logged", || !proxy.handle.recent_log().is_empty());
        for line in [proxy.handle.recent_log().remove(0), logs.next()] {
            assert!(line.contains(&format!(" {ends}-- ")), "{rule}: {line}");
        }
    }
}
