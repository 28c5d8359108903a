//! Fields and pseudo-headers (RFC 9113 8.2 and 8.3).

use super::{AS_EVER, CODE, Case, GET, MALFORMED, WHO, get_but, get_with, head, request};

/// `GET` with one field more.
fn field(name: &'static str, field: (&str, &str), ours: &'static str) -> Case {
    Case::new(name, request(1, &get_with(&[field])), ours)
}

/// `GET` with another pseudo-header.
fn pseudo(name: &'static str, (pseudo, value): (&str, Option<&str>), ours: &'static str) -> Case {
    Case::new(name, request(1, &get_but(pseudo, value)), ours)
}

fn connect(protocol: &str) -> [(&str, &str); 5] {
    [(":method", "CONNECT"), (":protocol", protocol), GET[1], GET[2], GET[3]]
}

pub fn table() -> Vec<Case> {
    let long = "a".repeat(20_000);
    let target = format!("/{}", "a".repeat(15_000));
    let many: Vec<(&str, &str)> = vec![("x", "y"); 150];
    vec![
        Case::new("nothing odd", request(1, &GET), "200"),
        // 8.2.1: names and values.
        field("an uppercase name", ("X-A", "b"), "goaway PROTOCOL_ERROR")
            .but("PROTOCOL_ERROR", MALFORMED),
        field("an empty name", ("", "b"), "goaway PROTOCOL_ERROR")
            .but("goaway COMPRESSION_ERROR", CODE),
        field("a space in a name", ("x a", "b"), "goaway PROTOCOL_ERROR")
            .but("PROTOCOL_ERROR", MALFORMED),
        field("a colon in a name", ("x:a", "b"), "goaway PROTOCOL_ERROR")
            .but("PROTOCOL_ERROR", MALFORMED),
        field("a line end in a name", ("x\r\ny", "b"), "goaway PROTOCOL_ERROR")
            .but("PROTOCOL_ERROR", MALFORMED),
        field("NUL in a name", ("x\0", "b"), "goaway PROTOCOL_ERROR")
            .but("PROTOCOL_ERROR", MALFORMED),
        field("a byte beyond ASCII in a name", ("x\u{e9}", "b"), "goaway PROTOCOL_ERROR")
            .but("PROTOCOL_ERROR", MALFORMED),
        field("a line end in a value", ("x", "b\r\nhost: c"), "goaway PROTOCOL_ERROR")
            .but("PROTOCOL_ERROR", MALFORMED),
        field("CR in a value", ("x", "b\rc"), "goaway PROTOCOL_ERROR")
            .but("PROTOCOL_ERROR", MALFORMED),
        field("LF in a value", ("x", "b\nc"), "goaway PROTOCOL_ERROR")
            .but("PROTOCOL_ERROR", MALFORMED),
        field("NUL in a value", ("x", "b\0c"), "goaway PROTOCOL_ERROR")
            .but("PROTOCOL_ERROR", MALFORMED),
        field("DEL in a value", ("x", "b\x7fc"), "goaway PROTOCOL_ERROR")
            .but("200", "a control character is no part of a value (RFC 9110 5.5)"),
        field("a tab in a value", ("x", "b\tc"), "200"),
        field("bytes beyond ASCII in a value", ("x", "\u{e9}"), "200"),
        field("an empty value", ("x", ""), "200"),
        field("a space before a value", ("x", " b"), "200"),
        field("a space behind a value", ("x", "b "), "200"),
        // 8.2.2: fields of a connection.
        field("connection", ("connection", "close"), "PROTOCOL_ERROR"),
        field("keep-alive", ("keep-alive", "1"), "PROTOCOL_ERROR"),
        field("proxy-connection", ("proxy-connection", "close"), "PROTOCOL_ERROR"),
        field("transfer-encoding", ("transfer-encoding", "chunked"), "PROTOCOL_ERROR"),
        field("upgrade", ("upgrade", "websocket"), "PROTOCOL_ERROR"),
        field("te: gzip", ("te", "gzip"), "PROTOCOL_ERROR"),
        field("te: trailers", ("te", "trailers"), "200"),
        // 8.3: pseudo-headers.
        Case::new("two paths", request(1, &get_with(&[(":path", "/b")])), "PROTOCOL_ERROR"),
        Case::new("two methods", request(1, &get_with(&[(":method", "GET")])), "PROTOCOL_ERROR"),
        Case::new("two schemes", request(1, &get_with(&[(":scheme", "http")])), "PROTOCOL_ERROR"),
        Case::new(
            "two authorities",
            request(1, &get_with(&[(":authority", "a.example")])),
            "PROTOCOL_ERROR",
        ),
        pseudo("no method", (":method", None), "PROTOCOL_ERROR"),
        pseudo("no scheme", (":scheme", None), "PROTOCOL_ERROR"),
        pseudo("no path", (":path", None), "PROTOCOL_ERROR"),
        pseudo("an empty method", (":method", Some("")), "goaway PROTOCOL_ERROR")
            .but("PROTOCOL_ERROR", MALFORMED),
        pseudo("an empty scheme", (":scheme", Some("")), "400"),
        pseudo("an empty path", (":path", Some("")), "PROTOCOL_ERROR"),
        Case::new(
            "one there is not",
            request(1, &get_with(&[(":x", "y")])),
            "goaway PROTOCOL_ERROR",
        )
        .but("PROTOCOL_ERROR", MALFORMED),
        Case::new("one of answers", request(1, &get_with(&[(":status", "200")])), "PROTOCOL_ERROR"),
        Case::new(
            "one behind a field",
            request(1, &[GET[0], GET[1], GET[2], ("x", "y"), GET[3]]),
            "PROTOCOL_ERROR",
        ),
        // 8.3.1: the method and the target.
        pseudo("a method of its own", (":method", Some("PURGE")), "200"),
        pseudo("a method with a space", (":method", Some("GET /hidden")), "goaway PROTOCOL_ERROR")
            .but("400", MALFORMED),
        pseudo(
            "a request in a method",
            (":method", Some("GET /hidden HTTP/1.1\r\nhost: a\r\n\r\nGET")),
            "goaway PROTOCOL_ERROR",
        )
        .but("PROTOCOL_ERROR", MALFORMED),
        pseudo("a path without a slash", (":path", Some("a")), "PROTOCOL_ERROR"),
        pseudo("* for GET", (":path", Some("*")), "400")
            .but("200", "only OPTIONS may mean the server as a whole (RFC 9113 8.3.1)"),
        Case::new(
            "* for OPTIONS",
            request(1, &[(":method", "OPTIONS"), GET[1], GET[2], (":path", "*")]),
            "200",
        ),
        pseudo(
            "a whole address as the path",
            (":path", Some("http://b.example/")),
            "PROTOCOL_ERROR",
        ),
        pseudo("a space in the path", (":path", Some("/a b")), "PROTOCOL_ERROR"),
        pseudo("a fragment in the path", (":path", Some("/#hidden")), "200")
            .but("PROTOCOL_ERROR", "the library cuts it off: no server sees it"),
        pseudo("NUL in the path", (":path", Some("/a\0")), "PROTOCOL_ERROR"),
        pseudo(
            "a request in the path",
            (":path", Some("/ HTTP/1.1\r\nhost: a\r\n\r\nGET /hidden")),
            "PROTOCOL_ERROR",
        ),
        pseudo("another scheme", (":scheme", Some("ftp")), "400")
            .but("200", "there are web pages here and nothing else"),
        pseudo("the scheme http", (":scheme", Some("http")), "200"),
        pseudo("a scheme that is none", (":scheme", Some("h t")), "PROTOCOL_ERROR")
            .but("400", "either says that it is the visitor's fault"),
        // 8.3.1: who is meant.
        pseudo("a user in the authority", (":authority", Some("u@a.example")), "400")
            .but("200", WHO),
        pseudo("a line end in the authority", (":authority", Some("a\r\nx: y")), "PROTOCOL_ERROR"),
        pseudo("a path in the authority", (":authority", Some("a/hidden")), "PROTOCOL_ERROR")
            .but("200", WHO),
        pseudo("a port", (":authority", Some("a.example:8443")), "200"),
        pseudo("an empty authority", (":authority", Some("")), "PROTOCOL_ERROR").but("200", WHO),
        pseudo("nobody is meant", (":authority", None), "400").but("200", WHO),
        Case::new(
            "host instead of authority",
            request(1, &[GET[0], GET[1], GET[3], ("host", "a.example")]),
            "200",
        ),
        field("host as well", ("host", "a.example"), "200"),
        field("another host", ("host", "b.example"), "400").but("200", WHO),
        field("an empty host", ("host", ""), "400").but("200", WHO),
        Case::new(
            "two hosts",
            request(1, &[GET[0], GET[1], GET[3], ("host", "a.example"), ("host", "b.example")]),
            "400",
        )
        .but("200", WHO),
        // 8.5.
        Case::new(
            "CONNECT",
            request(1, &[(":method", "CONNECT"), (":authority", "a.example:443")]),
            "405",
        )
        .but("200", "nobody may go anywhere through us"),
        pseudo("CONNECT with a path", (":method", Some("CONNECT")), "PROTOCOL_ERROR"),
        // RFC 8441.
        Case::new("a WebSocket its server knows nothing of", head(1, &connect("websocket")), "502")
            .but("200", "a visitor takes any success for a WebSocket (RFC 8441 5)"),
        Case::new("another protocol", head(1, &connect("other")), "405")
            .but("200", "nobody may go anywhere through us"),
        Case::new(
            "a protocol for GET",
            request(1, &get_with(&[(":protocol", "websocket")])),
            "PROTOCOL_ERROR",
        )
        .but("200", "it is for CONNECT (RFC 8441 4)"),
        Case::new(
            "a WebSocket of a length",
            head(1, &[&connect("websocket")[..], &[("content-length", "3")]].concat()),
            "400",
        )
        .but("200", "what it carries is no content"),
        Case::new(
            "a WebSocket without a path",
            head(1, &connect("websocket")[..4]),
            "PROTOCOL_ERROR",
        ),
        // Too much.
        field("a field of 20 kB", ("x", &long), "431")
            .but("goaway INTERNAL_ERROR", "a request that is too long is no reason to end others"),
        pseudo("a path of 15 kB", (":path", Some(&target)), "414").but("200", AS_EVER),
        Case::new("150 fields", request(1, &get_with(&many)), "431").but("200", AS_EVER),
    ]
}
