//! The cases of the mirror, by number.
#![allow(
    missing_docs,
    clippy::as_conversions,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod common;

use common::{Pair, THREE, name, set_mtime, settings, site, write};
use model::Millis;
use model::status::MirrorPhase;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, Instant};

type Runtime = tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn run<F: Future<Output = ()>>(test: F) {
    runtime().block_on(test);
}

#[test]
fn m00_a_tree_is_copied_and_followed() {
    run(async {
        let pair = Pair::new(&THREE, |from, _| {
            write(from.join("index.html"), "hello");
            write(from.join("css/site.css"), "body {}");
            fs::create_dir(from.join("empty")).unwrap();
            fs::set_permissions(from.join("css"), fs::Permissions::from_mode(0o2750)).unwrap();
            fs::set_permissions(from.join("index.html"), fs::Permissions::from_mode(0o640))
                .unwrap();
            std::os::unix::fs::chown(from.join("index.html"), Some(33), Some(1234)).unwrap();
            set_mtime(from.join("css"), 1_000_000_000, 123_456_789);
        })
        .await;
        pair.settle().await;
        let status = pair.mirror.status();
        assert_eq!((status.lag_ms, status.entries, status.copied), (Some(0), 4, 2));
        assert_eq!(pair.origin.status().followers, 1);
        assert_eq!(pair.origin.status().phase, MirrorPhase::Origin);

        write(pair.from("new/deep/page.html"), "page");
        pair.until("the new page", || pair.to("new/deep/page.html").exists()).await;
        let mut times = Vec::new();
        for n in 0..3 {
            let page = format!("new/deep/{n}.html");
            let begun = Instant::now();
            write(pair.from(&page), "page");
            pair.until("another page", || pair.to(&page).exists()).await;
            times.push(begun.elapsed());
        }
        // The machine may stand still during some of them.
        assert!(times.iter().any(|took| *took < Duration::from_secs(1)), "{times:?}");
        pair.settle().await;
        fs::remove_file(pair.from("css/site.css")).unwrap();
        pair.settle().await;
        assert!(!pair.to("css/site.css").exists());
        fs::rename(pair.from("new"), pair.from("old")).unwrap();
        pair.settle().await;
        assert!(!pair.to("new").exists() && pair.to("old/deep/page.html").exists());
        write(pair.from("old/deep/later.html"), "in a renamed directory");
        pair.settle().await;
        assert_eq!(pair.staged(), 0);
    });
}

#[test]
fn m01_m02_types_change() {
    run(async {
        let pair = Pair::new(&[], |from, to| {
            write(from.join("x/y"), "1");
            write(to.join("x"), "a file");
            write(from.join("f"), "now a file");
            write(to.join("f/a/b"), "was a directory");
            write(to.join("f/c"), "was a directory");
            symlink("f", from.join("l")).unwrap();
            write(to.join("l/q"), "was a directory");
        })
        .await;
        pair.settle().await;
        fs::remove_file(pair.from("f")).unwrap();
        write(pair.from("f/again"), "a directory again");
        pair.settle().await;
    });
}

#[test]
fn m03_a_directory_that_holds_excluded_files_is_not_replaced() {
    run(async {
        let pair = Pair::new(&THREE, |from, to| {
            write(from.join("x"), "a file");
            write(to.join("x/stats/f"), "kept");
            write(from.join("other"), "synced");
        })
        .await;
        pair.until("blocked", || {
            pair.mirror.status().skipped.iter().any(|s| s.contains('x') && s.contains("excluded"))
        })
        .await;
        pair.until("others", || pair.to("other").exists()).await;
        assert_eq!(fs::read(pair.to("x/stats/f")).unwrap(), b"kept");
    });
}

#[test]
fn m04_links_are_copied_as_links() {
    run(async {
        let pair = Pair::new(&[], |from, _| {
            for (link, target) in [
                ("a", "b"),
                ("b", "a"),
                ("self", "."),
                ("dangling", "nowhere"),
                ("absolute", "/etc/passwd"),
                ("out", "../../etc"),
            ] {
                symlink(target, from.join(link)).unwrap();
            }
            set_mtime(from.join("out"), 5, 7);
        })
        .await;
        pair.settle().await;
        fs::remove_file(pair.from("out")).unwrap();
        symlink("elsewhere", pair.from("out")).unwrap();
        pair.settle().await;
    });
}

