//! The cluster's keys, and secrets sealed with them.
//!
//! A sealed value is `epoch (8 bytes) | nonce (24) | XChaCha20-Poly1305 of the JSON`, bound to its
//! key in the document, so that one value cannot be put in another's place. The nonce follows from
//! the key, the place and the value: two values never share one, and nodes that were told the same
//! secret write the same. All it tells is that a place has a value again that it had before.

use crate::error::{BadKeyring, LedgerError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Epochs that are kept: old ones open what a node that was long away still has.
const MOST: usize = 16;
const NONCE: usize = 24;
const EPOCH: usize = 8;

/// Which key: its number, counted up at each rotation, and its fingerprint, because two halves of
/// a split cluster may rotate at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Epoch {
    number: u32,
    print: [u8; 4],
}

impl Epoch {
    fn of(number: u32, key: &[u8; 32]) -> Self {
        let hash = blake3::hash(key);
        let mut print = [0; 4];
        print.copy_from_slice(hash.as_bytes().get(..4).unwrap_or(&[0; 4]));
        Self { number, print }
    }

    fn bytes(self) -> [u8; EPOCH] {
        let mut bytes = [0; EPOCH];
        let (number, print) = bytes.split_at_mut(4);
        number.copy_from_slice(&self.number.to_be_bytes());
        print.copy_from_slice(&self.print);
        bytes
    }

    fn read(bytes: [u8; EPOCH]) -> Self {
        let [a, b, c, d, e, f, g, h] = bytes;
        Self { number: u32::from_be_bytes([a, b, c, d]), print: [e, f, g, h] }
    }
}

/// Where random numbers come from: [`from_system`], or something that can be repeated.
pub type Random = dyn FnMut(&mut [u8]) -> Result<(), LedgerError> + Send;

/// Random numbers of the system.
///
/// # Errors
/// When it has none.
pub fn from_system(bytes: &mut [u8]) -> Result<(), LedgerError> {
    getrandom::fill(bytes).map_err(|e| LedgerError::Seal(e.to_string()))
}

fn nonce(key: &[u8; 32], place: &str, plain: &str) -> [u8; NONCE] {
    let mut hasher = blake3::Hasher::new_derive_key("bramble 2026 nonce of a sealed value");
    hasher.update(key);
    // The lengths keep place and value apart.
    hasher.update(&u64::try_from(place.len()).unwrap_or(u64::MAX).to_le_bytes());
    hasher.update(place.as_bytes());
    hasher.update(plain.as_bytes());
    let mut nonce = [0; NONCE];
    hasher.finalize_xof().fill(&mut nonce);
    nonce
}

/// The keys of all epochs. The newest seals, every one opens. Kept in a file of its own, given only
/// to members.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keyring(BTreeMap<Epoch, [u8; 32]>);

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} keys)", self.0.len())
    }
}

#[derive(Serialize, Deserialize)]
struct Written {
    keys: Vec<WrittenKey>,
}

#[derive(Serialize, Deserialize)]
struct WrittenKey {
    number: u32,
    key: String,
}

impl Keyring {
    /// A keyring with one new key.
    ///
    /// # Errors
    /// Without random numbers.
    pub fn generate(random: &mut Random) -> Result<Self, LedgerError> {
        let mut keyring = Self::default();
        keyring.rotate(random)?;
        Ok(keyring)
    }

    /// The key that follows from a key all nodes were given by hand: nodes that were set up with
    /// the same document can read each other's secrets from the first moment.
    pub fn from_shared(text: &str) -> Self {
        let mut keyring = Self::default();
        keyring.insert(
            0,
            blake3::derive_key("bramble 2026 settings sealed with cluster.key", text.as_bytes()),
        );
        keyring
    }

    fn insert(&mut self, number: u32, key: [u8; 32]) {
        self.0.insert(Epoch::of(number, &key), key);
        while self.0.len() > MOST {
            self.0.pop_first();
        }
    }

    /// True without any key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Begins a new epoch: what is sealed from now on, only holders of the new key can read.
    ///
    /// # Errors
    /// Without random numbers.
    pub fn rotate(&mut self, random: &mut Random) -> Result<(), LedgerError> {
        let mut key = [0; 32];
        random(&mut key)?;
        let newest = self.0.last_key_value().map_or(0, |(epoch, _)| epoch.number);
        self.insert(newest.saturating_add(1), key);
        Ok(())
    }

    /// Takes over another member's keys; true if there was a new one.
    pub fn merge(&mut self, other: &Self) -> bool {
        let before = self.clone();
        for (epoch, key) in &other.0 {
            self.insert(epoch.number, *key);
        }
        *self != before
    }

    /// What identifies the set of keys and tells nothing of them.
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for key in self.0.values() {
            hasher.update(blake3::hash(key).as_bytes());
        }
        hasher.finalize().to_hex().chars().take(16).collect()
    }

    /// As a file or a message to another member.
    pub fn to_json(&self) -> String {
        let keys = self
            .0
            .iter()
            .map(|(epoch, key)| WrittenKey { number: epoch.number, key: STANDARD.encode(key) });
        serde_json::to_string(&Written { keys: keys.collect() }).unwrap_or_default()
    }

    /// From a file or another member.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_json(text: &[u8]) -> Result<Self, BadKeyring> {
        let written: Written =
            serde_json::from_slice(text).map_err(|e| BadKeyring(e.to_string()))?;
        let mut keyring = Self::default();
        for key in written.keys.into_iter().take(MOST) {
            let bytes = STANDARD.decode(&key.key).map_err(|e| BadKeyring(e.to_string()))?;
            let bytes = bytes.try_into().map_err(|_| BadKeyring("a key has 32 bytes".into()))?;
            keyring.insert(key.number, bytes);
        }
        Ok(keyring)
    }

    /// Seals a value that will stand under `place`.
    ///
    /// # Errors
    /// Without a key.
    pub fn seal(&self, place: &str, plain: &str) -> Result<Vec<u8>, LedgerError> {
        let wrong = |text: &str| LedgerError::Seal(text.to_owned());
        let (epoch, key) = self.0.last_key_value().ok_or_else(|| wrong("there is no key"))?;
        let nonce = nonce(key, place, plain);
        let payload = Payload { msg: plain.as_bytes(), aad: place.as_bytes() };
        let sealed = XChaCha20Poly1305::new(key.into())
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| wrong("the value is too long"))?;
        Ok([&epoch.bytes()[..], &nonce, &sealed].concat())
    }

    /// Opens what was sealed under `place`; None without the key, or when it is damaged.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Option<String> {
        let (epoch, rest) = sealed.split_first_chunk::<EPOCH>()?;
        let (nonce, cipher) = rest.split_first_chunk::<NONCE>()?;
        let key = self.0.get(&Epoch::read(*epoch))?;
        let payload = Payload { msg: cipher, aad: place.as_bytes() };
        let plain =
            XChaCha20Poly1305::new(key.into()).decrypt(&XNonce::from(*nonce), payload).ok()?;
        String::from_utf8(plain).ok()
    }
}
