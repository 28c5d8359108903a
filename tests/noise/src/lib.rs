//! Numbers for tests that look as if they were random: xorshift64* (Vigna 2016), the same ones for
//! the same seed, so that a failure comes back. No key may be made of it, which is why no crate
//! depends on it outside its tests.

#![allow(clippy::unwrap_used, reason = "a limit that no test exceeds")]

/// A generator.
#[derive(Clone, Debug)]
pub struct Noise(u64);

impl Noise {
    /// The sequence of this seed. Neighbouring seeds are spread first, and none becomes the zero
    /// of which nothing would come.
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// From zero to below `limit`.
    ///
    /// # Panics
    /// Where `limit` is zero.
    pub fn below(&mut self, limit: usize) -> usize {
        // The lowest bits are the weakest, and 48 are more than any test needs.
        let limit = u64::try_from(limit).unwrap();
        usize::try_from((self.number() >> 16) % limit).unwrap()
    }

    /// One of `all`.
    ///
    /// # Panics
    /// Where there is none.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        self.number().to_be_bytes()[1]
    }

    /// Other bytes in the place of these.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        bytes.iter_mut().for_each(|b| *b = self.byte());
    }

    /// So many bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_that_of_the_paper_and_stays_so() {
        // xorshift64star.c of the paper, with x = 1.
        assert_eq!(Noise::new(0).number(), 5_180_492_295_206_395_165);
        assert_eq!(Noise::new(1).number(), 973_819_730_272_012_410);
    }

    #[test]
    fn everything_below_a_limit_comes() {
        let mut noise = Noise::new(7);
        let mut seen = [0_u32; 10];
        (0..10_000).for_each(|_| seen[noise.below(10)] += 1);
        assert!(seen.iter().all(|n| (800..1200).contains(n)), "{seen:?}");
        let mut bytes = noise.bytes(10_000);
        bytes.sort_unstable();
        bytes.dedup();
        assert_eq!(bytes.len(), 256);
        assert!((0..100).any(|_| noise.one_in(2)) && (0..100).any(|_| !noise.one_in(2)));
        assert_eq!([3].map(|n| *noise.pick(&[n])), [3]);
    }
}
