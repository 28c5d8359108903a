//! The filter against rsync itself, on random trees and patterns.

use super::Filter;
use noise::Noise;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Command;

const NAMES: [&str; 12] =
    ["a", "b", "ab", "a.b", "stats", "x1", "*", "a\\b", "[a]", "-", "a b", "B"];
const PARTS: [&str; 24] = [
    "a",
    "b",
    "ab",
    "stats",
    "*",
    "**",
    "***",
    "?",
    "/",
    "/",
    "/",
    "[ab]",
    "[!a]",
    "[^b]",
    "[a-c]",
    "x[0-9]",
    "[[:alpha:]]",
    "\\*",
    "\\",
    ".",
    "-",
    "[a",
    "]",
    "a/b",
];

fn grow(random: &mut Noise, dir: &Path, depth: u64) {
    fs::create_dir_all(dir).unwrap();
    for _ in 0..=random.below(5) {
        let path = dir.join(random.pick(&NAMES));
        if path.exists() {
            continue;
        }
        if depth > 0 && random.below(2) == 0 {
            grow(random, &path, depth - 1);
        } else {
            fs::write(path, "").unwrap();
        }
    }
}

fn paths(root: &Path) -> BTreeSet<(Vec<u8>, bool)> {
    let mut all = BTreeSet::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(root.join(&dir)).unwrap() {
            let entry = entry.unwrap();
            let path = dir.join(entry.file_name());
            let directory = entry.file_type().unwrap().is_dir();
            if directory {
                waiting.push(path.clone());
            }
            all.insert((path.into_os_string().into_vec(), directory));
        }
    }
    all
}

#[test]
fn rsync_sends_what_the_filter_does_not_hide() {
    let number =
        |name, usual| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(usual);
    let mut random = Noise::new(number("SIM_SEED", 0x5eed));
    let mut hidden = 0;
    for round in 0..number("ROUNDS", 150) {
        let place = tempfile::TempDir::new().unwrap();
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        grow(&mut random, &from, 3);
        let mut patterns: Vec<String> = Vec::new();
        for _ in 0..=random.below(3) {
            let mut pattern = String::new();
            match random.below(12) {
                0 => pattern.push_str("+ "),
                1 => pattern.push_str("- "),
                2 | 3 => pattern.push_str("**/"),
                4 => pattern.push('/'),
                _ => {}
            }
            for _ in 0..=random.below(4) {
                pattern.push_str(random.pick::<&str>(&PARTS));
            }
            match random.below(8) {
                0 => pattern.push('/'),
                1 => pattern.push_str("/***"),
                2 => pattern.push_str("/**"),
                _ => {}
            }
            patterns.push(pattern);
        }
        let mut rsync = Command::new("rsync");
        rsync.arg("-r");
        for pattern in &patterns {
            rsync.arg(format!("--exclude={pattern}"));
        }
        let out = rsync.arg(format!("{}/", from.display())).arg(&to).output().unwrap();
        assert!(out.status.success(), "{out:?}");
        let filter = Filter::new(&patterns);
        let wanted: BTreeSet<_> = paths(&from)
            .into_iter()
            .filter(|(path, directory)| {
                let path = crate::tree::RelPath::parse(path).unwrap();
                !filter.hides(&path, *directory)
            })
            .collect();
        hidden += paths(&from).len() - wanted.len();
        let sent = if to.exists() { paths(&to) } else { BTreeSet::new() };
        let show = |set: &BTreeSet<(Vec<u8>, bool)>, other: &BTreeSet<(Vec<u8>, bool)>| {
            set.difference(other)
                .map(|(p, _)| Path::new(std::ffi::OsStr::from_bytes(p)).display().to_string())
                .collect::<Vec<_>>()
        };
        assert!(
            sent == wanted,
            "round {round}, patterns {patterns:?}: rsync alone sends {:?}, the filter alone {:?}",
            show(&sent, &wanted),
            show(&wanted, &sent)
        );
    }
    assert!(hidden > 100, "{hidden}");
}
