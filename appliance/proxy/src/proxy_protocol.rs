//! The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt): who the visitor is, told
//! before anything else.

use model::SendProxy;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4};

/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1 (2.1 of the document).
const LINE: usize = 107;
/// Version 2 may carry more than addresses; beyond this nobody means well.
const V2_LIMIT: usize = 16 + 2048;

/// Source and destination of a visitor's connection.
pub(crate) type Ends = (SocketAddrV4, SocketAddrV4);

/// What became of reading a header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// More bytes are needed.
    Partial,
    /// It is `len` bytes long and tells these ends; None where the connection is the proxy's own
    /// (a check), or of a kind we do not balance: then the connection's real ends count.
    Whole { ends: Option<Ends>, len: usize },
    /// It is no header.
    Bad,
}

/// Writes a header; None: the connection is our own.
pub(crate) fn put(out: &mut Vec<u8>, version: SendProxy, ends: Option<Ends>) {
    match (version, ends) {
        (SendProxy::Off, _) => {}
        (SendProxy::V1, None) => out.extend_from_slice(b"PROXY UNKNOWN\r\n"),
        (SendProxy::V1, Some((from, to))) => {
            // Writing into a Vec cannot fail.
            let _ = write!(
                out,
                "PROXY TCP4 {} {} {} {}\r\n",
                from.ip(),
                to.ip(),
                from.port(),
                to.port()
            );
        }
        (SendProxy::V2, None) => {
            out.extend_from_slice(SIGNATURE);
            out.extend_from_slice(&[0x20, 0, 0, 0]);
        }
        (SendProxy::V2, Some((from, to))) => {
            out.extend_from_slice(SIGNATURE);
            out.extend_from_slice(&[0x21, 0x11, 0, 12]);
            out.extend_from_slice(&from.ip().octets());
            out.extend_from_slice(&to.ip().octets());
            out.extend_from_slice(&from.port().to_be_bytes());
            out.extend_from_slice(&to.port().to_be_bytes());
        }
    }
}

/// Reads a header of either version from the start of `input`.
pub(crate) fn parse(input: &[u8]) -> Header {
    if input.is_empty() {
        return Header::Partial;
    }
    let common = input.len().min(SIGNATURE.len());
    if input[..common] == SIGNATURE[..common] {
        return if common < SIGNATURE.len() { Header::Partial } else { version_2(input) };
    }
    version_1(input)
}

fn version_1(input: &[u8]) -> Header {
    const START: &[u8] = b"PROXY ";
    let common = input.len().min(START.len());
    if input[..common] != START[..common] {
        return Header::Bad;
    }
    let Some(end) = memchr::memchr(b'\n', &input[..input.len().min(LINE)]) else {
        return if input.len() >= LINE { Header::Bad } else { Header::Partial };
    };
    let Some(line) = input[..end].strip_suffix(b"\r").and_then(|l| l.strip_prefix(START)) else {
        return Header::Bad;
    };
    let len = end + 1;
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") || is_tcp6(line) {
        return Header::Whole { ends: None, len };
    }
    match tcp4(line) {
        Some(ends) => Header::Whole { ends: Some(ends), len },
        None => Header::Bad,
    }
}

fn words(line: &[u8]) -> Option<[&str; 5]> {
    let text = std::str::from_utf8(line).ok()?;
    let all: Vec<&str> = text.split(' ').take(6).collect();
    all.try_into().ok()
}

fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit());
    let no_zero = text == "0" || !text.starts_with('0');
    if plain && no_zero { text.parse().ok() } else { None }
}

fn tcp4(line: &[u8]) -> Option<Ends> {
    let [kind, from, to, from_port, to_port] = words(line)?;
    if kind != "TCP4" {
        return None;
    }
    let from = SocketAddrV4::new(from.parse::<Ipv4Addr>().ok()?, port(from_port)?);
    Some((from, SocketAddrV4::new(to.parse::<Ipv4Addr>().ok()?, port(to_port)?)))
}

