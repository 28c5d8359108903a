//! What operators have where PEM is wanted, and how it becomes PEM.

use super::blocks;
use super::der::{INTEGER, OCTETS, OID, Reader, SEQUENCE, facts};

const PKCS7: &str = "this is a chain as PKCS#7 (.p7b, .p7c) and PEM is needed: make it with openssl pkcs7 -print_certs -in FILE -out chain.pem (with -inform der as well where the file is no text) and give chain.pem";
const PKCS12: &str = "this is a certificate with its key as PKCS#12 (.pfx, .p12) and PEM is needed: make it with openssl pkcs12 -nodes -in FILE -out site.pem and give site.pem";
const CERTIFICATE: &str = "this is a certificate as DER and PEM is needed: make it with openssl x509 -inform der -in FILE -out site.pem and give site.pem";
const KEY: &str = "this is a private key as DER and PEM is needed: make it with openssl pkey -inform der -in FILE -out key.pem and give key.pem";
const REQUEST: &str = "this is the request for a certificate (CSR); what is needed is the certificate that its issuer has made of it";
const UNKNOWN: &str = "this is no text; PEM is needed: a text with -----BEGIN CERTIFICATE----- or a PRIVATE KEY in it";

/// `pkcs-7` of RSA's, what all its content types begin with (RFC 2315 14).
const PKCS7_OID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07];

/// What a file is that is no PEM text, and what to do about it, for the operator. None for a text.
pub fn not_pem(file: &[u8]) -> Option<&'static str> {
    if let Ok(text) = std::str::from_utf8(file) {
        return other_pem(text);
    }
    Some(if facts(file).is_some() { CERTIFICATE } else { binary(file).unwrap_or(UNKNOWN) })
}

/// The same for a text with blocks of another kind than is wanted, and none that is.
pub fn other_pem(text: &str) -> Option<&'static str> {
    let labels: Vec<&str> = blocks(text).into_iter().map(|(label, _)| label).collect();
    if labels.iter().any(|l| *l == "CERTIFICATE" || l.ends_with("PRIVATE KEY")) {
        return None;
    }
    labels.iter().find_map(|label| match *label {
        "PKCS7" | "CMS" => Some(PKCS7),
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Some(REQUEST),
        _ => None,
    })
}

fn binary(file: &[u8]) -> Option<&'static str> {
    let mut inside = Reader(file).inside(SEQUENCE)?;
    let (tag, first) = inside.next()?;
    match (tag, inside.next()?.0) {
        (OID, _) if first.starts_with(PKCS7_OID) => Some(PKCS7),
        // RFC 7292 4: version 3, then its content.
        (INTEGER, SEQUENCE) if first == [3] => Some(PKCS12),
        // PKCS#8 (RFC 5958 2), PKCS#1 (RFC 8017 A.1.2) and SEC1 (RFC 5915 3), and one that is locked.
        (INTEGER, SEQUENCE | INTEGER | OCTETS) | (SEQUENCE, OCTETS) => Some(KEY),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::Pem;

    #[test]
    fn files_are_told_apart() {
        let chain = include_str!("test.pem");
        let der = Pem::read(chain).certificates().remove(0);
        assert_eq!(not_pem(&der), Some(CERTIFICATE));
        assert_eq!(not_pem(chain.as_bytes()), None);
        assert_eq!(not_pem(b"whatever"), None);
        let element = |tag: u8, content: &[u8]| {
            [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
        };
        let oid = element(OID, &[PKCS7_OID, &[1]].concat());
        let inner = element(SEQUENCE, &oid);
        let junk = element(OCTETS, &[0xff; 8]);
        for (parts, want) in [
            (vec![element(INTEGER, &[3]), inner.clone(), junk.clone()], PKCS12),
            (vec![oid.clone(), junk.clone()], PKCS7),
            (vec![element(INTEGER, &[0]), inner.clone(), junk.clone()], KEY),
            (vec![element(INTEGER, &[1]), junk.clone()], KEY),
            (vec![inner.clone(), junk.clone()], KEY),
            (vec![junk.clone(), junk.clone()], UNKNOWN),
        ] {
            let file = element(SEQUENCE, &parts.concat());
            assert_eq!(not_pem(&file), Some(want));
            for end in 0..file.len() {
                // Cut off it may be anything, and a short piece even a text.
                let _ = not_pem(&file[..end]);
            }
        }
        assert_eq!(not_pem(&[0xff, 0xd8, 0xff]), Some(UNKNOWN));
        let block = |label| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        assert_eq!(other_pem(&block("PKCS7")), Some(PKCS7));
        assert_eq!(other_pem(&block("CERTIFICATE REQUEST")), Some(REQUEST));
        assert_eq!(other_pem(&(block("CERTIFICATE REQUEST") + chain)), None);
    }
}
