//! Checks by a DNS query: the message, and a strict look at the answer (RFC 1035).
//!
//! Pure. Only what a check needs is read: header, question, and the addresses among the answers.
//! Names are skipped, never unpacked: a compression pointer ends one and must point backwards.

use super::Found;
use model::{Check, DnsCode, DnsName, DnsType};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of the header.
const HEADER: usize = 12;
/// Class IN.
const INTERNET: u16 = 1;
/// More answers than this are no answer to a check.
const MOST_ANSWERS: u16 = 512;

/// The query for a name: one question, recursion desired.
pub(crate) fn query(id: u16, name: &DnsName, kind: DnsType) -> Vec<u8> {
    let mut out = id.to_be_bytes().to_vec();
    out.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.labels() {
        // A DnsName has no label of more than 63 bytes.
        out.push(u8::try_from(label.len()).unwrap_or(0));
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out.extend_from_slice(&kind.number().to_be_bytes());
    out.extend_from_slice(&INTERNET.to_be_bytes());
    out
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The response code (`RCODE`).
    pub(crate) code: u8,
    /// The addresses among the answers.
    pub(crate) addresses: Vec<IpAddr>,
}

/// Why a message is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// It answers something else: another id, another question, or it is none at all.
    Foreign,
    /// It answers the query and is broken.
    Broken(&'static str),
}

struct Reader<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Bad> {
        let end = self.at.checked_add(n).ok_or(Bad::Broken("a length is wrong"))?;
        let part = self.all.get(self.at..end).ok_or(Bad::Broken("it is cut off"))?;
        self.at = end;
        Ok(part)
    }

    fn number(&mut self) -> Result<u16, Bad> {
        match self.take(2)? {
            [high, low] => Ok(u16::from_be_bytes([*high, *low])),
            _ => Err(Bad::Broken("it is cut off")),
        }
    }

    fn skip_name(&mut self) -> Result<(), Bad> {
        let start = self.at;
        loop {
            let from = self.at;
            match self.take(1)? {
                [0] => return Ok(()),
                [n] if *n < 0x40 => {
                    self.take(usize::from(*n))?;
                }
                [n] if *n >= 0xc0 => {
                    let low = self.take(1)?.first().copied().unwrap_or(0);
                    let target = usize::from(u16::from_be_bytes([n & 0x3f, low]));
                    // Forwards it could go round and round.
                    if target < HEADER || target >= from {
                        return Err(Bad::Broken("a name points nowhere"));
                    }
                    return Ok(());
                }
                _ => return Err(Bad::Broken("a name is wrong")),
            }
            if self.at - start > 255 {
                return Err(Bad::Broken("a name is too long"));
            }
        }
    }
}

/// Reads what came in answer to `query`.
pub(crate) fn read(query: &[u8], message: &[u8]) -> Result<Answer, Bad> {
    let (Some(asked), Some(head)) = (query.get(..HEADER), message.get(..HEADER)) else {
        return Err(Bad::Foreign);
    };
    let question = query.get(HEADER..).unwrap_or_default();
    let (flags, code) = (head[2], head[3] & 0x0f);
    // A response to a standard query with this id.
    if head[..2] != asked[..2] || flags & 0xf8 != 0x80 {
        return Err(Bad::Foreign);
    }
    let mut reader = Reader { all: message, at: 4 };
    let (questions, answers) = (reader.number()?, reader.number()?);
    reader.at = HEADER;
    match questions {
        // Servers that did not understand the question need not repeat it.
        0 if code != 0 => {}
        1 => {
            let repeated = message.get(HEADER..HEADER + question.len());
            if !repeated.is_some_and(|r| r.eq_ignore_ascii_case(question)) {
                return Err(Bad::Foreign);
            }
            reader.at += question.len();
        }
        _ => return Err(Bad::Broken("it does not repeat the question")),
    }
    if answers > MOST_ANSWERS {
        return Err(Bad::Broken("it has too many answers"));
    }
    let mut addresses = Vec::new();
    for _ in 0..answers {
        reader.skip_name()?;
        let (kind, class) = (reader.number()?, reader.number()?);
        reader.take(4)?;
        let length = usize::from(reader.number()?);
        let data = reader.take(length)?;
        if class != INTERNET {
            continue;
        }
        if kind == DnsType::A.number() {
            let data = <[u8; 4]>::try_from(data).map_err(|_| Bad::Broken("an address is wrong"))?;
            addresses.push(IpAddr::V4(Ipv4Addr::from(data)));
        } else if kind == DnsType::Aaaa.number() {
            let data =
                <[u8; 16]>::try_from(data).map_err(|_| Bad::Broken("an address is wrong"))?;
            addresses.push(IpAddr::V6(Ipv6Addr::from(data)));
        }
    }
    Ok(Answer { code, addresses })
}

