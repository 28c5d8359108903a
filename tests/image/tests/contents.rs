//! What is in the image, and what listens.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test states what it expects")]

mod common;

use common::{boot_on, claimed_file, provisioned, ready};
use emulator::{Card, Segment};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// `ls -l` lines of the root.
fn listing(image: &emulator::Image) -> Vec<(String, String)> {
    let mut unpack = Command::new("zstd")
        .arg("-dcq")
        .arg(image.initrd())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let packed = unpack.stdout.take().unwrap();
    let list = Command::new("cpio").args(["-tv", "--quiet"]).stdin(packed).output().unwrap();
    assert!(unpack.wait().unwrap().success() && list.status.success());
    let text = String::from_utf8(list.stdout).unwrap();
    text.lines()
        .map(|line| {
            let (mode, rest) = line.split_once(' ').unwrap();
            // mode links owner group size month day time name; of a device "major, minor" for size
            let fields = if mode.starts_with(['b', 'c']) { 8 } else { 7 };
            let name = rest.split_whitespace().skip(fields).collect::<Vec<_>>().join(" ");
            (mode.to_owned(), name)
        })
        .collect()
}

#[test]
fn no_shell_no_setuid_file_and_no_program_but_those_documented() {
    let Some(image) = common::image() else { return };
    let files = listing(&image);
    assert!(files.len() > 50, "{files:?}");
    let programs = include_str!("../../../image/rootfs/programs");
    let mut known: BTreeSet<&str> = programs
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_whitespace().nth(1))
        .map(|path| path.trim_start_matches('/'))
        .collect();
    known.extend(["init", "lib/ld-linux-armhf.so.3"]);
    for (mode, name) in &files {
        let last = name.rsplit('/').next().unwrap_or_default();
        let shells =
            ["sh", "bash", "dash", "ash", "zsh", "busybox", "toybox", "su", "sudo", "login"];
        assert!(!shells.contains(&last), "{mode} {name}");
        let kind = mode.get(..1).unwrap();
        assert!(!mode.contains(['s', 'S']) || kind == "s", "{mode} {name}: setuid or setgid");
        if kind == "-" {
            assert_ne!(mode.get(8..9), Some("w"), "{mode} {name}: everybody may write it");
            let library = name.starts_with("usr/lib/arm-linux-gnueabihf/") && last.contains(".so");
            let runs = mode.contains('x');
            assert!(!runs || library || known.contains(name.as_str()), "{mode} {name}: a program");
        }
        // What the kernel needs for process 1 before there is a /dev.
        let early = [("crw-------", "dev/console"), ("crw-rw-rw-", "dev/null")];
        let device = early.contains(&(mode.as_str(), name.as_str()));
        assert!("-dl".contains(kind) || device, "{mode} {name}: a device, socket or pipe");
    }
    let figures = common::figures("contents");
    let size = std::fs::metadata(image.initrd()).unwrap().len() / 1000;
    figures.note("root", &format!("{} files, {size} KB compressed", files.len())).unwrap();
    let packed = std::fs::metadata(image.beside("bramble.img.xz"));
    let megabytes = packed.unwrap().len() / 1_000_000;
    figures.note("card image, compressed", &format!("{megabytes} MB")).unwrap();
    assert!(megabytes <= 64);
}

#[test]
fn the_boot_partition_holds_what_a_pi_needs() {
    let Some(image) = common::image() else { return };
    let card = Card::new(&image, common::SMALL).unwrap();
    let names = card.boot_files().unwrap();
    for needed in ["bootcode.bin", "start_cd.elf", "start4cd.elf", "config.txt", "boot.scr"] {
        assert!(names.iter().any(|n| n.eq_ignore_ascii_case(needed)), "{needed}: {names:?}");
    }
    assert!(card.boot_file("bramble.toml").unwrap().is_some());
    assert_eq!(card.boot_file("no such file").unwrap(), None);
    assert_eq!(card.check_data().unwrap(), None);
    let state = card.boot_state().unwrap().unwrap();
    assert_eq!((state.active, state.left), (0, 0));
}

/// The TCP ports that somebody listens on, asked from the segment.
fn open_ports(segment: &Segment, host: IpAddr) -> Vec<u16> {
    let (next, open) = (AtomicU32::new(1), Mutex::new(Vec::new()));
    let ask = || {
        while let Ok(port) = u16::try_from(next.fetch_add(1, Ordering::Relaxed)) {
            let to = SocketAddr::new(host, port);
            match TcpStream::connect_timeout(&to, Duration::from_secs(3)) {
                Ok(_) => open.lock().unwrap().push(port),
                Err(e) => assert_eq!(e.kind(), ErrorKind::ConnectionRefused, "{to}"),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| segment.space().within(ask).unwrap());
        }
    });
    let mut ports = open.into_inner().unwrap();
    ports.sort_unstable();
    ports
}

#[test]
fn nothing_listens_but_what_is_documented() {
    let Some(image) = common::image() else { return };
    let segment = Segment::new(1).unwrap();
    let card = provisioned(&image, common::SMALL, &claimed_file());
    let machine = boot_on(&image, &segment, 0, card);
    ready(&machine);
    let ports = open_ports(&segment, Segment::address(0).into());
    common::figures("contents").note("open TCP ports", &format!("{ports:?}")).unwrap();
    // 80 leads to the page while no role needs it; 1937 is the boards' own.
    assert!(ports.contains(&1936), "{ports:?}");
    assert!(ports.iter().all(|port| [80, 1936, 1937].contains(port)), "{ports:?}");
}