#[test]
fn m05_nothing_is_written_behind_a_link_on_the_mirror() {
    run(async {
        let outside = tempfile::TempDir::new().unwrap();
        write(outside.path().join("f"), "precious");
        write(outside.path().join("extra"), "precious");
        let pair = Pair::new(&[], |from, to| {
            write(from.join("d/f"), "new");
            symlink(outside.path(), to.join("d")).unwrap();
        })
        .await;
        pair.settle().await;
        // And again while it runs.
        fs::remove_dir_all(pair.to("d")).unwrap();
        symlink(outside.path(), pair.to("d")).unwrap();
        write(pair.from("d/g"), "new");
        fs::remove_file(pair.from("d/f")).unwrap();
        pair.settle().await;
        assert_eq!(fs::read(outside.path().join("f")).unwrap(), b"precious");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 2);
    });
}

#[test]
fn m06_any_name() {
    run(async {
        let pair = Pair::new(&[], |from, _| {
            for odd in [
                &b"new\nline"[..],
                b"tab\t",
                b"\xff\xfe",
                &[b'x'; 255],
                b"-rf",
                b"$(id)",
                b"*",
                b"trailing ",
                b"\\",
                "\u{e4}".as_bytes(),
                "a\u{308}".as_bytes(),
            ] {
                write(from.join(name(odd)), odd);
            }
        })
        .await;
        pair.settle().await;
        assert_eq!(pair.mirror.status().entries, 11);
    });
}

#[test]
fn m07_paths_longer_than_the_kernel_takes_at_once() {
    run(async {
        let pair = Pair::new(&[], |from, _| {
            use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
            let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
            let mut dir = openat(CWD, from, flags, Mode::empty()).unwrap();
            let long = "d".repeat(250);
            for _ in 0..40 {
                mkdirat(&dir, &long, Mode::RWXU).unwrap();
                dir = openat(&dir, &long, flags, Mode::empty()).unwrap();
            }
            let create = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
            let file = openat(&dir, "bottom", create, Mode::RUSR).unwrap();
            rustix::io::write(file, b"deep").unwrap();
        })
        .await;
        pair.until("41 entries", || pair.mirror.status().entries == 41).await;
        pair.until("following", || pair.mirror.status().phase == MirrorPhase::Following).await;
        let find = |root: &std::path::Path| {
            let out = std::process::Command::new("find")
                .arg(root)
                .args(["-mindepth", "1", "-printf", "%T@ %m %s %P\\n"])
                .output()
                .unwrap();
            assert!(out.status.success(), "{out:?}");
            String::from_utf8(out.stdout).unwrap()
        };
        let (from, to) = (find(&pair.origin.site()), find(&pair.mirror.site()));
        assert!(from.lines().any(|l| l.len() > 10_000));
        assert_eq!(from, to);
    });
}

#[test]
fn m08_names_that_differ_in_case() {
    run(async {
        let pair = Pair::new(&[], |from, _| {
            write(from.join("Readme"), "1");
            write(from.join("F"), "2");
            write(from.join("f"), "3");
        })
        .await;
        pair.settle().await;
        fs::rename(pair.from("Readme"), pair.from("README")).unwrap();
        pair.settle().await;
    });
}

#[test]
fn m09_a_file_that_is_written_while_it_is_read_never_arrives_torn() {
    run(async {
        let size = 3_000_000;
        let pair = Pair::new(&[], |from, _| write(from.join("big"), vec![b'0'; size])).await;
        pair.settle().await;
        let (path, copy) = (pair.from("big"), pair.to("big"));
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let writer = {
            let (path, stop) = (path.clone(), std::sync::Arc::clone(&stop));
            std::thread::spawn(move || {
                use std::os::unix::fs::FileExt;
                let file = fs::OpenOptions::new().write(true).open(path).unwrap();
                let mut n = 0_u8;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    // Start and end, so that a mix shows.
                    let digit = [b'1' + n % 9; 1];
                    file.write_all_at(&digit, 0).unwrap();
                    file.write_all_at(&digit, size as u64 - 1).unwrap();
                    n = n.wrapping_add(1);
                    std::thread::sleep(Duration::from_millis(n as u64 % 40));
                }
            })
        };
        write(pair.from("other"), "goes on");
        let begun = Instant::now();
        let mut seen = 0;
        while begun.elapsed() < Duration::from_secs(3) {
            let content = fs::read(&copy).unwrap();
            assert_eq!(content.len(), size);
            assert_eq!(content[0], content[size - 1], "torn");
            seen += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(seen > 10);
        assert!(pair.to("other").exists());
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        writer.join().unwrap();
        pair.settle().await;
        // Growing and shrinking.
        write(&path, vec![b'x'; size * 2]);
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(10).unwrap();
        pair.settle().await;
    });
}

