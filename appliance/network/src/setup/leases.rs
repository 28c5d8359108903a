//! The DHCP server's side of RFC 2131 4.3, for one small network. Pure.

use crate::dhcp::message::{Kind, Message};
use model::Cidr;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

/// The hosts of the network that are lent.
const FIRST: u32 = 50;
const LAST: u32 = 150;
/// Long enough for a setup; a phone that comes back is given the same address anyway.
const LENT: u32 = 3600;
/// An offer nobody asks for is free again after this.
const OFFERED: Duration = Duration::from_secs(30);
/// An address that a phone found in use is not lent for this long.
const DECLINED: Duration = Duration::from_secs(600);

/// Where an answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Everybody,
    /// A host that has the address but does not answer to it yet: its hardware address is known.
    NewHost(Ipv4Addr),
    Host(Ipv4Addr),
}

/// Whose an address is, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Loan {
    /// None: nobody's, it is in use by a stranger.
    mac: Option<[u8; 6]>,
    until: Duration,
}

#[derive(Debug)]
pub(crate) struct Leases {
    own: Cidr,
    url: String,
    /// At most as many as there are addresses.
    loans: BTreeMap<Ipv4Addr, Loan>,
}

impl Leases {
    pub(crate) const fn new(own: Cidr, url: String) -> Self {
        Self { own, url, loans: BTreeMap::new() }
    }

    /// Addresses that are lent; empty in a network too small for them.
    fn pool(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        let network = u32::from(self.own.network());
        let all = (FIRST..=LAST).map(move |host| Ipv4Addr::from(network + host));
        let own = self.own;
        all.filter(move |a| own.contains(*a) && *a != own.addr() && *a != own.broadcast())
    }

    fn of(&self, mac: [u8; 6]) -> Option<Ipv4Addr> {
        self.loans.iter().find(|(_, loan)| loan.mac == Some(mac)).map(|(address, _)| *address)
    }

    /// Could this host have this address?
    fn free_for(&self, address: Ipv4Addr, mac: [u8; 6], now: Duration) -> bool {
        let loan = self.loans.get(&address);
        let free = loan.is_none_or(|loan| loan.mac == Some(mac) || loan.until <= now);
        free && self.pool().any(|a| a == address)
    }

    /// RFC 2131 4.3.1: the one it has or had, the one it wants, one nobody had, one whose time is
    /// over.
    fn choose(&self, message: &Message, now: Duration) -> Option<Ipv4Addr> {
        let fits = |a: &Ipv4Addr| self.free_for(*a, message.mac, now);
        self.of(message.mac)
            .filter(fits)
            .or(message.requested.filter(fits))
            .or_else(|| self.pool().find(|a| !self.loans.contains_key(a)))
            .or_else(|| self.pool().find(fits))
    }

    fn lend(&mut self, address: Ipv4Addr, mac: [u8; 6], until: Duration) {
        self.loans.retain(|_, loan| loan.mac != Some(mac));
        self.loans.insert(address, Loan { mac: Some(mac), until });
    }

    /// What to say to a message, if anything.
    pub(crate) fn answer(&mut self, message: &Message, now: Duration) -> Option<(Message, To)> {
        let mac = message.mac;
        // A relay would mean another network than the one we lend in.
        if !message.giaddr.is_unspecified() || mac[0] & 1 == 1 {
            return None;
        }
        let lent = now + Duration::from_secs(u64::from(LENT));
        match message.kind {
            Kind::Discover => {
                let address = self.choose(message, now)?;
                // Whoever has it already keeps its time.
                let held = self.loans.get(&address).filter(|l| l.mac == Some(mac)).map(|l| l.until);
                let until = held.filter(|until| *until > now).unwrap_or(now + OFFERED);
                self.lend(address, mac, until);
                Some(self.grant(Kind::Offer, message, address))
            }
            Kind::Request => {
                if message.server.is_some_and(|server| server != self.own.addr()) {
                    // It took another server's offer.
                    self.loans.retain(|_, loan| loan.mac != Some(mac));
                    return None;
                }
                let held = Some(message.ciaddr).filter(|a| !a.is_unspecified());
                let address = message.requested.or(held)?;
                if !self.free_for(address, mac, now) {
                    let nak = Message {
                        server: Some(self.own.addr()),
                        broadcast: true,
                        ..Message::new(Kind::Nak, message.xid, mac)
                    };
                    // RFC 2131 4.3.2: it may think it has an address that is of no use here.
                    return Some((nak, To::Everybody));
                }
                self.lend(address, mac, lent);
                Some(self.grant(Kind::Ack, message, address))
            }
            Kind::Decline => {
                let address = message.requested?;
                if self.of(mac) == Some(address) {
                    self.loans.insert(address, Loan { mac: None, until: now + DECLINED });
                }
                None
            }
            Kind::Release => {
                if let Some(loan) = self.loans.get_mut(&message.ciaddr) {
                    if loan.mac == Some(mac) {
                        loan.until = now;
                    }
                }
                None
            }
            Kind::Inform => {
                let told = !message.ciaddr.is_unspecified() && self.own.contains(message.ciaddr);
                let to = To::Host(message.ciaddr);
                told.then(|| (self.facts(Kind::Ack, message), to))
            }
            Kind::Offer | Kind::Ack | Kind::Nak => None,
        }
    }

