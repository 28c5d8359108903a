//! Figures, not judgements: `cargo test --release -p mirror --test measure -- --ignored --nocapture`.
#![allow(
    missing_docs,
    clippy::as_conversions,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod common;

use common::{Pair, list, write};
use model::status::MirrorPhase;
use noise::Noise;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<u64> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .skip(11)
        .take(4)
        .map(|f| f.parse().unwrap())
        .collect();
    (fields[0] + fields[1]) as f64 / 100.0
}

fn rss(which: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with(which)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn fill(root: &Path, files: usize) -> usize {
    let mut random = Noise::new(4711);
    let mut bytes = 0;
    for n in 0..files {
        let size = 200 + random.below(20_000);
        write(root.join(format!("d{}/e{}/f{n}", n % 40, n % 7)), random.bytes(size));
        bytes += size;
    }
    bytes
}

#[test]
#[ignore = "measures, and takes a quiet machine"]
fn figures() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let files = 5000;
        let source = tempfile::TempDir::new().unwrap();
        let bytes = fill(source.path(), files);
        println!("tree: {files} files, {:.1} MB", bytes as f64 / 1e6);
        for arguments in [&["-a"][..], &["-a", "--fsync"]] {
            let to = tempfile::TempDir::new().unwrap();
            let begun = Instant::now();
            let out = Command::new("bash")
                .arg("-c")
                .arg(format!(
                    "TIMEFORMAT='%U %S'; time rsync {} {}/ {}/",
                    arguments.join(" "),
                    source.path().display(),
                    to.path().display()
                ))
                .output()
                .unwrap();
            assert!(out.status.success());
            let times = String::from_utf8(out.stderr).unwrap();
            let sum: f64 = times.split_whitespace().map(|t| t.parse::<f64>().unwrap()).sum();
            println!("rsync {arguments:?}: {:.2?} wall, {sum:.2} CPU-s", begun.elapsed());
        }
        let before = rss("VmRSS");
        let (used, begun) = (cpu(), Instant::now());
        let pair = Pair::new(&["**/stats", "**/error", "**/files/pictures"], |from, _| {
            fs::remove_dir(from).unwrap();
            let copied = Command::new("cp").arg("-a").arg(source.path()).arg(from).status();
            assert!(copied.unwrap().success());
        })
        .await;
        let (used, begun) = (used, begun + Duration::ZERO);
        let started = Instant::now();
        while pair.mirror.status().phase != MirrorPhase::Following
            || pair.mirror.status().copied < files as u64
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        println!(
            "mirror, both ends, durable: {:.2?} wall, {:.2} CPU-s; RSS {} kB before, {} kB after, {} kB peak; {:.1} MB on the wire",
            started.elapsed(),
            cpu() - used,
            before,
            rss("VmRSS"),
            rss("VmHWM"),
            pair.wire.bytes.load(Ordering::Relaxed) as f64 / 1e6
        );
        let _ = begun;
        assert_eq!(list(&pair.origin.site()), list(&pair.mirror.site()));

        let mut latencies = Vec::new();
        for n in 0..60 {
            let content = format!("version {n}");
            let begun = Instant::now();
            fs::write(pair.from("d1/e1/f1"), &content).unwrap();
            while fs::read_to_string(pair.to("d1/e1/f1")).unwrap_or_default() != content {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            latencies.push(begun.elapsed());
            tokio::time::sleep(Duration::from_millis(137)).await;
        }
        latencies.sort();
        println!("one changed file: p50 {:.0?}, max {:.0?}", latencies[30], latencies[59]);

        tokio::time::sleep(Duration::from_secs(2)).await;
        let (used, wire) = (cpu(), pair.wire.bytes.load(Ordering::Relaxed));
        tokio::time::sleep(Duration::from_secs(20)).await;
        println!(
            "idle for 20 s: {:.2} CPU-s, {} bytes, both ends",
            cpu() - used,
            pair.wire.bytes.load(Ordering::Relaxed) - wire
        );
        let begun = Instant::now();
        let used = cpu();
        for n in 0..2000 {
            let d = n % 40;
            fs::remove_file(pair.from(&format!("d{d}/e{}/f{n}", n % 7))).unwrap();
        }
        while pair.mirror.status().deleted < 2000
            || pair.mirror.status().phase != MirrorPhase::Following
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        println!("2000 deletions: {:.2?}, {:.2} CPU-s", begun.elapsed(), cpu() - used);
    });
}
