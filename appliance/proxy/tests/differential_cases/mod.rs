//! The grammar of the cases, and the reasons for differences.
#![allow(dead_code, unreachable_pub, reason = "a part of one test")]

mod reasons;

use noise::Noise;
pub use reasons::{HAPROXY, REASONS, WE};

/// A visitor's bytes.
pub struct Case {
    pub bytes: Vec<u8>,
}

/// One of these words.
fn word<'a>(noise: &mut Noise, all: &[&'a [u8]]) -> &'a [u8] {
    noise.pick::<&[u8]>(all)
}

/// What must never become a request of its own, unless both see it.
const SMUGGLED: &[u8] = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";

const METHODS: [&[u8]; 6] = [b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"HEAD"];
const ODD_METHODS: [&[u8]; 7] = [b"PATCH", b"get", b"G@T", b"CONNECT", b"", b"TRACE", b"GE\0T"];

const ODD_TARGETS: [&[u8]; 20] = [
    b"*",
    b"http://h/x",
    b"http://h:80/x",
    b"http://g/x",
    b"//x/y",
    b"/a#b",
    b"/%00",
    b"/\xff",
    b"h:80",
    b"https://h/x",
    b"http://u@h/x",
    b"http://h",
    b"/a b",
    b"",
    b"/\0",
    b"HTTP://h/",
    b"/..//a",
    b"http://h?a=b",
    b"http:///x",
    b"/\x7f",
];

const ODD_VERSIONS: [&[u8]; 10] = [
    b" HTTP/1.0",
    b" HTTP/1.0",
    b" HTTP/1.0",
    b" HTTP/1.2",
    b" HTTP/2.0",
    b" http/1.1",
    b" HTTP/1.1 ",
    b"",
    b"  HTTP/1.1",
    b" HTTP/1.10",
];

const ODD_HOSTS: [&[u8]; 19] = [
    b"",
    b"Host: h\r\nHost: h\r\n",
    b"Host: h\r\nHost: g\r\n",
    b"Host:\r\n",
    b"Host: h:80\r\n",
    b"Host : h\r\n",
    b"host:h\r\n",
    b" Host: h\r\n",
    b"Host: h, g\r\n",
    b"Host:\th \r\n",
    b"Host: h\r\n g\r\n",
    b"Host: u@h\r\n",
    b"Host: h/x\r\n",
    b"Host: [::1]:8080\r\n",
    b"Host: h:x\r\n",
    b"Host: h\0\r\n",
    b"Host: \x80\r\n",
    b"Host: h\n",
    b"Host: h:99999\r\n",
];

/// Fields beside Host and framing.
const FIELDS: [&[u8]; 6] = [
    b"Accept: */*\r\n",
    b"Cookie: a=b\r\n",
    b"X-Long: 0123456789\r\n",
    b"Connection: keep-alive\r\n",
    b"User-Agent: test\r\n",
    b"X-Empty:\r\n",
];

const ODD_FIELDS: [&[u8]; 41] = [
    b"Expect: 100-continue\r\n",
    b"Expect: 100-continue\r\n",
    b"Expect: nothing\r\n",
    b"Connection: close\r\n",
    b"Connection: X-Priv\r\nX-Priv: 1\r\n",
    b"Connection: Content-Length\r\n",
    b"Connection: Transfer-Encoding\r\n",
    b"Connection: Host\r\n",
    b"Connection: close, keep-alive\r\n",
    b"Connection: \r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a2V5\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    b"Upgrade: foo\r\n",
    b"Connection: upgrade\r\nUpgrade: foo\r\n",
    b"Keep-Alive: 5\r\n",
    b"Proxy-Connection: close\r\n",
    b"TE: trailers\r\n",
    b"TE: gzip\r\n",
    b"X: a\r\n b\r\n",
    b"X: a\r\n\tb\r\n",
    b"X: a\0b\r\n",
    b"X: a\rb\r\n",
    b"X: a\nY: b\r\n",
    b"X : a\r\n",
    b"X\t: a\r\n",
    b": a\r\n",
    b"X\r\n",
    b"[X]: a\r\n",
    b"X(: a\r\n",
    b"X_A: b\r\n",
    b"X: \xff\r\n",
    b"X\xff: a\r\n",
    b"X: \x01\r\n",
    b"X: \x7f\r\n",
    b"X\0: a\r\n",
    b"\r\n",
    b"X:a\r\n",
    b"Trailer: X\r\n",
    b"X:  a  \r\n",
];

