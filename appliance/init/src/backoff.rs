//! How long to wait before a process that ended is started again.

use std::time::Duration;

/// The first wait that is one.
const FIRST: Duration = Duration::from_millis(100);
/// The longest.
const LONGEST: Duration = Duration::from_secs(5);
/// Whoever lived so long has not failed at the start.
const LONG_LIFE: Duration = Duration::from_secs(60);

/// The waits so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    /// The wait after a life of this length: none, then 100 ms doubling to 5 s.
    pub(crate) fn after(&mut self, life: Duration) -> Duration {
        if life >= LONG_LIFE {
            self.next = Duration::ZERO;
        }
        let wait = self.next;
        self.next = (wait * 2).clamp(FIRST, LONGEST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_once_then_doubling_then_every_five_seconds() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> =
            (0..10).map(|_| backoff.after(Duration::from_secs(1)).as_millis()).collect();
        assert_eq!(waits, [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
    }

    #[test]
    fn a_long_life_starts_over() {
        let mut backoff = Backoff::default();
        for _ in 0..5 {
            backoff.after(Duration::ZERO);
        }
        assert_eq!(backoff.after(Duration::from_secs(60)), Duration::ZERO);
        assert_eq!(backoff.after(Duration::from_secs(59)), Duration::from_millis(100));
    }
}
