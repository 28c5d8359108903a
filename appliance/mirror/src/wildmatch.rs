//! rsync's wildcards: `?`, `*`, `**`, `[...]`, and `\` before a character that is meant as such.
//!
//! `?`, `*` and `[...]` never match a slash; `**` does.

/// A pattern, ready to be held against many names.
#[derive(Clone, Debug)]
pub(crate) struct Wild(Option<Vec<Item>>);

impl Wild {
    /// Reads a pattern. One with a class that is not closed, or that names no POSIX class,
    /// matches nothing.
    pub(crate) fn new(pattern: &[u8]) -> Self {
        Self(parse(pattern))
    }

    /// Does the whole of `text` match?
    ///
    /// Takes time proportional to the two lengths multiplied at worst, whatever the pattern.
    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        let Some(items) = &self.0 else { return false };
        let (mut items, mut text) = (&items[..], text);
        // Fixed ends decide nearly always.
        while let (Some((Item::One(set), rest)), Some((byte, shorter))) =
            (items.split_last(), text.split_last())
        {
            if !set.has(*byte) {
                return false;
            }
            (items, text) = (rest, shorter);
        }
        while let (Some((Item::One(set), rest)), Some((byte, shorter))) =
            (items.split_first(), text.split_first())
        {
            if !set.has(*byte) {
                return false;
            }
            (items, text) = (rest, shorter);
        }
        match items {
            [] => text.is_empty(),
            [Item::Star { slashes }] => *slashes || !text.contains(&b'/'),
            _ => table(items, text),
        }
    }
}

fn table(items: &[Item], text: &[u8]) -> bool {
    // One row of the usual table: `reach[i]` says whether the items so far match `text[..i]`.
    let mut reach = vec![false; text.len() + 1];
    let mut next = reach.clone();
    if let Some(first) = reach.first_mut() {
        *first = true;
    }
    for item in items {
        let mut alive = false;
        for (i, slot) in next.iter_mut().enumerate() {
            let before = i.checked_sub(1);
            let byte = before.and_then(|b| text.get(b)).copied();
            *slot = match item {
                Item::Star { slashes } => {
                    let here = reach.get(i).copied().unwrap_or(false);
                    alive = here || (alive && byte.is_some_and(|b| *slashes || b != b'/'));
                    alive
                }
                Item::One(set) => {
                    let came = before.and_then(|b| reach.get(b)).copied().unwrap_or(false);
                    came && byte.is_some_and(|b| set.has(b))
                }
            };
        }
        std::mem::swap(&mut reach, &mut next);
    }
    reach.last().copied().unwrap_or(false)
}

#[derive(Clone, Debug)]
enum Item {
    Star { slashes: bool },
    One(Set),
}

#[derive(Clone, Debug)]
enum Set {
    Byte(u8),
    NoSlash,
    Class { negated: bool, members: Box<[bool; 256]> },
}

impl Set {
    fn has(&self, byte: u8) -> bool {
        match self {
            Self::Byte(b) => *b == byte,
            Self::NoSlash => byte != b'/',
            Self::Class { negated, members } => {
                byte != b'/' && members.get(usize::from(byte)) != Some(negated)
            }
        }
    }
}

/// None when a class is not closed or names no POSIX class: such a pattern matches nothing.
fn parse(pattern: &[u8]) -> Option<Vec<Item>> {
    let mut items = Vec::new();
    let mut rest = pattern;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        items.push(match first {
            b'*' => {
                let more = rest.iter().take_while(|b| **b == b'*').count();
                rest = rest.get(more..)?;
                Item::Star { slashes: more > 0 }
            }
            b'?' => Item::One(Set::NoSlash),
            b'\\' => {
                let (&escaped, after) = rest.split_first()?;
                rest = after;
                Item::One(Set::Byte(escaped))
            }
            b'[' => {
                let (set, after) = class(rest)?;
                rest = after;
                Item::One(set)
            }
            byte => Item::One(Set::Byte(byte)),
        });
    }
    Some(items)
}

/// Reads a class after its `[`.
fn class(mut rest: &[u8]) -> Option<(Set, &[u8])> {
    let negated = matches!(rest.first(), Some(b'!' | b'^'));
    if negated {
        rest = rest.get(1..)?;
    }
    let mut members = Box::new([false; 256]);
    let mut add = |byte: u8| {
        if let Some(slot) = members.get_mut(usize::from(byte)) {
            *slot = true;
        }
    };
    // The byte before a `-`, if it can begin a range.
    let mut from: Option<u8> = None;
    let mut first = true;
    loop {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        match byte {
            b']' if !first => break,
            b'-' if from.is_some() && !matches!(rest.first(), None | Some(b']')) => {
                let (mut to, mut after) = rest.split_first()?;
                if *to == b'\\' {
                    (to, after) = after.split_first()?;
                }
                rest = after;
                if let Some(from) = from {
                    (from..=*to).for_each(&mut add);
                }
                from = None;
            }
            b'[' if rest.first() == Some(&b':') => {
                let name = rest.get(1..)?;
                // rsync looks for the next `]`; without a `:` before it the `[` is itself.
                let end = name.iter().position(|b| *b == b']')?;
                match name.get(..end).and_then(|n| n.strip_suffix(b":")) {
                    Some(name) => {
                        posix(name)?(&mut add);
                        rest = rest.get(end + 2..)?;
                        from = None;
                    }
                    None => {
                        add(b'[');
                        from = Some(b'[');
                    }
                }
            }
            b'\\' => {
                let (&escaped, after) = rest.split_first()?;
                rest = after;
                add(escaped);
                from = Some(escaped);
            }
            byte => {
                add(byte);
                from = Some(byte);
            }
        }
        first = false;
    }
    Some((Set::Class { negated, members }, rest))
}

