//! A line of keywords, taken apart as HAProxy takes a line of its configuration apart.

use crate::error::BadValue;

/// The words of a line. Spaces separate; `"…"` (with `\"` and `\\`), `'…'` and `\ ` keep them.
/// `#` outside quotes starts a comment.
///
/// # Errors
/// For a quote that does not end, and for control characters.
pub(crate) fn words(line: &str) -> Result<Vec<String>, BadValue> {
    if line.chars().any(|c| c.is_control() && c != '\t') {
        return Err(BadValue::new("control characters and line ends cannot stand here"));
    }
    let mut all = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' => all.extend(word.take()),
            '#' => break,
            '"' | '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        None => return Err(BadValue::new(format!("a {c} is missing its second"))),
                        Some(q) if q == c => break,
                        Some('\\') if c == '"' => escaped(word, chars.next()),
                        Some(other) => word.push(other),
                    }
                }
            }
            '\\' => escaped(word.get_or_insert_default(), chars.next()),
            other => word.get_or_insert_default().push(other),
        }
    }
    all.extend(word);
    Ok(all)
}

/// A backslash keeps what would end the word; before anything else it stands for itself, which
/// is what regular expressions want.
fn escaped(word: &mut String, next: Option<char>) {
    match next {
        Some(c @ (' ' | '\\' | '"' | '\'' | '#')) => word.push(c),
        other => {
            word.push('\\');
            word.extend(other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fall_into_words() {
        for (line, want) in [
            ("", &[][..]),
            (" a  b\tc ", &["a", "b", "c"]),
            ("set-header X \"a b\" # why", &["set-header", "X", "a b"]),
            ("'a \"b' c\\ d", &["a \"b", "c d"]),
            (r#""a\"b\\" ^/a\.b"#, &["a\"b\\", r"^/a\.b"]),
            ("\"\" x", &["", "x"]),
            ("a#b c", &["a"]),
            (r"a\#b", &["a#b"]),
        ] {
            assert_eq!(words(line).unwrap(), want, "{line:?}");
        }
        for bad in ["\"a", "'a", "a\nb", "a\0"] {
            assert!(words(bad).is_err(), "{bad:?}");
        }
    }
}
