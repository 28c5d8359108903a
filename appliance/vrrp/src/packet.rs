//! VRRP version 2 and 3 on the wire, for IPv4.

use model::{Centiseconds, Cidr, VrrpVersion};
use std::net::Ipv4Addr;
use std::time::Duration;

/// Where adverts go (RFC 9568 5.1.1.2).
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// The IP protocol (RFC 9568 5.1.1.4).
pub const PROTOCOL: u8 = 112;
/// What every advert's TTL must be: nothing from beyond a router is believed (RFC 9568 5.1.1.3).
pub const TTL: u8 = 255;
/// The priority of a farewell (RFC 9568 5.2.4).
pub const FAREWELL: u8 = 0;

const HEADER: usize = 8;
const AUTH_DATA: usize = 8;
const ADVERTISEMENT: u8 = 1;
/// RFC 2338 5.3.6.2: a password in clear text. keepalived still sends it.
const AUTH_PASS: u8 = 1;

/// An IPv4 datagram as a raw socket delivers it, header included.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub source: Ipv4Addr,
    /// To whom.
    pub destination: Ipv4Addr,
    /// Time to live on arrival.
    pub ttl: u8,
    /// What follows the IP header, without the padding of short Ethernet frames.
    pub payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Reads the IP header; None when it is none or the packet is not VRRP.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let first = *bytes.first()?;
        let header = usize::from(first & 0x0f) * 4;
        if first >> 4 != 4 || header < 20 || *bytes.get(9)? != PROTOCOL {
            return None;
        }
        let total = usize::from(be16(bytes, 2)?);
        Some(Self {
            source: address(bytes, 12)?,
            destination: address(bytes, 16)?,
            ttl: *bytes.get(8)?,
            payload: bytes.get(header..total)?,
        })
    }
}

/// Why a datagram is no advert for us. Each is counted; none says anything about our own state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// The TTL is not 255 (RFC 9568 7.1).
    Ttl,
    /// Another version than configured.
    Version,
    /// Length, type or address count do not fit.
    Malformed,
    /// The checksum is wrong in every form in use.
    Checksum,
    /// The version 2 authentication differs from ours.
    Auth,
}

/// An advert that arrived.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-------+-------+---------------+---------------+---------------+
/// |Version| Type=1|     VRID      |   Priority    | Address count |
/// +-------+-------+---------------+---------------+---------------+
/// |   Auth type   | Interval in s |           Checksum            |  version 2 (RFC 3768 5.1)
/// | Rsvd  | Max interval in cs    |           Checksum            |  version 3 (RFC 9568 5.1)
/// +-------+-----------------------+-------------------------------+
/// |                      Addresses, 4 octets each                 |
/// +---------------------------------------------------------------+
/// |              Authentication data, 8 octets (version 2 only)   |
/// +---------------------------------------------------------------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advert<'a> {
    /// The sender's priority; 0 says that it leaves.
    pub priority: u8,
    /// The sender's interval.
    pub interval: Duration,
    list: &'a [u8],
}

impl<'a> Advert<'a> {
    /// The virtual router a payload speaks of, without looking any further.
    pub fn virtual_router(payload: &[u8]) -> Option<u8> {
        payload.get(1).copied()
    }

    /// Reads an advert and checks all that RFC 9568 7.1 and RFC 3768 7.1 ask for, except what
    /// only the router knows (the virtual router's id, the version 2 interval).
    ///
    /// # Errors
    /// Which check it failed.
    pub fn decode(
        datagram: &Datagram<'a>,
        version: VrrpVersion,
        auth: Option<&[u8; AUTH_DATA]>,
    ) -> Result<Self, Reject> {
        let pdu = datagram.payload;
        if datagram.ttl != TTL {
            return Err(Reject::Ttl);
        }
        let [first, _, priority, count, fourth, fifth, _, _, rest @ ..] = pdu else {
            return Err(Reject::Malformed);
        };
        if first >> 4 != u8::from(version) {
            return Err(Reject::Version);
        }
        // RFC 9568 5.2.2: a packet of unknown type MUST be discarded. A count of 0 is invalid
        // (RFC 9568 5.2.5).
        if first & 0x0f != ADVERTISEMENT || *count == 0 {
            return Err(Reject::Malformed);
        }
        let trailer = if version == VrrpVersion::V2 { AUTH_DATA } else { 0 };
        let listed = usize::from(*count) * 4;
        if rest.len() != listed + trailer {
            return Err(Reject::Malformed);
        }
        if !checksum_is_right(datagram, version) {
            return Err(Reject::Checksum);
        }
        let (list, data) = rest.split_at(listed);
        let interval = match version {
            VrrpVersion::V2 => {
                let type_ = *fourth;
                let same = match auth {
                    // RFC 3768 5.3.10: without authentication the data is ignored.
                    None => type_ == 0,
                    Some(pass) => type_ == AUTH_PASS && equal_in_constant_time(pass, data),
                };
                if !same {
                    return Err(Reject::Auth);
                }
                Duration::from_secs(u64::from(*fifth))
            }
            VrrpVersion::V3 => {
                // The four reserved bits are ignored on reception (RFC 9568 5.2.6).
                let cs = u16::from_be_bytes([fourth & 0x0f, *fifth]);
                // An interval of 0 would make every timer 0 (erratum 8301).
                if cs == 0 {
                    return Err(Reject::Malformed);
                }
                Duration::from_millis(u64::from(cs) * 10)
            }
        };
        Ok(Self { priority: *priority, interval, list })
    }

