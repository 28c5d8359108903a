//! Whether the board still does what it is for, and what follows when it does not.
//!
//! The appliance process sends a heartbeat each second, and only if all of it moves. A process
//! that falls silent is killed and started again; that costs milliseconds. If for two minutes no
//! start has helped, the board itself is started again, at most [`MOST_RESETS`] times in a row:
//! a board that can still say on its screen what is wrong beats one that restarts for ever.
//! The watchdog's timer is the net below: it is fed by process 1's own loop, so a hang of process
//! 1 or of the kernel ends in a reset whatever this rule says.

use std::mem;
use std::time::Duration;

/// A heartbeat this old is no longer one.
pub(crate) const FRESH: Duration = Duration::from_secs(10);
/// A process may take so long from its start to its first heartbeat.
pub(crate) const GRACE: Duration = Duration::from_secs(60);
/// A process that has lived so long, and still beats, is well.
const WELL: Duration = Duration::from_secs(30);
/// So long a time without a process that is well, and starting the board again is tried.
const PATIENCE: Duration = Duration::from_secs(120);
/// The same for a firmware on trial, which has another one to go back to.
const PATIENCE_ON_TRIAL: Duration = Duration::from_secs(60);
/// A firmware on trial must be confirmed in this time.
const TRIAL: Duration = Duration::from_secs(600);
/// So many resets in a row at most.
pub(crate) const MOST_RESETS: u8 = 3;

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    Well,
    /// Kill the appliance process; it is silent.
    Kill,
    /// Start the board again.
    Reset,
    /// That has been tried often enough: stay up, go on trying, and say so.
    StayUp,
    /// The trial has failed: start the board again, into the other slot.
    EndTrial,
}

/// What is known of the appliance process.
#[derive(Clone, Debug)]
pub(crate) struct Vigil {
    on_trial: bool,
    resets_left: u8,
    /// Since when the running process lives; None while there is none.
    started: Option<Duration>,
    beat: Option<Duration>,
    /// It has been found well.
    well: bool,
    /// The last moment a process was well; at first the start of everything.
    good: Duration,
}

impl Vigil {
    pub(crate) fn new(on_trial: bool, resets_so_far: u8) -> Self {
        let resets_left = MOST_RESETS.saturating_sub(resets_so_far);
        Self { on_trial, resets_left, started: None, beat: None, well: false, good: Duration::ZERO }
    }

    pub(crate) fn started(&mut self, now: Duration) {
        self.started = Some(now);
        self.beat = None;
        self.well = false;
    }

    pub(crate) fn ended(&mut self) {
        self.started = None;
        self.beat = None;
    }

    /// Returns true once in the life of a process, from when it counts as well.
    pub(crate) fn heartbeat(&mut self, now: Duration) -> bool {
        self.beat = Some(now);
        if self.started.is_none_or(|started| now.saturating_sub(started) < WELL) {
            return false;
        }
        self.good = now;
        !mem::replace(&mut self.well, true)
    }

    /// The trial was passed.
    pub(crate) fn confirmed(&mut self) {
        self.on_trial = false;
    }

    /// Resets cannot be counted, so there are none.
    pub(crate) fn no_more_resets(&mut self) {
        self.resets_left = 0;
    }

    pub(crate) fn verdict(&self, now: Duration) -> Verdict {
        let silent = match (self.started, self.beat) {
            (Some(_), Some(beat)) => now.saturating_sub(beat) > FRESH,
            (Some(started), None) => now.saturating_sub(started) > GRACE,
            (None, _) => false,
        };
        let alive = self.beat.is_some() && !silent;
        let without = now.saturating_sub(self.good);
        if self.on_trial && (now > TRIAL || (without > PATIENCE_ON_TRIAL && !alive)) {
            Verdict::EndTrial
        } else if !alive && without > PATIENCE && self.resets_left > 0 {
            Verdict::Reset
        } else if silent {
            Verdict::Kill
        } else if !alive && without > PATIENCE {
            Verdict::StayUp
        } else {
            Verdict::Well
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn heartbeats_keep_everything_running() {
        let mut vigil = Vigil::new(false, 0);
        vigil.started(s(2));
        let mut well_at = Vec::new();
        for now in 3..100_000 {
            assert_eq!(vigil.verdict(s(now)), Verdict::Well, "{now}");
            if vigil.heartbeat(s(now)) {
                well_at.push(now);
            }
        }
        assert_eq!(well_at, [32], "said once");
    }

    #[test]
    fn a_slow_start_is_waited_for() {
        let mut vigil = Vigil::new(false, 0);
        vigil.started(s(5));
        assert_eq!(vigil.verdict(s(65)), Verdict::Well);
        assert_eq!(vigil.verdict(s(66)), Verdict::Kill);
    }

    #[test]
    fn silence_is_ended_after_ten_seconds() {
        let mut vigil = Vigil::new(false, 0);
        vigil.started(s(0));
        for now in 1..=500 {
            vigil.heartbeat(s(now));
        }
        assert_eq!(vigil.verdict(s(510)), Verdict::Well);
        assert_eq!(vigil.verdict(s(511)), Verdict::Kill);
        vigil.ended();
        assert_eq!(vigil.verdict(s(512)), Verdict::Well, "being started again");
        vigil.started(s(512));
        assert!(!vigil.heartbeat(s(513)));
        assert_eq!(vigil.verdict(s(513)), Verdict::Well);
    }

    #[test]
    fn a_process_that_never_comes_up_resets_the_board_three_times() {
        for so_far in 0..=5 {
            let mut vigil = Vigil::new(false, so_far);
            let (mut reset, mut stays) = (None, None);
            for now in 0..10_000 {
                match now % 5 {
                    0 => vigil.started(s(now)),
                    1 => vigil.ended(),
                    _ => {}
                }
                match vigil.verdict(s(now)) {
                    Verdict::Reset => reset = reset.or(Some(now)),
                    Verdict::StayUp => stays = stays.or(Some(now)),
                    verdict => assert_eq!(verdict, Verdict::Well),
                }
            }
            assert_eq!(stays, (so_far >= MOST_RESETS).then_some(121), "{so_far}");
            assert_eq!(reset, (so_far < MOST_RESETS).then_some(121), "{so_far}");
        }
    }

    #[test]
    fn a_trial_ends_early_and_whatever_the_count() {
        let mut vigil = Vigil::new(true, MOST_RESETS);
        vigil.started(s(1));
        vigil.ended();
        assert_eq!(vigil.verdict(s(60)), Verdict::Well);
        assert_eq!(vigil.verdict(s(61)), Verdict::EndTrial);
        // Alive but never confirmed.
        vigil.started(s(61));
        vigil.heartbeat(s(62));
        assert_eq!(vigil.verdict(s(62)), Verdict::Well);
        vigil.heartbeat(s(600));
        assert_eq!(vigil.verdict(s(600)), Verdict::Well);
        vigil.heartbeat(s(601));
        assert_eq!(vigil.verdict(s(601)), Verdict::EndTrial);
        vigil.confirmed();
        assert_eq!(vigil.verdict(s(601)), Verdict::Well);
    }
}
