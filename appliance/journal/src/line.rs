//! How a line looks: time since the start, time of day if it is known, severity, who, what.

use crate::ring::{LONGEST, cut};
use std::fmt::Write;
use time::OffsetDateTime;

/// How grave a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// For those who look for a fault.
    Debug,
    /// Good to know.
    Info,
    /// Something is not as it should be.
    Warning,
    /// Something does not work.
    Error,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARN",
            Self::Error => "ERROR",
        }
    }
}

/// When something was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct When {
    /// Milliseconds since the kernel started.
    pub(crate) boot_ms: u64,
    /// Milliseconds since 1970; None while nobody has set the clock.
    pub(crate) unix_ms: Option<u64>,
}

/// Writes the line's head.
pub(crate) fn head(out: &mut String, when: When, severity: Severity, target: &str) {
    let (seconds, millis) = (when.boot_ms / 1000, when.boot_ms % 1000);
    // Writing to a String does not fail.
    let _ = write!(out, "{seconds:>6}.{millis:03} ");
    if let Some(time) = when.unix_ms.and_then(utc) {
        let _ = write!(
            out,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z ",
            time.year(),
            u8::from(time.month()),
            time.day(),
            time.hour(),
            time.minute(),
            time.second()
        );
    }
    let _ = write!(out, "{:<5} ", severity.word());
    plain(out, target);
    out.push_str(": ");
}

pub(crate) fn utc(unix_ms: u64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(i64::try_from(unix_ms / 1000).ok()?).ok()
}

/// Writes text that stays on its line and does nothing to a terminal. What is beyond the longest
/// line is not even looked at.
pub(crate) fn plain(out: &mut String, text: &str) {
    for c in cut(text, LONGEST).chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(when: When, severity: Severity) -> String {
        let mut line = String::new();
        head(&mut line, when, severity, "vrrp");
        line
    }

    #[test]
    fn the_head_of_a_line() {
        let unset = When { boot_ms: 3_045, unix_ms: None };
        assert_eq!(written(unset, Severity::Info), "     3.045 INFO  vrrp: ");
        let set = When { boot_ms: 93_784_120, unix_ms: Some(1_795_382_149_999) };
        assert_eq!(written(set, Severity::Error), " 93784.120 2026-11-22T21:15:49Z ERROR vrrp: ");
        // A clock beyond all calendars is as good as none.
        let wild = When { boot_ms: 0, unix_ms: Some(u64::MAX) };
        assert_eq!(written(wild, Severity::Warning), "     0.000 WARN  vrrp: ");
    }

    #[test]
    fn text_cannot_leave_its_line() {
        let mut out = String::new();
        plain(&mut out, "a\nb\r\u{1b}[2Jc\u{85}ü");
        assert_eq!(out, "a\\nb\\r\\u{1b}[2Jc\\u{85}ü");
    }
}