    /// The floating IPs it lists.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> + use<'a> {
        self.list.chunks_exact(4).filter_map(|four| address(four, 0))
    }

    /// How many it lists.
    pub fn count(&self) -> usize {
        self.list.len() / 4
    }
}

/// What an advert to be sent says.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The version to speak.
    pub version: VrrpVersion,
    /// The virtual router.
    pub virtual_router: u8,
    /// 0 for a farewell.
    pub priority: u8,
    /// The interval; version 2 sends whole seconds.
    pub interval: Centiseconds,
    /// The floating IPs.
    pub addresses: &'a [Cidr],
    /// The version 2 password, filled up with zeros.
    pub auth: Option<&'a [u8; AUTH_DATA]>,
}

impl Outgoing<'_> {
    /// Writes the advert as `source` sends it to [`GROUP`]; `pdu` is emptied first.
    pub fn encode(&self, source: Ipv4Addr, pdu: &mut Vec<u8>) {
        // 255 addresses are all the count can say; the settings allow fewer.
        let listed = &self.addresses[..self.addresses.len().min(255)];
        let count = u8::try_from(listed.len()).unwrap_or(u8::MAX);
        let (fourth, fifth) = match self.version {
            VrrpVersion::V2 => {
                (if self.auth.is_some() { AUTH_PASS } else { 0 }, seconds(self.interval))
            }
            VrrpVersion::V3 => {
                let [high, low] = self.interval.get().to_be_bytes();
                (high & 0x0f, low)
            }
        };
        pdu.clear();
        pdu.extend_from_slice(&[
            u8::from(self.version) << 4 | ADVERTISEMENT,
            self.virtual_router,
            self.priority,
            count,
            fourth,
            fifth,
            0,
            0,
        ]);
        for cidr in listed {
            pdu.extend_from_slice(&cidr.addr().octets());
        }
        if self.version == VrrpVersion::V2 {
            pdu.extend_from_slice(self.auth.unwrap_or(&[0; AUTH_DATA]));
        }
        let sum = match self.version {
            VrrpVersion::V2 => sum(0, pdu),
            // RFC 9568 5.2.8 has no pseudo-header for IPv4; keepalived, FRR and everything else
            // that reads RFC 5798 has one, and they are what is out there.
            VrrpVersion::V3 => sum(pseudo_header(source, GROUP, pdu.len()), pdu),
        };
        pdu[6..HEADER].copy_from_slice(&(!fold(sum)).to_be_bytes());
    }
}

/// Version 2 says whole seconds, 1 to 255.
pub(crate) fn seconds(interval: Centiseconds) -> u8 {
    u8::try_from(interval.get().div_ceil(100).max(1)).unwrap_or(u8::MAX)
}

/// A version 2 password as it travels: the first 8 characters, the rest zeros.
pub(crate) fn pass(text: &str) -> Option<[u8; AUTH_DATA]> {
    let mut data = [0; AUTH_DATA];
    for (to, from) in data.iter_mut().zip(text.bytes()) {
        *to = from;
    }
    (!text.is_empty()).then_some(data)
}

/// Version 2 sums the message alone (RFC 3768 5.3.8). For version 3 over IPv4 three forms are in
/// use: with a pseudo-header (RFC 5798 as most read it), with a pseudo-header naming the group
/// although the packet went elsewhere (keepalived up to 1.3.6), and without one (RFC 9568).
fn checksum_is_right(datagram: &Datagram<'_>, version: VrrpVersion) -> bool {
    let pdu = datagram.payload;
    let right = |start| fold(sum(start, pdu)) == u16::MAX;
    if right(0) {
        return true;
    }
    version == VrrpVersion::V3
        && (right(pseudo_header(datagram.source, datagram.destination, pdu.len()))
            || right(pseudo_header(datagram.source, GROUP, pdu.len())))
}

