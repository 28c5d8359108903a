//! DHCP messages on the wire, read and written.
//!
//! ```text
//! | op | htype| hlen | hops |          xid          |    RFC 2131 2
//! |     secs    |    flags  |        ciaddr         |
//! |       yiaddr            |        siaddr         |
//! |       giaddr            | chaddr (16) | sname (64) | file (128) |
//! | 99 130 83 99 | options: code, length, value ...  |
//! ```

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

pub(crate) const SERVER_PORT: u16 = 67;
pub(crate) const CLIENT_PORT: u16 = 68;

const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Where sname, file and the options begin.
const SNAME: usize = 44;
const FILE: usize = 108;
const COOKIE_AT: usize = 236;
const OPTIONS: usize = 240;
/// Relays and servers of old drop what is shorter than a BOOTP message (RFC 1542 2.1).
const SHORTEST: usize = 300;
/// More of a list than this is of no use to anybody here.
const LIST: usize = 4;

/// What a message is for (option 53).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Discover,
    Offer,
    Request,
    Decline,
    Ack,
    Nak,
    Release,
    Inform,
}

const KINDS: [(u8, Kind); 8] = [
    (1, Kind::Discover),
    (2, Kind::Offer),
    (3, Kind::Request),
    (4, Kind::Decline),
    (5, Kind::Ack),
    (6, Kind::Nak),
    (7, Kind::Release),
    (8, Kind::Inform),
];

/// Option codes (RFC 2132, RFC 8910).
mod code {
    pub(super) const MASK: u8 = 1;
    pub(super) const ROUTER: u8 = 3;
    pub(super) const DNS: u8 = 6;
    pub(super) const HOST_NAME: u8 = 12;
    pub(super) const DOMAIN: u8 = 15;
    pub(super) const NTP: u8 = 42;
    pub(super) const REQUESTED: u8 = 50;
    pub(super) const LEASE: u8 = 51;
    pub(super) const OVERLOAD: u8 = 52;
    pub(super) const KIND: u8 = 53;
    pub(super) const SERVER: u8 = 54;
    pub(super) const WANTED: u8 = 55;
    pub(super) const MAXIMUM: u8 = 57;
    pub(super) const T1: u8 = 58;
    pub(super) const T2: u8 = 59;
    pub(super) const CLIENT: u8 = 61;
    pub(super) const PORTAL: u8 = 114;
    pub(super) const END: u8 = 255;
}

/// What a client asks a server to tell (option 55).
pub(crate) const WANTED: [u8; 9] = [
    code::MASK,
    code::ROUTER,
    code::DNS,
    code::DOMAIN,
    code::NTP,
    code::LEASE,
    code::SERVER,
    code::T1,
    code::T2,
];

/// One message. Absent options are None or empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) xid: u32,
    pub(crate) secs: u16,
    /// The sender cannot receive unicast before it has its address.
    pub(crate) broadcast: bool,
    /// The address the client has.
    pub(crate) ciaddr: Ipv4Addr,
    /// The address the client gets.
    pub(crate) yiaddr: Ipv4Addr,
    /// The relay it came through.
    pub(crate) giaddr: Ipv4Addr,
    pub(crate) mac: [u8; 6],
    pub(crate) prefix: Option<u8>,
    pub(crate) routers: Vec<Ipv4Addr>,
    pub(crate) dns: Vec<Ipv4Addr>,
    pub(crate) ntp: Vec<Ipv4Addr>,
    pub(crate) host_name: Option<String>,
    pub(crate) domain: Option<String>,
    pub(crate) requested: Option<Ipv4Addr>,
    pub(crate) server: Option<Ipv4Addr>,
    /// Seconds; u32::MAX is for ever.
    pub(crate) lease: Option<u32>,
    pub(crate) t1: Option<u32>,
    pub(crate) t2: Option<u32>,
    pub(crate) client_id: Option<Vec<u8>>,
    pub(crate) wanted: Vec<u8>,
    pub(crate) maximum: Option<u16>,
    /// The page to open (RFC 8910).
    pub(crate) portal: Option<String>,
}

