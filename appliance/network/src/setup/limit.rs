//! So many a second and no more. Pure.

use std::time::Duration;

#[derive(Clone, Debug)]
pub(crate) struct Limit {
    most: u32,
    second: Duration,
    used: u32,
}

impl Limit {
    pub(crate) const fn new(most: u32) -> Self {
        Self { most, second: Duration::ZERO, used: 0 }
    }

    /// May one more pass?
    pub(crate) fn pass(&mut self, now: Duration) -> bool {
        if now.saturating_sub(self.second) >= Duration::from_secs(1) {
            self.second = now;
            self.used = 0;
        }
        self.used = self.used.saturating_add(1);
        self.used <= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_later_there_is_room_again() {
        let mut limit = Limit::new(3);
        let at = Duration::from_secs(9);
        assert_eq!((0..9).filter(|_| limit.pass(at)).count(), 3);
        assert!(!limit.pass(at + Duration::from_millis(999)));
        assert!(limit.pass(at + Duration::from_secs(1)));
    }
}
