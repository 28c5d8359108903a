//! Every decoder that reads what came from the network, for those who feed it anything.
//!
//! Not an interface: for the targets in `fuzz/` and the tests below. Each takes any bytes and must
//! not panic; what it promises of what it accepts is asserted.

mod body;
mod cookies;
mod dns;
#[cfg(test)]
mod tests;

pub use body::body as chunked;
pub use cookies::cookies as cookie;
pub use dns::answer as dns;

use crate::balance::key;
use crate::framing::Body;
use crate::message::{MAX_FIELDS, Parsed};
use crate::proxy_protocol::{self, Header};
use crate::request::{self, Origin, Refused, Request};
use crate::response::{self, Asked, BadResponse, Response};
use model::{Balance, HashType, SendProxy};
use std::net::{Ipv4Addr, SocketAddrV4};

const ORIGIN: Origin<'static> =
    Origin { forwarded_for: None, local: &|| SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80) };

/// Where bytes are cut in two: everywhere if they are few.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    let step = if length <= 512 { 1 } else { length / 128 };
    (0..=length).step_by(step)
}

/// Name and value.
type Field<'a> = (&'a [u8], &'a [u8]);

/// The lines of a head that is sent on, which must be one: with CRLF at each end and nowhere else,
/// and without what could be taken for one.
fn lines(head: &[u8]) -> (&[u8], Vec<Field<'_>>) {
    let text = head.strip_suffix(b"\r\n\r\n");
    assert!(text.is_some(), "no empty line at the end: {:?}", head.escape_ascii().to_string());
    let mut all: Vec<&[u8]> = Vec::new();
    let mut rest = text.unwrap_or_default();
    while let Some(at) = memchr::memmem::find(rest, b"\r\n") {
        all.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    all.push(rest);
    for line in &all {
        assert!(!line.is_empty() && !line.iter().any(|b| b"\r\n\0".contains(b)));
    }
    let first = all.remove(0);
    let field = |line: &'_ [u8]| memchr::memchr(b':', line).filter(|at| *at > 0);
    let fields = all.into_iter().map(|line| {
        let colon = field(line);
        assert!(colon.is_some(), "no field: {:?}", line.escape_ascii().to_string());
        let (name, value) = line.split_at(colon.unwrap_or(0));
        (name, value[1..].trim_ascii())
    });
    (first, fields.collect())
}

/// The values of a field.
fn values<'a>(fields: &[Field<'a>], name: &str) -> Vec<&'a [u8]> {
    let of_name = fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
    of_name.map(|(_, value)| *value).collect()
}

