//! Leaving on purpose: farewell first, the floating IPs later.
//!
//! A master that leaves sends priority 0 and goes on serving. Only when its successor has spoken,
//! and keepalived's few milliseconds to move the addresses have passed, does it let go; so the
//! floating IP has an owner at every moment.

use super::{LINGER, Output, Phase, Router};
use crate::error::FailoverError;
use crate::packet::{Advert, FAREWELL};
use crate::time::Moment;
use model::status::FailoverReport;
use std::net::Ipv4Addr;
use std::time::Duration;

/// Added to the longest skew when stopping: the successor's way to us.
const GRACE: Duration = Duration::from_millis(100);
/// Added to the longest skew when a failover was asked for; nothing is lost by waiting.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Be backup of the successor.
    Failover,
    /// Be gone.
    Stop,
}

impl Router {
    /// RFC 9568 6.4.2, 6.4.3: Shutdown.
    pub(super) fn stop(&mut self, handover: bool, now: Moment, out: &mut Vec<Output>) {
        self.stopped = true;
        if !handover {
            return self.abandon(Phase::Init, now, out);
        }
        match self.phase {
            Phase::Init => {}
            Phase::Fault(_) => self.enter(Phase::Init, now, out),
            Phase::Backup { .. } => {
                self.raised = None;
                self.enter(Phase::Init, now, out);
            }
            Phase::Master { .. } => self.yield_to_anyone(Goal::Stop, now, out),
            Phase::Yielding { goal: Goal::Stop, .. } => {}
            Phase::Yielding { goal: Goal::Failover, until } => {
                out.push(Output::Failover(Err(FailoverError::Stopping)));
                self.phase = Phase::Yielding { goal: Goal::Stop, until };
            }
        }
    }

    /// What the operator's button does.
    pub(super) fn failover(&mut self, now: Moment, out: &mut Vec<Output>) {
        let refused = match &self.phase {
            Phase::Master { .. } => return self.yield_to_anyone(Goal::Failover, now, out),
            Phase::Backup { .. } => match self.take_over(now, out) {
                Ok(report) => return out.push(Output::Failover(Ok(report))),
                Err(error) => error,
            },
            Phase::Yielding { .. } => FailoverError::Busy,
            Phase::Fault(reason) => FailoverError::Fault(reason.clone()),
            Phase::Init => FailoverError::Stopping,
        };
        out.push(Output::Failover(Err(refused)));
    }

    fn yield_to_anyone(&mut self, goal: Goal, now: Moment, out: &mut Vec<Output>) {
        out.push(Output::Advert { priority: FAREWELL });
        // An announcement now could be younger than the successor's.
        self.announcing = None;
        let more = if goal == Goal::Stop { GRACE } else { PATIENCE };
        let until = now + self.config.worst_skew() + more;
        self.phase = Phase::Yielding { goal, until };
    }

    /// The successor has spoken.
    pub(super) fn hand_over(
        &mut self,
        goal: Goal,
        advert: &Advert<'_>,
        from: Ipv4Addr,
        now: Moment,
        out: &mut Vec<Output>,
    ) {
        match goal {
            Goal::Stop => {
                self.release_at = Some(now + LINGER);
                self.announcing = None;
                self.restore_at = None;
                self.raised = None;
                self.enter(Phase::Init, now, out);
            }
            Goal::Failover => {
                self.follow(advert, from, now, out);
                // Its priority may be lower; it keeps the floating IPs all the same.
                self.held_back = advert.priority < self.config.priority.get();
                out.push(Output::Failover(Ok(self.report(from, Duration::ZERO))));
            }
        }
    }

    /// Nobody took the floating IPs in all the time a backup can need.
    pub(super) fn nobody_answered(&mut self, now: Moment, out: &mut Vec<Output>) {
        match self.phase {
            Phase::Yielding { goal: Goal::Failover, .. } => {
                self.announce(now, out);
                let advert_at = self.advertise(now, out);
                self.enter(Phase::Master { advert_at }, now, out);
                out.push(Output::Failover(Err(FailoverError::NoAnswer)));
            }
            Phase::Yielding { goal: Goal::Stop, .. } => {
                self.release(out);
                self.raised = None;
                self.enter(Phase::Init, now, out);
            }
            _ => {}
        }
    }

    /// A backup takes over by outbidding the master.
    fn take_over(
        &mut self,
        now: Moment,
        out: &mut Vec<Output>,
    ) -> Result<FailoverReport, FailoverError> {
        let own = self.config.priority.get();
        let holder = self.source.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let mut gap = Duration::ZERO;
        self.raised = None;
        if let Some(heard) = self.heard {
            // At equal priority the higher address wins.
            if heard.priority == u8::MAX && heard.address > holder {
                return Err(FailoverError::Owner);
            }
            if heard.priority >= own {
                self.raised = Some(heard.priority.saturating_add(1));
            }
            // A master that should have spoken by now has been dead for that long.
            let overdue = now.since(heard.at + self.active_interval);
            gap = if overdue > self.active_interval { overdue } else { Duration::ZERO };
        }
        self.become_master(now, out);
        Ok(self.report(holder, gap))
    }

    fn report(&self, holder: Ipv4Addr, gap: Duration) -> FailoverReport {
        FailoverReport {
            name: self.config.name.clone(),
            holder,
            gap_ms: gap.as_secs_f64() * 1000.0,
        }
    }
}
