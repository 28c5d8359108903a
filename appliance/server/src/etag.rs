//! Entity tags: strong, and the same on every node that holds the same copy.
//!
//! The mirror keeps modification times to the nanosecond, so time and size are the same on both
//! web servers, while inode numbers are not. RFC 9110 8.8.3.

use crate::encoding::Coding;

/// What the kernel says of a file, as far as a visitor can tell two versions apart by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Modification time in nanoseconds since 1970, possibly before it.
    pub(crate) mtime_ns: i128,
    /// Length in bytes.
    pub(crate) size: u64,
}

impl Meta {
    /// Modification time in whole seconds, which is all an HTTP date can say.
    pub(crate) fn seconds(self) -> i64 {
        i64::try_from(self.mtime_ns.div_euclid(1_000_000_000)).unwrap_or(0)
    }
}

/// The tag of a file. Each content coding is a representation of its own and has its own tag.
pub(crate) fn strong(meta: Meta, coding: Option<Coding>) -> String {
    match coding {
        None => format!("\"{:x}-{:x}\"", meta.mtime_ns, meta.size),
        Some(c) => format!("\"{:x}-{:x}-{}\"", meta.mtime_ns, meta.size, c.token()),
    }
}

/// One tag out of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag<'a> {
    /// `W/` in front.
    pub(crate) weak: bool,
    /// With its quotes.
    pub(crate) opaque: &'a [u8],
}

/// Reads one tag at the start of `text`; returns it and what follows.
pub(crate) fn read_tag(text: &[u8]) -> Option<(Tag<'_>, &[u8])> {
    let (weak, rest) = match text.strip_prefix(b"W/") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let inner = rest.strip_prefix(b"\"")?;
    let end = inner.iter().position(|b| *b == b'"')?;
    // etagc: visible characters except the quote, and obs-text.
    if inner[..end].iter().any(|b| matches!(b, 0..=0x20 | 0x7f)) {
        return None;
    }
    Some((Tag { weak, opaque: &rest[..end + 2] }, &inner[end + 1..]))
}

/// Does the list (RFC 9110 5.6.1) hold a tag that `wanted` accepts? A list that cannot be read
/// holds what was read of it.
pub(crate) fn list_has(list: &[u8], mut wanted: impl FnMut(Tag<'_>) -> bool) -> bool {
    let mut rest = list;
    loop {
        rest = rest.trim_ascii_start();
        while let Some(after) = rest.strip_prefix(b",") {
            rest = after.trim_ascii_start();
        }
        let Some((tag, after)) = read_tag(rest) else { return false };
        if wanted(tag) {
            return true;
        }
        rest = after.trim_ascii_start();
        if !rest.starts_with(b",") {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: Meta = Meta { mtime_ns: 1_700_000_000_123_456_789, size: 27 };

    #[test]
    fn a_tag_tells_versions_and_codings_apart() {
        let tags = [
            strong(META, None),
            strong(META, Some(Coding::Gzip)),
            strong(META, Some(Coding::Brotli)),
            strong(Meta { size: 28, ..META }, None),
            strong(Meta { mtime_ns: META.mtime_ns + 1, ..META }, None),
            strong(Meta { mtime_ns: -1, ..META }, None),
        ];
        for (i, tag) in tags.iter().enumerate() {
            let (read, rest) = read_tag(tag.as_bytes()).unwrap();
            assert!(!read.weak && rest.is_empty() && read.opaque == tag.as_bytes());
            assert!(!tags[..i].contains(tag));
        }
    }

    #[test]
    fn lists() {
        let has = |list: &str| list_has(list.as_bytes(), |t| t.opaque == b"\"x\"");
        for list in ["\"x\"", "W/\"x\"", "\"a\", \"x\"", ",, \"a\" ,W/\"x\"", "\"a,b\",\"x\""] {
            assert!(has(list), "{list}");
        }
        for list in ["", "*", "x", "\"y\"", "\"x", "'x'", "\"a\" \"x\"", "w/\"x\"", "\"a b\",\"x\""]
        {
            assert!(!has(list), "{list}");
        }
    }

    #[test]
    fn seconds_round_down() {
        assert_eq!(Meta { mtime_ns: -1, size: 0 }.seconds(), -1);
        assert_eq!(META.seconds(), 1_700_000_000);
    }
}
