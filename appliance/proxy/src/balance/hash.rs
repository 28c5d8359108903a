//! HAProxy's hash functions: the same text gives the same number, and so the same server.

use model::{HashFunction, HashType};

/// The hash of a text.
pub(crate) fn hash(kind: HashType, text: &[u8]) -> u32 {
    let plain = match kind.function {
        HashFunction::Sdbm => sdbm(text),
        HashFunction::Djb2 => djb2(text),
        HashFunction::Wt6 => wt6(text),
        HashFunction::Crc32 => crc32(text),
    };
    avalanche(kind, plain)
}

/// The hash's last step, where the operator wants it.
pub(crate) fn avalanche(kind: HashType, hash: u32) -> u32 {
    if kind.avalanche { full_hash(hash) } else { hash }
}

/// Bob Jenkins' full avalanche (burtleburtle.net/bob/hash/integer.html), times a large prime.
pub(crate) fn full_hash(a: u32) -> u32 {
    let a = a.wrapping_add(0x7ed5_5d16).wrapping_add(a << 12);
    let a = (a ^ 0xc761_c23c) ^ (a >> 19);
    let a = a.wrapping_add(0x1656_67b1).wrapping_add(a << 5);
    let a = a.wrapping_add(0xd3a2_646c) ^ (a << 9);
    let a = a.wrapping_add(0xfd70_46c5).wrapping_add(a << 3);
    let a = (a ^ 0xb55a_4f09) ^ (a >> 16);
    a.wrapping_mul(3_221_225_473)
}

fn sdbm(text: &[u8]) -> u32 {
    text.iter().fold(0_u32, |hash, byte| {
        u32::from(*byte).wrapping_add(hash << 6).wrapping_add(hash << 16).wrapping_sub(hash)
    })
}

fn djb2(text: &[u8]) -> u32 {
    text.iter()
        .fold(5381_u32, |hash, byte| (hash << 5).wrapping_add(hash).wrapping_add(u32::from(*byte)))
}

/// Willy Tarreau's sixth.
fn wt6(text: &[u8]) -> u32 {
    let (mut h0, mut h1) = (0xa53c_965a_u32, 0x5ca6_953a_u32);
    let (mut step0, mut step1) = (6_u32, 18_u32);
    for byte in text {
        let t = u32::from(*byte);
        h0 = !(h0 ^ t);
        h1 = !h1.wrapping_add(t);
        let t = h1.rotate_left(step0);
        h1 = h0.rotate_left(step1);
        h0 = t;
        let t = ((h0 >> 16) ^ h1) & 0xffff;
        (step0, step1) = (t & 0x1f, t >> 11);
    }
    h0 ^ h1
}

fn crc32(text: &[u8]) -> u32 {
    !text.iter().fold(u32::MAX, |hash, byte| {
        (0..8).fold(hash ^ u32::from(*byte), |hash, _| {
            (hash >> 1) ^ if hash & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // The check value of CRC-32.
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
        assert_eq!(sdbm(b""), 0);
        assert_eq!(sdbm(b"a"), 97);
        assert_eq!(djb2(b""), 5381);
        assert_eq!(djb2(b"a"), 177_670);
        assert_eq!(wt6(b""), 0xa53c_965a ^ 0x5ca6_953a);
    }
}
