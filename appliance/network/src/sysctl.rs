//! The kernel's settings that let two interfaces share a subnet.
//!
//! `/proc/sys/net` shows the network namespace of the thread that reads it.

use crate::error::Error;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

/// Name and value under `net/ipv4/conf/INTERFACE` (ip-sysctl in the kernel's documentation).
const VALUES: [(&str, &str); 5] = [
    // Answer ARP only for addresses of the interface that was asked: otherwise eth0 answers for
    // wlan0's address and the whole subnet sends Wi-Fi traffic to the wire.
    ("arp_ignore", "1"),
    // Ask with an address of the interface that asks, never with the other's or a floating one.
    ("arp_announce", "2"),
    // A packet may arrive on the interface that is not the best way back (RFC 3704 2.4).
    ("rp_filter", "2"),
    // Removing an address must not remove the newer ones of its subnet.
    ("promote_secondaries", "1"),
    // A route whose interface has no carrier is not used; the other interface's is.
    ("ignore_routes_with_linkdown", "1"),
];

/// Sets what differs.
///
/// # Errors
/// The first value that could not be set; the others are set all the same.
pub(crate) fn apply(proc_sys: &Path, interface: &str) -> Result<(), Error> {
    let folder = proc_sys.join("net/ipv4/conf").join(interface);
    let mut result = Ok(());
    for (name, value) in VALUES {
        let path = folder.join(name);
        if let Err(source) = set(&path, value) {
            // Absent: this kernel has no such thing, or the interface has just gone.
            if source.kind() != io::ErrorKind::NotFound && result.is_ok() {
                result = Err(Error::File { path, source });
            }
        }
    }
    result
}

fn set(path: &Path, value: &str) -> io::Result<()> {
    if std::fs::read_to_string(path)?.trim() == value {
        return Ok(());
    }
    OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn only_what_differs_is_written_and_what_is_absent_is_left_out() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("net/ipv4/conf/eth0");
        fs::create_dir_all(&folder).unwrap();
        for (name, value) in &VALUES[1..] {
            fs::write(folder.join(name), if *name == "rp_filter" { "1\n" } else { value }).unwrap();
        }
        let before = fs::metadata(folder.join("arp_announce")).unwrap().modified().unwrap();
        apply(root.path(), "eth0").unwrap();
        assert!(!folder.join("arp_ignore").exists(), "the kernel decides what there is");
        assert!(fs::read_to_string(folder.join("rp_filter")).unwrap().starts_with('2'));
        let after = fs::metadata(folder.join("arp_announce")).unwrap().modified().unwrap();
        assert_eq!(before, after);
    }
}