type Adder = fn(&mut dyn FnMut(u8));

fn posix(name: &[u8]) -> Option<Adder> {
    macro_rules! each {
        ($test:expr) => {{
            let adder: Adder = |add| {
                let test: fn(&u8) -> bool = $test;
                (0..=u8::MAX).filter(test).for_each(add);
            };
            adder
        }};
    }
    Some(match name {
        b"alnum" => each!(u8::is_ascii_alphanumeric),
        b"alpha" => each!(u8::is_ascii_alphabetic),
        b"blank" => each!(|b| matches!(b, b' ' | b'\t')),
        b"cntrl" => each!(u8::is_ascii_control),
        b"digit" => each!(u8::is_ascii_digit),
        b"graph" => each!(u8::is_ascii_graphic),
        b"lower" => each!(u8::is_ascii_lowercase),
        b"print" => each!(|b| matches!(b, b' '..=b'~')),
        b"punct" => each!(u8::is_ascii_punctuation),
        b"space" => each!(|b| matches!(b, b' ' | b'\t'..=b'\r')),
        b"upper" => each!(u8::is_ascii_uppercase),
        b"xdigit" => each!(u8::is_ascii_hexdigit),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::Wild;

    fn wildmatch(pattern: &[u8], text: &[u8]) -> bool {
        Wild::new(pattern).matches(text)
    }

    #[test]
    fn table() {
        for (pattern, text, wanted) in [
            ("foo", "foo", true),
            ("foo", "bar", false),
            ("", "", true),
            ("???", "foo", true),
            ("??", "foo", false),
            ("*", "foo", true),
            ("f*", "foo", true),
            ("*f", "foo", false),
            ("*foo*", "foo", true),
            ("*ob*a*r*", "foobar", true),
            ("*ab", "aaaaaaabababab", true),
            (r"foo\*", "foo*", true),
            (r"foo\*bar", "foobar", false),
            (r"f\\oo", r"f\oo", true),
            ("*[al]?", "ball", true),
            ("[ten]", "ten", false),
            ("**[!te]", "ten", true),
            ("**[!ten]", "ten", false),
            ("t[a-g]n", "ten", true),
            ("t[!a-g]n", "ten", false),
            ("t[^a-g]n", "ton", true),
            ("a[]]b", "a]b", true),
            ("a[]-]b", "a-b", true),
            ("a[]-]b", "aab", false),
            ("]", "]", true),
            ("foo*bar", "foo/baz/bar", false),
            ("foo**bar", "foo/baz/bar", true),
            ("foo?bar", "foo/bar", false),
            ("foo[/]bar", "foo/bar", false),
            ("f[^eiu][^eiu][^eiu][^eiu][^eiu]r", "foo/bar", false),
            ("**/foo", "foo", false),
            ("**/foo", "/foo", true),
            ("**/foo", "bar/baz/foo", true),
            ("*/foo", "bar/baz/foo", false),
            ("**/bar*", "foo/bar/baz", false),
            ("**/bar/*", "deep/foo/bar/baz", true),
            ("**/bar/**", "deep/foo/bar/baz/", true),
            ("*/bar/**", "foo/bar/baz/x", true),
            ("[[:alpha:]][[:digit:]][[:upper:]]", "a1B", true),
            ("[[:digit:][:upper:][:space:]]", "A", true),
            ("[[:digit:][:upper:][:spaci:]]", "1", false),
            ("[a-c[:digit:]x-z]", "5", true),
            ("[a-c[:digit:]x-z]", "q", false),
            ("[\\\\-^]", "]", true),
            ("[\\-_]", "-", true),
            ("[\\]]", "]", true),
            ("a[]b", "ab", false),
            ("[", "[", false),
            ("[-", "-", false),
            ("[,-.]", "-", true),
            (
                "-*-*-*-*-*-*-12-*-*-*-m-*-*-*",
                "-adobe-courier-bold-o-normal--12-120-75-75-m-70-iso8859-1",
                true,
            ),
            ("**/*a*b*g*n*t", "abcd/abcdefg/abcdefghijk/abcdefghijklmnop.txt", true),
            ("**/*a*b*g*n*t", "abcd/abcdefg/abcdefghijk/abcdefghijklmnop.txtz", false),
        ] {
            assert_eq!(wildmatch(pattern.as_bytes(), text.as_bytes()), wanted, "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_bounded_time() {
        let pattern = b"*a".repeat(500);
        let text = b"a".repeat(4000);
        assert!(!wildmatch(&[&pattern[..], b"b"].concat(), &text));
    }
}
