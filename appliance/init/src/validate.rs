//! What of a request is checked before anything is done: the asking process has fewer rights than
//! this one, and must not gain any by asking.

use crate::channel::MAX_BOOT_FILE;
use std::path::{Component, Path};

/// A label as RFC 1123 2.1 allows it, in lower or upper case; one label, as Linux wants it.
pub(crate) fn host_name(name: &str) -> Result<(), String> {
    let ok = !name.is_empty()
        && name.len() <= 63
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let why = "A host name is 1 to 63 letters, digits and hyphens, with no hyphen at either end.";
    if ok { Ok(()) } else { Err(why.into()) }
}

/// The part of the path below the directory for uploads.
pub(crate) fn upload<'a>(path: &'a Path, uploads: &Path) -> Result<&'a Path, String> {
    let below = path.strip_prefix(uploads).ok().filter(|rest| {
        rest.components().count() > 0
            && rest.components().all(|part| matches!(part, Component::Normal(_)))
    });
    below.ok_or_else(|| format!("Firmware is taken only from {}.", uploads.display()))
}

/// The settings file must stay readable at the next start.
pub(crate) fn boot_file(text: &str) -> Result<(), String> {
    if text.len() > MAX_BOOT_FILE {
        Err(format!("The settings file may have at most {} KiB.", MAX_BOOT_FILE / 1024))
    } else if text.contains('\0') {
        Err("The settings file may not contain zero bytes.".into())
    } else {
        Ok(())
    }
}

/// How long the LED may blink.
pub(crate) fn blink(seconds: u16) -> Result<(), String> {
    if (1..=600).contains(&seconds) {
        Ok(())
    } else {
        Err("The LED can blink for 1 to 600 seconds.".into())
    }
}

/// How many flashes of the LED can be counted.
pub(crate) fn flashes(flashes: u8) -> Result<(), String> {
    if (1..=9).contains(&flashes) {
        Ok(())
    } else {
        Err("The LED can flash 1 to 9 times in a row.".into())
    }
}

/// A time the board can be in: not before its firmware was made.
pub(crate) fn clock(unix_ms: u64, built_unix: u64) -> Result<(), String> {
    // The 32-bit C library ends in January 2038; times close to it are a mistake as well.
    const END: u64 = 0x7fff_0000;
    let seconds = unix_ms / 1000;
    if seconds < built_unix {
        Err("That time is before this firmware was made.".into())
    } else if seconds > END {
        Err("That time is too far in the future for this board.".into())
    } else {
        Ok(())
    }
}

/// Lines for the screen: not more than fit on any.
pub(crate) fn lines(mut lines: Vec<String>) -> Vec<String> {
    lines.truncate(40);
    for line in &mut lines {
        *line = line.chars().take(80).collect();
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names() {
        for good in ["a", "web01", "LB-Master", &"x".repeat(63)] {
            assert_eq!(host_name(good), Ok(()), "{good}");
        }
        for bad in ["", "-a", "a-", "a.b", "a b", "a/b", "\u{e4}", "a\n", "a\0", &"x".repeat(64)] {
            assert!(host_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn uploads_are_below_their_directory() {
        let root = Path::new("/run/bramble/uploads");
        let ok = |path: &'static str| upload(Path::new(path), root).ok();
        assert_eq!(ok("/run/bramble/uploads/a.bramble"), Some(Path::new("a.bramble")));
        assert_eq!(ok("/run/bramble/uploads/x/y"), Some(Path::new("x/y")));
        for bad in [
            "/run/bramble/uploads",
            "/run/bramble/uploads/",
            "/run/bramble/uploads/../facts.json",
            "/run/bramble/uploads/x/../../y",
            "/run/bramble/uploadsx/y",
            "/etc/passwd",
            "a",
            "",
        ] {
            assert_eq!(ok(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_and_times() {
        assert_eq!(boot_file("[wifi]\n"), Ok(()));
        assert!(boot_file(&"x".repeat(MAX_BOOT_FILE + 1)).is_err());
        assert!(boot_file("a\0").is_err());
        assert!(blink(0).is_err() && blink(601).is_err());
        assert!(blink(1).is_ok() && blink(600).is_ok());
        assert!(flashes(1).is_ok() && flashes(0).is_err() && flashes(10).is_err());
        let built = 1_790_000_000;
        assert!(clock(built * 1000, built).is_ok());
        assert!(clock(built * 1000 - 1, built).is_err());
        assert!(clock(u64::MAX, built).is_err());
        let long = lines(vec!["y".repeat(300); 90]);
        assert_eq!((long.len(), long[0].len()), (40, 80));
    }
}
