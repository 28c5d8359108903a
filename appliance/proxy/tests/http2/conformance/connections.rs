//! Frames that concern the connection, and how heads are coded (RFC 9113 4 and 6, RFC 7541).

use super::{CODE, Case, GET, WHOLE, head, request};
use crate::raw::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY,
    PUSH_PROMISE, SETTINGS, WINDOW_UPDATE, block, frame, integer, string,
};

/// Frames, of which no stream comes.
fn frames(name: &'static str, frames: &[(u8, u8, u32, &[u8])], ours: &'static str) -> Case {
    let all = frames.iter().flat_map(|(kind, flags, stream, p)| frame(*kind, *flags, *stream, p));
    Case::new(name, all.collect(), ours).streams(&[])
}

/// A request that is still open, and then frames.
fn within(name: &'static str, after: &[(u8, u8, u32, &[u8])], ours: &'static str) -> Case {
    let mut case = frames(name, after, ours).streams(&[1]);
    case.bytes.splice(0..0, head(1, &GET));
    case
}

/// A head's block as it is.
fn coded(name: &'static str, block: &[u8], ours: &'static str) -> Case {
    frames(name, &[(HEADERS, END_HEADERS | END_STREAM, 1, block)], ours).streams(&[1])
}

fn setting(id: u8, value: u32) -> Vec<u8> {
    [&[0, id][..], &value.to_be_bytes()].concat()
}

/// `GET` by the static table, and a block behind it.
fn indexed(rest: &[u8]) -> Vec<u8> {
    let mut out = vec![0x82, 0x87, 0x84, 0x01];
    string(&mut out, b"a.example");
    out.extend_from_slice(rest);
    out
}

