//! Heads between HTTP/2 and HTTP/1.1 (RFC 9113 section 8), without I/O.
//!
//! A request becomes the HTTP/1.1 head it would have been, and goes the way of any other from
//! there: one parser decides what is accepted, whatever version it came in.

use crate::message::{Known, known, put_field};
use crate::request::Refused;
use base64::Engine;
use bytes::Bytes;
use h2::ext::Protocol;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

/// Is the stream to become a WebSocket (RFC 8441 5)?
pub(super) fn is_websocket(parts: &Parts) -> bool {
    let protocol = parts.extensions.get::<Protocol>();
    parts.method == Method::CONNECT
        && protocol.is_some_and(|p| p.as_str().eq_ignore_ascii_case("websocket"))
}

/// The method it has for servers and in the log: a WebSocket begins as `GET` (RFC 6455 4.1).
fn method(parts: &Parts) -> &str {
    if is_websocket(parts) { "GET" } else { parts.method.as_str() }
}

/// Writes a request's head; `has_body`: there is content to come.
pub(super) fn put_request(parts: &Parts, has_body: bool, out: &mut Vec<u8>) -> Result<(), Refused> {
    let (method, uri, websocket) = (method(parts), &parts.uri, is_websocket(parts));
    if method == "CONNECT" {
        return Err(Refused::Method);
    }
    let target = uri.path_and_query().map_or("", |p| p.as_str());
    let whole = target.starts_with('/') || (target == "*" && method == "OPTIONS");
    let authority = uri.authority().map(|a| a.as_str().as_bytes());
    // Without an authority there is no address that could have a scheme.
    let scheme = uri.scheme_str().map_or(authority.is_none(), |s| s == "https" || s == "http");
    if !whole || !scheme {
        return Err(Refused::Bad);
    }
    for part in [method, " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    if let Some(authority) = authority {
        put_field(out, b"host", authority);
    }
    let (mut hosts, mut crumbs, mut has_length) = (0, 0, false);
    for (name, value) in &parts.headers {
        match known(name.as_str()) {
            Known::Host => {
                hosts += 1;
                match authority {
                    Some(authority) if !same_host(authority, value.as_bytes()) => {
                        return Err(Refused::Bad);
                    }
                    Some(_) => {}
                    None => put_field(out, b"host", value.as_bytes()),
                }
            }
            // RFC 9113 8.2.3: what was split for the sake of compression is one field again. The
            // values of a name come one behind the other.
            Known::Cookie => {
                if crumbs == 0 {
                    out.extend_from_slice(b"cookie: ");
                } else {
                    out.truncate(out.len() - 2);
                    out.extend_from_slice(b"; ");
                }
                crumbs += 1;
                out.extend_from_slice(value.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            // RFC 9113 8.2.2.
            Known::Connection | Known::HopByHop | Known::TransferEncoding | Known::Upgrade => {
                return Err(Refused::Bad);
            }
            Known::Te if value != "trailers" => return Err(Refused::Bad),
            // What comes is no content, and its key means something to one connection only.
            Known::ContentLength if websocket => return Err(Refused::Bad),
            Known::SecWebsocketKey if websocket => {}
            kind => {
                has_length |= kind == Known::ContentLength;
                put_field(out, name.as_str().as_bytes(), value.as_bytes());
            }
        }
    }
    if hosts > 1 || (hosts == 0 && authority.is_none()) {
        return Err(Refused::Bad);
    }
    if websocket {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|_| Refused::Bad)?;
        let key = base64::prelude::BASE64_STANDARD.encode(nonce);
        put_field(out, b"connection", b"upgrade");
        put_field(out, b"upgrade", b"websocket");
        put_field(out, b"sec-websocket-key", key.as_bytes());
    } else if has_body && !has_length {
        put_field(out, b"transfer-encoding", b"chunked");
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

fn same_host(a: &[u8], b: &[u8]) -> bool {
    let bare = |host: &[u8]| {
        let rest = host.strip_suffix(b":443").or_else(|| host.strip_suffix(b":80"));
        rest.unwrap_or(host).to_ascii_lowercase()
    };
    bare(a) == bare(b)
}

/// The request line as HAProxy logs it.
pub(super) fn put_line(parts: &Parts, out: &mut Vec<u8>) {
    let uri = &parts.uri;
    let path = uri.path_and_query().map_or("", |p| p.as_str());
    let authority = uri.authority().map_or("", |a| a.as_str());
    let (scheme, slashes) = uri.scheme_str().map_or(("", ""), |s| (s, "://"));
    for part in [method(parts), " ", scheme, slashes, authority, path, " HTTP/2.0"] {
        out.extend_from_slice(part.as_bytes());
    }
    out.truncate(crate::request::LINE_LIMIT);
}

/// Reads the head of a response we wrote; None for what HTTP/2 cannot carry.
pub(super) fn response(head: &Bytes) -> Option<(Response<()>, Framing)> {
    let mut response = Response::new(());
    let status = head.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    *response.status_mut() = StatusCode::from_bytes(status).ok()?;
    let mut framing = Framing::UntilClose;
    let mut lines = Lines(head.get(memchr::memchr(b'\n', head)? + 1..)?);
    loop {
        let (name, value) = match lines.next()? {
            [] => return Some((response, framing)),
            line => field(line)?,
        };
        match known(name.as_str()) {
            Known::TransferEncoding => {
                framing = Framing::Chunked;
                continue;
            }
            Known::Connection | Known::HopByHop | Known::Upgrade => continue,
            Known::ContentLength => {
                framing = Framing::Length(crate::framing::content_length(value)?);
            }
            _ => {}
        }
        // A part of what is there already: no field needs memory of its own.
        let value = HeaderValue::from_maybe_shared(head.slice_ref(value)).ok()?;
        response.headers_mut().try_append(name, value).ok()?;
    }
}

/// Lines as we write them.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(b'\n', self.0)?;
        let (line, rest) = self.0.split_at(end + 1);
        self.0 = rest;
        line.strip_suffix(b"\r\n")
    }
}

/// The name and the value in a line.
fn field(line: &[u8]) -> Option<(HeaderName, &[u8])> {
    let (name, value) = line.split_at(memchr::memchr(b':', line)?);
    Some((HeaderName::from_bytes(name).ok()?, value[1..].trim_ascii()))
}

/// How the body behind a head of ours ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// Reads trailer fields as the framing has kept them.
pub(super) fn trailers(raw: &[u8]) -> Option<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in Lines(raw).map_while(field) {
        if known(name.as_str()) == Known::Other {
            map.try_append(name, HeaderValue::from_bytes(value).ok()?).ok()?;
        }
    }
    (!map.is_empty()).then_some(map)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn written(request: http::request::Builder, has_body: bool) -> Result<String, Refused> {
        let mut out = Vec::new();
        put_request(&request.body(()).unwrap().into_parts().0, has_body, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn get(uri: &str) -> http::request::Builder {
        Request::builder().uri(uri)
    }

    #[test]
    fn a_request_is_what_it_would_have_been_in_http_1() {
        let request = get("https://a.example/p?q=1")
            .header("cookie", "a=1")
            .header("x", "y")
            .header("te", "trailers")
            .header("cookie", "b=2");
        let text = written(request, false).unwrap();
        assert_eq!(
            text,
            "GET /p?q=1 HTTP/1.1\r\nhost: a.example\r\ncookie: a=1; b=2\r\nx: y\r\nte: trailers\r\n\r\n"
        );
        let post = get("https://a.example/").method("POST");
        assert!(written(post, true).unwrap().contains("\r\ntransfer-encoding: chunked\r\n"));
        let post = get("https://a.example/").method("POST").header("content-length", "3");
        assert!(!written(post, true).unwrap().contains("chunked"));
    }

    #[test]
    fn who_is_meant_must_be_clear() {
        let host = |host: &'static str| get("https://a.example/").header("host", host);
        assert!(written(host("A.example"), false).unwrap().contains("\r\nhost: a.example\r\n"));
        assert!(written(host("a.example:443"), false).is_ok());
        assert_eq!(written(host("b.example"), false), Err(Refused::Bad));
        assert_eq!(
            written(host("a.example").header("host", "a.example"), false),
            Err(Refused::Bad)
        );
        assert_eq!(written(get("/"), false), Err(Refused::Bad));
        let without = get("/").header("host", "b.example");
        assert!(written(without, false).unwrap().contains("\r\nhost: b.example\r\n"));
        assert_eq!(written(get("ftp://a.example/"), false), Err(Refused::Bad));
    }

    #[test]
    fn fields_of_a_connection_are_refused() {
        for (name, value) in [
            ("connection", "close"),
            ("keep-alive", "1"),
            ("proxy-connection", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("te", "gzip"),
        ] {
            let request = get("https://a.example/").header(name, value);
            assert_eq!(written(request, false), Err(Refused::Bad), "{name}");
        }
        let connect = get("a.example:443").method("CONNECT");
        assert_eq!(written(connect, false), Err(Refused::Method));
        let star = || get("https://a.example").method("GET");
        assert!(written(star(), false).unwrap().starts_with("GET / "));
    }

    #[test]
    fn a_response_loses_what_belongs_to_the_connection() {
        let response = |head: &'static str| response(&Bytes::from_static(head.as_bytes()));
        let (read, framing) = response(
            "HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
        )
        .unwrap();
        assert_eq!((read.status().as_u16(), framing), (200, Framing::Chunked));
        assert_eq!(read.headers().len(), 1);
        assert_eq!(read.headers()["x-a"], "b");
        let (read, framing) = response("HTTP/1.1 404 X\r\nContent-Length: 3\r\n\r\n").unwrap();
        assert_eq!((read.status().as_u16(), framing), (404, Framing::Length(3)));
        for bad in [
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA B: c\r\n\r\n",
            "HTTP/1.1 2 OK\r\n\r\n",
        ] {
            assert!(response(bad).is_none(), "{bad:?}");
        }
        assert_eq!(trailers(b"X-T: 1\r\nHost: no\r\n").unwrap().len(), 1);
        assert_eq!(trailers(b""), None);
    }
}
