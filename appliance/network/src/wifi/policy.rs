//! When the setup access point is up. Pure.
//!
//! It is the way in where there is no other: on a board nobody has claimed, and on one that lost
//! its network. It comes late and goes late, so that a slow router or a cable pulled for a moment
//! does not make it flap.

use std::time::{Duration, Instant};

/// So long without a way in before it comes up, and so long with one before it goes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How things are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Somebody has set a password.
    pub(crate) claimed: bool,
    /// The page can be reached over a cable: carrier and address.
    pub(crate) wired: bool,
    /// On a Wi-Fi network, with an address.
    pub(crate) wireless: bool,
    /// The settings have networks that could still be joined.
    pub(crate) networks: bool,
    /// This board takes part in holding a floating IP.
    pub(crate) role: bool,
    /// Somebody is joining a network this moment.
    pub(crate) trial: bool,
}

/// Whether it should be up, with a memory of what was.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    patience: Duration,
    open: bool,
    /// Since when things have been other than they should be for its present state.
    since: Option<Instant>,
}

impl Policy {
    pub(crate) fn new(patience: Duration) -> Self {
        Self { patience, open: false, since: None }
    }

    pub(crate) fn open(&self) -> bool {
        self.open
    }

    /// Down at once, and not up again before the patience is over: its radio is in use.
    pub(crate) fn close(&mut self) {
        self.open = false;
        self.since = None;
    }

    pub(crate) fn judge(&mut self, facts: Facts, now: Instant) -> bool {
        if facts.role {
            self.close();
            return false;
        }
        let way_in = facts.wireless || (facts.wired && facts.claimed);
        if self.open != way_in {
            self.since = None; // as it should be
        } else {
            let since = *self.since.get_or_insert(now);
            // Nobody knows this board, and it knows no network: there is nothing to wait for.
            let at_once = !way_in && !facts.claimed && !facts.networks;
            let waited = now.saturating_duration_since(since) >= self.patience;
            if at_once || (waited && !(self.open && facts.trial)) {
                self.open = !self.open;
                self.since = None;
            }
        }
        self.open
    }

    /// Why it is not up, for the operator.
    pub(crate) fn reason(&self, facts: Facts) -> Option<&'static str> {
        if self.open {
            None
        } else if facts.role {
            Some(
                "this board takes part in holding a floating IP; without a network it stays \
                 reachable over the other nodes and the cable",
            )
        } else if facts.wireless || facts.wired {
            Some("not needed: the page can be reached over the network")
        } else {
            Some("it comes up when there has been no network for a minute")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        static BEGUN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *BEGUN.get_or_init(Instant::now) + Duration::from_secs(seconds)
    }

    const NEW: Facts = Facts {
        claimed: false,
        wired: false,
        wireless: false,
        networks: false,
        role: false,
        trial: false,
    };
    const LOST: Facts = Facts { claimed: true, networks: true, ..NEW };

    #[test]
    fn a_new_board_is_open_at_once_with_or_without_a_cable() {
        assert!(Policy::new(PATIENCE).judge(NEW, at(0)));
        assert!(Policy::new(PATIENCE).judge(Facts { wired: true, ..NEW }, at(0)));
    }

    #[test]
    fn networks_from_the_card_get_their_time_first() {
        let mut policy = Policy::new(PATIENCE);
        let facts = Facts { networks: true, ..NEW };
        assert!(!policy.judge(facts, at(0)));
        assert!(!policy.judge(facts, at(59)));
        assert!(policy.judge(facts, at(60)));
        let mut policy = Policy::new(PATIENCE);
        assert!(!policy.judge(facts, at(0)));
        for s in 1..600 {
            assert!(!policy.judge(Facts { wireless: true, ..facts }, at(s)));
        }
    }

    #[test]
    fn a_claimed_board_with_a_network_is_closed() {
        let mut policy = Policy::new(PATIENCE);
        for s in 0..600 {
            assert!(!policy.judge(Facts { wired: true, ..LOST }, at(s)));
        }
    }

    #[test]
    fn it_comes_after_a_minute_without_and_goes_after_a_minute_with_a_network() {
        let mut policy = Policy::new(PATIENCE);
        assert!(!policy.judge(LOST, at(0)));
        assert!(policy.judge(LOST, at(60)));
        let back = Facts { wired: true, ..LOST };
        assert!(policy.judge(back, at(100)));
        assert!(policy.judge(back, at(159)));
        assert!(!policy.judge(back, at(160)));
        assert!(!policy.judge(LOST, at(161)));
        assert!(policy.judge(LOST, at(221)));
    }

    #[test]
    fn a_network_that_comes_and_goes_does_not_make_it_flap() {
        let (mut policy, mut changes, mut last) = (Policy::new(PATIENCE), 0, false);
        for s in 0..3600 {
            let wired = (s / 40) % 2 == 0;
            let open = policy.judge(Facts { wired, ..LOST }, at(s));
            changes += u32::from(open != last);
            last = open;
        }
        assert_eq!(changes, 0);
    }

    #[test]
    fn claiming_over_it_does_not_cut_the_phone_off() {
        let mut policy = Policy::new(PATIENCE);
        assert!(policy.judge(NEW, at(0)));
        for s in 1..300 {
            assert!(policy.judge(Facts { claimed: true, ..NEW }, at(s)));
        }
        // A cable comes: a minute to read the last page.
        let cable = Facts { claimed: true, wired: true, ..NEW };
        assert!(policy.judge(cable, at(300)));
        assert!(policy.judge(cable, at(359)));
        assert!(!policy.judge(cable, at(360)));
    }

    #[test]
    fn never_while_an_attempt_runs_does_it_close_and_never_is_it_up_with_a_role() {
        let mut policy = Policy::new(PATIENCE);
        assert!(policy.judge(NEW, at(0)));
        let busy = Facts { claimed: true, wired: true, trial: true, ..NEW };
        assert!(policy.judge(busy, at(10)));
        assert!(policy.judge(busy, at(90)));
        assert!(!policy.judge(Facts { role: true, ..busy }, at(91)));
        assert!(!policy.judge(Facts { role: true, ..NEW }, at(300)));
        assert!(policy.reason(Facts { role: true, ..NEW }).unwrap().contains("floating IP"));
    }

    #[test]
    fn a_radio_that_was_needed_for_the_network_is_left_alone() {
        let mut policy = Policy::new(PATIENCE);
        assert!(policy.judge(NEW, at(0)));
        policy.close();
        let joined = Facts { wireless: true, networks: true, ..NEW };
        assert!(!policy.judge(joined, at(1)));
        assert!(!policy.judge(Facts { networks: true, ..NEW }, at(2)));
        assert!(policy.judge(Facts { networks: true, ..NEW }, at(62)));
    }
}