#[test]
fn m11_an_edit_within_the_same_second_and_of_the_same_size() {
    run(async {
        let pair = Pair::new(&[], |from, to| {
            write(from.join("a"), "BBB");
            write(to.join("a"), "AAA");
            set_mtime(from.join("a"), 1_700_000_000, 900_000_000);
            set_mtime(to.join("a"), 1_700_000_000, 100_000_000);
        })
        .await;
        pair.settle().await;
    });
}

#[test]
fn m11_the_full_compare_finds_what_nobody_was_told_of() {
    run(async {
        // No notification here: an edit through a mapping makes none.
        let pair = Pair::comparing(&[], Millis::seconds(2), |from, _| {
            write(from.join("a"), vec![b'A'; 4096]);
        })
        .await;
        pair.settle().await;
        let edit = "import mmap,sys\nf=open(sys.argv[1],'r+b')\nm=mmap.mmap(f.fileno(),4096)\n\
                    m[0:3]=b'BBB'\nm.flush()\nm.close()\n";
        let before = fs::metadata(pair.from("a")).unwrap();
        // Opening for writing and closing is an event: keep the file open until it is found.
        let held = fs::OpenOptions::new().write(true).open(pair.from("a")).unwrap();
        let made =
            std::process::Command::new("python3").arg("-c").arg(edit).arg(pair.from("a")).status();
        assert!(made.unwrap().success());
        drop(held);
        assert_eq!(before.len(), fs::metadata(pair.from("a")).unwrap().len());
        pair.settle().await;
        assert!(fs::read(pair.to("a")).unwrap().starts_with(b"BBB"));
    });
}

#[test]
fn m12_an_edit_with_its_time_set_back() {
    run(async {
        let pair = Pair::new(&[], |from, _| {
            write(from.join("a"), "AAA");
            write(from.join("big"), vec![1; 300_000]);
            set_mtime(from.join("a"), 1000, 5);
            set_mtime(from.join("big"), 1000, 5);
        })
        .await;
        pair.settle().await;
        for (file, content) in [("a", b"BBB".to_vec()), ("big", vec![2; 300_000])] {
            write(pair.from(file), content);
            set_mtime(pair.from(file), 1000, 5);
        }
        pair.settle().await;
        // The same on the mirror is drift.
        write(pair.to("big"), vec![3; 300_000]);
        set_mtime(pair.to("big"), 1000, 5);
        pair.settle().await;
    });
}

#[test]
fn m13_m14_any_time() {
    run(async {
        let pair = Pair::new(&[], |from, to| {
            for (n, (secs, nanos)) in
                [(4_070_908_800, 1), (-31_536_000, 999_999_999), (1 << 31, 0), (0, 0), (-1, 1)]
                    .into_iter()
                    .enumerate()
            {
                write(from.join(format!("f{n}")), "x");
                set_mtime(from.join(format!("f{n}")), secs, nanos);
            }
            // Newer here; the origin wins all the same.
            write(from.join("old"), "origin");
            set_mtime(from.join("old"), 1000, 0);
            write(to.join("old"), "mirror");
        })
        .await;
        pair.settle().await;
        assert_eq!(fs::metadata(pair.to("f1")).unwrap().mtime(), -31_536_000);
        assert_eq!(fs::read(pair.to("old")).unwrap(), b"origin");
    });
}

#[test]
fn m15_an_empty_or_missing_origin_deletes_nothing() {
    run(async {
        let fill = |from: &std::path::Path, to: &std::path::Path| {
            for n in 0..5 {
                write(from.join(format!("f{n}")), "x");
                write(to.join(format!("f{n}")), "x");
            }
        };
        let pair = Pair::new(&[], fill).await;
        pair.settle().await;
        // Moved away, as when a disk is not mounted.
        let away = pair.origin.data.path().join("away");
        fs::rename(pair.origin.site(), &away).unwrap();
        let reason = pair.held().await;
        assert!(reason.contains("is gone") && reason.contains("by itself"), "{reason}");
        assert!(matches!(pair.origin.status().phase, MirrorPhase::Failed { .. }));
        fs::create_dir(pair.origin.site()).unwrap();
        pair.until("held as empty", || {
            matches!(pair.mirror.status().phase, MirrorPhase::Held { reason, .. } if reason.contains("no files"))
        })
        .await;
        assert_eq!(fs::read_dir(pair.mirror.site()).unwrap().count(), 5);
        // It comes back, and all goes on by itself.
        fs::remove_dir(pair.origin.site()).unwrap();
        fs::rename(&away, pair.origin.site()).unwrap();
        pair.settle().await;
        write(pair.from("f0"), "changed");
        pair.settle().await;
        assert_eq!(pair.mirror.status().deleted, 0);
    });
}

