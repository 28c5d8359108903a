//! Datagrams of one source stay together, and go where the settings say.

use crate::common::{Proxy, server, until};
use crate::peers::{Echo, Visitor, led_to, udp};
use model::{Millis, Mode};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

#[test]
fn a_source_stays_with_its_server_and_everything_is_counted() {
    let (a, b) = (Echo::new("a"), Echo::new("b"));
    let proxy = Proxy::start(udp(vec![server("a", a.address), server("b", b.address)]));
    let visitors: Vec<Visitor> = (0..4).map(|_| Visitor::new(proxy.port)).collect();
    for visitor in &visitors {
        let first = visitor.ask("hello");
        for _ in 0..5 {
            assert_eq!(visitor.ask("hello"), first);
        }
    }
    assert_eq!((a.count(), b.count()), (12, 12));
    // What is passed on is counted right after.
    until("all is counted", || proxy.status().frontends[0].traffic.bout == 24 * 7);
    // One socket each towards the servers.
    let sources: BTreeSet<_> = a.seen.lock().unwrap().iter().copied().collect();
    assert_eq!(sources.len(), 2);
    let status = proxy.status();
    let front = &status.frontends[0];
    assert_eq!((front.mode, front.open), (Mode::Udp, true));
    assert_eq!((front.traffic.scur, front.traffic.stot), (4, 4));
    assert_eq!((front.traffic.bin, front.traffic.bout), (24 * 5, 24 * 7));
    let one = &status.backends[0].servers[0];
    assert_eq!((one.traffic.stot, one.traffic.bin, one.lbtot), (2, 12 * 5, 2));
    // They have their answers, so they are forgotten after a second.
    until("all are forgotten", || proxy.status().frontends[0].traffic.scur == 0);
    assert_eq!(proxy.status().backends[0].servers[0].traffic.scur, 0);
    until("all are logged", || proxy.handle.recent_log().len() == 4);
    let log = proxy.handle.recent_log();
    let from = visitors[0].0.local_addr().unwrap().to_string();
    let line = log.iter().find(|l| l.starts_with(&from)).unwrap();
    assert!(line.contains("] front back/a 0/0/1") && line.contains(" 42 -- "), "{line}");
}

#[test]
fn any_number_of_answers_and_large_ones_pass() {
    let many = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let SocketAddr::V4(address) = many.local_addr().unwrap() else { unreachable!() };
    std::thread::spawn(move || {
        let mut part = [0; 65536];
        while let Ok((n, from)) = many.recv_from(&mut part) {
            for _ in 0..if n > 100 { 2 } else { 50 } {
                many.send_to(&part[..n], from).unwrap();
            }
        }
    });
    let mut all = udp(vec![server("s", address)]);
    all.backends[0].udp_responses = None;
    all.frontends[0].timeout_client = Millis(400);
    let proxy = Proxy::start(all);
    let visitor = Visitor::new(proxy.port);
    // As large as a datagram can be, and an empty one.
    for (text, answers) in [("x".repeat(65_507), 2), (String::new(), 50)] {
        visitor.say(&text);
        for _ in 0..answers {
            assert_eq!(visitor.hear(Duration::from_secs(5)).unwrap(), text);
        }
    }
    assert_eq!(proxy.status().frontends[0].traffic.stot, 1);
    until("silence ends it", || proxy.status().frontends[0].traffic.scur == 0);
}

#[test]
fn an_answer_leaves_from_the_address_that_was_asked() {
    let echo = Echo::new("s");
    let mut all = udp(vec![server("s", echo.address)]);
    let port = all.frontends[0].bind[0].port;
    all.frontends[0].bind = vec![format!("*:{port}").parse().unwrap()];
    let proxy = Proxy::start(all);
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    for last in [1, 7, 200] {
        let at = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), proxy.port));
        client.send_to(b"q", at).unwrap();
        let mut part = [0; 10];
        assert_eq!(client.recv_from(&mut part).unwrap(), (3, at));
    }
    // Three addresses of ours are three conversations.
    assert_eq!(proxy.status().frontends[0].traffic.stot, 3);
}

#[test]
fn algorithms() {
    let echoes = [Echo::new("a"), Echo::new("b"), Echo::new("c")];
    let names = ["a", "b", "c"];
    let servers = || -> Vec<model::Server> {
        names.iter().zip(&echoes).map(|(n, e)| server(n, e.address)).collect()
    };
    let mut all = udp(servers());
    // One thread, so that turns are exact.
    all.backends[0].servers[2].weight = model::Weight::constant(2);
    let mut proxy = Proxy::with(all, 1, None);
    let mut run = |balance: &str, hash: &str| -> Vec<String> {
        until("all are forgotten", || proxy.status().frontends[0].traffic.scur == 0);
        proxy.change(|s| {
            s.backends[0].balance = balance.parse().unwrap();
            s.backends[0].hash_type = hash.parse().unwrap();
        });
        (0..8).map(|_| led_to(&proxy)).collect()
    };
    let counts = |led: &[String]| names.map(|n| led.iter().filter(|l| *l == n).count());
    assert_eq!(counts(&run("roundrobin", "map-based")), [2, 2, 4]);
    assert_eq!(counts(&run("static-rr", "map-based")), [2, 2, 4]);
    assert_eq!(counts(&run("first", "map-based")), [8, 0, 0]);
    for hash in ["map-based", "consistent"] {
        let led = run("source", hash);
        assert!(led.iter().all(|l| *l == led[0]), "{led:?}");
    }
    assert!(counts(&run("random", "map-based")).iter().all(|n| *n < 8));
    // All answered conversations last a second still: leastconn goes where there are fewest.
    let led = run("leastconn", "map-based");
    assert!(counts(&led).iter().all(|n| *n >= 2), "{led:?}");
}

#[test]
fn a_stick_table_keeps_an_address_on_its_server() {
    let (a, b) = (Echo::new("a"), Echo::new("b"));
    let mut all = udp(vec![server("a", a.address), server("b", b.address)]);
    all.backends[0].stick_table = "type ip size 100 expire 1m".parse().ok();
    all.backends[0].stick_on = "src".parse().ok();
    let proxy = Proxy::start(all);
    let first = led_to(&proxy);
    assert!((0..6).all(|_| led_to(&proxy) == first));
    let (visits, _) = proxy.handle.visits_since(0);
    assert_eq!((visits[0].key.as_str(), visits[0].server.as_str()), ("127.0.0.1", first.as_str()));
}

#[test]
fn a_busy_visitor_is_balanced_anew_where_wanted() {
    let (a, b) = (Echo::new("a"), Echo::new("b"));
    let mut all = udp(vec![server("a", a.address), server("b", b.address)]);
    all.backends[0].udp_requests = 1;
    let proxy = Proxy::start(all);
    let router = Visitor::new(proxy.port);
    for _ in 0..10 {
        router.ask("q");
    }
    assert_eq!((a.count(), b.count()), (5, 5));
    // Answers to what was asked before still come.
    (0..10).for_each(|_| router.say("q"));
    assert!((0..10).all(|_| router.hear(Duration::from_secs(5)).is_some()));
}
