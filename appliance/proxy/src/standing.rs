//! What a server may take at this moment: what checks, agent, name service and operator say, as
//! the threads that carry traffic read it.

use model::{ServerState, Weight};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use tokio::sync::Notify;

/// Nothing is said about this number.
const UNSAID: u32 = u32::MAX;
/// HAProxy's largest weight.
const MAX_WEIGHT: u32 = 256;

/// What may be sent to a server, as its health goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Anything.
    Up,
    /// What belongs to it already (HAProxy NOLB).
    Stopping,
    /// Nothing.
    Down,
    /// Anything; nobody looks.
    Unchecked,
}

/// What the agent asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) state: ServerState,
    /// Percent of the configured weight.
    pub(crate) weight: Option<u32>,
    pub(crate) maxconn: Option<u32>,
}

/// See the file.
#[derive(Debug)]
pub(crate) struct Standing {
    verdict: AtomicU8,
    agent_state: AtomicU8,
    agent_weight: AtomicU32,
    agent_maxconn: AtomicU32,
    /// Address and port in one number; the address is 0 while a name has led nowhere.
    address: AtomicU64,
    /// Grows when the requests under way are to be broken off.
    ended: AtomicU64,
    /// Bad answers in a row.
    bad: AtomicU32,
    /// There were too many of them.
    too_bad: AtomicBool,
    /// Wakes the checks.
    pub(crate) hurry: Notify,
}

impl Standing {
    pub(crate) fn new(address: SocketAddrV4, checked: bool) -> Self {
        let verdict = if checked { Verdict::Up } else { Verdict::Unchecked };
        Self {
            verdict: AtomicU8::new(number(verdict)),
            agent_state: AtomicU8::new(0),
            agent_weight: AtomicU32::new(UNSAID),
            agent_maxconn: AtomicU32::new(UNSAID),
            address: AtomicU64::new(packed(address)),
            ended: AtomicU64::new(0),
            bad: AtomicU32::new(0),
            too_bad: AtomicBool::new(false),
            hurry: Notify::new(),
        }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        match self.verdict.load(Relaxed) {
            0 => Verdict::Up,
            1 => Verdict::Stopping,
            2 => Verdict::Down,
            _ => Verdict::Unchecked,
        }
    }

    pub(crate) fn set_verdict(&self, verdict: Verdict) {
        self.verdict.store(number(verdict), Relaxed);
    }

    /// What the agent asks for, or asked for last.
    pub(crate) fn wish(&self) -> Wish {
        let said = |n: u32| (n != UNSAID).then_some(n);
        Wish {
            state: match self.agent_state.load(Relaxed) {
                1 => ServerState::Drain,
                2 => ServerState::Maint,
                _ => ServerState::Ready,
            },
            weight: said(self.agent_weight.load(Relaxed)),
            maxconn: said(self.agent_maxconn.load(Relaxed)),
        }
    }

    pub(crate) fn set_wish(&self, wish: Wish) {
        let state = match wish.state {
            ServerState::Ready => 0,
            ServerState::Drain => 1,
            ServerState::Maint => 2,
        };
        self.agent_state.store(state, Relaxed);
        self.agent_weight.store(wish.weight.unwrap_or(UNSAID), Relaxed);
        self.agent_maxconn.store(wish.maxconn.unwrap_or(UNSAID), Relaxed);
    }

    /// A server of this weight counts for so much.
    pub(crate) fn weight(&self, configured: Weight) -> u32 {
        let weight = u32::from(configured.get());
        match self.agent_weight.load(Relaxed) {
            UNSAID => weight,
            percent => (weight.saturating_mul(percent) / 100).min(MAX_WEIGHT),
        }
    }

    /// The limit of a server with this one; 0 for none.
    pub(crate) fn maxconn(&self, configured: u32) -> u32 {
        match self.agent_maxconn.load(Relaxed) {
            UNSAID => configured,
            said => said,
        }
    }

    /// Where it listens; None while its name has led nowhere.
    pub(crate) fn address(&self) -> Option<SocketAddrV4> {
        let at = unpacked(self.address.load(Relaxed));
        (!at.ip().is_unspecified()).then_some(at)
    }

    pub(crate) fn set_address(&self, address: SocketAddrV4) {
        self.address.store(packed(address), Relaxed);
    }

    /// A number that changes when the requests under way are to be broken off.
    pub(crate) fn ended(&self) -> u64 {
        self.ended.load(Relaxed)
    }

    /// Has the requests under way broken off, once they are woken.
    pub(crate) fn end_requests(&self) {
        self.ended.fetch_add(1, Relaxed);
    }

    /// Takes in whether an answer to a visitor was good (HAProxy `observe layer7`).
    pub(crate) fn observe(&self, good: bool, limit: u32) {
        if good {
            if self.bad.load(Relaxed) != 0 {
                self.bad.store(0, Relaxed);
            }
        } else if self.bad.fetch_add(1, Relaxed).saturating_add(1) >= limit {
            self.bad.store(0, Relaxed);
            self.too_bad.store(true, Relaxed);
            self.hurry.notify_one();
        }
    }

    /// Were there too many bad answers since this was asked last?
    pub(crate) fn was_too_bad(&self) -> bool {
        self.too_bad.swap(false, Relaxed)
    }

    /// A passed check forgives.
    pub(crate) fn forgive(&self) {
        self.bad.store(0, Relaxed);
    }
}

const fn number(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Up => 0,
        Verdict::Stopping => 1,
        Verdict::Down => 2,
        Verdict::Unchecked => 3,
    }
}

fn packed(address: SocketAddrV4) -> u64 {
    (u64::from(u32::from(*address.ip())) << 16) | u64::from(address.port())
}

fn unpacked(packed: u64) -> SocketAddrV4 {
    let ip = u32::try_from(packed >> 16).unwrap_or(0);
    let port = u16::try_from(packed & 0xffff).unwrap_or(0);
    SocketAddrV4::new(Ipv4Addr::from(ip), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(address: &str) -> Standing {
        Standing::new(address.parse().unwrap(), true)
    }

    #[test]
    fn an_agents_numbers_replace_the_configured_ones() {
        let s = standing("192.0.2.1:80");
        assert_eq!((s.weight(Weight::constant(100)), s.maxconn(7)), (100, 7));
        s.set_wish(Wish { weight: Some(75), maxconn: Some(30), ..Wish::default() });
        assert_eq!((s.weight(Weight::constant(100)), s.maxconn(7)), (75, 30));
        s.set_wish(Wish { weight: Some(300), ..Wish::default() });
        assert_eq!((s.weight(Weight::constant(200)), s.maxconn(7)), (256, 7));
        assert_eq!(s.wish().weight, Some(300));
    }

    #[test]
    fn an_address_may_be_unknown_at_first() {
        let s = standing("0.0.0.0:8080");
        assert_eq!(s.address(), None);
        let found = "203.0.113.250:65535".parse().unwrap();
        s.set_address(found);
        assert_eq!(s.address(), Some(found));
    }

    #[test]
    fn only_errors_in_a_row_count() {
        let s = standing("192.0.2.1:80");
        for _ in 0..5 {
            s.observe(false, 3);
            s.observe(false, 3);
            s.observe(true, 3);
        }
        assert!(!s.was_too_bad());
        (0..3).for_each(|_| s.observe(false, 3));
        assert!(s.was_too_bad() && !s.was_too_bad());
    }
}