#[test]
fn m15_an_origin_that_is_empty_from_the_start() {
    run(async {
        let pair = Pair::new(&[], |_, to| write(to.join("precious"), "x")).await;
        pair.held().await;
        assert!(pair.to("precious").exists());
        // One file is enough to show that the directory is the right one.
        write(pair.from("index.html"), "x");
        pair.settle().await;
    });
}

#[test]
fn m16_a_mass_deletion_is_held_until_it_is_approved() {
    run(async {
        let pair = Pair::new(&[], |from, _| {
            for n in 0..100 {
                write(from.join(format!("d/f{n}")), "x");
            }
            write(from.join("index.html"), "x");
        })
        .await;
        pair.settle().await;
        for n in 0..60 {
            fs::remove_file(pair.from(&format!("d/f{n}"))).unwrap();
        }
        let reason = pair.held().await;
        assert!(reason.contains("approve"), "{reason}");
        // Nothing at all is done meanwhile, and an approval of nothing held comes to nothing.
        write(pair.from("index.html"), "changed");
        pair.until("what is held is looked at again", || {
            matches!(pair.mirror.status().phase, MirrorPhase::Held { .. })
        })
        .await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(fs::read(pair.to("index.html")).unwrap(), b"x");
        assert_eq!(fs::read_dir(pair.to("d")).unwrap().count(), 100);
        pair.mirror.handle.approve(&"another".parse().unwrap()).await;
        pair.mirror.handle.approve(&site()).await;
        pair.settle().await;
        assert_eq!(pair.mirror.status().deleted, 60);
        // An approval does not outlive what it was for.
        fs::remove_dir_all(pair.from("d")).unwrap();
        fs::remove_file(pair.from("index.html")).unwrap();
        pair.held().await;
        assert_eq!(fs::read_dir(pair.to("d")).unwrap().count(), 40);
        // All files are gone: that too can be meant.
        pair.mirror.handle.approve(&site()).await;
        pair.settle().await;
    });
}

#[test]
fn m16_files_that_come_back_end_the_hold() {
    run(async {
        let pair = Pair::new(&[], |from, _| {
            for n in 0..100 {
                write(from.join(format!("f{n}")), "x");
            }
        })
        .await;
        pair.settle().await;
        for n in 0..80 {
            fs::rename(pair.from(&format!("f{n}")), pair.origin.data.path().join(format!("{n}")))
                .unwrap();
        }
        pair.held().await;
        for n in 0..80 {
            fs::rename(pair.origin.data.path().join(format!("{n}")), pair.from(&format!("f{n}")))
                .unwrap();
        }
        pair.settle().await;
        assert_eq!(pair.mirror.status().deleted, 0);
    });
}

#[test]
fn m16_slow_removal_of_everything_is_held_half_way() {
    run(async {
        let pair = Pair::new(&[], |from, _| {
            for n in 0..200 {
                write(from.join(format!("f{n}")), "x");
            }
        })
        .await;
        pair.settle().await;
        for n in 0..200 {
            fs::remove_file(pair.from(&format!("f{n}"))).unwrap();
            if n % 10 == 9 {
                tokio::time::sleep(Duration::from_millis(150)).await;
            }
        }
        pair.held().await;
        let left = fs::read_dir(pair.mirror.site()).unwrap().count();
        assert!((100..200).contains(&left), "{left}");
    });
}

