//! What a check by a DNS query asks, and which answers are good.

use crate::error::BadValue;
use crate::keyword::keywords;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A name a DNS server is asked for (RFC 1035 2.3.4: labels of at most 63 bytes, 253 together); `.`
/// is the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DnsName(String);

impl DnsName {
    /// Its labels, from the left; none for the root.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.0.split('.').filter(|l| !l.is_empty())
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DnsName {
    type Err = BadValue;
    fn from_str(text: &str) -> Result<Self, BadValue> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
        let label = |l: &str| (1..=63).contains(&l.len()) && l.bytes().all(plain);
        let name = text.strip_suffix('.').unwrap_or(text);
        if text == "." || (name.len() <= 253 && name.split('.').all(label)) {
            return Ok(Self(text.to_owned()));
        }
        Err(BadValue::new(format!(
            "{text:?} is no name a DNS server could be asked for; write for example example.org, or . for the root"
        )))
    }
}

impl TryFrom<String> for DnsName {
    type Error = BadValue;
    fn try_from(text: String) -> Result<Self, BadValue> {
        text.parse()
    }
}

impl From<DnsName> for String {
    fn from(value: DnsName) -> String {
        value.0
    }
}

keywords! {
    /// What a DNS server is asked about a name (RFC 1035 3.2.2, RFC 3596).
    DnsType, "type of DNS record",
    /// Its addresses.
    #[default]
    A => "A",
    /// Its IPv6 addresses.
    Aaaa => "AAAA",
    /// Its name servers; fits the root.
    Ns => "NS",
    /// Its zone.
    Soa => "SOA",
    /// Another name of it.
    Cname => "CNAME",
    /// Its mail servers.
    Mx => "MX",
    /// The name of an address.
    Ptr => "PTR",
    /// Its services.
    Srv => "SRV",
    /// Its texts.
    Txt => "TXT",
}

impl DnsType {
    /// Its number on the wire.
    pub const fn number(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Ns => 2,
            Self::Cname => 5,
            Self::Soa => 6,
            Self::Ptr => 12,
            Self::Mx => 15,
            Self::Txt => 16,
            Self::Aaaa => 28,
            Self::Srv => 33,
        }
    }
}

keywords! {
    /// How a DNS server answers (RFC 1035 4.1.1).
    DnsCode, "code of a DNS answer",
    /// Here it is.
    #[default]
    NoError => "NOERROR",
    /// The question was not understood.
    FormErr => "FORMERR",
    /// The server cannot find out.
    ServFail => "SERVFAIL",
    /// There is no such name.
    NxDomain => "NXDOMAIN",
    /// The server does not know how to answer.
    NotImp => "NOTIMP",
    /// The server does not want to answer.
    Refused => "REFUSED",
}

impl DnsCode {
    /// The code of this number, if it has a name here.
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// Codes: `NOERROR,NXDOMAIN`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DnsCodes(Vec<DnsCode>);

impl DnsCodes {
    /// Is this one of them?
    pub fn has(&self, number: u8) -> bool {
        DnsCode::of(number).is_some_and(|code| self.0.contains(&code))
    }
}

impl fmt::Display for DnsCodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.0.iter().map(|c| c.keyword()).collect();
        f.write_str(&words.join(","))
    }
}

impl FromStr for DnsCodes {
    type Err = BadValue;
    fn from_str(text: &str) -> Result<Self, BadValue> {
        let words = text.split([',', ' ']).map(str::trim).filter(|w| !w.is_empty());
        let codes: Vec<DnsCode> =
            words.map(|w| w.to_ascii_uppercase().parse()).collect::<Result<_, _>>()?;
        if codes.is_empty() || codes.len() > 2 * DnsCode::ALL.len() {
            return Err(BadValue::new("give the good codes, for example NOERROR,NXDOMAIN"));
        }
        Ok(Self(codes))
    }
}

impl TryFrom<String> for DnsCodes {
    type Error = BadValue;
    fn try_from(text: String) -> Result<Self, BadValue> {
        text.parse()
    }
}

impl From<DnsCodes> for String {
    fn from(value: DnsCodes) -> String {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_on_the_wire() {
        for good in [".", "pi.hole", "example.org.", "_dns.resolver.arpa", "a"] {
            let name: DnsName = good.parse().unwrap();
            assert_eq!(name.to_string(), good);
        }
        assert_eq!(".".parse::<DnsName>().unwrap().labels().count(), 0);
        let name: DnsName = "a.b.".parse().unwrap();
        assert_eq!(name.labels().collect::<Vec<_>>(), ["a", "b"]);
        let long = "a".repeat(64);
        let longer = ["a"; 128].join(".");
        for bad in ["", "..", "a..b", ".a", "ä.org", "a b", long.as_str(), longer.as_str()] {
            assert!(bad.parse::<DnsName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn codes_have_their_numbers() {
        let codes: DnsCodes = "noerror, NXDOMAIN".parse().unwrap();
        assert!(codes.has(0) && codes.has(3) && !codes.has(2) && !codes.has(15));
        assert_eq!(codes.to_string(), "NOERROR,NXDOMAIN");
        assert!(["", ",", "OK"].iter().all(|bad| bad.parse::<DnsCodes>().is_err()));
        assert_eq!(DnsCode::of(5), Some(DnsCode::Refused));
        assert_eq!(DnsCode::of(6), None);
        assert_eq!("aaaa".to_uppercase().parse(), Ok(DnsType::Aaaa));
    }
}
