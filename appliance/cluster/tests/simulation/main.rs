//! Clusters of 2 to 16 boards that are split, crash, lose their cards and have wrong clocks, while
//! their settings are edited everywhere: afterwards they agree, and nothing that was acknowledged
//! is lost without a word.
//!
//! `SIM_SEEDS=2000` runs more of them, `SIM_SEED=7` one, with what happens in it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test states what it expects")]

mod chance;
mod world;

use chance::Chance;
use control::flat::flatten;
use control::{Author, Choice};
use model::{Backend, Node, Settings};
use std::collections::{BTreeMap, BTreeSet};
use world::{Place, World, device};

/// More trouble would only be slower: each seed is another one.
const TROUBLE: u64 = 30_000;
/// They agree so soon after the trouble has ended, at the latest.
const CALM: u64 = 30_000;

const CLOCKS: [i64; 3] = [0, 1_800_000_000, 2_115_000_000];

fn settings(nodes: usize) -> Settings {
    let node = |at: usize| Node {
        id: format!("n{at:02}").parse().unwrap(),
        device: Some(device(at)),
        name: format!("Node{at:02}").parse().unwrap(),
        ..Node::default()
    };
    let mut settings = Settings { nodes: (0..nodes).map(node).collect(), ..Settings::default() };
    for at in 0..3 {
        settings.backends.push(backend(at));
    }
    settings.wifi.networks.push(model::WifiNetwork {
        ssid: "home".parse().unwrap(),
        passphrase: model::Secret::new("first passphrase"),
        hidden: false,
    });
    settings
}

fn backend(at: u64) -> Backend {
    let server = model::Server {
        name: "s".parse().unwrap(),
        address: format!("10.0.0.{}:80", at + 1).parse().ok(),
        ..model::Server::default()
    };
    Backend { name: format!("b{at}").parse().unwrap(), servers: vec![server], ..Backend::default() }
}

/// What somebody did to one value, and what his copy knew of the others' edits then.
struct Doing {
    key: String,
    value: Option<String>,
    known: BTreeSet<u64>,
}

#[derive(Default)]
struct Record {
    /// Acknowledged edits by their numbers, which are in their sentences.
    edits: BTreeMap<u64, Doing>,
    /// What was decided about them.
    settled: Vec<Doing>,
    next: u64,
    refused: u64,
    decisions: u64,
    conflicts: u64,
    faults: BTreeMap<&'static str, u64>,
}

impl Record {
    fn settled(&mut self, key: String, known: BTreeSet<u64>) {
        self.settled.push(Doing { key, value: None, known });
    }

    fn all(&self) -> impl Iterator<Item = &Doing> {
        self.edits.values().chain(&self.settled)
    }

    fn fault(&mut self, what: &'static str) {
        *self.faults.entry(what).or_default() += 1;
    }
}

struct Run {
    world: World,
    record: Record,
    talkative: bool,
}

fn known(world: &World, at: usize) -> BTreeSet<u64> {
    let edits = world.book(at).edits();
    let numbers = edits.iter().filter_map(|n| n.sentence.strip_prefix("edit ")?.parse().ok());
    numbers.collect()
}

impl Run {
    fn new(seed: u64, clocks: &[i64]) -> Self {
        let mut chance = Chance::new(seed ^ 0x5eed);
        let most = if chance.below(8) == 0 { 15 } else { 5 };
        let nodes = 2 + usize::try_from(chance.below(most)).unwrap();
        let world = World::new(seed, &settings(nodes), clocks);
        Self { world, record: Record::default(), talkative: std::env::var("SIM_SEED").is_ok() }
    }

    fn say(&self, text: impl FnOnce() -> String) {
        if self.talkative {
            println!("{:>6} ms: {}", self.world.now, text());
        }
    }

