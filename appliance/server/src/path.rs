//! From the path of a request to a path below the site's directory.
//!
//! The result names something below the root by construction: no empty, `.` or `..` component,
//! no NUL, no slash that was not a slash on the wire. Whether it exists, and whether a symbolic
//! link leads out of the site, is the kernel's business (see `beneath.rs`).

/// The longest request target that is looked at.
pub(crate) const MAX_TARGET: usize = 8192;

/// Where a request points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Relative to the site's directory, without slashes at either end; empty for `/`.
    pub(crate) path: Vec<u8>,
    /// It ended in a slash: only a directory will do.
    pub(crate) directory: bool,
}

/// Why a path is not looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Not a path (RFC 3986 3.3).
    Malformed,
    /// A path no visitor may ask for; told as "not found".
    Hidden,
}

/// Ends of names that editors and people leave beside the real file.
const LEFTOVERS: [&[u8]; 7] = [b"~", b".bak", b".swp", b".swo", b".orig", b".save", b".tmp"];

/// Reads the path of a request, still percent-encoded and without its query.
pub(crate) fn parse(raw: &str) -> Result<Target, Refused> {
    let rest = raw.strip_prefix('/').ok_or(Refused::Malformed)?;
    let mut path = Vec::with_capacity(rest.len());
    let mut hidden = false;
    let mut first = true;
    // Encoding errors win over names that are merely hidden, so the loop runs to the end.
    for segment in rest.split('/') {
        let name = decode(segment)?;
        // `//` and `/./` mean the same place as `/` (as in nginx and Apache).
        if name.is_empty() || name == b"." {
            continue;
        }
        hidden |= is_hidden(&name, first);
        first = false;
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(&name);
    }
    if hidden {
        return Err(Refused::Hidden);
    }
    let last = rest.rsplit('/').next().unwrap_or_default();
    Ok(Target { directory: last.is_empty() || last == ".", path })
}

fn decode(segment: &str) -> Result<Vec<u8>, Refused> {
    let mut name = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' {
            let high = bytes.next().and_then(hex).ok_or(Refused::Malformed)?;
            let low = bytes.next().and_then(hex).ok_or(Refused::Malformed)?;
            high << 4 | low
        } else {
            byte
        };
        if byte == 0 {
            return Err(Refused::Malformed);
        }
        name.push(byte);
    }
    Ok(name)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Names that are never served. A leading dot covers `..`, `.git`, `.htaccess` and everything a
/// mirror or rsync has under way (both stage under dot names).
fn is_hidden(name: &[u8], first: bool) -> bool {
    if name.starts_with(b".") {
        // RFC 8615: the one dot name that is meant for visitors, and only at the top.
        return !(first && name == b".well-known");
    }
    // A decoded slash would name another file than the one the balancer's rules saw; a backslash
    // or a control character is in nobody's file name but an attacker's.
    if name.iter().any(|b| matches!(b, b'/' | b'\\' | 0..=31 | 127)) {
        return true;
    }
    let ends = |end: &&[u8]| {
        name.len() >= end.len() && name[name.len() - end.len()..].eq_ignore_ascii_case(end)
    };
    LEFTOVERS.iter().any(ends)
        || (name.len() > 1 && name.starts_with(b"#") && name.ends_with(b"#"))
        || name == b"lost+found"
}

