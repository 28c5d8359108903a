//! Cards of other sizes, and damaged ones: each ends with a page and a sentence.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test states what it expects")]

mod common;

use common::{PATIENCE, boot, boot_as_a_pi, claimed_file, notices, provisioned, system};
use emulator::virt::Options;
use emulator::{Card, Client, virt};
use serde_json::json;
use std::fmt::Write;

fn grows_to(mib: u64) {
    let Some(image) = common::image() else { return };
    let card = provisioned(&image, mib, &claimed_file());
    let before = card.data_size().unwrap();
    let (machine, client) = boot(&image, card);
    let status = client.status().unwrap();
    let told = system(&status)["data"]["size"].as_u64().unwrap_or_else(|| panic!("{status}"));
    client.post("/api/v1/poweroff", &json!({})).unwrap();
    let card = machine.wait_off(PATIENCE).unwrap();
    let (grown, whole) = (card.data_size().unwrap(), mib * 1024 * 1024);
    let figure = format!("{} -> {} MB of {} MB", before >> 20, grown >> 20, mib);
    common::figures("virt").note("data partition grown at first start", &figure).unwrap();
    // What lies before it, and less than 8 MiB that alignment may cost.
    let room = whole - card.partition(4).unwrap().start * 512;
    assert!(grown <= room && grown + (8 << 20) > room, "{grown} of {room}");
    assert!(told > grown / 10 * 8 && told <= grown, "{told} of {grown}");
    assert_eq!(card.check_data().unwrap(), None);
    let partition = card.partition(4).unwrap();
    assert!(partition.sectors * 512 >= grown);

    // Once more: nothing left to do, and nothing done.
    let (machine, client) = boot(&image, card);
    client.post("/api/v1/poweroff", &json!({})).unwrap();
    let card = machine.wait_off(PATIENCE).unwrap();
    assert_eq!((card.data_size().unwrap(), card.partition(4).unwrap()), (grown, partition));
}

#[test]
fn the_data_partition_grows_to_4_gb() {
    grows_to(4 * 1024);
}

#[test]
fn the_data_partition_grows_to_32_gb() {
    grows_to(32 * 1024);
}

/// Starts a board that nobody has claimed, and returns its words about its card.
fn words_of(card: Card) -> (emulator::Machine, Client, String) {
    let image = common::image().unwrap();
    let machine = virt::start(&image, Options::new(card).unwrap().hooks()).unwrap();
    machine.wait_for_admin(common::BOOT).unwrap();
    let client = machine.client().claim(common::PASSWORD).unwrap();
    let words = words(&client);
    (machine, client, words)
}

fn words(client: &Client) -> String {
    let status = client.status().unwrap();
    format!("{} {}", notices(&status), system(&status)["data"])
}

#[test]
fn a_destroyed_data_partition_is_no_reason_not_to_start() {
    let Some(image) = common::image() else { return };
    let card = Card::new(&image, common::SMALL).unwrap();
    let start = card.partition(4).unwrap().start;
    card.write(start, &vec![0xa5; 8 << 20]).unwrap();
    let (_machine, client, words) = words_of(card);
    assert!(words.to_lowercase().contains("data partition"), "{words}");
    client.change(|settings| settings["cluster"]["name"] = json!("anyway")).unwrap();
}

#[test]
fn a_scratched_data_partition_is_mended_or_said_to_be_broken() {
    let Some(image) = common::image() else { return };
    let (machine, client) = boot(&image, provisioned(&image, common::SMALL, &claimed_file()));
    client.post("/api/v1/poweroff", &json!({})).unwrap();
    let card = machine.wait_off(PATIENCE).unwrap();
    // The table of inodes of the first group: names lead to nothing afterwards.
    let start = card.partition(4).unwrap().start;
    let text = card.debugfs("show_super_stats").unwrap();
    let table = text
        .split("inode table at ")
        .nth(1)
        .and_then(|t| t.split(|c: char| !c.is_ascii_digit()).next());
    let block: u64 = table.and_then(|t| t.parse().ok()).unwrap_or_else(|| panic!("{text}"));
    card.write(start + block * 8, &vec![0xff; 64 * 1024]).unwrap();
    assert!(card.check_data().unwrap().is_some(), "the damage was none");
    // The boot partition has kept the password, so that nobody else can claim the board meanwhile.
    let (_machine, client) = boot(&image, card);
    let words = words(&client);
    assert!(words.to_lowercase().contains("data partition"), "{words}");
}