    /// One operator at one page.
    fn edit(&mut self, at: usize) {
        let chance = &mut self.world.chance;
        let mut next = self.world.places[at].book.as_ref().unwrap().settings().clone();
        let which = usize::try_from(chance.below(3)).unwrap();
        let small = chance.below(1000);
        let key = match chance.below(10) {
            0 | 9 => {
                // From a small box, so that two halves give the same name to different nodes.
                let node = usize::try_from(small).unwrap() % next.nodes.len();
                next.nodes[node].name = format!("Name{}", chance.below(4)).parse().unwrap();
                format!("nodes/{}/name", next.nodes[node].id)
            }
            1 => {
                next.cluster.name = format!("c{small}").parse().ok();
                "cluster/name".to_owned()
            }
            2 => {
                next.wifi.networks[0].passphrase =
                    model::Secret::new(format!("passphrase {small}"));
                "wifi/networks/home/passphrase".to_owned()
            }
            3 => {
                // A board that leaves takes the keys along: there are new ones.
                let ghost = next.nodes.iter().position(|n| n.id.as_str() == "ghost");
                match ghost {
                    Some(at) => drop(next.nodes.remove(at)),
                    None => next.nodes.push(Node {
                        id: "ghost".parse().unwrap(),
                        device: Some(device(99)),
                        name: "Ghost".parse().unwrap(),
                        ..Node::default()
                    }),
                }
                "nodes/ghost/!".to_owned()
            }
            4 => {
                let name = format!("b{which}");
                let before = next.backends.len();
                next.backends.retain(|b| b.name.as_str() != name);
                if next.backends.len() == before {
                    next.backends.push(backend(u64::try_from(which).unwrap()));
                }
                format!("backends/{name}/!")
            }
            _ => {
                let Some(backend) = next.backends.get_mut(which) else { return };
                backend.retries = u8::try_from(small % 100).unwrap();
                format!("backends/{}/retries", backend.name)
            }
        };
        self.write(at, key, next);
    }

    /// What was acknowledged is in the record; what was refused is not.
    fn write(&mut self, at: usize, key: String, next: Settings) {
        if !model::check(&next).is_empty() || next == *self.world.book(at).settings() {
            self.record.refused += 1;
            return;
        }
        let number = self.record.next;
        self.record.next += 1;
        let known = known(&self.world, at);
        let value = flatten(&next).get(&key).map(|leaf| leaf.json.clone());
        self.say(|| format!("n{at:02} edits {key} to {value:?} ({number})"));
        let book = self.world.places[at].book.as_mut().unwrap();
        book.write_settings(next, &Author::Local, &format!("edit {number}")).unwrap();
        // What the merged settings say already needs no change to be recorded.
        if self::known(&self.world, at).contains(&number) {
            self.record.edits.insert(number, Doing { key, value, known });
        }
    }

    /// Somebody looks at a conflict or a decision.
    fn settle(&mut self, at: usize) {
        let now = self.world.book(at).replication();
        let theirs = self.world.chance.below(2) == 0;
        if let Some(lost) = now.lost.first() {
            let known = known(&self.world, at);
            let key = lost.key.strip_prefix("settings/").unwrap().to_owned();
            if theirs {
                let next = self.world.book(at).with_theirs(&lost.key, lost.change);
                if let Ok(Some(next)) = next {
                    self.write(at, key, next);
                }
                return;
            }
            let book = self.world.places[at].book.as_mut().unwrap();
            book.settle(&lost.key, Choice::Keep, &Author::Local).unwrap();
            self.record.settled(key, known);
            self.say(|| format!("n{at:02} keeps {}", lost.path));
        } else if let Some(due) = &now.decision {
            let known = known(&self.world, at);
            let Some(change) = due.changes.first() else { return };
            let key = theirs.then_some(change.key.as_str());
            let book = self.world.places[at].book.as_mut().unwrap();
            book.take_back(key, &Author::Local).unwrap();
            for change in due.changes.iter().filter(|c| key.is_none_or(|k| k == c.key)) {
                self.record.settled(change.key.clone(), known.clone());
            }
            self.say(|| format!("n{at:02} takes back {key:?}"));
        }
    }

    fn trouble(&mut self) {
        while self.world.now < TROUBLE {
            let pause = 100 + self.world.chance.below(1500);
            self.world.run(pause);
            let on: Vec<usize> =
                self.world.on().into_iter().filter(|at| !self.world.places[*at].is_copy).collect();
            if !on.is_empty() {
                let at = self.world.chance.pick(&on);
                let now = self.world.book(at).replication();
                self.record.conflicts += u64::from(!now.lost.is_empty());
                self.record.decisions += u64::from(now.decision.is_some());
                match self.world.chance.below(10) {
                    0 => self.settle(at),
                    _ => self.edit(at),
                }
            }
            if self.world.chance.below(4) == 0 {
                self.fault();
            }
        }
    }

