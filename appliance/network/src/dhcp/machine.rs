//! Everything one interface does to have an address: asks for a lease, and helps itself to a
//! link-local address while nobody answers. Pure.

use crate::arp::Arp;
use crate::chance::Chance;
use crate::dhcp::client::{Client, Output};
use crate::dhcp::lease::Lease;
use crate::dhcp::link_local::LinkLocal;
use crate::dhcp::message::Message;
use model::Cidr;
use model::status::DhcpStatus;
use std::net::Ipv4Addr;
use std::time::Duration;

/// Without an answer for so long, an address without a server is looked for, which takes another
/// 4 to 7 s. The question for a lease is repeated all the time.
const ALONE: Duration = Duration::from_secs(6);
/// An address found on the interface at the start, for which no server vouches, is kept so long.
const FOUND: Duration = Duration::from_secs(60);

/// What an interface has now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) carrier: bool,
    pub(crate) lease: Option<Lease>,
    /// The link-local address, while there is no lease.
    pub(crate) local: Option<Cidr>,
}

impl Source {
    pub(crate) fn status(&self) -> DhcpStatus {
        match (&self.lease, self.local) {
            (Some(lease), _) => DhcpStatus::Leased { server: lease.server, seconds: lease.seconds },
            (None, Some(_)) => DhcpStatus::LinkLocal,
            (None, None) if self.carrier => DhcpStatus::Asking,
            (None, None) => DhcpStatus::NoCarrier,
        }
    }
}

