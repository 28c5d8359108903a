//! Certificates that frontends show their visitors.

mod der;
mod order;
mod other;

pub use der::CertificateFacts;
pub use order::Order;
pub use other::{not_pem, other_pem};

use crate::keyword::keywords;
use crate::secret::Secret;
use crate::text::Name;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// A certificate with its chain and its key (HAProxy `crt`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Certificate {
    /// What frontends call it.
    pub name: Name,
    /// The certificate, then those that lead to its issuer, as PEM.
    pub chain: String,
    /// Its private key as PEM: PKCS#8, PKCS#1 or SEC1, without a passphrase.
    pub key: Secret,
}

impl Certificate {
    /// What the site's own certificate says of itself; None where it cannot be read.
    pub fn facts(&self) -> Option<CertificateFacts> {
        let all = Pem::read(&self.chain).certificates();
        let own = Order::of(&all, None).chain.first().copied();
        der::facts(all.get(own.unwrap_or(0))?)
    }
}

impl CertificateFacts {
    /// Reads a certificate in DER; None for anything else.
    pub fn read(der: &[u8]) -> Option<Self> {
        der::facts(der)
    }
}

keywords! {
    /// The oldest version of TLS a frontend speaks (HAProxy `ssl-min-ver`).
    TlsVersion, "TLS version",
    /// RFC 5246, with the cipher suites that are still good.
    #[default]
    Tls12 => "TLSv1.2",
    /// RFC 8446.
    Tls13 => "TLSv1.3",
}

/// The longest chain and the longest key, in bytes.
pub(crate) const MAX_CHAIN: usize = 64 * 1024;
pub(crate) const MAX_KEY: usize = 16 * 1024;

/// A PEM text taken apart, whatever order its blocks are in, as HAProxy takes a `.pem` file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pem {
    /// Its certificates, in their order.
    pub chain: String,
    /// Its private key; nothing where there is none.
    pub key: Secret,
    /// How many private keys there are.
    pub keys: usize,
}

impl Pem {
    /// Takes a text apart. What is between the blocks, or in blocks of another kind, is left out.
    pub fn read(text: &str) -> Self {
        let mut found = Self::default();
        for (label, block) in blocks(text) {
            if label == "CERTIFICATE" {
                found.chain.push_str(&block);
            } else if label.ends_with("PRIVATE KEY") {
                found.keys += 1;
                if found.keys == 1 {
                    found.key = Secret::new(block);
                }
            }
        }
        found
    }

    /// Its certificates in the order of a chain, as far as there is one: strangers stay at the end,
    /// where they are found, and what is there twice is there once.
    pub fn in_order(&self) -> String {
        let order = Order::of(&self.certificates(), None);
        let all = blocks(&self.chain);
        if self.certificates().len() != all.len() {
            return self.chain.clone();
        }
        let places = order.chain.into_iter().chain(order.strangers.into_iter().map(|(at, _)| at));
        places.filter_map(|at| all.get(at)).map(|(_, block)| block.as_str()).collect()
    }

    /// Its certificates in DER; what is no base64 is left out.
    pub fn certificates(&self) -> Vec<Vec<u8>> {
        let decode = |block: &str| {
            let text: String = block.lines().filter(|l| !l.starts_with("-----")).collect();
            STANDARD.decode(text).ok()
        };
        blocks(&self.chain).iter().filter_map(|(_, block)| decode(block)).collect()
    }
}

/// The blocks of a PEM text (RFC 7468) with their labels; each ends with a line end.
pub(crate) fn blocks(text: &str) -> Vec<(&str, String)> {
    let mut found: Vec<(&str, String)> = Vec::new();
    let mut open: Option<(&str, String)> = None;
    for line in text.lines().map(str::trim) {
        let marked = |word| line.strip_prefix(word)?.strip_suffix("-----");
        if let Some(label) = marked("-----BEGIN ") {
            open = Some((label, format!("{line}\n")));
        } else if let Some((label, mut block)) = open.take() {
            block.push_str(line);
            block.push('\n');
            if marked("-----END ") == Some(label) {
                found.push((label, block));
            } else {
                open = Some((label, block));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pem_text_falls_into_chain_and_key() {
        let block = |label| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        let (one, key) = (block("CERTIFICATE"), block("EC PRIVATE KEY"));
        let parameters = block("EC PARAMETERS");
        for text in [
            format!("{one}{one}{key}"),
            format!("Bag Attributes\r\n{parameters}{key}{one}subject=x\n{one}"),
            format!("{one}{key}{one}").replace('\n', "\r\n  "),
        ] {
            let pem = Pem::read(&text);
            assert_eq!(pem.chain, format!("{one}{one}"), "{text}");
            assert_eq!((pem.key.reveal(), pem.keys), (key.as_str(), 1));
        }
        let unfinished = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END OTHER-----\n";
        assert_eq!(Pem::read(unfinished), Pem::default());
        assert_eq!(Pem::read(&format!("{key}{key}")).keys, 2);
    }
}
