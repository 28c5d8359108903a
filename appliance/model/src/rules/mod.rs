//! What a frontend does with requests and responses before and after the servers, one rule a
//! line, in HAProxy's words.
//!
//! ```text
//! acl api path_beg /api/
//! http-request redirect scheme https code 301 if !{ ssl_fc }
//! http-request deny if { src 10.0.0.0/8 } or { method TRACE }
//! http-request set-header X-From %[src]
//! use_backend api if api
//! http-response del-header Server
//! http-request track-sc0 src
//! http-request deny deny_status 429 if { sc_http_req_rate(0) gt 100 }
//! ```
//!
//! As in HAProxy, the `tcp-request connection` rules run as soon as a connection is there, before
//! anything is read from it; of a request the `http-request` rules run first, in their order, until one answers; then the
//! first `use_backend` whose condition holds decides; `http-response` rules run on what a server
//! answered. A line is read once; what is wrong is said at that line.

mod condition;
mod fetch;
mod format;

pub use condition::{Condition, Matching, Term, Test};
pub use fetch::Fetch;
pub use format::{Format, Piece};

use crate::config_line::words;
use crate::error::BadValue;
use crate::persistence::line;
use crate::text::Name;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest line.
const LONGEST: usize = 2048;
/// The most rules of a frontend.
pub(crate) const MOST: usize = 256;

/// One rule. Two rules are the same when their lines are.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rule {
    text: String,
    parsed: Arc<Parsed>,
}

/// What a line means.
#[derive(Debug)]
pub struct Parsed {
    /// What happens.
    pub action: Action,
    /// When; always, without one.
    pub condition: Option<Condition>,
}

/// What a rule does.
#[derive(Debug)]
pub enum Action {
    /// Gives tests a name for the rules below it (HAProxy `acl`). Several of one name: one of
    /// them must hold.
    Acl(String, Test),
    /// Sends the request to this backend.
    UseBackend(Name),
    /// Answers with another address.
    Redirect(Redirect),
    /// Answers with an error.
    Deny(u16),
    /// Answers with an error, and takes its time (HAProxy `tarpit`).
    Tarpit(u16),
    /// Counts the visitor in the frontend's table from here on (HAProxy `track-sc0 src`).
    Track(Stage),
    /// Sends the request once at most: only a failed connection is tried again (HAProxy
    /// `disable-l7-retry`).
    Once,
    /// Closes the connection at once (HAProxy `tcp-request connection reject`).
    Reject,
    /// Lets the connection in without looking at further rules (HAProxy `tcp-request connection
    /// accept`).
    Accept,
    /// Changes a field of the request.
    Request(FieldEdit),
    /// Changes a field of the response.
    Response(FieldEdit),
}

/// When a rule runs that is no rule of requests alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// On a new connection.
    Connection,
    /// On each request.
    Request,
}

/// Where a redirect leads.
#[derive(Debug)]
pub struct Redirect {
    /// How the address is made.
    pub to: RedirectTo,
    /// 301, 302, 303, 307 or 308.
    pub code: u16,
    /// Leave the query out (`prefix` and `scheme`).
    pub drop_query: bool,
    /// Put a `/` behind a path that has none (`prefix` and `scheme`).
    pub append_slash: bool,
}

/// How a redirect's address is made.
#[derive(Debug)]
pub enum RedirectTo {
    /// This address.
    Location(Format),
    /// This in front of path and query.
    Prefix(Format),
    /// The same address in this scheme.
    Scheme(Format),
}

/// A change of a header field.
#[derive(Debug)]
pub enum FieldEdit {
    /// Replaces every line of this name by one.
    Set(String, Format),
    /// Adds a line.
    Add(String, Format),
    /// Removes every line of this name.
    Remove(String),
}

/// Fields that say where a message ends or belong to one connection: the balancer writes them.
const RESERVED: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn bad(text: impl Into<String>) -> BadValue {
    BadValue::new(text)
}

fn field_name(word: Option<&String>) -> Result<String, BadValue> {
    let name = word.map(String::as_str).unwrap_or("");
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || name.len() > 128 || !name.bytes().all(token) {
        return Err(bad(format!("{name:?} is no name of a header field")));
    }
    if RESERVED.iter().any(|r| name.eq_ignore_ascii_case(r)) {
        return Err(bad(format!(
            "{name} belongs to the connection or says where a message ends; the balancer writes it itself"
        )));
    }
    Ok(name.to_owned())
}

