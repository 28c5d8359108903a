//! Two of our own balancers in network namespaces: how long the floating IP is nobody's. Needs
//! root. Prints what it measures; the limits are wide enough for a busy machine.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use common::lab::{A, B, Balancer, Lab, Seen, VIP};
use std::time::{Duration, Instant};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

struct Flavour {
    name: &'static str,
    settings: &'static str,
    interval: Duration,
    /// Longest down interval (priority 100).
    down: Duration,
}

const V2: Flavour = Flavour { name: "v2 1 s", settings: "", interval: ms(1000), down: ms(3610) };
const V3: Flavour = Flavour {
    name: "v3 10 cs",
    settings: "version = 3\nadvert_interval = 10",
    interval: ms(100),
    down: ms(361),
};
/// A busy machine, and the client's own pace.
const SLACK: Duration = ms(80);

struct Pair {
    lab: Lab,
    flavour: &'static Flavour,
    a: Option<Balancer>,
    b: Option<Balancer>,
}

impl Pair {
    fn new(flavour: &'static Flavour, guarded: bool) -> Self {
        let lab = Lab::new();
        let settings = lab.settings("settings.toml", flavour.settings);
        let a = Balancer::start(&lab, "a", &settings, guarded);
        let b = Balancer::start(&lab, "b", &settings, guarded);
        lab.wait_for(A, flavour.down + ms(2000));
        lab.stays(A, flavour.down);
        Self { lab, flavour, a: Some(a), b: Some(b) }
    }

    fn a(&mut self) -> &mut Balancer {
        self.a.as_mut().unwrap()
    }

    /// B must take over with no more than this gap.
    fn expect_b(&self, what: &str, start: Instant, limit: Duration) -> Seen {
        self.lab.wait_for_answer(B, limit + SLACK);
        let seen = self.lab.seen_since(start);
        eprintln!("{} {what}: {seen:?}", self.flavour.name);
        assert!(seen.gap < limit + SLACK, "{what}: {seen:?}");
        seen
    }

    fn restart_a(&mut self) {
        let settings = self.lab.directory.path().join("settings.toml");
        self.a = Some(Balancer::start(&self.lab, "a", &settings, false));
    }

    fn back_to_a(&self, what: &str) {
        self.back_to_a_within(what, ms(60));
    }

    /// Both may hold the floating IP for so long.
    fn back_to_a_within(&self, what: &str, both: Duration) {
        let start = Instant::now();
        self.lab.wait_for(A, self.flavour.down * 2 + ms(1000));
        let seen = self.lab.seen_since(start);
        eprintln!("{} back after {what}: {seen:?}", self.flavour.name);
        assert!(seen.gap < SLACK, "{what}: {seen:?}");
        assert!(seen.both < both, "{what}: {seen:?}");
    }
}

fn everything(flavour: &'static Flavour) {
    let mut pair = Pair::new(flavour, true);

    // Killed: the guardian carries out the testament.
    let start = Instant::now();
    pair.a.take().unwrap().kill();
    pair.expect_b("SIGKILL with a guardian", start, Duration::ZERO);
    // The guardian took the floating IP off.
    pair.lab.wait_for(B, ms(200));
    pair.restart_a();
    pair.back_to_a("SIGKILL");

    // Terminated.
    let start = Instant::now();
    pair.a.take().unwrap().stop();
    let seen = pair.expect_b("SIGTERM", start, Duration::ZERO);
    assert!(seen.both < ms(60));
    pair.lab.wait_for(B, ms(200));
    pair.restart_a();
    pair.back_to_a("SIGTERM");

    // The operator's button, twice.
    for _ in 0..2 {
        let start = Instant::now();
        pair.a().tell("failover VI_1");
        assert_eq!(pair.a().expect("moved "), format!("{B} 0"));
        pair.expect_b("failover asked on the master", start, Duration::ZERO);
        pair.lab.wait_for(B, ms(200));
        pair.lab.stays(B, flavour.down);
        pair.a().tell("failover VI_1");
        assert_eq!(pair.a().expect("moved "), format!("{A} 0"));
        pair.back_to_a("failover");
    }

    // The load balancer of the node fails.
    let start = Instant::now();
    pair.a().tell("tracked false");
    pair.expect_b("load balancer broken", start, Duration::ZERO);
    assert_eq!(pair.a().status()["state"], "FAULT");
    pair.a().tell("tracked true");
    pair.back_to_a("the load balancer works again");

    // Cable pulled: the node sees it, the other one waits a down interval.
    let start = Instant::now();
    pair.lab.cable("a", false);
    pair.expect_b("link loss", start, flavour.down);
    let fault = pair.a().status()["fault"].as_str().unwrap().to_owned();
    assert!(fault.starts_with("eth0 has no link"), "{fault}");
    pair.lab.cable("a", true);
    pair.back_to_a("link loss");

    // A switch that fails silently: both are master, and then again only one.
    let start = Instant::now();
    pair.lab.port("a", false);
    pair.expect_b("switch port dead", start, flavour.down);
    pair.lab.port("a", true);
    // They hear of each other with the next advert.
    pair.back_to_a_within("dead switch port", flavour.interval + ms(60));
    pair.lab.stays(A, flavour.down);

    // Another program takes the floating IP away.
    let start = Instant::now();
    pair.lab.exec("a", &format!("ip addr del {VIP}/32 dev eth0"));
    std::thread::sleep(ms(100));
    pair.lab.wait_for(A, ms(100));
    let seen = pair.lab.seen_since(start);
    eprintln!("{} floating IP deleted: {seen:?}", flavour.name);
    assert!(seen.gap < SLACK);

    pair.a.take().unwrap().stop();
    pair.b.take().unwrap().stop();
    std::thread::sleep(ms(50));
    assert_eq!(pair.lab.holder(), (false, false));
}

