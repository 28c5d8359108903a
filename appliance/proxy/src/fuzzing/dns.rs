//! Answers of DNS servers to checks.

use crate::check::dns::{self, Bad, query};
use model::DnsType;

/// A DNS server's answer to a query whose number and name it repeats, so that noise gets beyond
/// the question.
pub fn answer(bytes: &[u8]) {
    let Ok(name) = "a.example".parse() else { return };
    let query = query(0x1234, &name, DnsType::A);
    let foreign = dns::read(&query, bytes);
    let mut message = query.clone();
    // Flags, code and numbers of records are the noise's.
    for (at, byte) in (2..12).zip(bytes) {
        message[at] = *byte;
    }
    message.extend_from_slice(bytes.get(10..).unwrap_or_default());
    for (message, read) in [(bytes, foreign), (message.as_slice(), dns::read(&query, &message))] {
        match read {
            Ok(answer) => {
                assert_eq!(message[..2], query[..2]);
                assert!(message[2] & 0x80 != 0 && answer.code < 16);
                // Each address takes a name, a head and itself.
                assert!(answer.addresses.len() * 15 <= message.len());
                // What is cut off is never whole: not by the last byte that was read.
                let short = &message[..message.len().min(query.len() - 1)];
                assert!(dns::read(&query, short).is_err() || answer.code != 0);
            }
            Err(Bad::Foreign | Bad::Broken(_)) => {}
        }
    }
}