fn edit(
    word: &str,
    arguments: &mut std::slice::Iter<'_, String>,
    response: bool,
) -> Result<FieldEdit, BadValue> {
    let name = field_name(arguments.next())?;
    // RFC 9112 3.2: a request has exactly one Host.
    if !response && name.eq_ignore_ascii_case("host") && word != "set-header" {
        return Err(bad("a request has exactly one Host; use set-header"));
    }
    if word == "del-header" {
        return Ok(FieldEdit::Remove(name));
    }
    let value = arguments.next().ok_or_else(|| bad(format!("{word} {name} needs a value")))?;
    let value = Format::new(value, response)?;
    Ok(if word == "set-header" { FieldEdit::Set(name, value) } else { FieldEdit::Add(name, value) })
}

fn redirect(arguments: &mut std::slice::Iter<'_, String>) -> Result<Redirect, BadValue> {
    let kind = arguments.next().map(String::as_str).unwrap_or("");
    let target = |word: Option<&String>| {
        let word = word.filter(|w| !w.is_empty());
        Format::new(word.ok_or_else(|| bad(format!("redirect {kind} needs an address")))?, false)
    };
    let to = match kind {
        "location" => RedirectTo::Location(target(arguments.next())?),
        "prefix" => RedirectTo::Prefix(target(arguments.next())?),
        "scheme" => RedirectTo::Scheme(target(arguments.next())?),
        other => {
            return Err(bad(format!(
                "a redirect is to a location, a prefix or a scheme, not {other:?}"
            )));
        }
    };
    let mut redirect = Redirect { to, code: 302, drop_query: false, append_slash: false };
    while let Some(word) = arguments.next() {
        match word.as_str() {
            "code" => {
                let code = arguments.next().and_then(|w| w.parse().ok());
                redirect.code = code
                    .filter(|c| [301, 302, 303, 307, 308].contains(c))
                    .ok_or_else(|| bad("code is 301, 302, 303, 307 or 308"))?;
            }
            "drop-query" => redirect.drop_query = true,
            "append-slash" => redirect.append_slash = true,
            other => {
                return Err(bad(format!(
                    "a redirect knows code, drop-query and append-slash, not {other:?}"
                )));
            }
        }
    }
    Ok(redirect)
}

fn deny(arguments: &mut std::slice::Iter<'_, String>, otherwise: u16) -> Result<u16, BadValue> {
    match arguments.next().map(String::as_str) {
        None => Ok(otherwise),
        Some("deny_status" | "status") => {
            let status = arguments.next().and_then(|w| w.parse().ok());
            status
                .filter(|s| (400..=599).contains(s))
                .ok_or_else(|| bad("deny_status is a number from 400 to 599"))
        }
        Some(other) => Err(bad(format!("deny and tarpit know deny_status, not {other:?}"))),
    }
}

/// What stands behind `tcp-request connection`.
fn of_connection(arguments: &mut std::slice::Iter<'_, String>) -> Result<Action, BadValue> {
    match arguments.next().map(String::as_str) {
        Some("connection") => {}
        other => {
            return Err(bad(format!(
                "tcp-request rules are about the connection, not {:?}: tcp-request connection reject",
                other.unwrap_or("")
            )));
        }
    }
    match arguments.next().map(String::as_str) {
        Some("reject") => Ok(Action::Reject),
        Some("accept") => Ok(Action::Accept),
        Some("track-sc0") => track(arguments, Stage::Connection),
        other => Err(bad(format!(
            "tcp-request connection knows track-sc0, accept and reject, not {:?}",
            other.unwrap_or("")
        ))),
    }
}

fn track(arguments: &mut std::slice::Iter<'_, String>, stage: Stage) -> Result<Action, BadValue> {
    match arguments.next().map(String::as_str) {
        Some("src") => Ok(Action::Track(stage)),
        other => Err(bad(format!(
            "visitors are counted by their address: track-sc0 src, not {:?}",
            other.unwrap_or("")
        ))),
    }
}

