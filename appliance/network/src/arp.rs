//! ARP packets (RFC 826), without the Ethernet header.

use std::net::Ipv4Addr;

/// Length of a packet for Ethernet and IPv4.
pub(crate) const LENGTH: usize = 28;

const REQUEST: u8 = 1;
const REPLY: u8 = 2;
/// Ethernet, IPv4, lengths of their addresses.
const KIND: [u8; 6] = [0, 1, 0x08, 0, 6, 4];

/// What a packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arp {
    pub(crate) reply: bool,
    pub(crate) mac: [u8; 6],
    /// The sender's address; 0.0.0.0 in a probe (RFC 5227 1.1).
    pub(crate) sender: Ipv4Addr,
    pub(crate) target: Ipv4Addr,
}

impl Arp {
    /// "Does anybody use this address?" without claiming it.
    pub(crate) const fn probe(mac: [u8; 6], target: Ipv4Addr) -> Self {
        Self { reply: false, mac, sender: Ipv4Addr::UNSPECIFIED, target }
    }

    /// "This address is mine": a request for the own address (RFC 5227 2.3).
    pub(crate) const fn announcement(mac: [u8; 6], address: Ipv4Addr) -> Self {
        Self { reply: false, mac, sender: address, target: address }
    }

    pub(crate) fn bytes(self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        let (sender, target) = (self.sender.octets(), self.target.octets());
        let operation = [0, if self.reply { REPLY } else { REQUEST }];
        let parts: [&[u8]; 6] = [&KIND, &operation, &self.mac, &sender, &[0; 6], &target];
        for (byte, value) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
            *byte = *value;
        }
        bytes
    }

    /// None for anything but a request or a reply for IPv4 on Ethernet.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let packet: &[u8; LENGTH] = bytes.first_chunk()?;
        let address = |at: usize| {
            let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
            Some(Ipv4Addr::from(octets))
        };
        if !packet.starts_with(&KIND) {
            return None;
        }
        let reply = match packet.get(6..8)? {
            [0, REQUEST] => false,
            [0, REPLY] => true,
            _ => return None,
        };
        let mac = packet.get(8..14)?.try_into().ok()?;
        Some(Self { reply, mac, sender: address(14)?, target: address(24)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mac = [2, 0, 0, 0, 0, 7];
        let address = Ipv4Addr::new(10, 0, 0, 1);
        for arp in [
            Arp::probe(mac, address),
            Arp::announcement(mac, address),
            Arp { reply: true, ..Arp::announcement(mac, address) },
        ] {
            assert_eq!(Arp::parse(&arp.bytes()), Some(arp));
        }
        let bytes = Arp::probe(mac, address).bytes();
        assert_eq!(Arp::parse(&bytes[..27]), None);
        for at in 0..8 {
            let mut other = bytes;
            other[at] ^= 0x40;
            assert_eq!(Arp::parse(&other), None, "byte {at}");
        }
    }
}
