//! Cookies and stick tables against a real HAProxy, and what two balancers tell each other.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use common::haproxy::{Haproxy, Logs, server_line};
use common::{Conn, Proxy, Scripted, free_port, server, settings, until};
use model::{Millis, ServerState};

/// What the servers say of caching where they are asked to.
const CACHING: [&str; 7] = [
    "ETag: \"a\"\r\n",
    "Cache-Control: max-age=60\r\n",
    "Cache-Control: max-age=0, must-revalidate\r\nETag: \"a\"\r\n",
    "Cache-Control: no-store\r\nLast-Modified: x\r\n",
    "Cache-Control: public\r\nExpires: x\r\n",
    "Pragma: no-cache\r\nExpires: x\r\n",
    "Cache-Control: no-cache=\"set-cookie\", s-maxage=5\r\n",
];

const NAMES: [&str; 3] = ["s1", "s2", "s3"];

/// Says its name and the cookies it was sent; sets one where it is asked to.
fn mirror(name: &'static str, port: u16) -> Scripted {
    Scripted::at(port, move |peer| {
        while let Some(request) = peer.request() {
            let cookies: Vec<&str> =
                request.lines().filter(|l| l.to_ascii_lowercase().starts_with("cookie:")).collect();
            let saw: Vec<&str> =
                cookies.iter().filter_map(|l| l.split_once(": ")).map(|c| c.1).collect();
            let body = format!("{name} {}", saw.join("|"));
            let set = if request.contains("/set") {
                "Set-Cookie: S=theirs; Path=/x\r\nSet-Cookie: other=1\r\n"
            } else {
                ""
            };
            let cached = match request.split_once("&c=") {
                Some((_, rest)) => CACHING[rest[..1].parse::<usize>().unwrap()],
                None => "",
            };
            peer.send(&format!(
                "HTTP/1.1 200 OK\r\n{set}{cached}Content-Length: {}\r\n\r\n{body}",
                body.len()
            ));
        }
    })
}

struct Both {
    servers: Vec<Option<Scripted>>,
    ours: Proxy,
    theirs: Haproxy,
    logs: Logs,
}

/// Both, with three checked servers and these lines in the backend.
fn both(balance: &str, cookie: Option<&str>, stick: Option<(&str, &str)>) -> Both {
    let servers: Vec<Scripted> = NAMES.iter().map(|n| mirror(n, 0)).collect();
    let list = servers.iter().zip(NAMES).map(|(s, n)| server(n, s.address));
    let mut wanted = settings(free_port(), list.collect());
    let backend = &mut wanted.backends[0];
    backend.balance = balance.parse().unwrap();
    backend.cookie = cookie.map(|c| c.parse().unwrap());
    backend.check.enabled = true;
    (backend.check.inter, backend.check.fall, backend.check.rise) = (Millis(50), 1, 1);
    let mut lines = vec![format!("balance {balance}")];
    lines.extend(cookie.map(|c| format!("cookie {c}")));
    if let Some((table, on)) = stick {
        backend.stick_table = Some(table.parse().unwrap());
        backend.stick_on = Some(on.parse().unwrap());
        lines.push(format!("stick-table {table}"));
        match on {
            "src" => lines.push("stick on src".to_owned()),
            _ => {
                lines.push("stick on req.cook(S)".to_owned());
                lines.push("stick store-response res.cook(S)".to_owned());
            }
        }
    }
    assert_eq!(model::check(&wanted), []);
    for (s, name) in servers.iter().zip(NAMES) {
        lines.push(server_line(
            name,
            s.address,
            &format!("cookie {name} check inter 50 fall 1 rise 1"),
        ));
    }
    let logs = Logs::new();
    Both {
        servers: servers.into_iter().map(Some).collect(),
        ours: Proxy::start(wanted),
        theirs: Haproxy::start(&[&logs.directive(), "option httplog"], &lines),
        logs,
    }
}

impl Both {
    fn set(&mut self, at: usize, up: bool) {
        let port = self.ours.settings.backends[0].servers[at].address.unwrap().0.port();
        self.servers[at] = up.then(|| mirror(NAMES[at], port));
        until("ours has noticed", || {
            let health = self.ours.status().backends[0].servers[at].health;
            (health == model::status::Health::Up) == up
        });
        until("HAProxy has noticed", || self.theirs.is_up(NAMES[at]) == up);
    }

    /// What comes back, and the log's word on the end and the cookies (`%tsc`).
    fn ask(&self, request: &str) -> (String, String) {
        let conns = (self.ours.connect(), self.theirs.connect());
        let name = |conn: &Conn| format!("{} [", conn.io.local_addr().unwrap());
        let names = (name(&conns.0), name(&conns.1));
        let (ours, theirs) = (outcome(conns.0, request), outcome(conns.1, request));
        let logged = || self.ours.handle.recent_log().into_iter().find(|l| l.contains(&names.0));
        until("it is logged", || logged().is_some());
        let their_line =
            std::iter::repeat_with(|| self.logs.next()).find(|l| l.contains(&names.1)).unwrap();
        let word = |line: &str| line.split(" - - ").nth(1).unwrap()[..4].to_owned();
        (format!("{ours} {}", word(&logged().unwrap())), format!("{theirs} {}", word(&their_line)))
    }
}

