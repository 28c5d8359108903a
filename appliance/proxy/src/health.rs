//! From single checks to up and down, as HAProxy does it (`rise`, `fall`).
//!
//! One counter from 0 to rise + fall - 1: below `rise` the server is down. A success counts up
//! and jumps to the top when it reaches `rise`; a failure counts down and falls to 0 when it
//! leaves `rise`. A server starts up at exactly `rise`, so that its first failure takes it down.

/// What one check changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The server went up.
    Up,
    /// The server went down.
    Down,
    /// Neither.
    None,
}

/// A server's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fsm {
    rise: u32,
    fall: u32,
    health: u32,
}

impl Fsm {
    /// Up, until the first failure.
    pub(crate) fn new(rise: u8, fall: u8) -> Self {
        let (rise, fall) = (u32::from(rise.max(1)), u32::from(fall.max(1)));
        Self { rise, fall, health: rise }
    }

    /// Goes on under other numbers; up stays up and down stays down.
    pub(crate) fn set(&mut self, rise: u8, fall: u8) {
        let next = Self::new(rise, fall);
        if (next.rise, next.fall) != (self.rise, self.fall) {
            let up = self.is_up();
            let full = self.health == self.top();
            *self = Self {
                health: match (up, full) {
                    (true, true) => next.top(),
                    (true, false) => next.rise,
                    (false, _) => self.health.min(next.rise - 1),
                },
                ..next
            };
        }
    }

    fn top(&self) -> u32 {
        self.rise + self.fall - 1
    }

    /// Is the server up?
    pub(crate) fn is_up(&self) -> bool {
        self.health >= self.rise
    }

    /// The counter.
    pub(crate) fn health(&self) -> u32 {
        self.health
    }

    /// Nothing is about to change.
    pub(crate) fn is_settled(&self) -> bool {
        self.health == self.top()
    }

    /// Two failures away from down at most (HAProxy's sudden death: with the one that is counted
    /// for it, one is left).
    pub(crate) fn nearly_down(&mut self) {
        self.health = self.health.min(self.rise + 1);
    }

    /// The next failure takes it down.
    pub(crate) fn last_chance(&mut self) {
        self.health = self.health.min(self.rise);
    }

    /// Takes in one check.
    pub(crate) fn check(&mut self, passed: bool) -> Turn {
        let was_up = self.is_up();
        if passed {
            if self.health < self.top() {
                self.health += 1;
                if self.health >= self.rise {
                    self.health = self.top();
                }
            }
        } else if self.health > self.rise {
            self.health -= 1;
        } else {
            self.health = 0;
        }
        match (was_up, self.is_up()) {
            (false, true) => Turn::Up,
            (true, false) => Turn::Down,
            _ => Turn::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each step: a check's result, and counter and state after it.
    fn walk(fsm: &mut Fsm, steps: &[(bool, u32, bool)]) {
        for (i, (passed, health, up)) in steps.iter().enumerate() {
            fsm.check(*passed);
            assert_eq!((fsm.health(), fsm.is_up()), (*health, *up), "step {i}");
        }
    }

    #[test]
    fn down_after_three_failures_up_after_two_successes() {
        let mut fsm = Fsm::new(2, 3);
        let steps = [
            (true, 4, true),
            (true, 4, true),
            (false, 3, true),
            (false, 2, true),
            (true, 4, true),
            (false, 3, true),
            (false, 2, true),
            (false, 0, false),
            (false, 0, false),
            (true, 1, false),
            (false, 0, false),
            (true, 1, false),
            (true, 4, true),
        ];
        walk(&mut fsm, &steps);
    }

    #[test]
    fn the_first_check_decides() {
        let mut fsm = Fsm::new(2, 3);
        assert!(fsm.is_up());
        assert_eq!(fsm.check(false), Turn::Down);
        assert_eq!(fsm.check(true), Turn::None);
        assert_eq!(fsm.check(true), Turn::Up);
    }

    #[test]
    fn bad_answers_hurry() {
        let mut fsm = Fsm::new(2, 5);
        assert_eq!((fsm.check(true), fsm.is_settled()), (Turn::None, true));
        fsm.nearly_down();
        walk(&mut fsm, &[(false, 2, true), (false, 0, false)]);
        fsm.nearly_down();
        fsm.last_chance();
        assert_eq!(fsm.health(), 0);
        walk(&mut fsm, &[(true, 1, false), (true, 6, true)]);
        fsm.last_chance();
        assert_eq!(fsm.check(false), Turn::Down);
    }

    #[test]
    fn one_and_one() {
        let mut fsm = Fsm::new(1, 1);
        walk(&mut fsm, &[(true, 1, true), (false, 0, false), (true, 1, true)]);
        // Zeros cannot be configured; they count as one.
        assert_eq!(Fsm::new(0, 0), Fsm::new(1, 1));
    }

    #[test]
    fn other_numbers_change_no_state() {
        let mut fsm = Fsm::new(2, 3);
        walk(&mut fsm, &[(true, 4, true)]);
        fsm.set(5, 7);
        assert_eq!((fsm.is_up(), fsm.health()), (true, 11));
        fsm.set(5, 7);
        walk(&mut fsm, &[(false, 10, true)]);
        let mut down = Fsm::new(9, 1);
        walk(&mut down, &[(false, 0, false), (true, 1, false), (true, 2, false)]);
        down.set(2, 3);
        assert_eq!((down.is_up(), down.health()), (false, 1));
    }
}
