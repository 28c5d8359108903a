//! The partition table, as far as slots go.

use crate::bytes::{SECTOR, SECTOR_BYTES, u32_at};
use crate::state::Slot;

/// Where a slot is on the card, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) start: u64,
    pub(crate) size: u64,
}

/// The extent of a slot by the first sector of the card; None when there is no such partition.
/// Nothing before the boot state's sectors is a slot.
pub(crate) fn slot(sector: &[u8; SECTOR], slot: Slot) -> Option<Extent> {
    if sector[510..] != [0x55, 0xaa] {
        return None;
    }
    // 16 bytes a partition from 446 on: type at 4, first sector at 8, sectors at 12.
    let entry = match slot {
        Slot::A => 446 + 16,
        Slot::B => 446 + 32,
    };
    let (first, sectors) = (u32_at(sector, entry + 8), u32_at(sector, entry + 12));
    let behind_state = u64::from(first) > crate::state::LBA[1];
    (sector[entry + 4] != 0 && behind_state && sectors > 0).then(|| Extent {
        start: u64::from(first) * SECTOR_BYTES,
        size: u64::from(sectors) * SECTOR_BYTES,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use noise::Noise;

    #[test]
    fn slots_are_the_second_and_third_partition() {
        let mut sector = [0; SECTOR];
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        assert_eq!(slot(&sector, Slot::A), None);
        for (entry, first) in [(462, 0x2_2000_u32), (478, 0x4_2000)] {
            sector[entry + 4] = 0xda;
            sector[entry + 8..entry + 12].copy_from_slice(&first.to_le_bytes());
            sector[entry + 12..entry + 16].copy_from_slice(&0x2_0000_u32.to_le_bytes());
        }
        let extent = |start| Some(Extent { start, size: 64 << 20 });
        assert_eq!(slot(&sector, Slot::A), extent(0x2_2000 * 512));
        assert_eq!(slot(&sector, Slot::B), extent(0x4_2000 * 512));
        let mut unsigned = sector;
        unsigned[511] = 0;
        assert_eq!(slot(&unsigned, Slot::A), None);
        let mut early = sector;
        early[462 + 8..462 + 12].copy_from_slice(&65_u32.to_le_bytes());
        assert_eq!(slot(&early, Slot::A), None);
    }

    #[test]
    fn random_tables_are_refused_or_understood() {
        let mut random = Noise::new(6);
        for _ in 0..2_000 {
            let mut sector = [0; SECTOR];
            random.fill(&mut sector);
            sector[510..].copy_from_slice(&[0x55, 0xaa]);
            if let Some(extent) = slot(&sector, Slot::B) {
                assert!(extent.start > 65 * 512 && extent.size > 0);
            }
        }
    }
}
