//! Bodies in chunks.

use super::cuts;
use crate::framing::Body;
use crate::relay::encode_with;

/// What was understood of a body.
#[derive(Debug, Default, PartialEq, Eq)]
struct Decoded {
    content: Vec<u8>,
    consumed: usize,
    trailers: Vec<u8>,
    done: bool,
    bad: bool,
}

/// Decodes what comes in pieces of these lengths.
fn decode(bytes: &[u8], pieces: impl Iterator<Item = usize>) -> Decoded {
    let mut body = Body::chunked();
    let mut all = Decoded::default();
    let mut rest = bytes;
    for length in pieces {
        let (mut piece, behind) = rest.split_at(length.min(rest.len()));
        rest = behind;
        while !piece.is_empty() && !body.is_done() {
            let Ok(step) = body.step(piece) else {
                all.bad = true;
                return all;
            };
            assert!(step.consumed > 0 && step.consumed <= piece.len());
            assert!(step.data.end <= step.consumed);
            all.content.extend_from_slice(&piece[step.data]);
            all.consumed += step.consumed;
            piece = &piece[step.consumed..];
        }
    }
    all.done = body.is_done();
    if let Body::Chunked(chunks) = &body {
        if all.done {
            all.trailers = chunks.trailers().to_vec();
        }
    }
    all
}

/// A body in chunks, and what follows it.
pub fn body(bytes: &[u8]) {
    let whole = decode(bytes, std::iter::once(bytes.len()));
    for cut in cuts(bytes.len()) {
        let split = decode(bytes, [cut, bytes.len() - cut].into_iter());
        same(&split, &whole, cut);
    }
    let single = decode(bytes, std::iter::repeat_n(1, bytes.len()));
    same(&single, &whole, 1);
    let fresh = Body::chunked();
    assert!(whole.content.starts_with(fresh.first_content(bytes)) || whole.bad);
    assert!(fresh.has_first(bytes) || !whole.done);
    if !whole.bad {
        for cut in [bytes.len(), bytes.len() / 2, bytes.len() / 3] {
            recoded(bytes, cut, &whole, true);
            recoded(bytes, cut, &whole, false);
        }
    }
}

fn same(a: &Decoded, b: &Decoded, cut: usize) {
    if a.bad && b.bad {
        // How much was understood before the fault may differ by what stood in front of it.
        return assert_eq!(a.content, b.content, "cut at {cut}");
    }
    assert_eq!(a, b, "cut at {cut}");
}

/// What is sent on is the same content, framed so that it is understood.
fn recoded(bytes: &[u8], cut: usize, whole: &Decoded, trailers: bool) {
    let mut body = Body::chunked();
    let mut out = Vec::new();
    let mut used = 0;
    for end in [cut, bytes.len()] {
        match encode_with(&mut body, &bytes[used..end], &mut out, trailers) {
            Ok(n) => used += n,
            // Trailers are read only in the end, and only where they are sent on.
            Err(()) => return assert!(trailers && !whole.trailers.is_empty()),
        }
    }
    assert_eq!(used, whole.consumed);
    let next = decode(&out, std::iter::once(out.len()));
    assert_eq!((&next.content, next.done), (&whole.content, whole.done));
    assert_eq!(next.consumed, out.len(), "bytes behind the end");
    assert!(!next.bad, "we would not accept it");
    assert!(trailers || next.trailers.is_empty());
    for line in next.trailers.split(|b| *b == b'\n') {
        let name = line.split(|b| *b == b':').next().unwrap_or_default();
        for framing in [&b"content-length"[..], b"transfer-encoding", b"host", b"connection"] {
            assert!(!name.eq_ignore_ascii_case(framing), "a trailer about framing was sent on");
        }
    }
}
