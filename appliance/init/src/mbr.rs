//! The partition table of the card, and the one change made to it.
//!
//! ```text
//! 440  disk signature u32    446  four entries of 16 bytes: status, CHS, type at 4, CHS,
//! 510  55 aa                      first sector u32 at 8, sectors u32 at 12 (little-endian)
//! ```

/// A sector.
pub(crate) const SECTOR: u64 = 512;
/// The signature our images carry.
pub(crate) const SIGNATURE: u32 = 0x1936_1936;
/// Partitions end at a multiple of this many sectors (1 MiB), as they begin.
const ALIGN: u64 = 2048;
const ENTRIES: usize = 446;

/// A sector that holds a partition table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mbr {
    sector: [u8; 512],
}

/// One of its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    pub(crate) kind: u8,
    pub(crate) start: u32,
    pub(crate) sectors: u32,
}

impl Mbr {
    /// None unless the sector ends as a partition table does.
    pub(crate) fn parse(sector: [u8; 512]) -> Option<Self> {
        (sector[510] == 0x55 && sector[511] == 0xaa).then_some(Self { sector })
    }

    pub(crate) fn signature(&self) -> u32 {
        self.word(440)
    }

    /// Entry 1 to 4; None for an empty one.
    pub(crate) fn partition(&self, number: u8) -> Option<Partition> {
        let at = Self::at(number)?;
        let found = Partition {
            kind: self.sector[at + 4],
            start: self.word(at + 8),
            sectors: self.word(at + 12),
        };
        (found.kind != 0 && found.sectors != 0).then_some(found)
    }

    /// Looks like a card of ours: boot (FAT), two slots, data (Linux), in this order.
    pub(crate) fn has_our_shape(&self) -> bool {
        let all: Vec<_> = (1..=4).filter_map(|number| self.partition(number)).collect();
        all.len() == 4
            && matches!(all[0].kind, 0x0b | 0x0c)
            && all[3].kind == 0x83
            && all.windows(2).all(|pair| pair[0].start < pair[1].start)
    }

    /// Lets entry 4 reach to the end of a disk of so many sectors. Returns its new length; None
    /// when it is there already, or when another partition lies behind it.
    pub(crate) fn grow_last(&mut self, disk_sectors: u64) -> Option<u32> {
        let last = self.partition(4)?;
        let behind =
            (1..=3).filter_map(|number| self.partition(number)).any(|p| p.start > last.start);
        let end = disk_sectors / ALIGN * ALIGN;
        let room = end.checked_sub(u64::from(last.start))?;
        let sectors = u32::try_from(room).unwrap_or(u32::MAX);
        if behind || sectors <= last.sectors {
            return None;
        }
        let at = Self::at(4)?;
        self.sector[at + 12..at + 16].copy_from_slice(&sectors.to_le_bytes());
        Some(sectors)
    }

    pub(crate) fn bytes(&self) -> &[u8; 512] {
        &self.sector
    }

    fn at(number: u8) -> Option<usize> {
        (1..=4).contains(&number).then(|| ENTRIES + 16 * (usize::from(number) - 1))
    }

    fn word(&self, at: usize) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.sector[at..at + 4]);
        u32::from_le_bytes(bytes)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A card with partitions of (type, first sector, sectors).
    pub(crate) fn card(entries: [(u8, u32, u32); 4]) -> [u8; 512] {
        let mut sector = [0; 512];
        sector[440..444].copy_from_slice(&SIGNATURE.to_le_bytes());
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        for (i, (kind, start, sectors)) in entries.into_iter().enumerate() {
            let at = ENTRIES + 16 * i;
            sector[at + 4] = kind;
            sector[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
            sector[at + 12..at + 16].copy_from_slice(&sectors.to_le_bytes());
        }
        sector
    }

    const OURS: [(u8, u32, u32); 4] = [
        (0x0c, 8192, 262_144),
        (0xda, 270_336, 131_072),
        (0xda, 401_408, 131_072),
        (0x83, 532_480, 131_072),
    ];

    #[test]
    fn the_last_partition_grows_to_the_end() {
        let before = card(OURS);
        let mut mbr = Mbr::parse(before).unwrap();
        assert!(mbr.has_our_shape());
        assert_eq!(mbr.signature(), SIGNATURE);
        // A card of 4 GB that does not end at a whole MiB.
        let sectors = 7_744_512 + 700;
        let grown = mbr.grow_last(sectors).unwrap();
        assert_eq!(grown, 7_744_512 / 2048 * 2048 - 532_480);
        assert_eq!(mbr.partition(4).unwrap().sectors, grown);
        // Nothing else has moved.
        assert_eq!(mbr.bytes()[..446 + 48 + 12], before[..446 + 48 + 12]);
        assert_eq!(mbr.bytes()[510..], before[510..]);
        assert_eq!(mbr.grow_last(sectors), None, "once is enough");
    }

    #[test]
    fn it_never_shrinks_or_overlaps() {
        let mut mbr = Mbr::parse(card(OURS)).unwrap();
        for sectors in [0, 8192, 532_480, 532_480 + 131_072, 532_480 + 131_072 + 2047] {
            assert_eq!(mbr.grow_last(sectors), None, "{sectors}");
        }
        let mut turned = OURS;
        turned.swap(2, 3);
        let mut mbr = Mbr::parse(card(turned)).unwrap();
        assert_eq!(mbr.grow_last(8_000_000), None);
        assert!(!mbr.has_our_shape());
    }

    #[test]
    fn a_card_beyond_what_the_table_can_say() {
        let mut mbr = Mbr::parse(card(OURS)).unwrap();
        assert_eq!(mbr.grow_last(1 << 34), Some(u32::MAX));
    }

    #[test]
    fn other_sectors_are_no_table() {
        assert_eq!(Mbr::parse([0; 512]), None);
        let mut foreign = card([(0x0c, 8192, 100_000), (0x83, 108_192, 100), (0, 0, 0), (0, 0, 0)]);
        foreign[440..444].copy_from_slice(&[1, 2, 3, 4]);
        let mbr = Mbr::parse(foreign).unwrap();
        assert!(!mbr.has_our_shape());
        assert_eq!(mbr.partition(4), None);
        assert_eq!(mbr.partition(0), None);
        assert_eq!(mbr.partition(5), None);
    }
}
