//! How fast passwords may be guessed. Pure: time is an argument.
//!
//! Each address has five attempts a minute; one that goes on failing waits twice as long after each
//! failure, at most a minute. An attempt counts as failed until it is known to be good, so that many
//! at once do not get around it. Nobody is ever locked out for good: an attacker could lock the owner out that way. All
//! addresses together share a second limit, from which an address that has signed in before is
//! exempt, so that a flood from many addresses does not keep the owner waiting either.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Failures of one address that cost no waiting, and how long each of them is held against it:
/// five a minute.
const FREE: u32 = 4;
const REFILL: Duration = Duration::from_secs(12);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(60);
/// An address's failures are forgotten after so long without another.
const FORGOTTEN: Duration = Duration::from_secs(15 * 60);
/// Attempts of all addresses together in [`WINDOW`].
const GLOBAL: usize = 30;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses remembered at once, and addresses remembered as good.
const REMEMBERED: usize = 1024;
const GOOD: usize = 64;

#[derive(Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

/// Counts attempts to sign in.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    failures: BTreeMap<IpAddr, Failures>,
    attempts: std::collections::VecDeque<Instant>,
    good: std::collections::VecDeque<IpAddr>,
}

/// What is counted as one source: an IPv4 address, or the /64 one IPv6 subscriber has.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            IpAddr::V6((u128::from(v6) & 0xffff_ffff_ffff_ffff_0000_0000_0000_0000).into())
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Throttle {
    /// Takes note of an attempt that is about to be made, or says how long to wait first. It counts
    /// as failed until [`Self::succeeded`] or [`Self::withdrawn`] says otherwise.
    pub(crate) fn attempt(&mut self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        let from = source(from);
        self.failures.retain(|_, f| now.saturating_duration_since(f.last) < FORGOTTEN);
        if let Some(failures) = self.failures.get(&from) {
            let until = failures.last + pause(failures.count);
            if until > now {
                return Err(until - now);
            }
        }
        while self.attempts.front().is_some_and(|a| now.saturating_duration_since(*a) >= WINDOW) {
            self.attempts.pop_front();
        }
        if !self.good.contains(&from) {
            match self.attempts.front() {
                Some(oldest) if self.attempts.len() >= GLOBAL => {
                    return Err((*oldest + WINDOW).saturating_duration_since(now));
                }
                _ => self.attempts.push_back(now),
            }
        }
        self.count(from, now);
        Ok(())
    }

    fn count(&mut self, from: IpAddr, now: Instant) {
        if self.failures.len() >= REMEMBERED && !self.failures.contains_key(&from) {
            let oldest = self.failures.iter().min_by_key(|(_, f)| f.last).map(|(a, _)| *a);
            oldest.and_then(|a| self.failures.remove(&a));
        }
        let entry = self.failures.entry(from).or_insert(Failures { count: 0, last: now });
        entry.count = entry.count.saturating_add(1);
        entry.last = now;
    }

    /// The attempt was never looked at.
    pub(crate) fn withdrawn(&mut self, from: IpAddr) {
        if let Some(failures) = self.failures.get_mut(&source(from)) {
            failures.count = failures.count.saturating_sub(1);
        }
    }

    /// The attempt was good.
    pub(crate) fn succeeded(&mut self, from: IpAddr) {
        let from = source(from);
        self.failures.remove(&from);
        self.good.retain(|a| *a != from);
        if self.good.len() >= GOOD {
            self.good.pop_front();
        }
        self.good.push_back(from);
    }
}

fn pause(failures: u32) -> Duration {
    if failures <= FREE {
        return Duration::ZERO;
    }
    let doubled = 1_u64.checked_shl(failures - FREE).unwrap_or(u64::MAX);
    Duration::from_secs(doubled).clamp(REFILL, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn waits_grow_to_a_minute_and_never_beyond() {
        let (mut t, mut now) = (Throttle::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..14 {
            if let Err(wait) = t.attempt(ip(1), now) {
                waits.push(wait.as_secs());
                now += wait;
                assert_eq!(t.attempt(ip(1), now), Ok(()));
            }
        }
        assert_eq!(waits, [12, 12, 12, 16, 32, 60, 60, 60, 60]);
        assert_eq!(t.attempt(ip(2), now), Ok(()), "another address does not wait");
        assert_eq!(t.attempt(ip(1), now + FORGOTTEN), Ok(()));
    }

    #[test]
    fn many_at_once_are_five_as_well() {
        let (mut t, now) = (Throttle::default(), Instant::now());
        assert_eq!((0..200).filter(|_| t.attempt(ip(1), now).is_ok()).count(), 5);
        t.withdrawn(ip(1));
        assert_eq!((0..200).filter(|_| t.attempt(ip(1), now).is_ok()).count(), 1, "given back");
        t.succeeded(ip(1));
        assert_eq!((0..200).filter(|_| t.attempt(ip(1), now).is_ok()).count(), 5);
    }

    #[test]
    fn a_flood_from_everywhere_is_slowed_but_not_for_the_owner() {
        let (mut t, now) = (Throttle::default(), Instant::now());
        assert_eq!(t.attempt(ip(250), now), Ok(()));
        t.succeeded(ip(250));
        let let_in = (0..200).filter(|n| t.attempt(ip(*n), now).is_ok()).count();
        assert_eq!(let_in, GLOBAL - 1);
        assert!(t.attempt(ip(201), now).is_err());
        assert_eq!(t.attempt(ip(250), now), Ok(()));
        assert_eq!(t.attempt(ip(201), now + WINDOW), Ok(()));
    }

    #[test]
    fn memory_is_bounded() {
        let (mut t, now) = (Throttle::default(), Instant::now());
        for n in 0..5000_u32 {
            t.count(IpAddr::from(n.to_be_bytes()), now);
            t.succeeded(IpAddr::from((n + 9000).to_be_bytes()));
        }
        assert_eq!((t.failures.len(), t.good.len()), (REMEMBERED, GOOD));
        assert_eq!(source("2001:db8::1".parse().unwrap()), source("2001:db8::2".parse().unwrap()));
    }
}
