//! The access log, field by field against the lines a real HAProxy writes in the same situations.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use common::{Conn, Peer, Proxy, Scripted, free_port, haproxy, server, settings, until};
use model::{Backend, Frontend, Millis, Server};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The lines HAProxy sends to its syslog server.
struct Syslog {
    port: u16,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Syslog {
    fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let own = Arc::clone(&lines);
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(n) = socket.recv(&mut part) {
                let text = String::from_utf8_lossy(&part[..n]).trim_end().to_owned();
                // Behind the header of the syslog protocol: visitors' lines only.
                let line = text.split_once("]: ").map(|(_, line)| line.to_owned());
                let line = line.filter(|l| l.starts_with("127.0.0.1:"));
                own.lock().unwrap().extend(line);
            }
        });
        Self { port, lines }
    }
}

/// Writes an error page: its bytes are its own.
const OUR_PAGES: [u16; 7] = [302, 400, 403, 408, 502, 503, 504];

/// A line with everything taken out that is left to chance: ports, dates and how long what took.
fn plain(line: &str) -> String {
    let (front, quoted) = line.split_once(" \"").unwrap();
    let fields: Vec<&str> = front.split(' ').collect();
    let [
        client,
        date,
        frontend,
        server,
        times,
        status,
        bytes,
        cookie1,
        cookie2,
        flags,
        counts,
        queues,
    ] = fields[..]
    else {
        unreachable!("{line}")
    };
    assert!(client.starts_with("127.0.0.1:") && date.starts_with('['), "{line}");
    let times: Vec<_> = times.split('/').map(|t| if t == "-1" { "-1" } else { "n" }).collect();
    let own = OUR_PAGES.iter().any(|s| s.to_string() == status) && server.ends_with("<NOSRV>")
        || ["502", "503", "504"].contains(&status);
    let bytes = if own || bytes != "0" { "n" } else { "0" };
    let times = times.join("/");
    format!(
        "{frontend} {server} {times} {status} {bytes} {cookie1} {cookie2} {flags} {counts} {queues} \"{quoted}"
    )
}

