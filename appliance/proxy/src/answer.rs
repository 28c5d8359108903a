//! The proxy's own answers, as plain as HAProxy's.

use crate::message::put_number;

/// Title and sentence for a status.
const fn words(status: u16) -> (&'static str, &'static str) {
    match status {
        400 => ("Bad request", "Your browser sent an invalid request."),
        401 => ("Unauthorized", "You have no access to this."),
        403 => ("Forbidden", "Request forbidden by administrative rules."),
        404 => ("Not Found", "The resource could not be found."),
        405 => (
            "Method Not Allowed",
            "A request was made of a resource using a request method not supported by that resource.",
        ),
        408 => ("Request Time-out", "Your browser didn't send a complete request in time."),
        410 => ("Gone", "The resource is no longer available and will not be available again."),
        413 => ("Payload Too Large", "The request entity is too large."),
        414 => ("URI Too Long", "The address your browser asked for is too long."),
        425 => ("Too Early", "The request came too early."),
        429 => ("Too Many Requests", "You have sent too many requests in a given amount of time."),
        431 => (
            "Request Header Fields Too Large",
            "Your browser sent more header fields than can be handled.",
        ),
        500 => ("Internal Server Error", "An internal server error occurred."),
        501 => ("Not Implemented", "The request uses a transfer coding that is not implemented."),
        502 => ("Bad Gateway", "The server returned an invalid or incomplete response."),
        503 => ("Service Unavailable", "No server is available to handle this request."),
        504 => ("Gateway Time-out", "The server didn't respond in time."),
        _ => ("Error", "The request could not be served."),
    }
}

/// Appends a whole response.
pub(crate) fn put(out: &mut Vec<u8>, status: u16, close: bool, is_head: bool) {
    let (title, sentence) = words(status);
    let number = itoa::Buffer::new().format(status).to_owned();
    let length = 39 + number.len() + title.len() + sentence.len();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(number.as_bytes());
    out.push(b' ');
    out.extend_from_slice(title.as_bytes());
    out.extend_from_slice(b"\r\nContent-Length: ");
    put_number(out, length);
    out.extend_from_slice(b"\r\nCache-Control: no-cache\r\nContent-Type: text/html\r\n");
    if close {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
    if !is_head {
        for part in
            ["<html><body><h1>", &number, " ", title, "</h1>\n", sentence, "\n</body></html>"]
        {
            out.extend_from_slice(part.as_bytes());
        }
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_right() {
        for status in [400, 405, 408, 414, 431, 500, 501, 502, 503, 504, 599] {
            let mut out = Vec::new();
            put(&mut out, status, true, false);
            let text = String::from_utf8(out).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{text}");
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")));
        }
        let mut out = Vec::new();
        put(&mut out, 503, false, true);
        assert!(out.ends_with(b"\r\n\r\n"));
    }
}
