//! Which server is next, in HAProxy's order.
//!
//! `roundrobin` keeps HAProxy's positions: a server of weight w comes back after W/w turns (W is
//! the sum), the remainder carried over, so that turns are spread evenly and small weights are
//! not starved. `static-rr` walks a map laid out once. `leastconn` looks for the least loaded and
//! takes turns among equals.

use model::Balance;

/// HAProxy counts weights in sixteenths, which decides how long a round is.
const SCALE: u64 = 16;

/// A server that can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Its place in the backend's list.
    pub(crate) index: usize,
    /// Its weight, at least 1.
    pub(crate) weight: u32,
}

/// A server's load, for `leastconn`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Requests under way.
    pub(crate) running: u64,
    /// When its load last changed, in any unit that only grows.
    pub(crate) touched: u64,
}

/// The turn of one backend.
#[derive(Debug, Default)]
pub(crate) struct Balancer {
    algorithm: Balance,
    candidates: Vec<Candidate>,
    places: Vec<Place>,
    total: u64,
    position: u64,
    inserted: u64,
    map: Vec<usize>,
    next: usize,
}

/// Where a server stands in `roundrobin`.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Waits for the next round (HAProxy's `init` and `next` trees) instead of this one.
    queue: Queue,
    position: u64,
    remainder: u64,
    /// Breaks ties in favour of who came first.
    order: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queue {
    Current,
    Init,
    Next,
}

impl Balancer {
    /// Takes the candidates in the operator's order. Goes on where it was when nothing changed.
    pub(crate) fn set(&mut self, algorithm: Balance, candidates: Vec<Candidate>) {
        if self.algorithm == algorithm && self.candidates == candidates {
            return;
        }
        self.algorithm = algorithm;
        self.candidates = candidates;
        self.total = self.candidates.iter().map(|c| SCALE * u64::from(c.weight)).sum();
        self.position = self.total;
        self.next = 0;
        self.inserted = 0;
        self.map = Vec::new();
        self.places = Vec::new();
        match algorithm {
            Balance::Roundrobin => {
                let fresh = |order| Place { queue: Queue::Init, position: 0, remainder: 0, order };
                self.places = (0..).map(fresh).take(self.candidates.len()).collect();
                self.inserted = self.total;
            }
            Balance::StaticRr => self.map = lay_out(&self.candidates),
            Balance::Leastconn => {}
        }
    }

    /// The next server; `avoid` only when there is no other.
    pub(crate) fn pick(
        &mut self,
        avoid: Option<usize>,
        load: impl Fn(usize) -> Load,
    ) -> Option<usize> {
        let avoid = avoid.filter(|a| self.candidates.iter().any(|c| c.index != *a));
        match self.algorithm {
            Balance::Leastconn => self.least(avoid, load),
            Balance::Roundrobin | Balance::StaticRr => {
                // With unequal weights the one to avoid may come up several times in a row.
                let turns = usize::try_from(self.total).unwrap_or(usize::MAX).saturating_add(1);
                (0..turns).find_map(|_| {
                    let chosen = match self.algorithm {
                        Balance::StaticRr => self.static_next(),
                        _ => self.turn(),
                    };
                    chosen.filter(|c| Some(*c) != avoid)
                })
            }
        }
    }

    fn least(&self, avoid: Option<usize>, load: impl Fn(usize) -> Load) -> Option<usize> {
        self.candidates
            .iter()
            .filter(|c| Some(c.index) != avoid)
            .min_by_key(|c| {
                let load = load(c.index);
                // HAProxy's key: the load this request would cause, relative to the weight; an
                // idle server is 0 whatever its weight.
                let relative = match load.running {
                    0 => 0,
                    n => (n + 1) * 256 * SCALE / (SCALE * u64::from(c.weight)),
                };
                (relative, load.touched)
            })
            .map(|c| c.index)
    }

    fn static_next(&mut self) -> Option<usize> {
        let chosen = self.map.get(self.next).copied();
        self.next = if self.next + 1 >= self.map.len() { 0 } else { self.next + 1 };
        chosen
    }