impl Message {
    pub(crate) const fn new(kind: Kind, xid: u32, mac: [u8; 6]) -> Self {
        Self {
            kind,
            xid,
            secs: 0,
            broadcast: false,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            giaddr: Ipv4Addr::UNSPECIFIED,
            mac,
            prefix: None,
            routers: Vec::new(),
            dns: Vec::new(),
            ntp: Vec::new(),
            host_name: None,
            domain: None,
            requested: None,
            server: None,
            lease: None,
            t1: None,
            t2: None,
            client_id: None,
            wanted: Vec::new(),
            maximum: None,
            portal: None,
        }
    }

    /// Servers send these, clients the others.
    const fn is_reply(&self) -> bool {
        matches!(self.kind, Kind::Offer | Kind::Ack | Kind::Nak)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SHORTEST);
        bytes.extend([if self.is_reply() { 2 } else { 1 }, 1, 6, 0]);
        bytes.extend(self.xid.to_be_bytes());
        bytes.extend(self.secs.to_be_bytes());
        bytes.extend([if self.broadcast { 0x80 } else { 0 }, 0]);
        for address in [self.ciaddr, self.yiaddr, Ipv4Addr::UNSPECIFIED, self.giaddr] {
            bytes.extend(address.octets());
        }
        bytes.extend(self.mac);
        bytes.resize(COOKIE_AT, 0);
        bytes.extend(COOKIE);

        let mut put = |code: u8, value: &[u8]| {
            // RFC 3396: what is longer than an option can be goes on in another of its kind.
            for part in value.chunks(255) {
                bytes.push(code);
                bytes.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
                bytes.extend(part);
            }
        };
        // RFC 2131 3: every message has its kind; servers of old look for it first.
        let kind = KINDS.iter().find(|(_, kind)| *kind == self.kind).map_or(0, |(code, _)| *code);
        put(code::KIND, &[kind]);
        let address = |a: &Option<Ipv4Addr>| a.map(|a| a.octets().to_vec()).unwrap_or_default();
        let number = |n: &Option<u32>| n.map(|n| n.to_be_bytes().to_vec()).unwrap_or_default();
        let text = |t: &Option<String>| t.clone().unwrap_or_default().into_bytes();
        let list = |l: &[Ipv4Addr]| l.iter().flat_map(Ipv4Addr::octets).collect::<Vec<u8>>();
        put(code::CLIENT, self.client_id.as_deref().unwrap_or_default());
        put(code::SERVER, &address(&self.server));
        put(code::REQUESTED, &address(&self.requested));
        put(code::LEASE, &number(&self.lease));
        put(code::T1, &number(&self.t1));
        put(code::T2, &number(&self.t2));
        put(code::MASK, &self.prefix.map(mask).unwrap_or_default());
        put(code::ROUTER, &list(&self.routers));
        put(code::DNS, &list(&self.dns));
        put(code::NTP, &list(&self.ntp));
        put(code::HOST_NAME, &text(&self.host_name));
        put(code::DOMAIN, &text(&self.domain));
        put(code::MAXIMUM, &self.maximum.map(|n| n.to_be_bytes().to_vec()).unwrap_or_default());
        put(code::WANTED, &self.wanted);
        put(code::PORTAL, &text(&self.portal));
        bytes.push(code::END);
        if bytes.len() < SHORTEST {
            bytes.resize(SHORTEST, 0);
        }
        bytes
    }

    /// None when it is no DHCP message for Ethernet, or its options do not add up.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let [op, htype, hlen] = *bytes.first_chunk()?;
        if htype != 1 || hlen != 6 || bytes.get(COOKIE_AT..OPTIONS)? != COOKIE {
            return None;
        }
        let word = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let address = |at: usize| word(at).map(Ipv4Addr::from);
        let options = Options::parse(bytes)?;
        let kind = options.first(code::KIND)?;
        let kind = KINDS.iter().find(|(code, _)| *code == kind).map(|(_, kind)| *kind)?;
        let message = Self {
            secs: u16::from_be_bytes(bytes.get(8..10)?.try_into().ok()?),
            broadcast: bytes.get(10)? & 0x80 != 0,
            ciaddr: address(12)?,
            yiaddr: address(16)?,
            giaddr: address(24)?,
            prefix: options.number(code::MASK).and_then(prefix),
            routers: options.addresses(code::ROUTER),
            dns: options.addresses(code::DNS),
            ntp: options.addresses(code::NTP),
            host_name: options.name(code::HOST_NAME),
            domain: options.name(code::DOMAIN),
            requested: options.number(code::REQUESTED).map(Ipv4Addr::from),
            server: options.number(code::SERVER).map(Ipv4Addr::from),
            lease: options.number(code::LEASE),
            t1: options.number(code::T1),
            t2: options.number(code::T2),
            client_id: options.get(code::CLIENT).map(<[u8]>::to_vec),
            wanted: options.get(code::WANTED).unwrap_or_default().to_vec(),
            maximum: options
                .get(code::MAXIMUM)
                .and_then(|value| value.try_into().ok())
                .map(u16::from_be_bytes),
            portal: options.get(code::PORTAL).and_then(|t| String::from_utf8(t.to_vec()).ok()),
            ..Self::new(kind, word(4)?, bytes.get(28..34)?.try_into().ok()?)
        };
        (op == if message.is_reply() { 2 } else { 1 }).then_some(message)
    }
}

