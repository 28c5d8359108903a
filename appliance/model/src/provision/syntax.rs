//! Lines that are no TOML. A parser stops at the first or guesses what it meant; here a line that
//! cannot be read is noted and blanked, byte for byte, until the rest can be.

use super::Mistake;
use super::rewrite::MARK;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Mistakes of form after which the rest is left alone.
const MAX_MISTAKES: usize = 40;

/// Nothing in a settings document is deeper, in dots or brackets on a line.
const DEEPEST: usize = 24;
/// The parser's words for a text or list that does not end.
const UNCLOSED: [&str; 3] = ["unclosed", "expected `\"`", "expected `'`"];

/// The line of a byte, counted from 1.
pub(super) fn line_of(text: &str, at: usize) -> u32 {
    let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
    let breaks = before.iter().filter(|b| **b == b'\n').count();
    u32::try_from(breaks).unwrap_or(u32::MAX).saturating_add(1)
}

/// A text of the same length that can be read, and what had to be blanked for it.
pub(super) fn usable(text: &str) -> (String, Vec<Mistake>) {
    let mut mistakes = Vec::new();
    // The report of an earlier start says nothing, whatever became of it since.
    let (head, reported) = report(text);
    let mut text = lone_returns(text);
    blank(&mut text, 0..head + reported);
    other_encodings(&mut text, &mut mistakes);
    too_deep(&mut text, &mut mistakes);
    for _ in 0..MAX_MISTAKES {
        let Some((range, mistake)) = first_mistake(&text) else {
            return (text, mistakes);
        };
        mistakes.push(mistake);
        blank(&mut text, range);
    }
    if let Some((_, mistake)) = first_mistake(&text) {
        let words = "too much of this file cannot be read; nothing of it is used";
        mistakes.push(Mistake::new(mistake.line, words));
        let all = 0..text.len();
        blank(&mut text, all);
    }
    (text, mistakes)
}

fn first_mistake(text: &str) -> Option<(Range<usize>, Mistake)> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let everything = |words: &str| Some((0..text.len(), Mistake::new(0, words)));
    if errors.iter().any(|e| e.span().is_none()) {
        return everything("lists in this file are nested too deep; nothing of it is used");
    }
    let at = |e: &toml::de::Error| e.span().map_or(0, |s| s.start).min(text.len());
    let first = errors.iter().min_by_key(|e| at(e))?;
    let start = at(first);
    if let Some(leaf) = leaf_around(text, table.get_ref(), start) {
        let open = errors.iter().any(|e| {
            let inside = leaf.contains(&at(e)) || at(e) == leaf.end;
            inside && UNCLOSED.iter().any(|words| e.message().contains(words))
        });
        let head = line_around(text, leaf.start);
        let source = text.get(head.clone()).unwrap_or_default();
        let words = sentence(source, first.message());
        if open {
            // Where it was meant to end nobody knows; the lines below may well be right.
            return Some((head, Mistake::new(line_of(text, leaf.start), words)));
        }
        let tail = line_around(text, leaf.end);
        return Some((head.start..tail.end, Mistake::new(line_of(text, start), words)));
    }
    let Some(line) = readable_line(text, start) else {
        return everything("this file cannot be read; nothing of it is used");
    };
    let source = text.get(line.clone()).unwrap_or_default();
    let mistake = Mistake::new(line_of(text, line.start), sentence(source, first.message()));
    if source.trim_start().starts_with('[') {
        return Some((line.start..next_heading(text, line.end), mistake));
    }
    Some((line, mistake))
}

/// The key and value that a byte belongs to.
fn leaf_around(text: &str, table: &DeTable<'_>, at: usize) -> Option<Range<usize>> {
    table.iter().find_map(|(key, value)| {
        let inner = match value.get_ref() {
            DeValue::Table(inner) if !is_inline(text, value) => leaf_around(text, inner, at),
            DeValue::Array(list) if !is_inline(text, value) => list.iter().find_map(|entry| {
                entry.get_ref().as_table().and_then(|inner| leaf_around(text, inner, at))
            }),
            _ => {
                let span = key.span().start..value.span().end.max(key.span().end);
                (span.contains(&at) || at == span.end).then_some(span)
            }
        };
        inner.filter(|span| span.end <= text.len())
    })
}

/// A table in braces or a list behind an `=`, other than what stands under a heading.
pub(super) fn is_inline(text: &str, value: &Spanned<DeValue<'_>>) -> bool {
    let start = value.span().start;
    let line = line_around(text, start).start;
    match text.as_bytes().get(start) {
        Some(b'{') => true,
        Some(b'[') => text.get(line..start).is_some_and(|before| !before.trim().is_empty()),
        _ => false,
    }
}

/// The line that holds a byte, without its end.
pub(super) fn line_around(text: &str, at: usize) -> Range<usize> {
    let bytes = text.as_bytes();
    let at = at.min(bytes.len());
    let start = bytes.iter().take(at).rposition(|b| *b == b'\n').map_or(0, |p| p + 1);
    let end = bytes.iter().skip(at).position(|b| *b == b'\n').map_or(bytes.len(), |p| at + p);
    start..end
}

/// The line of a byte, or the last one before it that says something.
fn readable_line(text: &str, at: usize) -> Option<Range<usize>> {
    let mut line = line_around(text, at);
    let empty = |l: &str| l.bytes().all(|b| b" \t\r".contains(&b));
    while text.get(line.clone()).is_none_or(empty) {
        let above = line.start.checked_sub(1)?;
        line = line_around(text, above);
    }
    Some(line)
}