const CODINGS: [&[u8]; 27] = [
    b"Transfer-Encoding: Chunked\r\n",
    b"Transfer-Encoding: chunked, chunked\r\n",
    b"Transfer-Encoding: ,chunked\r\n",
    b"Transfer-Encoding: chunked,\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: chunked, gzip\r\n",
    b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding: \x0bchunked\r\n",
    b"Transfer-Encoding: chunked\0\r\n",
    b"Transfer-Encoding: chunked \r\n",
    b"Transfer-Encoding:chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding: chunked;q=1\r\n",
    b"Transfer-Encoding: \"chunked\"\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Transfer_Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    b"Transfer-Encoding:\r\n chunked\r\n",
    b"Transfer-Encoding:\r\n",
    b"X: y\r\n\
    Transfer-Encoding: chunked\n",
    b"Transfer-Encoding\r\n",
    b"Transfer-Encoding: chunk\r\n",
    b"Transfer-Encoding: chunked\r\nX: y\r\n z\r\n",
    b" Transfer-Encoding: chunked\r\n",
    b"\tTransfer-Encoding: chunked\r\n",
];

const SIZES: [&[u8]; 17] = [
    b"05",
    b"5;a=b",
    b"5 ;a",
    b"5\t",
    b"5 ",
    b" 5",
    b"0x5",
    b"+5",
    b"5_",
    b"-5",
    b"5;\n",
    b"5;a\0b",
    b"",
    b"FFFFFFFFFFFFFFFFF5",
    b"00000000000000005",
    b"5;a=\"b\r\n\"",
    b"5;a\rb",
];

const CHUNK_ENDS: [&[u8]; 6] = [b"\n", b"\r", b"", b"XX", b"\r\n\r\n", b"\r\r\n"];

const LASTS: [&[u8]; 11] = [
    b"000\r\n\r\n",
    b"0;x\r\n\r\n",
    b"0\r\nX: y\r\n\r\n",
    b"0\r\nContent-Length: 3\r\n\r\n",
    b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"0\r\nX: y\n\r\n",
    b"0\r\nX: y\r\n z\r\n\r\n",
    b"0\r\nnothing\r\n\r\n",
    b"0\r\n",
    b"0\n\n",
    b"0\r\nHost: g\r\n\r\n",
];

/// What bytes are replaced with here and there.
const WORDS: [&[u8]; 14] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b":",
    b" ",
    b"\t",
    b",",
    b";",
    b"0",
    b"\r\n\r\n",
    b"\xff",
    b"",
    b"chunked",
];