    fn turn(&mut self) -> Option<usize> {
        if self.candidates.is_empty() {
            return None;
        }
        let at = self.due().or_else(|| {
            // The round is over: who waited for the next one takes part again.
            for place in &mut self.places {
                place.queue = match place.queue {
                    Queue::Init => Queue::Next,
                    Queue::Next => Queue::Init,
                    Queue::Current => Queue::Current,
                };
            }
            self.position = self.total;
            self.due()
        })?;
        let weight = SCALE * u64::from(self.candidates[at].weight);
        let (total, now) = (self.total, self.position);
        let place = &mut self.places[at];
        if place.queue == Queue::Init {
            (place.position, place.remainder) = (0, 0);
        }
        if place.position == 0 {
            place.position = now;
        }
        place.position += total / weight;
        place.remainder += total % weight;
        if place.remainder >= weight {
            place.remainder -= weight;
            place.position += 1;
        }
        self.position += 1;
        self.inserted += 1;
        place.order = self.inserted;
        if place.position >= 2 * total {
            place.queue = Queue::Next;
            place.position -= total;
        } else {
            place.queue = Queue::Current;
        }
        Some(self.candidates[at].index)
    }

    /// The first of this round whose position has come; else the heaviest that has not begun;
    /// else the first of this round although it is early.
    fn due(&self) -> Option<usize> {
        let all = || self.places.iter().enumerate();
        let current = all().filter(|(_, p)| p.queue == Queue::Current).min_by_key(|(i, p)| {
            let weight = SCALE * u64::from(self.candidates[*i].weight);
            (256 * p.position + (256 * SCALE + p.remainder - weight) / SCALE, p.order)
        });
        if let Some((at, place)) = current {
            if place.position <= self.position {
                return Some(at);
            }
        }
        all()
            .filter(|(_, p)| p.queue == Queue::Init)
            .min_by_key(|(i, p)| (std::cmp::Reverse(self.candidates[*i].weight), p.order))
            .or(current)
            .map(|(at, _)| at)
    }
}

