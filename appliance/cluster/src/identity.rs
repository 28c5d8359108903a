//! Which board this is: an Ed25519 key pair that never leaves it, and the fingerprint by which
//! the others know it.

use model::DeviceId;
use ring::rand::SystemRandom;
use ring::signature::Ed25519KeyPair;
use rustls::crypto::ring::sign::any_eddsa_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::fmt::Write;
use std::sync::Arc;

/// A key pair that could not be made or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct IdentityError(pub(crate) &'static str);

impl IdentityError {
    pub(crate) const NO_RANDOM: Self = Self("the system has no random numbers for a key");
}

/// The key pair of a board. Cheap to clone.
#[derive(Clone)]
pub struct Identity {
    pub(crate) device: DeviceId,
    pub(crate) certified: Arc<CertifiedKey>,
}

impl Identity {
    /// A new key pair, as PKCS #8 (RFC 8410), to be kept and given to [`Self::read`].
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn generate() -> Result<Vec<u8>, IdentityError> {
        Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map(|document| document.as_ref().to_vec())
            .map_err(|_| IdentityError::NO_RANDOM)
    }

    /// Reads a key pair.
    ///
    /// # Errors
    /// When it is none, or its two halves do not fit each other.
    pub fn read(pkcs8: &[u8]) -> Result<Self, IdentityError> {
        let unreadable = || IdentityError("this is no key of a board");
        let key = any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8)).map_err(|_| unreadable())?;
        let public = key.public_key().ok_or_else(unreadable)?;
        let device = fingerprint(&public).ok_or_else(unreadable)?;
        // With raw public keys (RFC 7250) this stands where a certificate would.
        let public = CertificateDer::from(public.as_ref().to_vec());
        Ok(Self { device, certified: Arc::new(CertifiedKey::new(vec![public], key)) })
    }

    /// The fingerprint: SHA-256 of the public key (its SubjectPublicKeyInfo, RFC 8410 4).
    pub fn device(&self) -> &DeviceId {
        &self.device
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("device", &self.device).finish_non_exhaustive()
    }
}

/// SubjectPublicKeyInfo of an Ed25519 key up to the key's 32 bytes (RFC 8410 4).
const ED25519_SPKI: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0];

/// The fingerprint of a public key; None for what is no Ed25519 key.
pub(crate) fn fingerprint(spki: &[u8]) -> Option<DeviceId> {
    if spki.strip_prefix(ED25519_SPKI)?.len() != 32 {
        return None;
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, spki);
    hex(digest.as_ref()).parse().ok()
}

/// Two digits for each byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // a String takes everything
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_read_again_is_the_same_board() {
        let kept = Identity::generate().unwrap();
        let (one, again) = (Identity::read(&kept).unwrap(), Identity::read(&kept).unwrap());
        assert_eq!(one.device(), again.device());
        let other = Identity::read(&Identity::generate().unwrap()).unwrap();
        assert_ne!(one.device(), other.device());
        assert!(!format!("{one:?}").contains("key"), "{one:?}");
    }

    #[test]
    fn a_damaged_key_is_none() {
        let kept = Identity::generate().unwrap();
        assert!(Identity::read(&[]).is_err() && Identity::read(&kept[1..]).is_err());
        for cut in 0..kept.len() {
            assert!(Identity::read(&kept[..cut]).is_err(), "{cut}");
        }
        // A bit anywhere in either half of the key: they no longer fit each other.
        let device = Identity::read(&kept).unwrap().device().clone();
        for byte in 0..kept.len() {
            let mut damaged = kept.clone();
            damaged[byte] ^= 0x10;
            let read = Identity::read(&damaged);
            assert!(read.is_err() || *read.unwrap().device() == device, "{byte}");
        }
        assert_eq!(fingerprint(&[0x30; 44]), None);
        assert_eq!(fingerprint(&[]), None);
    }
}
