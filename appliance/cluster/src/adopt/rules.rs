//! Which boards may be adopted, and when. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A board that nobody has claimed can be adopted for so long after it got power: whoever gave it
/// power can touch it.
pub(crate) const WINDOW: Duration = Duration::from_secs(30 * 60);
/// Attempts on a board in [`SPAN`]. The code is one of a million: this many guesses an hour are
/// none to fear.
const MOST: usize = 6;
const SPAN: Duration = Duration::from_secs(60);

/// When others began to adopt this board.
#[derive(Debug, Default)]
pub(crate) struct Attempts(VecDeque<Instant>);

impl Attempts {
    /// May another one begin? Counts it if so.
    pub(crate) fn begin(&mut self, now: Instant) -> bool {
        while self.0.front().is_some_and(|at| now.saturating_duration_since(*at) >= SPAN) {
            self.0.pop_front();
        }
        let free = self.0.len() < MOST;
        if free {
            self.0.push_back(now);
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_few() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        let begun = (0..100).filter(|n| attempts.begin(now + Duration::from_millis(*n))).count();
        assert_eq!(begun, MOST);
        let later =
            (0..30 * 60).filter(|n| attempts.begin(now + Duration::from_secs(60 + n))).count();
        assert_eq!(later, 6 * 30, "in all of the window");
    }
}
