//! Where a message ends (RFC 9112 section 6), without I/O.
//!
//! Two parties that disagree about this is what request smuggling lives on. So nothing here
//! repairs: what is not exactly right is an error, and what is forwarded is framed anew from the
//! numbers understood here, never copied.

use std::ops::Range;

/// The longest chunk-size line with its extensions (which are dropped), and the longest trailer
/// section.
const LINE_LIMIT: usize = 1024;
const TRAILER_LIMIT: usize = 8192;

/// The body breaks the rules; the message cannot be trusted from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadBody;

/// How the end of a body is found, and how much of it is still to come.
#[derive(Debug)]
pub(crate) enum Body {
    /// Nothing (more) to come.
    Done,
    /// So many bytes to come.
    Length(u64),
    /// Chunks to come.
    Chunked(Box<Chunks>),
    /// Everything until the connection is closed (responses only).
    UntilClose,
}

/// A step through a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// So many bytes of the input belong to the body and are dealt with.
    pub(crate) consumed: usize,
    /// Where in the input its content is; empty when there is none in this step.
    pub(crate) data: Range<usize>,
}

impl Body {
    /// A body of this many bytes.
    pub(crate) fn length(bytes: u64) -> Self {
        if bytes == 0 { Self::Done } else { Self::Length(bytes) }
    }

    /// A chunked body.
    pub(crate) fn chunked() -> Self {
        Self::Chunked(Box::default())
    }

    /// Is it complete?
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Self::Done => true,
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => chunks.is_done(),
            Self::UntilClose => false,
        }
    }

    /// How much is still to come, where that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        match self {
            Self::Done => Some(0),
            Self::Length(left) => Some(*left),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }

    /// The next piece at the start of `input`. With `consumed` 0 there is nothing more to be had
    /// from this input.
    pub(crate) fn step(&mut self, input: &[u8]) -> Result<Piece, BadBody> {
        match self {
            Self::Done => Ok(Piece { consumed: 0, data: 0..0 }),
            Self::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= u64::try_from(here).unwrap_or(0);
                Ok(Piece { consumed: here, data: 0..here })
            }
            Self::Chunked(chunks) => chunks.step(input),
            Self::UntilClose => Ok(Piece { consumed: input.len(), data: 0..input.len() }),
        }
    }
}

/// A look ahead at the start of a body that nothing has been taken from yet.
impl Body {
    /// Its content at the start of `data`: what is there of it, or of its first chunk.
    pub(crate) fn first_content<'a>(&self, data: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Done => &[],
            Self::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
                &data[..here]
            }
            Self::Chunked(_) => {
                let piece = Chunks::default().step(data);
                piece.map_or(&[], |p| &data[p.data])
            }
            Self::UntilClose => data,
        }
    }

    /// Is all of it here, or all of its first chunk? What breaks the rules counts as all.
    pub(crate) fn has_first(&self, data: &[u8]) -> bool {
        match self {
            Self::Done => true,
            Self::Length(left) => u64::try_from(data.len()).is_ok_and(|here| here >= *left),
            Self::Chunked(_) => {
                let mut chunks = Chunks::default();
                chunks.step(data).is_err() || matches!(chunks.state, State::DataCr | State::Done)
            }
            Self::UntilClose => false,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before the first digit of a size.
    #[default]
    Size,
    /// After a digit.
    Digits,
    /// After BWS behind a size: only `;` or the end of the line may follow.
    Space,
    /// In an extension.
    Extension,
    /// After the CR of a size line.
    SizeLf,
    /// In the data.
    Data,
    /// After the data.
    DataCr,
    DataLf,
    /// At the start of a trailer line.
    Trailer,
    /// In a trailer line.
    TrailerLine,
    /// After the CR of a trailer line.
    TrailerLf,
    /// After the CR of the last, empty line.
    EndLf,
    Done,
}

/// The chunked transfer coding, decoded (RFC 9112 7.1).
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    state: State,
    left: u64,
    digits: u8,
    line: usize,
    trailers: Vec<u8>,
}

