//! `roundrobin`, with HAProxy's positions: a server of weight w comes back after W/w turns (W is
//! the sum), the remainder carried over, so that turns are spread evenly and small weights are not
//! starved.

use super::{Candidate, SCALE};

/// Whose turn it is. The candidates are given to each call; their order never changes.
#[derive(Debug)]
pub(crate) struct Turn {
    places: Vec<Place>,
    total: u64,
    position: u64,
    inserted: u64,
}

/// Where a server stands.
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

impl Turn {
    pub(super) fn new(candidates: &[Candidate]) -> Self {
        let total = candidates.iter().map(|c| u64::from(c.effective)).sum();
        let fresh = |order| Place { queue: Queue::Init, position: 0, remainder: 0, order };
        let places = (0..).map(fresh).take(candidates.len()).collect();
        Self { places, total, position: total, inserted: total }
    }

    pub(super) fn pick(&mut self, all: &[Candidate], avoid: Option<usize>) -> Option<usize> {
        // With unequal weights the one to avoid may come up several times in a row.
        let turns = usize::try_from(self.total).unwrap_or(usize::MAX).saturating_add(1);
        (0..turns).find_map(|_| self.turn(all).filter(|c| Some(*c) != avoid))
    }

    fn turn(&mut self, all: &[Candidate]) -> Option<usize> {
        if all.is_empty() {
            return None;
        }
        let at = self.due(all).or_else(|| {
            // The round is over: who waited for the next one takes part again.
            for place in &mut self.places {
                place.queue = match place.queue {
                    Queue::Init => Queue::Next,
                    Queue::Next => Queue::Init,
                    Queue::Current => Queue::Current,
                };
            }
            self.position = self.total;
            self.due(all)
        })?;
        let weight = u64::from(all[at].effective);
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
        Some(all[at].index)
    }

    /// The first of this round whose position has come; else the heaviest that has not begun;
    /// else the first of this round although it is early.
    fn due(&self, candidates: &[Candidate]) -> Option<usize> {
        let scale = u64::from(SCALE);
        let all = || self.places.iter().enumerate();
        let current = all().filter(|(_, p)| p.queue == Queue::Current).min_by_key(|(i, p)| {
            let weight = u64::from(candidates[*i].effective);
            (256 * p.position + (256 * scale + p.remainder - weight) / scale, p.order)
        });
        if let Some((at, place)) = current {
            if place.position <= self.position {
                return Some(at);
            }
        }
        all()
            .filter(|(_, p)| p.queue == Queue::Init)
            .min_by_key(|(i, p)| (std::cmp::Reverse(candidates[*i].effective), p.order))
            .or(current)
            .map(|(at, _)| at)
    }
}