/// Is it good? None where the message answers something else, and the right one may still come.
pub(super) fn judge(query: &[u8], message: &[u8], check: &Check) -> Option<Found> {
    let answer = match read(query, message) {
        Ok(answer) => answer,
        Err(Bad::Foreign) => return None,
        Err(Bad::Broken(why)) => {
            return Some(Found::new("L7RSP", format!("Layer7 invalid response: {why}")));
        }
    };
    let code = Some(u16::from(answer.code));
    let good = check.dns_codes.as_ref().map_or(answer.code == 0, |c| c.has(answer.code));
    if !good {
        let word = DnsCode::of(answer.code)
            .map_or_else(|| format!("code {}", answer.code), |c| c.to_string());
        let text = format!("Layer7 wrong status: the DNS server answers {word}");
        return Some(Found { code, ..Found::new("L7STS", text) });
    }
    if let Some(wanted) = check.dns_address {
        if !answer.addresses.contains(&wanted) {
            let text = format!("Layer7 invalid response: {wanted} is not among the addresses");
            return Some(Found { code, ..Found::new("L7RSP", text) });
        }
    }
    Some(Found { code, ..Found::new("L7OK", "Layer7 check passed") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Vec<u8> {
        query(0x1234, &"a.example".parse().unwrap(), DnsType::A)
    }

    /// The query with these flags as its answer, and one address under a compressed name.
    fn answer(code: u8) -> Vec<u8> {
        let mut out = asked();
        (out[2], out[3], out[7]) = (0x81, 0x80 | code, 1);
        out.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
        out
    }

    #[test]
    fn a_query_as_rfc_1035_draws_it() {
        let want = b"\x12\x34\x01\x00\x00\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01";
        assert_eq!(asked(), want);
        let root = query(1, &".".parse().unwrap(), DnsType::Ns);
        assert_eq!(root[12..], [0, 0, 2, 0, 1]);
    }

    #[test]
    fn answers() {
        let good = read(&asked(), &answer(0)).unwrap();
        assert_eq!(good.addresses, ["192.0.2.7".parse::<IpAddr>().unwrap()]);
        assert_eq!(read(&asked(), &answer(3)).unwrap().code, 3);
        // In other letters (RFC 4343), from another query, and the query itself.
        let mut shouted = answer(0);
        shouted[13] = b'A';
        assert!(read(&asked(), &shouted).is_ok());
        let mut other = answer(0);
        other[1] = 0;
        assert_eq!(read(&asked(), &other), Err(Bad::Foreign));
        other = answer(0);
        other[13] = b'b';
        assert_eq!(read(&asked(), &other), Err(Bad::Foreign));
        assert_eq!(read(&asked(), &asked()), Err(Bad::Foreign));
        // Refused without a question.
        let bare = [0x12, 0x34, 0x81, 0x85, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(read(&asked(), &bare).unwrap().code, 5);
    }

    #[test]
    fn nothing_that_comes_is_trusted() {
        let whole = answer(0);
        for cut in 0..whole.len() {
            assert!(read(&asked(), &whole[..cut]).is_err(), "{cut}");
        }
        let names = asked().len();
        // Pointing at itself, forwards, into the header; a label of a kind that does not exist.
        for (high, low) in
            [(0xc0, u8::try_from(names).unwrap()), (0xc0, 200), (0xc0, 2), (0x80, 12)]
        {
            let mut bad = whole.clone();
            (bad[names], bad[names + 1]) = (high, low);
            assert!(matches!(read(&asked(), &bad), Err(Bad::Broken(_))), "{high} {low}");
        }
        let mut long = whole.clone();
        let label = [[63].as_slice(), &[b'x'; 63]].concat();
        long.splice(names..=names, label.repeat(5));
        assert_eq!(read(&asked(), &long), Err(Bad::Broken("a name is too long")));
        let mut many = whole.clone();
        (many[6], many[7]) = (0xff, 0xff);
        assert!(matches!(read(&asked(), &many), Err(Bad::Broken(_))));
        let mut wrong = whole;
        wrong[names + 11] = 3;
        assert!(matches!(read(&asked(), &wrong), Err(Bad::Broken(_))));
    }

    /// Noise in place of each byte: any result, no panic, no endless loop.
    #[test]
    fn every_byte_may_be_any() {
        let whole = answer(0);
        for at in 0..whole.len() {
            for byte in 0..=u8::MAX {
                let mut changed = whole.clone();
                changed[at] = byte;
                let _ = read(&asked(), &changed);
            }
        }
    }

    #[test]
    fn what_counts_as_good() {
        let plain = Check::default();
        let word = |message: &[u8], check: &Check| {
            judge(&asked(), message, check).map(|f| (f.word, f.code))
        };
        assert_eq!(word(&answer(0), &plain), Some(("L7OK", Some(0))));
        assert_eq!(word(&answer(3), &plain), Some(("L7STS", Some(3))));
        let found = judge(&asked(), &answer(2), &plain).unwrap();
        assert_eq!(found.text, "Layer7 wrong status: the DNS server answers SERVFAIL");
        let both = Check { dns_codes: "NOERROR,NXDOMAIN".parse().ok(), ..Check::default() };
        assert_eq!(word(&answer(3), &both), Some(("L7OK", Some(3))));
        let here = Check { dns_address: "192.0.2.7".parse().ok(), ..Check::default() };
        assert_eq!(word(&answer(0), &here), Some(("L7OK", Some(0))));
        let there = Check { dns_address: "192.0.2.8".parse().ok(), ..Check::default() };
        assert_eq!(word(&answer(0), &there), Some(("L7RSP", Some(0))));
        assert_eq!(word(&asked(), &plain), None);
        assert_eq!(word(&answer(0)[..30], &plain), Some(("L7RSP", None)));
    }
}
