//! What a rule can look at (HAProxy's sample fetches).

use crate::error::BadValue;
use crate::tracking::Counted;
use std::fmt;

/// A part of a request or response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// The path, without the query.
    Path,
    /// The query, without its `?`.
    Query,
    /// Path and query.
    Url,
    /// Host and path (HAProxy `base`).
    Base,
    /// The method.
    Method,
    /// The host without its port, in lower case.
    Host,
    /// The values of a request field; lists fall into their elements. The name is in lower case.
    Field(String),
    /// The values of a request field as they are.
    WholeField(String),
    /// A cookie.
    Cookie(String),
    /// A parameter of the query.
    UrlParam(String),
    /// The visitor's address.
    Src,
    /// The port the visitor connected to.
    DstPort,
    /// The visitor came over TLS.
    SslFc,
    /// What the visitor asks for, from the frontend's table (HAProxy `src_http_req_rate`).
    Visitor(Counted),
    /// The same once a rule has put the visitor there (HAProxy `sc_http_req_rate(0)`).
    Tracked(Counted),
    /// The response's status.
    Status,
    /// The values of a response field.
    ResponseField(String),
    /// Always (HAProxy `always_true`).
    True,
    /// Never (HAProxy `always_false`).
    False,
}

impl Fetch {
    /// Reads `path`, `hdr(host)` and so on.
    pub(super) fn new(word: &str) -> Result<Self, BadValue> {
        let (name, argument) = match word.split_once('(') {
            Some((name, rest)) => {
                let closed = rest.strip_suffix(')');
                let argument = closed.ok_or_else(|| BadValue::new(format!("{word:?} has no )")))?;
                (name, argument)
            }
            None => (word, ""),
        };
        let wants = |example: &str| {
            if argument.is_empty() || argument.len() > 128 || !argument.is_ascii() {
                return Err(BadValue::new(format!("{name} needs a name, such as {example}")));
            }
            Ok(argument.to_owned())
        };
        let lower = |example: &str| wants(example).map(|a| a.to_ascii_lowercase());
        let plain = name.strip_prefix("req.").unwrap_or(name);
        if let Some(fetch) = counter(name, argument) {
            return Ok(fetch);
        }
        let fetch = match plain {
            "hdr" => Self::Field(lower("hdr(user-agent)")?),
            "fhdr" => Self::WholeField(lower("fhdr(user-agent)")?),
            "cook" => Self::Cookie(wants("cook(NAME)")?),
            "url_param" | "urlp" => Self::UrlParam(wants("url_param(NAME)")?),
            "res.hdr" | "res.fhdr" | "shdr" => Self::ResponseField(lower("res.hdr(server)")?),
            _ if !argument.is_empty() => return Err(Self::unknown(word)),
            "path" => Self::Path,
            "query" => Self::Query,
            "url" => Self::Url,
            "base" => Self::Base,
            "method" => Self::Method,
            "host" => Self::Host,
            "src" => Self::Src,
            "dst_port" => Self::DstPort,
            "ssl_fc" => Self::SslFc,
            "status" => Self::Status,
            "always_true" => Self::True,
            "always_false" => Self::False,
            _ => return Err(Self::unknown(word)),
        };
        Ok(fetch)
    }

    fn unknown(word: &str) -> BadValue {
        BadValue::new(format!(
            "{word:?} is nothing a rule can look at; use host, path, query, url, method, src, hdr(NAME), cook(NAME), url_param(NAME), dst_port, ssl_fc, src_http_req_rate and its like, or in http-response rules status and res.hdr(NAME)"
        ))
    }

    /// HAProxy's keyword, without arguments; the start of it for counters.
    const fn keyword(&self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Url => "url",
            Self::Base => "base",
            Self::Method => "method",
            Self::Host => "host",
            Self::Field(_) => "hdr",
            Self::WholeField(_) => "fhdr",
            Self::Cookie(_) => "cook",
            Self::UrlParam(_) => "url_param",
            Self::Src => "src",
            Self::DstPort => "dst_port",
            Self::SslFc => "ssl_fc",
            Self::Visitor(_) => "src_",
            Self::Tracked(_) => "sc_",
            Self::Status => "status",
            Self::ResponseField(_) => "res.hdr",
            Self::True => "always_true",
            Self::False => "always_false",
        }
    }

    /// Is it a part of the response?
    pub const fn of_response(&self) -> bool {
        matches!(self, Self::Status | Self::ResponseField(_))
    }

    /// Is it true or false by itself?
    pub(super) const fn is_flag(&self) -> bool {
        matches!(self, Self::SslFc | Self::True | Self::False)
    }

    /// Is it a number?
    pub(super) const fn is_number(&self) -> bool {
        matches!(self, Self::Status | Self::DstPort | Self::Visitor(_) | Self::Tracked(_))
    }

    /// The counter of the frontend's table it needs.
    pub const fn counter(&self) -> Option<Counted> {
        match self {
            Self::Visitor(what) | Self::Tracked(what) => Some(*what),
            _ => None,
        }
    }

    /// Is it known as soon as a connection is?
    pub(super) const fn of_connection(&self) -> bool {
        let simple = matches!(self, Self::Src | Self::DstPort | Self::True | Self::False);
        simple || self.counter().is_some()
    }
}

impl fmt::Display for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.keyword())?;
        match self {
            Self::Visitor(what) => write!(f, "{what}"),
            Self::Tracked(what) => write!(f, "{what}(0)"),
            _ => Ok(()),
        }
    }
}

/// `src_conn_rate`, `sc0_conn_rate` and `sc_conn_rate(0)`. There is one table and one counter of
/// it: the frontend's own.
fn counter(name: &str, argument: &str) -> Option<Fetch> {
    let of = |name: &str| name.parse::<Counted>().ok();
    if let Some(what) = name.strip_prefix("src_").and_then(of).filter(|_| argument.is_empty()) {
        return Some(Fetch::Visitor(what));
    }
    let first = name.strip_prefix("sc0_").filter(|_| argument.is_empty());
    let first = first.or_else(|| name.strip_prefix("sc_").filter(|_| argument == "0"));
    first.and_then(of).map(Fetch::Tracked)
}
