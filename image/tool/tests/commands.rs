//! The commands as the build calls them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a broken expectation fails the test")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn tool(directory: &Path, words: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_imagetool"))
        .args(words.split_whitespace())
        .current_dir(directory)
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .output()
        .unwrap()
}

fn done(directory: &Path, words: &str) -> String {
    let output = tool(directory, words);
    assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn refused(directory: &Path, words: &str, reason: &str) {
    let output = tool(directory, words);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{words}");
    assert!(text.contains(reason), "{words}: {text}");
}

const SLOT: &str = "slot --kernel kernel --initrd initrd --version 0.1.0 --built 1700000000";

#[test]
fn from_a_kernel_to_a_bundle() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    fs::write(at.join("kernel"), vec![1; 70_000]).unwrap();
    fs::write(at.join("initrd"), vec![2; 90_000]).unwrap();
    done(at, "keygen private public");
    assert_eq!(fs::read(at.join("private")).unwrap().len(), 32);
    refused(at, "keygen private public", "cannot make private");
    done(at, &format!("{SLOT} slot"));
    done(at, &format!("{SLOT} again"));
    assert!(fs::read(at.join("slot")).unwrap() == fs::read(at.join("again")).unwrap());
    let bundle = "bundle --slot slot --key private --version 0.1.0 --built 1700000000";
    done(at, &format!("{bundle} --board pi2 --board pi3,pi4 update.bramble"));
    done(at, &format!("{bundle} --board pi2 --board pi3,pi4 again.bramble"));
    let bytes = fs::read(at.join("update.bramble")).unwrap();
    assert!(bytes == fs::read(at.join("again.bramble")).unwrap());
    let line = done(at, "verify update.bramble --key public");
    assert!(line.starts_with("bramble 0.1.0 built 1700000000 for pi2, pi3, pi4, "), "{line}");
    refused(at, "verify update.bramble --key public --board pi02", "this board is a pi02");
    refused(at, "verify update.bramble --key public --built 1700000001", "older");
    refused(at, "verify update.bramble --key slot", "a key has 32");
    fs::write(at.join("short"), &bytes[..bytes.len() - 1]).unwrap();
    refused(at, "verify short --key public", "incomplete");
    refused(at, "verify slot --key public", "not a Bramble update");
    fs::remove_file(at.join("private")).unwrap();
    done(at, "keygen private stranger");
    refused(at, "verify update.bramble --key stranger", "not signed");
    refused(at, &format!("{bundle} out"), "--board");
    let other = "bundle --slot slot --key private --version 0.2.0 --board pi2 out";
    refused(at, other, "slot has version 0.1.0");
    refused(at, "bundle --slot kernel --key private --board pi2 out", "kernel is no slot");
    assert!(!at.join("out").exists());
}

#[test]
fn the_state_of_a_new_card() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    done(at, "state state --active b");
    let bytes = fs::read(at.join("state")).unwrap();
    assert_eq!(bytes.len(), 1024);
    assert_eq!(&bytes[..9], b"BRS1\0\x01\x01\0\0");
    assert_eq!(&bytes[512..521], b"BRS1\x01\x01\x01\0\0");
    done(at, "state state --active a --trial b");
    assert_eq!(&fs::read(at.join("state")).unwrap()[512..521], b"BRS1\x01\x00\x01\x03\0");
    refused(at, "state state --active c", "c is no slot");
}

#[test]
fn files_for_u_boot_and_the_root() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    done(at, "env 0x40 environment a=1 b=");
    assert_eq!(fs::read(at.join("environment")).unwrap().len(), 64);
    refused(at, "env big environment a=1", "big is no size");
    refused(at, "env 8 environment a=1234", "room for 4");
    fs::write(at.join("boot.cmd"), "echo hello\n").unwrap();
    done(at, "script boot.cmd boot.scr");
    assert!(fs::read(at.join("boot.scr")).unwrap().ends_with(b"echo hello\n"));
    fs::create_dir_all(at.join("root/usr/lib/x")).unwrap();
    fs::write(at.join("root/init"), [0; 100]).unwrap();
    fs::write(at.join("root/usr/lib/x/y"), [0; 300]).unwrap();
    done(at, "cpio root archive");
    assert!(fs::read(at.join("archive")).unwrap().starts_with(b"070701"));
    let lines = done(at, "sizes root");
    let lines: Vec<&str> = lines.lines().map(str::trim).collect();
    assert_eq!(lines, ["300  usr/lib/x", "100  init", "400  all"]);
    assert!(done(at, "bramble-toml").starts_with('#'));
    let output = Command::new(env!("CARGO_BIN_EXE_imagetool"))
        .args(["cpio", "root", "archive"])
        .current_dir(at)
        .env_remove("SOURCE_DATE_EPOCH")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("SOURCE_DATE_EPOCH is not set"));
}

#[test]
fn bad_command_lines_are_explained() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    for (words, reason) in [
        ("", "usage:"),
        ("paint", "no such command"),
        ("slot --kernel", "--kernel needs a value"),
        ("slot --kernel a --kernel b", "--kernel is there twice"),
        ("slot --colour red", "no option --colour"),
        ("slot --kernel missing", "cannot read missing"),
        ("state", "1 file names are needed, 0 are there"),
        ("state a b", "1 file names are needed, 2 are there"),
    ] {
        refused(at, words, reason);
    }
    fs::write(at.join("kernel"), [1; 10]).unwrap();
    fs::write(at.join("initrd"), []).unwrap();
    refused(at, &format!("{SLOT} out"), "make no slot");
    refused(at, "slot --kernel kernel --initrd kernel --version 1 --built x out", "x is no number");
}