impl Chunks {
    /// Has the last chunk been read, with the trailers?
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The trailer lines as they came, once the body is complete.
    pub(crate) fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    fn step(&mut self, input: &[u8]) -> Result<Piece, BadBody> {
        let mut at = 0;
        while at < input.len() {
            if self.state == State::Data {
                let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len() - at);
                self.left -= u64::try_from(here).unwrap_or(0);
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                return Ok(Piece { consumed: at + here, data: at..at + here });
            }
            if self.state == State::Done {
                break;
            }
            self.byte(input[at])?;
            at += 1;
        }
        Ok(Piece { consumed: at, data: at..at })
    }

    fn byte(&mut self, byte: u8) -> Result<(), BadBody> {
        self.state = match (self.state, byte) {
            (State::Size | State::Digits, b) if b.is_ascii_hexdigit() => {
                // 15 digits are 2^60: more than any body, and far from overflow.
                self.digits += 1;
                if self.digits > 15 {
                    return Err(BadBody);
                }
                let digit = char::from(b).to_digit(16).ok_or(BadBody)?;
                self.left = self.left * 16 + u64::from(digit);
                State::Digits
            }
            (State::Digits, b'\r') => State::SizeLf,
            (State::Digits | State::Space, b';') => State::Extension,
            (State::Digits | State::Space, b' ' | b'\t') => {
                self.count(1)?;
                State::Space
            }
            (State::Space | State::Extension, b'\r') => State::SizeLf,
            // A bare LF, or any other control byte, in an extension has been read as the end of
            // the line by some and as a part of it by others.
            (State::Extension, b) if b == b'\t' || (b >= b' ' && b != 0x7f) => {
                self.count(1)?;
                State::Extension
            }
            (State::SizeLf, b'\n') => {
                self.digits = 0;
                self.line = 0;
                if self.left == 0 { State::Trailer } else { State::Data }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size,
            (State::Trailer, b'\r') => State::EndLf,
            (State::Trailer | State::TrailerLine, b) if b == b'\t' || (b >= b' ' && b != 0x7f) => {
                self.keep(b)?;
                State::TrailerLine
            }
            (State::TrailerLine, b'\r') => {
                self.keep(byte)?;
                State::TrailerLf
            }
            (State::TrailerLf, b'\n') => {
                self.keep(byte)?;
                State::Trailer
            }
            (State::EndLf, b'\n') => State::Done,
            _ => return Err(BadBody),
        };
        Ok(())
    }

    fn count(&mut self, bytes: usize) -> Result<(), BadBody> {
        self.line += bytes;
        if self.line > LINE_LIMIT { Err(BadBody) } else { Ok(()) }
    }

    fn keep(&mut self, byte: u8) -> Result<(), BadBody> {
        if self.trailers.len() >= TRAILER_LIMIT {
            return Err(BadBody);
        }
        self.trailers.push(byte);
        Ok(())
    }
}

