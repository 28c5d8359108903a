//! Which precompressed sibling a visitor may be given (RFC 9110 12.5.3).

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

/// A content coding this server knows as the ending of a sibling file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Brotli,
    Zstd,
    Gzip,
}

/// In the order they are preferred: the smaller result first.
pub(crate) const CODINGS: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

impl Coding {
    /// Its name in `Content-Encoding`.
    pub(crate) const fn token(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// What the sibling's name ends in.
    pub(crate) const fn ending(self) -> &'static [u8] {
        match self {
            Self::Brotli => b".br",
            Self::Zstd => b".zst",
            Self::Gzip => b".gz",
        }
    }
}

/// The codings a visitor takes, in the server's order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accepted([bool; 3]);

impl Accepted {
    /// Reads `Accept-Encoding`. What cannot be read is not accepted.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut named: [Option<bool>; 3] = [None; 3];
        let mut any = None;
        for value in headers.get_all(ACCEPT_ENCODING) {
            for item in value.as_bytes().split(|b| *b == b',') {
                let mut parts = item.split(|b| *b == b';');
                let token = parts.next().unwrap_or_default().trim_ascii();
                let wanted = parts.next().is_none_or(positive) && parts.next().is_none();
                if token == b"*" {
                    any = Some(wanted);
                }
                for (slot, coding) in named.iter_mut().zip(CODINGS) {
                    // RFC 9110 8.4.1.3: x-gzip is gzip.
                    if token.eq_ignore_ascii_case(coding.token().as_bytes())
                        || (coding == Coding::Gzip && token.eq_ignore_ascii_case(b"x-gzip"))
                    {
                        *slot = Some(wanted);
                    }
                }
            }
        }
        Self(named.map(|slot| slot.or(any).unwrap_or(false)))
    }

    /// The accepted codings, the preferred one first.
    pub(crate) fn codings(self) -> impl Iterator<Item = Coding> {
        self.0.into_iter().zip(CODINGS).filter_map(|(accepted, coding)| accepted.then_some(coding))
    }
}

/// Is this parameter a weight above zero? (RFC 9110 12.4.2: at most three decimals.)
fn positive(parameter: &[u8]) -> bool {
    let parameter = parameter.trim_ascii();
    let Some(q) = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q=")) else {
        return false;
    };
    match q {
        b"1" => true,
        [b'1', b'.', rest @ ..] => rest.len() <= 3 && rest.iter().all(|b| *b == b'0'),
        [b'0', b'.', rest @ ..] => {
            rest.len() <= 3
                && rest.iter().all(u8::is_ascii_digit)
                && rest.iter().any(|b| *b != b'0')
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn accepted(value: &str) -> String {
        let mut headers = HeaderMap::new();
        for line in value.split('|') {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_str(line).unwrap());
        }
        Accepted::of(&headers).codings().map(Coding::token).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn weights_and_names() {
        for (value, want) in [
            ("", ""),
            ("gzip", "gzip"),
            ("gzip, deflate, br, zstd", "br zstd gzip"),
            ("GZIP", "gzip"),
            ("x-gzip", "gzip"),
            ("gzip;q=0", ""),
            ("gzip;q=0.000", ""),
            ("gzip; q=0.001", "gzip"),
            ("gzip;q=1.000,br;q=0.5", "br gzip"),
            ("*", "br zstd gzip"),
            ("*;q=0", ""),
            ("*, br;q=0", "zstd gzip"),
            ("*;q=0, gzip", "gzip"),
            ("identity;q=0, gzip", "gzip"),
            ("identity", ""),
            ("gzip;q=2", ""),
            ("gzip;q=x", ""),
            ("gzip;q=0.0001", ""),
            ("gzip;level=9", ""),
            ("br|gzip", "br gzip"),
            (",,gzip,,", "gzip"),
            ("gzipped", ""),
        ] {
            assert_eq!(accepted(value), want, "{value}");
        }
        assert_eq!(Accepted::of(&HeaderMap::new()), Accepted::default());
    }
}
