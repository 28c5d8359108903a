//! What a rule sees of a request and its response.

use crate::head::{Head, elements, fields, first_line};
use crate::track::Counts;
use model::Counted;
use model::rules::{Fetch, Format, Piece, Test};
use std::net::Ipv4Addr;

/// What is known of a request besides its head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// The visitor.
    pub(crate) source: Ipv4Addr,
    /// The port the visitor connected to.
    pub(crate) port: u16,
    /// The visitor came over TLS.
    pub(crate) tls: bool,
    /// What the frontend's table knows of the visitor.
    pub(crate) counts: Counts,
    /// The visitor is being counted.
    pub(crate) tracked: bool,
    /// A rule has said that the request is sent once at most.
    pub(crate) once: bool,
}

/// A condition's term, as far as the request answers it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answered {
    Now(bool),
    /// It is about the response.
    Later,
}

/// A request, and its response's status and head where there is one.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) facts: &'a Facts,
    pub(super) request: &'a [u8],
    pub(super) response: Option<(u16, &'a [u8])>,
}

impl<'a> Seen<'a> {
    pub(super) fn head(&self) -> Head<'a> {
        Head::new(self.request)
    }

    /// Hands the values of a part to `look` until it says that it has seen enough. Returns whether
    /// it has.
    fn values(&self, fetch: &Fetch, look: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let head = self.head();
        let has_path = head.target.starts_with(b"/");
        match fetch {
            Fetch::Path => has_path && look(head.path()),
            Fetch::Query => head.query().is_some_and(look),
            Fetch::Url => look(head.target),
            Fetch::Method => look(head.method),
            Fetch::Base => {
                let host = head.values("host").next().unwrap_or_default();
                has_path && look(&[host, head.path()].concat())
            }
            Fetch::Host => {
                let host = head.values("host").next();
                host.is_some_and(|h| look(&without_port(h).to_ascii_lowercase()))
            }
            Fetch::Field(name) => head.values(name).flat_map(elements).any(look),
            Fetch::WholeField(name) => head.values(name).any(look),
            Fetch::Cookie(name) => head.cookie(name).is_some_and(look),
            Fetch::UrlParam(name) => head.parameter(name).is_some_and(look),
            Fetch::Src => look(self.facts.source.to_string().as_bytes()),
            Fetch::DstPort => look(self.facts.port.to_string().as_bytes()),
            Fetch::Visitor(what) | Fetch::Tracked(what) => {
                let number = self.counted(*what, matches!(fetch, Fetch::Tracked(_)));
                number.is_some_and(|n| look(n.to_string().as_bytes()))
            }
            Fetch::SslFc => look(if self.facts.tls { b"1" } else { b"0" }),
            Fetch::True => look(b"1"),
            Fetch::False => look(b"0"),
            Fetch::Status => {
                self.response.is_some_and(|(status, _)| look(status.to_string().as_bytes()))
            }
            Fetch::ResponseField(name) => self.response.is_some_and(|(_, head)| {
                let (_, lines) = first_line(head);
                fields(lines).filter(|f| f.is(name)).flat_map(|f| elements(f.value)).any(look)
            }),
        }
    }

    /// What was counted of the visitor; None where a rule asks for who is tracked and nobody is.
    fn counted(&self, what: Counted, of_tracked: bool) -> Option<u32> {
        (self.facts.tracked || !of_tracked).then(|| self.facts.counts.of(what))
    }

    pub(super) fn holds(&self, test: &Test) -> bool {
        match test.fetch() {
            Fetch::SslFc => self.facts.tls,
            Fetch::True => true,
            Fetch::False => false,
            Fetch::Src => test.holds_address(self.facts.source),
            Fetch::Visitor(what) => {
                self.counted(*what, false).is_some_and(|n| test.holds_number(n))
            }
            Fetch::Tracked(what) => self.counted(*what, true).is_some_and(|n| test.holds_number(n)),
            Fetch::DstPort => test.holds_number(self.facts.port.into()),
            Fetch::Status => self.response.is_some_and(|(s, _)| test.holds_number(s.into())),
            fetch => self.values(fetch, &mut |value| test.holds(value)),
        }
    }

    /// One value: as in HAProxy the last of a field, and the first of anything else.
    fn one(&self, fetch: &Fetch, out: &mut Vec<u8>) {
        let start = out.len();
        let last =
            matches!(fetch, Fetch::Field(_) | Fetch::WholeField(_) | Fetch::ResponseField(_));
        self.values(fetch, &mut |value| {
            out.truncate(start);
            out.extend_from_slice(value);
            !last
        });
    }

    /// A text with its places filled in.
    pub(super) fn filled(&self, format: &Format) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in format.pieces() {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Fetch(fetch) => self.one(fetch, &mut out),
            }
        }
        out
    }

    /// The same for a response's field, while there is only the request.
    pub(super) fn half(&self, format: &Format) -> Vec<Piece> {
        let piece = |piece: &Piece| match piece {
            Piece::Fetch(fetch) if !fetch.of_response() => {
                let mut text = Vec::new();
                self.one(fetch, &mut text);
                Piece::Text(String::from_utf8_lossy(&text).into_owned())
            }
            other => other.clone(),
        };
        format.pieces().iter().map(piece).collect()
    }
}

const NOBODY: Facts = Facts {
    source: Ipv4Addr::UNSPECIFIED,
    port: 0,
    tls: false,
    counts: Counts::NONE,
    tracked: false,
    once: false,
};

/// Does a test of the response hold?
pub(super) fn of_response(test: &Test, status: u16, response: &[u8]) -> bool {
    Seen { facts: &NOBODY, request: b"", response: Some((status, response)) }.holds(test)
}

/// Fills in what is left to be filled in once there is a response.
pub(super) fn fill(pieces: &[Piece], status: u16, response: &[u8]) -> Vec<u8> {
    let seen = Seen { facts: &NOBODY, request: b"", response: Some((status, response)) };
    let mut out = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
            Piece::Fetch(fetch) => seen.one(fetch, &mut out),
        }
    }
    out
}

fn without_port(host: &[u8]) -> &[u8] {
    match host.iter().rposition(|b| *b == b':') {
        Some(colon) if !host[colon..].contains(&b']') => &host[..colon],
        _ => host,
    }
}
