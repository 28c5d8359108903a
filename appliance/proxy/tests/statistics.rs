//! Every column of `/stats;csv`, compared with a real HAProxy's of equal configuration after equal
//! traffic.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use common::{Conn, Peer, Proxy, Scripted, free_port, haproxy, server, settings, until};
use model::status::stat::{FIELDS, csv};
use model::{Backend, Check, Millis, Server, ServerState, Weight};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::time::Duration;

/// How far a column is the same.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Same {
    /// The same value.
    Value,
    /// A value in the same rows: a time, or what depends on one.
    Rows,
    /// Something else, on purpose.
    No(&'static str),
}
use Same::{No, Rows, Value};

/// Every column but those that hold the same value in every row.
const OTHERWISE: &[(&str, Same)] = &[
    ("bin", No("HAProxy counts the form it keeps a request in, some bytes more than what came")),
    (
        "bout",
        No("the names of fields we write begin with capitals, and our error pages are our own"),
    ),
    // Each visitor's connection may be closed before or after the next one comes.
    ("smax", Rows),
    ("lastchg", Rows),
    ("downtime", Rows),
    ("iid", No("HAProxy counts its own command socket as the first proxy")),
    ("throttle", Rows),
    ("weight", Rows),
    ("rate", Rows),
    ("rate_max", Rows),
    ("req_rate", Rows),
    ("req_rate_max", Rows),
    ("conn_rate", Rows),
    ("conn_rate_max", Rows),
    // Those of one server at a moment; tests/words.rs compares them in every state.
    ("check_status", Rows),
    ("check_code", Rows),
    ("check_duration", Rows),
    ("agent_status", Rows),
    ("agent_duration", Rows),
    ("chkfail", Rows),
    ("lastsess", Rows),
    ("qtime", Rows),
    ("ctime", Rows),
    ("rtime", Rows),
    ("ttime", Rows),
    ("qtime_max", Rows),
    ("ctime_max", Rows),
    ("rtime_max", Rows),
    ("ttime_max", Rows),
    (
        "connect",
        No("the first request of a visitor may use a kept connection here; HAProxy opens another"),
    ),
    ("reuse", No("the same")),
    ("srv_icur", Rows),
    ("idle_conn_cur", No("we keep only connections that have answered well, HAProxy's safe ones")),
    ("safe_conn_cur", No("the same")),
    ("need_conn_est", No("HAProxy estimates; we keep what is used and what was used lately")),
];

fn same(column: &str) -> Same {
    OTHERWISE.iter().find(|(name, _)| *name == column).map_or(Value, |(_, same)| *same)
}

/// Rows by proxy and server, each a list of fields.
fn read(text: &str) -> BTreeMap<(String, String), Vec<String>> {
    let mut lines = text.lines().filter(|l| !l.is_empty());
    let names: Vec<&str> = lines.next().unwrap()[2..].split(',').collect();
    for (ours, theirs) in FIELDS.iter().zip(&names) {
        assert_eq!(ours.name, *theirs);
    }
    let row = |line: &str| {
        let (mut row, mut field, mut quoted) = (Vec::new(), String::new(), false);
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
                '"' => quoted = !quoted,
                ',' if !quoted => row.push(std::mem::take(&mut field)),
                c => field.push(c),
            }
        }
        assert!(!quoted && field.is_empty() && row.len() >= FIELDS.len(), "{line}");
        row.truncate(FIELDS.len());
        row
    };
    lines.map(row).map(|r| ((r[0].clone(), r[1].clone()), r)).collect()
}

fn answer(peer: &mut Peer) {
    while let Some(request) = peer.request() {
        match request.split(' ').nth(1).unwrap() {
            "/missing" => peer.send("HTTP/1.1 404 N\r\nContent-Length: 2\r\n\r\nno"),
            "/broken" => return peer.send("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf"),
            "/junk" => return peer.send("nonsense\r\n\r\n"),
            _ => peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        }
    }
}

