//! Passwords that are guessed before anything else is tried (OWASP ASVS 5.0, 6.2.4).

/// Sorted by byte; see its head for where it is from.
const COMMON: &str = include_str!("common_passwords.txt");
/// So many characters around a common word make it no better.
const ADDED: usize = 6;

/// Why a password would be guessed at once, for the one who chose it; None where nothing speaks
/// against it.
pub(crate) fn why(password: &str) -> Option<&'static str> {
    let lower = password.to_lowercase();
    let chars: Vec<char> = lower.chars().collect();
    if repeats(&chars) {
        return Some("The same again and again is guessed at once; choose another password.");
    }
    if runs(&chars) {
        return Some("A row of letters or digits is guessed at once; choose another password.");
    }
    if is_common(&lower) {
        return Some(
            "This is one of the passwords that are guessed first; choose another. A few words \
             that do not belong together are hard to guess and easy to type.",
        );
    }
    let stem = lower.trim_matches(|c: char| !c.is_alphabetic());
    if chars.len() - stem.chars().count() <= ADDED && is_common(stem) {
        return Some(
            "A common word with a few characters added is guessed at once; choose another \
             password. A few words that do not belong together are hard to guess and easy to type.",
        );
    }
    None
}

fn is_common(word: &str) -> bool {
    // Shorter than any entry, and the marks of the head, are none.
    !word.is_empty() && !word.contains(['\n', '#', ' ']) && listed(word)
}

fn listed(word: &str) -> bool {
    let (mut from, mut to) = (0, COMMON.len());
    // A search by halves over lines: each step looks at the line around the middle.
    while from < to {
        let middle = from + (to - from) / 2;
        let start = COMMON.as_bytes().get(..middle).map_or(0, |head| {
            head.iter().rposition(|b| *b == b'\n').map_or(0, |newline| newline + 1)
        });
        let line = COMMON.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        if line.starts_with('#') {
            from = start + line.len() + 1;
            continue;
        }
        match line.cmp(word) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => from = start + line.len() + 1,
            std::cmp::Ordering::Greater => to = start,
        }
    }
    false
}

/// One piece and nothing else, at least twice.
fn repeats(chars: &[char]) -> bool {
    (1..=chars.len() / 2)
        .any(|piece| chars.iter().zip(chars.iter().skip(piece)).all(|(a, b)| a == b))
}

/// Each character the next or the one before in the alphabet, all the way.
fn runs(chars: &[char]) -> bool {
    let step = |by: i64| {
        let pairs = chars.iter().zip(chars.iter().skip(1));
        pairs.map(|(a, b)| i64::from(u32::from(*b)) - i64::from(u32::from(*a))).all(|d| d == by)
    };
    chars.len() > 2 && (step(1) || step(-1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_found() {
        let mut entries = 0;
        let mut before = "";
        for line in COMMON.lines().filter(|line| !line.starts_with('#')) {
            assert!(before < line, "{before:?} and {line:?} are not in order");
            assert!(listed(line), "{line}");
            (before, entries) = (line, entries + 1);
        }
        assert!((2900..3100).contains(&entries), "{entries}");
    }

    #[test]
    fn what_is_guessed_first() {
        for bad in [
            "aaaaaaaaaaaa",
            "abcabcabcabc",
            "1212121212",
            "abcdefghijkl",
            "9876543210",
            "qwertyuiop",
            "QWERTYUIOP",
            "1q2w3e4r5t",
            "password123",
            "Password2024!",
            "dragon12345",
            "!!monkey!!",
            "raspberrypi",
            "raspberry2026",
            "bramble1936",
        ] {
            assert!(why(bad).is_some(), "{bad}");
        }
        for good in [
            "correct horse",
            "four words that rhyme",
            "demo password",
            "xK9#mQ2$vL",
            "# a comment",
            "pässwörter sind",
            "monkey and 12 dragons",
            "love8302957162",
            "zzzzyzzzzz",
            "",
        ] {
            assert_eq!(why(good), None, "{good}");
        }
    }
}