/// What no head that is sent on may have, and at most one length.
fn framed(fields: &[Field<'_>]) -> (Option<u64>, bool) {
    for gone in ["keep-alive", "proxy-connection", "http2-settings"] {
        assert!(values(fields, gone).is_empty(), "{gone} was sent on");
    }
    let lengths = values(fields, "content-length");
    let codings = values(fields, "transfer-encoding");
    assert!(lengths.len() + codings.len() <= 1, "framed twice");
    assert!(codings.iter().all(|c| *c == b"chunked"));
    let length = lengths.first().map(|l| crate::framing::content_length(l));
    assert_ne!(length, Some(None), "a length that is none");
    (length.flatten(), !codings.is_empty())
}

/// How many bytes a head took, once it is whole.
fn length<T>(parsed: &Parsed<T>) -> Option<usize> {
    match parsed {
        Parsed::Complete(_, len) => Some(*len),
        Parsed::Partial => None,
    }
}

/// The verdict on a head, and what is sent on of it, do not depend on how its bytes arrive.
fn in_pieces(
    bytes: &[u8],
    whole: Result<Option<usize>, ()>,
    out: &[u8],
    mut parse: impl FnMut(&[u8], &mut Vec<u8>) -> Result<Option<usize>, ()>,
) {
    for cut in cuts(bytes.len()) {
        let mut part = Vec::new();
        match parse(&bytes[..cut], &mut part) {
            Ok(None) => {}
            early => {
                assert_eq!(early, whole, "another verdict after {cut} bytes");
                assert!(early.is_err() || part == out, "another head after {cut} bytes");
                break;
            }
        }
    }
}

/// A request's head.
pub fn request_head(bytes: &[u8]) {
    let (mut out, mut line) = (Vec::new(), Vec::new());
    let whole = request::parse(bytes, ORIGIN, &mut out, &mut line);
    assert!(line.len() <= request::LINE_LIMIT);
    let verdict = whole.as_ref().map(length).map_err(drop);
    in_pieces(bytes, verdict, &out, |part, out| {
        request::parse(part, ORIGIN, out, &mut line).map(|p| length(&p)).map_err(drop)
    });
    if let Ok(Parsed::Complete(request, len)) = &whole {
        assert!(*len <= bytes.len());
        sent_on(&out, request);
        let asker = key::Asker { head: &out, source: Ipv4Addr::LOCALHOST, content: &bytes[*len..] };
        for balance in Balance::examples() {
            let _ = key::of(&balance, HashType::default(), &asker);
        }
    }
}

/// What a request's head, as it is sent on, must be.
fn sent_on(head: &[u8], request: &Request) {
    let (_, fields) = lines(head);
    assert_eq!(values(&fields, "host").len(), 1, "not one Host");
    assert!(fields.first().is_some_and(|(name, _)| *name == b"Host"));
    let (length, chunked) = framed(&fields);
    match &request.body {
        Body::Done => assert!(!chunked && length.unwrap_or(0) == 0),
        Body::Length(left) => assert_eq!(Some(*left), length),
        Body::Chunked(_) => assert!(chunked),
        Body::UntilClose => assert!(!chunked, "no request ends with its connection"),
    }
    let connection = values(&fields, "connection");
    let known: [&[&[u8]]; 4] = [&[], &[b"TE"], &[b"upgrade"], &[b"upgrade, TE"]];
    assert!(known.contains(&connection.as_slice()));
    assert_eq!(values(&fields, "te").len(), usize::from(request.wants_trailers));
    assert_eq!(!values(&fields, "upgrade").is_empty(), request.upgrade);
    for pair in values(&fields, "cookie").into_iter().flat_map(|c| c.split(|b| *b == b';')) {
        let name = pair.split(|b| *b == b'=').next().unwrap_or_default().trim_ascii();
        assert_ne!(name, model::SESSION_COOKIE.as_bytes(), "the session was sent on");
    }
    again(head, fields.len(), request);
}

/// Whoever is next reads the same from it as we did.
fn again(head: &[u8], fields: usize, request: &Request) {
    let (mut out, mut line) = (Vec::new(), Vec::new());
    let next = request::parse(head, ORIGIN, &mut out, &mut line);
    let Ok(Parsed::Complete(next, len)) = next else {
        // A field's line grows by the space behind its colon, and a head by its Host.
        let grown = head.len() > request::HEAD_LIMIT || fields > MAX_FIELDS;
        let fits = !(grown && matches!(next, Err(Refused::HeadTooLarge)));
        return assert!(!fits, "we would not accept it: {next:?}");
    };
    // Spaces at the end of a value are none of it.
    assert_eq!((len, lines(&out)), (head.len(), lines(head)), "read differently");
    let known = |r: &Request| {
        let body = std::mem::discriminant(&r.body);
        (body, r.is_head, r.upgrade, r.websocket, r.wants_trailers, r.repeat)
    };
    assert_eq!(known(&next), known(request));
}

/// What a response may depend on, from the bits of a byte.
fn asked(bits: u8) -> Asked {
    let bit = |n: u8| bits & (1 << n) != 0;
    let is_10 = bit(1);
    let upgrade = bit(3) && !is_10;
    Asked {
        is_head: bit(0),
        is_10,
        keep_alive: bit(2),
        upgrade,
        websocket: bit(4) && upgrade,
        wants_trailers: bit(5),
        success_switches: bit(6),
    }
}

/// A response's head; the first byte says what was asked.
pub fn response_head(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let asked = asked(*first);
    let mut out = Vec::new();
    let whole = response::parse(bytes, asked, &mut out);
    let verdict = whole.as_ref().map(length).map_err(drop);
    in_pieces(bytes, verdict, &out, |part, out| {
        response::parse(part, asked, out).map(|p| length(&p)).map_err(drop)
    });
    if let Ok(Parsed::Complete(response, len)) = &whole {
        assert!(*len <= bytes.len() && (100..=999).contains(&response.status));
        if asked.is_10 && response.status < 200 {
            assert!(out.is_empty(), "HTTP/1.0 knows no interim responses");
        } else {
            answered(&out, response, asked);
        }
    }
}

/// What a response's head, as the client gets it, must be.
fn answered(head: &[u8], response: &Response, asked: Asked) {
    let (first, fields) = lines(head);
    assert!(first.starts_with(b"HTTP/1.1 "));
    let (_, chunked) = framed(&fields);
    assert_eq!(chunked, response.chunked_out);
    for set in values(&fields, "set-cookie") {
        assert!(!crate::cookie::sets_it(set), "a server sets the session");
    }
    let mut out = Vec::new();
    let next = response::parse(head, asked, &mut out);
    let Ok(Parsed::Complete(next, len)) = next else {
        let grown = head.len() > response::HEAD_LIMIT || fields.len() > MAX_FIELDS;
        let fits = !(grown && matches!(next, Err(BadResponse)));
        return assert!(!fits, "we would not accept it: {next:?}");
    };
    // A field that was added stands behind the length.
    let sorted = |head| {
        let (first, mut fields) = lines(head);
        fields.sort_unstable();
        (first.to_vec(), format!("{fields:?}"))
    };
    assert_eq!((len, sorted(&out)), (head.len(), sorted(head)), "read differently");
    match (&response.body, &next.body) {
        (Body::Length(a), Body::Length(b)) => assert_eq!(a, b),
        (Body::Chunked(_), Body::Chunked(_)) => assert!(response.chunked_out),
        (Body::Chunked(_), Body::UntilClose) => assert!(!response.chunked_out),
        (Body::Done, Body::Done) | (Body::UntilClose, Body::UntilClose) => {}
        (a, b) => assert!(a.is_done() && b.is_done(), "{a:?} became {b:?}"),
    }
    let endless = matches!(next.body, Body::UntilClose);
    assert!(!(endless && response.keep_alive), "the client cannot see where it ends");
}

/// The header of the PROXY protocol.
pub fn proxy_header(bytes: &[u8]) {
    let whole = proxy_protocol::parse(bytes);
    for cut in cuts(bytes.len()) {
        let early = proxy_protocol::parse(&bytes[..cut]);
        if early != Header::Partial {
            assert_eq!(early, whole, "after {cut} bytes");
            break;
        }
    }
    let Header::Whole { ends, len } = whole else { return };
    assert!(len <= bytes.len());
    for version in [SendProxy::V1, SendProxy::V2] {
        let mut again = Vec::new();
        proxy_protocol::put(&mut again, version, ends);
        let len = again.len();
        assert_eq!(proxy_protocol::parse(&again), Header::Whole { ends, len });
    }
}
