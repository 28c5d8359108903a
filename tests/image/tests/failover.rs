//! Two boards on one segment, and one of them without power.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test states what it expects")]

mod common;

use common::{PASSWORD, PATIENCE, boot_on, own, provisioned, ready};
use emulator::{Client, Image, Machine, Segment, wait};
use lab::{Load, Plan, Shape};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

const FLOATING: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 100);
const KEY: &str = "an emulated cluster's key, long enough for anyone";

fn pair(image: &Image, segment: &Segment) -> [(Machine, Client); 2] {
    let machines = [0, 1].map(|cable| {
        let address = Segment::address(cable);
        let lines = format!(
            "host_name = \"lb{cable}\"\n{}[eth0]\naddress = \"{address}/24\"\ngateway = \"{}\"\n",
            common::claimed_file(),
            emulator::ROUTER,
        );
        boot_on(image, segment, cable, provisioned(image, common::SMALL, &lines))
    });
    let nodes = machines.map(|machine| {
        let client = ready(&machine);
        (machine, client)
    });
    let entries: Vec<Value> = nodes
        .iter()
        .map(|(_, client)| {
            let mut node = client.settings().unwrap().0["nodes"][0].clone();
            node["roles"] = json!(["balancer"]);
            node
        })
        .collect();
    for (_, client) in &nodes {
        client
            .change(|settings| {
                settings["nodes"] = json!(entries);
                settings["cluster"]["floating_ip"] = json!(format!("{FLOATING}/24"));
                settings["cluster"]["key"] = json!(KEY);
            })
            .unwrap();
    }
    nodes
}

fn wait_for_holder(client: &Client, name: &str) {
    client
        .wait_status(PATIENCE, &format!("{name} to hold the address"), |status| {
            (status["vrrp"][0]["holder"]["name"] == name).then_some(())
        })
        .unwrap();
}

fn watch(segment: &Segment) -> Load {
    let plan = Plan {
        path: "/healthz".to_owned(),
        shape: Shape::Rate(20),
        timeout: Duration::from_secs(2),
        ..Plan::steady((FLOATING, 1936).into())
    };
    let load = Load::start(segment.space(), plan).unwrap();
    load.reach(40, PATIENCE).unwrap();
    load
}

/// Waits until `load` was answered again after the address moved, and says how long it was not.
fn gap(load: Load, other: &Client, name: &str) -> f64 {
    wait_for_holder(other, name);
    let total = load.so_far().total;
    load.reach(total + 40, PATIENCE).unwrap();
    load.finish().unwrap().longest_gap_ms
}

#[test]
fn the_address_moves_when_a_board_loses_its_power_or_its_cable() {
    let Some(image) = common::image() else { return };
    let figures = common::figures("two on virt");
    let segment = Segment::new(2).unwrap();
    let [(first, one), (_second, two)] = pair(&image, &segment);
    for client in [&one, &two] {
        wait_for_holder(client, "lb0");
    }
    let floating = SocketAddr::from((FLOATING, 1936));
    one.clone().at(floating).wait_for_admin(PATIENCE).unwrap();

    let load = watch(&segment);
    segment.cable(0, false).unwrap();
    let milliseconds = gap(load, &two, "lb1");
    figures.note("cable pulled, address away", &format!("{milliseconds:.0} ms")).unwrap();
    assert!(milliseconds < 6000.0, "{milliseconds} ms");

    segment.cable(0, true).unwrap();
    wait_for_holder(&two, "lb0");

    let load = watch(&segment);
    let card = first.power_cut().unwrap();
    let milliseconds = gap(load, &two, "lb1");
    figures.note("plug pulled, address away", &format!("{milliseconds:.0} ms")).unwrap();
    assert!(milliseconds < 6000.0, "{milliseconds} ms");

    // Back with power, it takes the address back: its priority is higher.
    let begun = Instant::now();
    let first = boot_on(&image, &segment, 0, card);
    let client = ready(&first);
    wait_for_holder(&client, "lb0");
    figures
        .note(
            "power back to holding the address",
            &format!("{:.1} s", begun.elapsed().as_secs_f64()),
        )
        .unwrap();
}

#[test]
fn a_killed_process_is_back_and_the_address_was_held_meanwhile() {
    let Some(image) = common::image() else { return };
    let figures = common::figures("two on virt");
    let segment = Segment::new(2).unwrap();
    let [(_first, one), (_second, two)] = pair(&image, &segment);
    wait_for_holder(&two, "lb0");
    let load = watch(&segment);
    let before = own(&one.status().unwrap())["pid"].as_u64().unwrap();
    let begun = Instant::now();
    one.order("/api/v1/test/kill");
    let asked = begun.elapsed().as_millis();
    one.wait_for_admin(PATIENCE).unwrap();
    let page = begun.elapsed().as_millis() - asked;
    figures.note("killed process, its page answers", &format!("{page} ms")).unwrap();
    let knock = one.clone().signed_in(PASSWORD);
    wait::until_true(PATIENCE, "another process", || {
        knock.status().is_ok_and(|s| own(&s)["pid"].as_u64().is_some_and(|pid| pid != before))
    })
    .unwrap();
    let back = begun.elapsed().as_millis();
    figures.note("killed process back", &format!("{back} ms")).unwrap();
    assert!(back < 10_000, "{back} ms");
    // Whoever held it meanwhile, somebody did.
    let moved = two.status().unwrap()["vrrp"][0]["holder"]["name"].clone();
    wait_for_holder(&one, "lb0");
    let total = load.so_far().total;
    load.reach(total + 20, PATIENCE).unwrap();
    let report = load.finish().unwrap();
    let text = format!("{:.0} ms away; lb1 then saw it at {moved}", report.longest_gap_ms);
    figures.note("killed process, floating address", &text).unwrap();
    assert!(report.longest_gap_ms < 6000.0, "{report:?}");
    let status = one.status().unwrap();
    assert_eq!(common::system(&status)["restarts"], 1);
}