    fn fault(&mut self) {
        let all = self.world.places.len();
        let at = usize::try_from(self.world.chance.below(u64::try_from(all).unwrap())).unwrap();
        if self.world.places[at].is_copy {
            return;
        }
        let on = self.world.places[at].book.is_some();
        match self.world.chance.below(8) {
            0 | 1 => {
                // Two halves; a coin for every node, so that half of them may be gone as well.
                for at in 0..all {
                    let side = u8::try_from(self.world.chance.below(2)).unwrap();
                    self.world.plug(at, side);
                }
                self.record.fault("split");
                self.say(|| "split".to_owned());
            }
            2 => {
                (0..all).for_each(|at| self.world.plug(at, 0));
                self.record.fault("heal");
                self.say(|| "heal".to_owned());
            }
            3 | 4 if on => {
                self.world.switch_off(at);
                self.record.fault("crash");
                self.say(|| format!("n{at:02} off"));
            }
            3..=5 if !on => {
                self.world.switch_on(at);
                self.say(|| format!("n{at:02} on"));
            }
            5 if on && self.world.is_safe(at) => {
                // The card is wiped: the board is taken in again in its own place.
                let others: Vec<usize> = self.world.on();
                let by = others.into_iter().find(|o| {
                    *o != at
                        && !self.world.places[*o].is_copy
                        && self.world.heads(*o) == self.world.heads(at)
                        && self.world.book(*o).replication().decision.is_none()
                });
                let Some(by) = by else { return };
                self.world.switch_off(at);
                self.world.places[at].card = world::Card::new(0);
                self.world.switch_on(at);
                self.world.adopt(at, by);
                self.record.fault("wiped");
                self.say(|| format!("n{at:02} wiped and adopted by n{by:02}"));
            }
            6 if on && self.world.is_safe(at) => {
                // An image of the card from a while ago is put back.
                let old = self.world.places[at].card.copy();
                self.world.run(2000);
                if self.world.places[at].book.is_some() && self.world.is_safe(at) {
                    self.world.switch_off(at);
                    self.world.places[at].card = old;
                    self.world.switch_on(at);
                    self.record.fault("restored");
                    self.say(|| format!("n{at:02} restored"));
                }
            }
            7 if on && all < 16 => {
                // A second board with a copy of the card, for a while.
                let place = Place {
                    id: self.world.places[at].id.clone(),
                    card: self.world.places[at].card.copy(),
                    book: None,
                    side: self.world.places[at].side,
                    is_copy: true,
                };
                self.world.places.push(place);
                self.world.switch_on(all);
                self.world.run(1500);
                self.world.switch_off(all);
                self.world.places.pop();
                self.record.fault("cloned");
                self.say(|| format!("n{at:02} was there twice"));
            }
            _ => {}
        }
    }

    fn calm(&mut self) {
        for at in 0..self.world.places.len() {
            self.world.plug(at, 0);
            if self.world.places[at].book.is_none() {
                self.world.switch_on(at);
            }
        }
        self.say(|| "calm".to_owned());
        self.world.run_until_agreed(CALM);
    }

    fn agree(&self, seed: u64) {
        let first = self.world.book(0).replication();
        for at in 1..self.world.places.len() {
            let now = self.world.book(at).replication();
            assert_eq!(now.heads, first.heads, "seed {seed}: n{at:02} has another document");
            assert_eq!(now.keys, first.keys, "seed {seed}: n{at:02} has other keys");
            assert_eq!(now.lost, first.lost, "seed {seed}: n{at:02} sees other lost edits");
            assert_eq!(now.decision.is_some(), first.decision.is_some(), "seed {seed}");
            if now.decision.is_none() {
                let settings = self.world.book(at).settings();
                assert_eq!(settings, self.world.book(0).settings(), "seed {seed}: n{at:02}");
            }
            assert_eq!(model::check(self.world.book(at).settings()), [], "seed {seed}: n{at:02}");
        }
    }

    /// The operator takes the time to decide what is due, so that everybody runs the same.
    fn decide(&mut self) {
        for _ in 0..20 {
            let at = self.world.chance.below(u64::try_from(self.world.places.len()).unwrap());
            let at = usize::try_from(at).unwrap();
            let Some(due) = self.world.book(at).replication().decision.clone() else { return };
            self.say(|| format!("n{at:02} takes everything back: {due:?}"));
            let known = known(&self.world, at);
            let book = self.world.places[at].book.as_mut().unwrap();
            book.take_back(None, &Author::Local).unwrap();
            for change in due.changes {
                self.record.settled(change.key, known.clone());
            }
            self.world.run_until_agreed(CALM);
        }
    }

