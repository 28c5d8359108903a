//! A flashed card in a board, from power on to a balancer that stays one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test states what it expects")]

mod common;

use common::{BOOT, PASSWORD, PATIENCE, own, restarted, system};
use emulator::virt::Options;
use emulator::{Card, Client, Machine, raspi2b, virt};
use serde_json::json;
use std::fs;
use std::time::{Duration, Instant};

/// How busy the board is while nothing happens, in percent of one of this machine's processors.
fn idle_percent(machine: &Machine) -> f64 {
    let (from, begun) = (machine.cpu_seconds().unwrap(), Instant::now());
    // The time that is measured, not a wait for something.
    std::thread::sleep(Duration::from_secs(20));
    (machine.cpu_seconds().unwrap() - from) / begun.elapsed().as_secs_f64() * 100.0
}

fn becomes_a_balancer(client: &Client) {
    client
        .change(|settings| {
            let node = &mut settings["nodes"][0];
            node["name"] = json!("LbMaster");
            node["roles"] = json!(["balancer"]);
            node["eth0"]["address"] = json!(format!("{}/24", virt::GUEST));
            node["eth0"]["gateway"] = json!("10.0.2.2");
        })
        .unwrap();
    is_the_balancer(client);
}

fn is_the_balancer(client: &Client) {
    client
        .wait_status(PATIENCE, "the balancer with its address", |status| {
            let node = own(status);
            let text = node["links"].to_string();
            let named = node["name"] == "LbMaster" && !node["proxy"].is_null();
            (named && text.contains("10.0.2.15") && status["healthy"] == true).then_some(())
        })
        .unwrap();
}

#[test]
fn the_card_boots_to_its_page_and_remembers_what_it_is() {
    let Some(image) = common::image() else { return };
    let figures = common::figures("raspi2b");
    let options = Options::new(Card::new(&image, 1024).unwrap()).unwrap().hooks();
    let machine = raspi2b::start(&image, options).unwrap();
    let took = machine.wait_for_admin(BOOT).unwrap();
    figures.note("power on to the page", &format!("{:.1} s", took.as_secs_f64())).unwrap();

    let client = machine.client().claim(PASSWORD).unwrap();
    let wrong = machine.client().signed_in("not the password");
    assert!(wrong.settings().is_err(), "signed in with a wrong password");
    becomes_a_balancer(&client);
    let status = client.status().unwrap();
    assert_eq!(system(&status)["firmware"]["slot"], "a");
    assert_eq!(system(&status)["data"]["is"], "kept", "{}", system(&status));

    // The screen shows something besides one colour.
    let picture = machine.card().unwrap().dir().join("screen.ppm");
    machine.screen(&picture).unwrap();
    let pixels = fs::read(&picture).unwrap();
    let first = pixels.get(15..18).unwrap();
    assert!(pixels[15..].chunks(3).any(|p| p != first), "the screen is empty");

    for what in ["process_resident_memory_bytes", "bramble_init_resident_memory_bytes"] {
        let bytes = client.metric(what).unwrap();
        figures.note(what, &format!("{:.1} MB", bytes / 1e6)).unwrap();
        assert!(bytes > 1e5, "{what}: {bytes}");
    }
    figures.note("QEMU, idle board", &format!("{:.0} %", idle_percent(&machine))).unwrap();

    let begun = Instant::now();
    client.post("/api/v1/reboot", &json!({})).unwrap();
    restarted(&machine, &client, begun);
    let seconds = begun.elapsed().as_secs_f64();
    figures.note("reboot to the page", &format!("{seconds:.1} s")).unwrap();
    is_the_balancer(&client);

    // Pulled, and put back in.
    let card = machine.power_cut().unwrap();
    let (_machine, client) = common::boot_as_a_pi(&image, card);
    is_the_balancer(&client);
}

#[test]
fn the_fast_machine_boots_the_same_root() {
    let Some(image) = common::image() else { return };
    let figures = common::figures("virt");
    let options = Options::new(Card::new(&image, 1024).unwrap()).unwrap();
    let machine = virt::start(&image, options).unwrap();
    let took = machine.wait_for_admin(BOOT).unwrap();
    figures.note("power on to the page", &format!("{:.1} s", took.as_secs_f64())).unwrap();
    let client = machine.client().claim(PASSWORD).unwrap();
    becomes_a_balancer(&client);
    figures.note("QEMU, idle board", &format!("{:.0} %", idle_percent(&machine))).unwrap();
    let resident = machine.resident().unwrap() / 1_000_000;
    figures.note("QEMU, memory", &format!("{resident} MB")).unwrap();
    client.post("/api/v1/poweroff", &json!({})).unwrap();
    let card = machine.wait_off(PATIENCE).unwrap();
    assert_eq!(card.check_data().unwrap(), None);
}
