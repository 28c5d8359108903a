//! Checks beyond a connection: key files, agents, bad answers, names; and the PROXY protocol.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use common::{Conn, Proxy, Scripted, echo, free_port, server, settings, until};
use model::status::{Health, ServerStatus};
use model::{Check, Millis, OnError, SendProxy, ServerHealth, ServerState};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn of(proxy: &Proxy, at: usize) -> ServerStatus {
    proxy.status().backends[0].servers[at].clone()
}

/// A server whose answers have this status.
fn with_status(status: &Arc<AtomicU16>, text: &'static str) -> Scripted {
    let status = Arc::clone(status);
    Scripted::new(move |peer| {
        while peer.request().is_some() {
            let (status, length) = (status.load(Ordering::SeqCst), text.len());
            peer.send(&format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{text}"));
        }
    })
}

#[test]
fn a_removed_key_file_drains_a_server() {
    let (one, two) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicU16::new(200)));
    let (a, b) = (with_status(&one, "a"), with_status(&two, "b"));
    let mut all = settings(free_port(), vec![server("a", a.address), server("b", b.address)]);
    all.backends[0].check = Check {
        inter: Millis(50),
        http_path: "/alive.txt".parse().ok(),
        disable_on_404: true,
        ..Check::default()
    };
    let proxy = Proxy::start(all);
    until("both are checked", || (0..2).all(|i| of(&proxy, i).check.check_status == "L7OK"));
    one.store(404, Ordering::SeqCst);
    until("it is draining", || of(&proxy, 0).status_word() == "NOLB");
    let now = of(&proxy, 0);
    assert_eq!((now.check.check_status.as_str(), now.check.check_code), ("L7OKC", Some(404)));
    assert_eq!((now.health, now.check.chkfail, now.usable()), (Health::Stopping, 0, false));
    let mut conn = proxy.connect();
    for _ in 0..8 {
        assert_eq!(conn.get("/").unwrap().body, b"b");
    }
    one.store(200, Ordering::SeqCst);
    until("it is back", || of(&proxy, 0).status_word() == "UP");
    until("it gets requests", || conn.get("/").unwrap().body == b"a");
    // A server that is down does not come back by a 404.
    one.store(500, Ordering::SeqCst);
    until("it is down", || of(&proxy, 0).health == Health::Down);
    one.store(404, Ordering::SeqCst);
    let chk = || of(&proxy, 0).check.check_code;
    until("it was checked again", || chk() == Some(404));
    assert_eq!(of(&proxy, 0).status_word(), "DOWN");
    assert_eq!(of(&proxy, 0).check.check_status, "L7STS");
}

/// An agent that says what it is told to.
fn agent(says: &Arc<Mutex<&'static str>>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let says = Arc::clone(says);
    std::thread::spawn(move || {
        while let Ok((mut io, _)) = listener.accept() {
            let line = *says.lock().unwrap();
            let _ = io.write_all(line.as_bytes());
        }
    });
    port
}

#[test]
fn an_agent_has_its_say() {
    let says = Arc::new(Mutex::new("up ready 100%\n"));
    let (a, b) = (Scripted::named("a"), Scripted::named("b"));
    let mut all = settings(free_port(), vec![server("a", a.address), server("b", b.address)]);
    all.backends[0].check = Check {
        inter: Millis(50),
        agent_port: agent(&says).to_string().parse().ok(),
        agent_inter: Millis(30),
        ..Check::default()
    };
    all.backends[0].servers[0].weight = model::Weight::constant(100);
    let proxy = Proxy::start(all);
    until("it was asked", || of(&proxy, 0).agent.unwrap().check.check_status == "L7OK");
    let say = |line| *says.lock().unwrap() = line;
    say("75% maxconn:9\r\n");
    until("the weight is lower", || of(&proxy, 0).effective_weight == 75);
    assert_eq!((of(&proxy, 0).weight.get(), of(&proxy, 0).maxconn), (100, 9));
    say("drain\n");
    until("it drains", || of(&proxy, 0).status_word() == "DRAIN (agent)");
    say("maint\n");
    until("it rests", || of(&proxy, 0).status_word() == "MAINT");
    assert_eq!(proxy.connect().get("/").unwrap().status, 503, "b has the same agent");
    say("ready down #no disk\n");
    until("it is down", || of(&proxy, 0).status_word() == "DOWN (agent)");
    assert!(of(&proxy, 0).agent.unwrap().check.last_chk.contains("no disk"));
    // What cannot be understood changes nothing; only the agent takes back what the agent said.
    say("hello\n");
    until("it is not understood", || {
        of(&proxy, 0).agent.unwrap().check.last_chk.contains("agent reports an error : hello")
    });
    assert_eq!(of(&proxy, 0).health, Health::Down);
    say("up\n");
    until("it is up", || of(&proxy, 0).status_word() == "UP");
    assert_eq!(proxy.connect().get("/").unwrap().status, 200);
}

