//! A request head as it is sent on, read once more where a rule, a hash or a cookie wants to know
//! something of it. It was written by [`crate::request`]: a request line, fields as `Name: value`,
//! an empty line, all with CRLF.

/// A head in its parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'a> {
    /// The method.
    pub(crate) method: &'a [u8],
    /// Path and query, or `*`.
    pub(crate) target: &'a [u8],
    fields: &'a [u8],
}

/// A field's line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    /// As it came.
    pub(crate) name: &'a [u8],
    /// Without the spaces around it.
    pub(crate) value: &'a [u8],
}

impl Field<'_> {
    /// Is this its name?
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The fields below the first line of a head, request or response.
pub(crate) fn fields(lines: &[u8]) -> impl Iterator<Item = Field<'_>> {
    lines.split(|b| *b == b'\n').filter_map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = line.split_at(colon);
        Some(Field { name, value: value.get(1..).unwrap_or_default().trim_ascii() })
    })
}

/// The first line, without its end, and what follows.
pub(crate) fn first_line(head: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(b'\n', head).map_or(head.len(), |at| at + 1);
    let (line, rest) = head.split_at(end);
    (line.trim_ascii_end(), rest)
}

impl<'a> Head<'a> {
    pub(crate) fn new(head: &'a [u8]) -> Self {
        let (line, fields) = first_line(head);
        let mut words = line.split(|b| *b == b' ');
        let method = words.next().unwrap_or_default();
        let target = words.next().unwrap_or_default();
        Self { method, target, fields }
    }

    /// All fields in order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = Field<'a>> {
        fields(self.fields)
    }

    /// The values of a field, each line whole.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.fields().filter(move |f| f.is(name)).map(|f| f.value)
    }

    /// Path without query.
    pub(crate) fn path(&self) -> &'a [u8] {
        self.split().0
    }

    /// Query without its `?`.
    pub(crate) fn query(&self) -> Option<&'a [u8]> {
        self.split().1
    }

    fn split(&self) -> (&'a [u8], Option<&'a [u8]>) {
        match memchr::memchr(b'?', self.target) {
            Some(at) => (&self.target[..at], self.target.get(at + 1..)),
            None => (self.target, None),
        }
    }

    /// A parameter of the query, as it stands there.
    pub(crate) fn parameter(&self, name: &str) -> Option<&'a [u8]> {
        self.query().and_then(|query| parameter(query, name.as_bytes()))
    }

    /// A cookie's value, the first of its name.
    pub(crate) fn cookie(&self, name: &str) -> Option<&'a [u8]> {
        let pairs = self.values("cookie").flat_map(|value| value.split(|b| *b == b';'));
        pairs.filter_map(pair).find(|(n, _)| *n == name.as_bytes()).map(|(_, value)| value)
    }
}

/// The parameter of this name in `a=1&b=2`.
pub(crate) fn parameter<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut pairs = text.split(|b| *b == b'&');
    pairs.find_map(|p| p.strip_prefix(name)?.strip_prefix(b"="))
}

/// Name and value of `name = value`.
pub(crate) fn pair(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let equal = memchr::memchr(b'=', text)?;
    let (name, value) = text.split_at(equal);
    Some((name.trim_ascii(), value.get(1..).unwrap_or_default().trim_ascii()))
}

/// The elements of a list, a quoted comma not counted; HAProxy takes empty ones for elements, too.
pub(crate) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut quoted, mut escaped) = (false, false);
        let comma = text.iter().position(|b| {
            let here = *b == b',' && !quoted;
            match b {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                _ => {}
            }
            here
        });
        let (element, behind) = match comma {
            Some(at) => (&text[..at], text.get(at + 1..)),
            None => (text, None),
        };
        rest = behind;
        Some(element.trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] =
        b"GET /a/b?x=1&yx=2&y=&x=3 HTTP/1.1\r\nHost: h\r\nAccept: a, \"b,c\" ,d\r\n\
        Cookie: one=1; two = 2;two=3\r\ncookie: four=4\r\n\r\n";

    #[test]
    fn the_parts_of_a_head() {
        let head = Head::new(HEAD);
        assert_eq!((head.method, head.path()), (&b"GET"[..], &b"/a/b"[..]));
        assert_eq!(head.query(), Some(&b"x=1&yx=2&y=&x=3"[..]));
        for (name, want) in [("x", Some("1")), ("y", Some("")), ("yx", Some("2")), ("z", None)] {
            assert_eq!(head.parameter(name), want.map(str::as_bytes), "{name}");
        }
        for (name, want) in
            [("one", Some("1")), ("two", Some("2")), ("four", Some("4")), ("x", None)]
        {
            assert_eq!(head.cookie(name), want.map(str::as_bytes), "{name}");
        }
        let accept: Vec<_> = head.values("accept").flat_map(elements).collect();
        assert_eq!(accept, [&b"a"[..], b"\"b,c\"", b"d"]);
        assert_eq!(head.fields().count(), 4);
        let empty = Head::new(b"");
        assert!(empty.target.is_empty() && empty.query().is_none() && empty.fields().count() == 0);
        assert_eq!(elements(b"").count(), 1);
    }
}
