//! Simulated radios: a phone finds a board that has no cable, and a board joins a network.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test states what it expects")]

mod common;

use common::bundles::Maker;
use common::{PASSWORD, PATIENCE, claimed_file, provisioned, ready, system};
use emulator::virt::{Net, Options};
use emulator::{Card, Image, Segment, virt};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const SSID: &str = "Neighbours";
const PASSPHRASE: &str = "behind the hedge";
const SUPPLICANT: &str = "usr/sbin/wpa_supplicant";

/// A file of the image's root.
fn from_root(image: &Image, path: &str) -> Vec<u8> {
    let mut unpack = Command::new("zstd")
        .arg("-dcq")
        .arg(image.initrd())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let packed = unpack.stdout.take().unwrap();
    let words = ["-i", "--quiet", "--to-stdout", path];
    let file = Command::new("cpio").args(words).stdin(packed).output().unwrap();
    assert!(unpack.wait().unwrap().success() && !file.stdout.is_empty(), "{path}");
    file.stdout
}

/// The image's root with somebody else on its second radio.
fn with_neighbour(image: &Image, dir: &Path, kind: &str) -> PathBuf {
    let program = dir.join("neighbour");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/neighbour.c");
    let built = Command::new("arm-linux-gnueabihf-gcc")
        .args(["-static", "-Os", "-o"])
        .args([&program, &source])
        .status();
    assert!(built.unwrap().success());
    let real = from_root(image, SUPPLICANT);
    let beside = format!("{SUPPLICANT}.real");
    let order = format!("{kind}\n{SSID}\n{PASSPHRASE}\n");
    let files: [(&str, &[u8]); 3] = [
        (SUPPLICANT, &std::fs::read(&program).unwrap()),
        (&beside, &real),
        ("etc/neighbour", order.as_bytes()),
    ];
    let root = dir.join("root");
    std::fs::write(&root, Maker::new(image).root_with(&files)).unwrap();
    root
}

fn on_a_cable(card: Card, segment: &Segment, root: PathBuf) -> Options {
    let net = Net::cable(segment, 0).unwrap();
    let mut options = Options::new(card).unwrap().hooks().radios(2).net(net);
    options.initrd = Some(root);
    options
}

#[test]
fn a_phone_joins_the_setup_network_and_is_led_to_the_page() {
    let Some(image) = common::image() else { return };
    let work = tempfile::tempdir().unwrap();
    let root = with_neighbour(&image, work.path(), "phone");
    let segment = Segment::new(1).unwrap();
    segment.cable(0, false).unwrap();
    let lines = format!("[setup]\nssid = {SSID:?}\npassphrase = {PASSPHRASE:?}\n");
    let card = provisioned(&image, common::SMALL, &lines);
    let machine = virt::start(&image, on_a_cable(card, &segment, root)).unwrap();
    let said = |text: &str| {
        machine.wait_serial(&format!("neighbour: {text}"), 1, PATIENCE * 3).unwrap();
    };
    said("on the network");
    let seconds = machine.started().elapsed().as_secs_f64();
    let figures = common::figures("virt, Wi-Fi");
    figures.note("power on to a phone on the setup network", &format!("{seconds:.1} s")).unwrap();
    said("address 192.168.19.");
    said("router 192.168.19.36");
    said("name: 192.168.19.36");
    said("port 80 /generate_204: HTTP/1.1 30");
    said("port 1936 /claim: HTTP/1.1 200");

    // With a cable the page is there too, and says so.
    segment.cable(0, true).unwrap();
    machine.wait_for_admin(common::BOOT).unwrap();
    let client = machine.client().claim(PASSWORD).unwrap();
    let status = client.status().unwrap();
    assert_eq!(system(&status)["setup"]["ssid"], SSID, "{status}");
}

#[test]
fn a_wrong_passphrase_is_told_apart_and_the_right_one_lets_the_board_in() {
    let Some(image) = common::image() else { return };
    let work = tempfile::tempdir().unwrap();
    let root = with_neighbour(&image, work.path(), "point");
    let segment = Segment::new(1).unwrap();
    let lines = format!(
        "{}[wlan0]\naddress = \"192.168.50.2/24\"\n\
         [wifi]\ncountry = \"GB\"\nssid = {SSID:?}\npassphrase = \"on top of the hedge\"\n",
        claimed_file()
    );
    let card = provisioned(&image, common::SMALL, &lines);
    let machine = virt::start(&image, on_a_cable(card, &segment, root)).unwrap();
    let client = ready(&machine);
    machine.wait_serial("neighbour: access point up", 1, PATIENCE).unwrap();
    let begun = Instant::now();
    client
        .wait_status(PATIENCE * 2, "the verdict about the passphrase", |status| {
            let trial = &system(status)["wifi"]["trial"];
            (trial["verdict"]["is"] == "wrong_passphrase" && trial["ssid"] == SSID).then_some(())
        })
        .unwrap();
    let figures = common::figures("virt, Wi-Fi");
    let since = |begun: Instant| format!("{:.1} s", begun.elapsed().as_secs_f64());
    figures.note("wrong passphrase told", &since(begun)).unwrap();

    let begun = Instant::now();
    client
        .change(|settings| settings["wifi"]["networks"][0]["passphrase"] = json!(PASSPHRASE))
        .unwrap();
    let network = client
        .wait_status(PATIENCE * 2, "the board on the network", |status| {
            let connected = &system(status)["wifi"]["connected"];
            (connected["ssid"] == SSID).then(|| connected.clone())
        })
        .unwrap();
    figures.note("right passphrase, on the network", &since(begun)).unwrap();
    assert_eq!(network["frequency"], 2437, "{network}");
}

#[test]
fn a_board_without_radios_says_so_and_one_with_two_lists_them() {
    let Some(image) = common::image() else { return };
    for radios in [0_u8, 2] {
        let card = provisioned(&image, common::SMALL, &claimed_file());
        let options = Options::new(card).unwrap().hooks().radios(radios.into());
        let machine = virt::start(&image, options).unwrap();
        let client = ready(&machine);
        client
            .wait_status(PATIENCE, "the list of radios", |status| {
                let adapters = system(status)["wifi"]["adapters"].as_array().cloned();
                let adapters = adapters.unwrap_or_default();
                let able = adapters.iter().all(|a| a["access_point"] == true);
                (adapters.len() == usize::from(radios) && able).then_some(())
            })
            .unwrap();
    }
}