#[test]
fn bad_answers_to_visitors_take_a_server_out() {
    let (one, two) = (Arc::new(AtomicU16::new(500)), Arc::new(AtomicU16::new(200)));
    let (a, b) = (with_status(&one, "a"), with_status(&two, "b"));
    let mut all = settings(free_port(), vec![server("a", a.address), server("b", b.address)]);
    all.backends[0].check = Check {
        inter: Millis(60_000),
        observe: true,
        error_limit: 5,
        on_error: OnError::MarkDown,
        ..Check::default()
    };
    let proxy = Proxy::with(all, 1, None);
    // One check each has passed: a connection is enough for it.
    until("a is checked", || of(&proxy, 0).check.check_status == "L4OK");
    let mut conn = proxy.connect();
    until("it is down", || {
        let _ = conn.get("/").unwrap();
        of(&proxy, 0).health == Health::Down
    });
    assert_eq!(
        (of(&proxy, 0).check.check_status.as_str(), of(&proxy, 0).check.hanafail),
        ("HANA", 1)
    );
    assert!(of(&proxy, 0).http.hrsp_5xx >= 5);
    for _ in 0..6 {
        assert_eq!(conn.get("/").unwrap().body, b"b");
    }
    assert_eq!(of(&proxy, 1).health, Health::Up);
}

#[test]
fn a_server_that_goes_down_has_its_requests_broken_off() {
    let slow = Scripted::new(|peer| {
        if peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nsome");
            std::thread::sleep(Duration::from_secs(8));
        }
    });
    let mut all = settings(free_port(), vec![server("slow", slow.address)]);
    all.backends[0].check =
        Check { inter: Millis(50), fall: 2, shutdown_sessions: true, ..Check::default() };
    let mut proxy = Proxy::start(all);
    let mut conn = proxy.connect();
    conn.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut seen = [0; 4096];
    until("it is under way", || {
        let n = conn.io.peek(&mut seen).unwrap();
        seen[..n].ends_with(b"some")
    });
    // Nobody there any more.
    proxy.change(|s| s.backends[0].check.port = free_port().to_string().parse().ok());
    until("it is down", || of(&proxy, 0).health == Health::Down);
    let text = conn.rest(Duration::from_secs(4));
    assert!(text.ends_with("some[closed]") || text.ends_with("some[reset]"), "{text}");
    until("it is logged", || proxy.handle.recent_log().iter().any(|l| l.contains(" DD-- ")));
}

#[test]
fn the_operators_word_stands_above_the_checks() {
    let (a, b) = (Scripted::named("a"), Scripted::named("b"));
    let mut all = settings(free_port(), vec![server("a", a.address), server("b", b.address)]);
    all.backends[0].check = Check { inter: Millis(40), ..Check::default() };
    let mut proxy = Proxy::start(all);
    until("it is checked", || of(&proxy, 0).check.check_status == "L4OK");
    proxy.change(|s| s.backends[0].servers[0].health = ServerHealth::Down);
    assert_eq!(of(&proxy, 0).status_word(), "DOWN");
    let mut conn = proxy.connect();
    (0..4).for_each(|_| assert_eq!(conn.get("/").unwrap().body, b"b"));
    proxy.change(|s| s.backends[0].servers[0].health = ServerHealth::Stopping);
    assert_eq!(of(&proxy, 0).status_word(), "NOLB");
    a.stop();
    proxy.change(|s| s.backends[0].servers[0].health = ServerHealth::Up);
    assert_eq!(of(&proxy, 0).health, Health::Up);
    proxy.change(|s| s.backends[0].servers[0].health = ServerHealth::Checked);
    until("the checks count again", || of(&proxy, 0).health == Health::Down);
}

