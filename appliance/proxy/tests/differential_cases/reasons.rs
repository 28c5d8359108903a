//! Where we and HAProxy 2.6 differ on purpose.

use crate::Doubt;

/// Who refuses.
pub const WE: &str = "we refuse";
pub const HAPROXY: &str = "haproxy refuses";

/// A justified difference.
pub struct Reason {
    pub who: &'static str,
    pub why: &'static str,
    /// Is it this one?
    pub applies: fn(&Doubt<'_>) -> bool,
}

const fn we(why: &'static str, applies: fn(&Doubt<'_>) -> bool) -> Reason {
    Reason { who: WE, why, applies }
}

const fn haproxy(why: &'static str, applies: fn(&Doubt<'_>) -> bool) -> Reason {
    Reason { who: HAPROXY, why, applies }
}

fn contains(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|w| w == what)
}

/// The raw values of a field, ends of lines not included.
fn values<'a>(doubt: &Doubt<'a>, name: &str) -> Vec<&'a [u8]> {
    let line = |l: &'a [u8]| {
        let colon = l.iter().position(|b| *b == b':')?;
        let (n, value) = l.split_at(colon);
        n.eq_ignore_ascii_case(name.as_bytes()).then(|| value[1..].trim_ascii())
    };
    doubt.fields.split(|b| *b == b'\n').filter_map(line).collect()
}

fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value.iter().rposition(|b| *b == b':') {
        Some(at) if !value.ends_with(b"]") => (&value[..at], &value[at + 1..]),
        _ => (value, &b""[..]),
    };
    let literal = host.starts_with(b"[") && host.ends_with(b"]");
    let good = |b: &u8| {
        b.is_ascii_alphanumeric() || b"-._~".contains(b) || (literal && b"[]:".contains(b))
    };
    !host.is_empty()
        && host.iter().all(good)
        && port.len() <= 5
        && port.iter().all(u8::is_ascii_digit)
}

fn bare_lf(text: &[u8]) -> bool {
    text.windows(2).any(|w| w[1] == b'\n' && w[0] != b'\r')
}

fn bare_cr(text: &[u8]) -> bool {
    text.ends_with(b"\r") || text.windows(2).any(|w| w[0] == b'\r' && w[1] != b'\n')
}

pub const REASONS: [Reason; 18] = [
    we("one space between the words of a request line (RFC 9112 3)", |d| {
        let line = d.line.trim_ascii();
        contains(line, b"  ") || contains(line, b"\t")
    }),
    we("both lengths at once are an attack or a fault (RFC 9112 6.1)", |d| {
        !values(d, "content-length").is_empty() && !values(d, "transfer-encoding").is_empty()
    }),
    we("a length that is said more than once (RFC 9112 6.3 allows to refuse it)", |d| {
        let lengths = values(d, "content-length");
        lengths.len() > 1 || lengths.iter().any(|l| l.contains(&b','))
    }),
    we("HTTP/1.0 knows no chunks (RFC 9112 6.1)", |d| {
        contains(d.line, b"HTTP/1.0") && !values(d, "transfer-encoding").is_empty()
    }),
    we("versions there are not", |d| {
        !contains(d.line, b"HTTP/1.0") && !contains(d.line, b"HTTP/1.1")
    }),
    we("folded lines (RFC 9112 5.2)", |d| {
        contains(d.fields, b"\n ") || contains(d.fields, b"\n\t")
    }),
    we("control characters in values (RFC 9110 5.5)", |d| {
        let bad = |b: &u8| (*b < b' ' && !b"\t\r\n".contains(b)) || *b == 0x7f;
        d.fields.iter().any(bad)
    }),
    we("not exactly one proper Host (RFC 9112 3.2)", |d| {
        let hosts = values(d, "host");
        hosts.len() != 1 || !is_host(hosts[0])
    }),
    we("a target that is none (RFC 9112 3.2)", |d| {
        let target = d.seen.target.as_bytes();
        let star = target == b"*" && d.seen.method != "OPTIONS";
        star || !target.iter().all(u8::is_ascii_graphic)
            || contains(target, b"#")
            || contains(target, b"@")
            || !(target.starts_with(b"/") || target.starts_with(b"http://") || target == b"*")
            || target.starts_with(b"http:///")
    }),
    we("WebSocket asks with GET and a key, with content, too (RFC 6455 4.1)", |d| {
        let key = values(d, "sec-websocket-key").iter().any(|k| k.len() == 24);
        values(d, "upgrade") == [b"websocket"] && (d.seen.method != "GET" || !key)
    }),
    we("CONNECT is for proxies that visitors choose (RFC 9110 9.3.6)", |d| {
        d.seen.method == "CONNECT"
    }),
    we("a bare LF is no end of a line in chunks (RFC 9112 7.1)", |d| {
        let chunked = !values(d, "transfer-encoding").is_empty();
        chunked && (bare_lf(d.rest) || bare_cr(&d.seen.body))
    }),
    we("folded lines and control characters in chunks' extensions and trailers", |d| {
        let chunked = !values(d, "transfer-encoding").is_empty();
        chunked && (contains(d.rest, b"\r\n ") || d.rest.contains(&0))
    }),
    we("a chunk size of more than 15 digits", |d| contains(d.rest, b"0000000000000000")),
    we("trailers that are no fields (RFC 9112 7.1.2)", |d| {
        let last = d.rest.windows(4).position(|w| w == b"\n0\r\n").map(|at| &d.rest[at + 4..]);
        let name = last.and_then(|l| l.split(|b| b":\n".contains(b)).next()).unwrap_or_default();
        let token = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-';
        !values(d, "transfer-encoding").is_empty() && !name.iter().all(token)
    }),
    haproxy("trailers about framing and routing are left out (RFC 9110 6.5.1)", |d| {
        let rest = d.rest.to_ascii_lowercase();
        let last = rest.windows(4).position(|w| w == b"\n0\r\n").map(|at| &rest[at + 3..]);
        let last = last.unwrap_or_default();
        let end = last.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(last.len());
        contains(&last[..end], b"transfer-encoding:") || contains(&last[..end], b"host:")
    }),
    haproxy("HTTP/1.0 knows no Upgrade (RFC 9110 7.8), so there is no key to look for", |d| {
        contains(d.line, b"HTTP/1.0") && values(d, "upgrade") == [b"websocket"]
    }),
    haproxy("a query may follow a host (RFC 3986 3.3, RFC 9112 3.2.1)", |d| {
        contains(d.line, b"http://h?")
    }),
];
