//! The statistics page of a frontend (`stats uri`): who is answered here and who by a server, and
//! what is counted and logged of it, beside a real HAProxy.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use common::haproxy::{Haproxy, Logs, server_line};
use common::{Answer, Conn, Proxy, Scripted, free_port, server, settings, until};
use model::Settings;
use model::statistics::{Answer as Page, Asked};
use model::status::stat::{Kind, lines};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Knows one password, as HTTP Basic writes it, and says what it was asked.
struct Drawn;

/// admin:pw
const GOOD: &str = "Basic YWRtaW46cHc=";
/// admin:no
const WRONG: &str = "Basic YWRtaW46bm8=";

impl proxy::Statistics for Drawn {
    fn answer(&self, asked: Asked) -> Pin<Box<dyn Future<Output = Page> + Send>> {
        let status = match (asked.authorization == GOOD, asked.form) {
            (false, _) => 401,
            (true, true) => 303,
            (true, false) => 200,
        };
        let body = format!("{}{}", asked.frontend, asked.rest).into_bytes();
        let fields = vec![("content-type".to_owned(), "text/plain".to_owned())];
        Box::pin(std::future::ready(Page { status, fields, body }))
    }
}

fn with_page(server_at: std::net::SocketAddrV4) -> Settings {
    let mut all = settings(free_port(), vec![server("s", server_at)]);
    let front = &mut all.frontends[0];
    front.stats_uri = "/haproxy?stats".parse().ok();
    front.rules = vec!["http-request deny if { hdr(x-deny) yes }".parse().unwrap()];
    all
}

fn ask(conn: &mut Conn, method: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: h\r\n");
    for (name, value) in fields {
        text += &format!("{name}: {value}\r\n");
    }
    conn.send((text + "\r\n").as_bytes());
    conn.answer(method == "HEAD").unwrap()
}

#[test]
fn the_page_is_shown_and_everything_else_goes_to_servers() {
    let site = Scripted::echo();
    let proxy = Proxy::start(with_page(site.address));
    let mut conn = proxy.connect();
    let good = [("Authorization", GOOD)];
    assert_eq!(ask(&mut conn, "GET", "/haproxy?stats", &good).status, 503, "nobody draws it yet");
    proxy.handle.join_statistics(Arc::new(Drawn));

    let mut get = |path, fields: &[_]| ask(&mut conn, "GET", path, fields);
    let page = get("/haproxy?stats;csv", &good);
    assert_eq!((page.status, page.body.as_slice()), (200, &b"front;csv"[..]));
    assert!(page.head.contains("content-type: text/plain\r\n"), "{}", page.head);
    let refused = get("/haproxy?stats", &[]);
    assert_eq!(refused.status, 401);
    assert!(refused.head.contains("www-authenticate: Basic realm="), "{}", refused.head);
    assert_eq!(get("/haproxy?stats", &[("Authorization", WRONG)]).status, 401);
    // Rules come first, as in HAProxy.
    assert_eq!(get("/haproxy?stats", &[("Authorization", GOOD), ("X-Deny", "yes")]).status, 403);
    assert!(site.requests().is_empty());

    // Other addresses and methods are the servers'; the password is not for them.
    for path in ["/haproxy", "/haproxy?statsx", "/", "/x/haproxy?stats"] {
        assert_eq!(get(path, &good).status, 200);
    }
    assert_eq!(ask(&mut conn, "PUT", "/haproxy?stats", &good).status, 200);
    let theirs = [("Authorization", "Basic dXNlcjpwdw==")];
    assert_eq!(ask(&mut conn, "GET", "/own", &theirs).status, 200);
    let seen = site.requests();
    assert_eq!(seen.len(), 6);
    for request in &seen[..5] {
        assert!(!request.to_ascii_lowercase().contains("authorization"), "{request}");
    }
    assert!(seen[5].contains("Basic dXNlcjpwdw=="), "{}", seen[5]);

    let head = ask(&mut conn, "HEAD", "/haproxy?stats", &good);
    assert_eq!(head.status, 200);
    assert!(head.head.contains("Content-Length: 5\r\n"), "{}", head.head);
    // A form that was not read ends the connection.
    conn.send(
        format!("POST /haproxy?stats HTTP/1.1\r\nHost: h\r\nAuthorization: {GOOD}\r\nContent-Length: 3\r\n\r\n")
            .as_bytes(),
    );
    let form = conn.answer(false).unwrap();
    assert_eq!(form.status, 303);
    assert!(form.head.contains("Connection: close"), "{}", form.head);
    assert!(site.requests().len() == 6 && proxy.status().frontends[0].intercepted > 0);
}