#[test]
fn a_full_data_partition_is_said_and_the_page_goes_on() {
    let Some(image) = common::image() else { return };
    let (machine, client) = boot(&image, provisioned(&image, common::SMALL, &claimed_file()));
    client.post("/api/v1/poweroff", &json!({})).unwrap();
    let card = machine.wait_off(PATIENCE).unwrap();
    let text = card.debugfs("show_super_stats -h").unwrap();
    let free = text.split("Free blocks:").nth(1).and_then(|t| t.split_whitespace().next());
    let free: u64 = free.and_then(|t| t.parse().ok()).unwrap_or_else(|| panic!("{text}"));
    let filler = card.dir().join("filler");
    let file = std::fs::File::create(&filler).unwrap();
    let mut file = std::io::BufWriter::new(file);
    // Not zeros, for which debugfs leaves holes; and not so much that it ends half way.
    for _ in 1..free >> 8 {
        std::io::Write::write_all(&mut file, &[0x5a; 1 << 20]).unwrap();
    }
    drop(file);
    card.debugfs(&format!("write {} filler", filler.display())).unwrap();
    std::fs::remove_file(&filler).unwrap();
    let (_machine, client) = boot(&image, card);
    let status = client.status().unwrap();
    let data = &system(&status)["data"];
    assert!(data["free"].as_u64().is_none_or(|free| free < 4 << 20), "{data}");
    let words = notices(&status).to_lowercase();
    assert!(words.contains("full") || words.contains("space"), "{words:?} {data}");
    // A change is kept or refused in words; the page answers in either case.
    let _ = client.change(|settings| settings["cluster"]["name"] = json!("full"));
    client.status().unwrap();
}

#[test]
fn mistakes_in_the_settings_file_are_said_and_the_rest_is_used() {
    let Some(image) = common::image() else { return };
    let mut lines = claimed_file();
    lines.push_str("host_name = \"kitchen\"\nroles = [\"king\"]\nnonsense = 7\n");
    lines.push_str("[eth0]\naddress = \"10.0.2.300/24\"\n[[[\n");
    let (machine, client) = boot(&image, provisioned(&image, common::SMALL, &lines));
    let said = client
        .wait_status(PATIENCE, "a notice about the file", |status| {
            let said = notices(status);
            said.contains("bramble.toml").then_some(said)
        })
        .unwrap();
    assert!(!said.contains(common::PASSWORD), "{said}");
    assert_eq!(client.settings().unwrap().0["nodes"][0]["name"], "kitchen");
    let card = machine.power_cut().unwrap();
    let text = card.boot_file("bramble.toml").unwrap().unwrap();
    assert!(
        !String::from_utf8_lossy(&text).contains(common::PASSWORD),
        "the password is still there"
    );
}

#[test]
fn a_settings_file_of_noise_is_no_reason_not_to_start() {
    let Some(image) = common::image() else { return };
    let card = Card::new(&image, common::SMALL).unwrap();
    let noise: Vec<u8> = (0..40_000).map(|i| common::scattered(i, 256).to_le_bytes()[0]).collect();
    card.put_boot_file("bramble.toml", &noise).unwrap();
    let (_machine, client, words) = words_of(card);
    assert!(words.contains("bramble.toml"), "{words}");
    drop(client);
}

#[test]
fn a_boot_partition_that_is_none_is_no_reason_not_to_start() {
    let Some(image) = common::image() else { return };
    let card = Card::new(&image, common::SMALL).unwrap();
    let start = card.partition(1).unwrap().start;
    card.write(start, &vec![0; 1 << 20]).unwrap();
    let (_machine, _client, words) = words_of(card);
    assert!(words.to_lowercase().contains("boot partition"), "{words}");
}

/// A card with the same firmware in both slots.
fn with_both_slots(image: &emulator::Image) -> Card {
    let card = provisioned(image, common::SMALL, &claimed_file());
    let (a, b) = (card.partition(2).unwrap(), card.partition(3).unwrap());
    let header = card.slot('a').unwrap().unwrap();
    let bytes = usize::try_from(header.initrd + header.initrd_bytes).unwrap();
    card.write(b.start, &card.read(a.start, bytes.div_ceil(512)).unwrap()).unwrap();
    card
}

#[test]
fn a_damaged_slot_is_passed_over_for_the_other_one() {
    let Some(image) = common::image() else { return };
    let mut told = String::new();
    for part in ["header", "kernel", "root"] {
        let card = with_both_slots(&image);
        let header = card.slot('a').unwrap().unwrap();
        let at = match part {
            "header" => 9,
            "kernel" => header.kernel + header.kernel_bytes / 2,
            _ => header.initrd + header.initrd_bytes - 1,
        };
        card.flip(2, at).unwrap();
        let (machine, client) = boot_as_a_pi(&image, card);
        let status = client.status().unwrap();
        assert_eq!(system(&status)["firmware"]["slot"], "b", "{part}");
        assert!(machine.serial().contains("damaged"), "{part}");
        writeln!(told, "{part}: {}", notices(&status)).unwrap();
    }
    assert!(told.matches("slot").count() >= 3, "{told}");
}

#[test]
fn two_damaged_slots_are_told_on_the_screen() {
    let Some(image) = common::image() else { return };
    let card = with_both_slots(&image);
    card.flip(2, 9).unwrap();
    card.flip(3, 9).unwrap();
    let options = Options::new(card).unwrap();
    let machine = emulator::raspi2b::start(&image, options).unwrap();
    machine
        .wait_serial("neither slot can be started; flash the card again", 1, common::BOOT)
        .unwrap();
}

#[test]
fn without_a_valid_boot_state_slot_a_is_started() {
    let Some(image) = common::image() else { return };
    let card = provisioned(&image, common::SMALL, &claimed_file());
    card.write(64, &[0x42; 1024]).unwrap();
    assert_eq!(card.boot_state().unwrap(), None);
    let (_machine, client) = boot_as_a_pi(&image, card);
    assert_eq!(system(&client.status().unwrap())["firmware"]["slot"], "a");
}
