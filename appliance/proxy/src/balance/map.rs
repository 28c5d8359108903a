//! A table of all servers: `static-rr` walks it, `hash-type map-based` looks a hash up in it.

use super::Candidate;

/// The table: as many entries as the weights, divided by what they have in common, sum up to;
/// each goes to the server that is most behind, the first among equals.
#[derive(Debug)]
pub(crate) struct Map {
    entries: Vec<usize>,
    next: usize,
}

impl Map {
    pub(super) fn new(candidates: &[Candidate]) -> Self {
        let common = candidates.iter().fold(0, |a, c| gcd(a, c.weight)).max(1);
        let total: i64 = candidates.iter().map(|c| i64::from(c.weight / common)).sum();
        let mut scores = vec![0_i64; candidates.len()];
        let mut entries = Vec::new();
        for _ in 0..total {
            for (score, c) in scores.iter_mut().zip(candidates) {
                *score += i64::from(c.weight / common);
            }
            let value = |i: &usize| (scores[*i] + total) / total;
            let best = (0..scores.len()).min_by_key(|i| (-value(i), *i)).unwrap_or(0);
            scores[best] -= total;
            entries.push(candidates[best].index);
        }
        Self { entries, next: 0 }
    }

    /// The next in turn.
    pub(super) fn next(&mut self, avoid: Option<usize>) -> Option<usize> {
        (0..=self.entries.len()).find_map(|_| {
            let chosen = self.entries.get(self.next).copied();
            self.next = if self.next + 1 >= self.entries.len() { 0 } else { self.next + 1 };
            chosen.filter(|c| Some(*c) != avoid)
        })
    }

    /// The one a hash leads to; where that is the one to avoid, the next behind it.
    pub(super) fn at(&self, hash: u32, avoid: Option<usize>) -> Option<usize> {
        let length = self.entries.len();
        let first = usize::try_from(hash).unwrap_or(0).checked_rem(length)?;
        let behind = self.entries.iter().cycle().skip(first).take(length);
        behind.copied().find(|c| Some(*c) != avoid)
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
