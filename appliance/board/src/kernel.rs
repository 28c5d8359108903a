//! What the kernel writes into its small files.

/// Bits of the firmware's answer to "get_throttled".
const UNDERVOLTAGE: u32 = 1;
const FREQUENCY_CAPPED: u32 = 1 << 1;
const THROTTLED: u32 = 1 << 2;
const SOFT_LIMIT: u32 = 1 << 3;
const UNDERVOLTAGE_SEEN: u32 = 1 << 16;

/// Milliseconds since the kernel started, from `/proc/uptime`.
pub(crate) fn uptime(text: &str) -> Option<u64> {
    let (seconds, rest) = text.split_whitespace().next()?.split_once('.')?;
    let hundredths: u64 = rest.get(..2)?.parse().ok()?;
    seconds.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(hundredths * 10)
}

/// Bytes under this key of `/proc/meminfo`.
pub(crate) fn memory(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

/// A text of the device tree, which ends with a NUL.
pub(crate) fn device_tree(text: &str) -> Option<String> {
    let text = text.trim_end_matches('\0').trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// What the firmware says of power and heat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Throttling {
    pub(crate) undervoltage: bool,
    pub(crate) undervoltage_seen: bool,
    pub(crate) throttled: bool,
}

/// `get_throttled` of Raspberry Pi's own kernel: hexadecimal, with or without `0x`.
pub(crate) fn throttled(text: &str) -> Option<Throttling> {
    let text = text.trim();
    let bits = u32::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()?;
    Some(Throttling {
        undervoltage: bits & UNDERVOLTAGE != 0,
        undervoltage_seen: bits & (UNDERVOLTAGE | UNDERVOLTAGE_SEEN) != 0,
        throttled: bits & (FREQUENCY_CAPPED | THROTTLED | SOFT_LIMIT) != 0,
    })
}

/// Is the processor slower than it can be? Under the governor "performance" it never is by
/// choice; under any other a low frequency says nothing, but a lowered ceiling does.
pub(crate) fn slowed(governor: &str, current: u64, ceiling: u64, best: u64) -> Option<bool> {
    if best == 0 {
        return None;
    }
    let by_choice = governor.trim() != "performance";
    match (ceiling < best, by_choice) {
        (true, _) => Some(true),
        (false, false) => Some(current < best),
        (false, true) => None,
    }
}

/// A line of the kernel's log that says the supply was too weak.
pub(crate) fn says_undervoltage(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    line.contains("undervoltage detected") || line.contains("under-voltage detected")
}

/// A line of the kernel's log that says a card could not be read or written.
pub(crate) fn says_card_error(line: &str) -> bool {
    // One failed request makes several lines; this is the one that each makes. "Buffer I/O
    // error" and "lost async page write" repeat it page by page.
    let request = line.contains("I/O error, dev mmcblk") && !line.starts_with("Buffer");
    let card = line.starts_with("mmcblk")
        && (line.contains("recovery failed") || line.contains("timed out sending"));
    let files = line.starts_with("EXT4-fs error") && line.contains("mmcblk");
    request || card || files
}

/// The file of a driver's firmware that is not in the image, as the kernel's log names it.
pub(crate) fn missing_firmware(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("Direct firmware load for ")?;
    let (file, _) = rest.split_once(" failed with error")?;
    // Board-specific variants are asked for first and need not be there.
    let variant =
        file.contains("raspberrypi,") || file.ends_with(".txt") || file.ends_with("_blob");
    (!variant && !file.contains(char::is_whitespace)).then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_understood() {
        assert_eq!(uptime("350735.47 234388.90\n"), Some(350_735_470));
        assert_eq!(uptime("0.05 0.00\n"), Some(50));
        let meminfo = "MemTotal:         945364 kB\nMemFree:          581516 kB\nMemAvailable:     752596 kB\n";
        assert_eq!(memory(meminfo, "MemTotal"), Some(945_364 * 1024));
        assert_eq!(memory(meminfo, "MemAvailable"), Some(752_596 * 1024));
        assert_eq!(memory(meminfo, "Mem"), None);
        assert_eq!(
            device_tree("Raspberry Pi 2 Model B Rev 1.1\0").unwrap(),
            "Raspberry Pi 2 Model B Rev 1.1"
        );
        assert_eq!(device_tree("\0"), None);
    }

    #[test]
    fn throttling_is_told_from_its_memory() {
        let told = |t| throttled(t).unwrap();
        assert_eq!(
            told("0\n"),
            Throttling { undervoltage: false, undervoltage_seen: false, throttled: false }
        );
        assert_eq!(
            told("50005\n"),
            Throttling { undervoltage: true, undervoltage_seen: true, throttled: true }
        );
        assert_eq!(
            told("0x50000"),
            Throttling { undervoltage: false, undervoltage_seen: true, throttled: false }
        );
        assert_eq!(throttled("throttled"), None);
    }

    #[test]
    fn a_low_frequency_alone_is_no_throttling() {
        assert_eq!(slowed("ondemand\n", 600_000, 1_400_000, 1_400_000), None);
        assert_eq!(slowed("ondemand\n", 600_000, 1_200_000, 1_400_000), Some(true));
        assert_eq!(slowed("performance\n", 1_400_000, 1_400_000, 1_400_000), Some(false));
        assert_eq!(slowed("performance\n", 600_000, 1_400_000, 1_400_000), Some(true));
        assert_eq!(slowed("performance\n", 0, 0, 0), None);
    }

    #[test]
    fn lines_of_the_kernels_log() {
        assert!(says_undervoltage("hwmon hwmon1: Undervoltage detected!"));
        assert!(says_undervoltage("Under-voltage detected! (0x00050005)"));
        assert!(!says_undervoltage("hwmon hwmon1: Voltage normalised"));
        for line in [
            "I/O error, dev mmcblk0, sector 532488 op 0x1:(WRITE) flags 0x800 phys_seg 1 prio class 2",
            "blk_update_request: I/O error, dev mmcblk0, sector 8192 op 0x0:(READ) flags 0x0",
            "mmcblk0: recovery failed!",
            "EXT4-fs error (device mmcblk0p4): ext4_find_entry:1455: inode #2: comm init: reading directory lblock 0",
        ] {
            assert!(says_card_error(line), "{line}");
        }
        for line in [
            "Buffer I/O error on dev mmcblk0p4, logical block 66561, lost async page write",
            "mmc1: new high speed SDIO card at address 0001",
            "mmcblk0: mmc0:aaaa SC16G 14.8 GiB",
            "EXT4-fs (mmcblk0p4): mounted filesystem with ordered data mode",
            "I/O error, dev sda, sector 0",
        ] {
            assert!(!says_card_error(line), "{line}");
        }
    }

    #[test]
    fn a_missing_firmware_is_named() {
        let line =
            "usb 1-1.2: Direct firmware load for rtlwifi/rtl8723bu_nic.bin failed with error -2";
        assert_eq!(missing_firmware(line), Some("rtlwifi/rtl8723bu_nic.bin"));
        let variant = "brcmfmac mmc1:0001:1: Direct firmware load for brcm/brcmfmac43430-sdio.raspberrypi,3-model-b.bin failed with error -2";
        assert_eq!(missing_firmware(variant), None);
        assert_eq!(missing_firmware("Direct firmware load for "), None);
    }
}