/// The server, the cookies it saw, and the cookies and caching it all came back with. Dates in a
/// cookie are masked: both clocks need not stand in the same step of four seconds.
fn outcome(mut conn: Conn, request: &str) -> String {
    conn.send(request.as_bytes());
    let answer = conn.answer(false).unwrap();
    let keep = |l: &&str| {
        let lower = l.to_ascii_lowercase();
        lower.starts_with("set-cookie:") || lower.starts_with("cache-control:")
    };
    let lines: Vec<String> = answer
        .head
        .lines()
        .filter(keep)
        .map(|l| {
            let (name, value) = l.split_once(": ").unwrap();
            format!(
                "{}: {}",
                name.to_ascii_lowercase(),
                if name.eq_ignore_ascii_case("set-cookie") {
                    masked(value)
                } else {
                    value.to_owned()
                }
            )
        })
        .collect();
    format!("{} {} [{}]", answer.status, String::from_utf8(answer.body).unwrap(), lines.join(", "))
}

fn masked(value: &str) -> String {
    let (pair, rest) = value.split_once(';').unwrap_or((value, ""));
    let parts: Vec<&str> = pair
        .split('|')
        .enumerate()
        .map(|(i, p)| if i > 0 && p.len() == 5 { "date" } else { p })
        .collect();
    format!("{};{rest}", parts.join("|"))
}

fn get(target: &str, cookie: &str) -> String {
    let cookie = if cookie.is_empty() { String::new() } else { format!("Cookie: {cookie}\r\n") };
    format!("GET {target} HTTP/1.1\r\nHost: h\r\n{cookie}\r\n")
}

#[test]
fn cookies_do_what_haproxys_do() {
    let requests = [
        get("/?k=1", ""),
        get("/?k=2", ""),
        get("/?k=1", "S=s1"),
        get("/?k=1", "S=s2"),
        get("/?k=1", "a=1; S=s3; b=2"),
        get("/?k=2", "S=s9"),
        get("/?k=2", "S="),
        get("/?k=2", "S=s1~abc"),
        get("/?k=2", "a=1; S=s3~abc; c"),
        get("/?k=2", "S=s1|"),
        get("/?k=2", "S=s2|aaaaa"),
        get("/?k=2", "S=s2|AAAAA|AAAAA"),
        get("/?k=2", "S=s2|BBBBB"),
        get("/?k=2", "S=s2|AAAAA|BBBBB"),
        get("/?k=2", "S=s2|BBBBB|BBBBB"),
        get("/set?k=1", ""),
        get("/set?k=1", "S=s2"),
        "POST /?k=3 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx".to_owned(),
        "POST /set?k=3 HTTP/1.1\r\nHost: h\r\nCookie: S=s1; S=s2\r\nContent-Length: 1\r\n\r\nx"
            .to_owned(),
    ];
    let caching = (0..CACHING.len()).map(|c| get(&format!("/?k=1&c={c}"), ""));
    let requests: Vec<String> = requests.into_iter().chain(caching).collect();
    for cookie in [
        "S",
        "S insert",
        "S insert indirect",
        "S insert indirect nocache",
        "S insert nocache postonly",
        "S insert preserve",
        "S insert indirect preserve httponly secure domain .example.org attr SameSite=Lax",
        "S insert maxidle 30m",
        "S insert maxlife 8h",
        "S insert indirect maxidle 30m maxlife 8h",
        "S prefix",
        "S prefix nocache",
        "S rewrite",
        "S rewrite nocache",
        "S indirect",
    ] {
        let both = both("url_param k", Some(cookie), None);
        for request in &requests {
            let (ours, theirs) = both.ask(request);
            assert_eq!(ours, theirs, "cookie {cookie}: ours, HAProxy's\n{request}");
        }
    }
}

#[test]
fn a_cookie_of_a_server_that_is_down_leads_elsewhere() {
    let mut both = both("url_param k", Some("S insert indirect"), None);
    for (at, up) in [(1, false), (0, false), (1, true), (0, true)] {
        both.set(at, up);
        for cookie in ["S=s1", "S=s2", "S=s3"] {
            for k in 0..6 {
                let (ours, theirs) = both.ask(&get(&format!("/?k={k}"), cookie));
                assert_eq!(ours, theirs, "{cookie} {k} with {} {up}", NAMES[at]);
            }
        }
    }
}

