//! Adverts of others: who is master (RFC 9568 6.4.2, 6.4.3, 7.1).

use super::{CALM, Heard, LINGER, Note, Output, Phase, REPEATS, Router};
use crate::packet::{Advert, Datagram, FAREWELL, GROUP, Reject};
use crate::time::{Moment, skew};
use model::VrrpVersion;
use std::net::Ipv4Addr;

impl Router {
    pub(super) fn receive(&mut self, datagram: &Datagram<'_>, now: Moment, out: &mut Vec<Output>) {
        let from = datagram.source;
        // Another virtual router's packets are not ours to judge, and neither is unicast.
        let ours = Advert::virtual_router(datagram.payload)
            .is_none_or(|id| id == self.config.virtual_router.get());
        if !ours || datagram.destination != GROUP {
            return;
        }
        if matches!(self.phase, Phase::Init | Phase::Fault(_)) {
            return; // RFC 9568 6.4.1: nothing is received before startup
        }
        if Some(from) == self.source {
            return self.note(Note::OwnAddress(from), now, out);
        }
        let decoded = Advert::decode(datagram, self.config.version, self.config.auth.as_ref());
        let advert = match decoded {
            Ok(advert) => advert,
            Err(reject) => return self.reject(reject, from, now, out),
        };
        if advert.interval != self.config.interval() {
            // RFC 3768 7.1: MUST be discarded. Version 3 adopts the master's (RFC 9568 6.4.2).
            if self.config.version == VrrpVersion::V2 {
                self.counters.bad_interval += 1;
            }
            self.note(Note::OtherInterval(from, advert.interval), now, out);
            if self.config.version == VrrpVersion::V2 {
                return;
            }
        }
        self.counters.received += 1;
        let known = |a: Ipv4Addr| self.config.addresses.iter().any(|c| c.addr() == a);
        let same = advert.count() == self.config.addresses.len() && advert.addresses().all(known);
        if !same {
            // RFC 9568 7.1: SHOULD be logged, MUST NOT be discarded: dropping it would make two
            // masters of a mere difference in settings.
            self.counters.address_mismatch += 1;
            self.note(Note::OtherAddresses(from), now, out);
        }
        match self.phase {
            Phase::Backup { .. } => self.heard_as_backup(&advert, from, now, out),
            Phase::Master { .. } => self.heard_as_master(&advert, from, now, out),
            Phase::Yielding { goal, .. } => {
                if advert.priority != FAREWELL {
                    self.hand_over(goal, &advert, from, now, out);
                }
            }
            Phase::Init | Phase::Fault(_) => {}
        }
    }

    fn reject(&mut self, reject: Reject, from: Ipv4Addr, now: Moment, out: &mut Vec<Output>) {
        let counters = &mut self.counters;
        let (count, note) = match reject {
            Reject::Ttl => (&mut counters.bad_ttl, None),
            Reject::Malformed => (&mut counters.bad_packet, None),
            Reject::Version => (&mut counters.bad_version, Some(Note::OtherVersion(from))),
            Reject::Checksum => (&mut counters.bad_checksum, Some(Note::BadChecksum(from))),
            Reject::Auth => (&mut counters.bad_auth, Some(Note::OtherAuth(from))),
        };
        *count += 1;
        if let Some(note) = note {
            self.note(note, now, out);
        }
    }

