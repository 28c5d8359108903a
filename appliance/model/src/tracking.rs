//! How much each visitor asks for, so that rules can hold back who asks for too much, in HAProxy's
//! words.
//!
//! ```text
//! stick-table     type ip size 100k expire 30s store http_req_rate(10s),conn_cur
//! http-request    track-sc0 src
//! http-request    deny deny_status 429 if { sc_http_req_rate(0) gt 100 }
//! ```

use crate::error::BadValue;
use crate::keyword::keywords;
use crate::persistence::{line, size};
use crate::units::Millis;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

keywords! {
    /// What is counted of a visitor.
    Counted, "counter",
    /// Connections there are now.
    #[default]
    ConnCur => "conn_cur",
    /// Connections there were.
    ConnCnt => "conn_cnt",
    /// Connections in a span of time.
    ConnRate => "conn_rate",
    /// Requests there were.
    HttpReqCnt => "http_req_cnt",
    /// Requests in a span of time.
    HttpReqRate => "http_req_rate",
    /// Refused or unsuccessful requests, 400 to 499, there were.
    HttpErrCnt => "http_err_cnt",
    /// Refused or unsuccessful requests in a span of time.
    HttpErrRate => "http_err_rate",
}

impl Counted {
    /// Is it counted over a span of time?
    pub const fn is_rate(self) -> bool {
        matches!(self, Self::ConnRate | Self::HttpReqRate | Self::HttpErrRate)
    }
}

/// A frontend's table of visitors (HAProxy `stick-table type ip … store …`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrackTable {
    /// The most visitors; who has been away longest is forgotten first.
    pub size: u32,
    /// How long a visitor is kept who does not come back; None: until the table is full.
    pub expire: Option<Millis>,
    /// What is counted, and over which span of time where it is a rate.
    pub store: Vec<(Counted, Option<Millis>)>,
}

impl TrackTable {
    /// Is this counted?
    pub fn counts(&self, what: Counted) -> bool {
        self.store.iter().any(|(stored, _)| *stored == what)
    }

    /// The span of time of a rate, in milliseconds; 0 where it is not counted.
    pub fn period(&self, what: Counted) -> u32 {
        let found = self.store.iter().find(|(stored, _)| *stored == what);
        found.and_then(|(_, period)| *period).map_or(0, |p| p.0)
    }
}

impl fmt::Display for TrackTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.size {
            size if size % 1024 == 0 => write!(f, "type ip size {}k", size / 1024)?,
            size => write!(f, "type ip size {size}")?,
        }
        if let Some(expire) = self.expire {
            write!(f, " expire {expire}")?;
        }
        for (index, (what, period)) in self.store.iter().enumerate() {
            f.write_str(if index == 0 { " store " } else { "," })?;
            match period {
                Some(period) => write!(f, "{what}({period})")?,
                None => write!(f, "{what}")?,
            }
        }
        Ok(())
    }
}

fn bad(text: impl Into<String>) -> BadValue {
    BadValue::new(text)
}

fn stored(word: &str) -> Result<(Counted, Option<Millis>), BadValue> {
    let (name, period) = match word.split_once('(') {
        Some((name, rest)) => (name, Some(rest.strip_suffix(')').unwrap_or(""))),
        None => (word, None),
    };
    let what: Counted = name.parse()?;
    let period = match (what.is_rate(), period) {
        (true, Some(text)) => Some(text.parse::<Millis>()?),
        (true, None) => return Err(bad(format!("{name} needs a span of time: {name}(10s)"))),
        (false, Some(_)) => return Err(bad(format!("{name} takes no span of time"))),
        (false, None) => None,
    };
    match period {
        Some(Millis(0)) => Err(bad(format!("{name}'s span of time is at least 1ms"))),
        _ => Ok((what, period)),
    }
}

impl FromStr for TrackTable {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let mut words = text.split_ascii_whitespace();
        let (mut ip, mut entries, mut expire, mut store) = (false, None, None, Vec::new());
        while let Some(word) = words.next() {
            match word {
                "type" => match words.next() {
                    Some("ip") => ip = true,
                    other => {
                        let other = other.unwrap_or("");
                        return Err(bad(format!("visitors are counted by type ip, not {other:?}")));
                    }
                },
                "size" => entries = Some(size(words.next())?),
                "expire" => expire = Some(words.next().unwrap_or("").parse::<Millis>()?),
                "store" => {
                    for word in words.next().unwrap_or("").split(',') {
                        let next = stored(word)?;
                        if store.iter().any(|(what, _)| *what == next.0) {
                            return Err(bad(format!("{} is stored once", next.0)));
                        }
                        store.push(next);
                    }
                }
                other => {
                    return Err(bad(format!(
                        "a table of visitors knows type, size, expire and store, not {other:?}"
                    )));
                }
            }
        }
        match entries {
            Some(size) if ip && !store.is_empty() => Ok(Self { size, expire, store }),
            _ => Err(bad(
                "a table of visitors needs a type, a size and what it stores, for example: type ip size 100k expire 30s store http_req_rate(10s)",
            )),
        }
    }
}

line!(TrackTable);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_as_haproxy_writes_them() {
        for text in [
            "type ip size 100k expire 30s store http_req_rate(10s)",
            "type ip size 1000 store conn_cur,conn_rate(3s),http_err_cnt",
        ] {
            assert_eq!(text.parse::<TrackTable>().unwrap().to_string(), text);
        }
        for (text, says) in [
            ("", "needs a type"),
            ("type ip size 10", "needs a type"),
            ("size 10 store conn_cur", "needs a type"),
            ("type string size 10 store conn_cur", "type ip"),
            ("type ip size 0 store conn_cur", "size is"),
            ("type ip size 10 store frob", "is no counter"),
            ("type ip size 10 store conn_rate", "needs a span"),
            ("type ip size 10 store conn_rate(x)", "no span"),
            ("type ip size 10 store conn_rate(0)", "at least 1ms"),
            ("type ip size 10 store conn_cur(1s)", "takes no span"),
            ("type ip size 10 store conn_cur,conn_cur", "once"),
            ("type ip size 10 peers x", "knows type"),
        ] {
            let error = text.parse::<TrackTable>().unwrap_err().to_string();
            assert!(error.contains(says), "{text:?}: {error}");
        }
    }
}
