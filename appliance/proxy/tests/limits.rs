//! Limits and queues.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use common::{Conn, Proxy, Scripted, free_port, server, settings, times, until};
use model::{Balance, Millis, Mode, ServerState};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// A server that takes its time, and the most requests it ever had at once.
fn slow(ms: u64) -> (Scripted, Arc<AtomicUsize>) {
    let (now, most): (Arc<AtomicUsize>, Arc<AtomicUsize>) = Default::default();
    let seen = Arc::clone(&most);
    let server = Scripted::new(move |peer| {
        while peer.request().is_some() {
            most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
            std::thread::sleep(Duration::from_millis(ms));
            now.fetch_sub(1, SeqCst);
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    (server, seen)
}

fn all_at_once(port: u16, count: usize) -> Vec<u16> {
    let threads: Vec<_> = (0..count)
        .map(|_| std::thread::spawn(move || Conn::to(port).get("/").unwrap().status))
        .collect();
    threads.into_iter().map(|t| t.join().unwrap()).collect()
}

#[test]
fn more_than_a_server_takes_wait_their_turn() {
    let (a, most) = slow(20);
    let mut s = server("a", a.address);
    s.maxconn = 2;
    let proxy = Proxy::start(settings(free_port(), vec![s]));
    assert_eq!(all_at_once(proxy.port, 20), vec![200; 20]);
    assert!(most.load(SeqCst) <= 2, "{}", most.load(SeqCst));
    until("all are counted", || proxy.status().backends[0].servers[0].http.hrsp_2xx == 20);
    let back = &proxy.status().backends[0];
    assert!(back.queue.qmax > 0 && back.queue.qcur == 0, "{:?}", back.queue);
    assert_eq!((back.servers[0].traffic.smax, back.servers[0].maxconn), (2, 2));
    until("they are logged", || proxy.handle.recent_log().len() == 20);
    // TR/Tw/Tc/Tr/Ta: somebody waited, and was not the first to.
    let log = proxy.handle.recent_log();
    assert!(log.iter().any(|l| times(l)[1] > 10), "{log:?}");
    assert!(log.iter().any(|l| !l.contains(" 0/0 \"")), "{log:?}");
}

#[test]
fn who_waits_is_served_as_the_settings_say_by_then() {
    let (a, _) = slow(3000);
    let (b, _) = slow(1);
    for sticky in [false, true] {
        let mut s = server("a", a.address);
        s.maxconn = 1;
        let mut proxy = Proxy::start(settings(free_port(), vec![s]));
        if sticky {
            proxy.change(|s| s.backends[0].balance = Balance::Source);
        }
        let port = proxy.port;
        let ask = move || {
            let begun = Instant::now();
            (Conn::to(port).get("/").unwrap().status, begun.elapsed())
        };
        let first = std::thread::spawn(ask);
        until("it runs", || proxy.status().backends[0].servers[0].traffic.scur == 1);
        let second = std::thread::spawn(ask);
        let qcur = |proxy: &Proxy| {
            let back = &proxy.status().backends[0];
            back.queue.qcur + back.servers[0].queue.qcur
        };
        until("another waits", || qcur(&proxy) == 1);
        // A second server comes and the first one goes into maintenance.
        proxy.change(|s| {
            s.backends[0].servers.push(server("b", b.address));
            s.backends[0].servers[0].state = ServerState::Maint;
        });
        let (status, took) = second.join().unwrap();
        assert!(status == 200 && took < Duration::from_millis(2500), "{status} after {took:?}");
        assert_eq!(first.join().unwrap().0, 200);
        let back = &proxy.status().backends[0];
        assert_eq!(back.servers[1].http.hrsp_2xx, 1);
        assert_eq!(qcur(&proxy), 0);
    }
}

/// A server with one place, which the first request keeps until it is let go.
fn held() -> (Scripted, Arc<AtomicBool>) {
    let free: Arc<AtomicBool> = Arc::default();
    let go_on = Arc::clone(&free);
    let server = Scripted::new(move |peer| {
        while let Some(request) = peer.request() {
            let until = Instant::now() + Duration::from_secs(120);
            while request.starts_with("GET /held ") && !go_on.load(SeqCst) && Instant::now() < until
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    (server, free)
}

/// Bytes of memory this process has.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn who_waits_outlasts_any_number_of_changes() {
    const WAITING: u64 = 64;
    const CHANGES: u32 = 120;
    let (a, free) = held();
    let mut s = server("a", a.address);
    s.maxconn = 1;
    let mut all = settings(free_port(), vec![s]);
    all.backends[0].timeout_queue = Some(Millis(120_000));
    let mut proxy = Proxy::with(all, 1, None);
    let mut first = proxy.connect();
    first.send(b"GET /held HTTP/1.1\r\nHost: h\r\n\r\n");
    until("it runs", || proxy.status().backends[0].servers[0].traffic.scur == 1);
    let mut waiting: Vec<Conn> = (0..WAITING).map(|_| proxy.connect()).collect();
    waiting.iter_mut().for_each(|c| c.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    // For this very server or for any.
    let queues = |proxy: &Proxy| {
        let back = &proxy.status().backends[0];
        [back.servers[0].queue.qcur, back.queue.qcur]
    };
    until("the others wait", || queues(&proxy) == [0, WAITING]);
    let (begun, before) = (Instant::now(), resident());
    for _ in 0..CHANGES / 2 {
        proxy.change(|s| s.backends[0].balance = Balance::Source);
        until("they wait for this one", || queues(&proxy) == [WAITING, 0]);
        proxy.change(|s| s.backends[0].balance = Balance::default());
        until("they wait for anyone", || queues(&proxy) == [0, WAITING]);
    }
    let (waited, grown) = (begun.elapsed(), resident().saturating_sub(before));
    free.store(true, SeqCst);
    assert_eq!(first.answer(false).unwrap().body, b"ok");
    for conn in &mut waiting {
        assert_eq!(conn.answer(false).unwrap().body, b"ok");
    }
    // A kilobyte that each change left behind with each of them would be 7 MiB.
    assert!(grown < 5 << 20, "{grown} bytes more after {CHANGES} changes");
    until("all are logged", || proxy.handle.recent_log().len() == waiting.len() + 1);
    let log = proxy.handle.recent_log();
    let whole = i64::try_from(waited.as_millis()).unwrap();
    for line in log.iter().filter(|l| !l.contains("/held")) {
        // Less the tick of the clock that both ends are read from.
        assert!(times(line)[1] >= whole - 100, "{line} after {whole} ms");
    }
    assert_eq!(queues(&proxy), [0, 0]);
}

#[test]
fn a_connection_that_waits_outlasts_changes_too() {
    let mirror = Scripted::new(|peer| {
        let mut part = [0; 16];
        while let Ok(n @ 1..) = peer.io.read(&mut part) {
            let _ = peer.io.write_all(&part[..n]);
        }
    });
    let mut s = server("a", mirror.address);
    s.maxconn = 1;
    let mut all = settings(free_port(), vec![s]);
    all.frontends[0].mode = Mode::Tcp;
    all.backends[0].mode = Mode::Tcp;
    all.backends[0].timeout_queue = Some(Millis(120_000));
    let mut proxy = Proxy::with(all, 1, None);
    let first = proxy.connect();
    until("it runs", || proxy.status().backends[0].servers[0].traffic.scur == 1);
    let mut second = proxy.connect();
    second.send(b"hello");
    until("another waits", || proxy.status().backends[0].queue.qcur == 1);
    let begun = Instant::now();
    for _ in 0..10 {
        proxy.change(|s| s.backends[0].balance = Balance::Source);
        until("it waits for this one", || proxy.status().backends[0].servers[0].queue.qcur == 1);
        proxy.change(|s| s.backends[0].balance = Balance::default());
        until("it waits for anyone", || proxy.status().backends[0].queue.qcur == 1);
    }
    let whole = i64::try_from(begun.elapsed().as_millis()).unwrap();
    drop(first);
    let mut part = [0; 5];
    second.io.read_exact(&mut part).unwrap();
    assert_eq!(&part, b"hello");
    drop(second);
    until("both are logged", || proxy.handle.recent_log().len() == 2);
    let log = proxy.handle.recent_log();
    assert!(times(&log[1])[0] >= whole - 100, "{} after {whole} ms", log[1]);
}

#[test]
fn who_finds_one_server_full_gets_another() {
    let ((a, _), (b, most)) = (slow(400), slow(1));
    let mut servers = vec![server("a", a.address), server("b", b.address)];
    servers[0].maxconn = 1;
    let proxy = Proxy::start(settings(free_port(), servers));
    let begun = Instant::now();
    assert_eq!(all_at_once(proxy.port, 12), vec![200; 12]);
    // One after the other on the slow one, half of them would take more than two seconds.
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(most.load(SeqCst) >= 1);
    assert_eq!(proxy.status().backends[0].servers[0].traffic.smax, 1);
}

#[test]
fn nobody_waits_for_ever() {
    let (a, _) = slow(4000);
    let mut s = server("a", a.address);
    s.maxconn = 1;
    let mut all = settings(free_port(), vec![s]);
    all.backends[0].timeout_queue = Some(Millis(300));
    let mut proxy = Proxy::start(all);
    let mut first = proxy.connect();
    first.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    until("it is taken", || proxy.status().backends[0].servers[0].traffic.scur == 1);
    let begun = Instant::now();
    assert_eq!(proxy.connect().get("/").unwrap().status, 503);
    assert!(begun.elapsed() >= Duration::from_millis(290), "{:?}", begun.elapsed());
    until("it is logged", || proxy.handle.recent_log().iter().any(|l| l.contains(" sQ-- ")));
    // Who waits is told at once when there is nobody left to wait for.
    proxy.change(|s| s.backends[0].timeout_queue = Some(Millis(20_000)));
    let mut second = proxy.connect();
    second.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    until("it waits", || proxy.status().backends[0].queue.qcur == 1);
    proxy.change(|s| s.backends[0].servers[0].state = ServerState::Maint);
    let begun = Instant::now();
    assert_eq!(second.answer(false).unwrap().status, 503);
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(first.answer(false).unwrap().body, b"ok");
}

#[test]
fn a_visitor_who_leaves_a_queue_leaves_no_gap() {
    let (a, _) = slow(300);
    let mut s = server("a", a.address);
    s.maxconn = 1;
    let proxy = Proxy::start(settings(free_port(), vec![s]));
    let mut conns: Vec<_> = (0..4).map(|_| proxy.connect()).collect();
    for (i, conn) in conns.iter_mut().enumerate() {
        conn.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let waiting = u64::try_from(i).unwrap();
        until("it waits", || proxy.status().backends[0].queue.qcur == waiting);
    }
    drop(conns.remove(1));
    for conn in &mut conns {
        assert_eq!(conn.answer(false).unwrap().status, 200);
    }
}

#[test]
fn without_redispatch_the_same_server_is_tried() {
    let nowhere = SocketAddrV4::new(Ipv4Addr::LOCALHOST, free_port());
    let good = Scripted::named("good");
    let mut all = settings(free_port(), vec![server("bad", nowhere), server("good", good.address)]);
    all.backends[0].redispatch = false;
    all.backends[0].retries = 2;
    all.backends[0].timeout_connect = Millis(50);
    let proxy = Proxy::with(all, 1, None);
    let mut conn = proxy.connect();
    let mut seen: Vec<u16> = (0..2).map(|_| conn.get("/").unwrap().status).collect();
    seen.sort_unstable();
    assert_eq!(seen, [200, 503]);
    let bad = proxy.status().backends[0].servers[0].clone();
    assert_eq!((bad.econ, bad.wretr, bad.wredis), (3, 2, 0));
}

/// Hundreds who send half a head each cost little and are sent away in time.
#[test]
fn slow_clients_are_sent_away() {
    let good = Scripted::named("good");
    let mut all = settings(free_port(), vec![server("good", good.address)]);
    all.frontends[0].timeout_http_request = Millis(700);
    let proxy = Proxy::start(all);
    let mut slow: Vec<_> = (0..300).map(|_| proxy.connect()).collect();
    slow.iter_mut().for_each(|c| c.send(b"GET / HTTP/1.1\r\nHost: h\r\nX: "));
    until("they are there", || proxy.status().frontends[0].traffic.scur >= 300);
    assert_eq!(proxy.connect().get("/").unwrap().body, b"good");
    // One byte now and then buys no time.
    slow.iter_mut().for_each(|c| c.send(b"y"));
    let text = slow[0].rest(Duration::from_secs(5));
    assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
    until("all are refused", || proxy.status().frontends[0].ereq == 300);
}

#[test]
fn as_many_connections_are_kept_as_were_busy() {
    const VISITORS: usize = 90;
    let (a, _) = slow(20);
    let proxy = Proxy::with(settings(free_port(), vec![server("a", a.address)]), 1, None);
    let port = proxy.port;
    let visitors: Vec<_> = (0..VISITORS)
        .map(|_| {
            std::thread::spawn(move || {
                let mut conn = Conn::to(port);
                (0..5).all(|_| conn.get("/").unwrap().status == 200)
            })
        })
        .collect();
    assert!(visitors.into_iter().all(|v| v.join().unwrap()));
    let opened = a.connections.load(SeqCst);
    assert!(opened <= VISITORS, "{opened} connections for {VISITORS} at once");
}

/// The kernel alone would spread them by chance: of forty connections on eight threads hardly ever
/// each has five.
#[test]
fn every_thread_serves_as_many_connections_as_the_others() {
    let a = Scripted::named("a");
    let proxy = Proxy::with(settings(free_port(), vec![server("a", a.address)]), 8, None);
    let mut visitors: Vec<Conn> = Vec::new();
    for _ in 0..40 {
        let mut visitor = proxy.connect();
        assert_eq!(visitor.get("/").unwrap().status, 200);
        visitors.push(visitor);
    }
    assert_eq!(proxy.handle.connections_of_threads(), [5; 8]);
    for visitor in &mut visitors {
        assert_eq!(visitor.get("/").unwrap().status, 200);
    }
    assert_eq!(proxy.status().frontends[0].traffic.scur, 40);
    drop(visitors);
    until("they are gone", || proxy.handle.connections_of_threads() == [0; 8]);
}
