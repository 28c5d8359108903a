//! What one interface hears of the addresses it uses or wants to use, and of routers. Pure.

use crate::arp::Arp;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

/// RFC 5227 1.1 has PROBE_NUM 3; the pauses are shorter (see the module).
const PROBES: u32 = 3;
const PROBE_PAUSE: Duration = Duration::from_millis(250);
/// After the last probe.
const PROBE_WAIT: Duration = Duration::from_millis(500);
/// An address that somebody else has is asked for again so often, to notice when it is free.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Nothing was heard of the other one for so long: it is gone.
const GONE: Duration = Duration::from_secs(25);
/// RFC 5227 1.1, DEFEND_INTERVAL.
const DEFEND: Duration = Duration::from_secs(10);
/// A router is asked so often before it counts as silent, and again from time to time.
const QUESTIONS: u32 = 4;
const QUESTION_PAUSE: Duration = Duration::from_millis(750);
const QUESTION_AGAIN: Duration = Duration::from_secs(5);

/// Whether an address may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Being asked for.
    Asking,
    /// Nobody else has it.
    Free,
    /// Somebody else has, with this hardware address.
    Taken([u8; 6]),
}

/// Whether a router is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Asking,
    There,
    Silent,
}

/// What is to be watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Targets {
    /// Addresses of this interface, in use or wanted; true: in use.
    pub(crate) addresses: BTreeMap<Ipv4Addr, bool>,
    /// Routers, each with the address to ask from; unspecified where there is none yet.
    pub(crate) routers: BTreeMap<Ipv4Addr, Ipv4Addr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Probe {
    finding: Finding,
    sent: u32,
    due: Option<Duration>,
    /// When the other one was last heard of.
    heard: Duration,
    defended: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Question {
    presence: Presence,
    sent: u32,
    due: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Watch {
    mac: [u8; 6],
    /// The hardware addresses of this node's interfaces: another of them may be on the same wire.
    own: BTreeSet<[u8; 6]>,
    carrier: bool,
    targets: Targets,
    probes: BTreeMap<Ipv4Addr, Probe>,
    routers: BTreeMap<Ipv4Addr, Question>,
}

impl Watch {
    pub(crate) fn new(mac: [u8; 6]) -> Self {
        Self { mac, ..Self::default() }
    }

    pub(crate) fn set_own(&mut self, own: BTreeSet<[u8; 6]>) {
        self.own = own;
    }

    /// Takes over what is to be watched.
    pub(crate) fn follow(&mut self, targets: Targets, now: Duration) {
        self.probes.retain(|address, _| targets.addresses.contains_key(address));
        self.routers.retain(|router, _| targets.routers.contains_key(router));
        for address in targets.addresses.keys() {
            self.probes.entry(*address).or_insert_with(|| Probe::new(now));
        }
        for router in targets.routers.keys() {
            self.routers.entry(*router).or_insert(Question {
                presence: Presence::Asking,
                sent: 0,
                due: now,
            });
        }
        self.targets = targets;
    }

    /// With a carrier everything is asked for: the cable may lead elsewhere now.
    pub(crate) fn carrier(&mut self, on: bool, now: Duration) {
        if on && !self.carrier {
            for probe in self.probes.values_mut() {
                (probe.sent, probe.due) = (0, Some(now));
                if let Finding::Taken(_) = probe.finding {
                    probe.heard = now;
                }
            }
            for question in self.routers.values_mut() {
                *question = Question { presence: Presence::Asking, sent: 0, due: now };
            }
        }
        self.carrier = on;
    }

    pub(crate) fn findings(&self) -> BTreeMap<Ipv4Addr, Finding> {
        self.probes.iter().map(|(address, probe)| (*address, probe.finding)).collect()
    }

    pub(crate) fn presences(&self) -> BTreeMap<Ipv4Addr, Presence> {
        self.routers.iter().map(|(router, question)| (*router, question.presence)).collect()
    }

    /// Addresses whose ARP packets are of interest.
    pub(crate) fn watched(&self) -> Vec<Ipv4Addr> {
        self.probes.keys().chain(self.routers.keys()).copied().collect()
    }

    /// When to come back with [`Self::tick`].
    pub(crate) fn due(&self) -> Option<Duration> {
        if !self.carrier {
            return None;
        }
        let probes = self.probes.values().filter_map(|p| p.due);
        probes.chain(self.routers.values().map(|q| q.due)).min()
    }

    /// Time has passed; what to send.
    pub(crate) fn tick(&mut self, now: Duration) -> Vec<Arp> {
        if !self.carrier {
            return Vec::new();
        }
        let mut out = Vec::new();
        for (address, probe) in &mut self.probes {
            if probe.due.is_some_and(|due| due <= now) && probe.step(now) {
                out.push(Arp::probe(self.mac, *address));
            }
        }
        for (router, question) in &mut self.routers {
            if question.due > now {
                continue;
            }
            if question.presence == Presence::Asking && question.sent >= QUESTIONS {
                question.presence = Presence::Silent;
            }
            let patience = match question.presence {
                Presence::Asking => QUESTION_PAUSE,
                Presence::There | Presence::Silent => QUESTION_AGAIN,
            };
            question.sent = question.sent.saturating_add(1);
            question.due = now + patience;
            let from = self.targets.routers.get(router).copied();
            let sender = from.unwrap_or(Ipv4Addr::UNSPECIFIED);
            out.push(Arp { reply: false, mac: self.mac, sender, target: *router });
        }
        out
    }

    /// A packet was heard; what to say to it.
    pub(crate) fn arp(&mut self, arp: &Arp, now: Duration) -> Option<Arp> {
        if arp.mac == self.mac || self.own.contains(&arp.mac) {
            return None;
        }
        if let Some(question) = self.routers.get_mut(&arp.sender) {
            question.presence = Presence::There;
        }
        if let Some(probe) = self.probes.get_mut(&arp.sender) {
            probe.finding = Finding::Taken(arp.mac);
            probe.heard = now;
            if probe.due.is_none() {
                (probe.sent, probe.due) = (PROBES, Some(now + LOOK_AGAIN));
            }
            // RFC 5227 2.4(c): the operator has given this address to this board, so that it is
            // not given up; said once in a while, for who can give way.
            let used = self.targets.addresses.get(&arp.sender).copied().unwrap_or(false);
            let quiet = probe.defended.is_none_or(|at| now.saturating_sub(at) >= DEFEND);
            if used && quiet {
                probe.defended = Some(now);
                return Some(Arp::announcement(self.mac, arp.sender));
            }
            return None;
        }
        // RFC 5227 2.1.1: two that want the same address at the same time.
        let rival = !arp.reply && arp.sender.is_unspecified();
        if let Some(probe) = self.probes.get_mut(&arp.target).filter(|_| rival) {
            if probe.finding == Finding::Asking {
                probe.finding = Finding::Taken(arp.mac);
                probe.heard = now;
                (probe.sent, probe.due) = (PROBES, Some(now + LOOK_AGAIN));
            }
        }
        None
    }
}

impl Probe {
    const fn new(now: Duration) -> Self {
        Self {
            finding: Finding::Asking,
            sent: 0,
            due: Some(now),
            heard: Duration::ZERO,
            defended: None,
        }
    }

    /// True when a probe is to be sent.
    fn step(&mut self, now: Duration) -> bool {
        if let Finding::Taken(_) = self.finding {
            if now.saturating_sub(self.heard) >= GONE {
                self.finding = Finding::Free;
                self.due = None;
                return false;
            }
        }
        if self.sent < PROBES {
            self.sent += 1;
            let last = self.sent == PROBES;
            self.due = Some(now + if last { PROBE_WAIT } else { PROBE_PAUSE });
            return true;
        }
        match self.finding {
            Finding::Taken(_) => {
                self.due = Some(now + LOOK_AGAIN);
                true
            }
            Finding::Asking | Finding::Free => {
                self.finding = Finding::Free;
                self.due = None;
                false
            }
        }
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
