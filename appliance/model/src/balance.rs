//! How a server is chosen, in HAProxy's words: `balance` and `hash-type`.

use crate::error::BadValue;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The most draws of `random`; more would only look at the same servers again.
const MAX_DRAWS: u8 = 64;
/// The longest name of a parameter, field or cookie.
const LONGEST_NAME: usize = 64;

/// How a server is chosen (HAProxy `balance`), written as HAProxy's keyword line: `roundrobin`,
/// `uri len 20 depth 2`, `hdr(host) use_domain_only` ...
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Balance {
    /// In turn, by weight; weights change while running.
    #[default]
    Roundrobin,
    /// In turn, by weight; the whole turn begins anew when the set of servers changes.
    StaticRr,
    /// The server with the fewest requests under way, relative to its weight.
    Leastconn,
    /// The first server, in the order of the settings, that has room (HAProxy `maxconn`).
    First,
    /// By the visitor's address.
    Source,
    /// By the address that is asked for.
    Uri(UriPart),
    /// By a parameter of the query.
    UrlParam {
        /// The parameter's name.
        name: String,
        /// Wait for the body of a POST, which may have it when the query does not.
        check_post: bool,
    },
    /// By a request header field.
    Hdr {
        /// The field's name.
        name: String,
        /// Only the part of a host name before the top level: `1wt` of `haproxy.1wt.eu`.
        use_domain_only: bool,
    },
    /// The less busy of a few drawn at random.
    Random {
        /// How many are drawn.
        draws: u8,
    },
    /// By the cookie of a remote desktop session (mode tcp).
    RdpCookie {
        /// The cookie's name, `mstshash` by default.
        name: String,
    },
}

/// What of the address counts for `balance uri`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UriPart {
    /// Only so many of its first characters.
    pub len: Option<u16>,
    /// Only so many directory levels.
    pub depth: Option<u8>,
    /// The query counts, too.
    pub whole: bool,
    /// A host in front of the path does not count.
    pub path_only: bool,
}

impl Balance {
    /// One of each, with the arguments most people want, in the order they are offered.
    pub fn examples() -> Vec<Self> {
        vec![
            Self::Roundrobin,
            Self::StaticRr,
            Self::Leastconn,
            Self::First,
            Self::Random { draws: 2 },
            Self::Source,
            Self::Uri(UriPart::default()),
            Self::UrlParam { name: "userid".to_owned(), check_post: false },
            Self::Hdr { name: "host".to_owned(), use_domain_only: false },
            Self::RdpCookie { name: "mstshash".to_owned() },
        ]
    }

    /// HAProxy's keyword, as its statistics show it.
    pub const fn keyword(&self) -> &'static str {
        match self {
            Self::Roundrobin => "roundrobin",
            Self::StaticRr => "static-rr",
            Self::Leastconn => "leastconn",
            Self::First => "first",
            Self::Source => "source",
            Self::Uri(_) => "uri",
            Self::UrlParam { .. } => "url_param",
            Self::Hdr { .. } => "hdr",
            Self::Random { .. } => "random",
            Self::RdpCookie { .. } => "rdp-cookie",
        }
    }

    /// Does it choose by a hash, so that `hash-type` matters?
    pub const fn hashes(&self) -> bool {
        !matches!(
            self,
            Self::Roundrobin | Self::StaticRr | Self::Leastconn | Self::First | Self::Random { .. }
        )
    }

    /// Does it follow weights that change while running, as `slowstart` makes them?
    pub fn is_dynamic(&self, hash_type: HashType) -> bool {
        match self {
            Self::Roundrobin | Self::Leastconn | Self::Random { .. } => true,
            Self::StaticRr | Self::First => false,
            _ => hash_type.method == HashMethod::Consistent,
        }
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(part) => {
                f.write_str("uri")?;
                if let Some(len) = part.len {
                    write!(f, " len {len}")?;
                }
                if let Some(depth) = part.depth {
                    write!(f, " depth {depth}")?;
                }
                for (on, word) in [(part.whole, " whole"), (part.path_only, " path-only")] {
                    if on {
                        f.write_str(word)?;
                    }
                }
                Ok(())
            }
            Self::UrlParam { name, check_post } => {
                write!(f, "url_param {name}{}", if *check_post { " check_post" } else { "" })
            }
            Self::Hdr { name, use_domain_only } => {
                write!(f, "hdr({name}){}", if *use_domain_only { " use_domain_only" } else { "" })
            }
            Self::Random { draws: 2 } => f.write_str("random"),
            Self::Random { draws } => write!(f, "random({draws})"),
            Self::RdpCookie { name } if name == "mstshash" => f.write_str("rdp-cookie"),
            Self::RdpCookie { name } => write!(f, "rdp-cookie({name})"),
            plain => f.write_str(plain.keyword()),
        }
    }
}

fn bad(text: impl Into<String>) -> BadValue {
    BadValue::new(text)
}