/// The options of one message; parts of one option are joined (RFC 3396).
struct Options(BTreeMap<u8, Vec<u8>>);

impl Options {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut options = Self(BTreeMap::new());
        options.add(bytes.get(OPTIONS..)?)?;
        // RFC 2132 9.3: the fields for names may hold more of them.
        let overload = options.first(code::OVERLOAD).unwrap_or(0);
        if overload & 1 != 0 {
            options.add(bytes.get(FILE..COOKIE_AT)?)?;
        }
        if overload & 2 != 0 {
            options.add(bytes.get(SNAME..FILE)?)?;
        }
        Some(options)
    }

    fn add(&mut self, mut bytes: &[u8]) -> Option<()> {
        loop {
            match bytes {
                [] | [code::END, ..] => return Some(()),
                [0, rest @ ..] => bytes = rest,
                [code, length, rest @ ..] => {
                    let (value, rest) = rest.split_at_checked(usize::from(*length))?;
                    self.0.entry(*code).or_default().extend(value);
                    bytes = rest;
                }
                [_] => return None,
            }
        }
    }

    fn get(&self, code: u8) -> Option<&[u8]> {
        self.0.get(&code).map(Vec::as_slice)
    }

    fn first(&self, code: u8) -> Option<u8> {
        self.get(code)?.first().copied()
    }

    fn number(&self, code: u8) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(code)?.try_into().ok()?))
    }

    fn addresses(&self, code: u8) -> Vec<Ipv4Addr> {
        let fours = self.get(code).unwrap_or_default().chunks_exact(4);
        let octets = fours.filter_map(|four| <[u8; 4]>::try_from(four).ok());
        octets.map(Ipv4Addr::from).filter(|a| is_host(*a)).take(LIST).collect()
    }

    /// Only what may stand in a file of the system: a stranger chose it.
    fn name(&self, code: u8) -> Option<String> {
        let text = self.get(code)?;
        let text = std::str::from_utf8(text).ok()?.trim_end_matches(['\0', '.']);
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let good = !text.is_empty() && text.len() <= 253 && text.chars().all(fits);
        (good && !text.starts_with(['.', '-'])).then(|| text.to_owned())
    }
}

/// Can one machine have this address?
pub(crate) const fn is_host(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    !matches!(first, 0 | 127 | 224..=255)
}