/// What happens to it.
#[derive(Debug)]
pub(crate) enum Input<'a> {
    Carrier(bool),
    Message(&'a Message),
    Arp(&'a Arp),
    /// Time has passed.
    Time,
}

#[derive(Debug)]
pub(crate) struct Machine {
    client: Client,
    local: LinkLocal,
    carrier: bool,
}

impl Machine {
    /// `found` is the address and the router a process before this one left on the interface.
    pub(crate) fn new(
        mac: [u8; 6],
        found: Option<(Cidr, Option<Ipv4Addr>)>,
        hint: Option<Ipv4Addr>,
        now: Duration,
    ) -> Self {
        let held = found.map(|(address, router)| Lease {
            address,
            router,
            dns: Vec::new(),
            domain: None,
            ntp: Vec::new(),
            server: router.unwrap_or(Ipv4Addr::UNSPECIFIED),
            seconds: None,
            renew: Some(now),
            rebind: Some(now),
            over: Some(now + FOUND),
        });
        let client = Client::new(mac, held, hint, Chance::new());
        Self { client, local: LinkLocal::new(mac), carrier: false }
    }

    pub(crate) fn set_host_name(&mut self, name: Option<String>) {
        self.client.set_host_name(name);
    }

    pub(crate) fn source(&self) -> Source {
        let lease = self.client.lease().cloned();
        let local = if lease.is_some() { None } else { self.local.address() };
        Source { carrier: self.carrier, lease, local }
    }

    /// Addresses whose ARP packets are of interest.
    pub(crate) fn watched(&self) -> Vec<Ipv4Addr> {
        self.client.watched().into_iter().chain(self.local.watched()).collect()
    }

    /// When to come back with [`Input::Time`].
    pub(crate) fn due(&self) -> Option<Duration> {
        let idle = self.local.watched().is_none();
        let alone = self.client.asking_since().filter(|_| idle).map(|since| since + ALONE);
        [self.client.due(), self.local.due(), alone].into_iter().flatten().min()
    }

    pub(crate) fn handle(&mut self, input: &Input<'_>, now: Duration) -> Vec<Output> {
        let mut out = match input {
            Input::Carrier(on) => {
                self.carrier = *on;
                if !on {
                    self.local.stop();
                }
                self.client.carrier(*on, now)
            }
            Input::Message(message) => self.client.message(message, now),
            Input::Arp(arp) => {
                let mut out = self.client.arp(arp, now);
                out.extend(self.local.arp(arp, now).map(Output::Arp));
                out
            }
            Input::Time => Vec::new(),
        };
        out.extend(self.client.tick(now));
        match self.client.asking_since() {
            Some(since) if since + ALONE <= now => self.local.start(now),
            Some(_) => {}
            None => self.local.stop(),
        }
        out.extend(self.local.tick(now).map(Output::Arp));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::message::Kind;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

    /// Lets time pass up to `until`; everything that was sent.
    fn pass(machine: &mut Machine, now: &mut Duration, until: Duration) -> Vec<Output> {
        let mut out = Vec::new();
        for _ in 0..1000 {
            match machine.due() {
                Some(due) if due <= until => {
                    *now = due.max(*now);
                    out.extend(machine.handle(&Input::Time, *now));
                }
                _ => break,
            }
        }
        *now = until;
        out
    }

    #[test]
    fn a_cable_to_a_notebook_gets_an_address_and_a_server_replaces_it() {
        let mut now = Duration::from_secs(5);
        let mut machine = Machine::new(MAC, None, None, now);
        assert_eq!(machine.source().status(), DhcpStatus::NoCarrier);
        machine.handle(&Input::Carrier(true), now);
        assert_eq!(machine.source().status(), DhcpStatus::Asking);
        pass(&mut machine, &mut now, Duration::from_secs(5 + 9));
        assert_eq!(machine.source().local, None);
        pass(&mut machine, &mut now, Duration::from_secs(5 + 14));
        assert_eq!(machine.source().status(), DhcpStatus::LinkLocal);
        let later = now + Duration::from_secs(300);
        let asked = pass(&mut machine, &mut now, later);
        let discovers: Vec<&Message> = asked
            .iter()
            .filter_map(|o| if let Output::Broadcast(m) = o { Some(m) } else { None })
            .collect();
        assert!((4..=8).contains(&discovers.len()), "{}", discovers.len());
        let xid = discovers[0].xid;
        let reply = |kind| Message {
            yiaddr: Ipv4Addr::new(10, 0, 0, 9),
            server: Some(Ipv4Addr::new(10, 0, 0, 1)),
            lease: Some(600),
            ..Message::new(kind, xid, MAC)
        };
        machine.handle(&Input::Message(&reply(Kind::Offer)), now);
        machine.handle(&Input::Message(&reply(Kind::Ack)), now);
        assert_eq!(machine.source().status(), DhcpStatus::LinkLocal, "until the new one is free");
        let soon = now + Duration::from_secs(1);
        pass(&mut machine, &mut now, soon);
        let server = Ipv4Addr::new(10, 0, 0, 1);
        assert_eq!(machine.source().status(), DhcpStatus::Leased { server, seconds: Some(600) });
        assert_eq!(machine.watched(), [Ipv4Addr::new(10, 0, 0, 9)]);
        machine.handle(&Input::Carrier(false), now);
        assert!(machine.source().lease.is_some() && !machine.source().carrier);
    }

    #[test]
    fn an_address_left_by_a_killed_process_is_kept_while_it_is_asked_for() {
        let mut now = Duration::from_secs(50);
        let address: Cidr = "10.0.0.9/24".parse().unwrap();
        let router = Ipv4Addr::new(10, 0, 0, 1);
        let mut machine = Machine::new(MAC, Some((address, Some(router))), None, now);
        machine.handle(&Input::Carrier(true), now);
        assert_eq!(machine.source().lease.unwrap().address, address);
        let soon = now + Duration::from_secs(1);
        let out = pass(&mut machine, &mut now, soon);
        assert!(matches!(&out[0], Output::Broadcast(m) if m.requested == Some(address.addr())));
        let reply = Arp { reply: true, mac: [4; 6], sender: router, target: address.addr() };
        machine.handle(&Input::Arp(&reply), now);
        pass(&mut machine, &mut now, Duration::from_secs(50 + 59));
        assert!(machine.source().lease.is_some(), "its router is there");
        pass(&mut machine, &mut now, Duration::from_secs(50 + 61));
        assert!(machine.source().lease.is_none(), "nobody vouches for it");
    }
}