#[test]
fn a_server_may_be_known_by_its_name() {
    let a = Scripted::named("a");
    let mut all = settings(free_port(), vec![server("a", a.address)]);
    let s = &mut all.backends[0].servers[0];
    s.address = None;
    s.hostname = format!("localhost:{}", a.address.port()).parse().ok();
    let mut proxy = Proxy::start(all);
    until("its name was found", || !of(&proxy, 0).unresolved());
    assert_eq!(proxy.connect().get("/").unwrap().body, b"a");
    // A label of this length is nobody's, but some resolvers answer anything.
    let nobody = format!("{}.invalid:80", "a".repeat(63));
    proxy.change(|s| s.backends[0].servers[0].hostname = nobody.parse().ok());
    let now = of(&proxy, 0);
    assert_eq!(now.unresolved(), now.status_word() == "MAINT (resolution)");
    assert!(!now.unresolved() || !now.usable());
}

#[test]
fn the_proxy_protocol_both_ways() {
    for version in [SendProxy::V1, SendProxy::V2] {
        // A server that expects the header and answers with what it says.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let std::net::SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!() };
        std::thread::spawn(move || {
            while let Ok((mut io, _)) = listener.accept() {
                let (mut seen, mut part) = (Vec::new(), [0; 4096]);
                // Version 2 begins with what ends a request; it is 28 bytes long.
                while seen.len() <= 28 || !seen.ends_with(b"\r\n\r\n") {
                    match io.read(&mut part) {
                        Ok(n) if n > 0 => seen.extend_from_slice(&part[..n]),
                        _ => break,
                    }
                }
                let hex: String = seen.iter().take(40).map(|b| format!("{b:02x}")).collect();
                let _ = write!(io, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{hex}", hex.len());
            }
        });
        let mut s = server("s", address);
        s.send_proxy = version;
        let mut all = settings(free_port(), vec![s]);
        all.frontends[0].accept_proxy = true;
        all.frontends[0].timeout_http_request = Millis(500);
        let proxy = Proxy::start(all);
        let mut conn = proxy.connect();
        conn.send(
            b"PROXY TCP4 203.0.113.7 203.0.113.8 4444 80\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        );
        let answer = conn.answer(false).unwrap();
        let want = match version {
            SendProxy::V2 => "0d0a0d0a000d0a515549540a2111000ccb007107cb007108115c0050".to_owned(),
            _ => "PROXY TCP4 203.0.113.7".bytes().map(|b| format!("{b:02x}")).collect(),
        };
        let text = String::from_utf8(answer.body).unwrap();
        assert!(text.starts_with(&want), "{version}: {text}");
        until("it is logged", || !proxy.handle.recent_log().is_empty());
        assert!(proxy.handle.recent_log()[0].starts_with("203.0.113.7:4444 "));
        // Without a header, or with a wrong one, there is no answer at all.
        assert_eq!(proxy.raw(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"), "[closed]");
        let mut silent = Conn::to(proxy.port);
        assert!(silent.rest(Duration::from_secs(3)).ends_with("[closed]"));
        until("both are counted", || proxy.status().frontends[0].ereq == 2);
    }
}

#[test]
fn a_draining_server_finishes_what_it_has() {
    let slow = Scripted::new(|peer| {
        if peer.request().is_some() {
            std::thread::sleep(Duration::from_millis(300));
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow");
        }
    });
    let other = Scripted::new(echo);
    let mut proxy = Proxy::start(settings(free_port(), vec![server("slow", slow.address)]));
    let mut conn = proxy.connect();
    conn.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    until("it is under way", || of(&proxy, 0).traffic.scur == 1);
    proxy.change(|s| {
        s.backends[0].servers[0].state = ServerState::Drain;
        s.backends[0].servers.push(server("other", other.address));
    });
    assert_eq!(of(&proxy, 0).status_word(), "DRAIN");
    assert_eq!(conn.answer(false).unwrap().body, b"slow");
    assert_eq!(proxy.connect().get("/x").unwrap().body, b"GET /x HTTP/1.1");
    until("the first one has ended", || of(&proxy, 0).traffic.scur == 0);
}
