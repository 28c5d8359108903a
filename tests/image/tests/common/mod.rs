//! What the tests of the image share.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each file uses a part of it; a test states what it expects"
)]

pub mod bundles;

use emulator::virt::{self, Net, Options};
use emulator::{Card, Client, Figures, Image, Machine, Segment, raspi2b, wait};
use serde_json::Value;
use std::io::Write;
use std::time::{Duration, Instant};

/// What every board of the tests is claimed with.
pub const PASSWORD: &str = "correct horse battery";
/// From power on to the page, on a busy machine.
pub const BOOT: Duration = Duration::from_secs(120);
/// For everything that takes seconds on a board.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// What process 1 says on the serial line when it has started.
const STARTED: &str = ", started in ";
/// A card of the usual test, in MiB.
pub const SMALL: u64 = 512;

/// The built image; None, and a line that says so, where there is none to test.
pub fn image() -> Option<Image> {
    match Image::from_environment() {
        Ok(Some(image)) => Some(image),
        Ok(None) => {
            // Past the test harness, which keeps the output of a test that passed.
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            let line = format!("{test}: skipped without BRAMBLE_IMAGE; make image-test runs it\n");
            let _ = std::io::stderr().write_all(line.as_bytes());
            None
        }
        Err(e) => panic!("{e}"),
    }
}

pub fn figures(title: &str) -> Figures {
    Figures::new(env!("CARGO_TARGET_TMPDIR"), title)
}

/// A card with lines for its settings file.
pub fn provisioned(image: &Image, mib: u64, lines: &str) -> Card {
    let card = Card::new(image, mib).unwrap();
    card.put_boot_file("bramble.toml", lines.as_bytes()).unwrap();
    card
}

/// The settings file of a board that is claimed before it starts.
pub fn claimed_file() -> String {
    format!("password = {PASSWORD:?}\n")
}

/// A claimed board on the fast machine, with its hooks.
pub fn fast(image: &Image) -> (Machine, Client) {
    boot(image, provisioned(image, SMALL, &claimed_file()))
}

/// A board on the fast machine, from a card that is claimed.
pub fn boot(image: &Image, card: Card) -> (Machine, Client) {
    let machine = virt::start(image, Options::new(card).unwrap().hooks()).unwrap();
    let client = ready(&machine);
    (machine, client)
}

/// A board that goes through its boot chain, from a card that is claimed.
pub fn boot_as_a_pi(image: &Image, card: Card) -> (Machine, Client) {
    let machine = raspi2b::start(image, Options::new(card).unwrap().hooks()).unwrap();
    let client = ready(&machine);
    (machine, client)
}

/// A board on a segment, from a card that is claimed.
pub fn boot_on(image: &Image, segment: &Segment, cable: usize, card: Card) -> Machine {
    let net = Net::cable(segment, cable).unwrap();
    let options = Options::new(card).unwrap().hooks().net(net);
    virt::start(image, options).unwrap()
}

/// Waits until the page answers, and signs in.
pub fn ready(machine: &Machine) -> Client {
    machine.wait_for_admin(BOOT).unwrap();
    let client = machine.client().signed_in(PASSWORD);
    signed_in(machine, &client);
    client
}

/// The page answers before the settings file of the boot partition has been looked at.
pub fn signed_in(machine: &Machine, client: &Client) {
    let done = wait::until(PATIENCE, "signing in", || client.settings().map_err(|e| e.to_string()));
    if let Err(e) = done {
        panic!("{e}\n{}", machine.tail());
    }
}

/// Waits until the board has started a second time since its power was switched on, and its page
/// is back: its kernel is younger than `begun`.
pub fn restarted(machine: &Machine, client: &Client, begun: Instant) {
    // Nobody asks the page before that: a question to a board that is reset is never answered.
    machine.wait_serial(STARTED, 2, BOOT).unwrap();
    machine.wait_for_admin(BOOT).unwrap();
    client
        .wait_status(BOOT, "the board after its restart", |status| {
            (Duration::from_millis(uptime(status)?) < begun.elapsed()).then_some(())
        })
        .unwrap();
}

/// The node's own report in its status.
pub fn own(status: &Value) -> &Value {
    let id = status["node"].as_str().or_else(|| status["node"]["id"].as_str());
    let reports = status["nodes"].as_array().unwrap();
    let mine = reports.iter().find(|r| r["status"]["id"].as_str() == id);
    &mine.unwrap_or(&reports[0])["status"]
}

/// What it says of the board.
pub fn system(status: &Value) -> &Value {
    &own(status)["system"]
}

/// Milliseconds since the kernel started.
pub fn uptime(status: &Value) -> Option<u64> {
    system(status)["uptime_ms"].as_u64()
}

/// Every sentence the node wants the operator to read.
pub fn notices(status: &Value) -> String {
    let list = own(status)["notices"].as_array().cloned().unwrap_or_default();
    let texts: Vec<&str> = list.iter().filter_map(|n| n["text"].as_str()).collect();
    texts.join("\n")
}

/// A number between 0 and `most` that differs from round to round and is the same in every run.
pub fn scattered(round: u64, most: u64) -> u64 {
    let mut x = round.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^= x >> 29;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (x ^ x >> 32) % most.max(1)
}
