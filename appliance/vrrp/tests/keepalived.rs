//! A real keepalived as the other balancer, in network namespaces. Needs root and keepalived.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use common::lab::{A, B, Balancer, Lab, Seen};
use std::time::{Duration, Instant};

/// One flavour of the protocol, in both languages.
struct Flavour {
    ours: &'static str,
    theirs: &'static str,
    /// More than a down interval.
    takeover: Duration,
    /// More than a skew.
    handover: Duration,
}

const V2: Flavour = Flavour {
    ours: "",
    theirs: "",
    takeover: Duration::from_millis(4500),
    handover: Duration::from_millis(1200),
};
const V2_PASS: Flavour = Flavour {
    ours: "auth_pass = \"brambles\"",
    theirs: "authentication {\n auth_type PASS\n auth_pass brambles\n }",
    ..V2
};
const V3: Flavour = Flavour {
    ours: "version = 3\nadvert_interval = 10",
    theirs: "version 3\nadvert_int 0.1",
    takeover: Duration::from_millis(1500),
    handover: Duration::from_millis(300),
};

/// Two holders for longer than this would be a split brain, not a handover.
const HANDOVER: Duration = Duration::from_millis(150);

fn report(what: &str, seen: &Seen) {
    eprintln!("{what}: {seen:?}");
    assert!(seen.both < HANDOVER, "{what}: both held the floating IP for {:?}", seen.both);
}

/// keepalived is to be master (101), we are backup (100).
fn keepalived_first(flavour: &Flavour) {
    let lab = Lab::new();
    let settings = lab.settings("b.toml", &format!("{}\npreempt = true", flavour.ours));
    let theirs = format!("state MASTER\npriority 101\n{}", flavour.theirs);
    let ours = Balancer::start(&lab, "b", &settings, false);
    let mut ours = ours;
    lab.wait_for(B, flavour.takeover);

    // Election: the higher one arrives later and takes over.
    let start = Instant::now();
    let mut other = lab.keepalived("a", &theirs);
    lab.wait_for(A, flavour.takeover);
    report("keepalived preempts", &lab.seen_since(start));
    lab.stays(A, flavour.takeover);
    let status = ours.status();
    assert_eq!((&status["state"], &status["master_priority"]), (&"BACKUP".into(), &101.into()));

    // It leaves in good order, and comes back.
    let start = Instant::now();
    other.terminate();
    lab.wait_for(B, flavour.handover);
    report("keepalived terminated", &lab.seen_since(start));
    other.assert_content();
    other.stop();
    let start = Instant::now();
    let other = lab.keepalived("a", &theirs);
    lab.wait_for(A, flavour.takeover);
    report("keepalived is back", &lab.seen_since(start));

    // The operator's button, on either end of it.
    let start = Instant::now();
    ours.tell("failover VI_1");
    assert_eq!(ours.expect("moved "), format!("{B} 0"));
    lab.wait_for(B, flavour.handover);
    report("failover to us", &lab.seen_since(start));
    lab.stays(B, flavour.takeover);
    assert_eq!(ours.status()["effective_priority"], 102);
    let start = Instant::now();
    ours.tell("failover VI_1");
    assert_eq!(ours.expect("moved "), format!("{A} 0"));
    lab.wait_for(A, flavour.handover);
    report("failover to keepalived", &lab.seen_since(start));
    assert_eq!(ours.status()["effective_priority"], 100);

    let counters = ours.status()["counters"].clone();
    for (name, value) in counters.as_object().unwrap() {
        let expected_some = ["sent", "received", "became_master"].contains(&name.as_str());
        assert!(expected_some || *value == 0, "{name} is {value}");
    }
    other.assert_content();
    ours.stop();
    lab.stays(A, Duration::from_millis(200));
    other.stop();
}

/// We are to be master (101), keepalived is backup (100).
fn keepalived_second(flavour: &Flavour) {
    let lab = Lab::new();
    let settings = lab.settings("a.toml", flavour.ours);
    let theirs = format!("state BACKUP\npriority 100\n{}", flavour.theirs);
    let other = lab.keepalived("b", &theirs);
    lab.wait_for(B, flavour.takeover);

    let start = Instant::now();
    let ours = Balancer::start(&lab, "a", &settings, false);
    lab.wait_for(A, flavour.takeover);
    report("we preempt", &lab.seen_since(start));
    lab.stays(A, flavour.takeover);

    let start = Instant::now();
    ours.stop();
    lab.wait_for(B, flavour.handover);
    let seen = lab.seen_since(start);
    report("we are terminated", &seen);
    // keepalived needs its skew; the floating IP is served meanwhile.
    assert!(seen.gap < HANDOVER, "{seen:?}");

    let start = Instant::now();
    let mut ours = Balancer::start(&lab, "a", &settings, false);
    lab.wait_for(A, flavour.takeover);
    report("we are back", &lab.seen_since(start));

    // Held back after a failover although our priority is higher.
    let start = Instant::now();
    ours.tell("failover VI_1");
    assert_eq!(ours.expect("moved "), format!("{B} 0"));
    lab.wait_for(B, flavour.handover);
    let seen = lab.seen_since(start);
    report("failover to keepalived", &seen);
    assert!(seen.gap < HANDOVER, "{seen:?}");
    lab.stays(B, flavour.takeover);
    assert_eq!(ours.status()["held_back"], true);

    // Until keepalived dies, with its floating IP.
    let start = Instant::now();
    lab.port("b", false);
    lab.wait_for_answer(A, flavour.takeover);
    eprintln!("keepalived unreachable: {:?}", lab.seen_since(start).gap);
    assert_eq!(ours.status()["held_back"], false);

    // Both are master now, apart; together again there is one.
    lab.port("b", true);
    lab.wait_for(A, flavour.takeover);
    lab.stays(A, flavour.takeover);
    other.assert_content();
    ours.stop();
    other.stop();
}

#[test]
fn version_2_keepalived_is_master() {
    keepalived_first(&V2);
}

#[test]
fn version_2_keepalived_is_backup() {
    keepalived_second(&V2);
}

#[test]
fn version_2_with_a_password_keepalived_is_master() {
    keepalived_first(&V2_PASS);
}

#[test]
fn version_3_keepalived_is_master() {
    keepalived_first(&V3);
}

#[test]
fn version_3_keepalived_is_backup() {
    keepalived_second(&V3);
}

#[test]
#[ignore = "no test: the process that the others start"]
fn balancer_process() {
    common::balancer::main();
}
