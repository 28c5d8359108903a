//! `application/x-www-form-urlencoded`, decoded.

/// The pairs of a form, in the order they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pairs(Vec<(String, String)>);

/// More fields than any form of ours has.
const MOST: usize = 500;

impl Pairs {
    pub(crate) fn parse(body: &[u8]) -> Self {
        let pairs = body.split(|b| *b == b'&').filter(|p| !p.is_empty()).take(MOST).map(|pair| {
            let at = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
            let (name, value) = pair.split_at(at);
            (decode(name), decode(value.get(1..).unwrap_or_default()))
        });
        Self(pairs.collect())
    }

    /// These pairs.
    pub(crate) fn of<const N: usize>(pairs: [(&str, String); N]) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// The first value of this name; empty when there is none.
    pub(crate) fn first(&self, name: &str) -> &str {
        self.0.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(n, _)| n == name)
    }

    /// All values of this name, one a line.
    pub(crate) fn joined(&self, name: &str) -> String {
        let values = self.0.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str());
        values.collect::<Vec<_>>().join("\n").replace("\r\n", "\n")
    }
}

fn decode(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, tail @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high * 16 + low);
                    rest = tail;
                }
                _ => bytes.push(b'%'),
            },
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_browsers_send() {
        let p = Pairs::parse(b"a=1&b=x+y%2Fz&roles=web&roles=balancer&e&=q&t=l1%0D%0Al2&%zz=%4");
        assert_eq!((p.first("a"), p.first("b"), p.first("e")), ("1", "x y/z", ""));
        assert_eq!(p.joined("roles"), "web\nbalancer");
        assert_eq!(p.joined("t"), "l1\nl2");
        assert_eq!(p.first("%zz"), "%4");
        assert_eq!(p.first("none"), "");
        assert_eq!(Pairs::parse(b"x=%ff").first("x"), "\u{fffd}");
        assert_eq!(Pairs::parse(&b"a=b&".repeat(10_000)).0.len(), MOST);
    }
}
