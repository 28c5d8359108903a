//! An address for a cable without a server: 169.254.0.0/16 (RFC 3927). Pure.

use crate::arp::Arp;
use crate::chance::Chance;
use model::Cidr;
use std::net::Ipv4Addr;
use std::time::Duration;

/// RFC 3927 9.
const PROBE_WAIT: Duration = Duration::from_secs(1);
const PROBES: u32 = 3;
const PROBE_MIN: Duration = Duration::from_secs(1);
const PROBE_MAX: Duration = Duration::from_secs(2);
const ANNOUNCE_WAIT: Duration = Duration::from_secs(2);
const MAX_CONFLICTS: u32 = 10;
const RATE_LIMIT: Duration = Duration::from_secs(60);
const DEFEND: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Probing {
        sent: u32,
    },
    /// In use.
    Held {
        defended: Option<Duration>,
    },
}

/// One interface's search for an address of its own.
#[derive(Debug)]
pub(crate) struct LinkLocal {
    mac: [u8; 6],
    chance: Chance,
    state: State,
    candidate: Ipv4Addr,
    conflicts: u32,
    due: Option<Duration>,
}

impl LinkLocal {
    pub(crate) fn new(mac: [u8; 6]) -> Self {
        // RFC 3927 2.1: from the hardware address, so that it is the same one each time.
        let [a, b, c, d, e, f] = mac;
        let mut chance = Chance::seeded(u64::from_be_bytes([0, 0, a, b, c, d, e, f]) | 1 << 60);
        chance.number();
        let candidate = draw(&mut chance);
        Self { mac, chance, state: State::Idle, candidate, conflicts: 0, due: None }
    }

    /// The address to use now.
    pub(crate) fn address(&self) -> Option<Cidr> {
        let held = matches!(self.state, State::Held { .. });
        held.then(|| Cidr::new(self.candidate, 16).ok()).flatten()
    }

    pub(crate) const fn due(&self) -> Option<Duration> {
        self.due
    }

    /// The address whose ARP packets are of interest.
    pub(crate) fn watched(&self) -> Option<Ipv4Addr> {
        (self.state != State::Idle).then_some(self.candidate)
    }

    /// Starts looking for one; nothing happens when it has begun already.
    pub(crate) fn start(&mut self, now: Duration) {
        if self.state == State::Idle {
            self.probe(now);
        }
    }

    /// No longer needed (RFC 3927 1.9: not together with an address of the network).
    pub(crate) fn stop(&mut self) {
        self.state = State::Idle;
        self.due = None;
    }

    fn probe(&mut self, now: Duration) {
        self.state = State::Probing { sent: 0 };
        let wait = if self.conflicts >= MAX_CONFLICTS { RATE_LIMIT } else { Duration::ZERO };
        self.due = Some(now + wait + self.chance.between(Duration::ZERO, PROBE_WAIT));
    }

    pub(crate) fn tick(&mut self, now: Duration) -> Option<Arp> {
        if self.due.is_none_or(|due| now < due) {
            return None;
        }
        match self.state {
            State::Probing { sent } if sent < PROBES => {
                let sent = sent + 1;
                self.state = State::Probing { sent };
                let pause = if sent < PROBES {
                    self.chance.between(PROBE_MIN, PROBE_MAX)
                } else {
                    ANNOUNCE_WAIT
                };
                self.due = Some(now + pause);
                Some(Arp::probe(self.mac, self.candidate))
            }
            // The runner announces every address that comes into use.
            State::Probing { .. } => {
                self.state = State::Held { defended: None };
                self.due = None;
                None
            }
            State::Idle | State::Held { .. } => {
                self.due = None;
                None
            }
        }
    }

    pub(crate) fn arp(&mut self, arp: &Arp, now: Duration) -> Option<Arp> {
        if arp.mac == self.mac {
            return None;
        }
        let owner = arp.sender == self.candidate;
        let rival = !arp.reply && arp.sender.is_unspecified() && arp.target == self.candidate;
        match self.state {
            State::Probing { .. } if owner || rival => self.another(now),
            // RFC 3927 2.5(b).
            State::Held { defended } if owner => {
                if defended.is_some_and(|at| now.saturating_sub(at) < DEFEND) {
                    self.another(now);
                } else {
                    self.state = State::Held { defended: Some(now) };
                    return Some(Arp::announcement(self.mac, self.candidate));
                }
            }
            _ => {}
        }
        None
    }

    fn another(&mut self, now: Duration) {
        self.conflicts = self.conflicts.saturating_add(1);
        self.candidate = draw(&mut self.chance);
        self.probe(now);
    }
}

/// RFC 3927 2.1: 169.254.1.0 to 169.254.254.255.
fn draw(chance: &mut Chance) -> Ipv4Addr {
    let first = u32::from(Ipv4Addr::new(169, 254, 1, 0));
    Ipv4Addr::from(first + chance.below(254 * 256))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];
    const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 8];

    /// Lets time pass until nothing is due; the probes sent, and how long it took.
    fn settle(local: &mut LinkLocal, mut now: Duration) -> (Vec<Arp>, Duration) {
        let mut sent = Vec::new();
        for _ in 0..10 {
            let Some(due) = local.due() else { break };
            now = due;
            sent.extend(local.tick(now));
        }
        (sent, now)
    }

    #[test]
    fn the_same_address_each_time_after_three_probes() {
        let mut local = LinkLocal::new(MAC);
        local.start(Duration::ZERO);
        assert_eq!(local.address(), None);
        let (sent, now) = settle(&mut local, Duration::ZERO);
        let address = local.address().unwrap();
        assert_eq!(sent, vec![Arp::probe(MAC, address.addr()); 3]);
        assert!(now >= Duration::from_secs(4) && now <= Duration::from_secs(7), "{now:?}");
        let [169, 254, third, _] = address.addr().octets() else { panic!("{address}") };
        assert!((1..=254).contains(&third) && address.prefix() == 16);
        let mut again = LinkLocal::new(MAC);
        again.start(Duration::ZERO);
        settle(&mut again, Duration::ZERO);
        assert_eq!(again.address(), Some(address));
        assert_ne!(LinkLocal::new(OTHER).candidate, address.addr());
        local.stop();
        assert_eq!((local.address(), local.due()), (None, None));
    }

    #[test]
    fn another_one_when_it_is_taken_and_slowly_when_all_are() {
        let mut local = LinkLocal::new(MAC);
        local.start(Duration::ZERO);
        for n in 0..12 {
            let now = local.due().unwrap();
            assert!(n < MAX_CONFLICTS || now >= RATE_LIMIT, "{n}: {now:?}");
            let probe = local.tick(now).unwrap();
            let taken = Arp { reply: true, ..Arp::announcement(OTHER, probe.target) };
            assert_eq!(local.arp(&taken, now), None);
            assert_ne!(local.watched(), Some(probe.target));
        }
    }

    #[test]
    fn it_is_defended_once_and_then_given_up() {
        let mut local = LinkLocal::new(MAC);
        local.start(Duration::ZERO);
        let (_, now) = settle(&mut local, Duration::ZERO);
        let address = local.address().unwrap().addr();
        let rival = Arp::announcement(OTHER, address);
        assert_eq!(local.arp(&rival, now), Some(Arp::announcement(MAC, address)));
        let later = now + DEFEND;
        assert_eq!(local.arp(&rival, later), Some(Arp::announcement(MAC, address)));
        assert_eq!(local.arp(&rival, later + Duration::from_secs(1)), None);
        assert_eq!(local.address(), None);
        assert_ne!(local.watched(), Some(address));
    }
}