fn mask(prefix: u8) -> Vec<u8> {
    let bits = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
    bits.to_be_bytes().to_vec()
}

/// None for a mask with holes, and for /0.
fn prefix(mask: u32) -> Option<u8> {
    let ones = mask.leading_ones();
    let whole = mask.count_ones() == ones && ones > 0;
    whole.then(|| u8::try_from(ones).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;

    fn full() -> Message {
        let a = |last| Ipv4Addr::new(192, 168, 1, last);
        Message {
            secs: 3,
            broadcast: true,
            yiaddr: a(77),
            prefix: Some(24),
            routers: vec![a(1)],
            dns: vec![a(1), a(2)],
            ntp: vec![a(3)],
            host_name: Some("web01".to_owned()),
            domain: Some("example.lan".to_owned()),
            requested: Some(a(77)),
            server: Some(a(1)),
            lease: Some(3600),
            t1: Some(1800),
            t2: Some(3150),
            client_id: Some(vec![1, 2, 0, 0, 0, 0, 7]),
            wanted: WANTED.to_vec(),
            maximum: Some(1500),
            portal: Some(format!("http://192.168.19.36:1936/{}", "x".repeat(300))),
            ..Message::new(Kind::Ack, 0xdead_beef, [2, 0, 0, 0, 0, 7])
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for (_, kind) in KINDS {
            let message = Message { kind, ..full() };
            assert_eq!(Message::parse(&message.bytes()), Some(message));
        }
        let least = Message::new(Kind::Discover, 1, [2; 6]);
        assert_eq!(least.bytes().len(), SHORTEST);
        assert_eq!(Message::parse(&least.bytes()), Some(least));
    }

    #[test]
    fn options_may_be_in_the_fields_for_names() {
        let mut bytes = Message::new(Kind::Offer, 1, [2; 6]).bytes();
        bytes.truncate(OPTIONS);
        bytes.extend([code::OVERLOAD, 1, 3, code::KIND, 1, 2, code::END]);
        bytes[FILE..FILE + 7].copy_from_slice(&[code::LEASE, 4, 0, 0, 0, 60, code::END]);
        bytes[SNAME..SNAME + 7].copy_from_slice(&[code::SERVER, 4, 10, 0, 0, 1, code::END]);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.lease, message.server), (Some(60), Some(Ipv4Addr::new(10, 0, 0, 1))));
    }

    #[test]
    fn what_a_stranger_says_is_kept_within_bounds() {
        let long: Vec<Ipv4Addr> = (1..=200).map(|n| Ipv4Addr::new(10, 0, 0, n)).collect();
        let strange = Message {
            dns: [vec![Ipv4Addr::UNSPECIFIED, Ipv4Addr::LOCALHOST], long].concat(),
            domain: Some("lan\nnameserver 6.6.6.6".to_owned()),
            host_name: Some("a".repeat(254)),
            ..full()
        };
        let read = Message::parse(&strange.bytes()).unwrap();
        assert_eq!(read.dns, [1, 2, 3, 4].map(|n| Ipv4Addr::new(10, 0, 0, n)));
        assert_eq!((read.domain, read.host_name), (None, None));
        assert_eq!(prefix(0xff00_ff00), None);
        assert_eq!(prefix(0), None);
        assert_eq!(prefix(u32::MAX), Some(32));
    }

    #[test]
    fn noise_is_no_panic() {
        let whole = full().bytes();
        for length in 0..whole.len() {
            let _ = Message::parse(&whole[..length]);
        }
        let mut chance = Chance::seeded(42);
        let mut accepted = 0;
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..4 {
                let at = usize::try_from(chance.below(400)).unwrap() + 200;
                bytes[at.min(whole.len() - 1)] = chance.number().to_be_bytes()[0];
            }
            accepted += u32::from(Message::parse(&bytes).is_some());
        }
        assert!(accepted > 100, "the noise should also reach what is behind the options");
    }
}
