//! How servers are checked, under HAProxy's names.

use crate::dns::{DnsCodes, DnsName, DnsType};
use crate::error::BadValue;
use crate::keyword::keywords;
use crate::text::{CheckHost, CheckPath, CheckText};
use crate::units::{Millis, Port};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Health checks (HAProxy `server … check inter fall rise`, `option httpchk`, `http-check expect`,
/// `agent-check`, `observe layer7`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Check {
    /// Off: servers count as up.
    pub enabled: bool,
    /// Time between checks, and the time a check may take.
    pub inter: Millis,
    /// Time between checks of a server whose state is about to change (HAProxy `fastinter`).
    /// None: `inter`.
    pub fastinter: Option<Millis>,
    /// Time between checks of a server that is down (HAProxy `downinter`). None: `inter`.
    pub downinter: Option<Millis>,
    /// Longest time for the answer, once connected (HAProxy `timeout check`). None: what `inter`
    /// leaves.
    pub timeout: Option<Millis>,
    /// Failures in a row until a server is down.
    pub fall: u8,
    /// Successes in a row until it is up again.
    pub rise: u8,
    /// Check this port instead of the server's (HAProxy `port`).
    pub port: Option<Port>,
    /// Ask for this path and expect 2xx or 3xx (HAProxy `option httpchk`). None: a TCP connection
    /// is enough.
    pub http_path: Option<CheckPath>,
    /// The method it is asked for with.
    pub http_method: CheckMethod,
    /// The `Host` it is asked for with. None: the server's address.
    pub http_host: Option<CheckHost>,
    /// Statuses that are good (HAProxy `http-check expect status`). None: 200-399.
    pub expect_status: Option<Statuses>,
    /// What a good answer contains (HAProxy `http-check expect string`).
    pub expect_string: Option<CheckText>,
    /// Ask the DNS server for this name instead: by datagram, or by the connection that its visitors
    /// use in mode tcp. None: no DNS check.
    pub dns_name: Option<DnsName>,
    /// What it is asked about the name.
    pub dns_type: DnsType,
    /// Codes of good answers. None: NOERROR.
    pub dns_codes: Option<DnsCodes>,
    /// The address a good answer contains. None: any answer will do.
    pub dns_address: Option<IpAddr>,
    /// A 404 from a server that is up lets it finish what it has, without new visitors (HAProxy
    /// `http-check disable-on-404`): who removes the checked file takes the server out politely.
    pub disable_on_404: bool,
    /// Ask the agent at this port of the server as well (HAProxy `agent-check agent-port`).
    pub agent_port: Option<Port>,
    /// Time between two questions to the agent (HAProxy `agent-inter`).
    pub agent_inter: Millis,
    /// Break off the requests of a server that goes down (HAProxy `on-marked-down
    /// shutdown-sessions`).
    pub shutdown_sessions: bool,
    /// Watch the answers to visitors as well (HAProxy `observe layer7`).
    pub observe: bool,
    /// Bad answers in a row that count (HAProxy `error-limit`).
    pub error_limit: u32,
    /// What they do (HAProxy `on-error`).
    pub on_error: OnError,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            enabled: true,
            inter: Millis(500),
            fastinter: None,
            downinter: None,
            timeout: None,
            fall: 3,
            rise: 2,
            port: None,
            http_path: None,
            http_method: CheckMethod::Get,
            http_host: None,
            expect_status: None,
            expect_string: None,
            dns_name: None,
            dns_type: DnsType::A,
            dns_codes: None,
            dns_address: None,
            disable_on_404: false,
            agent_port: None,
            agent_inter: Millis::seconds(2),
            shutdown_sessions: false,
            observe: false,
            error_limit: 10,
            on_error: OnError::FailCheck,
        }
    }
}

keywords! {
    /// How a check asks.
    CheckMethod, "method of a check",
    /// The whole page.
    #[default]
    Get => "GET",
    /// Its head only.
    Head => "HEAD",
    /// HAProxy's default.
    Options => "OPTIONS",
}

keywords! {
    /// What too many bad answers in a row do (HAProxy `on-error`).
    OnError, "reaction to errors",
    /// The next checks come in quick succession.
    Fastinter => "fastinter",
    /// They count as one failed check.
    #[default]
    FailCheck => "fail-check",
    /// One more failed check takes the server down.
    SuddenDeath => "sudden-death",
    /// The server is down.
    MarkDown => "mark-down",
}

/// Statuses: `200-299,304`; with `! ` in front all others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Statuses {
    not: bool,
    ranges: Vec<(u16, u16)>,
}

impl Statuses {
    /// Is this one of them?
    pub fn has(&self, status: u16) -> bool {
        let within = self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&status));
        within != self.not
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.not {
            f.write_str("! ")?;
        }
        for (i, (low, high)) in self.ranges.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{low}")?;
            if high != low {
                write!(f, "-{high}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Statuses {
    type Err = BadValue;
    fn from_str(text: &str) -> Result<Self, BadValue> {
        let bad = || {
            BadValue::new(format!(
                "{text:?} are no statuses; write for example 200-299,304, each from 100 to 999"
            ))
        };
        let trimmed = text.trim();
        let (not, list) = match trimmed.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, trimmed),
        };
        let number = |t: &str| {
            t.trim().parse::<u16>().ok().filter(|n| (100..=999).contains(n)).ok_or_else(bad)
        };
        let range = |part: &str| {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            let (low, high) = (number(low)?, number(high)?);
            if low <= high { Ok((low, high)) } else { Err(bad()) }
        };
        let ranges: Vec<_> = list.split(',').map(range).collect::<Result<_, _>>()?;
        if ranges.len() > 32 {
            return Err(bad());
        }
        Ok(Self { not, ranges })
    }
}

impl TryFrom<String> for Statuses {
    type Error = BadValue;
    fn try_from(text: String) -> Result<Self, BadValue> {
        text.parse()
    }
}

impl From<Statuses> for String {
    fn from(value: Statuses) -> String {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read_as_haproxy_writes_them() {
        let some: Statuses = "200-299,304".parse().unwrap();
        assert!(some.has(200) && some.has(299) && some.has(304) && !some.has(300));
        assert_eq!(some.to_string(), "200-299,304");
        let not: Statuses = "! 500-599".parse().unwrap();
        assert!(not.has(404) && !not.has(503));
        assert_eq!(not.to_string().parse(), Ok(not));
        for bad in ["", "abc", "99", "200-", "300-200", "200,,201", "1000", "-200"] {
            assert!(bad.parse::<Statuses>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn keywords_are_haproxys() {
        assert_eq!("sudden-death".parse(), Ok(OnError::SuddenDeath));
        let error = "what".parse::<OnError>().unwrap_err().to_string();
        assert!(error.contains("fastinter, fail-check"), "{error}");
    }
}
