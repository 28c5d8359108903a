//! The head of a request: what is accepted, and what is sent on (RFC 9112 sections 3 and 6).
//!
//! Everything that touches framing or routing is refused when it is not exactly right; the rest
//! is passed on as it came.

use crate::cookie;
use crate::framing::{Body, content_length};
use crate::message::{
    Coding, Connection, Known, MAX_FIELDS, Parsed, coding, fields, is_named, is_value, known, list,
    put_field, put_number,
};
use std::net::{Ipv4Addr, SocketAddrV4};

/// The longest request head (HAProxy refuses beyond 15 KiB; RFC 9112 3 wants 8,000 at least).
pub(crate) const HEAD_LIMIT: usize = 16 * 1024;
/// The longest request line.
pub(crate) const LINE_LIMIT: usize = 8 * 1024;

/// Why a request is refused; the number is the status to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It breaks a rule.
    Bad,
    /// `CONNECT`.
    Method,
    /// Content where HTTP/1.0 knows none.
    Content,
    /// Its target is too long.
    TargetTooLong,
    /// Its head is too long or has too many fields.
    HeadTooLarge,
    /// A transfer coding we do not know.
    Coding,
}

impl Refused {
    /// The status to answer.
    pub(crate) const fn status(self) -> u16 {
        match self {
            Self::Bad => 400,
            Self::Method => 405,
            Self::Content => 413,
            Self::TargetTooLong => 414,
            Self::HeadTooLarge => 431,
            Self::Coding => 501,
        }
    }
}

/// What a method allows (RFC 9110 9.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Asks for nothing to be changed.
    Safe,
    /// May be repeated.
    Idempotent,
    /// Must not be repeated.
    Never,
}

/// An accepted request head.
#[derive(Debug)]
pub(crate) struct Request {
    /// How its body ends.
    pub(crate) body: Body,
    /// It is a `HEAD` request: the response has no body.
    pub(crate) is_head: bool,
    /// It came as HTTP/1.0.
    pub(crate) is_10: bool,
    /// The client would go on with this connection.
    pub(crate) keep_alive: bool,
    /// It asks to change the protocol.
    pub(crate) upgrade: bool,
    /// To WebSocket, that is.
    pub(crate) websocket: bool,
    /// The client understands trailers.
    pub(crate) wants_trailers: bool,
    /// What its method allows.
    pub(crate) repeat: Repeat,
}

/// What the edge knows about where a request came from.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'a> {
    /// Add `X-Forwarded-For` with this address.
    pub(crate) forwarded_for: Option<Ipv4Addr>,
    /// Where the client connected to; stands for a missing `Host` of HTTP/1.0. Asking costs a
    /// system call, and hardly anyone has to.
    pub(crate) local: &'a dyn Fn() -> SocketAddrV4,
}

/// Reads a request head from the start of `input` and writes what is sent on to `out`.
///
/// `line` receives the request line for the log, also of a refused request.
pub(crate) fn parse(
    input: &[u8],
    origin: Origin<'_>,
    out: &mut Vec<u8>,
    line: &mut Vec<u8>,
) -> Result<Parsed<Request>, Refused> {
    let result = parse_inner(input, origin, out);
    if !matches!(result, Ok(Parsed::Partial)) {
        line.clear();
        let start = input.iter().position(|b| !b"\r\n".contains(b)).unwrap_or(input.len());
        let rest = &input[start..];
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        line.extend_from_slice(rest[..end.min(LINE_LIMIT)].trim_ascii_end());
    }
    result
}

fn parse_inner(
    input: &[u8],
    origin: Origin<'_>,
    out: &mut Vec<u8>,
) -> Result<Parsed<Request>, Refused> {
    let mut space = fields();
    let mut raw = httparse::Request::new(&mut []);
    let len = match raw.parse_with_uninit_headers(input, &mut space) {
        Ok(httparse::Status::Complete(len)) if len <= HEAD_LIMIT => len,
        Ok(httparse::Status::Complete(_)) => return Err(too_large(input)),
        Ok(httparse::Status::Partial) if input.len() >= HEAD_LIMIT => return Err(too_large(input)),
        Ok(httparse::Status::Partial) => {
            let line = memchr::memchr(b'\n', input).is_none() && input.len() > LINE_LIMIT;
            return if line { Err(Refused::TargetTooLong) } else { Ok(Parsed::Partial) };
        }
        Err(httparse::Error::TooManyHeaders) => return Err(Refused::HeadTooLarge),
        Err(_) => return Err(Refused::Bad),
    };
    debug_assert!(raw.headers.len() <= MAX_FIELDS);
    let (Some(method), Some(target), Some(minor)) = (raw.method, raw.path, raw.version) else {
        return Err(Refused::Bad);
    };
    if target.len() > LINE_LIMIT {
        return Err(Refused::TargetTooLong);
    }
    let head = build(method, target, minor, raw.headers, origin, out)?;
    Ok(Parsed::Complete(head, len))
}