fn pseudo_header(source: Ipv4Addr, destination: Ipv4Addr, length: usize) -> u32 {
    let start = sum(sum(0, &source.octets()), &destination.octets());
    start + u32::from(PROTOCOL) + u32::try_from(length).unwrap_or(0)
}

/// RFC 1071: the sum of 16-bit words; at most 2 kB of them, which 32 bits hold.
fn sum(start: u32, bytes: &[u8]) -> u32 {
    bytes.chunks(2).fold(start, |total, pair| {
        let word = [pair.first().copied().unwrap_or(0), pair.get(1).copied().unwrap_or(0)];
        total.wrapping_add(u32::from(u16::from_be_bytes(word)))
    })
}

fn fold(mut sum: u32) -> u16 {
    while let Err(_too_wide) = u16::try_from(sum) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}

fn equal_in_constant_time(a: &[u8; AUTH_DATA], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |bits, (a, b)| bits | (a ^ b)) == 0
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

fn address(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(Ipv4Addr::from(four))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 11);

    fn bytes(hex: &str) -> Vec<u8> {
        let hex: String = hex.split_whitespace().collect();
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
    }

    fn vips(count: usize) -> Vec<Cidr> {
        let all = ["10.99.0.100/24", "10.99.0.101/24"];
        all[..count].iter().map(|a| a.parse().unwrap()).collect()
    }

    fn encode(version: VrrpVersion, priority: u8, cs: u16, count: usize, auth: &str) -> Vec<u8> {
        let mut pdu = vec![1, 2, 3];
        let auth = pass(auth);
        let addresses = vips(count);
        Outgoing {
            version,
            virtual_router: 51,
            priority,
            interval: Centiseconds::constant(cs),
            addresses: &addresses,
            auth: auth.as_ref(),
        }
        .encode(SOURCE, &mut pdu);
        pdu
    }

    fn to(destination: Ipv4Addr, payload: &[u8]) -> Datagram<'_> {
        Datagram { source: SOURCE, destination, ttl: 255, payload }
    }

    // Taken from keepalived 2.2.7.
    const V2: &str = "21339601 00013e03 0a630064 00000000 00000000";
    const V2_PASS: &str = "21339602 0101cdd3 0a630064 0a630065 31323334 00000000";
    const V3: &str = "31339601 000a42fd 0a630064";
    const V3_RFC9568: &str = "31339601 000a2dfa 0a630064";
    const V3_UNICAST: &str = "31339601 000a18a1 0a630064";
    const V3_FAREWELL: &str = "31330001 000ad8fd 0a630064";

    #[test]
    fn adverts_are_keepalived_s_byte_for_byte() {
        assert_eq!(encode(VrrpVersion::V2, 150, 100, 1, ""), bytes(V2));
        assert_eq!(encode(VrrpVersion::V2, 150, 100, 2, "1234"), bytes(V2_PASS));
        assert_eq!(encode(VrrpVersion::V3, 150, 10, 1, ""), bytes(V3));
        assert_eq!(encode(VrrpVersion::V3, 0, 10, 1, ""), bytes(V3_FAREWELL));
    }

    #[test]
    fn the_password_is_cut_at_eight_characters() {
        assert_eq!(pass("123456789"), Some(*b"12345678"));
        assert_eq!(pass(""), None);
    }

    #[test]
    fn golden_adverts_are_read() {
        let v2 = bytes(V2);
        let advert = Advert::decode(&to(GROUP, &v2), VrrpVersion::V2, None).unwrap();
        assert_eq!((advert.priority, advert.interval), (150, Duration::from_secs(1)));
        assert_eq!(advert.addresses().collect::<Vec<_>>(), [Ipv4Addr::new(10, 99, 0, 100)]);
        let both = bytes(V2_PASS);
        let advert =
            Advert::decode(&to(GROUP, &both), VrrpVersion::V2, pass("1234").as_ref()).unwrap();
        assert_eq!(advert.count(), 2);
        let v3 = bytes(V3);
        let advert = Advert::decode(&to(GROUP, &v3), VrrpVersion::V3, None).unwrap();
        assert_eq!((advert.priority, advert.interval), (150, Duration::from_millis(100)));
    }

    #[test]
    fn rule_28_three_forms_of_the_checksum_are_right_and_no_other() {
        let unicast = Ipv4Addr::new(10, 99, 0, 12);
        let decode = |destination, hex: &str| {
            Advert::decode(&to(destination, &bytes(hex)), VrrpVersion::V3, None).map(|a| a.priority)
        };
        assert_eq!(decode(GROUP, V3), Ok(150));
        assert_eq!(decode(GROUP, V3_RFC9568), Ok(150));
        assert_eq!(decode(unicast, V3_UNICAST), Ok(150));
        assert_eq!(decode(unicast, V3), Ok(150), "keepalived up to 1.3.6");
        assert_eq!(decode(GROUP, V3_UNICAST), Err(Reject::Checksum));
        for (version, golden) in [(VrrpVersion::V2, V2), (VrrpVersion::V3, V3)] {
            for at in 0..bytes(golden).len() {
                let mut broken = bytes(golden);
                broken[at] ^= 0x10;
                let got = Advert::decode(&to(GROUP, &broken), version, None);
                assert!(got.is_err(), "a flipped bit at {at} went unseen");
            }
        }
    }

    #[test]
    fn rules_24_to_27_and_30_to_34_reject() {
        let v2 = |hex: &str, auth: &str| {
            Advert::decode(&to(GROUP, &bytes(hex)), VrrpVersion::V2, pass(auth).as_ref()).err()
        };
        assert_eq!(v2(V3, ""), Some(Reject::Version));
        assert_eq!(v2(V2, "1234"), Some(Reject::Auth));
        assert_eq!(v2(V2_PASS, ""), Some(Reject::Auth));
        assert_eq!(v2(V2_PASS, "1235"), Some(Reject::Auth));
        assert_eq!(v2(V2_PASS, "1234"), None);
        let mut datagram = to(GROUP, &[]);
        assert_eq!(Advert::decode(&datagram, VrrpVersion::V2, None), Err(Reject::Malformed));
        let golden = bytes(V2);
        datagram = to(GROUP, &golden);
        datagram.ttl = 254;
        assert_eq!(Advert::decode(&datagram, VrrpVersion::V2, None), Err(Reject::Ttl));
        for cut in 1..golden.len() {
            let short = to(GROUP, &golden[..cut]);
            assert!(Advert::decode(&short, VrrpVersion::V2, None).is_err());
        }
        let mut long = golden.clone();
        long.extend([0; 4]);
        let got = Advert::decode(&to(GROUP, &long), VrrpVersion::V2, None);
        assert_eq!(got, Err(Reject::Malformed));
        let fixed = |mut pdu: Vec<u8>| {
            pdu[6..8].fill(0);
            let right = !fold(sum(0, &pdu));
            pdu[6..8].copy_from_slice(&right.to_be_bytes());
            Advert::decode(&to(GROUP, &pdu), VrrpVersion::V3, None).map(|a| a.interval)
        };
        assert_eq!(fixed(bytes("32339601 000a0000 0a630064")), Err(Reject::Malformed), "type");
        assert_eq!(fixed(bytes("31339600 000a0000")), Err(Reject::Malformed), "no address");
        assert_eq!(fixed(bytes("31339601 00000000 0a630064")), Err(Reject::Malformed), "interval");
        let reserved = fixed(bytes("31339601 f00a0000 0a630064"));
        assert_eq!(reserved, Ok(Duration::from_millis(100)), "rule 32");
    }

    #[test]
    fn a_datagram_is_what_its_header_says() {
        let mut ip = bytes("45c00020 00000000 ff700000 0a63000b e0000012");
        ip.extend(bytes(V3));
        ip.extend([0; 14]); // Ethernet padding
        let datagram = Datagram::parse(&ip).unwrap();
        assert_eq!((datagram.source, datagram.destination), (SOURCE, GROUP));
        assert_eq!((datagram.ttl, datagram.payload), (255, &bytes(V3)[..]));
        for cut in 0..32 {
            assert!(Datagram::parse(&ip[..cut]).is_none());
        }
        ip[9] = 17;
        assert!(Datagram::parse(&ip).is_none());
    }

    #[test]
    fn noise_never_panics() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        for round in 0..200_000_usize {
            let mut noise: Vec<u8> = (0..round % 61).map(|_| random()).collect();
            if round % 2 == 0 && noise.len() > 20 {
                noise[0] = 0x45;
                noise[9] = PROTOCOL;
                let length = u16::try_from(noise.len()).unwrap();
                noise[2..4].copy_from_slice(&length.to_be_bytes());
            }
            let payload = Datagram::parse(&noise).map_or(&noise[..], |d| d.payload);
            for version in [VrrpVersion::V2, VrrpVersion::V3] {
                let _ = Advert::decode(&to(GROUP, payload), version, Some(b"12345678"));
            }
        }
    }
}
