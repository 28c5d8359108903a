//! Servers that refuse, die or go down; clients that are slow; limits.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use common::{Conn, Proxy, Scripted, echo, free_port, name, server, settings, times, until};
use model::status::{Health, SubsystemState};
use model::{Check, Millis, ServerState};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::time::{Duration, Instant};

fn nowhere() -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, free_port())
}

#[test]
fn a_server_that_refuses_is_left_out() {
    let good = Scripted::named("good");
    let servers = vec![server("bad", nowhere()), server("good", good.address)];
    let proxy = Proxy::with(settings(free_port(), servers), 1, None);
    for _ in 0..10 {
        assert_eq!(proxy.connect().get("/").unwrap().body, b"good");
    }
    // A visitor may have its answer a moment before it is counted.
    until("all are counted", || proxy.status().backends[0].servers[1].http.hrsp_2xx == 10);
    let back = &proxy.status().backends[0];
    let (bad, good) = (&back.servers[0], &back.servers[1]);
    // Its turn comes as ever: only checks take a server out.
    assert_eq!((bad.econ, bad.wretr, bad.wredis), (10, 10, 10));
    assert_eq!((good.econ, good.http.hrsp_2xx), (0, 10));
    until("the lines are logged", || proxy.handle.recent_log().len() == 10);
    let log = proxy.handle.recent_log();
    assert!(log[0].contains(" front back/good ") && log[0].contains("/+1 0/0 "), "{}", log[0]);
    // Nobody waited in a queue, and it came to everything else.
    let times = times(&log[0]);
    assert!(times[1] == 0 && times.iter().all(|t| *t >= 0), "{times:?}");
}

#[test]
fn without_any_server_the_answer_is_503() {
    let mut all = settings(free_port(), vec![server("s1", nowhere())]);
    all.backends[0].retries = 1;
    all.backends[0].timeout_connect = Millis(100);
    let mut proxy = Proxy::start(all);
    let mut conn = proxy.connect();
    let answer = conn.get("/").unwrap();
    assert_eq!(answer.status, 503);
    assert!(String::from_utf8(answer.body).unwrap().contains("No server is available"));
    assert_eq!(proxy.status().backends[0].servers[0].econ, 2);
    // The connection goes on: the request was whole.
    proxy.change(|s| s.backends[0].servers.clear());
    assert_eq!(conn.get("/").unwrap().status, 503);
    proxy.change(|s| s.frontends[0].default_backend = name("other"));
    assert_eq!(conn.get("/").unwrap().status, 503);
    until("the lines are logged", || proxy.handle.recent_log().len() == 3);
    let line = &proxy.handle.recent_log()[1];
    assert!(line.contains(" back/<NOSRV> ") && line.contains(" SC-- "), "{line}");
    assert_eq!(times(line)[1..4], [-1; 3], "{line}");
    assert!(times(line)[0] >= 0, "{line}");
}

#[test]
fn a_server_that_dies_in_a_body_ends_the_connection() {
    let backend = Scripted::new(|peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nonly this");
        peer.reset();
    });
    let proxy = Proxy::start(settings(free_port(), vec![server("s1", backend.address)]));
    let text = proxy.raw(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(!text.ends_with("[open]"), "{text}");
    until("it is counted", || proxy.status().backends[0].servers[0].srv_abrt == 1);
    until("it is logged", || proxy.handle.recent_log().iter().any(|l| l.contains(" SD-- ")));
}

#[test]
fn a_request_that_was_not_answered_goes_to_another_server() {
    let dying = Scripted::new(|peer| {
        peer.request();
    });
    let good = Scripted::named("good");
    let servers = vec![server("dying", dying.address), server("good", good.address)];
    let proxy = Proxy::with(settings(free_port(), servers), 1, None);
    assert_eq!(proxy.connect().get("/").unwrap().body, b"good");
    let mut conn = proxy.connect();
    // What must not be repeated is not.
    assert_eq!(conn.get("/").unwrap().body, b"good");
    conn.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx");
    let status = conn.answer(false).unwrap().status;
    let posts = |s: &Scripted| s.requests().iter().filter(|r| r.starts_with("POST")).count();
    assert_eq!(posts(&dying) + posts(&good), 1);
    assert_eq!(status, if posts(&dying) == 1 { 502 } else { 200 });
}

#[test]
fn checks_take_servers_out_and_back() {
    let port = free_port();
    let steady = Scripted::named("steady");
    let shaky = Scripted::at(port, echo);
    let servers = vec![server("steady", steady.address), server("shaky", shaky.address)];
    let mut all = settings(free_port(), servers);
    all.backends[0].check = Check { inter: Millis(50), ..Check::default() };
    let proxy = Proxy::start(all);
    let health = || proxy.status().backends[0].servers[1].clone();
    until("the first check is in", || health().check.check_status == "L4OK");
    assert_eq!(health().check.check_health, 4);
    let changes = proxy.board.changes();
    shaky.stop();
    drop(shaky);
    until("it is down", || health().health == Health::Down);
    assert_eq!(health().check.check_status, "L4CON");
    assert_eq!((health().check.chkfail, health().check.chkdown), (3, 1));
    assert!(changes.has_changed().unwrap());
    let mut conn = proxy.connect();
    for _ in 0..10 {
        assert_eq!(conn.get("/").unwrap().body, b"steady");
    }
    let _again = Scripted::at(port, echo);
    until("it is up again", || health().health == Health::Up);
    until("it gets requests", || conn.get("/").unwrap().body != b"steady");
    assert_eq!(proxy.status().backends[0].chkdown, 0);
}

