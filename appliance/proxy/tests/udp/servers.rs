//! What a server refuses or does not answer is asked elsewhere.

use crate::common::{Proxy, free_udp_port, server, until};
use crate::peers::{Echo, Visitor, checked, led_to, udp};
use model::ServerState;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[test]
fn what_a_server_refuses_is_asked_at_the_other() {
    let mut a = Echo::new("a");
    let b = Echo::new("b");
    let proxy = Proxy::start(udp(vec![server("a", a.address), server("b", b.address)]));
    let visitors: Vec<Visitor> = (0..20).map(|_| Visitor::new(proxy.port)).collect();
    visitors.iter().for_each(|v| drop(v.ask("1")));
    a.stop();
    // Nobody checks: the ICMP error alone tells, to those who are there and to new ones.
    for visitor in &visitors {
        assert_eq!(visitor.ask("2"), "b 2");
    }
    for n in 0..100 {
        assert_eq!(Visitor::new(proxy.port).ask(&n.to_string()), format!("b {n}"));
    }
    let status = proxy.status();
    let back = &status.backends[0];
    assert!(back.servers[0].econ >= 10, "{}", back.servers[0].econ);
    assert_eq!(back.servers[0].econ, back.servers[0].wredis);
    assert_eq!(back.econ, 0);
    until("it is logged", || {
        proxy.handle.recent_log().iter().any(|l| l.contains(" back/b ") && l.contains("/+1 0/0"))
    });
}

#[test]
fn with_no_server_left_it_is_counted() {
    let nowhere = SocketAddrV4::new(Ipv4Addr::LOCALHOST, free_udp_port());
    let proxy = Proxy::start(udp(vec![server("gone", nowhere)]));
    let visitor = Visitor::new(proxy.port);
    visitor.say("q");
    assert_eq!(visitor.hear(Duration::from_millis(300)), None);
    until("it is logged", || proxy.handle.recent_log().len() == 1);
    let line = &proxy.handle.recent_log()[0];
    assert!(line.contains(" back/gone ") && line.contains(" SC "), "{line}");
    let status = proxy.status();
    assert!(status.backends[0].econ > 0 && status.backends[0].servers[0].econ > 0);
    assert_eq!(status.frontends[0].traffic.scur, 0);
}

/// A question of a check is answered as a DNS server would; all else goes back as it came.
fn resolver(mute: &Arc<AtomicBool>) -> (SocketAddrV4, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let SocketAddr::V4(address) = socket.local_addr().unwrap() else { unreachable!() };
    let (mute, asked) = (mute.clone(), Arc::<AtomicUsize>::default());
    let count = asked.clone();
    std::thread::spawn(move || {
        let mut part = [0; 65536];
        while let Ok((n, from)) = socket.recv_from(&mut part) {
            if mute.load(Ordering::SeqCst) {
                continue;
            }
            // A header of 12 bytes, and behind it a name that starts with a label.
            if n > 16 && part[12] != b'q' {
                count.fetch_add(1, Ordering::SeqCst);
                part[2] |= 0x80;
            }
            let _ = socket.send_to(&part[..n], from);
        }
    });
    (address, asked)
}

#[test]
fn a_silent_server_is_found_by_its_dns_check_and_its_questions_are_asked_again() {
    let (dead, alive) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let ((a, asked), (b, _)) = (resolver(&dead), resolver(&alive));
    let mut all = udp(vec![server("a", a), server("b", b)]);
    checked(&mut all);
    let proxy = Proxy::start(all);
    let word = |i: usize| proxy.status().backends[0].servers[i].check.check_status.clone();
    until("both are checked", || word(0) == "L7OK" && word(1) == "L7OK");
    assert!(asked.load(Ordering::SeqCst) > 0);
    let visitors: Vec<Visitor> = (0..20).map(|_| Visitor::new(proxy.port)).collect();
    let question = |n: usize| format!("qqqqqqqqqqqqqqqq{n}");
    for (n, visitor) in visitors.iter().enumerate() {
        assert_eq!(visitor.ask(&question(n)), question(n));
    }
    dead.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    visitors.iter().enumerate().for_each(|(n, v)| v.say(&question(n)));
    for (n, visitor) in visitors.iter().enumerate() {
        assert_eq!(visitor.hear(Duration::from_secs(5)), Some(question(n)));
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(word(0), "L7TOUT");
    // It comes back and gets new visitors; those who have moved stay where they are.
    dead.store(false, Ordering::SeqCst);
    until("it is up", || word(0) == "L7OK");
    let before = proxy.status().backends[0].servers[0].traffic.stot;
    (0..4).for_each(|_| drop(Visitor::new(proxy.port).ask(&question(0))));
    assert!(proxy.status().backends[0].servers[0].traffic.stot > before);
}

#[test]
fn drain_keeps_who_is_there_and_maint_moves_him() {
    let (a, b) = (Echo::new("a"), Echo::new("b"));
    let mut all = udp(vec![server("a", a.address), server("b", b.address)]);
    all.backends[0].udp_responses = None;
    let mut proxy = Proxy::start(all);
    let visitors = [Visitor::new(proxy.port), Visitor::new(proxy.port)];
    let first: Vec<_> = visitors.iter().map(|v| v.ask("1")).collect();
    assert_ne!(first[0], first[1]);
    proxy.change(|s| s.backends[0].servers[0].state = ServerState::Drain);
    assert!((0..4).all(|_| led_to(&proxy) == "b"));
    assert_eq!(visitors.each_ref().map(|v| v.ask("1")).to_vec(), first);
    proxy.change(|s| s.backends[0].servers[0].state = ServerState::Maint);
    assert!(visitors.iter().all(|v| v.ask("2") == "b 2"));
    assert_eq!(proxy.status().backends[0].servers[0].traffic.scur, 0);
    proxy.change(|s| s.backends[0].servers[0].state = ServerState::Ready);
    assert!((0..4).any(|_| led_to(&proxy) == "a"));
}