#[test]
fn version_2_hands_over_without_a_gap() {
    everything(&V2);
}

#[test]
fn version_3_hands_over_without_a_gap() {
    everything(&V3);
}

/// Settings that change under a master: it stays one, and nothing is missed.
#[test]
fn a_reload_keeps_the_floating_ip() {
    let mut pair = Pair::new(&V2, false);
    let start = Instant::now();
    for (number, instance) in [
        "virtual_router_id = 78",
        "virtual_router_id = 78\npriorities = { a = 200, b = 150 }",
        "virtual_router_id = 78\nversion = 3\nadvert_interval = 20",
        "virtual_router_id = 77\nversion = 2\nauth_pass = \"secret\"",
        "addresses = [\"10.99.0.100/24\", \"10.99.0.101/24\"]",
        "addresses = [\"10.99.0.100/24\"]",
    ]
    .into_iter()
    .enumerate()
    {
        pair.lab.settings("settings.toml", instance);
        pair.a().tell("reload");
        pair.b.as_mut().unwrap().tell("reload");
        assert_eq!(pair.a().status()["state"], "MASTER", "after change {number}");
        pair.lab.stays(A, ms(700));
    }
    let seen = pair.lab.seen_since(start);
    eprintln!("reloads: {seen:?}");
    assert!(seen.gap < SLACK && seen.both.is_zero());
    pair.lab.stays(A, V2.down);

    // Taking part no longer: the other one takes over first.
    let start = Instant::now();
    let path = pair.lab.settings("settings.toml", "");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"balancer\"", "\"web\"", 1)).unwrap();
    pair.a().tell("reload");
    pair.expect_b("no balancer any more", start, Duration::ZERO);
    pair.lab.wait_for(B, ms(500));
}

/// Left by a process that was killed without a guardian, the floating IP goes before BACKUP; and
/// an interface that is not there, or has no address, is said in plain words.
#[test]
fn bad_beginnings() {
    let lab = Lab::new();
    let settings = lab.settings("settings.toml", "");
    lab.exec("a", &format!("ip addr add {VIP}/32 dev eth0"));
    while !lab.holder().0 {
        std::thread::yield_now();
    }
    let mut a = Balancer::start(&lab, "a", &settings, false);
    a.expect("states BACKUP");
    assert_eq!(a.status()["state"], "BACKUP");
    lab.exec("a", &format!("ip addr del {A}/24 dev eth0"));
    a.expect("states FAULT");
    let fault = a.status()["fault"].to_string();
    assert!(fault.contains("eth0 has no address of its own"), "{fault}");
    a.tell("failover VI_1");
    assert!(a.expect("refused ").contains("eth0 has no address of its own"));
    a.tell("failover VI_2");
    assert!(a.expect("refused ").contains("no part in a virtual router called VI_2"));
    lab.exec("a", &format!("ip addr add {A}/24 dev eth0"));
    a.expect("states BACKUP");
    a.expect("states MASTER");
    // Alone, it keeps what it has.
    a.tell("failover VI_1");
    assert!(a.expect("refused ").contains("no other balancer answered"));
    lab.wait_for(A, ms(200));
    lab.exec("a", "ip link del eth0");
    a.expect("states FAULT");
    let fault = a.status()["fault"].to_string();
    assert!(fault.contains("no interface eth0"), "{fault}");
    a.stop();
}

#[test]
#[ignore = "no test: the process that the others start"]
fn balancer_process() {
    common::balancer::main();
}
