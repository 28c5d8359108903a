//! The formats of the boot state and of a slot's header, read a second time and independently of
//! the firmware that writes them.

/// What U-Boot starts next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootState {
    /// Grows with each write, and wraps.
    pub sequence: u8,
    /// The slot that is known to be good: 0 or 1.
    pub active: u8,
    /// The slot on trial.
    pub trial: u8,
    /// How often it will still be tried; 0: there is no trial.
    pub left: u8,
    /// Starts that soon ended with the power being cut.
    pub cycles: u8,
}

impl BootState {
    /// The newer valid one of two sectors.
    pub(crate) fn newest(sectors: &[u8]) -> Option<Self> {
        let copy = |at: usize| sectors.get(at..at + 512).and_then(Self::parse);
        match (copy(0), copy(512)) {
            (Some(first), Some(second)) => {
                let ahead = second.sequence.wrapping_sub(first.sequence);
                Some(if ahead != 0 && ahead < 128 { second } else { first })
            }
            (first, second) => first.or(second),
        }
    }

    /// As it stands in a sector.
    pub(crate) fn sector(&self) -> Vec<u8> {
        let mut bytes = b"BRS1".to_vec();
        bytes.extend([self.sequence, self.active, self.trial, self.left, self.cycles]);
        bytes.resize(28, 0);
        bytes.extend(crc32(&bytes).to_le_bytes());
        bytes.resize(512, 0);
        bytes
    }

    fn parse(sector: &[u8]) -> Option<Self> {
        if sector.get(..4)? != b"BRS1" || !sums(sector, 28) {
            return None;
        }
        let byte = |at: usize| sector.get(at).copied();
        Some(Self {
            sequence: byte(4)?,
            active: byte(5)?,
            trial: byte(6)?,
            left: byte(7)?,
            cycles: byte(8)?,
        })
    }
}

/// The header of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Where the kernel begins, in bytes from the slot's beginning.
    pub kernel: u64,
    /// Its length.
    pub kernel_bytes: u64,
    /// Where the root begins.
    pub initrd: u64,
    /// Its length.
    pub initrd_bytes: u64,
    /// What it calls itself.
    pub version: String,
    /// When it was made, in seconds since 1970.
    pub built: u64,
}

impl Slot {
    pub(crate) fn parse(sector: &[u8]) -> Option<Self> {
        if sector.get(..4)? != b"BRSL" || !sums(sector, 508) {
            return None;
        }
        let word = |at| word(sector, at).map(u64::from);
        let version = sector.get(40..72)?.split(|b| *b == 0).next()?;
        Some(Self {
            kernel: word(8)? * 512,
            kernel_bytes: word(16)?,
            initrd: word(24)? * 512,
            initrd_bytes: word(32)?,
            version: String::from_utf8_lossy(version).into_owned(),
            built: u64::from_le_bytes(sector.get(72..80)?.try_into().ok()?),
        })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

/// Do the bytes before `at` have the checksum that stands there?
fn sums(bytes: &[u8], at: usize) -> bool {
    bytes.get(..at).map(crc32) == word(bytes, at) && at > 0
}

/// CRC-32 of IEEE 802.3, bit by bit: a sector is short.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sector(sequence: u8, active: u8) -> Vec<u8> {
        BootState { sequence, active, trial: 0, left: 0, cycles: 0 }.sector()
    }

    #[test]
    fn a_state_is_read_as_it_was_written() {
        let state = BootState { sequence: 255, active: 1, trial: 0, left: 3, cycles: 4 };
        assert_eq!(BootState::newest(&[state.sector(), vec![0; 512]].concat()), Some(state));
    }

    #[test]
    fn crc32_as_everybody_checks_it() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn the_newer_valid_copy_counts() {
        let both = |a: Vec<u8>, b: Vec<u8>| BootState::newest(&[a, b].concat());
        let active = |state: Option<BootState>| state.map(|s| s.active);
        assert_eq!(active(both(sector(1, 0), sector(2, 1))), Some(1));
        assert_eq!(active(both(sector(2, 0), sector(1, 1))), Some(0));
        assert_eq!(active(both(sector(255, 0), sector(0, 1))), Some(1));
        assert_eq!(active(both(sector(7, 0), sector(7, 1))), Some(0));
        let mut torn = sector(9, 1);
        torn[5] = 0;
        assert_eq!(active(both(sector(1, 1), torn.clone())), Some(1));
        assert_eq!(active(both(torn.clone(), sector(1, 1))), Some(1));
        assert_eq!(both(torn.clone(), torn), None);
        assert_eq!(BootState::newest(&[]), None);
    }

    #[test]
    fn a_header_is_read_or_refused() {
        let mut bytes = vec![0; 512];
        bytes[..8].copy_from_slice(b"BRSL\x01\0\0\0");
        bytes[8..20].copy_from_slice(&[1, 0, 0, 0, 2, 0, 0, 0, 0, 3, 0, 0]);
        bytes[24..36].copy_from_slice(&[3, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0]);
        bytes[40..45].copy_from_slice(b"1.2.3");
        bytes[72] = 9;
        assert_eq!(Slot::parse(&bytes), None);
        let sum = crc32(&bytes[..508]).to_le_bytes();
        bytes[508..].copy_from_slice(&sum);
        let slot = Slot::parse(&bytes).unwrap();
        assert_eq!((slot.kernel, slot.kernel_bytes), (512, 768));
        assert_eq!((slot.initrd, slot.initrd_bytes), (1536, 5));
        assert_eq!((slot.version.as_str(), slot.built), ("1.2.3", 9));
        bytes[72] = 8;
        assert_eq!(Slot::parse(&bytes), None);
    }
}
