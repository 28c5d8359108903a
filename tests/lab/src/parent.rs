//! `make run` interrupted from outside.
//!
//! Ctrl-C in a terminal reaches everyone at once. A SIGINT sent to make alone does not: GNU make
//! passes SIGTERM on to what it runs but not SIGINT, and waits inside its signal handler for its
//! recipe to end by itself. That wait can be seen: SIGINT is blocked while its handler runs.

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};
use std::fs;
use std::thread;
use std::time::Duration;

const LOOK: Duration = Duration::from_millis(200);

/// Ends this process as an interrupted make wants it to.
pub fn pass_on_interrupt() {
    let parent = getppid();
    let name = fs::read_to_string(format!("/proc/{parent}/comm")).unwrap_or_default();
    if name.trim() != "make" {
        return;
    }
    thread::spawn(move || {
        while getppid() == parent && !handles_interrupt(parent) {
            thread::sleep(LOOK);
        }
        let _ = kill(Pid::this(), Signal::SIGTERM);
    });
}

fn handles_interrupt(process: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
    let mask = mask.and_then(|m| u64::from_str_radix(m.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (libc::SIGINT - 1)) != 0
}
