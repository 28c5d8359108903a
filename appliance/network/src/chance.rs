//! Chance for identifiers and pauses: good enough against accidents, no key is made of it.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// A xorshift64* generator (Vigna 2016).
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// The same numbers every time, for tests and for addresses that should not change.
    pub(crate) const fn seeded(seed: u64) -> Self {
        Self(if seed == 0 { 0x9e37_79b9_7f4a_7c15 } else { seed })
    }

    /// Seeded by the kernel, without ever waiting for it to gather entropy.
    pub(crate) fn new() -> Self {
        Self::seeded(RandomState::new().hash_one(0_u8))
    }

    pub(crate) fn number(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let [a, b, c, d, ..] = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }

    /// From zero to below `limit`.
    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        self.number().checked_rem(limit).unwrap_or(0)
    }

    /// Between the two, to the millisecond.
    pub(crate) fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let width = u32::try_from(to.saturating_sub(from).as_millis()).unwrap_or(u32::MAX);
        from + Duration::from_millis(u64::from(self.below(width.saturating_add(1))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_within_its_bounds_and_varies() {
        let mut chance = Chance::seeded(7);
        let (from, to) = (Duration::from_millis(100), Duration::from_millis(110));
        let drawn: std::collections::BTreeSet<Duration> =
            (0..500).map(|_| chance.between(from, to)).collect();
        assert_eq!((drawn.first(), drawn.last(), drawn.len()), (Some(&from), Some(&to), 11));
        assert_eq!(chance.below(0), 0);
        assert_ne!(Chance::new().number(), Chance::new().number());
    }
}
