//! The ways to a node, under traffic: a cable that is pulled, and addresses and routers that nobody
//! gets through with, taken back with nobody's help.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test states what it expects")]

mod trial;

use lab::{Api, Drill, Figures, Lab, Load, Plan, Shape, Step, site, wait};
use serde_json::{Value, json};
use std::fs;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use trial::{
    PASSWORD, PATIENCE, WITHIN, addresses, by_radio, change_eth0, link, notice, settings_are_back,
    start, trial,
};

/// Waits until every node has a fresh report of this one.
fn heard(lab: &Lab, node: &str) {
    for at in ["web01", "web02", "lbmaster", "lbslave"].into_iter().filter(|at| *at != node) {
        let what = format!("{at} to hear from {node}");
        let heard = |status: &Value| {
            let nodes = status["nodes"].as_array()?;
            nodes.iter().any(|n| n["status"]["id"] == node && n["reachable"] == true).then_some(())
        };
        by_radio(lab, at).wait_status(PATIENCE, &what, heard).unwrap();
    }
}

/// A new file made on web01 is on web02 before the patience ends; how long it took.
fn mirrored(lab: &Lab) -> Duration {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let name = format!("file{}", MADE.fetch_add(1, Ordering::Relaxed));
    let begun = Instant::now();
    fs::write(lab.node("web01").site().join(&name), &name).unwrap();
    let copy = lab.node("web02").site().join(&name);
    wait::until_true(PATIENCE, &format!("{name} on web02"), || copy.exists()).unwrap();
    begun.elapsed()
}

#[test]
fn a_cable_pulled_under_traffic_costs_visitors_little() {
    let lab = start();
    lab.node("web02").site(); // its first copy comes by itself
    mirrored(&lab);
    let figures = Figures::new(env!("CARGO_TARGET_TMPDIR"), "eth0 pulled and plugged back");
    let mut drill = Drill::new(&lab, figures);
    let link =
        |node: &'static str, up: bool| move |lab: &Lab| lab.node(node).link("eth0", up).unwrap();
    let up = |lab: &Lab, count: usize| {
        for node in ["lbmaster", "lbslave"] {
            by_radio(lab, node).wait_servers(count, PATIENCE).unwrap();
        }
    };

    // Three failed checks until a server is down; requests that meet it go on to another one.
    drill
        .run(&[
            Step::new("Web02's eth0 pulled", (3, 500.0), &link("web02", false), &|lab| {
                up(lab, 3);
                heard(lab, "web02");
                println!("mirrored to web02 over its radio in {:?}", mirrored(lab));
            }),
            Step::new("Web02's eth0 back", (0, 500.0), &link("web02", true), &|lab| {
                up(lab, 4);
                println!("mirrored to web02 with both in {:?}", mirrored(lab));
            }),
        ])
        .unwrap();
    drill
        .run(&[
            Step::new("Web01's eth0 pulled", (3, 500.0), &link("web01", false), &|lab| {
                up(lab, 3);
                heard(lab, "web01");
                println!("mirrored from web01's radio in {:?}", mirrored(lab));
            }),
            Step::new("Web01's eth0 back", (0, 500.0), &link("web01", true), &|lab| up(lab, 4)),
        ])
        .unwrap();
    drill
        .run(&[
            Step::new("LbMaster's eth0 pulled", (10, 4500.0), &link("lbmaster", false), &|lab| {
                // The cable took no address away: the master cannot say farewell through it.
                wait::until(PATIENCE, "lbslave to take over", || {
                    let holder = by_radio(lab, "lbslave").status().map_err(|e| e.to_string())?;
                    let state = holder["nodes"][0]["status"]["vrrp"][0]["state"].clone();
                    if state == "MASTER" { Ok(()) } else { Err(state) }
                })
                .unwrap();
                heard(lab, "lbmaster");
                // Its own checks go on over the radio.
                std::thread::sleep(Duration::from_secs(3));
                up(lab, 4);
            }),
            Step::new("LbMaster's eth0 back", (3, 1000.0), &link("lbmaster", true), &|lab| {
                lab.wait_holder("lbmaster", PATIENCE).unwrap();
                up(lab, 4);
            }),
        ])
        .unwrap();
    if let Err(missed) = drill.finish() {
        panic!("{missed}");
    }
}

