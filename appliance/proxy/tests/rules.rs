//! Rules of a frontend against a real HAProxy: the same lines, the same requests, and the same is
//! answered and sent on.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use common::haproxy::{Haproxy, server_line};
use common::{Conn, Proxy, Scripted, free_port, server, settings};
use model::{Backend, Check};
use std::time::Duration;

/// Says its name and what it was asked.
fn mirror(name: &'static str) -> Scripted {
    Scripted::new(move |peer| {
        while let Some(request) = peer.request() {
            let body = format!("{name}\n{request}");
            let status = if request.contains("/teapot") { "418 Teapot" } else { "200 OK" };
            peer.send(&format!(
                "HTTP/1.1 {status}\r\nServer: secret\r\nX-Twice: 1\r\nX-Twice: 2\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ));
        }
    })
}

/// What both must agree on: status, address of a redirect, the response's own fields, which server
/// answered, and the fields it saw that rules are about.
fn outcome(mut conn: Conn, request: &str) -> String {
    conn.send(request.as_bytes());
    let Ok(answer) = conn.answer(request.starts_with("HEAD")) else { return "closed".to_owned() };
    let interesting = |text: &str| {
        let lower = text.to_ascii_lowercase();
        let start = ["x-", "host:", "location:", "server:", "cache-control:", "cookie:"];
        let mut lines: Vec<String> = lower
            .lines()
            .filter(|l| start.iter().any(|s| l.starts_with(s)))
            .map(str::to_owned)
            .collect();
        // The order of different fields means nothing; of one field's lines it does.
        lines.sort_by(|a, b| a.split(':').next().cmp(&b.split(':').next()));
        lines.join("|")
    };
    let status = answer.status;
    let body = String::from_utf8(answer.body).unwrap();
    let ours = status >= 400 && status != 418;
    let (server, saw) = match body.split_once('\n') {
        Some((name, rest)) if !ours => (name.to_owned(), interesting(rest)),
        _ => (String::new(), String::new()),
    };
    // An error page's fields are each proxy's own affair.
    let head = if ours { String::new() } else { interesting(&answer.head) };
    format!("{status} [{head}] {server} [{saw}]")
}

struct Both {
    _servers: [Scripted; 2],
    ours: Proxy,
    theirs: Haproxy,
}

fn both(rules: &[&str]) -> Both {
    let servers = [mirror("main"), mirror("api")];
    let mut wanted = settings(free_port(), vec![server("main", servers[0].address)]);
    wanted.backends.push(Backend {
        name: "api".parse().unwrap(),
        servers: vec![server("api", servers[1].address)],
        check: Check { enabled: false, ..Check::default() },
        ..Backend::default()
    });
    wanted.frontends[0].rules = rules.iter().map(|r| r.parse().unwrap()).collect();
    wanted.frontends[0].forwardfor = true;
    assert_eq!(model::check(&wanted), []);
    let lines = [
        server_line("main", servers[0].address, ""),
        "backend api".to_owned(),
        server_line("api", servers[1].address, ""),
    ];
    let mut frontend = vec!["option forwardfor"];
    frontend.extend_from_slice(rules);
    Both {
        ours: Proxy::start(wanted),
        theirs: Haproxy::start(&frontend, &lines),
        _servers: servers,
    }
}

fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: www.example.org\r\n{fields}\r\n")
}

/// What is done otherwise than by HAProxy, and why: a part of the request, a part of the outcome
/// that is left out of the comparison, the reason.
const DIFFERENT: &[(&str, &str, &str)] = &[
    (
        "HTTP/1.0\r\n\r\n",
        "host: 127.0.0.1:",
        "servers are spoken to in HTTP/1.1, where a request has a Host",
    ),
    (
        "HTTP/1.0\r\n\r\n",
        "location: https://",
        "without a Host HAProxy leads to https:///, ours to the address that was asked",
    ),
];

fn without_known(outcome: &str, request: &str) -> String {
    let mut left = outcome.to_owned();
    for (_, part, _) in DIFFERENT.iter().filter(|(of, ..)| request.contains(of)) {
        if let Some(at) = left.find(part) {
            let end = left[at..].find(['|', ']']).map_or(left.len(), |e| at + e);
            let end = if left[end..].starts_with('|') { end + 1 } else { end };
            left.replace_range(at..end, "");
        }
    }
    left
}

#[test]
fn rules_do_what_haproxys_do() {
    let requests = [
        get("/", ""),
        get("/api/v1?user=joe&x=1", "X-A: one, two\r\nX-A: three\r\n"),
        get("/API/v1", "X-Forwarded-For: 6.6.6.6\r\n"),
        get("/img/a.png?q", "Cookie: k=v; sid=42\r\n"),
        get("/a.php", "User-Agent: BadBot/1.0\r\n"),
        get("/teapot", "X-Size: 123456\r\n"),
        get("/old", "X-Empty:\r\n"),
        "HEAD /api/head HTTP/1.1\r\nHost: api.example.org:8080\r\n\r\n".to_owned(),
        "POST /api/p HTTP/1.1\r\nHost: API.Example.Org\r\nContent-Length: 3\r\n\r\nabc".to_owned(),
        "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "GET / HTTP/1.0\r\nHost: old.example.org\r\n\r\n".to_owned(),
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
        "GET http://www.example.org/api/a?b HTTP/1.1\r\nHost: www.example.org\r\n\r\n".to_owned(),
    ];
    let sets: &[&[&str]] = &[
        &["use_backend api if { path_beg /api/ }"],
        &["acl a path_beg /api/", "acl p method POST", "use_backend api if a !p"],
        &[
            "acl h hdr(host) -i api.example.org",
            "acl h hdr_beg(host) -i api.",
            "use_backend api unless h",
        ],
        &["use_backend api if { path_end .php } or { path_sub /im } or { path_dir img }"],
        &["use_backend api if { path_reg ^/[a-z]+/v[0-9]$ }"],
        &["use_backend api if { path_reg -i ^/api/V1 }"],
        &["use_backend api if { hdr(x-a) two }", "use_backend api if { hdr(x-a) -m sub hre }"],
        &["use_backend api if { hdr_dom(host) -i example.org }"],
        &["use_backend api if { req.fhdr(x-a) -m beg one, }"],
        &["use_backend api if { hdr(x-empty) -m found }"],
        &["use_backend api if { req.cook(sid) 42 }"],
        &["use_backend api if { url_param(user) joe } { src 127.0.0.0/8 }"],
        &["use_backend api if { query -m beg user= } METH_GET"],
        &["use_backend api if { hdr(x-size) -m reg ^[0-9]{5,}$ }"],
        &["use_backend api if TRUE", "http-request deny if { path /old }"],
        &[
            "http-request deny if { src 10.0.0.0/8 }",
            "http-request deny deny_status 429 if METH_POST",
        ],
        &["http-request deny if { hdr_sub(user-agent) -i badbot } or { path_end .php }"],
        &["http-request redirect location https://%[hdr(host)]/new code 301 if { path /old }"],
        &["http-request redirect prefix https://m.example.org if { path_beg /api }"],
        &["http-request redirect prefix https://m.example.org drop-query append-slash code 303"],
        &["http-request redirect scheme https code 308 if !{ ssl_fc } { path_beg / }"],
        &["redirect scheme https if { method GET }", "use_backend api"],
        &["http-request set-header X-A \"%[path] %[src]\" if { path_beg / }"],
        &["http-request add-header X-A four", "http-request add-header X-B %[req.hdr(x-a)]"],
        &[
            "http-request del-header X-A",
            "http-request set-header X-B was if { hdr(x-a) -m found }",
        ],
        &["http-request del-header X-Forwarded-For"],
        &["http-request set-header X-Forwarded-For 9.9.9.9"],
        &[
            "http-request set-header Host other.example.org",
            "use_backend api if { hdr(host) other.example.org }",
        ],
        &["http-response del-header Server", "http-response set-header X-Twice one"],
        &["http-response add-header X-S %[res.hdr(server)] if { status 200:299 }"],
        &["http-response set-header X-Old \"%[status]\" unless { status 418 500:599 }"],
        &["http-response del-header X-Twice if { res.hdr(x-twice) 2 }"],
    ];
    for rules in sets {
        let both = both(rules);
        for request in &requests {
            let ours = outcome(both.ours.connect(), request);
            let theirs = outcome(both.theirs.connect(), request);
            assert_eq!(
                without_known(&ours, request),
                without_known(&theirs, request),
                "{rules:?}: ours, HAProxy's\n{request}"
            );
        }
    }
}

#[test]
fn a_denied_request_is_counted_and_its_connection_goes_on() {
    let both = both(&[
        "http-request deny if { path /no }",
        "http-request redirect location / if { path /to }",
    ]);
    let mut conn = both.ours.connect();
    for (path, status) in [("/no", 403), ("/yes", 200), ("/to", 302), ("/no", 403), ("/", 200)] {
        assert_eq!(conn.get(path).unwrap().status, status, "{path}");
    }
    // With content that nobody will read, it does not.
    conn.send(b"POST /no HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n");
    let rest = conn.rest(Duration::from_secs(5));
    assert!(
        rest.contains("403") && rest.contains("Connection: close") && rest.ends_with("[closed]"),
        "{rest}"
    );
    let status = both.ours.status();
    assert_eq!((status.frontends[0].dreq, status.frontends[0].req_tot), (3, 6));
    assert_eq!(status.backends[0].http.hrsp_2xx, 2);
    let log = both.ours.handle.recent_log().join("\n");
    assert!(
        log.contains(" front front/<NOSRV> ") && log.contains(" PR") && log.contains(" LR"),
        "{log}"
    );
}

#[test]
fn changed_rules_are_taken_over_on_open_connections() {
    let mut both = both(&["http-request deny if { path /x }"]);
    let mut conn = both.ours.connect();
    assert_eq!(conn.get("/x").unwrap().status, 403);
    both.ours.change(|s| s.frontends[0].rules.clear());
    let answer = conn.get("/x").unwrap();
    let body = String::from_utf8(answer.body).unwrap();
    assert_eq!(
        (answer.status, body.matches("X-Forwarded-For: 127.0.0.1").count()),
        (200, 1),
        "{body}"
    );
    both.ours.change(|s| s.frontends[0].rules.push("use_backend api".parse().unwrap()));
    let body = String::from_utf8(conn.get("/x").unwrap().body).unwrap();
    assert!(body.starts_with("api\n"), "{body}");
    assert_eq!(body.matches("X-Forwarded-For: 127.0.0.1").count(), 1, "{body}");
}
