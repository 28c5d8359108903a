//! Spans, sizes and sentences as an operator reads them.

/// A span of milliseconds in the largest units that matter: "12 s", "3 min", "2 h 5 min".
pub(crate) fn span(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min", s / 60),
        3600..86_400 if s % 3600 / 60 == 0 => format!("{} h", s / 3600),
        3600..86_400 => format!("{} h {} min", s / 3600, s % 3600 / 60),
        _ if s % 86_400 / 3600 == 0 => format!("{} d", s / 86_400),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3600),
    }
}

/// A short span, to the millisecond where that says something.
pub(crate) fn short_span(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 if ms % 1000 < 100 => format!("{} s", ms / 1000),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => span(ms),
    }
}

/// A number with its thousands apart: "12,345".
pub(crate) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes: "512 B", "1.4 MB".
pub(crate) fn bytes(n: u64) -> String {
    for (unit, size) in
        [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)]
    {
        if n >= size {
            return format!("{}.{} {unit}", n / size, n % size * 10 / size);
        }
    }
    format!("{n} B")
}

/// "1 server", "2 servers".
pub(crate) fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// A message as a sentence: a capital first, a full stop last.
pub(crate) fn sentence(text: &str) -> String {
    let text = text.trim();
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return String::new() };
    // A message that begins with what was typed keeps it as it was typed.
    let first: String = if first.is_ascii_lowercase() {
        first.to_ascii_uppercase().to_string()
    } else {
        first.into()
    };
    let stop = if text.ends_with(['.', '!', '?', '…']) { "" } else { "." };
    format!("{first}{}{stop}", chars.as_str())
}

/// "2026-11-22 18:12 UTC", or nothing when the clock was never set.
pub(crate) fn moment(at_ms: i64) -> String {
    // Boards without a clock chip start in 1970 and say so rather than guess.
    const SET: i64 = 1_600_000_000_000;
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    if at_ms < SET {
        return "clock not set".to_owned();
    }
    time::OffsetDateTime::from_unix_timestamp(at_ms / 1000)
        .ok()
        .and_then(|t| t.format(&format).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_well() {
        let spans = [0, 59_999, 60_000, 3_600_000, 7_500_000, 86_400_000, 90_000_000].map(span);
        assert_eq!(spans, ["0 s", "59 s", "1 min", "1 h", "2 h 5 min", "1 d", "1 d 1 h"]);
        assert_eq!([7, 1234, 61_000].map(short_span), ["7 ms", "1.2 s", "1 min"]);
        assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([12, 1400, 2_000_000].map(bytes), ["12 B", "1.4 kB", "2.0 MB"]);
        assert_eq!(sentence("this is needed"), "This is needed.");
        assert_eq!(sentence("\"x\" is bad."), "\"x\" is bad.");
        assert_eq!(sentence(""), "");
        assert_eq!(moment(0), "clock not set");
        assert_eq!(moment(1_764_000_000_000), "2025-11-24 16:00 UTC");
    }
}