impl Case {
    /// The case of this number, always the same.
    pub fn new(number: u64) -> Self {
        let mut noise = Noise::new(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..4 {
            noise.number();
        }
        let mut bytes = Vec::new();
        for n in 0..=noise.below(3) {
            request(&mut noise, &mut bytes, n);
        }
        if noise.one_in(8) {
            let from = noise.below(bytes.len());
            let to = (from + noise.below(3)).min(bytes.len());
            let word = word(&mut noise, &WORDS);
            bytes.splice(from..to, word.iter().copied());
        }
        if noise.one_in(20) {
            let length = noise.below(bytes.len()) + 1;
            bytes.truncate(length);
        }
        Self { bytes }
    }
}

/// One request, with something odd about it more often than not.
fn request(noise: &mut Noise, out: &mut Vec<u8>, n: usize) {
    // The place of the oddity; the last numbers are none.
    let odd = noise.below(14);
    let also = noise.below(60);
    let is = |place: usize| odd == place || also == place;
    if is(0) {
        out.extend_from_slice(word(noise, &[b"\r\n", b"\n", b" ", b"\r\n\r\n", b"\r", b"\0"]));
    }
    let method = word(noise, if is(1) { &ODD_METHODS } else { &METHODS });
    out.extend_from_slice(method);
    out.extend_from_slice(if is(2) { word(noise, &[b"  ", b"\t", b" \t"]) } else { b" " });
    if is(3) {
        out.extend_from_slice(word(noise, &ODD_TARGETS));
    } else {
        out.extend_from_slice(format!("/{n}?a=b").as_bytes());
    }
    out.extend_from_slice(if is(4) { word(noise, &ODD_VERSIONS) } else { b" HTTP/1.1" });
    let mut body = Vec::new();
    let mut fields: Vec<Vec<u8>> = Vec::new();
    fields.push(if is(5) { word(noise, &ODD_HOSTS) } else { b"Host: h\r\n" }.to_vec());
    for _ in 0..noise.below(3) {
        fields.push(word(noise, &FIELDS).to_vec());
    }
    if is(6) || is(7) {
        fields.push(word(noise, &ODD_FIELDS).to_vec());
    }
    framing(noise, &is, &mut fields, &mut body);
    if noise.one_in(3) {
        let at = noise.below(fields.len());
        fields.rotate_left(at);
    }
    let bare = is(8) && noise.one_in(2);
    out.extend_from_slice(if bare { b"\n" } else { b"\r\n" });
    for field in &fields {
        out.extend_from_slice(field);
    }
    out.extend_from_slice(if is(8) && noise.one_in(2) { b"\n" } else { b"\r\n" });
    out.extend_from_slice(&body);
}

/// How the body ends, as the fields say and as it does.
fn framing(
    noise: &mut Noise,
    is: &impl Fn(usize) -> bool,
    fields: &mut Vec<Vec<u8>>,
    body: &mut Vec<u8>,
) {
    match noise.below(4) {
        0 => {}
        1 => length(noise, is(9) || is(10), fields, body),
        _ => {
            let coding =
                if is(9) { word(noise, &CODINGS) } else { b"Transfer-Encoding: chunked\r\n" };
            fields.push(coding.to_vec());
            if is(10) {
                chunks(noise, true, body);
                let length = word(noise, &[b"0", b"3", b"5", b"99", b"x", b""]);
                fields.push([b"Content-Length: ", length, b"\r\n"].concat());
            } else {
                chunks(noise, is(11) || is(12), body);
            }
        }
    }
}

fn length(noise: &mut Noise, odd: bool, fields: &mut Vec<Vec<u8>>, body: &mut Vec<u8>) {
    body.extend_from_slice(if noise.one_in(2) { SMUGGLED } else { b"hello" });
    let n = body.len();
    let value = if odd {
        match noise.below(17) {
            0 => format!("+{n}"),
            1 => format!("{n}, {n}"),
            2 => format!("{n}\r\nContent-Length: {n}"),
            3 => format!("{n}\r\nContent-Length: 0"),
            4 => format!("0{n}"),
            5 => format!("-{n}"),
            6 => format!("0x{n:x}"),
            7 => String::new(),
            8 => format!("{}", n - 3),
            9 => format!("{}", n + 3),
            10 => "99999999999999999999".to_owned(),
            11 => format!("{n} 1"),
            12 => format!("\t{n} "),
            13 => format!("{n},"),
            14 => format!("\r\n {n}"),
            15 => format!("{n}\0"),
            _ => format!("0\r\nContent-Length: {n}"),
        }
    } else {
        n.to_string()
    };
    fields.push(format!("Content-Length: {value}\r\n").into_bytes());
}

fn chunks(noise: &mut Noise, odd: bool, body: &mut Vec<u8>) {
    let which = if odd { noise.below(4) } else { 4 };
    for n in 0..=noise.below(2) {
        let smuggled = noise.one_in(2);
        let data: &[u8] = if smuggled { SMUGGLED } else { b"hello" };
        if n == 0 && which == 0 {
            body.extend_from_slice(word(noise, &SIZES));
        } else if n == 0 && which == 1 {
            body.extend_from_slice(format!("{:x}", data.len() - 1 + noise.below(3)).as_bytes());
        } else {
            body.extend_from_slice(format!("{:x}", data.len()).as_bytes());
        }
        body.extend_from_slice(b"\r\n");
        // An odd size is one of five bytes.
        body.extend_from_slice(if n == 0 && which == 0 { b"hello" } else { data });
        let odd_end = n == 0 && which == 2;
        body.extend_from_slice(if odd_end { word(noise, &CHUNK_ENDS) } else { b"\r\n" });
    }
    body.extend_from_slice(if which == 3 { word(noise, &LASTS) } else { b"0\r\n\r\n" });
}