#[test]
fn without_a_page_credentials_are_the_servers_affair() {
    let site = Scripted::echo();
    let mut all = with_page(site.address);
    all.frontends[0].stats_uri = None;
    let proxy = Proxy::start(all);
    proxy.handle.join_statistics(Arc::new(Drawn));
    let mut conn = proxy.connect();
    let page = ask(&mut conn, "GET", "/haproxy?stats", &[("Authorization", GOOD)]);
    assert_eq!(page.body, b"GET /haproxy?stats HTTP/1.1");
    assert!(site.requests()[0].contains(GOOD));
}

/// The requests of both, each on a connection of its own.
fn traffic(port: u16) {
    let good = [("Authorization", GOOD)];
    for (method, path, fields, status) in [
        ("GET", "/haproxy?stats", &[][..], 401),
        ("GET", "/haproxy?stats", &[("Authorization", WRONG)][..], 401),
        ("GET", "/haproxy?stats", &good[..], 200),
        ("GET", "/haproxy?stats;csv;norefresh", &good[..], 200),
        ("HEAD", "/haproxy?stats;up", &good[..], 200),
        ("POST", "/haproxy?stats", &good[..], 303),
        ("PUT", "/haproxy?stats", &good[..], 200),
        ("GET", "/haproxy?stats", &[("Authorization", GOOD), ("X-Deny", "yes")][..], 403),
        ("GET", "/haproxy", &good[..], 200),
    ] {
        let answer = ask(&mut Conn::to(port), method, path, fields);
        assert_eq!(answer.status, status, "{method} {path}");
    }
}

#[test]
fn what_is_counted_and_logged_is_what_haproxy_counts() {
    let site = Scripted::echo();
    let proxy = Proxy::start(with_page(site.address));
    proxy.handle.join_statistics(Arc::new(Drawn));
    let logs = Logs::new();
    let log = logs.directive();
    let theirs = Haproxy::start(
        &[
            "option httplog",
            "option http-ignore-probes",
            &log,
            "http-request deny if { hdr(x-deny) yes }",
            "stats enable",
            "stats uri /haproxy?stats",
            "stats auth admin:pw",
        ],
        &[server_line("s", site.address, "")],
    );
    traffic(proxy.port);
    traffic(theirs.port);
    let fields = [
        "req_tot",
        "intercepted",
        "dreq",
        "ereq",
        "hrsp_2xx",
        "hrsp_3xx",
        "hrsp_4xx",
        "hrsp_5xx",
        "hrsp_other",
    ];
    let real = || {
        let all = theirs.ask("show stat");
        let mut rows = all.lines().map(|l| l.trim_start_matches("# ").split(',').collect());
        let names: Vec<&str> = rows.next().unwrap();
        let front: Vec<&str> = rows.find(|r: &Vec<&str>| r[..2] == ["front", "FRONTEND"]).unwrap();
        let at = |f: &str| names.iter().position(|n| *n == f).unwrap();
        fields.map(|f| front[at(f)].parse::<u64>().unwrap())
    };
    let ours = || {
        let all = lines(&proxy.status());
        let front = all.into_iter().find(|l| l.kind == Kind::Frontend).unwrap();
        fields.map(|f| front.count(f).unwrap())
    };
    until("both have counted all", || ours()[0] == 9 && real()[0] == 9);
    assert_eq!(ours(), real(), "{fields:?}");

    // Where a line says it went and how it ended: words 9 and 15 of HAProxy's, 4 and 10 of ours.
    let parts = |line: &str| {
        let (_, line) =
            line.split_once(" front front/").or(line.split_once(" front back/")).unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        format!("{} {}", words[0], words[6])
    };
    until("all is logged", || proxy.handle.recent_log().len() == 9);
    let own: Vec<String> = proxy.handle.recent_log().iter().map(|l| parts(l)).collect();
    let their: Vec<String> = (0..9).map(|_| parts(&logs.next())).collect();
    assert_eq!(own, their);
    assert_eq!(own.iter().filter(|l| *l == "<STATS> LR--").count(), 6);
}
