//! The whole mirror against `rsync -a --delete`, on random pairs of trees and random filters.
#![allow(
    missing_docs,
    clippy::as_conversions,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod common;

use common::{Pair, list, set_mtime, write};
use model::status::MirrorPhase;
use noise::Noise;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

const NAMES: [&str; 10] =
    ["a", "b", "a.b", "stats", "error", "files", "pictures", "x y", "-r", "\u{e4}"];

fn grow(random: &mut Noise, dir: &Path, depth: usize) {
    fs::create_dir_all(dir).unwrap();
    for _ in 0..random.below(6) {
        let path = dir.join(random.pick(&NAMES));
        if fs::symlink_metadata(&path).is_ok() {
            continue;
        }
        match random.below(6) {
            0 => symlink(random.pick(&NAMES), &path).unwrap(),
            1..=3 if depth > 0 => grow(random, &path, depth - 1),
            _ => {
                let byte = b'0' + random.below(3) as u8;
                let size = *random.pick(&[0, 1, 5000, 200_000]);
                write(&path, vec![byte; size]);
                let mode = *random.pick(&[0o644, 0o600, 0o755, 0o444]);
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            }
        }
        // Whole seconds, a different one for each content: rsync does not look closer.
        set_mtime(&path, 1_000_000_000 + random.below(1 << 30) as i64, 0);
    }
    let mode = *random.pick(&[0o755, 0o700, 0o2775]);
    fs::set_permissions(dir, fs::Permissions::from_mode(mode)).unwrap();
    set_mtime(dir, 1_000_000_000 + random.below(1 << 30) as i64, 0);
}

/// A directory that only the mirror has stays for what is excluded in it; its time is then the
/// time of the deletion.
fn comparable(mirror: &Path, origin: &Path) -> BTreeMap<OsString, String> {
    let mut all = list(mirror);
    for (path, shown) in &mut all {
        if shown.starts_with("dir") && !origin.join(path).is_dir() {
            *shown = "dir".to_owned();
        }
    }
    all
}

#[test]
fn m36_the_same_result_as_rsync() {
    let seed = std::env::var("SIM_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(7);
    let rounds = std::env::var("ROUNDS").ok().and_then(|s| s.parse().ok()).unwrap_or(40);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut compared = 0;
    for round in 0..rounds {
        let mut random = Noise::new(seed * 1_000_003 + round + 1);
        let patterns: Vec<&str> = (0..random.below(4))
            .map(|_| {
                *random.pick(&[
                    "**/stats",
                    "**/error",
                    "**/files/pictures",
                    "a/",
                    "/b",
                    "a.*",
                    "files/*",
                    "+ a/b",
                    "b/***",
                ])
            })
            .collect();
        let place = tempfile::TempDir::new().unwrap();
        let copy = place.path().join("copy");
        let mut judged = None;
        runtime.block_on(async {
            let pair = Pair::new(&patterns, |from, to| {
                grow(&mut random, from, 3);
                write(from.join("keep"), "so that it is not empty");
                set_mtime(from, 1_000_000_000, 0);
                grow(&mut random, to, 3);
                let copied = Command::new("cp").arg("-a").arg(to).arg(&copy).status();
                assert!(copied.unwrap().success());
                let mut rsync = Command::new("rsync");
                rsync.args(["-a", "--delete"]);
                for pattern in &patterns {
                    rsync.arg(format!("--exclude={pattern}"));
                }
                let source = format!("{}/", from.display());
                let out = rsync.arg(source).arg(&copy).output().unwrap();
                judged = Some(out.status.success());
            })
            .await;
            // Where rsync gives up on a directory that holds excluded files, so does the mirror,
            // but it says so and goes on; what rsync leaves undone then is not to be compared.
            if judged != Some(true) {
                return;
            }
            compared += 1;
            let (from, to) = (pair.origin.site(), pair.mirror.site());
            let wanted = comparable(&copy, &from);
            eprintln!("round {round}: {patterns:?}");
            pair.until("as rsync does it", || {
                pair.mirror.status().phase == MirrorPhase::Following
                    && comparable(&to, &from) == wanted
            })
            .await;
            pair.origin.stop.trigger();
            pair.mirror.stop.trigger();
        });
    }
    assert!(compared * 2 > rounds, "{compared} of {rounds}");
}