fn action(words: &[String]) -> Result<Action, BadValue> {
    let mut rest = words.iter();
    let mut word = rest.next().map(String::as_str).unwrap_or("");
    let side = matches!(word, "http-request" | "http-response").then_some(word);
    let of_request = side == Some("http-request");
    if side.is_some() {
        word = rest.next().map(String::as_str).unwrap_or("");
    }
    let response = side == Some("http-response");
    let action = match word {
        "set-header" | "add-header" | "del-header" => {
            let edit = edit(word, &mut rest, response)?;
            if response { Action::Response(edit) } else { Action::Request(edit) }
        }
        "redirect" if !response => Action::Redirect(redirect(&mut rest)?),
        "deny" if !response => Action::Deny(deny(&mut rest, 403)?),
        "tarpit" if of_request => Action::Tarpit(deny(&mut rest, 500)?),
        "disable-l7-retry" if of_request => Action::Once,
        "track-sc0" if of_request => track(&mut rest, Stage::Request)?,
        "tcp-request" if side.is_none() => of_connection(&mut rest)?,
        "use_backend" if side.is_none() => {
            let name = rest.next().map(String::as_str).unwrap_or("");
            Action::UseBackend(name.parse()?)
        }
        other => {
            return Err(bad(match side {
                Some("http-response") => format!(
                    "http-response knows set-header, add-header and del-header, not {other:?}"
                ),
                _ => format!(
                    "{other:?} is no rule; begin with acl, use_backend, tcp-request connection, or http-request or http-response and redirect, deny, tarpit, track-sc0, disable-l7-retry, set-header, add-header or del-header"
                ),
            }));
        }
    };
    match rest.next() {
        None => Ok(action),
        Some(word) => Err(bad(format!("{word:?} is too much here; a condition begins with if"))),
    }
}

fn parse(text: &str) -> Result<Parsed, BadValue> {
    if text.len() > LONGEST {
        return Err(bad(format!("a rule is at most {LONGEST} bytes long")));
    }
    let all = words(text)?;
    if all.first().is_some_and(|w| w == "acl") {
        let name = all.get(1).map(String::as_str).unwrap_or("");
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
        if name.is_empty() || !name.bytes().all(plain) || ["if", "unless", "or"].contains(&name) {
            return Err(bad(format!("{name:?} is no name for an acl")));
        }
        let test = Test::new(all.get(2..).unwrap_or_default())?;
        return Ok(Parsed { action: Action::Acl(name.to_owned(), test), condition: None });
    }
    // The first words are the rule's own even where one of them is "if".
    let at = all.iter().skip(2).position(|w| w == "if" || w == "unless").map(|at| at + 2);
    let at = at.or_else(|| all.iter().position(|w| w == "if" || w == "unless"));
    let (what, when) = all.split_at(at.unwrap_or(all.len()));
    let condition = match when.split_first() {
        None => None,
        Some((word, rest)) => Some(Condition::new(word == "unless", rest)?),
    };
    let action = action(what)?;
    if !matches!(action, Action::Response(_)) {
        let tests = condition.iter().flat_map(Condition::tests);
        if let Some(test) = tests.into_iter().find(|t| t.of_response()) {
            return Err(bad(format!("{} is known in http-response rules only", test.fetch())));
        }
    }
    if action.of_connection() {
        let tests = condition.iter().flat_map(Condition::tests);
        if let Some(test) = tests.into_iter().find(|t| !t.fetch().of_connection()) {
            return Err(bad(format!(
                "{} is not known yet when a connection comes; tcp-request rules look at src, dst_port and what is counted of the visitor",
                test.fetch()
            )));
        }
    }
    Ok(Parsed { action, condition })
}

impl Parsed {
    /// Does it look at what is counted of visitors?
    pub fn counts(&self) -> bool {
        let own = match &self.action {
            Action::Acl(_, test) => Some(test),
            _ => None,
        };
        let tests = self.condition.iter().flat_map(Condition::tests).chain(own);
        tests.into_iter().any(|test| test.fetch().counter().is_some())
    }
}

impl Action {
    /// Does it happen before anything is read from the connection?
    pub const fn of_connection(&self) -> bool {
        matches!(self, Self::Track(Stage::Connection) | Self::Reject | Self::Accept)
    }
}

impl Test {
    /// Is what it looks at known before anything is read from the connection?
    pub fn of_connection(&self) -> bool {
        self.fetch().of_connection()
    }
}

impl Rule {
    /// The line.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it means.
    pub fn parsed(&self) -> &Arc<Parsed> {
        &self.parsed
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Rule {}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Rule {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let text = text.trim().to_owned();
        let parsed = Arc::new(parse(&text)?);
        Ok(Self { text, parsed })
    }
}

line!(Rule);

#[cfg(test)]
mod tests;