/// The last component with a slash behind it, as a relative reference: what a visitor who asked
/// for a directory without its slash is sent to. Relative, because this server does not know
/// under which name, port and scheme the balancer was asked; and built from one component, so
/// that no `//host` and no `scheme:` can come out of it.
pub(crate) fn directory_reference(target: &Target, query: Option<&str>) -> String {
    let name = target.path.rsplit(|b| *b == b'/').next().unwrap_or_default();
    let mut reference = String::with_capacity(name.len() + 8);
    for &byte in name {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            reference.push(char::from(byte));
        } else {
            const DIGITS: [char; 16] =
                ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
            reference.push('%');
            reference.push(DIGITS[usize::from(byte >> 4)]);
            reference.push(DIGITS[usize::from(byte & 15)]);
        }
    }
    reference.push('/');
    if let Some(query) = query {
        reference.push('?');
        reference.push_str(query);
    }
    reference
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(raw: &str) -> Result<(String, bool), Refused> {
        parse(raw).map(|t| (String::from_utf8_lossy(&t.path).into_owned(), t.directory))
    }

    #[test]
    fn paths_that_name_something() {
        for (raw, want, directory) in [
            ("/", "", true),
            ("//", "", true),
            ("/.", "", true),
            ("/./", "", true),
            ("/a.txt", "a.txt", false),
            ("/a//b.txt", "a/b.txt", false),
            ("/a/./b.txt", "a/b.txt", false),
            ("/a/", "a", true),
            ("/a/.", "a", true),
            ("/a/%2e", "a", false),
            ("/a%20b+c;x=1", "a b+c;x=1", false),
            ("/%61", "a", false),
            ("/%C3%A9", "é", false),
            ("/.well-known/acme", ".well-known/acme", false),
            ("/a...b", "a...b", false),
            ("/%253c", "%3c", false),
            ("/#", "#", false),
        ] {
            assert_eq!(path(raw), Ok((want.to_owned(), directory)), "{raw}");
        }
    }

    #[test]
    fn paths_nobody_may_ask_for() {
        for raw in [
            "/..",
            "/../etc/passwd",
            "/a/../b",
            "/%2e%2e/x",
            "/.%2E/x",
            "/%2e%2e%2fetc",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/.git/config",
            "/.htpasswd",
            "/a/.well-known",
            "/.well-known/.x",
            "/.well-known/../.git",
            "/...",
            "/a~",
            "/a.BAK",
            "/.a.swp",
            "/a.swp",
            "/#a#",
            "/a%0d%0ab",
            "/a%7f",
            "/lost+found/x",
            "/d~/a",
            "//evil.com/%2e%2e",
        ] {
            assert_eq!(path(raw), Err(Refused::Hidden), "{raw}");
        }
    }

    #[test]
    fn paths_that_are_none() {
        for raw in ["", "*", "a", "/%", "/%4", "/%zz", "/%00", "/a%00.txt", "/.git/%", "/%u0041"] {
            assert_eq!(path(raw), Err(Refused::Malformed), "{raw}");
        }
    }

    #[test]
    fn overlong_utf8_stays_bytes() {
        let target = parse("/%c0%ae%c0%ae/x").unwrap();
        assert_eq!(target.path, b"\xc0\xae\xc0\xae/x");
    }

    #[test]
    fn references_are_relative_and_cannot_leave_the_host() {
        for (raw, query, want) in [
            ("/a/b", None, "b/"),
            ("/a", Some("x=1&y=%2F"), "a/?x=1&y=%2F"),
            ("//evil.com", None, "evil.com/"),
            ("/javascript:alert(1)", None, "javascript%3Aalert%281%29/"),
            ("/%C3%A9", Some(""), "%C3%A9/?"),
        ] {
            assert_eq!(directory_reference(&parse(raw).unwrap(), query), want, "{raw}");
        }
    }

    #[test]
    fn whatever_comes_in_the_result_is_below_the_root() {
        // Every string of up to five of these pieces.
        let pieces = ["/", ".", "%2e", "%2f", "%", "a", "..", "%00", "~"];
        let mut all = vec![String::new()];
        let mut from = 0;
        for _ in 0..5 {
            let to = all.len();
            for i in from..to {
                for piece in pieces {
                    let next = format!("{}{piece}", all[i]);
                    all.push(next);
                }
            }
            from = to;
        }
        for raw in &all {
            if let Ok(target) = parse(&format!("/{raw}")) {
                assert!(!target.path.contains(&0));
                if !target.path.is_empty() {
                    for part in target.path.split(|b| *b == b'/') {
                        assert!(!part.is_empty() && part != b"." && part != b"..", "{raw}");
                    }
                }
            }
        }
    }
}
