//! `hash-type consistent`: servers have places on a ring of 2^32 numbers, sixteen for each unit of
//! weight, and a hash belongs to the server that is nearest. `random` throws a number onto the
//! same ring.

use super::hash::full_hash;
use super::{Candidate, Load};
use std::hash::{BuildHasher, Hasher, RandomState};

/// The numbers a server has for its places: the largest weight in sixteenths.
const PLACES: u32 = 256 * 16;

/// The ring.
#[derive(Debug)]
pub(crate) struct Ring {
    /// Places in order, each with the candidate it belongs to.
    places: Vec<(u32, usize)>,
    /// For each candidate: the weights before it.
    before: Vec<u64>,
    total: u64,
    factor: u64,
    /// The place that had the last turn, for requests without a hash.
    last: Option<usize>,
    random: u64,
    indices: Vec<usize>,
}

impl Ring {
    pub(super) fn new(candidates: &[Candidate], factor: u16) -> Self {
        let mut places = Vec::new();
        let mut before = Vec::new();
        let mut total = 0;
        for (at, c) in candidates.iter().enumerate() {
            // HAProxy numbers servers from 1 in the order of the settings.
            let id = u32::try_from(c.index).unwrap_or(0).wrapping_add(1);
            let own = 0..c.effective.min(PLACES);
            let place = |node| (full_hash(id.wrapping_mul(PLACES).wrapping_add(node)), at);
            places.extend(own.map(place));
            before.push(total);
            total += u64::from(c.effective);
        }
        // Stable: of two servers at the same place the first stays in front.
        places.sort_by_key(|(key, _)| *key);
        let seed = RandomState::new().build_hasher().finish() | 1;
        let indices = candidates.iter().map(|c| c.index).collect();
        Self { places, before, total, factor: factor.into(), last: None, random: seed, indices }
    }

    /// The candidate a hash belongs to; one that is to be avoided or has too much already passes
    /// it on to the next place.
    fn nearest(
        &self,
        candidates: &[Candidate],
        hash: u32,
        avoid: Option<usize>,
        load: &impl Fn(usize) -> Load,
    ) -> Option<usize> {
        let length = self.places.len();
        let after = self.places.partition_point(|(key, _)| *key < hash);
        let after = if after == length { 0 } else { after };
        let before = if after == 0 { length.checked_sub(1)? } else { after - 1 };
        let distance_back = hash.wrapping_sub(self.places[before].0);
        let distance_on = self.places[after].0.wrapping_sub(hash);
        let first = if distance_back <= distance_on { before } else { after };
        let running = if self.factor == 0 {
            0
        } else {
            candidates.iter().map(|c| load(c.index).running).sum()
        };
        let fits = |at: usize| {
            let c = &candidates[at];
            Some(c.index) != avoid
                && (self.factor == 0 || load(c.index).running < self.slots(at, c, running))
        };
        let mut walk = (first..length).chain(0..length);
        let found = walk.find(|at| fits(self.places[*at].1)).unwrap_or(first);
        Some(self.places[found].1)
    }

    /// How many requests a server may have while `running` are under way and another one comes
    /// (HAProxy `hash-balance-factor`): its share of all slots, the rest spread by weight.
    fn slots(&self, at: usize, candidate: &Candidate, running: u64) -> u64 {
        let all = ((running + 1) * self.factor).div_ceil(100);
        let total = self.total.max(1);
        let (each, rest) = (all / total, all % total);
        let own = u64::from(candidate.effective);
        let before = self.before[at];
        (own * each + (before + own) * rest / total - before * rest / total).max(1)
    }

    pub(super) fn at(
        &self,
        candidates: &[Candidate],
        hash: u32,
        avoid: Option<usize>,
        load: &impl Fn(usize) -> Load,
    ) -> Option<usize> {
        self.nearest(candidates, hash, avoid, load).map(|at| candidates[at].index)
    }

    /// The server of the next place on the ring.
    pub(super) fn next(&mut self, avoid: Option<usize>) -> Option<usize> {
        let length = self.places.len();
        let first = self.last.map_or(0, |last| (last + 1) % length.max(1));
        let walk = (first..length).chain(0..first);
        let wanted = |at: &usize| Some(self.indices[self.places[*at].1]) != avoid;
        let found = walk.clone().find(wanted)?;
        self.last = Some(found);
        Some(self.indices[self.places[found].1])
    }

    /// Throws so many numbers and takes the server with the least load for its weight.
    pub(super) fn draw(
        &mut self,
        candidates: &[Candidate],
        draws: u8,
        avoid: Option<usize>,
        load: &impl Fn(usize) -> Load,
    ) -> Option<usize> {
        let mut best: Option<usize> = None;
        for _ in 0..draws.max(1) {
            let hash = self.throw();
            let drawn = self.nearest(candidates, hash, avoid, load)?;
            best = Some(match best {
                Some(before) if before != drawn => {
                    let cost = |of: usize, other: usize| {
                        let running = load(candidates[of].index).running;
                        running * u64::from(candidates[other].effective)
                    };
                    if cost(drawn, before) > cost(before, drawn) { before } else { drawn }
                }
                _ => drawn,
            });
        }
        best.map(|at| candidates[at].index)
    }

    /// The next number of Marsaglia's xorshift64*, its upper half.
    fn throw(&mut self) -> u32 {
        let mut x = self.random;
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.random = x;
        u32::try_from(x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32).unwrap_or(0)
    }
}