pub fn table() -> Vec<Case> {
    let (zero, one, most) = ([0; 4], [0, 0, 0, 1], [0x7f, 0xff, 0xff, 0xff]);
    let whole = block(&GET);
    let (first, second) = whole.split_at(20);
    let large = vec![b'a'; 16_385];
    let full = vec![b'a'; 16_384];
    vec![
        // 6.9: windows.
        frames(
            "a window that grows by nothing",
            &[(WINDOW_UPDATE, 0, 0, &zero)],
            "goaway PROTOCOL_ERROR",
        ),
        within(
            "a stream's window that grows by nothing",
            &[(WINDOW_UPDATE, 0, 1, &zero)],
            "goaway PROTOCOL_ERROR",
        )
        .but("PROTOCOL_ERROR", WHOLE),
        frames("a window beyond all", &[(WINDOW_UPDATE, 0, 0, &most)], "goaway FLOW_CONTROL_ERROR"),
        within(
            "a stream's window beyond all",
            &[(WINDOW_UPDATE, 0, 1, &most)],
            "FLOW_CONTROL_ERROR",
        ),
        frames(
            "a window of three bytes",
            &[(WINDOW_UPDATE, 0, 0, &[0, 0, 1])],
            "goaway PROTOCOL_ERROR",
        )
        .but("goaway FRAME_SIZE_ERROR", CODE),
        frames("a window of no stream", &[(WINDOW_UPDATE, 0, 1, &one)], "goaway PROTOCOL_ERROR"),
        // 6.5: settings.
        frames(
            "settings of five bytes",
            &[(SETTINGS, 0, 0, &[0, 3, 0, 0, 0])],
            "goaway PROTOCOL_ERROR",
        )
        .but("goaway FRAME_SIZE_ERROR", CODE),
        frames("settings of a stream", &[(SETTINGS, 0, 1, &[])], "goaway PROTOCOL_ERROR"),
        frames(
            "confirmed settings that say something",
            &[(SETTINGS, ACK, 0, &setting(3, 1))],
            "goaway PROTOCOL_ERROR",
        )
        .but("goaway FRAME_SIZE_ERROR", CODE),
        frames(
            "a push that is neither on nor off",
            &[(SETTINGS, 0, 0, &setting(2, 2))],
            "goaway PROTOCOL_ERROR",
        ),
        frames(
            "a first window beyond all",
            &[(SETTINGS, 0, 0, &setting(4, 1 << 31))],
            "goaway PROTOCOL_ERROR",
        )
        .but("goaway FLOW_CONTROL_ERROR", CODE),
        frames(
            "frames of 100 bytes",
            &[(SETTINGS, 0, 0, &setting(5, 100))],
            "goaway PROTOCOL_ERROR",
        ),
        frames(
            "frames of 16 MiB",
            &[(SETTINGS, 0, 0, &setting(5, 1 << 24))],
            "goaway PROTOCOL_ERROR",
        ),
        frames("a setting nobody knows", &[(SETTINGS, 0, 0, &setting(0x99, 1))], ""),
        // 6.7: pings.
        frames("a ping of seven bytes", &[(PING, 0, 0, &[0; 7])], "goaway PROTOCOL_ERROR")
            .but("goaway FRAME_SIZE_ERROR", CODE),
        frames("a ping of a stream", &[(PING, 0, 1, &[0; 8])], "goaway PROTOCOL_ERROR"),
        frames("the answer to a ping nobody sent", &[(PING, ACK, 0, &[0; 8])], ""),
        // 6.3, 6.6, 6.8.
        frames("a priority of four bytes", &[(PRIORITY, 0, 1, &zero)], "goaway PROTOCOL_ERROR")
            .but("goaway FRAME_SIZE_ERROR", CODE),
        frames("a priority of stream 0", &[(PRIORITY, 0, 0, &[0; 5])], "goaway PROTOCOL_ERROR"),
        frames("a priority of no stream", &[(PRIORITY, 0, 1, &[0; 5])], ""),
        frames(
            "a promise",
            &[(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82])],
            "goaway PROTOCOL_ERROR",
        ),
        frames("a farewell of a stream", &[(GOAWAY, 0, 1, &[0; 8])], "goaway PROTOCOL_ERROR"),
        frames("a farewell of seven bytes", &[(GOAWAY, 0, 0, &[0; 7])], "goaway PROTOCOL_ERROR")
            .but("goaway FRAME_SIZE_ERROR", CODE),
        // 4.1 and 4.2: frames.
        frames("a kind nobody knows", &[(0x42, 0xff, 0, b"abc")], ""),
        within("a frame that is too long", &[(DATA, 0, 1, &large)], "goaway FRAME_SIZE_ERROR"),
        within("a frame as long as may be", &[(DATA, END_STREAM, 1, &full)], "200"),
        // 6.10: heads in parts.
        frames(
            "a head in parts",
            &[(HEADERS, END_STREAM, 1, first), (CONTINUATION, END_HEADERS, 1, second)],
            "200",
        )
        .streams(&[1]),
        frames(
            "the second part of nothing",
            &[(CONTINUATION, END_HEADERS, 1, second)],
            "goaway PROTOCOL_ERROR",
        ),
        frames(
            "a head in parts of two streams",
            &[(HEADERS, END_STREAM, 1, first), (CONTINUATION, END_HEADERS, 3, second)],
            "goaway PROTOCOL_ERROR",
        ),
        frames(
            "something between parts",
            &[
                (HEADERS, END_STREAM, 1, first),
                (PING, 0, 0, &[0; 8]),
                (CONTINUATION, END_HEADERS, 1, second),
            ],
            "goaway PROTOCOL_ERROR",
        ),
        frames(
            "a kind nobody knows between parts",
            &[
                (HEADERS, END_STREAM, 1, first),
                (0x42, 0, 0, b""),
                (CONTINUATION, END_HEADERS, 1, second),
            ],
            "goaway PROTOCOL_ERROR",
        ),
        // RFC 7541.
        coded("fields of the table", &indexed(&[]), "200"),
        coded("field 0", &indexed(&[0x80]), "goaway PROTOCOL_ERROR")
            .but("goaway COMPRESSION_ERROR", CODE),
        coded("a field beyond the table", &indexed(&[0xff, 0x80, 0x01]), "goaway PROTOCOL_ERROR")
            .but("goaway COMPRESSION_ERROR", CODE),
        coded("a number without an end", &indexed(&[0xff, 0x80, 0x80]), "goaway PROTOCOL_ERROR")
            .but("goaway COMPRESSION_ERROR", CODE),
        coded(
            "a number beyond all",
            &indexed(&[&[0xff][..], &[0xff; 10], &[0x01]].concat()),
            "goaway PROTOCOL_ERROR",
        )
        .but("goaway COMPRESSION_ERROR", CODE),
        coded(
            "a value cut off",
            &indexed(&[0x00, 0x01, b'x', 0x05, b'a']),
            "goaway PROTOCOL_ERROR",
        )
        .but("goaway COMPRESSION_ERROR", CODE),
        coded(
            "Huffman filled up with zeros",
            &indexed(&[0x00, 0x01, b'x', 0x81, 0x00]),
            "goaway PROTOCOL_ERROR",
        )
        .but("goaway COMPRESSION_ERROR", CODE),
        coded(
            "Huffman filled up with a byte",
            &indexed(&[0x00, 0x01, b'x', 0x82, 0x1f, 0xff]),
            "goaway PROTOCOL_ERROR",
        )
        .but("goaway COMPRESSION_ERROR", CODE),
        coded(
            "the end as a sign",
            &indexed(&[0x00, 0x01, b'x', 0x84, 0xff, 0xff, 0xff, 0xff]),
            "goaway PROTOCOL_ERROR",
        )
        .but("goaway COMPRESSION_ERROR", CODE),
        coded("a table larger than was offered", &table_of(1 << 20), "goaway PROTOCOL_ERROR")
            .but("goaway COMPRESSION_ERROR", CODE),
        coded("a table's size behind a field", &indexed(&[0x20]), "goaway PROTOCOL_ERROR")
            .but("goaway COMPRESSION_ERROR", CODE),
        coded("a smaller table", &table_of(100), "200"),
        coded("a head of nothing", &[], "PROTOCOL_ERROR")
            .but("goaway FRAME_SIZE_ERROR", "the frame is as it should be, the request is not"),
        // 3.4: a greeting in the middle.
        Case::new(
            "a greeting in the middle",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            "goaway FRAME_SIZE_ERROR",
        )
        .streams(&[]),
        Case::new("nothing", Vec::new(), "").streams(&[]),
        Case::new("a request", request(1, &GET), "200"),
    ]
}

/// Another size of the table, and then a request.
fn table_of(size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    integer(&mut out, 0x20, 5, size);
    out.extend(indexed(&[]));
    out
}