#[test]
fn a_server_in_drain_keeps_its_own_and_one_in_maintenance_does_not() {
    let mut both = both("roundrobin", Some("S insert indirect"), None);
    both.ours.change(|s| s.backends[0].servers[0].state = ServerState::Drain);
    let ask = |both: &Both, cookie: &str| outcome(both.ours.connect(), &get("/", cookie));
    assert_eq!(ask(&both, "S=s1"), "200 s1  []");
    for _ in 0..6 {
        assert!(!ask(&both, "").contains("s1"));
    }
    both.ours.change(|s| s.backends[0].servers[0].state = ServerState::Maint);
    let moved = ask(&both, "S=s1");
    assert!(!moved.contains(" s1 ") && moved.contains("set-cookie: S="), "{moved}");
}

#[test]
fn a_server_that_refuses_loses_its_visitors_to_another() {
    let mut both = both("roundrobin", Some("S insert indirect"), None);
    // Unchecked, so that only the connection tells.
    both.ours.change(|s| s.backends[0].check.enabled = false);
    both.servers[0] = None;
    let answer = outcome(both.ours.connect(), &get("/", "S=s1"));
    assert!(answer.starts_with("200 s") && !answer.starts_with("200 s1"), "{answer}");
    assert!(answer.contains("set-cookie: S=s"), "{answer}");
}

/// The server's name in an outcome.
fn who(outcome: &str) -> String {
    outcome.split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn a_table_keeps_an_address_on_its_server() {
    let mut both = both("roundrobin", None, Some(("type ip size 1k expire 30m", "src")));
    let all = |both: &Both| {
        let mut answers: Vec<_> = (0..6).map(|_| both.ask(&get("/", ""))).collect();
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:?}");
        let (ours, theirs) = answers.pop().unwrap();
        (who(&ours), who(&theirs))
    };
    let (ours, theirs) = all(&both);
    // Each loses its own server, and both of them.
    for name in [&ours, &theirs] {
        let at = NAMES.iter().position(|n| n == name).unwrap();
        if both.servers[at].is_some() {
            both.set(at, false);
        }
    }
    let (next, their_next) = all(&both);
    assert!(next != ours && their_next != theirs);
    // Whoever has moved stays where he is.
    for at in 0..3 {
        if both.servers[at].is_none() {
            both.set(at, true);
        }
    }
    assert_eq!(all(&both), (next, their_next));
}

#[test]
fn a_table_learns_the_servers_own_cookie() {
    let both = both("roundrobin", None, Some(("type string len 32 size 1k", "cookie(S)")));
    for conn in [&both.ours.port, &both.theirs.port] {
        let ask = |target: &str, cookie: &str| who(&outcome(Conn::to(*conn), &get(target, cookie)));
        let set_by = ask("/set", "");
        for _ in 0..4 {
            assert_eq!(ask("/", "S=theirs"), set_by);
        }
        // An unknown value is remembered from its first request on.
        let first = ask("/", "S=new");
        for _ in 0..4 {
            assert_eq!(ask("/", "S=new"), first);
        }
        let mut without: Vec<_> = (0..3).map(|_| ask("/", "")).collect();
        without.sort();
        assert_eq!(without, NAMES);
    }
}

#[test]
fn another_balancer_knows_where_visitors_belong() {
    let servers: Vec<Scripted> = NAMES.iter().map(|n| mirror(n, 0)).collect();
    let start = || {
        let list = servers.iter().zip(NAMES).map(|(s, n)| server(n, s.address));
        let mut wanted = settings(free_port(), list.collect());
        wanted.backends[0].stick_table = Some("type string size 10k expire 30m".parse().unwrap());
        wanted.backends[0].stick_on = Some("cookie(S)".parse().unwrap());
        Proxy::start(wanted)
    };
    let (one, two) = (start(), start());
    let ask = |proxy: &Proxy, n: usize| {
        who(&outcome(proxy.connect(), &get("/", &format!("S=visitor{n}"))))
    };
    let before: Vec<_> = (0..30).map(|n| ask(&one, n)).collect();
    let (visits, upto) = one.handle.visits_since(0);
    assert_eq!(visits.len(), 30);
    assert_eq!(one.handle.visits_since(upto), (Vec::new(), upto));
    // As they travel.
    let sent = serde_json::to_vec(&visits).unwrap();
    two.handle.hear_visits(&serde_json::from_slice::<Vec<model::Visit>>(&sent).unwrap());
    let after: Vec<_> = (0..30).map(|n| ask(&two, n)).collect();
    assert_eq!(before, after);
    // What is told back changes nothing, and tables that do not exist are none of its business.
    one.handle.hear_visits(&two.handle.visits_since(0).0);
    let mut foreign = visits;
    foreign.iter_mut().for_each(|v| v.backend = "other".parse().unwrap());
    one.handle.hear_visits(&foreign);
    assert_eq!((0..30).map(|n| ask(&one, n)).collect::<Vec<_>>(), before);
}