#[test]
fn m17_an_unreadable_directory_stops_all_deletions() {
    run(async {
        // As root nothing is unreadable, so a path that is too long stands for it.
        let pair = Pair::new(&[], |from, to| {
            write(from.join("a"), "x");
            write(to.join("extra"), "not on the origin");
            use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
            let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
            let mut dir = openat(CWD, from, flags, Mode::empty()).unwrap();
            let long = "d".repeat(255);
            for _ in 0..130 {
                mkdirat(&dir, &long, Mode::RWXU).unwrap();
                dir = openat(&dir, &long, flags, Mode::empty()).unwrap();
            }
        })
        .await;
        let reason = pair.held().await;
        assert!(reason.contains("too long") && reason.contains("nothing is deleted"), "{reason}");
        // New files come all the same.
        write(pair.from("b"), "new");
        pair.until("the new file", || pair.to("a").exists() && pair.to("b").exists()).await;
        assert!(pair.to("extra").exists());
        let gone = std::process::Command::new("rm")
            .arg("-rf")
            .arg(pair.from(&"d".repeat(255)))
            .status()
            .unwrap();
        assert!(gone.success());
        pair.until("the extra file is deleted", || !pair.to("extra").exists()).await;
        pair.settle().await;
    });
}

#[test]
fn m20_m21_modes_and_owners() {
    run(async {
        let pair = Pair::new(&[], |from, _| {
            for (n, mode) in [0o444, 0o000, 0o4755, 0o2755, 0o1777, 0o600].into_iter().enumerate() {
                let file = from.join(format!("f{n}"));
                write(&file, "x");
                std::os::unix::fs::chown(&file, Some(40_000 + n as u32), Some(50_000)).unwrap();
                fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
                let dir = from.join(format!("d{n}"));
                write(dir.join("inside"), "x");
                std::os::unix::fs::chown(&dir, Some(40_000), Some(50_000 + n as u32)).unwrap();
                fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
            }
        })
        .await;
        pair.settle().await;
        let copied = pair.mirror.status().copied;
        write(pair.from("d1/inside"), "updated in a directory of mode 0");
        write(pair.from("f1"), "updated");
        pair.settle().await;
        // A change of mode or owner alone sends no content.
        fs::set_permissions(pair.from("f5"), fs::Permissions::from_mode(0o444)).unwrap();
        std::os::unix::fs::chown(pair.from("f3"), Some(1), Some(2)).unwrap();
        fs::set_permissions(pair.from("d5"), fs::Permissions::from_mode(0o711)).unwrap();
        pair.settle().await;
        assert_eq!(pair.mirror.status().copied, copied + 2);
    });
}

#[test]
fn m22_fifos_sockets_and_devices_are_skipped_and_listed() {
    run(async {
        let pair = Pair::new(&[], |from, _| {
            write(from.join("a"), "x");
            assert!(
                std::process::Command::new("mkfifo")
                    .arg(from.join("pipe"))
                    .status()
                    .unwrap()
                    .success()
            );
            std::os::unix::net::UnixListener::bind(from.join("socket")).unwrap();
        })
        .await;
        pair.until("a", || pair.to("a").exists()).await;
        pair.until("listed", || pair.mirror.status().skipped.len() == 2).await;
        assert_eq!(pair.origin.status().skipped.len(), 2);
        pair.until("following", || pair.mirror.status().phase == MirrorPhase::Following).await;
        assert!(!pair.to("pipe").exists() && !pair.to("socket").exists());
    });
}

#[test]
fn m23_holes_stay_holes() {
    run(async {
        let pair = Pair::new(&[], |from, _| {
            use std::os::unix::fs::FileExt;
            let file = fs::File::create(from.join("sparse")).unwrap();
            file.write_all_at(&[7; 4096], 20_000_000).unwrap();
            file.set_len(50_000_000).unwrap();
        })
        .await;
        pair.settle().await;
        let blocks = |path| fs::metadata(path).unwrap().blocks();
        assert!(blocks(pair.to("sparse")) <= 2 * blocks(pair.from("sparse")).max(8));
    });
}

#[test]
fn m24_hard_links_become_files_of_their_own() {
    run(async {
        let pair = Pair::new(&[], |from, _| {
            write(from.join("h1"), "one");
            fs::hard_link(from.join("h1"), from.join("h2")).unwrap();
        })
        .await;
        pair.settle().await;
        write(pair.from("h2"), "both");
        // No event says that h1 changed as well.
        pair.apply(&settings("web01", &["none"], Millis::seconds(1)));
        pair.settle().await;
        assert_eq!(fs::metadata(pair.to("h1")).unwrap().nlink(), 1);
    });
}

