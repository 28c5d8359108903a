//! Simulated radios: the setup access point of a board whose cable was never plugged in.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test states what it expects")]

mod common;

use common::{PATIENCE, claimed_file, provisioned, ready, system};
use emulator::virt::{Net, Options};
use emulator::{Segment, virt};

#[test]
fn a_board_with_radios_and_no_cable_opens_its_setup_network() {
    let Some(image) = common::image() else { return };
    let segment = Segment::new(1).unwrap();
    let card = provisioned(&image, common::SMALL, &claimed_file());
    segment.cable(0, false).unwrap();
    let net = Net::cable(&segment, 0).unwrap();
    let options = Options::new(card).unwrap().hooks().radios(2).net(net);
    let machine = virt::start(&image, options).unwrap();
    // Its screen, which the serial line shows too, tells name and passphrase.
    machine.wait_serial("Bramble-", 1, PATIENCE * 2).unwrap();
    segment.cable(0, true).unwrap();
    let client = ready(&machine);
    let status = client.status().unwrap();
    let system = system(&status);
    let adapters = system["wifi"]["adapters"].as_array().unwrap();
    assert_eq!(adapters.len(), 2, "{system}");
    assert!(adapters.iter().all(|a| a["access_point"] == true), "{system}");
    let ssid = system["setup"]["ssid"].as_str().unwrap_or_default();
    // The end of the board's hardware address.
    assert!(ssid.starts_with("Bramble-") && ssid.len() == 12, "{system}");
    client
        .wait_status(PATIENCE * 2, "the setup network to close beside the cable", |status| {
            (common::system(status)["setup"]["up"] == false).then_some(())
        })
        .unwrap();
}