#[test]
fn what_nobody_gets_through_with_is_taken_back() {
    let lab = start();
    let api = Api::new(&lab, "web02", PASSWORD);
    let plan =
        Plan { timeout: Duration::from_secs(12), shape: Shape::Rate(50), ..Plan::steady(site()) };
    let load = Load::start(&lab.client(), plan).unwrap();

    // A network nobody else is in.
    change_eth0(&api, "web02", "192.168.9.9/24", "192.168.9.1");
    let seen = trial(&api, "web02", "trying");
    assert_eq!(seen["from"], "192.168.1.11/24, router 192.168.1.1");
    addresses(&lab, "web02", &["192.168.1.11/24", "192.168.9.9/24"]);
    let over = trial(&api, "web02", "taken_back");
    let why = over["state"]["why"].as_str().unwrap().to_owned();
    assert!(why.contains("192.168.9.1 did not answer"), "{why}");
    addresses(&lab, "web02", &["192.168.1.11/24"]);
    settings_are_back(&lab, "web02");
    notice(&api, "Web02's address change on eth0 was taken back");

    // The same without a router that could be silent: nobody reaches the address.
    api.change(|d| d["nodes"][1]["eth0"]["address"] = json!("192.168.1.111/32")).unwrap_err();
    change_eth0(&api, "web02", "192.168.77.9/16", "192.168.1.1");
    addresses(&lab, "web02", &["192.168.1.11/24", "192.168.77.9/16"]);
    let over = trial(&api, "web02", "taken_back");
    let why = over["state"]["why"].as_str().unwrap().to_owned();
    assert!(why.contains("no other board reached it at 192.168.77.9"), "{why}");
    settings_are_back(&lab, "web02");

    // A router that is none, of this node and of all nodes.
    change_eth0(&api, "web02", "192.168.1.11/24", "192.168.1.254");
    trial(&api, "web02", "trying");
    let over = trial(&api, "web02", "taken_back");
    assert_eq!(over["to"], "192.168.1.11/24, router 192.168.1.254");
    settings_are_back(&lab, "web02");
    notice(&api, "Web02's router change on eth0 was taken back");
    api.change(|d| d["cluster"]["gateway"] = json!("192.168.1.254")).unwrap();
    trial(&api, "web02", "trying");
    trial(&api, "web02", "taken_back");
    settings_are_back(&lab, "web02");

    // An address another device has: no need to wait.
    let begun = Instant::now();
    let taken = Ipv4Addr::new(192, 168, 1, 50);
    change_eth0(&api, "web02", &format!("{taken}/24"), "192.168.1.1");
    let over = wait::until(PATIENCE, "the conflict", || {
        let status = api.status().map_err(|e| e.to_string())?;
        let trial = link(&status, "web02", "eth0").map(|l| l["trial"].clone()).unwrap_or_default();
        let why = trial["state"]["why"].as_str().unwrap_or_default().to_owned();
        if why.contains(&taken.to_string()) { Ok(why) } else { Err(trial.to_string()) }
    });
    let mac = lab.exec("client", "cat", &["/sys/class/net/eth0/address"]).unwrap();
    let over = over.unwrap();
    assert!(over.contains(mac.trim()), "{over}, not {mac}");
    assert!(begun.elapsed() < Duration::from_secs(WITHIN), "{:?}", begun.elapsed());
    settings_are_back(&lab, "web02");
    assert_eq!(lab.node("web02").addresses("eth0"), ["192.168.1.11/24"]);

    let report = load.finish().unwrap();
    let mut figures = Figures::new(env!("CARGO_TARGET_TMPDIR"), "while changes were taken back");
    figures.row("50 requests a second", &report);
    figures.publish().unwrap();
    assert_eq!(report.failed, 0, "{report:?}");
}