/// A small file system of its own, gone with the value.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(options: &str) -> Self {
        let place = tempfile::TempDir::new().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(place.path())
            .status();
        assert!(mounted.unwrap().success());
        Self(place)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn m26_a_full_disk_leaves_what_was_there_and_deletes_nothing() {
    run(async {
        for options in ["size=3m", "size=30m,nr_inodes=40"] {
            let disk = SmallDisk::new(options);
            let a = tempfile::TempDir::new().unwrap();
            let b = tempfile::TempDir::new_in(disk.0.path()).unwrap();
            for n in 0..10 {
                write(a.path().join(format!("site/f{n}")), "old");
            }
            let wire = std::sync::Arc::new(common::Wire::default());
            let all = settings("web01", &[], Millis::seconds(300));
            let origin = wire.host_in("web01", all.clone(), a);
            let mirror = wire.host_in("web02", all, b);
            let pair = Pair { wire, origin, mirror };
            pair.settle().await;
            // Too large, or too many; and something goes in the same batch.
            for n in 0..100 {
                write(pair.from(&format!("more/{n}")), vec![1; 100_000]);
            }
            fs::remove_file(pair.from("f1")).unwrap();
            pair.until("full", || {
                matches!(pair.mirror.status().phase,
                    MirrorPhase::Failed { reason } if reason.contains("disk is full"))
            })
            .await;
            assert_eq!(fs::read(pair.to("f1")).unwrap(), b"old");
            assert_eq!(fs::read(pair.to("f2")).unwrap(), b"old");
            assert_eq!(pair.staged(), 0);
            // Space is made on the origin, and all goes on by itself.
            fs::remove_dir_all(pair.from("more")).unwrap();
            pair.settle().await;
            assert!(!pair.to("f1").exists());
            pair.mirror.stop.trigger();
        }
    });
}

#[test]
fn m29_a_broken_connection_is_noticed_and_made_again() {
    run(async {
        let pair = Pair::new(&[], |from, _| write(from.join("a"), "x")).await;
        pair.settle().await;
        for n in 0..5 {
            pair.wire.cut(false);
            write(pair.from("a"), format!("{n}"));
            pair.settle().await;
        }
        let mut times = Vec::new();
        loop {
            pair.wire.cut(true);
            let begun = Instant::now();
            pair.until("connecting", || pair.mirror.status().phase == MirrorPhase::Connecting)
                .await;
            times.push(begun.elapsed());
            // The machine may stand still during some of them.
            if times.iter().any(|took| *took < Duration::from_secs(3)) {
                break;
            }
            assert!(times.len() < 4, "{times:?}");
            pair.wire.down.store(false, std::sync::atomic::Ordering::SeqCst);
            pair.settle().await;
        }
        let lag = || pair.mirror.status().lag_ms.unwrap();
        let first = lag();
        pair.until("the lag counts up", || lag() > first + 200).await;
        write(pair.from("a"), "meanwhile");
        pair.wire.down.store(false, std::sync::atomic::Ordering::SeqCst);
        pair.settle().await;
    });
}

#[test]
fn m29_cut_during_a_large_file() {
    run(async {
        let pair = Pair::new(&[], |_, _| {}).await;
        let content: Vec<u8> = (0..30_000_000_u32).map(|n| (n >> 9) as u8).collect();
        write(pair.from("big"), &content);
        for _ in 0..5 {
            pair.until("some of it is there", || pair.staged() > 0 || pair.to("big").exists())
                .await;
            pair.wire.cut(false);
        }
        pair.settle().await;
        assert_eq!(pair.staged(), 0);
    });
}

#[test]
fn m30_drift_on_the_mirror_is_reverted() {
    run(async {
        let pair = Pair::new(&[], |from, _| {
            for n in 0..5 {
                write(from.join(format!("d/f{n}")), format!("{n}"));
            }
            symlink("f1", from.join("d/l")).unwrap();
        })
        .await;
        pair.settle().await;
        write(pair.to("d/f0"), "edited");
        pair.settle().await;
        fs::remove_file(pair.to("d/f1")).unwrap();
        fs::remove_file(pair.to("d/l")).unwrap();
        pair.settle().await;
        write(pair.to("extra/file"), "made here");
        pair.settle().await;
        fs::set_permissions(pair.to("d/f2"), fs::Permissions::from_mode(0o777)).unwrap();
        set_mtime(pair.to("d"), 5, 5);
        pair.settle().await;
        fs::remove_dir_all(pair.to("d")).unwrap();
        pair.settle().await;
        fs::remove_dir_all(pair.mirror.site()).unwrap();
        pair.settle().await;
    });
}

