//! Heads between HTTP/2 and HTTP/1.1 (RFC 9113 section 8), without I/O.
//!
//! A request becomes the HTTP/1.1 head it would have been, and goes the way of any other from
//! there: one parser decides what is accepted, whatever version it came in.

use crate::message::{Known, known, put_field};
use crate::request::Refused;
use http::header::{CONTENT_LENGTH, COOKIE, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

/// Fields of a response we may have to read: those a server may send, and what rules add.
const FIELDS: usize = 256;

/// Writes a request's head; `has_body`: there is content to come.
pub(super) fn put_request(parts: &Parts, has_body: bool, out: &mut Vec<u8>) -> Result<(), Refused> {
    let (method, uri) = (parts.method.as_str(), &parts.uri);
    if method == "CONNECT" {
        return Err(Refused::Method);
    }
    let target = uri.path_and_query().map_or("", |p| p.as_str());
    let whole = target.starts_with('/') || (target == "*" && method == "OPTIONS");
    let scheme = uri.scheme_str().is_some_and(|s| s == "https" || s == "http");
    if !whole || !scheme {
        return Err(Refused::Bad);
    }
    let mut hosts = parts.headers.get_all(HOST).iter();
    let (host, another) = (hosts.next().map(HeaderValue::as_bytes), hosts.next());
    let host = match (uri.authority().map(|a| a.as_str().as_bytes()), host) {
        (Some(authority), Some(host)) if !same_host(authority, host) => return Err(Refused::Bad),
        (Some(authority), _) => authority,
        (None, Some(host)) => host,
        (None, None) => return Err(Refused::Bad),
    };
    if another.is_some() {
        return Err(Refused::Bad);
    }
    for part in [method, " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    put_field(out, b"host", host);
    let mut crumbs = parts.headers.get_all(COOKIE).iter().peekable();
    if crumbs.peek().is_some() {
        // RFC 9113 8.2.3: what was split for the sake of compression is one field again.
        let crumbs: Vec<&[u8]> = crumbs.map(HeaderValue::as_bytes).collect();
        put_field(out, b"cookie", &crumbs.join(&b"; "[..]));
    }
    for (name, value) in &parts.headers {
        if [HOST, COOKIE].contains(name) {
            continue;
        }
        match known(name.as_str()) {
            // RFC 9113 8.2.2.
            Known::Connection | Known::HopByHop | Known::TransferEncoding | Known::Upgrade => {
                return Err(Refused::Bad);
            }
            Known::Te if value != "trailers" => return Err(Refused::Bad),
            _ => put_field(out, name.as_str().as_bytes(), value.as_bytes()),
        }
    }
    if has_body && !parts.headers.contains_key(CONTENT_LENGTH) {
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
pub(super) fn line(parts: &Parts) -> Vec<u8> {
    let mut line = format!("{} {} HTTP/2.0", parts.method, parts.uri).into_bytes();
    line.truncate(crate::request::LINE_LIMIT);
    line
}

/// Reads the head of a response we wrote; None for what HTTP/2 cannot carry.
pub(super) fn response(head: &[u8]) -> Option<(Response<()>, Framing)> {
    let mut space = [httparse::EMPTY_HEADER; FIELDS];
    let mut raw = httparse::Response::new(&mut space);
    if !raw.parse(head).ok()?.is_complete() {
        return None;
    }
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(raw.code?).ok()?;
    let mut framing = Framing::UntilClose;
    for field in raw.headers.iter() {
        match known(field.name) {
            Known::TransferEncoding => framing = Framing::Chunked,
            Known::Connection | Known::HopByHop | Known::Upgrade => continue,
            Known::ContentLength => {
                framing = Framing::Length(crate::framing::content_length(field.value)?);
                append(response.headers_mut(), field)?;
            }
            _ => append(response.headers_mut(), field)?,
        }
    }
    Some((response, framing))
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
    let lines = [raw, b"\r\n"].concat();
    let mut space = [httparse::EMPTY_HEADER; FIELDS];
    let parsed = httparse::parse_headers(&lines, &mut space).ok()?;
    let mut map = HeaderMap::new();
    if let httparse::Status::Complete((_, fields)) = parsed {
        for field in fields.iter().filter(|f| known(f.name) == Known::Other) {
            append(&mut map, field)?;
        }
    }
    (!map.is_empty()).then_some(map)
}

fn append(map: &mut HeaderMap, field: &httparse::Header<'_>) -> Option<()> {
    let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
    map.try_append(name, HeaderValue::from_bytes(field.value).ok()?).ok()?;
    Some(())
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
        let head =
            b"HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
        let (read, framing) = response(head).unwrap();
        assert_eq!((read.status().as_u16(), framing), (200, Framing::Chunked));
        assert_eq!(read.headers().len(), 1);
        assert_eq!(read.headers()["x-a"], "b");
        let (read, framing) = response(b"HTTP/1.1 404 X\r\nContent-Length: 3\r\n\r\n").unwrap();
        assert_eq!((read.status().as_u16(), framing), (404, Framing::Length(3)));
        assert!(response(b"HTTP/1.1 200 OK\r\n").is_none());
        assert_eq!(trailers(b"X-T: 1\r\nHost: no\r\n").unwrap().len(), 1);
        assert_eq!(trailers(b""), None);
    }
}