fn next_heading(text: &str, from: usize) -> usize {
    let mut at = from;
    while at < text.len() {
        let line = line_around(text, at + 1);
        if line.start <= at {
            break;
        }
        if text.get(line.clone()).is_some_and(|l| l.trim_start().starts_with('[')) {
            return line.start;
        }
        at = line.end;
    }
    text.len()
}

/// Spaces in place of bytes, lines kept.
pub(super) fn blank(text: &mut String, range: Range<usize>) {
    let (start, end) = (range.start.min(text.len()), range.end.min(text.len()));
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        if at < start || at >= end || c == '\n' || c == '\r' {
            out.push(c);
        } else {
            out.extend(std::iter::repeat_n(' ', c.len_utf8()));
        }
    }
    *text = out;
}

/// Very old editors end lines with a carriage return alone.
fn lone_returns(text: &str) -> String {
    let next = text.chars().skip(1).chain([' ']);
    text.chars().zip(next).map(|(c, n)| if c == '\r' && n != '\n' { '\n' } else { c }).collect()
}

/// How many bytes at the beginning are a byte order mark, and how many behind it a report.
pub(super) fn report(text: &str) -> (usize, usize) {
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut rest = body;
    while rest.starts_with(MARK) {
        let line = rest.find(['\n', '\r']).unwrap_or(rest.len());
        let end = rest.get(line..).unwrap_or_default();
        let end = if end.starts_with("\r\n") { 2 } else { end.len().min(1) };
        rest = rest.get(line + end..).unwrap_or_default();
    }
    (text.len() - body.len(), body.len() - rest.len())
}

/// Letters that were not UTF-8 have become U+FFFD on the way here.
fn other_encodings(text: &mut String, mistakes: &mut Vec<Mistake>) {
    if text.contains('\0') {
        let words = "this is no plain text, or it was saved as \"Unicode\"; save it again as UTF-8. Nothing of it is used";
        mistakes.push(Mistake::new(0, words));
        let all = 0..text.len();
        blank(text, all);
        return;
    }
    while let Some(at) = text.find(char::REPLACEMENT_CHARACTER) {
        let line = line_around(text, at);
        let before = text.get(line.start..at).unwrap_or_default();
        let even = |c: char| before.chars().filter(|x| *x == c).count() % 2 == 0;
        let comment = before.trim_start().starts_with('#');
        if comment || before.contains('#') && even('"') && even('\'') {
            blank(text, at..at + 1);
            continue;
        }
        let words = "this line has letters that are not UTF-8; save the file again as UTF-8";
        mistakes.push(Mistake::new(line_of(text, at), words));
        blank(text, line);
    }
}

/// The parser refuses depth for the file as a whole; here it costs its line alone.
fn too_deep(text: &mut String, mistakes: &mut Vec<Mistake>) {
    let mut deep = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let name = line.split_once('=').map_or(line, |(name, _)| name);
        let dots = name.matches('.').count();
        let comment = line.trim_start().starts_with('#');
        if !comment && (dots > DEEPEST || line.matches(['[', '{']).count() > DEEPEST) {
            deep.push(at..at + line.len());
        }
        at += line.len();
    }
    for range in deep {
        let words = "this line is nested too deep to mean anything";
        mistakes.push(Mistake::new(line_of(text, range.start), words));
        blank(text, range);
    }
}

/// What is wrong with a line, without repeating its value, which may be a secret.
fn sentence(line: &str, message: &str) -> String {
    let line = line.trim();
    if message.contains("duplicate key") {
        return if line.starts_with('[') {
            "this section is there twice; put its lines together under the first one. What stands under this one is not used".to_owned()
        } else {
            "this is set twice in the same section; only the first one is used".to_owned()
        };
    }
    if line.starts_with('[') {
        return "this heading cannot be read; write for example [eth0]. What stands under it is not used".to_owned();
    }
    if line
        .contains(['\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}', '\u{ab}', '\u{bb}'])
    {
        return "these are not the plain quotation marks \"\"; use a plain text editor".to_owned();
    }
    let Some((key, value)) = line.split_once('=') else {
        return if line.contains(':') {
            "write = between name and value, not :".to_owned()
        } else {
            "this is neither a comment, which begins with #, nor name = \"value\"".to_owned()
        };
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.\"' \t".contains(c);
    if !key.chars().all(plain) || key.split_whitespace().count() != 1 {
        return "the name in front of = cannot be read; a name has letters, digits and _ only"
            .to_owned();
    }
    let value = value.trim();
    if value.is_empty() || value.starts_with('#') {
        return "there is no value behind =; put one there, or a # in front of the line".to_owned();
    }
    if message.contains("escape") {
        return "inside \"\" a backslash begins a special sign; write the text between single quotation marks ''".to_owned();
    }
    if value.starts_with('[') || value.starts_with('{') {
        return "this list cannot be read; write for example [\"web\", \"balancer\"]".to_owned();
    }
    if value.starts_with('"') || value.starts_with('\'') {
        return "the text is not closed with the quotation mark it begins with, or something stands behind it".to_owned();
    }
    "the value belongs between quotation marks, for example name = \"value\"".to_owned()
}
