//! What a server granted.

use crate::dhcp::message::{Message, is_host};
use model::Cidr;
use std::net::Ipv4Addr;
use std::time::Duration;

/// RFC 2131 3.3: this many seconds are for ever.
const FOR_EVER: u32 = u32::MAX;
/// A lease shorter than this would be renewed without a pause.
const SHORTEST: u32 = 10;

/// An address on loan. Times are since the board started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) address: Cidr,
    pub(crate) router: Option<Ipv4Addr>,
    pub(crate) dns: Vec<Ipv4Addr>,
    pub(crate) domain: Option<String>,
    pub(crate) ntp: Vec<Ipv4Addr>,
    /// Who lent it.
    pub(crate) server: Ipv4Addr,
    /// How long it was lent for; None: for ever.
    pub(crate) seconds: Option<u32>,
    /// When to ask for more time, when to ask anybody, and when it is over.
    pub(crate) renew: Option<Duration>,
    pub(crate) rebind: Option<Duration>,
    pub(crate) over: Option<Duration>,
}

impl Lease {
    /// From an acknowledgement of what was asked for at `asked`: the time counts from then, not
    /// from the answer (RFC 2131 4.4.1). None when it cannot be used.
    pub(crate) fn of(ack: &Message, asked: Duration) -> Option<Self> {
        let server = ack.server.filter(|a| is_host(*a))?;
        let granted = ack.lease?;
        let prefix = ack.prefix.unwrap_or_else(|| class(ack.yiaddr));
        let address = Cidr::new(ack.yiaddr, prefix).ok().filter(usable)?;
        let at = |seconds: u32| asked + Duration::from_secs(u64::from(seconds));
        let (seconds, renew, rebind, over) = if granted == FOR_EVER {
            (None, None, None, None)
        } else {
            let granted = granted.max(SHORTEST);
            // RFC 2131 4.4.5: half and seven eighths, unless the server says otherwise.
            let (half, most) = (granted / 2, granted / 8 * 7);
            let given = ack.t1.zip(ack.t2).filter(|(t1, t2)| 0 < *t1 && t1 < t2 && *t2 < granted);
            let (t1, t2) = given.unwrap_or((half, most.max(half)));
            (Some(granted), Some(at(t1)), Some(at(t2)), Some(at(granted)))
        };
        // Several routers are in order of preference (RFC 2132 3.5).
        let reached = |r: &&Ipv4Addr| address.contains(**r) && **r != address.addr();
        Some(Self {
            address,
            router: ack.routers.iter().find(reached).copied(),
            dns: ack.dns.clone(),
            domain: ack.domain.clone(),
            ntp: ack.ntp.clone(),
            server,
            seconds,
            renew,
            rebind,
            over,
        })
    }
}

/// A host's address, and not the one of its network or everybody in it.
fn usable(address: &Cidr) -> bool {
    let host = address.addr();
    let whole = address.prefix() >= 31;
    is_host(host) && (whole || (host != address.network() && host != address.broadcast()))
}

/// The network of an address by its class, for servers that name no mask (RFC 950 2.1).
const fn class(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..=127 => 8,
        128..=191 => 16,
        _ => 24,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::message::Kind;

    fn ack() -> Message {
        Message {
            yiaddr: Ipv4Addr::new(192, 168, 1, 77),
            prefix: Some(24),
            server: Some(Ipv4Addr::new(192, 168, 1, 1)),
            lease: Some(3600),
            ..Message::new(Kind::Ack, 1, [2; 6])
        }
    }

    #[test]
    fn times_count_from_the_question_and_are_in_order() {
        let lease = Lease::of(&ack(), Duration::from_secs(100)).unwrap();
        let secs = |d: Option<Duration>| d.unwrap().as_secs();
        assert_eq!((secs(lease.renew), secs(lease.rebind)), (1900, 3250));
        assert_eq!(secs(lease.over), 3700);
        for (t1, t2, want) in [
            (10, 20, (10, 20)),
            (20, 10, (1800, 3150)),
            (10, 4000, (1800, 3150)),
            (0, 10, (1800, 3150)),
        ] {
            let said = Message { t1: Some(t1), t2: Some(t2), ..ack() };
            let lease = Lease::of(&said, Duration::ZERO).unwrap();
            assert_eq!((secs(lease.renew), secs(lease.rebind)), want, "{t1} {t2}");
        }
        let short = Lease::of(&Message { lease: Some(0), ..ack() }, Duration::ZERO).unwrap();
        assert_eq!((secs(short.renew), secs(short.rebind), secs(short.over)), (5, 7, 10));
        let ever = Lease::of(&Message { lease: Some(FOR_EVER), ..ack() }, Duration::ZERO).unwrap();
        assert_eq!((ever.seconds, ever.renew, ever.over), (None, None, None));
    }

    #[test]
    fn what_cannot_be_an_address_is_refused() {
        for last in [0, 255] {
            let bad = Message { yiaddr: Ipv4Addr::new(192, 168, 1, last), ..ack() };
            assert_eq!(Lease::of(&bad, Duration::ZERO), None);
        }
        for bad in [Ipv4Addr::UNSPECIFIED, Ipv4Addr::LOCALHOST, Ipv4Addr::new(224, 0, 0, 5)] {
            assert_eq!(Lease::of(&Message { yiaddr: bad, ..ack() }, Duration::ZERO), None);
        }
        assert_eq!(Lease::of(&Message { server: None, ..ack() }, Duration::ZERO), None);
        assert_eq!(Lease::of(&Message { lease: None, ..ack() }, Duration::ZERO), None);
        let without = Lease::of(&Message { prefix: None, ..ack() }, Duration::ZERO).unwrap();
        assert_eq!(without.address.prefix(), 24);
        let routers = [Ipv4Addr::new(10, 0, 0, 1), ack().yiaddr, Ipv4Addr::new(192, 168, 1, 2)];
        let many = Lease::of(&Message { routers: routers.to_vec(), ..ack() }, Duration::ZERO);
        assert_eq!(many.unwrap().router, Some(routers[2]));
    }
}
