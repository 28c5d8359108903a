//! What of a request is hashed.

use super::hash::{avalanche, hash};
use crate::head::{Head, elements, parameter};
use model::{Balance, HashType, UriPart};
use std::net::Ipv4Addr;

/// A request, as far as hashes look at it.
pub(crate) struct Asker<'a> {
    /// Its head as it is sent on.
    pub(crate) head: &'a [u8],
    /// The visitor.
    pub(crate) source: Ipv4Addr,
    /// What has come of its content, for `url_param … check_post`.
    pub(crate) content: &'a [u8],
}

/// The hash of what the algorithm looks at; None where the request does not have it, and for
/// algorithms that do not hash.
pub(crate) fn of(balance: &Balance, kind: HashType, asker: &Asker<'_>) -> Option<u32> {
    match balance {
        Balance::Source => Some(avalanche(kind, u32::from(asker.source))),
        Balance::Uri(part) => Some(hash(kind, uri(Head::new(asker.head).target, part))),
        Balance::UrlParam { name, .. } => {
            let head = Head::new(asker.head);
            // As in HAProxy, what has come of a POST is looked at in any case; `check_post` only
            // waits for it.
            let value = head.parameter(name).or_else(|| {
                let post = head.method == b"POST";
                post.then(|| content_parameter(asker.content, name.as_bytes())).flatten()
            });
            value.map(|v| hash(kind, v))
        }
        Balance::Hdr { name, use_domain_only } => {
            let head = Head::new(asker.head);
            let value = head.values(name).next()?;
            let value = elements(value).next().filter(|v| !v.is_empty())?;
            Some(hash(kind, if *use_domain_only { domain(value) } else { value }))
        }
        Balance::RdpCookie { name } => rdp_cookie(asker.content, name).map(|v| hash(kind, v)),
        Balance::Roundrobin
        | Balance::StaticRr
        | Balance::Leastconn
        | Balance::First
        | Balance::Random { .. } => None,
    }
}

/// Does the algorithm look into the content of this request?
pub(crate) fn wants_content(balance: &Balance, head: &[u8]) -> bool {
    let Balance::UrlParam { name, check_post: true } = balance else { return false };
    let head = Head::new(head);
    head.method == b"POST"
        && head.parameter(name).is_none()
        && head.values("expect").next().is_none()
}

/// Could more of a connection's first bytes still tell what the algorithm looks at?
pub(crate) fn wants_more(balance: &Balance, first: &[u8]) -> bool {
    if !matches!(balance, Balance::RdpCookie { .. }) {
        return false;
    }
    match first {
        [] | [3] | [3, _] | [3, _, _] => true,
        [3, _, high, low, rest @ ..] => {
            let whole = usize::from(u16::from_be_bytes([*high, *low]));
            rest.get(1).is_none_or(|code| *code == 0xe0) && first.len() < whole
        }
        _ => false,
    }
}

/// The part of a target that counts.
fn uri<'a>(target: &'a [u8], part: &UriPart) -> &'a [u8] {
    let limit = part.len.map_or(target.len(), usize::from).min(target.len());
    let target = &target[..limit];
    // The slash in front of the first level is one more.
    let last_slash = part.depth.map(|depth| u32::from(depth) + 1);
    let mut slashes = 0;
    let end = target.iter().position(|byte| match byte {
        b'/' => {
            slashes += 1;
            Some(slashes) == last_slash
        }
        b'?' => !part.whole,
        _ => false,
    });
    &target[..end.unwrap_or(target.len())]
}

/// The part of a host name before the top level: HAProxy goes back from the end to the last dot,
/// and from there to the dot before it.
fn domain(value: &[u8]) -> &[u8] {
    // A dot at the very start does not count.
    let last = value.iter().skip(1).rposition(|b| *b == b'.').map(|at| at + 1);
    let Some(end) = last else { return value };
    let start = value[..end].iter().rposition(|b| *b == b'.').map_or(0, |at| at + 1);
    &value[start..end]
}

/// A parameter in the content of a form; binary content has none.
fn content_parameter<'a>(content: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = parameter(content, name)?;
    let is_token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    let end = value.iter().position(|b| !is_token(b)).unwrap_or(value.len());
    match value.get(end) {
        None | Some(b' ' | b'\t' | b'\r' | b'\n') => value.get(..end),
        Some(_) => None,
    }
}

