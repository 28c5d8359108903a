//! HTTP/2 frame by frame (RFC 9113 4.1), so that everything can be sent that must not be.

use crate::common::PATIENCE;
use crate::common::tls::{Tls, client};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Instant;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const PRIORITIZED: u8 = 0x20;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// `SETTINGS_HEADER_TABLE_SIZE` 0: what is answered can be read without a table.
const NO_TABLE: [u8; 6] = [0, 1, 0, 0, 0, 0];

/// The names of RFC 9113 section 7.
const CODES: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    let mut out = length.to_be_bytes()[1..].to_vec();
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// A list of fields as literals that go into no table (RFC 7541 6.2.2), names as they are.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        string(&mut out, name.as_bytes());
        string(&mut out, value.as_bytes());
    }
    out
}

/// A string without Huffman coding (RFC 7541 5.2).
pub fn string(out: &mut Vec<u8>, text: &[u8]) {
    integer(out, 0, 7, text.len());
    out.extend_from_slice(text);
}

/// A number behind `bits` of a byte whose others are `first` (RFC 7541 5.1).
pub fn integer(out: &mut Vec<u8>, first: u8, bits: u32, mut value: usize) {
    let most = (1_usize << bits) - 1;
    if value < most {
        return out.push(first | u8::try_from(value).unwrap());
    }
    out.push(first | u8::try_from(most).unwrap());
    value -= most;
    while value >= 128 {
        out.push(u8::try_from(value % 128).unwrap() | 128);
        value /= 128;
    }
    out.push(u8::try_from(value).unwrap());
}

/// What there is of an answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: Option<u16>,
    pub body: Vec<u8>,
    /// With this status the head came, and then this reset.
    pub reset: Option<&'static str>,
    pub ended: bool,
}

/// A connection.
pub struct Raw {
    io: Box<dyn Wire>,
    buffer: Vec<u8>,
    pub answers: BTreeMap<u32, Answer>,
    pub pongs: BTreeSet<[u8; 8]>,
    pub settings: Vec<(u16, u32)>,
    pub goaway: Option<&'static str>,
    pub closed: bool,
}

trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

impl Raw {
    /// With TLS, as visitors come.
    pub fn secure(port: u16) -> Self {
        let tls = Tls::to(port, "a.example", &client(rustls::ALL_VERSIONS, &["h2"])).unwrap();
        Self::over(Box::new(tls.io))
    }

    /// Without, to who takes it at its word.
    pub fn plain(port: u16) -> Self {
        let io = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        io.set_read_timeout(Some(PATIENCE)).unwrap();
        io.set_nodelay(true).unwrap();
        Self::over(Box::new(io))
    }

    fn over(io: Box<dyn Wire>) -> Self {
        Self {
            io,
            buffer: Vec::new(),
            answers: BTreeMap::new(),
            pongs: BTreeSet::new(),
            settings: Vec::new(),
            goaway: None,
            closed: false,
        }
    }

    /// Says hello as it should be.
    pub fn greet(&mut self) {
        let mut out = PREFACE.to_vec();
        out.extend(frame(SETTINGS, 0, 0, &NO_TABLE));
        self.send(&out);
    }

    /// The other side may have hung up already; what it said is what counts.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.io.write_all(bytes).and_then(|()| self.io.flush());
    }

    /// Reads until `enough`, the end of the connection or of all patience; which of the first two
    /// it was.
    pub fn read(&mut self, enough: impl Fn(&Self) -> bool) -> bool {
        let deadline = Instant::now() + 2 * PATIENCE;
        let mut part = vec![0; 64 * 1024];
        loop {
            while let Some((kind, flags, stream, payload)) = self.next() {
                self.take(kind, flags, stream, &payload);
            }
            if enough(self) {
                return true;
            }
            if self.closed {
                return false;
            }
            assert!(Instant::now() < deadline, "gave up waiting with {:?}", self.answers);
            match self.io.read(&mut part) {
                Ok(n) if n > 0 => self.buffer.extend_from_slice(&part[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                _ => self.closed = true,
            }
        }
    }

    /// Until the stream is answered or reset.
    pub fn read_stream(&mut self, stream: u32) -> bool {
        self.read(|raw| raw.answers.get(&stream).is_some_and(|a| a.ended))
    }

    fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let [a, b, c, kind, flags, s @ ..] = *self.buffer.first_chunk::<9>()?;
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap();
        let all = self.buffer.get(9..9 + length)?.to_vec();
        self.buffer.drain(..9 + length);
        Some((kind, flags, u32::from_be_bytes(s) & 0x7fff_ffff, all))
    }

    fn take(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let code = |at: usize| {
            let code = payload.get(at..at + 4).and_then(|b| b.try_into().ok());
            let code = usize::try_from(code.map_or(u32::MAX, u32::from_be_bytes)).unwrap();
            CODES.get(code).copied().unwrap_or("an unknown code")
        };
        match kind {
            HEADERS | DATA => {
                let answer = self.answers.entry(stream).or_default();
                if kind == DATA {
                    answer.body.extend_from_slice(payload);
                } else if answer.status.is_none_or(|s| s < 200) {
                    answer.status = Some(status(payload));
                }
                answer.ended |= flags & END_STREAM != 0;
            }
            RST_STREAM => {
                let answer = self.answers.entry(stream).or_default();
                // Behind a whole answer it only says that the rest of the request is not wanted.
                if !answer.ended {
                    answer.reset = Some(code(0));
                }
                answer.ended = true;
            }
            SETTINGS if flags & ACK == 0 => {
                for pair in payload.chunks_exact(6) {
                    let value = u32::from_be_bytes(pair[2..].try_into().unwrap());
                    self.settings.push((u16::from_be_bytes([pair[0], pair[1]]), value));
                }
            }
            PING if flags & ACK != 0 => {
                self.pongs.insert(payload.try_into().unwrap());
            }
            GOAWAY => self.goaway = Some(code(4)),
            _ => {}
        }
    }
}

/// The status of a head: `:status` comes first. From the static table, or as a literal with or
/// without Huffman coding (RFC 7541 appendices A and B).
fn status(block: &[u8]) -> u16 {
    let from = block.iter().position(|b| b & 0xe0 != 0x20).unwrap();
    let digits = match &block[from..] {
        [indexed @ 0x88..=0x8e, ..] => {
            return [200, 204, 206, 304, 400, 404, 500][usize::from(indexed & 0x7f) - 8];
        }
        [0x08..=0x0e | 0x18..=0x1e | 0x48..=0x4e, length, rest @ ..] => {
            let text = &rest[..usize::from(length & 0x7f)];
            if length & 0x80 == 0 { text.to_vec() } else { huffman_digits(text) }
        }
        other => unreachable!("no status: {other:02x?}"),
    };
    std::str::from_utf8(&digits).unwrap().parse().unwrap()
}

/// 0, 1 and 2 have five bits, the other digits six.
fn huffman_digits(text: &[u8]) -> Vec<u8> {
    let bits: Vec<u8> = text.iter().flat_map(|b| (0..8).rev().map(move |i| b >> i & 1)).collect();
    let number = |bits: &[u8]| bits.iter().fold(0, |n, b| n * 2 + b);
    let (mut at, mut out) = (0, Vec::new());
    while out.len() < 3 {
        let short = number(&bits[at..at + 5]);
        if short < 3 {
            out.push(b'0' + short);
            at += 5;
        } else {
            out.push(b'3' + number(&bits[at..at + 6]) - 0x19);
            at += 6;
        }
    }
    out
}