fn answer(peer: &mut Peer) {
    while let Some(request) = peer.request() {
        match request.split(' ').nth(1).unwrap().rsplit('/').next().unwrap() {
            "missing" => peer.send("HTTP/1.1 404 N\r\nContent-Length: 2\r\n\r\nno"),
            "dies" => return peer.send("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf"),
            "cut" => return peer.send("HTTP/1.1 200 OK\r\nContent-"),
            "closes" => return,
            "junk" => return peer.send("nonsense\r\n\r\n"),
            "slow" => {
                std::thread::sleep(Duration::from_millis(1500));
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
            "stops" => {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\nok");
                std::thread::sleep(Duration::from_millis(1500));
                return;
            }
            "endless" => {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n");
                let part = "x".repeat(65536);
                for _ in 0..200 {
                    peer.send(&part);
                    std::thread::sleep(Duration::from_millis(5));
                }
                return;
            }
            _ => peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        }
    }
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").into_bytes()
}

/// Sends this and reads until there is an answer or an end.
fn ask(port: u16, bytes: &[u8]) {
    let mut conn = Conn::to(port);
    conn.send(bytes);
    // A new connection that is closed by us is not what is looked at.
    let _ = conn.answer(false);
}

/// Sends this and goes away after a while.
fn leave(port: u16, bytes: &[u8], after: u64) {
    let mut conn = Conn::to(port);
    conn.send(bytes);
    std::thread::sleep(Duration::from_millis(after));
}

/// Waits for room on a server that is busy, in vain.
fn crowd(port: u16) {
    let mut first = Conn::to(port);
    first.send(&get("/full/slow"));
    std::thread::sleep(Duration::from_millis(150));
    ask(port, &get("/full/second"));
    let _ = first.answer(false);
}

type Situation = (&'static str, fn(u16), &'static str);

/// Name, what a visitor does, and what must be in HAProxy's line.
const SITUATIONS: &[Situation] = &[
    ("normal", |p| ask(p, &get("/good/x?y=1")), " ---- "),
    ("missing", |p| ask(p, &get("/good/missing")), " 404 "),
    ("denied", |p| ask(p, &get("/deny")), " 403 "),
    ("redirected", |p| ask(p, &get("/redir")), " LR-- "),
    ("bad request", |p| ask(p, b"GET / HTTP/1.1\r\nBad Field: x\r\n\r\n"), "<BADREQ>"),
    ("half a request", |p| leave(p, b"GET / HT", 100), " CR-- "),
    ("slow request", |p| ask(p, b"GET / HT"), " cR-- "),
    ("nobody there", |p| ask(p, &get("/dead/x")), " SC-- "),
    ("another server", |p| ask(p, &get("/redispatch/x")), "/+1 "),
    ("the server dies", |p| ask(p, &get("/good/dies")), " SD-- "),
    ("its head is cut", |p| ask(p, &get("/good/cut")), " 502 "),
    ("it says nothing", |p| ask(p, &get("/good/closes")), " SH-- "),
    ("it says nonsense", |p| ask(p, &get("/good/junk")), " PH-- "),
    ("it takes too long", |p| ask(p, &get("/good/slow")), " sH-- "),
    ("it stops", |p| ask(p, &get("/good/stops")), " sD-- "),
    ("gone while waiting", |p| leave(p, &get("/patient/slow"), 200), " 200 "),
    ("gone while reading", |p| leave(p, &get("/good/endless"), 200), " CD-- "),
    (
        "no body comes",
        |p| ask(p, b"POST /good/x HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf"),
        " sH-- ",
    ),
    ("no server left", |p| ask(p, &get("/down/x")), "<NOSRV>"),
    ("odd characters", |p| ask(p, b"GET /good/#\x7f\"\\ HTTP/1.1\r\nHost: h\r\n\r\n"), ""),
];

/// What differs on purpose: the situation, what we write, what HAProxy writes, and why.
const DIFFERENT: &[(&str, &str, &str, &str)] = &[
    (
        "no body comes",
        " 408 n - - cD-- ",
        " 504 n - - sH-- ",
        "it is the visitor who is late, and not the server that HAProxy blames",
    ),
    ("bad request", "\"GET / HTTP/1.1\"", "\"<BADREQ>\"", "a request line that is known is logged"),
    ("odd characters", "\"GET /good/#23#7F#22\\ HTTP/1.1\"", "\"<BADREQ>\"", "the same"),
    (
        "it says nothing",
        "/N 0/0 ",
        "/0 0/0 ",
        "a kept connection may just have been closed, so the request is sent once more, and on a new one again",
    ),
];

#[test]
fn each_field_is_haproxys() {
    let good = Scripted::new(answer);
    let reserved = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let reserved = reserved.unwrap();
    reserved.bind(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let dead = reserved.local_addr().unwrap().as_socket_ipv4().unwrap();

    let rules = [
        "http-request deny if { path_beg /deny }",
        "http-request redirect location /there if { path_beg /redir }",
        "use_backend dead if { path_beg /dead }",
        "use_backend redispatch if { path_beg /redispatch }",
        "use_backend full if { path_beg /full }",
        "use_backend patient if { path_beg /patient }",
        "use_backend down if { path_beg /down }",
    ];
    let mut all = settings(free_port(), vec![server("s", good.address)]);
    all.frontends[0] = Frontend {
        rules: rules.iter().map(|r| r.parse().unwrap()).collect(),
        timeout_http_request: Millis(500),
        timeout_client: Millis(400),
        ..all.frontends[0].clone()
    };
    let base = Backend {
        timeout_server: Millis(600),
        timeout_connect: Millis(400),
        timeout_queue: Some(Millis(300)),
        retries: 1,
        ..all.backends[0].clone()
    };
    let other = |n: &str, servers: Vec<Server>| Backend {
        name: n.parse().unwrap(),
        servers,
        ..base.clone()
    };
    let down = Server { state: model::ServerState::Maint, ..server("s", good.address) };
    all.backends = vec![
        base.clone(),
        Backend { redispatch: false, ..other("dead", vec![server("s", dead)]) },
        other("redispatch", vec![server("d", dead), server("s", good.address)]),
        other("full", vec![Server { maxconn: 1, ..server("s", good.address) }]),
        Backend {
            timeout_server: Millis(5000),
            ..other("patient", vec![server("s", good.address)])
        },
        other("down", vec![down]),
    ];
    all.backends[3].timeout_server = Millis(5000);
    let proxy = Proxy::start(all);

    let syslog = Syslog::start();
    let log = format!("log 127.0.0.1:{} local0", syslog.port);
    let mut lines =
        vec![log.as_str(), "option httplog", "timeout client 400", "timeout http-request 500"];
    lines.extend(rules);
    let times = |server: u32| {
        vec![
            format!("timeout server {server}"),
            "timeout connect 400".to_owned(),
            "timeout queue 300".to_owned(),
            "retries 1".to_owned(),
        ]
    };
    let at = |n: &str, a: SocketAddrV4, rest: &str| haproxy::server_line(n, a, rest);
    let section = |n: &str, server: u32, more: Vec<String>| {
        [vec![format!("backend {n}")], times(server), more].concat()
    };
    let backs = [
        times(600),
        vec![at("s", good.address, "")],
        section("dead", 600, vec![at("s", dead, "")]),
        section(
            "redispatch",
            600,
            vec!["option redispatch".to_owned(), at("d", dead, ""), at("s", good.address, "")],
        ),
        section("full", 5000, vec![at("s", good.address, "maxconn 1")]),
        section("patient", 5000, vec![at("s", good.address, "")]),
        section("down", 600, vec![at("s", good.address, "disabled")]),
    ]
    .concat();
    let theirs = haproxy::Haproxy::start(&lines, &backs);

    let own = || proxy.handle.recent_log();
    let real = || syslog.lines.lock().unwrap().clone();
    // The connection that found HAProxy listening may be logged.
    std::thread::sleep(Duration::from_millis(200));
    let (mut own_seen, mut real_seen) = (own().len(), real().len());
    let mut wrong = Vec::new();
    let crowd: Situation = ("no room in time", crowd, " sQ-- ");
    for (name, act, must) in SITUATIONS.iter().chain([&crowd]) {
        let wanted = if *name == crowd.0 { 2 } else { 1 };
        // A line says how many others are there, and the last visitor may be about to leave.
        until("ours is alone", || proxy.status().frontends[0].traffic.scur == 0);
        until("HAProxy is alone", || theirs.visitors() == 0);
        act(proxy.port);
        until(&format!("ours logs: {name}"), || own().len() >= own_seen + wanted);
        act(theirs.port);
        until(&format!("HAProxy logs: {name}"), || real().len() >= real_seen + wanted);
        let (ours, reals) = (own(), real());
        for (own, real) in ours[own_seen..].iter().zip(&reals[real_seen..]) {
            let (mut ours, real) = (plain(own.trim_end()), plain(real));
            if *name == "it says nothing" {
                // Whether there was a kept connection to begin with is left to chance.
                ours = ours.replace("/1 0/0 ", "/N 0/0 ").replace("/2 0/0 ", "/N 0/0 ");
            }
            for (_, from, to, _) in DIFFERENT.iter().filter(|(of, ..)| of == name) {
                assert!(ours.contains(from), "{name}: {ours}");
                ours = ours.replace(from, to);
            }
            if ours != real {
                wrong.push(format!("{name}:\n  ours    {ours}\n  HAProxy {real}"));
            }
        }
        let last = |lines: &[String]| lines.iter().any(|l| l.contains(must));
        if !last(&reals[real_seen..]) {
            wrong.push(format!("{name}: HAProxy says no {must:?}: {:?}", &reals[real_seen..]));
        }
        (own_seen, real_seen) = (ours.len(), reals.len());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
