//! How two boards that have not met prove to each other that they know the cluster's key.
//!
//! A proof holds for one connection, one direction, two boards and the two nodes they say they
//! are: whoever stands between them has two connections and can pass on neither.

use crate::identity::hex;
use model::{DeviceId, NodeId, Secret};
use ring::hmac;
use std::fmt;

const TOKEN_CONTEXT: &str = "bramble 2026 adoption proof of the join token";
/// The shortest token that is taken for one: it is made at random, not by heart.
const SHORTEST_TOKEN: usize = 16;
const KEY_CONTEXT: &str = "bramble 2026 node channel proof of the cluster key";
/// The shortest key that is taken for one.
pub(crate) const SHORTEST_KEY: usize = 32;

/// What the cluster's key becomes for this purpose alone.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key([u8; 32]);

/// What the token of a batch of cards becomes for this purpose alone.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token([u8; 32]);

/// Who proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Caller,
    Called,
}

impl Role {
    fn word(self) -> &'static [u8] {
        match self {
            Self::Caller => b"caller",
            Self::Called => b"called",
        }
    }
}

/// What a proof is about.
#[derive(Clone, Debug)]
pub(crate) struct Claim<'a> {
    pub(crate) binding: &'a [u8; 32],
    pub(crate) caller: (&'a NodeId, &'a DeviceId),
    pub(crate) called: (&'a NodeId, &'a DeviceId),
}

impl Claim<'_> {
    fn message(&self, role: Role) -> Vec<u8> {
        let mut message = role.word().to_vec();
        message.extend(self.binding);
        for (node, device) in [self.caller, self.called] {
            // No name has a NUL in it: no two claims make the same message.
            message.push(0);
            message.extend(node.as_str().as_bytes());
            message.push(0);
            message.extend(device.as_str().as_bytes());
        }
        message
    }
}

impl Key {
    /// None if the secret is too short to be one.
    pub(crate) fn derive(secret: &Secret) -> Option<Self> {
        let text = secret.reveal();
        (text.len() >= SHORTEST_KEY).then(|| Self(blake3::derive_key(KEY_CONTEXT, text.as_bytes())))
    }

    fn hmac(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0)
    }

    /// HMAC-SHA256 (RFC 2104) in hexadecimal.
    pub(crate) fn prove(&self, role: Role, claim: &Claim<'_>) -> String {
        hex(hmac::sign(&self.hmac(), &claim.message(role)).as_ref())
    }

    /// In constant time.
    pub(crate) fn holds(&self, role: Role, claim: &Claim<'_>, proof: &str) -> bool {
        let tag = unhex(proof);
        tag.is_some_and(|tag| hmac::verify(&self.hmac(), &claim.message(role), &tag).is_ok())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

impl Token {
    /// None if the text is too short to be one.
    pub(crate) fn derive(secret: &Secret) -> Option<Self> {
        let text = secret.reveal();
        (text.len() >= SHORTEST_TOKEN)
            .then(|| Self(blake3::derive_key(TOKEN_CONTEXT, text.as_bytes())))
    }

    fn hmac(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0)
    }

    /// A word by which boards with this token know a board that has it as well. It proves nothing:
    /// everybody near hears it.
    pub(crate) fn batch(&self, device: &DeviceId) -> String {
        let tag = hmac::sign(&self.hmac(), format!("batch {device}").as_bytes());
        hex(tag.as_ref().get(..8).unwrap_or_default())
    }

    /// HMAC-SHA256 (RFC 2104) in hexadecimal.
    pub(crate) fn prove(&self, role: Role, message: &[u8]) -> String {
        hex(hmac::sign(&self.hmac(), &for_role(role, message)).as_ref())
    }

    /// In constant time.
    pub(crate) fn holds(&self, role: Role, message: &[u8], proof: &str) -> bool {
        let tag = unhex(proof);
        tag.is_some_and(|tag| hmac::verify(&self.hmac(), &for_role(role, message), &tag).is_ok())
    }
}

fn for_role(role: Role, message: &[u8]) -> Vec<u8> {
    [role.word(), message].concat()
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// The bytes of an even number of digits.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.len() % 2 != 0 || !text.is_ascii() {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::derive(&Secret::new(text.repeat(32))).unwrap()
    }

    #[test]
    fn a_proof_is_good_for_one_claim_only() {
        let (one, two): (NodeId, NodeId) = ("web01".parse().unwrap(), "web02".parse().unwrap());
        let device = |c: &str| -> DeviceId { c.repeat(64).parse().unwrap() };
        let (a, b) = (device("a"), device("b"));
        let claim = Claim { binding: &[7; 32], caller: (&one, &a), called: (&two, &b) };
        let proof = key("k").prove(Role::Caller, &claim);
        assert!(key("k").holds(Role::Caller, &claim, &proof));
        assert!(!key("x").holds(Role::Caller, &claim, &proof));
        assert!(!key("k").holds(Role::Called, &claim, &proof));
        for other in [
            Claim { binding: &[8; 32], ..claim.clone() },
            Claim { caller: (&one, &b), ..claim.clone() },
            Claim { caller: (&two, &a), ..claim.clone() },
            Claim { called: (&two, &a), ..claim.clone() },
        ] {
            assert!(!key("k").holds(Role::Caller, &other, &proof), "{other:?}");
        }
        for damaged in ["", "zz", &proof[2..], &proof[1..], "ä", &proof.replace('0', "1")] {
            let same = damaged == proof; // a proof without a 0 in it
            assert_eq!(key("k").holds(Role::Caller, &claim, damaged), same, "{damaged}");
        }
    }

    #[test]
    fn short_keys_are_none_and_none_is_shown() {
        assert!(Key::derive(&Secret::new("x".repeat(31))).is_none());
        assert_eq!(format!("{:?}", key("a")), "Key(***)");
    }
}
