//! The SD card, as its driver shows it.

/// The kernel counts in sectors of 512 bytes, whatever the card's own are.
const SECTOR: u64 = 512;

/// Is this the name of a whole card, not of one of its partitions or boot areas?
pub(crate) fn is_card(name: &str) -> bool {
    let number = name.strip_prefix("mmcblk").unwrap_or_default();
    !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
}

/// Bytes, from `/sys/block/NAME/size`.
pub(crate) fn size(text: &str) -> Option<u64> {
    text.trim().parse::<u64>().ok()?.checked_mul(SECTOR)
}

/// Bytes written, from `/sys/block/NAME/stat` (Documentation/block/stat.rst): the seventh number.
pub(crate) fn written(text: &str) -> Option<u64> {
    text.split_whitespace().nth(6)?.parse::<u64>().ok()?.checked_mul(SECTOR)
}

/// Wear in percent from `life_time` of an eMMC: two estimates in steps of ten percent (JEDEC
/// 84-B51 7.4.15); 0x0b is beyond its life, 0 is not told. The worse of the two counts.
pub(crate) fn wear(text: &str) -> Option<u8> {
    let step = |t: &str| u8::from_str_radix(t.trim_start_matches("0x"), 16).ok();
    let worse = text.split_whitespace().filter_map(step).max()?;
    (1..=0x0b).contains(&worse).then(|| worse.saturating_mul(10).min(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_told_from_their_parts() {
        assert!(is_card("mmcblk0") && is_card("mmcblk12"));
        for name in ["mmcblk0p1", "mmcblk0boot0", "mmcblk", "sda", "vda", ""] {
            assert!(!is_card(name), "{name}");
        }
    }

    #[test]
    fn numbers_of_a_card() {
        assert_eq!(size("31116288\n"), Some(15_931_539_456));
        let stat = "    3170      942   176918    12345     1010     2020    30303    40404        0    50505    60606        0        0        0        0        5        6\n";
        assert_eq!(written(stat), Some(30_303 * 512));
        assert_eq!(written("1 2 3"), None);
        assert_eq!(wear("0x01 0x02\n"), Some(20));
        assert_eq!(wear("0x0b 0x01\n"), Some(100));
        assert_eq!(wear("0x00 0x00\n"), None);
        assert_eq!(wear(""), None);
    }
}
