//! How often another program's changes are undone before that is taken for a fight. Pure.

use std::time::{Duration, Instant};

/// So many corrections in one [`WINDOW`] are normal (an interface coming up takes a few).
const BURST: u32 = 40;
const WINDOW: Duration = Duration::from_secs(10);
/// After that, one correction in so long.
const SLOW: Duration = Duration::from_secs(1);

/// Counts corrections.
#[derive(Debug)]
pub(crate) struct Pace {
    begun: Instant,
    corrections: u32,
    last: Instant,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self { begun: now, corrections: 0, last: now }
    }

    /// A correction was needed.
    pub(crate) fn corrected(&mut self, now: Instant) {
        if now.saturating_duration_since(self.begun) > WINDOW {
            self.begun = now;
            self.corrections = 0;
        }
        self.corrections += 1;
        self.last = now;
    }

    /// Somebody keeps undoing what we set.
    pub(crate) fn fight(&self, now: Instant) -> bool {
        self.corrections > BURST && now.saturating_duration_since(self.begun) <= WINDOW
    }

    /// How long to wait before the next look; zero in peace.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        if self.fight(now) {
            SLOW.saturating_sub(now.saturating_duration_since(self.last))
        } else {
            Duration::ZERO
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fight_is_slowed_down_and_forgotten() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pace = Pace::new(start);
        for ms in 0..40 {
            pace.corrected(at(ms));
        }
        assert_eq!(pace.wait(at(40)), Duration::ZERO);
        pace.corrected(at(41));
        assert!(pace.fight(at(42)));
        assert_eq!(pace.wait(at(42)), Duration::from_millis(999));
        assert_eq!(pace.wait(at(1500)), Duration::ZERO);
        assert!(!pace.fight(at(10_500)), "the fight is over once the window has passed");
        pace.corrected(at(10_500));
        assert!(!pace.fight(at(10_501)));
    }
}