#[test]
fn m34_moving_nearly_everything_is_not_held() {
    run(async {
        let pair = Pair::new(&[], |from, _| {
            for n in 0..300 {
                write(from.join(format!("d/e{}/f{n}", n % 9)), format!("{n}"));
            }
            write(from.join("index.html"), "x");
        })
        .await;
        pair.settle().await;
        for (old, new) in [("d", "moved"), ("moved", "d"), ("d/e1", "e")] {
            fs::rename(pair.from(old), pair.from(new)).unwrap();
            pair.settle().await;
        }
    });
}

#[test]
fn m35_patterns_change_while_it_runs() {
    run(async {
        let pair = Pair::new(&THREE, |from, to| {
            for place in ["stats", "a/stats", "w/files/pictures", "error"] {
                write(from.join(place).join("o"), "origin's own");
                write(to.join(place).join("m"), "mirror's own");
            }
            write(from.join("files/docs"), "sent");
            write(to.join("gone/stats/local"), "kept");
            write(to.join("gone/other"), "deleted");
        })
        .await;
        pair.until("docs", || pair.to("files/docs").exists()).await;
        pair.until("gone/other is deleted", || !pair.to("gone/other").exists()).await;
        pair.until("following", || pair.mirror.status().phase == MirrorPhase::Following).await;
        assert!(pair.to("gone/stats/local").exists());
        for place in ["stats", "a/stats", "w/files/pictures", "error"] {
            assert!(pair.to(place).join("m").exists() && !pair.to(place).join("o").exists());
        }
        // One fewer: what it protected is no longer protected.
        let opened = pair.wire.opened.load(std::sync::atomic::Ordering::SeqCst);
        let begun = Instant::now();
        pair.apply(&settings("web01", &["**/stats", "**/files/pictures"], Millis::seconds(300)));
        pair.until("error is followed", || {
            pair.to("error/o").exists() && !pair.to("error/m").exists()
        })
        .await;
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert!(pair.to("stats/m").exists());
        // One more.
        pair.apply(&settings("web01", &["**/stats", "files"], Millis::seconds(300)));
        write(pair.from("files/docs"), "no longer sent");
        write(pair.from("marker"), "x");
        pair.until("the marker", || pair.to("marker").exists()).await;
        assert_eq!(fs::read(pair.to("files/docs")).unwrap(), b"sent");
        assert_eq!(pair.wire.opened.load(std::sync::atomic::Ordering::SeqCst), opened);
    });
}

#[test]
fn m35_a_pattern_that_only_one_side_knows_protects_on_both() {
    run(async {
        let pair = Pair::new(&[], |from, _| {
            write(from.join("keep/a"), "x");
            write(from.join("b"), "x");
        })
        .await;
        pair.settle().await;
        // The origin hears of it first and no longer lists it.
        pair.origin.apply(settings("web01", &["keep"], Millis::seconds(300)));
        write(pair.from("marker"), "x");
        pair.until("the marker", || pair.to("marker").exists()).await;
        assert!(pair.to("keep/a").exists());
        pair.mirror.apply(settings("web01", &["keep"], Millis::seconds(300)));
        // And the other way round.
        pair.mirror.apply(settings("web01", &["keep", "b"], Millis::seconds(300)));
        tokio::time::sleep(Duration::from_millis(300)).await;
        fs::remove_file(pair.from("b")).unwrap();
        write(pair.from("marker2"), "x");
        pair.until("the marker", || pair.to("marker2").exists()).await;
        assert!(pair.to("b").exists());
    });
}

#[test]
fn m35_a_pattern_taken_away_passes_the_brake() {
    run(async {
        let pair = Pair::new(&["**/stats"], |from, to| {
            write(from.join("a"), "x");
            for n in 0..100 {
                write(to.join(format!("stats/{n}")), "x");
            }
        })
        .await;
        pair.until("a", || pair.to("a").exists()).await;
        pair.apply(&settings("web01", &[], Millis::seconds(300)));
        pair.held().await;
        assert_eq!(fs::read_dir(pair.to("stats")).unwrap().count(), 100);
        pair.apply(&settings("web01", &["**/stats"], Millis::seconds(300)));
        pair.until("following", || pair.mirror.status().phase == MirrorPhase::Following).await;
        assert_eq!(fs::read_dir(pair.to("stats")).unwrap().count(), 100);
    });
}

