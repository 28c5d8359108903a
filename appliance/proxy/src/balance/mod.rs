//! Which server is next, in HAProxy's order and by HAProxy's hashes.
//!
//! One file for each way: `turn` (`roundrobin`), `map` (`static-rr` and `hash-type map-based`),
//! `ring` (`hash-type consistent` and `random`); `leastconn` and `first` are a look at all loads.
//! `hash` has the hash functions, `key` what of a request is hashed.

pub(crate) mod hash;
pub(crate) mod key;
mod map;
mod ring;
mod turn;

use map::Map;
use model::{Balance, HashMethod, HashType};
use ring::Ring;
use turn::Turn;

/// HAProxy counts weights in sixteenths: a server that starts slowly has less than all of them.
pub(crate) const SCALE: u32 = 16;

/// A server that can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Its place in the backend's list.
    pub(crate) index: usize,
    /// Its weight, at least 1.
    pub(crate) weight: u32,
    /// Its weight of this moment in sixteenths, at least 1; 16 times `weight` but for servers
    /// that start slowly.
    pub(crate) effective: u32,
}

/// A server's load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Requests under way.
    pub(crate) running: u64,
    /// When its load last changed, in any unit that only grows.
    pub(crate) touched: u64,
    /// It may take another request (HAProxy `maxconn`).
    pub(crate) room: bool,
}

/// How to choose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Algorithm {
    pub(crate) balance: Balance,
    pub(crate) hash_type: HashType,
    /// Percent; 0 for no limit.
    pub(crate) factor: u16,
}

#[derive(Debug, Default)]
enum Way {
    #[default]
    Nothing,
    Turn(Turn),
    Map(Map),
    Ring(Ring),
    /// `random` with so many draws.
    Draw(Ring, u8),
    Least,
    First,
}

/// The turn of one backend.
#[derive(Debug, Default)]
pub(crate) struct Balancer {
    algorithm: Algorithm,
    candidates: Vec<Candidate>,
    way: Way,
}

impl Balancer {
    /// Takes the candidates in the operator's order. Goes on where it was when nothing changed.
    pub(crate) fn set(&mut self, algorithm: &Algorithm, candidates: Vec<Candidate>) {
        let fresh = matches!(self.way, Way::Nothing);
        if !fresh && self.algorithm == *algorithm && self.candidates == candidates {
            return;
        }
        let ring = || Ring::new(&candidates, algorithm.factor);
        self.way = match &algorithm.balance {
            Balance::Roundrobin => Way::Turn(Turn::new(&candidates)),
            Balance::StaticRr => Way::Map(Map::new(&candidates)),
            Balance::Leastconn => Way::Least,
            Balance::First => Way::First,
            Balance::Random { draws } => Way::Draw(ring(), *draws),
            _ if algorithm.hash_type.method == HashMethod::Consistent => Way::Ring(ring()),
            _ => Way::Map(Map::new(&candidates)),
        };
        self.algorithm = algorithm.clone();
        self.candidates = candidates;
    }

    /// The next server; `avoid` only when there is no other. `hash` is of what the algorithm looks
    /// at; None where the request does not have it, which HAProxy answers by taking turns.
    pub(crate) fn pick(
        &mut self,
        hash: Option<u32>,
        avoid: Option<usize>,
        load: impl Fn(usize) -> Load,
    ) -> Option<usize> {
        let avoid = avoid.filter(|a| self.candidates.iter().any(|c| c.index != *a));
        let all = &self.candidates;
        match (&mut self.way, hash) {
            (Way::Turn(turn), _) => turn.pick(all, avoid),
            (Way::Map(map), Some(hash)) => map.at(hash, avoid),
            (Way::Map(map), None) => map.next(avoid),
            (Way::Ring(ring), Some(hash)) => ring.at(all, hash, avoid, &load),
            (Way::Ring(ring), None) => ring.next(avoid),
            (Way::Draw(ring, draws), _) => ring.draw(all, *draws, avoid, &load),
            (Way::Least, _) => least(all, avoid, load),
            (Way::First, _) => {
                let mut usable = all.iter().filter(|c| Some(c.index) != avoid).map(|c| c.index);
                usable.clone().find(|index| load(*index).room).or_else(|| usable.next())
            }
            (Way::Nothing, _) => None,
        }
    }
}

fn least(
    candidates: &[Candidate],
    avoid: Option<usize>,
    load: impl Fn(usize) -> Load,
) -> Option<usize> {
    candidates
        .iter()
        .filter(|c| Some(c.index) != avoid)
        .min_by_key(|c| {
            let load = load(c.index);
            // HAProxy's key: the load this request would cause, relative to the weight; an idle
            // server is 0 whatever its weight.
            let relative = match load.running {
                0 => 0,
                n => (n + 1) * 256 * u64::from(SCALE) / u64::from(c.effective.max(1)),
            };
            (relative, load.touched)
        })
        .map(|c| c.index)
}

#[cfg(test)]
mod tests;
