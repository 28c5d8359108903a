//! The plug is pulled at any moment, and again, while settings change.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test states what it expects")]

mod common;

use common::{boot, boot_as_a_pi, notices, provisioned, scattered};
use emulator::virt::{self, Options};
use emulator::{Card, Client, Image, Machine, Writes};
use serde_json::{Value, json};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

const CUTS: u64 = 30;
const CUTS_AS_A_PI: u64 = 3;

/// The two values that each change sets together.
fn values(document: &Value) -> (String, u64) {
    let name = document["cluster"]["name"].as_str().unwrap_or_default().to_owned();
    let weight = document["backends"][0]["servers"][0]["weight"].as_u64().unwrap_or(0);
    (name, weight)
}

fn set(document: &mut Value, number: u64) {
    document["cluster"]["name"] = json!(format!("cluster-{number}"));
    document["backends"] = json!([{ "name": "pool", "servers": [
        { "name": "one", "address": "10.0.2.99:80", "weight": number % 200 + 1 },
    ]}]);
}

fn is(number: u64) -> (String, u64) {
    (format!("cluster-{number}"), number % 200 + 1)
}

/// What the writer knows when the plug is pulled.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    acknowledged: Option<u64>,
    asked: Option<u64>,
}

type Boot = fn(&Image, Card) -> (Machine, Client);

/// `within`: how many milliseconds after the first change at most.
fn cut_again_and_again(image: &Image, cuts: u64, within: u64, boot: Boot, title: &str) {
    let figures = common::figures(title);
    let mut card = provisioned(image, common::SMALL, &common::claimed_file());
    let mut last: Option<Known> = None;
    let (mut changes, mut slowest) = (0_u64, Duration::ZERO);
    for round in 0..=cuts {
        let begun = Instant::now();
        let (machine, client) = boot(image, card);
        slowest = slowest.max(begun.elapsed());
        let status = client.status().unwrap();
        let said = notices(&status);
        assert!(!said.contains("damaged"), "round {round}: {said}");
        let found = values(&client.settings().unwrap().0);
        if let Some(known) = last {
            let good: Vec<_> =
                [known.acknowledged, known.asked].into_iter().flatten().map(is).collect();
            assert!(good.contains(&found), "round {round}: {found:?}, but {known:?} was set");
        }
        if round == cuts {
            break;
        }
        let known = Mutex::new(Known::default());
        let machine = thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for step in 0.. {
                    let number = round * 10_000 + step;
                    known.lock().unwrap().asked = Some(number);
                    if client.change(|document| set(document, number)).is_err() {
                        return step;
                    }
                    *known.lock().unwrap() = Known { acknowledged: Some(number), asked: None };
                }
                0
            });
            let first = emulator::wait::until_true(common::PATIENCE, "a first change", || {
                known.lock().unwrap().acknowledged.is_some()
            });
            let moment = Instant::now() + Duration::from_millis(scattered(round, within));
            while Instant::now() < moment {
                std::hint::spin_loop();
            }
            // Killed in the middle of whatever it does; then the writer's request fails.
            let cut = machine.power_cut();
            changes += writer.join().unwrap();
            first.unwrap();
            cut
        });
        card = machine.unwrap();
        last = Some(*known.lock().unwrap());
        assert_eq!(card.check_data().unwrap(), None, "round {round}");
        let state = card.boot_state().unwrap().unwrap();
        assert_eq!((state.active, state.left), (0, 0), "round {round}: {state:?}");
        assert_eq!(state.cycles, 0, "round {round}: counted although nobody asked for it");
    }
    assert!(changes > cuts, "only {changes} changes in {cuts} rounds");
    let text = format!("{changes} changes, slowest start {:.1} s", slowest.as_secs_f64());
    figures.note(&format!("{cuts} power cuts"), &text).unwrap();
}

#[test]
fn a_setting_is_there_or_never_was_after_each_power_cut() {
    let Some(image) = common::image() else { return };
    cut_again_and_again(&image, CUTS, 1500, boot, "virt");
}

#[test]
fn and_through_the_whole_boot_chain() {
    let Some(image) = common::image() else { return };
    cut_again_and_again(&image, CUTS_AS_A_PI, 8000, boot_as_a_pi, "raspi2b");
}

/// How many states of the card are looked at, and how many of them are started.
const STATES: usize = 120;
const STARTED: usize = 10;
const CHANGES: u64 = 40;

