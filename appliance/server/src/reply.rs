//! From an open file and the request's headers to a response.

use crate::beneath::Access;
use crate::body::{Body, Piece};
use crate::card::{CHUNK, Card};
use crate::conditional::{Validators, Verdict, judge};
use crate::date;
use crate::error::Fault;
use crate::etag::strong;
use crate::files::{Opened, SiteRoot};
use crate::range::{Part, Selection, select};
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderName, LAST_MODIFIED, LOCATION, RANGE, RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use std::sync::Arc;

/// The methods there are for a file.
const ALLOWED: &str = "GET, HEAD, OPTIONS";

/// What is needed of a request to answer it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    /// The clock, in seconds since 1970.
    pub(crate) now: i64,
}

/// A response with nothing but what every response has.
fn bare(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    set(&mut response, X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn set(response: &mut Response<Body>, name: HeaderName, value: HeaderValue) {
    response.headers_mut().insert(name, value);
}

fn text(value: &str) -> HeaderValue {
    // Only dates, tags, numbers and encoded paths come here; all are visible ASCII.
    HeaderValue::from_str(value).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// A small page that says what a status means, and nothing of what was asked for.
pub(crate) fn page(status: StatusCode) -> Response<Body> {
    let says = match status {
        StatusCode::BAD_REQUEST => "This server could not understand the request.",
        StatusCode::FORBIDDEN => "This file is not readable by everyone.",
        StatusCode::NOT_FOUND => "There is nothing at this address.",
        StatusCode::METHOD_NOT_ALLOWED => "This server only hands out files.",
        StatusCode::PRECONDITION_FAILED => "The file has changed.",
        StatusCode::URI_TOO_LONG => "The address is too long.",
        StatusCode::RANGE_NOT_SATISFIABLE => "The file does not reach that far.",
        StatusCode::NOT_IMPLEMENTED => "This server does not know that kind of request.",
        StatusCode::SERVICE_UNAVAILABLE => "This server is very busy. Please try again.",
        _ => "Something is wrong with this server.",
    };
    let mut response = error_page(status, status.canonical_reason().unwrap_or("Error"), says);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        set(&mut response, ALLOW, HeaderValue::from_static(ALLOWED));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        set(&mut response, RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn error_page(status: StatusCode, title: &str, says: &str) -> Response<Body> {
    let code = status.as_u16();
    let html = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>{code} {title}</title>\n<h1>{title}</h1>\n<p>{says}</p>\n</html>\n"
    );
    let mut response = bare(status, Body::full(html));
    set(&mut response, CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

/// What the front page of a site says before there is one. 404, so that nothing takes it for
/// the site.
pub(crate) fn no_files_yet(site: &SiteRoot) -> Response<Body> {
    // The directory is made of a site's name, which has no character that means anything in HTML.
    let says = format!(
        "The web server is running. Put an <code>index.html</code> into the directory \
         <code>{}/</code> of its data directory and this page is gone.",
        site.directory
    );
    error_page(StatusCode::NOT_FOUND, "This site has no files yet", &says)
}

/// The answer to OPTIONS.
pub(crate) fn options() -> Response<Body> {
    let mut response = bare(StatusCode::NO_CONTENT, Body::empty());
    set(&mut response, ALLOW, HeaderValue::from_static(ALLOWED));
    response
}

/// Sends a visitor from a directory without its slash to the one with it.
pub(crate) fn redirect(reference: &str) -> Response<Body> {
    let status = StatusCode::MOVED_PERMANENTLY;
    let says = "The directory is at the same address with a slash at its end.";
    let mut response = error_page(status, "Moved Permanently", says);
    set(&mut response, LOCATION, text(reference));
    response
}

/// The page for a file that is not served.
pub(crate) fn fault(fault: Fault) -> Response<Body> {
    page(match fault {
        Fault::Missing => StatusCode::NOT_FOUND,
        Fault::Forbidden => StatusCode::FORBIDDEN,
        Fault::Busy | Fault::Again => StatusCode::SERVICE_UNAVAILABLE,
        Fault::Broken(errno) => {
            tracing::warn!("a file of a site could not be read: {errno}; look at the card");
            StatusCode::INTERNAL_SERVER_ERROR
        }
    })
}

/// The response for an open file.
pub(crate) fn file(
    asked: Asked<'_>,
    opened: Opened,
    access: Access,
    card: &Arc<Card>,
) -> Result<Response<Body>, Fault> {
    let Opened { file, meta, media, coding } = opened;
    let etag = strong(meta, coding);
    let validators = Validators { etag: &etag, mtime: meta.seconds(), now: asked.now };
    let ranges = match judge(asked.headers, validators) {
        Verdict::Failed => return Ok(page(StatusCode::PRECONDITION_FAILED)),
        Verdict::NotModified => {
            // RFC 9110 15.4.5: what a 200 would have said of the cached copy, and no more.
            let mut response = bare(StatusCode::NOT_MODIFIED, Body::empty());
            set(&mut response, ETAG, text(&etag));
            if media.compressible {
                set(&mut response, VARY, HeaderValue::from_static("accept-encoding"));
            }
            return Ok(response);
        }
        Verdict::Send { ranges } => ranges,
    };
    // RFC 9110 14.2: Range is for GET only. It may come only once.
    let mut asks = asked.headers.get_all(RANGE).into_iter();
    let selection = match (asks.next(), asks.next()) {
        (Some(range), None) if ranges && *asked.method == Method::GET => {
            select(range.as_bytes(), meta.size)
        }
        _ => Selection::Whole,
    };
    let (mut status, mut content_type, mut content_range) = (StatusCode::OK, None, None);
    let (body, length) = match selection {
        Selection::Nothing => {
            let mut response = page(StatusCode::RANGE_NOT_SATISFIABLE);
            set(&mut response, CONTENT_RANGE, text(&format!("bytes */{}", meta.size)));
            return Ok(response);
        }
        Selection::Whole if *asked.method == Method::HEAD => (Body::empty(), meta.size),
        Selection::Whole => {
            let body = span(file, Part { start: 0, length: meta.size }, access, card)?;
            (body, meta.size)
        }
        Selection::Parts(parts) => {
            status = StatusCode::PARTIAL_CONTENT;
            let body = if let [part] = *parts {
                content_range = Some(part.content_range(meta.size));
                span(file, part, access, card)?
            } else {
                let boundary = boundary();
                content_type = Some(format!("multipart/byteranges; boundary={boundary}"));
                let pieces = multipart(&parts, meta.size, media.value, &boundary);
                Body::pieces(file, pieces, card.clone())
            };
            let length = body.length();
            (body, length)
        }
    };
    let mut response = bare(status, body);
    let headers = response.headers_mut();
    headers.reserve(10);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(
        CONTENT_TYPE,
        content_type.map_or(HeaderValue::from_static(media.value), |t| text(&t)),
    );
    headers
        .insert(LAST_MODIFIED, text(&date::format(date::last_modified(meta.seconds(), asked.now))));
    headers.insert(ETAG, text(&etag));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if media.compressible {
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    }
    if let Some(coding) = coding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.token()));
    }
    if let Some(range) = content_range {
        headers.insert(CONTENT_RANGE, text(&range));
    }
    Ok(response)
}

/// One stretch of a file: read now if it is small, in chunks while it is sent otherwise.
fn span(file: std::fs::File, part: Part, access: Access, card: &Arc<Card>) -> Result<Body, Fault> {
    match usize::try_from(part.length) {
        Ok(small) if small <= CHUNK => {
            let bytes = card.read(&file, part.start, small, access)?;
            // Shortened since it was measured: whoever writes it is at it right now.
            if bytes.len() < small { Err(Fault::Again) } else { Ok(Body::full(bytes)) }
        }
        _ => {
            let piece = Piece::File { offset: part.start, length: part.length };
            Ok(Body::pieces(file, vec![piece], card.clone()))
        }
    }
}

/// RFC 9110 14.6.
fn multipart(parts: &[Part], size: u64, media: &str, boundary: &str) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(parts.len() * 2 + 1);
    let mut line = "";
    for part in parts {
        let head = format!(
            "{line}--{boundary}\r\nContent-Type: {media}\r\nContent-Range: {}\r\n\r\n",
            part.content_range(size)
        );
        pieces.push(Piece::Bytes(Bytes::from(head)));
        pieces.push(Piece::File { offset: part.start, length: part.length });
        line = "\r\n";
    }
    pieces.push(Piece::Bytes(Bytes::from(format!("\r\n--{boundary}--\r\n"))));
    pieces
}

/// A line that no file contains by chance: 128 random bits.
fn boundary() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("{:016x}{:016x}", RandomState::new().hash_one(0), RandomState::new().hash_one(1))
}