    /// Every acknowledged edit is in everybody's history. Of those that nobody who knew them has
    /// touched since, each holds, or is shown as lost against one that was made at the same time.
    fn nothing_is_lost(&self, seed: u64) {
        let history = known(&self.world, 0);
        let replication = self.world.book(0).replication();
        let lost = &replication.lost;
        let lost: BTreeSet<&str> =
            lost.iter().filter_map(|l| l.key.strip_prefix("settings/")).collect();
        let flat = flatten(self.world.book(0).settings());
        self.say(|| format!("shown as lost: {lost:?}"));
        for (number, edit) in &self.record.edits {
            assert!(history.contains(number), "seed {seed}: edit {number} is in no history");
            let touched =
                |other: &Doing| covers(&other.key, &edit.key) && other.known.contains(number);
            if self.record.all().any(touched) {
                continue;
            }
            let value = flat.get(&edit.key).map(|leaf| &leaf.json);
            let holds = value == edit.value.as_ref() || keeps_order(value, edit.value.as_ref());
            let shown = lost.iter().any(|key| covers(key, &edit.key));
            assert!(
                holds || shown,
                "seed {seed}: edit {number} of {} to {:?} is gone without a word",
                edit.key,
                edit.value
            );
        }
    }
}

/// The order of a list holds for those that are still in it; who came meanwhile stands last.
fn keeps_order(now: Option<&String>, wanted: Option<&String>) -> bool {
    let names = |json: Option<&String>| -> Option<Vec<String>> { serde_json::from_str(json?).ok() };
    let (Some(now), Some(wanted)) = (names(now), names(wanted)) else { return false };
    let common = |of: &[String], with: &[String]| -> Vec<String> {
        of.iter().filter(|n| with.contains(n)).cloned().collect()
    };
    common(&now, &wanted) == common(&wanted, &now)
}

/// Does a change of `wide` touch what `narrow` set? A removed entry takes everything along.
fn covers(wide: &str, narrow: &str) -> bool {
    wide == narrow || wide.strip_suffix('!').is_some_and(|entry| narrow.starts_with(entry))
}

fn run(seed: u64, clocks: &[i64]) -> Run {
    let mut run = Run::new(seed, clocks);
    run.trouble();
    run.calm();
    run.agree(seed);
    run.decide();
    run.agree(seed);
    run.nothing_is_lost(seed);
    run
}

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("SIM_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SIM_SEEDS").unwrap_or(200)).collect(),
    }
}

#[test]
fn they_agree_and_nothing_is_lost() {
    let seeds = seeds();
    let mut faults: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut edits, mut decisions, mut conflicts, mut messages) = (0, 0, 0, 0);
    let mut sizes = BTreeSet::new();
    // Two cores are all there is; each seed is a world of its own.
    let runs = std::thread::scope(|scope| {
        let halves = seeds.chunks(seeds.len().div_ceil(2)).map(|half| {
            scope.spawn(move || half.iter().map(|seed| run(*seed, &CLOCKS)).collect::<Vec<_>>())
        });
        let halves: Vec<_> = halves.collect();
        halves.into_iter().flat_map(|h| h.join().unwrap()).collect::<Vec<_>>()
    });
    for run in &runs {
        for (what, count) in &run.record.faults {
            *faults.entry(what).or_default() += count;
        }
        edits += run.record.edits.len();
        decisions += run.record.decisions;
        conflicts += run.record.conflicts;
        messages += run.world.messages;
        sizes.insert(run.world.places.len());
    }
    println!(
        "{} seeds, clusters of {sizes:?}: {edits} edits, {messages} messages, {faults:?}, \
         {conflicts} times somebody saw a conflict, {decisions} times a decision was due",
        runs.len()
    );
    if seeds.len() >= 200 {
        assert!(edits > 1000 && conflicts > 10 && decisions > 10, "too peaceful to show anything");
        let all = ["split", "heal", "crash", "wiped", "restored", "cloned"];
        assert!(all.iter().all(|what| faults.contains_key(what)), "{faults:?}");
        assert!(sizes.contains(&2) && sizes.last() > Some(&12), "{sizes:?}");
    }
}

#[test]
fn clocks_decide_nothing() {
    for seed in seeds().into_iter().take(5) {
        let right = run(seed, &[1_800_000_000]);
        let wrong = run(seed, &CLOCKS);
        assert_eq!(right.world.book(0).settings(), wrong.world.book(0).settings(), "seed {seed}");
        assert_eq!(right.record.edits.len(), wrong.record.edits.len(), "seed {seed}");
    }
}