/// Harder than pulling the emulator's plug: whatever was written since the last flush may be lost,
/// sector by sector, while later writes are there.
#[test]
fn a_card_that_loses_what_was_not_flushed_keeps_what_was_acknowledged() {
    let Some(image) = common::image() else { return };
    // Started once, so that the first start's own work is done.
    let (machine, client) =
        boot(&image, provisioned(&image, common::SMALL, &common::claimed_file()));
    client.change(|document| set(document, 0)).unwrap();
    client.post("/api/v1/poweroff", &json!({})).unwrap();
    let before = machine.wait_off(common::PATIENCE).unwrap();

    let log = before.dir().join("writes.log");
    let mut options = Options::new(before.duplicate().unwrap()).unwrap().hooks();
    options.log_writes = Some(log.clone());
    let machine = virt::start(&image, options).unwrap();
    let client = common::ready(&machine);
    let length = || std::fs::metadata(&log).unwrap().len();
    // How long the log was when a change was asked for and when it was acknowledged.
    let mut asked = vec![(0, 0)];
    let mut acknowledged = vec![(0, 0)];
    for number in 1..=CHANGES {
        asked.push((length(), number));
        client.change(|document| set(document, number)).unwrap();
        acknowledged.push((length(), number));
    }
    machine.power_cut().unwrap();
    let writes = Writes::read(&log).unwrap();
    let last = |list: &[(u64, u64)], position: u64| {
        list.iter().filter(|(at, _)| *at <= position).map(|(_, n)| *n).max().unwrap()
    };
    for state in 0..STATES {
        let position = writes.position(writes.len() * (state + 1) / STATES);
        let seed = u64::try_from(state).unwrap();
        let mut toss = seed * 1_000_000;
        let card = writes.cut(&before, position, || {
            toss += 1;
            scattered(toss, 2) == 1
        });
        let card = card.unwrap();
        assert_eq!(card.check_data().unwrap(), None, "state {state}");
        if state % (STATES / STARTED) != 0 {
            continue;
        }
        let (_machine, client) = boot(&image, card);
        let said = notices(&client.status().unwrap());
        assert!(!said.contains("damaged"), "state {state}: {said}");
        let found = values(&client.settings().unwrap().0);
        let (least, most) = (last(&acknowledged, position), last(&asked, position));
        assert!((least..=most).map(is).any(|good| good == found), "{found:?}: {least} to {most}");
    }
    let (count, flushes) = writes.count();
    let text = format!("{STATES} states of {count} writes, {flushes} flushes, {CHANGES} changes");
    common::figures("virt").note("power cuts that lose writes", &text).unwrap();
}

#[test]
fn five_quick_power_cycles_are_a_factory_reset_and_four_are_not() {
    let Some(image) = common::image() else { return };
    // Off unless asked for: a bad power supply gives the same order.
    let counting = |card| {
        let options = Options::new(card).unwrap().hooks().words(&["bramble.cycles"]);
        virt::start(&image, options).unwrap()
    };
    let mut card = provisioned(&image, common::SMALL, &common::claimed_file());
    for cycles in 1..=5 {
        let machine = counting(card);
        let client = common::ready(&machine);
        if cycles == 1 {
            client.change(|document| set(document, 7)).unwrap();
        }
        assert_eq!(values(&client.settings().unwrap().0), is(7), "start {cycles}");
        let state = || machine.card().unwrap().boot_state().unwrap().unwrap();
        emulator::wait::until(common::PATIENCE, &format!("count {cycles}"), || {
            if state().cycles == cycles { Ok(()) } else { Err(state()) }
        })
        .unwrap();
        card = machine.power_cut().unwrap();
    }
    let machine = counting(card);
    machine.wait_for_admin(common::BOOT).unwrap();
    // The settings are those of a new board; the password of the boot partition counts again.
    let client = machine.client().claim("another password");
    let client = client.unwrap_or_else(|_| common::ready(&machine));
    assert_ne!(values(&client.settings().unwrap().0), is(7));
    assert!(machine.card().unwrap().boot_state().unwrap().unwrap().cycles < 2);
}

#[test]
fn cut_before_it_has_started_it_starts_the_next_time() {
    let Some(image) = common::image() else { return };
    let mut card = provisioned(&image, common::SMALL, &common::claimed_file());
    // Few enough, and far enough apart, not to be taken for the five that mean a factory reset.
    for round in 0..3 {
        let options = Options::new(card).unwrap();
        let machine = virt::start(&image, options).unwrap();
        thread::sleep(Duration::from_millis(700 + scattered(round, 2500)));
        card = machine.power_cut().unwrap();
    }
    let (_machine, client) = boot(&image, card);
    assert!(!notices(&client.status().unwrap()).contains("damaged"));
}