fn too_large(input: &[u8]) -> Refused {
    match memchr::memchr(b'\n', &input[..HEAD_LIMIT.min(input.len())]) {
        Some(end) if end <= LINE_LIMIT => Refused::HeadTooLarge,
        _ => Refused::TargetTooLong,
    }
}

/// What the fields say, gathered in one pass.
#[derive(Default)]
struct Seen<'a> {
    connection: Connection,
    length: Option<u64>,
    chunked: bool,
    host: Option<&'a [u8]>,
    upgrade: bool,
    websocket: bool,
    websocket_key: bool,
    trailers: bool,
}

fn gather<'a>(headers: &[httparse::Header<'a>]) -> Result<Seen<'a>, Refused> {
    let mut seen = Seen::default();
    for h in headers {
        if !is_value(h.value) {
            return Err(Refused::Bad);
        }
        match known(h.name) {
            Known::Connection => seen.connection.add(h.value),
            Known::ContentLength => {
                // Several lines or a list are refused even when they agree (RFC 9112 6.3 allows
                // either): whoever sends them may have something else in mind.
                if seen.length.is_some() {
                    return Err(Refused::Bad);
                }
                seen.length = Some(content_length(h.value).ok_or(Refused::Bad)?);
            }
            Known::TransferEncoding => {
                if seen.chunked {
                    return Err(Refused::Bad);
                }
                match coding(h.value) {
                    Coding::Chunked => seen.chunked = true,
                    Coding::Unsupported => return Err(Refused::Coding),
                    Coding::Bad => return Err(Refused::Bad),
                }
            }
            Known::Host => {
                if seen.host.is_some() {
                    return Err(Refused::Bad);
                }
                seen.host = Some(h.value);
            }
            Known::Upgrade => {
                for protocol in list(h.value) {
                    // RFC 9113 3.1 obsoletes h2c, and a proxy must not let it through unseen.
                    if !is_h2c(protocol) {
                        seen.upgrade = true;
                        seen.websocket |= protocol.eq_ignore_ascii_case(b"websocket");
                    }
                }
            }
            // Sixteen bytes in base64 (RFC 6455 4.1).
            Known::SecWebsocketKey => seen.websocket_key = h.value.len() == 24,
            Known::Te => {
                seen.trailers |= list(h.value).any(|c| c.eq_ignore_ascii_case(b"trailers"));
            }
            _ => {}
        }
    }
    Ok(seen)
}

fn is_h2c(protocol: &[u8]) -> bool {
    protocol.eq_ignore_ascii_case(b"h2c") || protocol.eq_ignore_ascii_case(b"h2")
}

fn build(
    method: &str,
    target: &str,
    minor: u8,
    headers: &[httparse::Header<'_>],
    origin: Origin<'_>,
    out: &mut Vec<u8>,
) -> Result<Request, Refused> {
    let is_10 = minor == 0;
    let seen = gather(headers)?;
    if method == "CONNECT" {
        return Err(Refused::Method);
    }
    // RFC 9112 6.1: both are an attack or a fault; HTTP/1.0 knows no chunks.
    if seen.chunked && (seen.length.is_some() || is_10) {
        return Err(Refused::Bad);
    }
    // As HAProxy: HTTP/1.0 has no content with these methods, so that a proxy in front may have taken
    // it for the next request.
    let content = seen.length.is_some_and(|length| length > 0);
    if is_10 && content && ["GET", "HEAD", "DELETE"].contains(&method) {
        return Err(Refused::Content);
    }
    let target = Target::new(method, target.as_bytes())?;
    let default_host;
    let host = match (target.authority, seen.host) {
        // RFC 9112 3.2.2: the target wins; a Host that contradicts it is refused.
        (Some(authority), Some(host)) if !same_host(authority, host) => return Err(Refused::Bad),
        (Some(authority), host) if host.is_some() || is_10 => without_port_80(authority),
        (None, Some(host)) if is_host(host) => host,
        (None, None) if is_10 => {
            default_host = (origin.local)().to_string();
            default_host.as_bytes()
        }
        _ => return Err(Refused::Bad),
    };
    let upgrade = seen.upgrade && seen.connection.upgrade && !is_10;
    let websocket = upgrade && seen.websocket;
    if websocket && (!seen.websocket_key || method != "GET") {
        return Err(Refused::Bad);
    }

    out.clear();
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.path_before);
    out.extend_from_slice(target.path);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    put_field(out, b"Host", host);
    for h in headers {
        let kind = known(h.name);
        let keep = match kind {
            Known::Expect => !is_10,
            Known::Other
            | Known::Cookie
            | Known::SetCookie
            | Known::SecWebsocketKey
            | Known::SecWebsocketAccept => true,
            _ => false,
        };
        if keep && !(seen.connection.names && is_named(headers, h.name)) {
            match kind {
                Known::Cookie => cookie::put_request(out, h.name.as_bytes(), h.value),
                _ => put_field(out, h.name.as_bytes(), h.value),
            }
        }
    }
    if seen.trailers {
        put_field(out, b"TE", b"trailers");
    }
    let mut options: &[u8] = if seen.trailers { b"TE" } else { b"" };
    if upgrade {
        for h in headers.iter().filter(|h| known(h.name) == Known::Upgrade) {
            for protocol in list(h.value).filter(|p| !is_h2c(p)) {
                put_field(out, b"Upgrade", protocol);
            }
        }
        options = if seen.trailers { b"upgrade, TE" } else { b"upgrade" };
    }
    if !options.is_empty() {
        put_field(out, b"Connection", options);
    }
    if let Some(address) = origin.forwarded_for {
        out.extend_from_slice(b"X-Forwarded-For: ");
        put_ip(out, address);
        out.extend_from_slice(b"\r\n");
    }
    let body = match (seen.chunked, seen.length) {
        (true, _) => {
            put_field(out, b"Transfer-Encoding", b"chunked");
            Body::chunked()
        }
        (false, Some(length)) => {
            out.extend_from_slice(b"Content-Length: ");
            put_number(out, length);
            out.extend_from_slice(b"\r\n");
            Body::length(length)
        }
        (false, None) => Body::Done,
    };
    out.extend_from_slice(b"\r\n");

    Ok(Request {
        body,
        is_head: method == "HEAD",
        is_10,
        keep_alive: !seen.connection.close && (!is_10 || seen.connection.keep_alive),
        upgrade,
        websocket,
        wants_trailers: seen.trailers,
        repeat: match method {
            "GET" | "HEAD" | "OPTIONS" | "TRACE" => Repeat::Safe,
            "PUT" | "DELETE" => Repeat::Idempotent,
            _ => Repeat::Never,
        },
    })
}

