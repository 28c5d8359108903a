//! Too much of one kind, none of which is wrong for itself.

use super::{CODE, Case, GET, get_but, get_with, head, request};
use crate::raw::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, block, frame, integer, string,
};

const MANY: usize = 400;

/// A request that is still open, and many frames alike.
fn many(name: &'static str, one: Vec<u8>, ours: &'static str) -> Case {
    let end = frame(DATA, END_STREAM, 1, b"");
    let post = get_but(":method", Some("POST"));
    Case::new(name, [head(1, &post), one.repeat(MANY), end].concat(), ours)
}

/// The streams of many requests.
fn streams() -> impl Iterator<Item = u32> {
    (1..).step_by(2).take(MANY)
}

/// A field for the table, and then a block of nothing but it.
fn bomb() -> Vec<u8> {
    let mut out = block(&GET);
    out.push(0x40);
    string(&mut out, b"x");
    string(&mut out, &[b'a'; 4000]);
    for _ in 0..8000 {
        integer(&mut out, 0x80, 7, 62);
    }
    out
}

pub fn table() -> Vec<Case> {
    let whole = block(&GET);
    let (first, second) = whole.split_at(20);
    let begun = frame(HEADERS, END_STREAM, 1, first);
    let nothing = frame(CONTINUATION, 0, 1, b"").repeat(MANY);
    let end = frame(CONTINUATION, END_HEADERS, 1, second);
    let parts = frame(CONTINUATION, 0, 1, &block(&[("x", "y")])).repeat(MANY);
    let cancelled = |stream| [head(stream, &GET), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])];
    vec![
        Case::new(
            "a head in parts of nothing",
            [begun, nothing, end].concat(),
            "goaway ENHANCE_YOUR_CALM",
        )
        .but("200", "it may go on for ever (CVE-2024-27316)"),
        Case::new(
            "a head in parts without an end",
            [frame(HEADERS, END_STREAM, 1, &whole), parts].concat(),
            "goaway ENHANCE_YOUR_CALM",
        )
        .but("goaway PROTOCOL_ERROR", CODE),
        Case::new(
            "a head that unpacks to 32 MB",
            frame(HEADERS, 5, 1, &bomb()),
            "goaway ENHANCE_YOUR_CALM",
        )
        .but("goaway COMPRESSION_ERROR", CODE),
        many("pings", frame(PING, 0, 0, &[7; 8]), "200"),
        many("settings", frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]), "200"),
        many("windows", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]), "200"),
        many("priorities", frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]), "200"),
        many("content of nothing", frame(DATA, 0, 1, b""), "goaway ENHANCE_YOUR_CALM")
            .but("200", "it costs us and brings nobody anything (CVE-2019-9518)"),
        many("content of one byte", frame(DATA, 0, 1, b"a"), "200"),
        Case::new(
            "requests that are given up at once",
            streams().flat_map(cancelled).flatten().collect(),
            "goaway ENHANCE_YOUR_CALM",
        )
        .but("", "each costs us a request to a server (CVE-2023-44487)")
        .streams(&[]),
        Case::new(
            "requests that are wrong",
            streams().flat_map(|s| request(s, &get_with(&[("connection", "x")]))).collect(),
            "goaway ENHANCE_YOUR_CALM",
        )
        .but("", "who asks wrongly 200 times does not err")
        .streams(&[]),
    ]
}
