//! HTTP dates as whole seconds since 1970 (RFC 9110 5.6.7).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last second four digits of a year can name.
const LAST: i64 = 253_402_300_799;

/// Seconds since 1970; 0 before it.
pub(crate) fn seconds(at: SystemTime) -> i64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(LAST))
}

/// Reads any of the three forms.
pub(crate) fn parse(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?;
    httpdate::parse_http_date(text).ok().map(seconds)
}

/// Writes the preferred form. What no HTTP date can say becomes the nearest that can be said.
pub(crate) fn format(at: i64) -> String {
    let at = u64::try_from(at.clamp(0, LAST)).unwrap_or(0);
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(at))
}

/// The `Last-Modified` of a file: never later than `now`, for a date in the future would never
/// match again once the clock has been put right (RFC 9110 8.8.2.1).
pub(crate) fn last_modified(mtime: i64, now: i64) -> i64 {
    mtime.min(now).max(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for at in [0, 784_111_777, 1_700_000_000, 4_102_444_800, LAST] {
            assert_eq!(parse(format(at).as_bytes()), Some(at));
        }
        assert_eq!(format(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(format(-5), format(0));
        assert_eq!(format(i64::MAX), format(LAST));
    }

    #[test]
    fn the_old_forms_and_garbage() {
        assert_eq!(parse(b"Sunday, 06-Nov-94 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(parse(b"Sun Nov  6 08:49:37 1994"), Some(784_111_777));
        for bad in [&b""[..], b"yesterday", b"784111777", b"\xff", b"Sun, 06 Nov 1994 08:49:37"] {
            assert_eq!(parse(bad), None);
        }
    }

    #[test]
    fn never_in_the_future() {
        assert_eq!(last_modified(50, 40), 40);
        assert_eq!(last_modified(30, 40), 30);
        assert_eq!(last_modified(-30, 40), 0);
    }
}