    /// RFC 9568 6.4.2 (Backup).
    fn heard_as_backup(
        &mut self,
        advert: &Advert<'_>,
        from: Ipv4Addr,
        now: Moment,
        out: &mut Vec<Output>,
    ) {
        let Phase::Backup { down_at, mut preempt_at, excused } = self.phase else { return };
        let own = self.config.priority.get();
        if advert.priority == FAREWELL {
            // The only other member leaves: no contest to wait for. Otherwise the skew decides.
            let by_master = self.heard.is_none_or(|h| h.address == from);
            if self.config.sole_backup && by_master {
                return self.become_master(now, out);
            }
            let down_at = now + skew(self.config.version, own, self.active_interval);
            self.phase = Phase::Backup { down_at, preempt_at, excused };
            return;
        }
        let higher = advert.priority >= own;
        let accepted = if higher {
            preempt_at = None;
            self.held_back = false;
            true
        } else if !self.config.preempt || self.held_back {
            true
        } else {
            // keepalived `preempt_delay`: counted from the first lower advert.
            now < *preempt_at.get_or_insert(now + self.config.preempt_delay)
        };
        self.heard = Some(Heard { address: from, priority: advert.priority, at: now });
        if accepted {
            self.learn(advert);
            let down_at = now + self.down_interval();
            self.phase = Phase::Backup { down_at, preempt_at, excused: false };
        } else {
            // RFC 9568 6.4.2 (410): discarded, the timer runs on.
            self.phase = Phase::Backup { down_at, preempt_at, excused };
        }
    }

    /// RFC 9568 6.4.3 (Active).
    fn heard_as_master(
        &mut self,
        advert: &Advert<'_>,
        from: Ipv4Addr,
        now: Moment,
        out: &mut Vec<Output>,
    ) {
        let own = self.effective_priority();
        if advert.priority == FAREWELL {
            // It was master until now: its announcement may be younger than ours.
            return self.reassert(now, out);
        }
        if advert.priority == u8::MAX && own == u8::MAX {
            self.note(Note::TwoOwners(from), now, out);
        }
        let wins = advert.priority > own
            || (advert.priority == own && self.source.is_some_and(|source| from > source));
        // After a stall the other one is the master, and one that may not preempt must not.
        let may_preempt =
            self.config.preempt && self.config.preempt_delay.is_zero() && !self.held_back;
        if wins {
            // keepalived `higher_prio_send_advert`: one last advert. When a parted network is
            // whole again the winner may not have heard that there was a rival, whose
            // announcement is younger than its own; hearing of it, it announces itself again.
            out.push(Output::Advert { priority: own });
            return self.follow(advert, from, now, out);
        }
        if self.is_stalled(now) && !may_preempt {
            return self.follow(advert, from, now, out);
        }
        // RFC 9568 6.4.3 (750): the other one learns who is master, and so does the network.
        self.note(Note::Rival(from, advert.priority), now, out);
        self.reassert(now, out);
    }

    /// Becomes backup of the one heard. The floating IPs stay for a moment: they have an owner
    /// at all times, and the other one announces them.
    pub(super) fn follow(
        &mut self,
        advert: &Advert<'_>,
        from: Ipv4Addr,
        now: Moment,
        out: &mut Vec<Output>,
    ) {
        self.learn(advert);
        self.heard = Some(Heard { address: from, priority: advert.priority, at: now });
        self.release_at = Some(now + LINGER);
        let down_at = now + self.down_interval();
        self.enter_backup(down_at, now, out);
    }

    /// Version 3: Active_Adver_Interval is the master's (RFC 9568 6.4.2).
    fn learn(&mut self, advert: &Advert<'_>) {
        if self.config.version == VrrpVersion::V3 {
            self.active_interval = advert.interval;
        }
    }

    /// Advert and announcement at once; a flood is answered at a calm pace.
    fn reassert(&mut self, now: Moment, out: &mut Vec<Output>) {
        let calm = self.reasserted.map_or(now, |at| at + CALM);
        if calm > now {
            if let Phase::Master { advert_at } = &mut self.phase {
                *advert_at = calm.min(*advert_at);
            }
            // The repeats go on; restarting them with every packet would mean none ever comes.
            if self.announcing.is_none_or(|(_, next)| next >= REPEATS.len()) {
                self.announcing = Some((now, 0));
            }
            return;
        }
        self.reasserted = Some(now);
        self.announce(now, out);
        let advert_at = self.advertise(now, out);
        self.phase = Phase::Master { advert_at };
    }
}