/// A number after a keyword.
fn number<T: FromStr>(what: &str, word: Option<&str>, low: u32, high: u32) -> Result<T, BadValue> {
    let good = word.and_then(|w| w.parse::<u32>().ok()).filter(|n| (low..=high).contains(n));
    good.and_then(|n| n.to_string().parse().ok()).ok_or_else(|| {
        bad(format!("{what} takes a number from {low} to {high}, not {:?}", word.unwrap_or("")))
    })
}

/// A name of a parameter, field or cookie.
fn named(what: &str, word: Option<&str>, example: &str) -> Result<String, BadValue> {
    let word = word.unwrap_or("");
    let plain = |b: u8| b.is_ascii_graphic() && !b"()=&;,\"'".contains(&b);
    if !word.is_empty() && word.len() <= LONGEST_NAME && word.bytes().all(plain) {
        return Ok(word.to_owned());
    }
    Err(bad(format!("{what} needs a name of at most {LONGEST_NAME} characters: {example}")))
}

impl FromStr for Balance {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let mut words = text.split_ascii_whitespace();
        let first = words.next().unwrap_or("");
        let (keyword, argument) = match first.split_once('(') {
            Some((keyword, rest)) => {
                let closed = rest.strip_suffix(')');
                (keyword, Some(closed.ok_or_else(|| bad(format!("{first:?} has no )")))?))
            }
            None => (first, None),
        };
        let balance = match (keyword, argument) {
            ("roundrobin", None) => Self::Roundrobin,
            ("static-rr", None) => Self::StaticRr,
            ("leastconn", None) => Self::Leastconn,
            ("first", None) => Self::First,
            ("source", None) => Self::Source,
            ("uri", None) => {
                let mut part = UriPart::default();
                while let Some(word) = words.next() {
                    match word {
                        "len" => part.len = Some(number("len", words.next(), 1, 8192)?),
                        "depth" => part.depth = Some(number("depth", words.next(), 1, 64)?),
                        "whole" => part.whole = true,
                        "path-only" => part.path_only = true,
                        other => {
                            return Err(bad(format!(
                                "uri knows len, depth, whole and path-only, not {other:?}"
                            )));
                        }
                    }
                }
                Self::Uri(part)
            }
            ("url_param", None) => {
                let name = named("url_param", words.next(), "url_param userid")?;
                let check_post = match words.next() {
                    None => false,
                    Some("check_post") => true,
                    Some(other) => {
                        return Err(bad(format!("url_param knows check_post, not {other:?}")));
                    }
                };
                Self::UrlParam { name, check_post }
            }
            ("hdr", name) => {
                let name = named("hdr", name, "hdr(host)")?;
                if !name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"!#$%&*+-.^_`|~".contains(&b))
                {
                    return Err(bad(format!("{name:?} is no name of a header field")));
                }
                let use_domain_only = match words.next() {
                    None => false,
                    Some("use_domain_only") => true,
                    Some(other) => {
                        return Err(bad(format!("hdr knows use_domain_only, not {other:?}")));
                    }
                };
                Self::Hdr { name: name.to_ascii_lowercase(), use_domain_only }
            }
            ("random", None) => Self::Random { draws: 2 },
            ("random", draws) => {
                Self::Random { draws: number("random", draws, 1, u32::from(MAX_DRAWS))? }
            }
            ("rdp-cookie", None) => Self::RdpCookie { name: "mstshash".to_owned() },
            ("rdp-cookie", name) => {
                Self::RdpCookie { name: named("rdp-cookie", name, "rdp-cookie(mstshash)")? }
            }
            _ => {
                return Err(bad(format!(
                    "{text:?} is no balancing algorithm; choose roundrobin, static-rr, leastconn, first, random, source, uri, url_param NAME, hdr(NAME) or rdp-cookie"
                )));
            }
        };
        match words.next() {
            None => Ok(balance),
            Some(word) => Err(bad(format!("{keyword} takes no {word:?}"))),
        }
    }
}

impl TryFrom<String> for Balance {
    type Error = BadValue;
    fn try_from(text: String) -> Result<Self, BadValue> {
        text.parse()
    }
}

impl From<Balance> for String {
    fn from(balance: Balance) -> Self {
        balance.to_string()
    }
}

/// How a hash becomes a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HashMethod {
    /// By a table of all servers: exact shares; a change of the servers moves most visitors.
    #[default]
    MapBased,
    /// By places on a ring: a change of the servers moves only those visitors it must.
    Consistent,
}

/// How a text becomes a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HashFunction {
    /// From the sdbm database.
    #[default]
    Sdbm,
    /// Dan Bernstein's.
    Djb2,
    /// HAProxy's own; good for short binary keys.
    Wt6,
    /// The checksum of Ethernet and gzip.
    Crc32,
}

