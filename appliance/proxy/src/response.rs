//! The head of a response: what is accepted from a server, and what the client gets.

use crate::cookie;
use crate::framing::{Body, content_length};
use crate::message::{
    Coding, Connection, Known, Parsed, coding, fields, is_named, is_value, known, put_field,
    put_number,
};

/// The longest response head; longer ones are the server's fault (502).
pub(crate) const HEAD_LIMIT: usize = 32 * 1024;

/// The response cannot be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadResponse;

/// What the response depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// The request was `HEAD`.
    pub(crate) is_head: bool,
    /// The client speaks HTTP/1.0.
    pub(crate) is_10: bool,
    /// The client's connection may stay open afterwards.
    pub(crate) keep_alive: bool,
    /// A change of protocol was asked for.
    pub(crate) upgrade: bool,
    /// To WebSocket, that is.
    pub(crate) websocket: bool,
    /// Over HTTP/2, where any success would say that it is one (RFC 8441 5).
    pub(crate) success_switches: bool,
    /// The client understands trailers.
    pub(crate) wants_trailers: bool,
}

/// An accepted response head.
#[derive(Debug)]
pub(crate) struct Response {
    /// The status code.
    pub(crate) status: u16,
    /// How its body ends.
    pub(crate) body: Body,
    /// The client's connection stays open afterwards.
    pub(crate) keep_alive: bool,
    /// The server's connection can be used again when the body is complete.
    pub(crate) reusable: bool,
    /// The body goes to the client in chunks.
    pub(crate) chunked_out: bool,
}

/// Reads a response head from the start of `input` and appends what the client gets to `out`,
/// which stays as it is for an interim response the client must not get.
pub(crate) fn parse(
    input: &[u8],
    asked: Asked,
    out: &mut Vec<u8>,
) -> Result<Parsed<Response>, BadResponse> {
    let mut space = fields();
    let mut raw = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let len = match config.parse_response_with_uninit_headers(&mut raw, input, &mut space) {
        Ok(httparse::Status::Complete(len)) if len <= HEAD_LIMIT => len,
        Ok(httparse::Status::Partial) if input.len() < HEAD_LIMIT => return Ok(Parsed::Partial),
        _ => return Err(BadResponse),
    };
    let (Some(status), Some(minor)) = (raw.code, raw.version) else {
        return Err(BadResponse);
    };
    if !(100..=999).contains(&status) {
        return Err(BadResponse);
    }
    let reason = raw.reason.unwrap_or("");
    Ok(Parsed::Complete(build(status, reason, minor, raw.headers, asked, out)?, len))
}