    /// RFC 2131 4.1: to whom an answer goes.
    fn grant(&self, kind: Kind, message: &Message, address: Ipv4Addr) -> (Message, To) {
        let answer = Message {
            yiaddr: address,
            lease: Some(LENT),
            t1: Some(LENT / 2),
            t2: Some(LENT / 8 * 7),
            ..self.facts(kind, message)
        };
        let to = if !message.ciaddr.is_unspecified() {
            To::Host(message.ciaddr)
        } else if message.broadcast {
            To::Everybody
        } else {
            To::NewHost(address)
        };
        (answer, to)
    }

    fn facts(&self, kind: Kind, message: &Message) -> Message {
        let own = self.own.addr();
        Message {
            broadcast: message.broadcast,
            ciaddr: message.ciaddr,
            prefix: Some(self.own.prefix()),
            routers: vec![own],
            dns: vec![own],
            server: Some(own),
            portal: Some(self.url.clone()),
            ..Message::new(kind, message.xid, message.mac)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;

    const OWN: Ipv4Addr = Ipv4Addr::new(192, 168, 19, 36);
    const URL: &str = "http://192.168.19.36:1936/";

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn phone(number: u8) -> [u8; 6] {
        [2, 0, 0, 0, 1, number]
    }

    fn host(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, 19, last)
    }

    fn leases() -> Leases {
        Leases::new(Cidr::new(OWN, 24).unwrap(), URL.to_owned())
    }

    fn say(kind: Kind, number: u8) -> Message {
        Message::new(kind, 7, phone(number))
    }

    fn lend(leases: &mut Leases, number: u8, now: Duration) -> Option<Ipv4Addr> {
        let (offer, to) = leases.answer(&say(Kind::Discover, number), now)?;
        assert_eq!((offer.kind, to), (Kind::Offer, To::NewHost(offer.yiaddr)));
        let request = Message {
            requested: Some(offer.yiaddr),
            server: offer.server,
            ..say(Kind::Request, number)
        };
        let (ack, _) = leases.answer(&request, now)?;
        (ack.kind == Kind::Ack).then_some(ack.yiaddr)
    }

    #[test]
    fn a_phone_gets_an_address_and_the_page() {
        let mut leases = leases();
        let (offer, _) = leases.answer(&say(Kind::Discover, 1), at(1)).unwrap();
        assert_eq!((offer.yiaddr, offer.prefix), (host(50), Some(24)));
        assert_eq!((&offer.routers, &offer.dns), (&vec![OWN], &vec![OWN]));
        assert_eq!((offer.lease, offer.portal.as_deref()), (Some(LENT), Some(URL)));
        assert_eq!(lend(&mut leases, 1, at(1)), Some(host(50)));
        assert_eq!(lend(&mut leases, 2, at(1)), Some(host(51)));
        assert_eq!(lend(&mut leases, 1, at(9000)), Some(host(50)), "the same one each time");
        let wish = Message { requested: Some(host(99)), ..say(Kind::Discover, 3) };
        assert_eq!(leases.answer(&wish, at(2)).unwrap().0.yiaddr, host(99));
        let deaf = Message { broadcast: true, ..say(Kind::Discover, 4) };
        let (offer, to) = leases.answer(&deaf, at(2)).unwrap();
        assert_eq!((to, offer.broadcast), (To::Everybody, true));
    }

    #[test]
    fn a_lease_is_renewed_released_and_refused() {
        let mut leases = leases();
        assert_eq!(lend(&mut leases, 1, at(1)), Some(host(50)));
        let renew = Message { ciaddr: host(50), ..say(Kind::Request, 1) };
        let (ack, to) = leases.answer(&renew, at(1800)).unwrap();
        assert_eq!((ack.kind, to), (Kind::Ack, To::Host(host(50))));
        // An address from another network, one of somebody else, our own.
        for address in [Ipv4Addr::new(10, 0, 0, 7), host(50), OWN, host(255), host(20)] {
            let reboot = Message { requested: Some(address), ..say(Kind::Request, 2) };
            let (nak, to) = leases.answer(&reboot, at(1800)).unwrap();
            assert_eq!(
                (nak.kind, to, nak.yiaddr),
                (Kind::Nak, To::Everybody, Ipv4Addr::UNSPECIFIED)
            );
        }
        // After a restart of ours: a free one may be kept.
        let reboot = Message { requested: Some(host(70)), ..say(Kind::Request, 2) };
        assert_eq!(leases.answer(&reboot, at(1800)).unwrap().0.yiaddr, host(70));
        let other = Message { server: Some(host(1)), requested: Some(host(70)), ..reboot };
        assert_eq!(leases.answer(&other, at(1800)), None);
        assert_eq!(leases.of(phone(2)), None, "it went to another server");
        let release = Message { ciaddr: host(50), ..say(Kind::Release, 1) };
        assert_eq!(leases.answer(&release, at(1801)), None);
        assert!(leases.free_for(host(50), phone(9), at(1801)));
        let inform = Message { ciaddr: host(200), ..say(Kind::Inform, 5) };
        let (ack, to) = leases.answer(&inform, at(1801)).unwrap();
        assert_eq!((ack.lease, ack.yiaddr, to), (None, Ipv4Addr::UNSPECIFIED, To::Host(host(200))));
    }

    #[test]
    fn an_address_in_use_by_a_stranger_rests() {
        let mut leases = leases();
        assert_eq!(lend(&mut leases, 1, at(1)), Some(host(50)));
        let decline = Message { requested: Some(host(50)), ..say(Kind::Decline, 1) };
        leases.answer(&Message { mac: phone(2), ..decline.clone() }, at(2));
        assert_eq!(leases.of(phone(1)), Some(host(50)), "not theirs to decline");
        leases.answer(&decline, at(2));
        assert_eq!(lend(&mut leases, 1, at(3)), Some(host(51)));
        assert!(!leases.free_for(host(50), phone(3), at(600)));
        assert!(leases.free_for(host(50), phone(3), at(602)));
    }

    #[test]
    fn the_pool_is_small_and_comes_back() {
        let mut leases = leases();
        for number in 0..101 {
            assert!(lend(&mut leases, number, at(1)).is_some());
        }
        assert_eq!(lend(&mut leases, 200, at(2)), None);
        let back = at(1) + Duration::from_secs(LENT.into());
        assert!(lend(&mut leases, 200, back).is_some());
        assert_eq!(leases.loans.len(), 101);
        // Offers nobody takes are free again soon.
        let mut leases = self::leases();
        for number in 0..=255 {
            leases.answer(&say(Kind::Discover, number), at(1));
        }
        assert_eq!(leases.loans.len(), 101);
        assert!(lend(&mut leases, 250, at(1) + OFFERED).is_some());
        // In a network too small for the pool nothing is lent.
        let tiny = Cidr::new(Ipv4Addr::new(10, 0, 0, 1), 28).unwrap();
        assert_eq!(lend(&mut Leases::new(tiny, String::new()), 1, at(1)), None);
    }

    #[test]
    fn no_two_phones_have_one_address_whatever_they_say() {
        const KINDS: [Kind; 5] =
            [Kind::Discover, Kind::Request, Kind::Release, Kind::Decline, Kind::Inform];
        let mut leases = leases();
        let mut chance = Chance::seeded(6);
        let mut now = at(0);
        let mut held: BTreeMap<Ipv4Addr, ([u8; 6], Duration)> = BTreeMap::new();
        for _ in 0..50_000 {
            now += Duration::from_millis(u64::from(chance.below(20_000)));
            let octet = |c: &mut Chance, n| u8::try_from(c.below(n)).unwrap();
            let kind = KINDS[usize::from(octet(&mut chance, 5))];
            let message = Message {
                requested: (chance.below(2) == 0).then(|| host(48 + octet(&mut chance, 8))),
                ciaddr: if chance.below(3) == 0 { host(50) } else { Ipv4Addr::UNSPECIFIED },
                ..say(kind, octet(&mut chance, 6))
            };
            if kind == Kind::Release {
                held.retain(|a, (mac, _)| *a != message.ciaddr || *mac != message.mac);
            }
            if let Some((ack, _)) = leases.answer(&message, now) {
                if ack.kind == Kind::Ack && ack.lease.is_some() {
                    let until = now + at(LENT.into());
                    let before = held.insert(ack.yiaddr, (message.mac, until));
                    let fine = |(mac, until)| mac == message.mac || until <= now;
                    assert!(before.is_none_or(fine), "{} twice", ack.yiaddr);
                    held.retain(|a, (mac, _)| *a == ack.yiaddr || *mac != message.mac);
                }
            }
            if kind == Kind::Decline || kind == Kind::Discover {
                // It gave up, or may have lost, what it had.
                held.retain(|_, (mac, _)| *mac != message.mac);
            }
            assert!(leases.loans.len() <= 101);
        }
    }
}
