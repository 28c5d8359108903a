//! What requests and responses have in common: fields, lists, hop-by-hop removal.

use std::mem::MaybeUninit;

/// More fields than this are refused (HAProxy `tune.http.maxhdr`, 101 with the first line).
pub(crate) const MAX_FIELDS: usize = 100;

/// Room for the fields of one message.
pub(crate) type Fields<'a> = [MaybeUninit<httparse::Header<'a>>; MAX_FIELDS];

/// An empty [`Fields`].
pub(crate) const fn fields<'a>() -> Fields<'a> {
    [const { MaybeUninit::uninit() }; MAX_FIELDS]
}

/// What became of reading a message's head.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed<T> {
    /// More bytes are needed.
    Partial,
    /// A head, and how many bytes it took.
    Complete(T, usize),
}

/// The fields the proxy has to understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Connection,
    ContentLength,
    Cookie,
    Expect,
    Host,
    Http2Settings,
    /// Fields of the connection, not of the message (RFC 9110 7.6.1).
    HopByHop,
    SecWebsocketAccept,
    SecWebsocketKey,
    SetCookie,
    Te,
    TransferEncoding,
    Upgrade,
    /// A name a CGI-like server cannot tell from one of ours (`Transfer_Encoding`).
    Lookalike,
    Other,
}

/// Recognises a field by its name.
pub(crate) fn known(name: &str) -> Known {
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    match name.len() {
        2 if is("te") => Known::Te,
        4 if is("host") => Known::Host,
        6 if is("expect") => Known::Expect,
        6 if is("cookie") => Known::Cookie,
        7 if is("upgrade") => Known::Upgrade,
        10 if is("connection") => Known::Connection,
        10 if is("set-cookie") => Known::SetCookie,
        10 if is("keep-alive") => Known::HopByHop,
        14 if is("content-length") => Known::ContentLength,
        14 if is("http2-settings") => Known::Http2Settings,
        14 if is("content_length") => Known::Lookalike,
        15 if is("x_forwarded_for") => Known::Lookalike,
        16 if is("proxy-connection") => Known::HopByHop,
        17 if is("transfer-encoding") => Known::TransferEncoding,
        17 if is("sec-websocket-key") => Known::SecWebsocketKey,
        17 if is("transfer_encoding") => Known::Lookalike,
        20 if is("sec-websocket-accept") => Known::SecWebsocketAccept,
        _ => Known::Other,
    }
}

/// The elements of a comma-separated list, empty ones left out.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|e| !e.is_empty())
}

/// Is it a token (RFC 9110 5.6.2)?
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

/// What `Connection` says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Connection {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
    /// It names further fields, which must be removed.
    pub(crate) names: bool,
}

impl Connection {
    /// Adds one `Connection` line.
    pub(crate) fn add(&mut self, value: &[u8]) {
        for option in list(value) {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else {
                self.names = true;
            }
        }
    }
}

/// Does a `Connection` line among these fields name this field?
pub(crate) fn is_named(headers: &[httparse::Header<'_>], name: &str) -> bool {
    headers
        .iter()
        .filter(|h| known(h.name) == Known::Connection)
        .flat_map(|h| list(h.value))
        .any(|option| option.eq_ignore_ascii_case(name.as_bytes()))
}

/// How `Transfer-Encoding` may look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// `chunked` and nothing else.
    Chunked,
    /// A proper list that ends in `chunked`: correct, and beyond us.
    Unsupported,
    /// Anything else.
    Bad,
}

/// Judges one `Transfer-Encoding` line.
pub(crate) fn coding(value: &[u8]) -> Coding {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Coding::Chunked;
    }
    let mut all = value.split(|b| *b == b',').map(<[u8]>::trim_ascii).rev();
    let last = all.next().unwrap_or_default();
    let proper = last.eq_ignore_ascii_case(b"chunked")
        && all.all(|c| is_token(c) && !c.eq_ignore_ascii_case(b"chunked"));
    if proper { Coding::Unsupported } else { Coding::Bad }
}

/// Are all bytes of a field's value allowed (RFC 9110 5.5)? Bytes of 0x80 and more are.
pub(crate) fn is_value(value: &[u8]) -> bool {
    value.iter().all(|b| *b == b'\t' || (*b >= b' ' && *b != 0x7f))
}

/// Writes one field line.
pub(crate) fn put_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes a number.
pub(crate) fn put_number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Writes the trailer fields that may be forwarded. Fields about framing, routing or the
/// connection mean nothing after the body and are left out (RFC 9110 6.5.1).
pub(crate) fn put_trailers(out: &mut Vec<u8>, raw: &[u8]) -> Result<(), crate::framing::BadBody> {
    if raw.is_empty() {
        return Ok(());
    }
    let mut lines = raw.to_vec();
    lines.extend_from_slice(b"\r\n");
    let mut space = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let Ok(httparse::Status::Complete((_, headers))) = httparse::parse_headers(&lines, &mut space)
    else {
        return Err(crate::framing::BadBody);
    };
    for h in headers {
        if known(h.name) == Known::Other && is_value(h.value) {
            put_field(out, h.name.as_bytes(), h.value);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings() {
        for (value, verdict) in [
            ("chunked", Coding::Chunked),
            ("Chunked", Coding::Chunked),
            ("gzip, chunked", Coding::Unsupported),
            ("chunked, chunked", Coding::Bad),
            (",chunked", Coding::Bad),
            ("chunked,", Coding::Bad),
            ("chunked, gzip", Coding::Bad),
            ("xchunked", Coding::Bad),
            ("\x0bchunked", Coding::Bad),
            ("identity", Coding::Bad),
            ("", Coding::Bad),
        ] {
            assert_eq!(coding(value.as_bytes()), verdict, "{value:?}");
        }
    }

    #[test]
    fn trailers_that_could_fool_someone_are_left_out() {
        let raw = b"X: 1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: h\r\nY: 2\r\n";
        let mut out = Vec::new();
        put_trailers(&mut out, raw).unwrap();
        assert_eq!(out, b"X: 1\r\nY: 2\r\n");
        assert!(put_trailers(&mut out, b"no colon\r\n").is_err());
    }
}
