//! The few fields of an ext4 superblock that decide what is done before it is mounted.

/// Where it begins in the partition.
pub(crate) const OFFSET: u64 = 1024;
/// How much of it is read.
pub(crate) const LENGTH: usize = 1024;

/// What the superblock says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Superblock {
    pub(crate) block_size: u32,
    pub(crate) blocks: u64,
    /// The kernel has seen the file system contradict itself since it was last repaired.
    pub(crate) errors: bool,
    /// Its journal holds what a power cut left undone; mounting replays it.
    pub(crate) journal_pending: bool,
}

impl Superblock {
    /// None when this is no ext4 file system.
    pub(crate) fn parse(bytes: &[u8; LENGTH]) -> Option<Self> {
        let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let word = |at: usize| (u32::from(half(at + 2)) << 16) | u32::from(half(at));
        if half(0x38) != 0xef53 {
            return None;
        }
        let incompatible = word(0x60);
        let high = if incompatible & 0x80 == 0 { 0 } else { word(0x150) };
        Some(Self {
            block_size: 1024_u32.checked_shl(word(0x18)).filter(|size| *size <= 65_536)?,
            blocks: (u64::from(high) << 32) | u64::from(word(0x04)),
            errors: half(0x3a) & 2 != 0,
            journal_pending: incompatible & 4 != 0,
        })
    }

    pub(crate) fn size(&self) -> u64 {
        self.blocks.saturating_mul(u64::from(self.block_size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_they_are() {
        let mut bytes = [0; LENGTH];
        assert_eq!(Superblock::parse(&bytes), None);
        bytes[0x38..0x3a].copy_from_slice(&[0x53, 0xef]);
        bytes[0x04..0x08].copy_from_slice(&16_384_u32.to_le_bytes());
        bytes[0x18] = 2;
        bytes[0x3a] = 1;
        let clean = Superblock::parse(&bytes).unwrap();
        assert_eq!((clean.block_size, clean.size()), (4096, 64 << 20));
        assert!(!clean.errors && !clean.journal_pending);
        bytes[0x3a] = 3;
        bytes[0x60] = 0x84;
        bytes[0x150] = 1;
        let other = Superblock::parse(&bytes).unwrap();
        assert!(other.errors && other.journal_pending);
        assert_eq!(other.blocks, (1 << 32) + 16_384);
        bytes[0x18] = 200;
        assert_eq!(Superblock::parse(&bytes), None);
    }
}