#[test]
fn m37_more_events_than_the_queue_holds() {
    run(async {
        let pair = Pair::new(&[], |_, _| {}).await;
        pair.until("connected", || pair.mirror.status().phase == MirrorPhase::Following).await;
        for n in 0..20_000 {
            let path = pair.from(&format!("{n}"));
            drop(fs::File::create(path).unwrap());
        }
        let quiet = Instant::now();
        pair.within(Duration::from_secs(60), "20,000 files", || {
            pair.mirror.status().entries == 20_000
                && pair.mirror.status().phase == MirrorPhase::Following
        })
        .await;
        eprintln!("20,000 creates: equal {:?} after the last", quiet.elapsed());
        pair.settle().await;
    });
}

#[test]
fn m37_editors_archives_and_a_log_that_stays_open() {
    run(async {
        use std::io::Write;
        let pair = Pair::new(&[], |from, _| write(from.join("page"), "0")).await;
        pair.settle().await;
        // vim: move away, write anew, remove the old one.
        fs::rename(pair.from("page"), pair.from("page~")).unwrap();
        write(pair.from("page"), "1");
        fs::remove_file(pair.from("page~")).unwrap();
        pair.settle().await;
        // Write beside, rename over.
        write(pair.from(".page.swp"), "2");
        fs::rename(pair.from(".page.swp"), pair.from("page")).unwrap();
        pair.settle().await;
        // Truncate and write.
        write(pair.from("page"), "3");
        pair.settle().await;
        // A log is followed while it stays open, and others are not starved.
        let mut log = fs::File::create(pair.from("log")).unwrap();
        for n in 0..40 {
            writeln!(log, "line {n}").unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        pair.until("the log", || pair.to("log").exists()).await;
        pair.settle().await;
        drop(log);
        let made = std::process::Command::new("sh")
            .arg("-c")
            .arg("mkdir src && for i in $(seq 300); do mkdir -p src/d$((i%17)); echo $i >src/d$((i%17))/$i; done; tar cf t.tar src && mkdir x && tar xf t.tar -C x && rm -r src/d3")
            .current_dir(pair.origin.site())
            .status();
        assert!(made.unwrap().success());
        pair.until("settled or held", || {
            pair.mirror.status().phase == MirrorPhase::Following
                && pair.to("x/src/d3").exists()
                && !pair.to("src/d3").exists()
        })
        .await;
        pair.settle().await;
    });
}

#[test]
fn m38_directories_made_deep_and_moved() {
    run(async {
        let pair = Pair::new(&[], |from, _| write(from.join("k"), "x")).await;
        pair.settle().await;
        for n in 0..20 {
            write(pair.from(&format!("a{n}/b/c/d/f")), "x");
        }
        pair.settle().await;
        let outside = pair.origin.data.path().join("outside");
        fs::rename(pair.from("a1"), &outside).unwrap();
        pair.settle().await;
        write(outside.join("b/late"), "x");
        fs::rename(&outside, pair.from("a2/moved")).unwrap();
        pair.settle().await;
        write(pair.from("a2/moved/b/c/g"), "x");
        pair.settle().await;
        fs::rename(pair.from("a2/moved"), pair.from("a3/moved")).unwrap();
        fs::rename(pair.from("a3"), pair.from("a2/a3")).unwrap();
        write(pair.from("a2/a3/moved/b/c/h"), "x");
        pair.settle().await;
    });
}

#[test]
fn roles_change_while_it_runs() {
    run(async {
        let pair = Pair::new(&[], |from, _| write(from.join("a"), "1")).await;
        pair.settle().await;
        // Web02 becomes the origin.
        pair.apply(&settings("web02", &[], Millis::seconds(300)));
        pair.until("turned round", || {
            pair.mirror.status().phase == MirrorPhase::Origin
                && pair.origin.status().phase == MirrorPhase::Following
        })
        .await;
        write(pair.to("b"), "made on Web02");
        pair.until("the way back", || pair.from("b").exists()).await;
        // The site is switched off and then gone: no file is touched.
        let mut off = settings("web02", &[], Millis::seconds(300));
        off.sites[0].mirror.enabled = false;
        pair.apply(&off);
        pair.until("off", || pair.mirror.handle.status().is_empty()).await;
        fs::remove_file(pair.to("a")).unwrap();
        off.sites[0].name = "other".parse().unwrap();
        off.nodes.clear();
        pair.apply(&off);
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(pair.from("a").exists() && pair.from("b").exists());
        // And on again.
        pair.apply(&settings("web01", &[], Millis::seconds(300)));
        pair.settle().await;
        assert!(pair.to("a").exists());
    });
}
