//! Lines for a syslog server (RFC 5424, sent as RFC 5426 says: one a datagram).

use crate::line::{Severity, When, plain, utc};
use std::fmt::Write;

/// RFC 5424 6.2.1: system daemons.
const DAEMON: u8 = 3;
/// RFC 5426 3.2: every receiver takes 480 bytes, and should take 2048.
const LARGEST: usize = 2048;

/// The datagram for a line.
pub(crate) fn datagram(
    when: When,
    severity: Severity,
    host: &str,
    pid: u32,
    target: &str,
    text: &str,
) -> String {
    let level = match severity {
        Severity::Error => 3,
        Severity::Warning => 4,
        Severity::Info => 6,
        Severity::Debug => 7,
    };
    let mut out = String::with_capacity(96 + text.len());
    let _ = write!(out, "<{}>1 ", DAEMON * 8 + level);
    // RFC 5424 6.2.3: without the time of day, NILVALUE.
    match when.unix_ms.and_then(|ms| Some((utc(ms)?, ms % 1000))) {
        Some((time, millis)) => {
            let _ = write!(
                out,
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{millis:03}Z",
                time.year(),
                u8::from(time.month()),
                time.day(),
                time.hour(),
                time.minute(),
                time.second()
            );
        }
        None => out.push('-'),
    }
    // RFC 5424 6.2.4 to 6.2.7: printable ASCII, `-` for nothing.
    out.push(' ');
    word(&mut out, host, 255);
    let _ = write!(out, " bramble {pid} ");
    word(&mut out, target, 32);
    out.push_str(" - ");
    // RFC 5424 6.4: the mark says that what follows is UTF-8.
    out.push('\u{feff}');
    plain(&mut out, text);
    let end = crate::ring::cut(&out, LARGEST).len();
    out.truncate(end);
    out
}

fn word(out: &mut String, text: &str, most: usize) {
    let before = out.len();
    out.extend(text.chars().filter(char::is_ascii_graphic).take(most));
    if out.len() == before {
        out.push('-');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_as_the_rfc_draws_it() {
        let set = When { boot_ms: 1, unix_ms: Some(1_795_382_149_042) };
        assert_eq!(
            datagram(set, Severity::Warning, "web01", 42, "vrrp::router", "no\nmaster"),
            "<28>1 2026-11-22T21:15:49.042Z web01 bramble 42 vrrp::router - \u{feff}no\\nmaster"
        );
        let unset = When { boot_ms: 1, unix_ms: None };
        assert_eq!(
            datagram(unset, Severity::Error, "", 1, "ü", "x"),
            "<27>1 - - bramble 1 - - \u{feff}x"
        );
        let long = datagram(unset, Severity::Info, &"h".repeat(999), 1, "t", &"ü".repeat(9999));
        assert!(long.len() <= LARGEST && long.starts_with("<30>1 - hhh"));
    }
}