impl HashFunction {
    const ALL: [(Self, &'static str); 4] =
        [(Self::Sdbm, "sdbm"), (Self::Djb2, "djb2"), (Self::Wt6, "wt6"), (Self::Crc32, "crc32")];
}

/// HAProxy `hash-type`, written as its keyword line: `map-based`, `consistent djb2 avalanche` ...
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HashType {
    /// How a hash becomes a server.
    pub method: HashMethod,
    /// How a text becomes a hash.
    pub function: HashFunction,
    /// Mix the hash's bits once more. `consistent` without a function does that anyway.
    pub avalanche: bool,
}

impl fmt::Display for HashType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let consistent = self.method == HashMethod::Consistent;
        f.write_str(if consistent { "consistent" } else { "map-based" })?;
        let plain = self.function == HashFunction::default() && self.avalanche == consistent;
        if plain {
            return Ok(());
        }
        for (function, word) in HashFunction::ALL {
            if function == self.function {
                write!(f, " {word}")?;
            }
        }
        if self.avalanche { f.write_str(" avalanche") } else { Ok(()) }
    }
}

impl FromStr for HashType {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let mut words = text.split_ascii_whitespace();
        let method = match words.next() {
            Some("map-based") => HashMethod::MapBased,
            Some("consistent") => HashMethod::Consistent,
            _ => {
                return Err(bad(format!(
                    "{text:?} is no hash type; write map-based or consistent, then if you like sdbm, djb2, wt6 or crc32, then avalanche"
                )));
            }
        };
        let Some(word) = words.next() else {
            let avalanche = method == HashMethod::Consistent;
            return Ok(Self { method, function: HashFunction::default(), avalanche });
        };
        let known = HashFunction::ALL.iter().find(|(_, name)| *name == word);
        let (function, _) = known.ok_or_else(|| {
            bad(format!("{word:?} is no hash function; choose sdbm, djb2, wt6 or crc32"))
        })?;
        let avalanche = match words.next() {
            None => false,
            Some("avalanche") => true,
            Some(other) => return Err(bad(format!("hash-type knows avalanche, not {other:?}"))),
        };
        match words.next() {
            None => Ok(Self { method, function: *function, avalanche }),
            Some(other) => Err(bad(format!("hash-type takes no {other:?} at its end"))),
        }
    }
}

impl TryFrom<String> for HashType {
    type Error = BadValue;
    fn try_from(text: String) -> Result<Self, BadValue> {
        text.parse()
    }
}

impl From<HashType> for String {
    fn from(hash_type: HashType) -> Self {
        hash_type.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_written_again() {
        for line in [
            "roundrobin",
            "static-rr",
            "leastconn",
            "first",
            "source",
            "uri",
            "uri len 20 depth 2 whole path-only",
            "url_param user",
            "url_param user check_post",
            "hdr(host)",
            "hdr(x-id) use_domain_only",
            "random",
            "random(4)",
            "rdp-cookie",
            "rdp-cookie(msts)",
        ] {
            assert_eq!(line.parse::<Balance>().unwrap().to_string(), line);
        }
        assert_eq!("hdr(Host)".parse::<Balance>().unwrap().to_string(), "hdr(host)");
        assert_eq!("random(2)".parse::<Balance>().unwrap().to_string(), "random");
        for example in Balance::examples() {
            assert_eq!(example.to_string().parse(), Ok(example));
        }
        for line in [
            "map-based",
            "consistent",
            "consistent sdbm",
            "consistent djb2 avalanche",
            "map-based crc32",
            "map-based sdbm avalanche",
            "map-based wt6",
        ] {
            assert_eq!(line.parse::<HashType>().unwrap().to_string(), line);
        }
        let plain: HashType = "consistent".parse().unwrap();
        assert!(plain.avalanche);
        assert!(!"consistent sdbm".parse::<HashType>().unwrap().avalanche);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, says) in [
            ("", "no balancing algorithm"),
            ("rr", "no balancing algorithm"),
            ("uri len", "len takes a number from 1"),
            ("uri len 0", "len takes a number from 1"),
            ("uri depth x", "not \"x\""),
            ("uri deep 1", "not \"deep\""),
            ("url_param", "needs a name"),
            ("url_param a b", "check_post"),
            ("hdr", "needs a name"),
            ("hdr()", "needs a name"),
            ("hdr(a b)", "has no )"),
            ("hdr(host", "has no )"),
            ("hdr(a:b)", "no name of a header field"),
            ("random(0)", "1 to 64"),
            ("random(x)", "1 to 64"),
            ("roundrobin now", "takes no \"now\""),
            ("source(1)", "no balancing algorithm"),
        ] {
            let error = line.parse::<Balance>().unwrap_err().to_string();
            assert!(error.contains(says), "{line:?}: {error}");
        }
        for line in ["", "map", "consistent md5", "consistent sdbm x", "map-based sdbm avalanche x"]
        {
            assert!(line.parse::<HashType>().is_err(), "{line:?}");
        }
    }
}
