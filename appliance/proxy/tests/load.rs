//! Where requests go and how many are let in while servers are busy, beside a real HAProxy.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use common::haproxy::{Haproxy, server_line};
use common::{Conn, Proxy, Scripted, free_port, server, settings, until};
use model::{Balance, Server};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Servers that answer when they are told to.
#[derive(Clone, Default)]
struct Held {
    /// Who was asked, in order.
    arrived: Arc<Mutex<Vec<&'static str>>>,
    /// How many are answered, in the order they arrived.
    answers: Arc<Mutex<usize>>,
}

impl Held {
    fn server(&self, name: &'static str) -> Scripted {
        let held = self.clone();
        Scripted::new(move |peer| {
            while peer.request().is_some() {
                let number = {
                    let mut arrived = held.arrived.lock().unwrap();
                    arrived.push(name);
                    arrived.len()
                };
                until("its answer is wanted", || *held.answers.lock().unwrap() >= number);
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        })
    }

    /// How many have arrived once nothing more does.
    fn settled(&self) -> usize {
        let count = || self.arrived.lock().unwrap().len();
        let mut before = count();
        loop {
            std::thread::sleep(Duration::from_millis(120));
            let now = count();
            if now == before {
                return now;
            }
            before = now;
        }
    }
}

/// Sends so many requests, each once the one before has found its place, and answers them one by
/// one. How many had arrived after each of these steps, and where they went.
fn ramp(port: u16, held: &Held, count: usize) -> (Vec<usize>, Vec<&'static str>) {
    let mut steps = Vec::new();
    let mut conns = Vec::new();
    for n in 0..count {
        let mut conn = Conn::to(port);
        conn.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        conns.push(conn);
        // Who arrives at once need not be waited for longer.
        if steps.last().copied().unwrap_or(0) == n {
            let end = std::time::Instant::now() + Duration::from_millis(300);
            while held.arrived.lock().unwrap().len() == n && std::time::Instant::now() < end {
                std::thread::sleep(Duration::from_millis(2));
            }
            steps.push(held.arrived.lock().unwrap().len());
        } else {
            steps.push(held.settled());
        }
    }
    for _ in 0..count {
        *held.answers.lock().unwrap() += 1;
        steps.push(held.settled());
    }
    for conn in &mut conns {
        assert_eq!(conn.answer(false).unwrap().status, 200);
    }
    (steps, held.arrived.lock().unwrap().clone())
}

/// The same ramp on ours and on HAProxy's.
///
/// `slack` is by how many the numbers may differ while the load goes down.
fn compare(
    balance: &str,
    fullconn: u32,
    limits: &[(u32, u32)],
    count: usize,
    slack: usize,
) -> Vec<&'static str> {
    const NAMES: [&str; 3] = ["s1", "s2", "s3"];
    let named = || NAMES.into_iter().zip(limits);
    let (ours, theirs) = (Held::default(), Held::default());
    let own: Vec<Scripted> = named().map(|(name, _)| ours.server(name)).collect();
    let list = own.iter().zip(named()).map(|(s, (name, (minconn, maxconn)))| Server {
        minconn: *minconn,
        maxconn: *maxconn,
        ..server(name, s.address)
    });
    let mut all = settings(free_port(), list.collect());
    all.backends[0].balance = balance.parse().unwrap();
    all.backends[0].fullconn = Some(fullconn);
    let proxy = Proxy::start(all);
    let their_own: Vec<Scripted> = named().map(|(name, _)| theirs.server(name)).collect();
    let mut lines = vec![format!("balance {balance}"), format!("fullconn {fullconn}")];
    for (s, (name, (minconn, maxconn))) in their_own.iter().zip(named()) {
        lines.push(server_line(name, s.address, &format!("minconn {minconn} maxconn {maxconn}")));
    }
    let haproxy = Haproxy::start(&[], &lines);
    let (a, b) = std::thread::scope(|s| {
        let a = s.spawn(|| ramp(proxy.port, &ours, count));
        let b = s.spawn(|| ramp(haproxy.port, &theirs, count));
        (a.join().unwrap(), b.join().unwrap())
    });
    let what = format!("{balance} fullconn {fullconn} {limits:?}: ours {a:?}, HAProxy's {b:?}");
    assert_eq!(a.0[..count], b.0[..count], "{what}");
    assert!(a.0.iter().zip(&b.0).all(|(a, b)| a.abs_diff(*b) <= slack), "{what}");
    assert!(slack > 0 || a.1 == b.1, "{what}");
    a.1
}

#[test]
fn first_fills_one_server_after_the_other() {
    let went = compare("first", 100, &[(0, 2), (0, 1), (0, 2)], 7, 0);
    assert_eq!(went[..5], ["s1", "s1", "s2", "s3", "s3"]);
    assert_eq!(went.len(), 7);
}

#[test]
fn the_least_busy_server_is_never_a_full_one() {
    compare("leastconn", 100, &[(0, 1), (0, 3), (0, 2)], 8, 0);
}

#[test]
fn limits_grow_with_the_load() {
    for (fullconn, limits) in
        [(10, &[(2, 6)][..]), (4, &[(1, 4)]), (20, &[(1, 10), (2, 5)]), (1, &[(1, 3)])]
    {
        // HAProxy lets the next ones in while it still counts the request that ends.
        compare("roundrobin", fullconn, limits, 10, 1);
    }
}

#[test]
fn the_process_takes_no_more_than_it_is_told() {
    let held = Held::default();
    *held.answers.lock().unwrap() = 1000;
    let backend = held.server("s");
    let mut all = settings(free_port(), vec![server("s", backend.address)]);
    all.backends[0].balance = Balance::Roundrobin;
    all.cluster.maxconn = Some(2);
    let mut proxy = Proxy::start(all);
    assert_eq!(proxy.status().maxconn, 2);
    let (mut a, mut b) = (proxy.connect(), proxy.connect());
    assert_eq!(a.get("/a").unwrap().status, 200);
    assert_eq!(b.get("/b").unwrap().status, 200);
    let mut third = proxy.connect();
    third.send(b"GET /c HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(third.rest(Duration::from_millis(300)), "[open]");
    drop(a);
    third.io.set_read_timeout(Some(common::PATIENCE)).unwrap();
    assert_eq!(third.answer(false).unwrap().status, 200);
    // More than there may be files is not more than the system gives.
    proxy.change(|s| s.cluster.maxconn = Some(90_000));
    let most = proxy.status().maxconn;
    proxy.change(|s| s.cluster.maxconn = None);
    assert!(most <= 90_000 && most <= proxy.status().maxconn && most > 2, "{most}");
}