fn is_tcp6(line: &[u8]) -> bool {
    words(line).is_some_and(|[kind, from, to, from_port, to_port]| {
        let v6 = |t: &str| t.parse::<std::net::Ipv6Addr>().is_ok();
        kind == "TCP6" && v6(from) && v6(to) && port(from_port).is_some() && port(to_port).is_some()
    })
}

fn version_2(input: &[u8]) -> Header {
    let Some(head) = input.get(12..16) else { return Header::Partial };
    let (version, command) = (head[0] >> 4, head[0] & 0xf);
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let len = 16 + length;
    if version != 2 || command > 1 || len > V2_LIMIT {
        return Header::Bad;
    }
    let Some(body) = input.get(16..len) else { return Header::Partial };
    if command == 0 {
        return Header::Whole { ends: None, len };
    }
    match head[1] {
        // TCP over IPv4.
        0x11 => {
            let Some(b) = body.get(..12) else { return Header::Bad };
            let ip = |at: usize| Ipv4Addr::new(b[at], b[at + 1], b[at + 2], b[at + 3]);
            let port = |at: usize| u16::from_be_bytes([b[at], b[at + 1]]);
            let from = SocketAddrV4::new(ip(0), port(8));
            Header::Whole { ends: Some((from, SocketAddrV4::new(ip(4), port(10)))), len }
        }
        // TCP over IPv6 must at least be long enough; unspecified and others have to be accepted.
        0x21 if length < 36 => Header::Bad,
        _ => Header::Whole { ends: None, len },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDS: &str = "192.168.0.1:56324";

    fn ends() -> Ends {
        (ENDS.parse().unwrap(), "192.168.0.11:443".parse().unwrap())
    }

    #[test]
    fn what_is_written_is_read() {
        for version in [SendProxy::V1, SendProxy::V2] {
            for told in [None, Some(ends())] {
                let mut out = Vec::new();
                put(&mut out, version, told);
                let len = out.len();
                for cut in 0..len {
                    assert_eq!(parse(&out[..cut]), Header::Partial, "{version} {cut}");
                }
                out.extend_from_slice(b"GET / HTTP/1.1\r\n");
                assert_eq!(parse(&out), Header::Whole { ends: told, len }, "{version}");
            }
        }
        let mut off = Vec::new();
        put(&mut off, SendProxy::Off, Some(ends()));
        assert!(off.is_empty());
    }

    #[test]
    fn the_documents_own_example() {
        let line = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET / HTTP/1.1\r\n";
        assert_eq!(parse(line), Header::Whole { ends: Some(ends()), len: 47 });
        let v6 = b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n";
        assert!(matches!(parse(v6), Header::Whole { ends: None, .. }));
        assert!(matches!(parse(b"PROXY UNKNOWN ffff::1 x y z\r\n"), Header::Whole { .. }));
    }

    #[test]
    fn what_is_no_header() {
        for bad in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PROXY\r\n",
            b"proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
            b"PROXY TCP4 1.1.1.1  2.2.2.2 1 2\r\n",
            b"PROXY TCP4 1.1.1.256 2.2.2.2 1 2\r\n",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n",
            b"PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\x0c............",
            b"\r\n\r\n\0\r\nQUIT\n\x22\x11\0\x0c............",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0b............",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x0c............",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
            b"\r\n\r\nX",
        ] {
            assert_eq!(parse(bad), Header::Bad, "{:?}", String::from_utf8_lossy(bad));
        }
        let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
        assert_eq!(parse(&long), Header::Bad);
    }

    /// Random bytes, and headers with bytes changed: never a panic, never more than there is.
    #[test]
    fn nothing_harms_the_reader() {
        let mut noise = noise::Noise::new(1);
        for round in 0..200_000_u64 {
            let mut bytes = Vec::new();
            let version = if round % 2 == 0 { SendProxy::V1 } else { SendProxy::V2 };
            put(&mut bytes, version, Some(ends()));
            for _ in 0..noise.below(4) {
                let at = noise.below(bytes.len());
                bytes[at] = noise.byte();
            }
            bytes.truncate(noise.below(bytes.len() + 1));
            if let Header::Whole { len, .. } = parse(&bytes) {
                assert!(len <= bytes.len(), "{bytes:?}");
            }
        }
    }
}