fn weighted(s: Server, cookie: &str) -> Server {
    Server { weight: Weight::constant(32), cookie: cookie.parse().ok(), ..s }
}

/// The same requests, each on a connection of its own.
fn traffic(port: u16) {
    for path in ["/", "/a", "/missing", "/deny", "/redir", "/junk", "/", "/"] {
        Conn::to(port).get(path).unwrap();
    }
    let mut conn = Conn::to(port);
    conn.send(b"POST /form HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n0123456789");
    conn.answer(false).unwrap();
    // Two on one connection, then one that belongs to the server that drains.
    let mut conn = Conn::to(port);
    conn.get("/1").unwrap();
    conn.get("/2").unwrap();
    let mut conn = Conn::to(port);
    conn.send(b"GET /own HTTP/1.1\r\nHost: h\r\nCookie: SRV=d\r\n\r\n");
    assert_eq!(conn.answer(false).unwrap().status, 200);
    // No request, and a server that breaks off.
    for bad in ["GET / HTTP/1.1\r\nBad Field: x\r\n\r\n", "GET /broken HTTP/1.1\r\nHost: h\r\n\r\n"]
    {
        let mut conn = Conn::to(port);
        conn.send(bad.as_bytes());
        conn.rest(Duration::from_secs(2));
    }
}

