//! Content, its length, trailers, and the states of a stream (RFC 9113 8.1 and 5.1).

use super::{CODE, Case, FAULT, GET, MALFORMED, ONCE, ONLY, WHOLE, get_but, head, request};
use crate::raw::{
    DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, PRIORITIZED, RST_STREAM, block, frame,
};

fn post<'a>(fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&get_but(":method", Some("POST")), fields].concat()
}

/// `POST` with these fields, and what comes behind its head.
fn content(
    name: &'static str,
    fields: &[(&str, &str)],
    frames: &[(u8, u8, &[u8])],
    ours: &'static str,
) -> Case {
    let mut bytes = head(1, &post(fields));
    for (kind, flags, payload) in frames {
        bytes.extend(frame(*kind, *flags, 1, payload));
    }
    Case::new(name, bytes, ours)
}

pub fn table() -> Vec<Case> {
    let last = |payload: &'static [u8]| (DATA, END_STREAM, payload);
    let trailers = |fields: &[(&str, &str)]| block(fields);
    let three = [("content-length", "3")];
    let (sum, pseudo) =
        (trailers(&[("x-sum", "1")]), trailers(&[("x", "y"), (":path", "/hidden")]));
    let (upper, length) = (trailers(&[("X-Sum", "1")]), trailers(&[("content-length", "9")]));
    let hop = trailers(&[("connection", "x")]);
    let closed = END_HEADERS | END_STREAM;
    let twice = |first: Vec<u8>, second: Vec<u8>| [first, second].concat();
    vec![
        content("content", &[], &[last(b"abc")], "200"),
        content("content of a said length", &three, &[(DATA, 0, b"a"), last(b"bc")], "200"),
        content("no content", &[], &[last(b"")], "200"),
        content("a frame with nothing in it", &three, &[(DATA, 0, b""), last(b"abc")], "200"),
        Case::new("GET with content", twice(head(1, &GET), frame(DATA, 1, 1, b"abc")), "200"),
        Case::new("HEAD", request(1, &get_but(":method", Some("HEAD"))), "200"),
        // 8.1.1: lengths.
        content("less than was said", &three, &[last(b"ab")], "PROTOCOL_ERROR"),
        content("more than was said", &three, &[last(b"abcd")], "PROTOCOL_ERROR"),
        content(
            "more in another frame",
            &three,
            &[(DATA, 0, b"abc"), last(b"GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n")],
            "PROTOCOL_ERROR",
        ),
        Case::new("a length and nothing", request(1, &post(&three)), "PROTOCOL_ERROR")
            .but("200", "a length that is not kept is a fault (RFC 9113 8.1.1)"),
        Case::new("a length of 0", request(1, &post(&[("content-length", "0")])), "200"),
        content(
            "two lengths",
            &[("content-length", "3"), ("content-length", "4")],
            &[last(b"abc")],
            "PROTOCOL_ERROR",
        )
        .but("goaway PROTOCOL_ERROR", ONLY),
        content(
            "twice the same length",
            &[("content-length", "3"), ("content-length", "3")],
            &[last(b"abc")],
            "400",
        )
        .but("200", ONCE),
        content(
            "a list of lengths",
            &[("content-length", "3, 3")],
            &[last(b"abc")],
            "PROTOCOL_ERROR",
        )
        .but("200", ONCE),
        content("a length of +3", &[("content-length", "+3")], &[last(b"abc")], "PROTOCOL_ERROR")
            .but("goaway PROTOCOL_ERROR", ONLY),
        content("a negative length", &[("content-length", "-1")], &[last(b"")], "PROTOCOL_ERROR")
            .but("goaway PROTOCOL_ERROR", ONLY),
        content("an empty length", &[("content-length", "")], &[last(b"")], "400")
            .but("goaway PROTOCOL_ERROR", ONLY),
        content(
            "a length beyond numbers",
            &[("content-length", "18446744073709551617")],
            &[last(b"a")],
            "PROTOCOL_ERROR",
        )
        .but("goaway PROTOCOL_ERROR", ONLY),
        // 8.1: trailers.
        content("trailers", &[], &[(DATA, 0, b"abc"), (HEADERS, closed, &sum)], "200"),
        content("trailers alone", &[], &[(HEADERS, closed, &sum)], "200"),
        content(
            "trailers with a pseudo-header",
            &[],
            &[(HEADERS, closed, &pseudo)],
            "PROTOCOL_ERROR",
        )
        .but("INTERNAL_ERROR", FAULT),
        content(
            "trailers with uppercase",
            &[],
            &[(HEADERS, closed, &upper)],
            "goaway PROTOCOL_ERROR",
        )
        .but("INTERNAL_ERROR", MALFORMED),
        content(
            "trailers with a length",
            &[],
            &[(DATA, 0, b"abc"), (HEADERS, closed, &length)],
            "200",
        )
        .but("INTERNAL_ERROR", "what means nothing there is left out (RFC 9110 6.5.1)"),
        content(
            "trailers of a connection",
            &[],
            &[(DATA, 0, b"a"), (HEADERS, closed, &hop)],
            "PROTOCOL_ERROR",
        )
        .but("INTERNAL_ERROR", FAULT),
        content(
            "trailers that end nothing",
            &[],
            &[(HEADERS, END_HEADERS, &sum)],
            "PROTOCOL_ERROR",
        )
        .but("goaway PROTOCOL_ERROR", ONLY),
        // 6.1 and 6.2: padding, and a priority nobody follows.
        content("padding", &three, &[(DATA, PADDED | END_STREAM, b"\x02abc\0\0")], "200")
            .but("goaway FRAME_SIZE_ERROR", "padding is no content (RFC 9113 6.1)"),
        content(
            "padding longer than all",
            &[],
            &[(DATA, PADDED, b"\x09abc")],
            "goaway PROTOCOL_ERROR",
        ),
        content("padding without a length", &[], &[(DATA, PADDED, b"")], "goaway PROTOCOL_ERROR")
            .but("goaway FRAME_SIZE_ERROR", CODE),
        Case::new(
            "a priority",
            frame(HEADERS, closed | PRIORITIZED, 1, &[&[0, 0, 0, 0, 9][..], &block(&GET)].concat()),
            "200",
        ),
        Case::new(
            "a stream that depends on itself",
            frame(HEADERS, closed | PRIORITIZED, 1, &[&[0, 0, 0, 1, 9][..], &block(&GET)].concat()),
            "PROTOCOL_ERROR",
        )
        .but("goaway PROTOCOL_ERROR", ONLY),
        // 5.1: states.
        Case::new(
            "content behind the end",
            twice(request(1, &GET), frame(DATA, END_STREAM, 1, b"abc")),
            "goaway PROTOCOL_ERROR",
        )
        .but("STREAM_CLOSED", WHOLE),
        Case::new(
            "a request behind the end",
            twice(request(1, &GET), request(1, &get_but(":path", Some("/hidden")))),
            "goaway PROTOCOL_ERROR",
        ),
        Case::new(
            "content behind a reset",
            [head(1, &post(&[])), frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]), frame(DATA, 1, 1, b"a")]
                .concat(),
            "",
        )
        .streams(&[]),
        Case::new(
            "content of no stream",
            frame(DATA, END_STREAM, 1, b"abc"),
            "goaway PROTOCOL_ERROR",
        ),
        Case::new("an even stream", request(2, &GET), "goaway PROTOCOL_ERROR").streams(&[2]),
        Case::new("stream 0", request(0, &GET), "goaway PROTOCOL_ERROR").streams(&[]),
        Case::new(
            "a stream of the past",
            twice(request(5, &GET), request(3, &GET)),
            "goaway PROTOCOL_ERROR",
        )
        .but("goaway STREAM_CLOSED", CODE)
        .streams(&[5]),
        Case::new(
            "a reset of no stream",
            frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]),
            "goaway PROTOCOL_ERROR",
        )
        .streams(&[]),
        Case::new(
            "a reset of stream 0",
            frame(RST_STREAM, 0, 0, &[0, 0, 0, 8]),
            "goaway PROTOCOL_ERROR",
        )
        .streams(&[]),
        Case::new(
            "a reset that is too short",
            frame(RST_STREAM, 0, 1, &[0, 0, 8]),
            "goaway PROTOCOL_ERROR",
        )
        .but("goaway FRAME_SIZE_ERROR", CODE)
        .streams(&[]),
    ]
}