/// The cookie in the connection request of a remote desktop client: TPKT and X.224 headers, then
/// `Cookie: name=value` and CRLF (MS-RDPBCGR 2.2.1.1).
fn rdp_cookie<'a>(first: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let after_headers = match first {
        [3, _, high, low, x224_length, 0xe0, _, _, _, _, _, rest @ ..] => {
            let whole = usize::from(u16::from_be_bytes([*high, *low]));
            // The X.224 length counts from behind itself.
            let agrees = whole.checked_sub(5) == Some(usize::from(*x224_length));
            rest.get(..whole.checked_sub(11)?).filter(|_| agrees)?
        }
        _ => return None,
    };
    let line = after_headers.strip_prefix(b"Cookie: ").or_else(|| {
        let start = after_headers.get(..8)?;
        start.eq_ignore_ascii_case(b"cookie: ").then(|| after_headers.get(8..)).flatten()
    })?;
    let start = line.get(..name.len())?;
    let rest = line.get(name.len()..)?.strip_prefix(b"=")?;
    let end = rest.iter().position(|b| *b == b'\r')?;
    start.eq_ignore_ascii_case(name.as_bytes()).then(|| rest.get(..end)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_an_address() {
        let part = |text: &str| match text.parse::<Balance>().unwrap() {
            Balance::Uri(part) => part,
            other => panic!("{other}"),
        };
        for (line, target, want) in [
            ("uri", "/a/b?c=1", "/a/b"),
            ("uri whole", "/a/b?c=1", "/a/b?c=1"),
            ("uri len 3", "/a/b?c=1", "/a/"),
            ("uri depth 1", "/a/b/c", "/a"),
            ("uri depth 2", "/a/b/c", "/a/b"),
            ("uri depth 5", "/a/b/c", "/a/b/c"),
            ("uri depth 2 len 3", "/a/b/c", "/a/"),
            ("uri depth 1", "/", "/"),
            ("uri", "*", "*"),
            ("uri len 20", "", ""),
        ] {
            let found = uri(target.as_bytes(), &part(line));
            assert_eq!(found, want.as_bytes(), "{line} {target}");
        }
    }

    #[test]
    fn domains() {
        for (host, want) in [
            ("haproxy.1wt.eu", "1wt"),
            ("example.org", "example"),
            ("localhost", "localhost"),
            ("a.b.c.d", "c"),
            (".org", ".org"),
            ("www.example.org.", "org"),
            ("", ""),
        ] {
            assert_eq!(domain(host.as_bytes()), want.as_bytes(), "{host}");
        }
    }

    #[test]
    fn parameters_in_content() {
        for (content, want) in [
            ("a=1&user=joe&b=2", Some("joe")),
            ("user=joe\r\n", Some("joe")),
            ("user=j@e", None),
            ("auser=1", None),
            ("", None),
        ] {
            let found = content_parameter(content.as_bytes(), b"user");
            assert_eq!(found, want.map(str::as_bytes), "{content:?}");
        }
    }

    #[test]
    fn remote_desktop_cookies() {
        let packet = |line: &str| {
            let whole = u8::try_from(11 + line.len()).unwrap();
            let mut all = vec![3, 0, 0, whole, whole - 5, 0xe0, 0, 0, 0, 0, 0];
            all.extend_from_slice(line.as_bytes());
            all
        };
        let good = packet("Cookie: mstshash=joe\r\n");
        assert_eq!(rdp_cookie(&good, "mstshash"), Some(&b"joe"[..]));
        assert_eq!(rdp_cookie(&good, "msts"), None);
        let balance = Balance::RdpCookie { name: "mstshash".to_owned() };
        for cut in 0..good.len() {
            assert_eq!(rdp_cookie(&good[..cut], "mstshash"), None, "{cut}");
            assert!(wants_more(&balance, &good[..cut]), "{cut}");
        }
        assert!(!wants_more(&balance, &good) && !wants_more(&Balance::Source, b""));
        for other in [&b"GET / HTTP/1.1\r\n"[..], &[3, 0, 0, 40, 35, 0xd0]] {
            assert!(!wants_more(&balance, other));
        }
        assert_eq!(rdp_cookie(&packet("x"), "mstshash"), None);
        assert_eq!(rdp_cookie(b"GET / HTTP/1.1\r\n", "mstshash"), None);
    }
}
