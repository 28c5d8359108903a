//! Firmware updates, good and bad. Bundles are uploaded on the fast machine, whose network is no
//! bottleneck; the card then goes into the board with the boot chain, which decides.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test states what it expects")]

mod common;

use common::bundles::{Maker, idler};
use common::{BOOT, PATIENCE, boot, boot_as_a_pi, claimed_file, provisioned, ready, system};
use emulator::http::{Request, Response};
use emulator::virt::Options;
use emulator::{Card, Client, Image, raspi2b, virt, wait};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn upload(client: &Client, bundle: &[u8]) -> emulator::Result<Response> {
    let put = Request::new("PUT", "/api/v1/firmware").timeout(Duration::from_secs(180));
    client.send(&put.body("application/octet-stream", bundle))
}

fn firmware(client: &Client) -> Value {
    system(&client.status().unwrap())["firmware"].clone()
}

/// Installs a bundle that is acceptable, and takes the card out when the board restarts for it.
fn installed(image: &Image, bundle: &[u8]) -> Card {
    let card = provisioned(image, common::SMALL, &claimed_file());
    let mut options = Options::new(card).unwrap().hooks();
    options.stays_off = true;
    let machine = virt::start(image, options).unwrap();
    let client = ready(&machine);
    client.change(|settings| settings["cluster"]["name"] = json!("kept")).unwrap();
    let begun = Instant::now();
    let answer = upload(&client, bundle).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
    let card = machine.wait_off(BOOT).unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    let figure = format!("{} KB in {seconds:.1} s", bundle.len() / 1000);
    common::figures("virt").note("bundle uploaded, written, checked", &figure).unwrap();
    let state = card.boot_state().unwrap().unwrap();
    assert!(state.active == 0 && state.trial == 1 && state.left > 0, "{state:?}");
    assert_eq!(card.slot('b').unwrap().unwrap().version, "9.9.9");
    card
}

/// The old firmware runs, says what became of the new one, and the settings are as they were.
fn is_back(client: &Client) {
    let now = firmware(client);
    assert_eq!(now["slot"], "a", "{now}");
    assert_eq!(now["on_trial"], false, "{now}");
    assert!(now["last_update"].as_str().is_some_and(|text| !text.is_empty()), "{now}");
    assert_eq!(client.settings().unwrap().0["cluster"]["name"], "kept");
}

#[test]
fn bundles_that_are_not_right_change_nothing() {
    let Some(image) = common::image() else { return };
    let maker = Maker::new(&image);
    let (machine, client) = boot(&image, provisioned(&image, common::SMALL, &claimed_file()));
    let good = maker.next(&[]);
    let other = machine.card().unwrap().slot('b').unwrap();
    let mut altered = good.clone();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    let mut boasting = good.clone();
    boasting[20] ^= 1;
    let root = maker.root_with(&[]);
    let bad = [
        ("signed by somebody else", maker.forged(), "not signed by"),
        ("a byte changed", altered, "altered"),
        ("a byte of the manifest changed", boasting, "not signed by"),
        ("truncated", good[..good.len() / 3].to_vec(), "incomplete"),
        ("one byte short", good[..good.len() - 1].to_vec(), "incomplete"),
        ("only the beginning", good[..10].to_vec(), ".bramble"),
        ("empty", Vec::new(), ".bramble"),
        ("a picture", b"\x89PNG\r\n\x1a\n".repeat(1000), ".bramble"),
        ("older", maker.bundle(&root, "0.0.1", maker.built - 1), "older"),
    ];
    for (what, bundle, why) in bad {
        let answer = upload(&client, &bundle).unwrap();
        assert!((400..500).contains(&answer.status), "{what}: {} {}", answer.status, answer.text());
        let problem = answer.json().unwrap()["problem"].as_str().unwrap_or_default().to_owned();
        assert!(problem.contains(why), "{what}: {problem:?}");
        println!("{what}: {problem}");
        let now = firmware(&client);
        assert_eq!((&now["slot"], &now["on_trial"]), (&json!("a"), &json!(false)), "{what}");
    }
    let card = machine.power_cut().unwrap();
    let state = card.boot_state().unwrap().unwrap();
    assert_eq!((state.active, state.left), (0, 0), "{state:?}");
    assert_eq!(card.slot('b').unwrap(), other);
}

#[test]
fn a_good_bundle_is_tried_and_kept() {
    let Some(image) = common::image() else { return };
    let card = installed(&image, &Maker::new(&image).next(&[]));
    let (machine, client) = boot_as_a_pi(&image, card);
    let begun = Instant::now();
    wait::until(PATIENCE * 3, "the new firmware to be kept", || {
        let now = firmware(&client);
        if now["slot"] == "b" && now["on_trial"] == false { Ok(()) } else { Err(now.to_string()) }
    })
    .unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    common::figures("raspi2b").note("page to trial passed", &format!("{seconds:.1} s")).unwrap();
    assert_eq!(firmware(&client)["version"], "9.9.9");
    let card = machine.power_cut().unwrap();
    let state = card.boot_state().unwrap().unwrap();
    assert_eq!((state.active, state.left), (1, 0), "{state:?}");
    let (_machine, client) = boot_as_a_pi(&image, card);
    assert_eq!(firmware(&client)["slot"], "b");
    assert_eq!(client.settings().unwrap().0["cluster"]["name"], "kept");
}

#[test]
fn one_that_crashes_at_its_start_is_given_up() {
    let Some(image) = common::image() else { return };
    let card = installed(&image, &Maker::new(&image).next(&[("init", b"#!/nowhere\n")]));
    let machine = raspi2b::start(&image, Options::new(card).unwrap().hooks()).unwrap();
    let begun = Instant::now();
    machine.wait_serial("bramble: starting slot a", 1, BOOT * 2).unwrap();
    let client = ready(&machine);
    let seconds = begun.elapsed().as_secs_f64();
    let tries = machine.serial().matches("bramble: starting slot b").count();
    let figure = format!("{seconds:.1} s, {tries} tries");
    common::figures("raspi2b").note("crashing update to the old page", &figure).unwrap();
    assert_eq!(tries, 3);
    is_back(&client);
}

#[test]
fn one_that_hangs_is_given_up_when_the_plug_is_pulled_often_enough() {
    let Some(image) = common::image() else { return };
    let work = tempfile::tempdir().unwrap();
    let program = idler(work.path());
    let card = installed(&image, &Maker::new(&image).next(&[("init", &program)]));
    let machine = raspi2b::start(&image, Options::new(card).unwrap().hooks()).unwrap();
    for tries in 1..=3 {
        machine.wait_serial("bramble: starting slot b", tries, BOOT).unwrap();
        machine.reset().unwrap();
    }
    machine.wait_serial("bramble: starting slot a", 1, BOOT).unwrap();
    is_back(&ready(&machine));
}

#[test]
fn one_that_starts_and_is_not_well_is_given_up() {
    let Some(image) = common::image() else { return };
    // A file where the data partition is to be mounted: settings are out of its reach.
    let card = installed(&image, &Maker::new(&image).next(&[("data", b"in the way\n")]));
    let machine = raspi2b::start(&image, Options::new(card).unwrap().hooks()).unwrap();
    let begun = Instant::now();
    machine.wait_serial("bramble: starting slot a", 1, BOOT * 10).unwrap();
    let client = ready(&machine);
    let seconds = begun.elapsed().as_secs_f64();
    let figure = format!("{seconds:.1} s");
    common::figures("raspi2b").note("unhealthy update to the old page", &figure).unwrap();
    is_back(&client);
}
