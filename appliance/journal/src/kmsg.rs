//! Records of `/dev/kmsg` (Documentation/ABI/testing/dev-kmsg): one a read,
//! `PRIORITY,SEQUENCE,MICROSECONDS,FLAGS[,...];TEXT`, then lines of details, each behind a space.

use crate::line::Severity;

/// A line of the kernel's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelLine {
    /// How grave it is.
    pub severity: Severity,
    /// True for the kernel's own, false for what a program wrote there.
    pub from_kernel: bool,
    /// Milliseconds since the kernel started.
    pub boot_ms: u64,
    /// What it says.
    pub text: String,
}

/// The line in a record; None for anything else.
pub(crate) fn parse(record: &[u8]) -> Option<KernelLine> {
    let record = String::from_utf8_lossy(record);
    let (prefix, rest) = record.split_once(';')?;
    let mut fields = prefix.split(',');
    let priority: u32 = fields.next()?.parse().ok()?;
    let _sequence = fields.next()?;
    let micros: u64 = fields.next()?.parse().ok()?;
    let text = rest.lines().next().unwrap_or_default();
    Some(KernelLine {
        // syslog(2): the level in the lowest three bits, the facility above; 0 is the kernel.
        severity: match priority & 7 {
            0..=3 => Severity::Error,
            4 => Severity::Warning,
            5 | 6 => Severity::Info,
            _ => Severity::Debug,
        },
        from_kernel: priority >> 3 == 0,
        boot_ms: micros / 1000,
        text: unescaped(text),
    })
}

/// The kernel writes bytes that are no plain text as `\xHH`.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let code = match behind {
            [b'x', a, b, ..] if *first == b'\\' => {
                std::str::from_utf8(&[*a, *b]).ok().and_then(|h| u8::from_str_radix(h, 16).ok())
            }
            _ => None,
        };
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { behind.get(3..).unwrap_or_default() } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_the_kernel() {
        let record = b"4,1203,5140900,-,caller=T1;hwmon hwmon1: Undervoltage detected!\n SUBSYSTEM=hwmon\n DEVICE=+hwmon:hwmon1\n";
        let line = parse(record).unwrap();
        let wanted = KernelLine {
            severity: Severity::Warning,
            from_kernel: true,
            boot_ms: 5140,
            text: "hwmon hwmon1: Undervoltage detected!".to_owned(),
        };
        assert_eq!(line, wanted);
        let program = parse(b"14,7,99,-;init: hello; world\n").unwrap();
        assert_eq!((program.severity, program.from_kernel), (Severity::Info, false));
        assert_eq!(program.text, "init: hello; world");
        assert_eq!(parse(b"3,1,1,-;").unwrap().text, "");
        for (level, severity) in
            [("0", Severity::Error), ("6", Severity::Info), ("7", Severity::Debug)]
        {
            assert_eq!(parse(format!("{level},1,1,-;x").as_bytes()).unwrap().severity, severity);
        }
    }

    #[test]
    fn escaped_bytes_come_back() {
        assert_eq!(
            parse(b"6,1,1,-;caf\\xc3\\xa9 \\x5c \\xzz \\x4").unwrap().text,
            "café \\ \\xzz \\x4"
        );
    }

    #[test]
    fn anything_else_is_no_line() {
        for record in [&b""[..], b"\n", b"6", b"6,1;x", b"x,1,1,-;x", b"6,1,-1,-;x", b"\xff\xff;"] {
            assert_eq!(parse(record), None, "{record:?}");
        }
        let mut noise = noise::Noise::new(0x1936);
        for _ in 0..20_000 {
            let bytes: Vec<u8> =
                (0..24).map(|_| *noise.pick(b"0123456789,,,;;;\\x\n \xff-ab")).collect();
            if let Some(line) = parse(&bytes) {
                assert!(!line.text.contains('\n') || bytes.contains(&b'\\'));
            }
        }
    }
}