/// Writes an address.
pub(crate) fn put_ip(out: &mut Vec<u8>, address: Ipv4Addr) {
    for (i, octet) in address.octets().into_iter().enumerate() {
        if i > 0 {
            out.push(b'.');
        }
        put_number(out, octet);
    }
}

/// A request target, taken apart (RFC 9112 3.2).
struct Target<'a> {
    /// The host of an absolute form.
    authority: Option<&'a [u8]>,
    /// A `/` that an absolute form left out.
    path_before: &'static [u8],
    /// What goes into the request line.
    path: &'a [u8],
}

impl<'a> Target<'a> {
    fn new(method: &str, target: &'a [u8]) -> Result<Self, Refused> {
        if !target.iter().all(|b| b.is_ascii_graphic() && *b != b'#') {
            return Err(Refused::Bad);
        }
        if target.starts_with(b"/") {
            return Ok(Self { authority: None, path_before: b"", path: target });
        }
        if target == b"*" {
            return if method == "OPTIONS" {
                Ok(Self { authority: None, path_before: b"", path: target })
            } else {
                Err(Refused::Bad)
            };
        }
        let rest = match target.get(..7) {
            Some(scheme) if scheme.eq_ignore_ascii_case(b"http://") => &target[7..],
            _ => return Err(Refused::Bad),
        };
        let end = rest.iter().position(|b| b"/?".contains(b)).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if !is_host(authority) {
            return Err(Refused::Bad);
        }
        let (path_before, path): (&'static [u8], &[u8]) = match path.first() {
            Some(b'/') => (b"", path),
            // RFC 9112 3.2.4: OPTIONS with an empty path asks about the server as a whole.
            None if method == "OPTIONS" => (b"*", path),
            _ => (b"/", path),
        };
        Ok(Self { authority: Some(authority), path_before, path })
    }
}

/// Is it a host with an optional port (RFC 3986 3.2.2)? Without user information, and without the
/// comma that RFC 3986 would allow and that no host name has.
fn is_host(text: &[u8]) -> bool {
    let (host, port) = match text.iter().rposition(|b| *b == b':') {
        Some(colon) if !text[colon..].contains(&b']') => (&text[..colon], &text[colon + 1..]),
        _ => (text, &b""[..]),
    };
    let literal = host.strip_prefix(b"[").and_then(|h| h.strip_suffix(b"]"));
    let host_good = match literal {
        Some(v6) => !v6.is_empty() && v6.iter().all(|b| b.is_ascii_hexdigit() || b":.".contains(b)),
        None => {
            !host.is_empty()
                && host.iter().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+;=%".contains(b))
        }
    };
    host_good && port.len() <= 5 && port.iter().all(u8::is_ascii_digit)
}

fn without_port_80(host: &[u8]) -> &[u8] {
    host.strip_suffix(b":80").or_else(|| host.strip_suffix(b":")).unwrap_or(host)
}

fn same_host(a: &[u8], b: &[u8]) -> bool {
    without_port_80(a).eq_ignore_ascii_case(without_port_80(b))
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
