//! Keeps the admin page's session from the sites.
//!
//! Browsers know no ports for cookies (RFC 6265 8.5): who is signed in on port 1936 sends that
//! session to every site on the same address, and a site could plant one of its own. So the
//! cookie is taken out of what goes to a server, and out of what comes from one. Everything else
//! stays as it is, byte for byte.

use memchr::memmem;
use model::SESSION_COOKIE;

const NAME: &[u8] = SESSION_COOKIE.as_bytes();

/// Could the cookie be in this field?
fn is_there(value: &[u8]) -> bool {
    memmem::find(value, NAME).is_some()
}

/// Is this pair the cookie, whatever its value? A pair without a name is sent back by browsers as
/// its bare value, so `=NAME=x` is it as well.
fn is_ours(pair: &[u8]) -> bool {
    let pair = pair.trim_ascii_start();
    let pair = pair.strip_prefix(b"=").unwrap_or(pair).trim_ascii_start();
    pair.strip_prefix(NAME).is_some_and(|rest| {
        let rest = rest.trim_ascii_start();
        rest.is_empty() || rest.starts_with(b"=")
    })
}

/// Writes a request's `Cookie` field without the cookie; nothing where it was the only one.
pub(crate) fn put_request(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    if !is_there(value) {
        return crate::message::put_field(out, name, value);
    }
    let before = out.len();
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    let mut first = true;
    for pair in value.split(|b| *b == b';').filter(|pair| !is_ours(pair)) {
        if first {
            out.extend_from_slice(pair.trim_ascii_start());
        } else {
            out.push(b';');
            out.extend_from_slice(pair);
        }
        first = false;
    }
    if first {
        out.truncate(before);
    } else {
        out.extend_from_slice(b"\r\n");
    }
}

/// Does a response's `Set-Cookie` field set the cookie?
pub(crate) fn sets_it(value: &[u8]) -> bool {
    is_there(value) && value.split(|b| *b == b';').next().is_some_and(is_ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(value: &str) -> String {
        let mut out = b"X: 1\r\n".to_vec();
        put_request(&mut out, b"cookie", value.as_bytes());
        String::from_utf8(out).unwrap().strip_prefix("X: 1\r\n").unwrap().to_owned()
    }

    #[test]
    fn only_the_session_is_taken_out() {
        for (value, left) in [
            ("a=1; b=2", "a=1; b=2"),
            ("bramble_sid=abc", ""),
            ("bramble_sid", ""),
            ("bramble_sid=", ""),
            (" bramble_sid = abc ", ""),
            ("=bramble_sid=abc", ""),
            ("a=1; bramble_sid=abc; b=2", "a=1; b=2"),
            ("bramble_sid=abc; b=2", "b=2"),
            ("a=1; bramble_sid=abc", "a=1"),
            ("a=1;bramble_sid=abc;b=\"2;\" ", "a=1;b=\"2;\" "),
            ("bramble_sid=1; bramble_sid=2; c=3;", "c=3;"),
            ("xbramble_sid=1; bramble_sidx=2; bramble_sid.x=3", "same"),
            ("Bramble_Sid=1; a=bramble_sid=1", "same"),
        ] {
            let left = if left == "same" { value } else { left };
            let line = if left.is_empty() { String::new() } else { format!("cookie: {left}\r\n") };
            assert_eq!(sent(value), line, "{value:?}");
        }
    }

    #[test]
    fn no_server_sets_the_session() {
        for ours in [
            "bramble_sid=x",
            " bramble_sid = x; Path=/",
            "=bramble_sid=x",
            "bramble_sid",
            "bramble_sid=; Max-Age=0",
        ] {
            assert!(sets_it(ours.as_bytes()), "{ours:?}");
        }
        for theirs in ["sid=bramble_sid", "bramble_sid2=x", "a=b; bramble_sid=x", "", "a"] {
            assert!(!sets_it(theirs.as_bytes()), "{theirs:?}");
        }
    }
}
