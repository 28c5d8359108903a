//! A UDP datagram in its IPv4 packet, for interfaces that have no address yet.
//!
//! ```text
//! |4|len|  tos  |     length    |  id  |flags  fragment| ttl |17| checksum |   RFC 791 3.1
//! |            source           |          destination        |
//! |  source port |  destination port |  length  |  checksum   |              RFC 768
//! ```

use std::net::Ipv4Addr;

const IP: usize = 20;
const UDP: usize = 8;
const PROTOCOL: u8 = 17;

/// Where a datagram comes from and goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) source: (Ipv4Addr, u16),
    pub(crate) destination: (Ipv4Addr, u16),
}

/// The packet; None when the payload is too long for one.
pub(crate) fn packet(ends: Ends, payload: &[u8]) -> Option<Vec<u8>> {
    let udp_length = u16::try_from(UDP + payload.len()).ok()?;
    let length = u16::try_from(IP + UDP + payload.len()).ok()?;
    let (source, destination) = (ends.source.0.octets(), ends.destination.0.octets());

    let mut head = Vec::with_capacity(usize::from(length));
    head.extend([0x45, 0]);
    head.extend(length.to_be_bytes());
    head.extend([0, 0, 0x40, 0, 64, PROTOCOL, 0, 0]); // do not fragment
    head.extend(source);
    head.extend(destination);
    let sum = checksum(&[&head]).to_be_bytes();
    for (byte, value) in head.iter_mut().skip(10).zip(sum) {
        *byte = value;
    }

    let mut udp = Vec::with_capacity(UDP);
    udp.extend(ends.source.1.to_be_bytes());
    udp.extend(ends.destination.1.to_be_bytes());
    udp.extend(udp_length.to_be_bytes());
    let length_again = udp_length.to_be_bytes();
    let sum =
        checksum(&[&source, &destination, &[0, PROTOCOL], &length_again, &udp, &[0, 0], payload]);
    // RFC 768: zero would mean that there is none.
    udp.extend(if sum == 0 { [0xff, 0xff] } else { sum.to_be_bytes() });

    head.extend(udp);
    head.extend(payload);
    Some(head)
}

/// Ends and payload of a packet; None for anything else. The checksums are not looked at: what a
/// neighbour on the same machine or a network card with offload sends has none when a packet
/// socket sees it, and the network card has checked those that came over a wire.
pub(crate) fn parse(packet: &[u8]) -> Option<(Ends, &[u8])> {
    let first = *packet.first()?;
    let head = usize::from(first & 0x0f) * 4;
    if first >> 4 != 4 || head < IP || *packet.get(9)? != PROTOCOL {
        return None;
    }
    let word = |at: usize| Some(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?));
    let address = |at: usize| {
        let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets))
    };
    if word(6)? & 0x3fff != 0 {
        return None; // a fragment
    }
    let ends =
        Ends { source: (address(12)?, word(head)?), destination: (address(16)?, word(head + 2)?) };
    let length = usize::from(word(head + 4)?);
    let payload = packet.get(head + UDP..head + length)?;
    Some((ends, payload))
}

/// RFC 1071. Only the last part may have an odd length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u32 = 0;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        let high = pair.first().copied().unwrap_or(0);
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([high, low]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;

    fn ends() -> Ends {
        Ends { source: (Ipv4Addr::UNSPECIFIED, 68), destination: (Ipv4Addr::BROADCAST, 67) }
    }

    #[test]
    fn what_is_written_is_read_and_sums_up() {
        for payload in [&b""[..], b"odd", b"even", &[0; 1400]] {
            let packet = packet(ends(), payload).unwrap();
            assert_eq!(parse(&packet), Some((ends(), payload)));
            assert_eq!(checksum(&[&packet[..IP]]), 0, "a header with its checksum sums to zero");
            let udp = &packet[IP..];
            let pseudo = [&packet[12..20], &[0, PROTOCOL], &udp[4..6]].concat();
            assert_eq!(checksum(&[&pseudo, udp]), 0);
        }
        assert!(packet(ends(), &[0; 65_536]).is_none());
    }

    #[test]
    fn damaged_packets_are_no_panic() {
        let whole = packet(ends(), b"payload").unwrap();
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), None);
        }
        let mut chance = Chance::seeded(1);
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..3 {
                let at = usize::try_from(chance.below(35)).unwrap();
                bytes[at] = chance.number().to_be_bytes()[0];
            }
            if let Some((_, payload)) = parse(&bytes) {
                assert!(payload.len() <= 7);
            }
        }
    }
}
