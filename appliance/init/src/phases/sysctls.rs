//! Switches of the kernel.

use crate::boot::Boot;
use std::fs;

/// Name below /proc/sys, value.
const SWITCHES: &[(&str, &str)] = &[
    // The last net: whatever the kernel cannot go on with ends in a fresh start.
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    // Warnings and worse on the console; it belongs to the operator.
    ("kernel/printk", "5 4 1 4"),
    // Process 1 writes its lines to the kernel's log; none may be left out.
    ("kernel/printk_devkmsg", "on"),
    ("kernel/kptr_restrict", "1"),
    ("kernel/modprobe", "/sbin/modprobe"),
    ("fs/protected_symlinks", "1"),
    ("fs/protected_hardlinks", "1"),
    ("fs/suid_dumpable", "0"),
    // The network drivers of the boards with USB take memory in interrupts, in large pieces.
    ("vm/min_free_kbytes", "8192"),
    // A card likes few large writes; what must be safe is synced by whoever writes it.
    ("vm/dirty_background_bytes", "4194304"),
    ("vm/dirty_bytes", "16777216"),
    ("net/core/somaxconn", "4096"),
];

pub(crate) fn run(boot: &mut Boot) {
    for (name, value) in SWITCHES {
        // Not every kernel has every switch; none of them is worth a word to the operator.
        if let Err(error) = fs::write(format!("/proc/sys/{name}"), format!("{value}\n")) {
            boot.console.say(&format!("{name} could not be set to {value:?} ({error})"));
        }
    }
}
