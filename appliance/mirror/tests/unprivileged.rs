//! The mirror as an ordinary user.
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
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;

const CHILD: &str = "BRAMBLE_MIRROR_TEST_CHILD";
const NOBODY: u32 = 65534;

/// Runs a test of this file as nobody, in a directory of its own.
fn as_nobody(test: &str) -> bool {
    if std::env::var_os(CHILD).is_some() {
        return false;
    }
    let place = tempfile::TempDir::new().unwrap();
    chown(place.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    // The test's own file may lie where nobody cannot reach it.
    let program = place.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let out = Command::new(program)
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .env("TMPDIR", place.path())
        .current_dir(place.path())
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    true
}

#[test]
fn m19_m20_unreadable_and_read_only() {
    if as_nobody("m19_m20_unreadable_and_read_only") {
        return;
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mode = |path: &std::path::Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let pair = Pair::new(&[], |from, _| {
            write(from.join("page"), "1");
            write(from.join("fixed/a"), "1");
            write(from.join("fixed/b"), "1");
            mode(&from.join("fixed/a"), 0o444);
            mode(&from.join("fixed"), 0o555);
        })
        .await;
        pair.settle().await;
        // Updates and deletions in a directory nobody may write to.
        mode(&pair.from("fixed"), 0o755);
        mode(&pair.from("fixed/a"), 0o644);
        write(pair.from("fixed/a"), "2");
        mode(&pair.from("fixed/a"), 0o444);
        fs::remove_file(pair.from("fixed/b")).unwrap();
        write(pair.from("fixed/sub/c"), "2");
        mode(&pair.from("fixed"), 0o555);
        pair.settle().await;

        // A file that cannot be read: the old one stays, it is listed, the others go on.
        write(pair.from("page"), "2");
        mode(&pair.from("page"), 0o000);
        write(pair.from("other"), "2");
        pair.until("listed", || {
            let skipped = pair.mirror.status().skipped;
            skipped.iter().any(|s| s.contains("page") && s.contains("permission denied"))
        })
        .await;
        pair.until("the other", || pair.to("other").exists()).await;
        assert_eq!(fs::read(pair.to("page")).unwrap(), b"1");
        mode(&pair.from("page"), 0o644);
        pair.settle().await;

        // M17: a directory that cannot be read stops deletions, and no others.
        mode(&pair.from("fixed/sub"), 0o000);
        fs::remove_file(pair.from("other")).unwrap();
        write(pair.from("third"), "3");
        let reason = pair.held().await;
        assert!(reason.contains("fixed/sub"), "{reason}");
        pair.until("the third", || pair.to("third").exists()).await;
        assert!(pair.to("other").exists());
        let copied = pair.mirror.status().copied;
        mode(&pair.from("fixed/sub"), 0o755);
        pair.settle().await;
        assert!(!pair.to("other").exists());
        // What was in it had stayed.
        assert_eq!(pair.mirror.status().copied, copied);

        // The whole tree.
        mode(&pair.origin.site(), 0o000);
        let reason = pair.held().await;
        assert!(reason.contains("cannot be read"), "{reason}");
        mode(&pair.origin.site(), 0o755);
        pair.settle().await;
        assert!(list(&pair.mirror.site()).len() > 5);
        for host in [&pair.origin, &pair.mirror] {
            mode(&host.site().join("fixed"), 0o755);
        }
    });
}

#[test]
fn owners_that_cannot_be_set_are_listed() {
    if as_nobody("owners_that_cannot_be_set_are_listed") {
        return;
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        // Anything owned by root and readable will do as an origin.
        let pair = Pair::new(&[], |from, _| {
            fs::remove_dir(from).unwrap();
            std::os::unix::fs::symlink("/etc/alternatives", from).unwrap();
        })
        .await;
        pair.until("followed and listed", || {
            let status = pair.mirror.status();
            status.phase == MirrorPhase::Following
                && status.skipped.iter().any(|s| s.contains("owners"))
        })
        .await;
        let there = fs::read_dir("/etc/alternatives").unwrap().count();
        assert_eq!(fs::read_dir(pair.mirror.site()).unwrap().count(), there);
    });
}
