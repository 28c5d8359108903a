//! Limits, and a flood of forged sources.

use crate::common::{Proxy, datagram_echo, server, until};
use crate::peers::{Echo, Visitor, udp};
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[test]
fn limits_of_servers_and_frontends() {
    let (a, b) = (Echo::new("a"), Echo::new("b"));
    let mut all = udp(vec![server("a", a.address), server("b", b.address)]);
    all.backends[0].udp_responses = None;
    all.backends[0].balance = "source".parse().unwrap();
    all.backends[0].servers.iter_mut().for_each(|s| s.maxconn = 2);
    let mut proxy = Proxy::with(all, 1, None);
    let visitors: Vec<Visitor> = (0..4).map(|_| Visitor::new(proxy.port)).collect();
    for visitor in &visitors {
        visitor.ask("1");
        visitor.ask("2");
    }
    // The one all are led to is full after two, the other then takes over.
    assert_eq!((a.count(), b.count()), (4, 4));
    let fifth = Visitor::new(proxy.port);
    fifth.say("q");
    assert_eq!(fifth.hear(Duration::from_millis(200)), None);
    assert_eq!(proxy.status().frontends[0].dreq, 1);
    until("it is logged", || proxy.handle.recent_log().iter().any(|l| l.contains(" RC ")));
    // The frontend is full of visitors who go on: nobody makes room.
    proxy.change(|s| {
        s.frontends[0].maxconn = 4;
        s.backends[0].servers.iter_mut().for_each(|s| s.maxconn = 0);
    });
    visitors.iter().for_each(|v| drop(v.ask("3")));
    fifth.say("q");
    assert_eq!(fifth.hear(Duration::from_millis(200)), None);
    assert_eq!(proxy.status().frontends[0].dreq, 2);
    // Whoever has his answer makes room at once.
    proxy.change(|s| s.backends[0].udp_responses = Some(1));
    std::thread::sleep(Duration::from_millis(5100));
    (0..8).for_each(|_| drop(Visitor::new(proxy.port).ask("q")));
    assert_eq!(proxy.status().frontends[0].dreq, 2);
    assert!(proxy.status().frontends[0].traffic.scur <= 4);
}

/// Kilobytes of this process that are in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_flood_of_forged_sources_keeps_nobody_from_being_served() {
    const FLOOD: u64 = 200_000;
    let mut all = udp(vec![server("s", datagram_echo())]);
    all.frontends[0].maxconn = 500;
    let proxy = Proxy::start(all);
    let port = proxy.port;
    let handle = proxy.handle.clone();
    // Visitors of both kinds are counted; the honest ones count themselves.
    let asked = Arc::new(AtomicU64::new(0));
    let honest = Arc::clone(&asked);
    let came = move || {
        let all = handle.status().unwrap().frontends[0].traffic.stot;
        all.saturating_sub(honest.load(Ordering::SeqCst))
    };
    // Every datagram from another address or port, as a forger would write them; as many as can be
    // taken, for what the kernel drops before is nobody's doing.
    let flood = std::thread::spawn(move || {
        let (mut sent, mut lost) = (0, 0);
        while sent < FLOOD {
            let host = u8::try_from(2 + sent / 100 % 250).unwrap();
            let bind = |_| UdpSocket::bind((Ipv4Addr::new(127, 9, 9, host), 0)).ok();
            let sources: Vec<UdpSocket> = (0..100).filter_map(bind).collect();
            for source in &sources {
                sent += u64::from(source.send_to(b"flood", (Ipv4Addr::LOCALHOST, port)).is_ok());
            }
            let patience = Instant::now() + Duration::from_secs(1);
            while came() + lost + 200 < sent {
                if Instant::now() > patience {
                    lost = sent.saturating_sub(came());
                }
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        sent
    });
    until("it has begun", || proxy.status().frontends[0].traffic.stot > 5000);
    let before = resident();
    let mut answered = 0;
    while !flood.is_finished() {
        let visitor = Visitor::new(port);
        asked.fetch_add(1, Ordering::SeqCst);
        visitor.say("honest");
        answered += u64::from(visitor.hear(Duration::from_secs(1)).is_some());
        std::thread::sleep(Duration::from_millis(2));
    }
    let (sent, asked) = (flood.join().unwrap(), asked.load(Ordering::SeqCst));
    let front = proxy.status().frontends[0].clone();
    let grown = resident().saturating_sub(before);
    println!(
        "{} visitors of {sent}, {} at once, {} dropped, {grown} kB more, {answered} of {asked} served",
        front.traffic.stot, front.traffic.smax, front.dreq
    );
    assert!(front.traffic.smax <= 502, "{}", front.traffic.smax);
    assert!(front.traffic.stot * 10 > sent * 9, "{}", front.traffic.stot);
    // Other tests of this process grow, too; the forged visitors would be some hundred megabytes.
    assert!(grown < 24 * 1024, "{grown} kB");
    assert!(answered * 100 >= asked * 95, "{answered} of {asked}");
    until("all are forgotten", || proxy.status().frontends[0].traffic.scur == 0);
    assert_eq!(Visitor::new(port).ask("after"), "after");
}
