//! What can be said of certificates without understanding them; whether key and certificate fit
//! is for the balancer to say, which does.

use super::Problems;
use crate::certificate::{Certificate, MAX_CHAIN, MAX_KEY, blocks, other_pem};
use crate::settings::Settings;

pub(super) fn check(written: &Settings, problems: &mut Problems) {
    let all = written.certificates.iter().enumerate();
    problems.unique(
        "certificate",
        all.map(|(i, c)| (format!("certificates[{i}].name"), c.name.as_str())),
    );
    for (i, certificate) in written.certificates.iter().enumerate() {
        one(certificate, &format!("certificates[{i}]"), problems);
    }
    for (i, frontend) in written.frontends.iter().enumerate() {
        for (k, name) in frontend.certificates.iter().enumerate() {
            let path = format!("frontends[{i}].certificates[{k}]");
            if written.certificate(name).is_none() {
                problems.add(path, format!("there is no certificate named {name}"));
            } else if frontend.certificates[..k].contains(name) {
                problems.add(path, format!("{name} is named twice; leave one of them out"));
            }
        }
        if frontend.bind.iter().any(|b| b.ssl) && frontend.certificates.is_empty() {
            problems.add(
                format!("frontends[{i}].certificates"),
                "where ssl is spoken, at least one certificate is needed; name one that is under certificates",
            );
        }
    }
}

fn one(certificate: &Certificate, path: &str, problems: &mut Problems) {
    let chain = format!("{path}.chain");
    let labels: Vec<&str> = blocks(&certificate.chain).iter().map(|(label, _)| *label).collect();
    if certificate.chain.len() > MAX_CHAIN {
        problems.add(chain, format!("a chain has at most {MAX_CHAIN} bytes"));
    } else if labels.iter().any(|label| label.ends_with("PRIVATE KEY")) {
        problems.add(chain, "there is a private key among the certificates; it belongs to key");
    } else if !labels.contains(&"CERTIFICATE") {
        let plain =
            "give the certificate as PEM: a text that begins with -----BEGIN CERTIFICATE-----";
        problems.add(chain, other_pem(&certificate.chain).unwrap_or(plain));
    } else if certificate.facts().is_none() {
        problems.add(chain, "the certificate cannot be read; copy it again, as a whole");
    }
    let key = format!("{path}.key");
    let text = certificate.key.reveal();
    let labels: Vec<&str> = blocks(text).iter().map(|(label, _)| *label).collect();
    if certificate.key.is_mask() {
        problems.add(key, "there is no key here yet that could be kept; give it");
    } else if text.len() > MAX_KEY {
        problems.add(key, format!("a key has at most {MAX_KEY} bytes"));
    } else if labels.contains(&"ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        problems.add(
            key,
            "this key is locked with a passphrase nobody could type at the start; unlock it first, for example with openssl pkey",
        );
    } else if !labels.iter().any(|label| label.ends_with("PRIVATE KEY")) {
        problems.add(
            key,
            "give the private key as PEM: a text that begins with -----BEGIN PRIVATE KEY-----",
        );
    }
}