#[test]
fn http_checks_expect_a_good_status() {
    let bad = Scripted::new(|peer| {
        while let Some(request) = peer.request() {
            let check = request.starts_with("GET /healthz ");
            let status = if check { "500 Broken" } else { "200 OK" };
            peer.send(&format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
        }
    });
    let good = Scripted::echo();
    let servers = vec![server("bad", bad.address), server("good", good.address)];
    let mut all = settings(free_port(), servers);
    let path = Some("/healthz".parse().unwrap());
    all.backends[0].check = Check { inter: Millis(50), http_path: path, ..Check::default() };
    let mut proxy = Proxy::start(all);
    let servers = |p: &Proxy| p.status().backends[0].servers.clone();
    // Up at the start, and down with the first failure.
    until("the bad one is down", || servers(&proxy)[0].health == Health::Down);
    assert_eq!(servers(&proxy)[0].check.chkfail, 1);
    assert_eq!(servers(&proxy)[0].check.check_code, Some(500));
    assert_eq!(servers(&proxy)[0].check.last_chk, "Layer7 wrong status: 500 Broken");
    until("the good one is checked", || servers(&proxy)[1].check.check_status == "L7OK");
    // Without checks it counts as usable again.
    proxy.change(|s| s.backends[0].check.enabled = false);
    assert_eq!(servers(&proxy)[0].health, Health::Unchecked);
    proxy.change(|s| s.backends[0].check = Check { inter: Millis(50), ..Check::default() });
    until("a connection is enough", || servers(&proxy)[0].check.check_status == "L4OK");
    assert_eq!(servers(&proxy)[0].health, Health::Up);
}

#[test]
fn a_backup_is_used_when_nothing_else_is_left() {
    let main = Scripted::named("main");
    let spare = Scripted::named("spare");
    let mut backup = server("spare", spare.address);
    backup.backup = true;
    let mut proxy = Proxy::start(settings(free_port(), vec![backup, server("main", main.address)]));
    let mut conn = proxy.connect();
    for _ in 0..4 {
        assert_eq!(conn.get("/").unwrap().body, b"main");
    }
    proxy.change(|s| s.backends[0].servers[1].state = ServerState::Drain);
    assert_eq!(conn.get("/").unwrap().body, b"spare");
    assert_eq!(proxy.status().backends[0].servers[1].status_word(), "DRAIN");
}

#[test]
fn a_request_waiting_for_a_server_that_goes_down_moves_on() {
    // Takes connections and never answers; its checks are told to go away.
    let port = free_port();
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    let good = Scripted::named("good");
    let servers = vec![server("silent", address), server("good", good.address)];
    let mut all = settings(free_port(), servers);
    all.backends[0].check = Check { inter: Millis(50), ..Check::default() };
    let proxy = Proxy::with(all, 1, None);
    let asked = Instant::now();
    let mut conn = proxy.connect();
    conn.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    until("the request is there", || proxy.status().backends[0].servers[0].traffic.scur == 1);
    std::thread::sleep(Duration::from_millis(100));
    // Closing the listener resets what was never accepted; keep the request's connection open.
    let held: Vec<_> = std::iter::from_fn(|| {
        silent.set_nonblocking(true).unwrap();
        silent.accept().ok()
    })
    .collect();
    drop(silent);
    assert_eq!(conn.answer(false).unwrap().body, b"good");
    assert!(asked.elapsed() < Duration::from_secs(5));
    drop(held);
}

#[test]
fn slow_requests_time_out_however_they_trickle() {
    let backend = Scripted::echo();
    let mut all = settings(free_port(), vec![server("s1", backend.address)]);
    all.frontends[0].timeout_http_request = Millis(400);
    all.frontends[0].timeout_http_keep_alive = Millis(300);
    all.frontends[0].timeout_client = Millis(300);
    let proxy = Proxy::start(all);
    let begun = Instant::now();
    let mut conn = proxy.connect();
    let mut io = conn.io.try_clone().unwrap();
    let trickle = std::thread::spawn(move || {
        for byte in b"GET / HTTP/1.1\r\nHost: h\r\nA: bbbbbbbbbbbbbbbbbbbbbbbb" {
            if std::io::Write::write_all(&mut io, &[*byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    assert_eq!(conn.answer(false).unwrap().status, 408);
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(350) && took < Duration::from_secs(2), "{took:?}");
    trickle.join().unwrap();
    // A body that never comes.
    let mut conn = proxy.connect();
    conn.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
    assert_eq!(conn.answer(false).unwrap().status, 408);
    // Silence from the start is told of, and between requests it ends without a word.
    let text = proxy.connect().rest(Duration::from_secs(5));
    assert!(text.starts_with("HTTP/1.1 408 ") && text.ends_with("[closed]"), "{text}");
    let mut conn = proxy.connect();
    conn.get("/").unwrap();
    assert_eq!(conn.rest(Duration::from_secs(5)), "[closed]");
    until("they are logged", || proxy.handle.recent_log().len() == 3);
    let log = proxy.handle.recent_log();
    assert!(log.iter().any(|l| l.contains(" cR-- ") && l.contains("\"<BADREQ>\"")), "{log:?}");
}

#[test]
fn slow_servers_time_out() {
    let backend = Scripted::new(|peer| {
        while let Some(request) = peer.request() {
            if request.contains("/half") {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
            }
        }
    });
    let mut all = settings(free_port(), vec![server("s1", backend.address)]);
    all.backends[0].timeout_server = Millis(300);
    let proxy = Proxy::start(all);
    assert_eq!(proxy.connect().get("/").unwrap().status, 504);
    let mut conn = proxy.connect();
    conn.send(b"GET /half HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(conn.rest(Duration::from_secs(5)).ends_with("half[closed]"));
    until("they are logged", || proxy.handle.recent_log().len() == 2);
    let log = proxy.handle.recent_log().join("\n");
    assert!(log.contains(" sH-- ") && log.contains(" sD-- "), "{log}");
}

#[test]
fn more_than_maxconn_wait_their_turn() {
    let backend = Scripted::echo();
    let mut all = settings(free_port(), vec![server("s1", backend.address)]);
    all.frontends[0].maxconn = 2;
    let mut proxy = Proxy::with(all, 1, None);
    let mut first = proxy.connect();
    let mut second = proxy.connect();
    first.get("/").unwrap();
    second.get("/").unwrap();
    let mut third = proxy.connect();
    third.send(b"GET /third HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(third.rest(Duration::from_millis(300)), "[open]");
    assert_eq!(proxy.status().frontends[0].traffic.scur, 2);
    drop(first);
    third.io.set_read_timeout(Some(common::PATIENCE)).unwrap();
    assert_eq!(third.answer(false).unwrap().body, b"GET /third HTTP/1.1");
    // Raising the limit lets the next one in at once.
    proxy.change(|s| s.frontends[0].maxconn = 3);
    assert_eq!(proxy.connect().get("/").unwrap().status, 200);
    assert_eq!(proxy.status().frontends[0].slim, 3);
}

#[test]
fn a_taken_port_is_named_and_taken_over_later() {
    let backend = Scripted::echo();
    let good = free_port();
    let mut proxy = Proxy::start(settings(good, vec![server("s1", backend.address)]));
    assert!(*proxy.handle.ready().borrow());
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().port();
    proxy.change(|s| s.frontends.push(common::frontend("second", taken)));
    let SubsystemState::Degraded { reason } = proxy.state() else { panic!("{:?}", proxy.state()) };
    assert!(reason.contains(&format!("port {taken} is taken")), "{reason}");
    assert!(!*proxy.handle.ready().borrow());
    assert!(!proxy.status().frontends[1].open);
    // The other frontend is none the worse for it.
    assert_eq!(proxy.connect().get("/").unwrap().status, 200);
    drop(other);
    until("the port is taken over", || proxy.state() == SubsystemState::Applied);
    assert_eq!(Conn::to(taken).get("/").unwrap().status, 200);
    assert!(*proxy.handle.ready().borrow());
}

#[test]
fn the_access_log_reaches_its_writer() {
    #[derive(Clone, Default)]
    struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
    impl std::io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Shared::default();
    let backend = Scripted::echo();
    let all = settings(free_port(), vec![server("s1", backend.address)]);
    let mut proxy = Proxy::with(all, 2, Some(Box::new(log.clone())));
    let mut conn = proxy.connect();
    for i in 0..600 {
        conn.get(&format!("/{i}")).unwrap();
    }
    let text = || String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    until("all lines are written", || text().lines().count() == 600);
    for (i, line) in text().lines().enumerate() {
        assert!(line.starts_with("127.0.0.1:"), "{line}");
        assert!(line.contains("] front back/s1 "), "{line}");
        assert!(line.contains(" - - ---- 1/1/"), "{line}");
        assert!(line.ends_with(&format!("/0 0/0 \"GET /{i} HTTP/1.1\"")), "{line}");
    }
    let recent = proxy.handle.recent_log();
    assert_eq!(recent.len(), 500);
    assert!(recent[0].contains("/100 ") && recent[499].contains("/599 "));
    proxy.change(|s| s.frontends[0].httplog = false);
    conn.get("/quiet").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(text().lines().count(), 600);
}
