//! Preconditions, in the order of RFC 9110 13.2.2.

use crate::date;
use crate::etag::{list_has, read_tag};
use http::HeaderMap;
use http::header::{
    HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
};

/// What the preconditions of a GET or HEAD come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Send it; whether `Range` counts.
    Send { ranges: bool },
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

/// What there is to compare with. The file exists, or nothing would be evaluated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Validators<'a> {
    /// Its strong tag, with quotes.
    pub(crate) etag: &'a str,
    /// Its modification time in seconds, as it is.
    pub(crate) mtime: i64,
    /// The clock, in seconds.
    pub(crate) now: i64,
}

/// Judges the preconditions of a GET or HEAD.
pub(crate) fn judge(headers: &HeaderMap, file: Validators<'_>) -> Verdict {
    // 13.2.2 step 1 and 2: If-Unmodified-Since only without If-Match.
    if headers.contains_key(IF_MATCH) {
        // 13.1.1: strong comparison.
        if !any_match(headers, IF_MATCH, file.etag, false) {
            return Verdict::Failed;
        }
    } else if single_date(headers, IF_UNMODIFIED_SINCE).is_some_and(|since| file.mtime > since) {
        return Verdict::Failed;
    }
    // Steps 3 and 4: If-Modified-Since only without If-None-Match.
    if headers.contains_key(IF_NONE_MATCH) {
        // 13.1.2: weak comparison.
        if any_match(headers, IF_NONE_MATCH, file.etag, true) {
            return Verdict::NotModified;
        }
    } else if single_date(headers, IF_MODIFIED_SINCE).is_some_and(|since| file.mtime <= since) {
        return Verdict::NotModified;
    }
    // Step 5.
    Verdict::Send { ranges: range_applies(headers, file) }
}

fn any_match(headers: &HeaderMap, name: HeaderName, etag: &str, weak: bool) -> bool {
    headers.get_all(name).into_iter().any(|value| {
        let value = value.as_bytes().trim_ascii();
        value == b"*" || list_has(value, |tag| (weak || !tag.weak) && tag.opaque == etag.as_bytes())
    })
}

/// A date that is there exactly once and can be read; anything else is ignored (13.1.3).
fn single_date(headers: &HeaderMap, name: HeaderName) -> Option<i64> {
    let mut values = headers.get_all(name).into_iter();
    match (values.next(), values.next()) {
        (Some(value), None) => date::parse(value.as_bytes().trim_ascii()),
        _ => None,
    }
}

/// RFC 9110 13.1.5.
fn range_applies(headers: &HeaderMap, file: Validators<'_>) -> bool {
    let mut values = headers.get_all(IF_RANGE).into_iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return true,
        (Some(value), None) => value.as_bytes().trim_ascii(),
        _ => return false,
    };
    if let Some((tag, rest)) = read_tag(value) {
        return rest.is_empty() && !tag.weak && tag.opaque == file.etag.as_bytes();
    }
    // A date is a strong validator only when the file cannot have changed twice within it
    // (8.8.2.2), and it must match exactly.
    date::parse(value).is_some_and(|at| at == file.mtime && file.mtime < file.now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const MTIME: i64 = 784_111_777;
    const LM: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const GO: Verdict = Verdict::Send { ranges: true };
    const WHOLE: Verdict = Verdict::Send { ranges: false };

    fn verdict(now: i64, lines: &[(&str, &str)]) -> Verdict {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        judge(&headers, Validators { etag: "\"v1\"", mtime: MTIME, now })
    }

    #[test]
    fn table() {
        use Verdict::{Failed, NotModified};
        let (inm, ims, im, ius, ir) =
            ("if-none-match", "if-modified-since", "if-match", "if-unmodified-since", "if-range");
        let cases: &[(&[(&str, &str)], Verdict)] = &[
            (&[], GO),
            (&[(inm, "\"v1\"")], NotModified),
            (&[(inm, "W/\"v1\"")], NotModified),
            (&[(inm, "\"a\", \"v1\"")], NotModified),
            (&[(inm, "\"a\""), (inm, "\"v1\"")], NotModified),
            (&[(inm, "*")], NotModified),
            (&[(inm, "\"v2\"")], GO),
            (&[(inm, "v1")], GO),
            (&[(inm, "")], GO),
            // If-None-Match beats If-Modified-Since, also when it cannot be read.
            (&[(inm, "\"v2\""), (ims, AFTER)], GO),
            (&[(inm, "rubbish"), (ims, AFTER)], GO),
            (&[(inm, "\"v1\""), (ims, BEFORE)], NotModified),
            (&[(ims, LM)], NotModified),
            (&[(ims, AFTER)], NotModified),
            (&[(ims, BEFORE)], GO),
            (&[(ims, "yesterday")], GO),
            (&[(ims, LM), (ims, LM)], GO),
            (&[(im, "\"v1\"")], GO),
            (&[(im, "*")], GO),
            (&[(im, "\"v2\", \"v1\"")], GO),
            (&[(im, "W/\"v1\"")], Failed),
            (&[(im, "\"v2\"")], Failed),
            (&[(im, "")], Failed),
            (&[(ius, LM)], GO),
            (&[(ius, AFTER)], GO),
            (&[(ius, BEFORE)], Failed),
            (&[(ius, "never")], GO),
            // If-Match beats If-Unmodified-Since.
            (&[(im, "\"v1\""), (ius, BEFORE)], GO),
            (&[(im, "\"v2\""), (ius, AFTER)], Failed),
            // Both pairs: the first that stops it wins.
            (&[(im, "\"v2\""), (inm, "\"v1\"")], Failed),
            (&[(im, "\"v1\""), (inm, "\"v1\"")], NotModified),
            (&[(ius, BEFORE), (ims, AFTER)], Failed),
            (&[(ir, "\"v1\"")], GO),
            (&[(ir, "W/\"v1\"")], WHOLE),
            (&[(ir, "\"v2\"")], WHOLE),
            (&[(ir, "\"v1\", \"v2\"")], WHOLE),
            (&[(ir, "*")], WHOLE),
            (&[(ir, LM)], GO),
            (&[(ir, AFTER)], WHOLE),
            (&[(ir, BEFORE)], WHOLE),
            (&[(ir, "\"v1\""), (ir, "\"v1\"")], WHOLE),
            (&[(inm, "\"v1\""), (ir, "\"v2\"")], NotModified),
        ];
        for (lines, want) in cases {
            assert_eq!(verdict(MTIME + 3600, lines), *want, "{lines:?}");
        }
    }

    #[test]
    fn a_fresh_date_is_weak() {
        assert_eq!(verdict(MTIME, &[("if-range", LM)]), WHOLE);
        assert_eq!(verdict(MTIME + 1, &[("if-range", LM)]), GO);
    }
}
