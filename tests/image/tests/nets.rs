//! The nets below the appliance process: process 1 fails, and the board comes back by itself.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test states what it expects")]

mod common;

use common::{fast, restarted, system};
use serde_json::json;
use std::time::Instant;

fn comes_back_after(how: &str) {
    let Some(image) = common::image() else { return };
    let (machine, client) = fast(&image);
    let status = client.status().unwrap();
    assert_eq!(system(&status)["watchdog"], "software", "{}", system(&status));
    client.change(|settings| settings["cluster"]["name"] = json!("kept")).unwrap();
    let begun = Instant::now();
    client.order(&format!("/api/v1/test/{how}"));
    restarted(&machine, &client, begun);
    let seconds = begun.elapsed().as_secs_f64();
    common::figures("virt")
        .note(&format!("process 1: {how}, back after"), &format!("{seconds:.1} s"))
        .unwrap();
    assert_eq!(client.settings().unwrap().0["cluster"]["name"], "kept");
}

#[test]
fn a_panic_of_process_1_ends_in_a_restart() {
    comes_back_after("panic");
}

#[test]
fn a_hang_of_process_1_ends_in_a_restart_by_the_watchdog() {
    comes_back_after("hang");
}

#[test]
fn without_the_word_on_the_command_line_nobody_fails_on_purpose() {
    let Some(image) = common::image() else { return };
    let card = common::provisioned(&image, common::SMALL, &common::claimed_file());
    let options = emulator::virt::Options::new(card).unwrap();
    let machine = emulator::virt::start(&image, options).unwrap();
    let client = common::ready(&machine);
    for how in ["panic", "hang", "kill"] {
        assert!(client.post(&format!("/api/v1/test/{how}"), &json!({})).is_err(), "{how}");
    }
    assert_eq!(system(&client.status().unwrap())["restarts"], 0);
}
