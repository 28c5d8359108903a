//! The boot state: two sectors in the gap before the first partition that say which slot starts.
//!
//! ```text
//!  0  "BRS1"
//!  4  sequence, wrapping     5  active slot     6  trial slot     7  tries left
//!  8  quick power cycles     9  zero
//! 28  CRC-32 of bytes 0..28, little-endian; zero from 32
//! ```
//! U-Boot reads and writes the same (`image/boot/boot.cmd`), so the rule of which copy is newer
//! is the boot script's.

use crate::bytes::{SECTOR, put, u32_at};
use crate::crc::Crc32;

pub use model::Slot;

/// Sectors of the card that hold the two copies.
pub const LBA: [u64; 2] = [64, 65];
/// How often U-Boot tries a new firmware that is not confirmed.
pub const TRIES: u8 = 3;

const MAGIC: &[u8; 4] = b"BRS1";
const SUMMED: usize = 28;

/// As U-Boot has it.
fn number(slot: Slot) -> u8 {
    slot.partition() - Slot::A.partition()
}

/// U-Boot takes whatever is not 1 for the first slot.
fn from_number(number: u8) -> Slot {
    if number == 1 { Slot::B } else { Slot::A }
}

/// Which slot starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The slot that is known to be good.
    pub active: Slot,
    /// The slot on trial, or the last one that was.
    pub trial: Slot,
    /// How often the slot on trial is still tried; 0 when there is no trial.
    pub left: u8,
    /// Starts that ended with the power being cut soon after.
    pub quick_cycles: u8,
}

impl State {
    /// What U-Boot starts next if that slot is whole.
    #[must_use]
    pub fn next_start(&self) -> Slot {
        if self.left > 0 { self.trial } else { self.active }
    }

    /// The slot is good: it starts from now on.
    #[must_use]
    pub fn confirmed(self, running: Slot) -> Self {
        Self { active: running, trial: running, left: 0, ..self }
    }

    /// The slot is to be tried.
    #[must_use]
    pub fn trying(self, slot: Slot) -> Self {
        Self { trial: slot, left: TRIES, ..self }
    }

    /// No more tries: the active slot starts next. `trial` keeps which one was not kept.
    #[must_use]
    pub fn given_up(self) -> Self {
        Self { left: 0, ..self }
    }

    /// The sector that holds this state.
    #[must_use]
    pub fn encode(&self, sequence: u8) -> [u8; SECTOR] {
        let mut sector = [0; SECTOR];
        put(&mut sector, 0, MAGIC);
        let fields =
            [sequence, number(self.active), number(self.trial), self.left, self.quick_cycles];
        put(&mut sector, 4, &fields);
        let sum = Crc32::of(&sector[..SUMMED]);
        put(&mut sector, SUMMED, &sum.to_le_bytes());
        sector
    }

    /// The state in a sector and its sequence number; None when the sector is not a whole one.
    #[must_use]
    pub fn decode(sector: &[u8; SECTOR]) -> Option<(Self, u8)> {
        if &sector[..4] != MAGIC || u32_at(sector, SUMMED) != Crc32::of(&sector[..SUMMED]) {
            return None;
        }
        let state = Self {
            active: from_number(sector[5]),
            trial: from_number(sector[6]),
            left: sector[7],
            quick_cycles: sector[8],
        };
        Some((state, sector[4]))
    }
}

/// The two copies as they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copies {
    /// The state that counts; the first slot without a trial when no copy is whole.
    pub state: State,
    /// No copy is whole.
    pub lost: bool,
    sequence: u8,
    older: usize,
}

impl Copies {
    /// The newer of the two that are whole.
    #[must_use]
    pub fn read(sectors: &[[u8; SECTOR]; 2]) -> Self {
        let [first, second] = sectors.each_ref().map(State::decode);
        match (first, second) {
            (Some((_, a)), Some((state, b))) if (1..0x80).contains(&b.wrapping_sub(a)) => {
                Self { state, lost: false, sequence: b, older: 0 }
            }
            (Some((state, sequence)), _) => Self { state, lost: false, sequence, older: 1 },
            (None, Some((state, sequence))) => Self { state, lost: false, sequence, older: 0 },
            (None, None) => Self { state: State::default(), lost: true, sequence: 0, older: 0 },
        }
    }

    /// What to write, and to which of the two sectors: the copy that counts is never touched.
    #[must_use]
    pub fn next(&self, state: &State) -> (usize, [u8; SECTOR]) {
        (self.older, state.encode(self.sequence.wrapping_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after_writes(writes: usize) -> [[u8; SECTOR]; 2] {
        let mut sectors = [[0; SECTOR]; 2];
        for n in 0..writes {
            let state = State { quick_cycles: u8::try_from(n % 200).unwrap(), ..State::default() };
            let (index, sector) = Copies::read(&sectors).next(&state);
            sectors[index] = sector;
        }
        sectors
    }

    #[test]
    fn bytes_are_where_the_boot_script_looks() {
        let state = State { active: Slot::B, trial: Slot::A, left: 3, quick_cycles: 2 };
        let sector = state.encode(7);
        assert_eq!(&sector[..9], b"BRS1\x07\x01\x00\x03\x02");
        assert!(sector[9..28].iter().chain(&sector[32..]).all(|b| *b == 0));
        // The same computed by Python's zlib.crc32.
        assert_eq!(sector[28..32], 0x057d_fd82_u32.to_le_bytes());
        assert_eq!(State::decode(&sector), Some((state, 7)));
    }

    #[test]
    fn the_newer_copy_counts_across_the_wrap() {
        for writes in 1..600 {
            let sectors = after_writes(writes);
            let copies = Copies::read(&sectors);
            assert_eq!(usize::from(copies.state.quick_cycles), (writes - 1) % 200);
            // A torn write costs the older copy, never the one that counts.
            let (index, _) = copies.next(&State::default());
            let mut torn = sectors;
            torn[index][6..].fill(0x55);
            assert_eq!(Copies::read(&torn).state, copies.state, "{writes}");
        }
    }

    #[test]
    fn a_state_that_is_lost_starts_the_first_slot() {
        let copies = Copies::read(&[[0xff; SECTOR]; 2]);
        assert!(copies.lost);
        assert_eq!(copies.state.next_start(), Slot::A);
        assert!(!Copies::read(&after_writes(1)).lost);
    }

    #[test]
    fn every_bit_counts() {
        let sector = State::default().trying(Slot::B).encode(1);
        for bit in 0..32 * 8 {
            let mut altered = sector;
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(State::decode(&altered), None, "bit {bit}");
        }
    }

    #[test]
    fn trials() {
        let state = State::default().trying(Slot::B);
        assert_eq!((state.next_start(), state.left), (Slot::B, 3));
        assert_eq!(state.given_up().next_start(), Slot::A);
        assert_eq!(state.given_up().trial, Slot::B);
        let kept = state.confirmed(Slot::B);
        assert_eq!((kept.next_start(), kept.left), (Slot::B, 0));
    }

    #[test]
    fn random_bytes_are_no_state() {
        let mut random = noise::Noise::new(1);
        for _ in 0..2_000 {
            let mut sectors = [[0; SECTOR]; 2];
            sectors.iter_mut().for_each(|s| random.fill(s));
            assert!(Copies::read(&sectors).lost);
            sectors[0][..4].copy_from_slice(MAGIC);
            assert!(Copies::read(&sectors).lost);
        }
    }
}
