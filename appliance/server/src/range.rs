//! Byte ranges (RFC 9110 14).

/// More ranges than this in one request are an attack or a mistake; it gets the whole file.
const MAX_RANGES: usize = 32;

/// Part of a file: `length` bytes from `start`, never empty, never past the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) start: u64,
    pub(crate) length: u64,
}

impl Part {
    /// `Content-Range` for it.
    pub(crate) fn content_range(self, size: u64) -> String {
        format!("bytes {}-{}/{size}", self.start, self.start + self.length - 1)
    }
}

/// What a `Range` header asks of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// All of it: there is no range, or none that has to be honoured.
    Whole,
    /// These parts, in the order asked for; at least one.
    Parts(Vec<Part>),
    /// 416: nothing of what is asked for exists.
    Nothing,
}

/// Reads a `Range` header for a file of `size` bytes.
pub(crate) fn select(header: &[u8], size: u64) -> Selection {
    let header = header.trim_ascii();
    let unit = header.get(..6).unwrap_or_default();
    // 14.2: an unknown unit is ignored.
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return Selection::Whole;
    }
    let mut parts = Vec::new();
    let mut asked = 0;
    for spec in header[6..].split(|b| *b == b',') {
        let spec = spec.trim_ascii();
        if spec.is_empty() {
            continue;
        }
        asked += 1;
        if asked > MAX_RANGES {
            return Selection::Whole;
        }
        match read_spec(spec, size) {
            // 14.2: a header that is not valid is ignored as a whole.
            None => return Selection::Whole,
            Some(None) => {}
            Some(Some(part)) => parts.push(part),
        }
    }
    if asked == 0 {
        return Selection::Whole;
    }
    if parts.is_empty() {
        // An empty file has no bytes to point at; sending all of it says so more kindly.
        return if size == 0 { Selection::Whole } else { Selection::Nothing };
    }
    // 14.2: ranges that overlap so much that their sum exceeds the file are not worth serving.
    let total = parts.iter().fold(0_u64, |sum, part| sum.saturating_add(part.length));
    if parts.len() > 1 && total > size {
        return Selection::Whole;
    }
    Selection::Parts(parts)
}

/// None: not a range. Some(None): a range that selects nothing of this file.
#[expect(clippy::option_option, reason = "three outcomes, explained in one line, used once")]
fn read_spec(spec: &[u8], size: u64) -> Option<Option<Part>> {
    let dash = spec.iter().position(|b| *b == b'-')?;
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    if first.is_empty() {
        let suffix = number(last)?;
        let length = suffix.min(size);
        return Some((length > 0).then(|| Part { start: size - length, length }));
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    // 14.1.1: last before first is invalid.
    if last < first {
        return None;
    }
    if first >= size {
        return Some(None);
    }
    let length = last.min(size - 1) - first + 1;
    Some(Some(Part { start: first, length }))
}

/// Digits only; more than fit are as good as the largest that does.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, digit| {
        digit
            .is_ascii_digit()
            .then(|| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(parts: &[(u64, u64)]) -> Selection {
        Selection::Parts(parts.iter().map(|&(start, length)| Part { start, length }).collect())
    }

    #[test]
    fn table() {
        use Selection::{Nothing, Whole};
        for (header, want) in [
            ("bytes=0-0", parts(&[(0, 1)])),
            ("bytes=0-26", parts(&[(0, 27)])),
            ("bytes=5-9", parts(&[(5, 5)])),
            ("Bytes=5-9", parts(&[(5, 5)])),
            ("bytes= 5-9", parts(&[(5, 5)])),
            ("bytes=5-", parts(&[(5, 22)])),
            ("bytes=-5", parts(&[(22, 5)])),
            ("bytes=-100", parts(&[(0, 27)])),
            ("bytes=26-", parts(&[(26, 1)])),
            ("bytes=20-1000", parts(&[(20, 7)])),
            ("bytes=0-99999999999999999999999", parts(&[(0, 27)])),
            ("bytes=0-0,2-2", parts(&[(0, 1), (2, 1)])),
            ("bytes=2-2 , ,0-0", parts(&[(2, 1), (0, 1)])),
            ("bytes=0-0,100-200", parts(&[(0, 1)])),
            ("bytes=0-5,3-8", parts(&[(0, 6), (3, 6)])),
            ("bytes=0-,0-", Whole),
            ("bytes=27-", Nothing),
            ("bytes=99999999999999999999999-", Nothing),
            ("bytes=-0", Nothing),
            ("bytes=30-40,50-", Nothing),
            ("bytes=5-2", Whole),
            ("bytes=0-1,5-2", Whole),
            ("bytes=a-b", Whole),
            ("bytes=", Whole),
            ("bytes=,", Whole),
            ("bytes=5", Whole),
            ("bytes=-", Whole),
            ("bytes=--5", Whole),
            ("bytes=1-2-3", Whole),
            ("bytes=+1-2", Whole),
            ("bytes 1-2", Whole),
            ("items=0-1", Whole),
            ("", Whole),
        ] {
            assert_eq!(select(header.as_bytes(), 27), want, "{header}");
        }
    }

    #[test]
    fn limits() {
        let many = |n: usize| {
            let list: Vec<_> = (0..n).map(|i| format!("{i}-{i}")).collect();
            format!("bytes={}", list.join(","))
        };
        assert!(
            matches!(select(many(32).as_bytes(), 10_000), Selection::Parts(p) if p.len() == 32)
        );
        assert_eq!(select(many(33).as_bytes(), 10_000), Selection::Whole);
        assert_eq!(select(many(2000).as_bytes(), 10_000), Selection::Whole);
    }

    #[test]
    fn an_empty_file_is_sent_whole() {
        for header in ["bytes=0-", "bytes=-5", "bytes=0-0"] {
            assert_eq!(select(header.as_bytes(), 0), Selection::Whole, "{header}");
        }
    }

    #[test]
    fn parts_lie_within_the_file() {
        for size in 0..12_u64 {
            for a in 0..14_u64 {
                for b in 0..14_u64 {
                    for header in [format!("bytes={a}-{b}"), format!("bytes=-{a}")] {
                        if let Selection::Parts(parts) = select(header.as_bytes(), size) {
                            for p in parts {
                                assert!(p.length > 0 && p.start + p.length <= size, "{header}");
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn content_range() {
        assert_eq!(Part { start: 5, length: 2 }.content_range(27), "bytes 5-6/27");
    }
}