#[test]
fn every_column_is_haproxys() {
    let good = Scripted::new(answer);
    let agent = Scripted::new(|peer| peer.send("up 50%\n"));
    // Nobody listens there, and nobody can be given the port meanwhile.
    let nobody = || {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket_ipv4().unwrap();
        (socket, address)
    };
    let ((_dead, dead), (late, slow)) = (nobody(), nobody());

    let mut all = settings(free_port(), Vec::new());
    all.frontends[0].maxconn = 500;
    all.frontends[0].rules = [
        "http-request deny if { path_beg /deny }",
        "http-request redirect location /there if { path_beg /redir }",
    ]
    .iter()
    .map(|r| r.parse().unwrap())
    .collect();
    let back = &mut all.backends[0];
    back.cookie = "SRV insert indirect nocache".parse().ok();
    back.slowstart = Millis(60_000);
    back.check = Check {
        inter: Millis(200),
        rise: 2,
        fall: 3,
        http_path: "/".parse().ok(),
        ..Check::default()
    };
    back.servers = vec![
        weighted(server("good", good.address), "g"),
        weighted(server("dead", dead), "x"),
        weighted(Server { state: ServerState::Drain, ..server("drained", good.address) }, "d"),
        weighted(Server { maxconn: 3, maxqueue: 4, ..server("slow", slow) }, "s"),
        weighted(Server { backup: true, ..server("bk", good.address) }, "b"),
        weighted(Server { state: ServerState::Maint, ..server("mnt", good.address) }, "m"),
    ];
    all.backends.push(Backend {
        name: "agents".parse().unwrap(),
        check: Check {
            enabled: false,
            agent_port: agent.address.port().to_string().parse().ok(),
            agent_inter: Millis(200),
            ..Check::default()
        },
        servers: vec![weighted(server("a", good.address), "a")],
        ..Backend::default()
    });
    let proxy = Proxy::start(all);

    let line = |name: &str, at: SocketAddrV4, rest: &str| {
        haproxy::server_line(name, at, &format!("weight 32 {rest}"))
    };
    let theirs = haproxy::Haproxy::start(
        &[
            "maxconn 500",
            "http-request deny if { path_beg /deny }",
            "http-request redirect location /there if { path_beg /redir }",
        ],
        &[
            "cookie SRV insert indirect nocache".to_owned(),
            "option httpchk GET /".to_owned(),
            "default-server inter 200 rise 2 fall 3 slowstart 60s".to_owned(),
            line("good", good.address, "check cookie g"),
            line("dead", dead, "check cookie x"),
            line("drained", good.address, "check cookie d"),
            line("slow", slow, "check cookie s maxconn 3 maxqueue 4"),
            line("bk", good.address, "check cookie b backup"),
            line("mnt", good.address, "check cookie m disabled"),
            "backend agents".to_owned(),
            "default-server agent-inter 200".to_owned(),
            line("a", good.address, &format!("agent-check agent-port {}", agent.address.port())),
        ],
    );
    theirs.ask("set server back/drained state drain");

    let ours = || read(&csv(&proxy.status()));
    let real = || read(&theirs.ask("show stat"));
    let at = |column: &str| FIELDS.iter().position(|f| f.name == column).unwrap();
    let of = |all: &BTreeMap<(String, String), Vec<String>>, server: &str, column: &str| {
        let row = all.iter().find(|((_, name), _)| name == server).unwrap().1;
        row[at(column)].clone()
    };
    let ready = |all: BTreeMap<_, _>| {
        ["dead", "slow"].iter().all(|s| of(&all, s, "status") == "DOWN")
            && of(&all, "good", "status") == "UP"
            && of(&all, "bk", "status") == "UP"
            && of(&all, "a", "weight") == "16"
    };
    until("all is known of every server", || ready(ours()) && ready(real()));
    // That HAProxy was there was found out by a connection.
    Conn::to(proxy.port).rest(Duration::from_millis(1));
    traffic(proxy.port);
    traffic(theirs.port);
    let port = slow.port();
    drop(late);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    drop(listener);
    let _late = Scripted::at(port, answer);
    until("the late one starts slowly", || {
        [ours(), real()].iter().all(|all| of(all, "slow", "status") == "UP")
    });
    until("nobody is served", || {
        let idle = |all, row| of(all, row, "scur") == "0";
        [ours(), real()].iter().all(|all| idle(all, "BACKEND") && idle(all, "FRONTEND"))
    });

    let (ours, real) = (ours(), real());
    let mut wrong = Vec::new();
    let mut told_apart: Vec<&str> = Vec::new();
    assert_eq!(ours.keys().collect::<Vec<_>>(), real.keys().collect::<Vec<_>>());
    for (row, own) in &ours {
        let their = &real[row];
        for (field, (own, their)) in FIELDS.iter().zip(own.iter().zip(their)) {
            let fits = match same(field.name) {
                Value => own == their,
                Rows => own.is_empty() == their.is_empty(),
                No(_) => {
                    if own != their {
                        told_apart.push(field.name);
                    }
                    true
                }
            };
            if !fits {
                let name = field.name;
                wrong.push(format!("{}/{} {name}: {own:?}, HAProxy {their:?}", row.0, row.1));
            }
        }
    }
    // What is said to differ must do so: the list is a list of facts.
    for (column, same) in OTHERWISE {
        assert!(FIELDS.iter().any(|f| f.name == *column), "{column}");
        if let No(why) = same {
            if !told_apart.contains(column) {
                wrong.push(format!("{column} does not differ ({why})"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn paths_are_counted_only_where_that_is_wanted() {
    let site = Scripted::echo();
    let mut proxy = Proxy::start(settings(free_port(), vec![server("s", site.address)]));
    let counted = |proxy: &Proxy| {
        let paths = proxy.handle.paths().remove(0);
        paths.other + paths.top.iter().map(|p| p.requests).sum::<u64>()
    };
    let mut conn = proxy.connect();
    conn.get("/a").unwrap();
    until("it is counted", || counted(&proxy) == 1);
    // Switched off, what was counted is forgotten, and nothing is on the connection that goes on.
    proxy.change(|s| s.frontends[0].count_paths = false);
    assert_eq!(counted(&proxy), 0);
    for _ in 0..3 {
        conn.get("/b").unwrap();
    }
    until("all are answered", || proxy.status().frontends[0].http.hrsp_2xx == 4);
    assert_eq!(counted(&proxy), 0);
    proxy.change(|s| s.frontends[0].count_paths = true);
    conn.get("/c").unwrap();
    until("it is counted again", || counted(&proxy) == 1);
}
