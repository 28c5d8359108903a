//! Little-endian numbers in a sector.

/// What a card is read and written by.
pub const SECTOR: usize = 512;
/// The same, where offsets are counted.
pub(crate) const SECTOR_BYTES: u64 = 512;

pub(crate) fn u32_at(sector: &[u8; SECTOR], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&sector[at..at + 4]);
    u32::from_le_bytes(word)
}

pub(crate) fn u64_at(sector: &[u8; SECTOR], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&sector[at..at + 8]);
    u64::from_le_bytes(word)
}

pub(crate) fn put(sector: &mut [u8; SECTOR], at: usize, bytes: &[u8]) {
    sector[at..at + bytes.len()].copy_from_slice(bytes);
}