/// HAProxy's map for `static-rr`: as many entries as the weights, divided by what they have in
/// common, sum up to; each goes to the server that is most behind, the first among equals.
fn lay_out(candidates: &[Candidate]) -> Vec<usize> {
    let common = candidates.iter().fold(0, |a, c| gcd(a, c.weight)).max(1);
    let total: i64 = candidates.iter().map(|c| i64::from(c.weight / common)).sum();
    let mut scores = vec![0_i64; candidates.len()];
    let mut map = Vec::new();
    for _ in 0..total {
        for (score, c) in scores.iter_mut().zip(candidates) {
            *score += i64::from(c.weight / common);
        }
        let value = |i: &usize| (scores[*i] + total) / total;
        let best = (0..scores.len()).min_by_key(|i| (-value(i), *i)).unwrap_or(0);
        scores[best] -= total;
        map.push(candidates[best].index);
    }
    map
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    const IDLE: fn(usize) -> Load = |_| Load { running: 0, touched: 0 };

    fn balancer(algorithm: Balance, weights: &[u32]) -> Balancer {
        let mut b = Balancer::default();
        let all = weights.iter().enumerate().map(|(index, w)| Candidate { index, weight: *w });
        b.set(algorithm, all.collect());
        b
    }

    fn sequence(algorithm: Balance, weights: &[u32], n: usize) -> String {
        let mut b = balancer(algorithm, weights);
        (0..n)
            .map(|_| char::from(b'a' + u8::try_from(b.pick(None, IDLE).unwrap()).unwrap()))
            .collect()
    }

    #[test]
    fn equal_weights_take_turns() {
        for algorithm in [Balance::Roundrobin, Balance::StaticRr] {
            assert_eq!(sequence(algorithm, &[1, 1, 1, 1], 12), "abcdabcdabcd");
            assert_eq!(sequence(algorithm, &[7, 7], 6), "ababab");
            assert_eq!(sequence(algorithm, &[3], 3), "aaa");
        }
    }

    /// What HAProxy 2.6.12 does with one request after the other, from the second on.
    #[test]
    fn sequences_are_haproxys() {
        for (algorithm, weights, want) in [
            (Balance::Roundrobin, &[3, 1, 2][..], "cabacacabacacabacaca"),
            (Balance::Roundrobin, &[5, 1, 1], "aabaacaaabaacaaabaac"),
            (Balance::Roundrobin, &[1, 2], "babbabbabbabbabbabba"),
            (Balance::Roundrobin, &[10, 20, 30, 40], "cdbcdadcbdcdbcdadcbd"),
            (Balance::Roundrobin, &[7, 3], "aabaabaabaaabaabaaba"),
            (Balance::StaticRr, &[3, 1, 2], "acabcaacabcaacabcaac"),
            (Balance::StaticRr, &[5, 1, 1], "aabaacaaabaacaaabaac"),
            (Balance::StaticRr, &[10, 20, 30, 40], "bdcdbcdcdabdcdbcdcda"),
        ] {
            let seen = sequence(algorithm, weights, want.len() + 1);
            assert_eq!(&seen[1..], want, "{algorithm} {weights:?}");
        }
    }

    #[test]
    fn shares_follow_weights() {
        for algorithm in [Balance::Roundrobin, Balance::StaticRr] {
            for weights in [&[3, 1, 2][..], &[1, 256], &[10, 20, 30, 40], &[5, 1, 1], &[2, 3]] {
                let total: u32 = weights.iter().sum();
                let rounds = 5;
                let n = usize::try_from(total * rounds).unwrap();
                let mut b = balancer(algorithm, weights);
                let mut seen = vec![0; weights.len()];
                for _ in 0..n {
                    seen[b.pick(None, IDLE).unwrap()] += 1;
                }
                for (count, weight) in seen.iter().zip(weights) {
                    let want = i64::from(weight * rounds);
                    let off = (i64::from(*count) - want).abs();
                    assert!(off <= 1, "{algorithm} {weights:?}: {seen:?}");
                }
            }
        }
    }

    #[test]
    fn one_server_is_avoided_while_there_is_another() {
        for algorithm in Balance::ALL {
            let mut b = balancer(algorithm, &[256, 1, 1]);
            for _ in 0..600 {
                assert_ne!(b.pick(Some(0), IDLE), Some(0), "{algorithm}");
            }
            let mut alone = balancer(algorithm, &[1]);
            assert_eq!(alone.pick(Some(0), IDLE), Some(0));
            assert_eq!(balancer(algorithm, &[]).pick(None, IDLE), None);
        }
    }

    #[test]
    fn the_turn_goes_on_when_nothing_changed() {
        let mut b = balancer(Balance::Roundrobin, &[1, 1]);
        assert_eq!(b.pick(None, IDLE), Some(0));
        let same = b.candidates.clone();
        b.set(Balance::Roundrobin, same);
        assert_eq!(b.pick(None, IDLE), Some(1));
    }

    #[test]
    fn the_least_loaded_relative_to_weight() {
        let loads = RefCell::new(vec![Load { running: 0, touched: 0 }; 3]);
        let mut b = balancer(Balance::Leastconn, &[1, 1, 2]);
        let mut taken = Vec::new();
        for clock in 1..=8 {
            let chosen = b.pick(None, |i| loads.borrow()[i]).unwrap();
            let mut all = loads.borrow_mut();
            all[chosen] = Load { running: all[chosen].running + 1, touched: clock };
            taken.push(chosen);
        }
        let counts: Vec<u64> = loads.borrow().iter().map(|l| l.running).collect();
        assert_eq!(counts, [2, 2, 4], "{taken:?}");
        // The one that has just become free is taken next.
        loads.borrow_mut()[1].running = 0;
        assert_eq!(b.pick(None, |i| loads.borrow()[i]), Some(1));
    }
}