fn build(
    status: u16,
    reason: &str,
    minor: u8,
    headers: &[httparse::Header<'_>],
    asked: Asked,
    out: &mut Vec<u8>,
) -> Result<Response, BadResponse> {
    let mut connection = Connection::default();
    let mut length = None;
    let mut chunked = false;
    let mut accept = false;
    for h in headers {
        if !is_value(h.value) {
            return Err(BadResponse);
        }
        match known(h.name) {
            Known::Connection => connection.add(h.value),
            Known::ContentLength if length.is_some() => return Err(BadResponse),
            Known::ContentLength => length = Some(content_length(h.value).ok_or(BadResponse)?),
            Known::TransferEncoding if chunked || coding(h.value) != Coding::Chunked => {
                return Err(BadResponse);
            }
            Known::TransferEncoding => chunked = true,
            Known::SecWebsocketAccept => accept = true,
            _ => {}
        }
    }
    // RFC 9112 6.1: HTTP/1.0 knows no chunks.
    if chunked && minor == 0 {
        return Err(BadResponse);
    }
    let interim = status < 200;
    let switching = status == 101;
    if switching && (!asked.upgrade || (asked.websocket && !accept)) {
        return Err(BadResponse);
    }
    if asked.success_switches && (200..300).contains(&status) {
        return Err(BadResponse);
    }
    let bodyless = asked.is_head || interim || status == 204 || status == 304;
    let until_close = !bodyless && !chunked && length.is_none();
    let keep_alive = asked.keep_alive && !until_close && !(chunked && asked.is_10 && !bodyless);
    let chunked_out = chunked && !bodyless && !asked.is_10;
    let both = chunked && length.is_some();
    let response = Response {
        status,
        body: match (bodyless, chunked, length) {
            (true, ..) => Body::Done,
            (_, true, _) => Body::chunked(),
            (_, _, Some(length)) => Body::length(length),
            _ => Body::UntilClose,
        },
        keep_alive,
        // Both lengths at once: the chunks count (RFC 9112 6.3), the server does not get a
        // second chance on this connection.
        reusable: minor == 1 && !connection.close && !until_close && !both,
        chunked_out,
    };
    // HTTP/1.0 knows no interim responses (RFC 9110 15.2).
    if interim && asked.is_10 {
        return Ok(response);
    }

    out.extend_from_slice(b"HTTP/1.1 ");
    put_number(out, status);
    out.push(b' ');
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
    for h in headers {
        let kind = known(h.name);
        let keep = match kind {
            Known::Other
            | Known::Host
            | Known::Expect
            | Known::Lookalike
            | Known::Cookie
            | Known::SecWebsocketKey
            | Known::SecWebsocketAccept => true,
            Known::SetCookie => !cookie::sets_it(h.value),
            // Which protocols the server would switch to; with 426 it is the point.
            Known::Upgrade => switching || status == 426,
            _ => false,
        };
        // `Upgrade` is always named, and named again below.
        let named = || connection.names && is_named(headers, h.name);
        if keep && (kind == Known::Upgrade || !named()) {
            put_field(out, h.name.as_bytes(), h.value);
        }
    }
    // HEAD and 304 may say how long the content would be; 1xx and 204 must not (RFC 9110 8.6).
    let may_say = !interim && status != 204;
    match length {
        Some(length) if may_say && !chunked => {
            out.extend_from_slice(b"Content-Length: ");
            put_number(out, length);
            out.extend_from_slice(b"\r\n");
        }
        _ => {}
    }
    if chunked_out {
        put_field(out, b"Transfer-Encoding", b"chunked");
    }
    if switching || (status == 426 && headers.iter().any(|h| known(h.name) == Known::Upgrade)) {
        let close = if keep_alive || switching { "upgrade" } else { "upgrade, close" };
        put_field(out, b"Connection", close.as_bytes());
    } else if !interim && !keep_alive {
        put_field(out, b"Connection", b"close");
    } else if !interim && asked.is_10 {
        put_field(out, b"Connection", b"keep-alive");
    }
    out.extend_from_slice(b"\r\n");
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked = Asked {
        is_head: false,
        is_10: false,
        keep_alive: true,
        upgrade: false,
        websocket: false,
        success_switches: false,
        wants_trailers: false,
    };

    fn read(input: &str, asked: Asked) -> Result<(Response, String), BadResponse> {
        let mut out = Vec::new();
        // A head cut off anywhere is never taken for a whole one.
        let end = input.find("\r\n\r\n").map_or(input.len(), |at| at + 4);
        for cut in 0..end {
            match parse(&input.as_bytes()[..cut], asked, &mut Vec::new()) {
                Ok(Parsed::Partial) | Err(_) => {}
                Ok(Parsed::Complete(..)) => panic!("{input:?} is whole after {cut} bytes"),
            }
        }
        match parse(input.as_bytes(), asked, &mut out)? {
            Parsed::Complete(response, _) => Ok((response, String::from_utf8(out).unwrap())),
            Parsed::Partial => Err(BadResponse),
        }
    }

    #[test]
    fn framing_of_responses() {
        let (r, out) = read("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", ASKED).unwrap();
        assert!(matches!(r.body, Body::Length(5)) && r.keep_alive && r.reusable);
        assert_eq!(out, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");

        let both = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (r, out) = read(both, ASKED).unwrap();
        assert!(matches!(r.body, Body::Chunked(_)) && !r.reusable);
        assert_eq!(out, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");

        let (r, out) = read("HTTP/1.0 200 OK\r\n\r\n", ASKED).unwrap();
        assert!(matches!(r.body, Body::UntilClose) && !r.keep_alive && !r.reusable);
        assert!(out.contains("Connection: close\r\n"));

        let old = Asked { is_10: true, ..ASKED };
        let (r, out) = read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", old).unwrap();
        assert!(!r.keep_alive && !r.chunked_out && !out.contains("chunked"));
        let (r, out) = read("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n", old).unwrap();
        assert!(r.keep_alive && out.contains("Connection: keep-alive\r\n"));
    }

    #[test]
    fn bodyless_responses_keep_the_connection() {
        let head = Asked { is_head: true, ..ASKED };
        let (r, out) = read("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", head).unwrap();
        assert!(r.body.is_done() && r.keep_alive && r.reusable);
        assert!(out.contains("Content-Length: 5"));
        for status in ["204 No Content", "304 Not Modified"] {
            let text = format!("HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n");
            let (r, out) = read(&text, ASKED).unwrap();
            assert!(r.body.is_done() && r.keep_alive && !out.contains("chunked"), "{status}");
        }
        let (_, out) = read("HTTP/1.1 304 X\r\nContent-Length: 5\r\n\r\n", ASKED).unwrap();
        assert!(out.contains("Content-Length: 5"));
        let (_, out) = read("HTTP/1.1 204 X\r\nContent-Length: 0\r\n\r\n", ASKED).unwrap();
        assert!(!out.contains("Content-Length"));
    }

    #[test]
    fn untrustworthy_responses() {
        for bad in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
            "HTTP/1.1 99 Low\r\n\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "SSH-2.0-OpenSSH\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        ] {
            assert!(read(bad, ASKED).is_err(), "{bad:?}");
        }
        let ws = Asked { upgrade: true, websocket: true, ..ASKED };
        assert!(read("HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\n", ws).is_err());
        let plain = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        assert!(read(plain, ws).is_ok());
        assert!(read(plain, Asked { success_switches: true, ..ws }).is_err());
        let good = "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";
        assert!(read(good, ws).unwrap().1.contains("Connection: upgrade\r\n"));
        let more = good.replace("\r\nSec", "\r\nConnection: Upgrade, X-Priv\r\nX-Priv: 1\r\nSec");
        let (_, out) = read(&more, ws).unwrap();
        assert!(out.contains("Upgrade: websocket\r\n") && !out.contains("X-Priv"), "{out}");
    }

    #[test]
    fn fields_of_the_servers_connection_stay_there() {
        let text = "HTTP/1.1 200 OK\r\nConnection: X-Priv, keep-alive\r\nX-Priv: 1\r\n\
                    Keep-Alive: timeout=5\r\nX-Pub: 2\r\nContent-Length: 0\r\n\r\n";
        let (_, out) = read(text, ASKED).unwrap();
        assert_eq!(out, "HTTP/1.1 200 OK\r\nX-Pub: 2\r\nContent-Length: 0\r\n\r\n");
    }

    #[test]
    fn no_server_sets_the_admin_pages_cookie() {
        let text = "HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\n\
                    set-cookie: bramble_sid=planted; Path=/\r\nContent-Length: 0\r\n\r\n";
        let (_, out) = read(text, ASKED).unwrap();
        let left = "HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(out, left);
    }

    #[test]
    fn too_long_a_head_is_refused() {
        let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "a".repeat(70_000));
        assert!(parse(long.as_bytes(), ASKED, &mut Vec::new()).is_err());
        assert!(parse(&long.as_bytes()[..HEAD_LIMIT], ASKED, &mut Vec::new()).is_err());
    }
}