/// A chunk's first line.
pub(crate) fn put_chunk_size(out: &mut Vec<u8>, size: usize) {
    let mut digits = [0_u8; 16];
    let mut at = digits.len();
    let mut left = size;
    loop {
        at -= 1;
        let digit = u8::try_from(left & 15).unwrap_or(0);
        digits[at] = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
        left >>= 4;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

/// `Content-Length`: digits only, no sign, no list, no more than fits (RFC 9112 6.3).
pub(crate) fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 18 {
        return None;
    }
    value
        .iter()
        .try_fold(0_u64, |sum, b| b.is_ascii_digit().then(|| sum * 10 + u64::from(b - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(mut body: Body, input: &[u8], split: usize) -> Result<(Vec<u8>, Vec<u8>), BadBody> {
        let (mut data, mut rest) = (Vec::new(), Vec::new());
        for part in [&input[..split], &input[split..]] {
            let mut at = 0;
            loop {
                let piece = body.step(&part[at..])?;
                data.extend_from_slice(&part[at..][piece.data.clone()]);
                at += piece.consumed;
                if piece.consumed == 0 || at == part.len() {
                    break;
                }
            }
            rest.extend_from_slice(&part[at..]);
        }
        if body.is_done() { Ok((data, rest)) } else { Err(BadBody) }
    }

    #[test]
    fn chunks_decode_alike_wherever_they_are_split() {
        let input = b"5;a=b\r\nhello\r\n1 ; x=\"y z\"\r\n!\r\n0\r\nA: b\r\nC: d\r\n\r\nGET /";
        for split in 0..=input.len() {
            let (data, rest) = decode(Body::chunked(), input, split).unwrap();
            assert_eq!(data, b"hello!", "split at {split}");
            assert_eq!(rest, b"GET /", "split at {split}");
        }
    }

    #[test]
    fn bad_chunks_are_refused_wherever_they_are_split() {
        let cases: &[&[u8]] = &[
            b"0x5\r\nhello\r\n0\r\n\r\n",
            b"+5\r\nhello\r\n0\r\n\r\n",
            b"5_\r\nhello\r\n0\r\n\r\n",
            b" 5\r\nhello\r\n0\r\n\r\n",
            b"00000000000000005\r\nhello\r\n0\r\n\r\n",
            b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
            b"5\r\nhelloX\r\n0\r\n\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"5\nhello\r\n0\r\n\r\n",
            b"2;\nxx\r\n4c\r\n0\r\n\r\n",
            b"\r\n5\r\nhello\r\n0\r\n\r\n",
            b"5\r\nhello\r\n0\r\nA\0: b\r\n\r\n",
            b"5\r\nhello\r\n0\r\nA: b\n\n",
            b"5 5\r\nhello\r\n0\r\n\r\n",
            b";\r\nhello\r\n0\r\n\r\n",
        ];
        for input in cases {
            for split in 0..=input.len() {
                let text = String::from_utf8_lossy(input);
                assert_eq!(decode(Body::chunked(), input, split), Err(BadBody), "{text:?}");
            }
        }
    }

    #[test]
    fn endless_lines_are_refused() {
        let mut long = b"5;".to_vec();
        long.extend(std::iter::repeat_n(b'a', 2 * LINE_LIMIT));
        assert_eq!(Body::chunked().step(&long), Err(BadBody));
        let mut long = b"0\r\nA: ".to_vec();
        long.extend(std::iter::repeat_n(b'a', 2 * TRAILER_LIMIT));
        assert_eq!(Body::chunked().step(&long), Err(BadBody));
    }

    #[test]
    fn a_length_ends_exactly() {
        for split in 0..=8 {
            let (data, rest) = decode(Body::length(5), b"helloGET", split).unwrap();
            assert_eq!((&data[..], &rest[..]), (&b"hello"[..], &b"GET"[..]));
        }
        assert!(Body::length(0).is_done());
    }

    #[test]
    fn lengths_are_plain_numbers() {
        assert_eq!(content_length(b"0"), Some(0));
        assert_eq!(content_length(b"42"), Some(42));
        assert_eq!(content_length(b"999999999999999999"), Some(999_999_999_999_999_999));
        for bad in ["", "+5", "-1", "0x5", "1_0", "5, 5", "5,", " 5", "12345678901234567890", "٥"]
        {
            assert_eq!(content_length(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn sizes_are_written_in_hexadecimal() {
        for (size, text) in [(0, "0\r\n"), (10, "a\r\n"), (255, "ff\r\n"), (4096, "1000\r\n")] {
            let mut out = Vec::new();
            put_chunk_size(&mut out, size);
            assert_eq!(out, text.as_bytes());
        }
    }
}
