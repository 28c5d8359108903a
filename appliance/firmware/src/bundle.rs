//! A bundle: a slot, signed, as one file.
//!
//! ```text
//! "BRBUNDL1" · manifest length (u32 LE) · manifest (JSON) · ed25519 signature of all before it
//! · the slot
//! ```
//! The manifest holds the slot's SHA-256, so that the signature speaks for every byte and yet can
//! be checked before the slot is read.

use crate::error::Error;
use crate::slot::{self, MAX_SLOT};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::{ErrorKind, Read, Seek, SeekFrom};

/// Length of a key, private or public.
pub const KEY: usize = 32;

const MAGIC: &[u8; 8] = b"BRBUNDL1";
const PRODUCT: &str = "bramble";
const SIGNATURE: usize = 64;
/// A manifest is never longer.
const MAX_MANIFEST: u32 = 64 * 1024;
/// Magic and length.
const PREFIX: usize = 12;

/// What a bundle says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always `bramble`.
    pub product: String,
    /// Version of the firmware.
    pub version: String,
    /// When it was built, in seconds since 1970.
    pub built_unix: u64,
    /// Boards it runs on: `pi2`, `pi3`, `pi02`, `pi4`.
    pub boards: Vec<String>,
    /// Bytes of the slot.
    pub size: u64,
    /// SHA-256 of the slot, in hexadecimal digits.
    pub sha256: String,
}

/// What the manifest is held against.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// Version of the firmware that runs.
    pub version: String,
    /// When it was built, in seconds since 1970.
    pub built_unix: u64,
    /// This board, as in a manifest; None for one without a name there, such as an emulator's,
    /// on which whatever is signed may run.
    pub board: Option<String>,
}

/// The part of a bundle before the slot.
#[derive(Debug)]
struct Head {
    signed: Vec<u8>,
    signature: [u8; SIGNATURE],
}

impl Head {
    fn read<R: Read>(bundle: &mut R, length: u64) -> Result<Self, Error> {
        let fill = |bundle: &mut R, buffer: &mut [u8], want: u64| match bundle.read_exact(buffer) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Err(Error::Truncated { have: length, want })
            }
            read => read.map_err(Error::io("Reading the update")),
        };
        let mut signed = vec![0; PREFIX];
        match bundle.read_exact(&mut signed) {
            // Nobody can say of so short a file what it was meant to be.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                return Err(Error::NotABundle);
            }
            read => read.map_err(Error::io("Reading the update"))?,
        }
        let (magic, size) = signed.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(Error::NotABundle);
        }
        let size = size.iter().rev().fold(0, |sum, byte| (sum << 8) | u32::from(*byte));
        if size > MAX_MANIFEST {
            return Err(Error::WrongSignature);
        }
        let size = usize::try_from(size).map_err(|_| Error::WrongSignature)?;
        signed.resize(PREFIX + size, 0);
        let want = u64::try_from(PREFIX + size + SIGNATURE).unwrap_or(u64::MAX);
        fill(bundle, &mut signed[PREFIX..], want)?;
        let mut signature = [0; SIGNATURE];
        fill(bundle, &mut signature, want)?;
        Ok(Self { signed, signature })
    }

    fn length(&self) -> u64 {
        u64::try_from(self.signed.len() + SIGNATURE).unwrap_or(u64::MAX)
    }

    /// The manifest is not so much as parsed before its signature is found good.
    fn manifest(&self, key: &[u8; KEY]) -> Result<Manifest, Error> {
        let key = VerifyingKey::from_bytes(key).map_err(|_| Error::BadKey)?;
        // Strict: one message, one key, one signature; none of a key of small order.
        key.verify_strict(&self.signed, &Signature::from_bytes(&self.signature))
            .map_err(|_| Error::WrongSignature)?;
        let json = self.signed.get(PREFIX..).unwrap_or_default();
        serde_json::from_slice(json).map_err(|error| Error::BadManifest(error.to_string()))
    }
}

impl Manifest {
    fn acceptable(&self, running: &Running) -> Result<(), Error> {
        if self.product != PRODUCT {
            return Err(Error::OtherProduct(self.product.clone()));
        }
        if self.size > MAX_SLOT {
            return Err(Error::TooLarge { size: self.size, limit: MAX_SLOT });
        }
        if self.size % crate::bytes::SECTOR_BYTES != 0 {
            return Err(Error::BadSlot(crate::error::SlotFault::Layout));
        }
        if let Some(board) = running.board.as_ref().filter(|b| !self.boards.contains(b)) {
            return Err(Error::OtherBoard { board: board.clone(), boards: self.boards.join(", ") });
        }
        if self.built_unix < running.built_unix {
            return Err(Error::Older {
                version: self.version.clone(),
                running: running.version.clone(),
            });
        }
        Ok(())
    }
}

/// A bundle of which every byte was checked.
#[derive(Debug)]
pub struct Checked {
    /// What it says about itself.
    pub manifest: Manifest,
    /// SHA-256 of the slot.
    pub sha256: [u8; 32],
    /// Where in the file the slot begins.
    pub payload_at: u64,
}

/// Checks everything about a bundle: signature, purpose, every byte of the slot, and that U-Boot
/// could start it.
///
/// # Errors
/// What is wrong with it.
pub fn check<R: Read + Seek>(
    bundle: &mut R,
    key: &[u8; KEY],
    running: &Running,
) -> Result<Checked, Error> {
    let reading = || Error::io("Reading the update");
    let length = bundle.seek(SeekFrom::End(0)).map_err(reading())?;
    bundle.rewind().map_err(reading())?;
    let head = Head::read(bundle, length)?;
    let manifest = head.manifest(key)?;
    manifest.acceptable(running)?;
    let payload_at = head.length();
    let want = payload_at.saturating_add(manifest.size);
    if length < want {
        return Err(Error::Truncated { have: length, want });
    }
    if length > want {
        return Err(Error::TooLong);
    }
    let sha256 = hash(&mut *bundle).map_err(reading())?;
    if hex(&sha256) != manifest.sha256 {
        return Err(Error::Altered);
    }
    let header = slot::check(&mut Within { inner: bundle, start: payload_at, size: manifest.size })
        .map_err(Error::BadSlot)?;
    if header.version != manifest.version || header.built_unix != manifest.built_unix {
        return Err(Error::BadSlot(crate::error::SlotFault::Version));
    }
    Ok(Checked { manifest, sha256, payload_at })
}

/// Makes the beginning of a bundle; the slot follows it.
///
/// # Errors
/// The slot could not be started, or is larger than one may be.
pub fn sign(slot: &[u8], boards: &[String], key: &[u8; KEY]) -> Result<Vec<u8>, Error> {
    let header = slot::check(&mut std::io::Cursor::new(slot)).map_err(Error::BadSlot)?;
    let size = u64::try_from(slot.len()).unwrap_or(u64::MAX);
    if size > MAX_SLOT {
        return Err(Error::TooLarge { size, limit: MAX_SLOT });
    }
    let manifest = Manifest {
        product: PRODUCT.to_owned(),
        version: header.version,
        built_unix: header.built_unix,
        boards: boards.to_vec(),
        size,
        sha256: hex(&Sha256::digest(slot).into()),
    };
    let json = serde_json::to_vec(&manifest).map_err(|e| Error::BadManifest(e.to_string()))?;
    let length = u32::try_from(json.len())
        .ok()
        .filter(|length| *length <= MAX_MANIFEST)
        .ok_or_else(|| Error::BadManifest("it is too long".to_owned()))?;
    let mut head = Vec::with_capacity(PREFIX + json.len() + SIGNATURE);
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&length.to_le_bytes());
    head.extend_from_slice(&json);
    let signature = SigningKey::from_bytes(key).sign(&head);
    head.extend_from_slice(&signature.to_bytes());
    Ok(head)
}

/// The public key that belongs to a private one.
#[must_use]
pub fn public_key(private: &[u8; KEY]) -> [u8; KEY] {
    SigningKey::from_bytes(private).verifying_key().to_bytes()
}

/// SHA-256 from here to the end.
fn hash<R: Read>(reader: &mut R) -> std::io::Result<[u8; 32]> {
    let mut sum = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(sum.finalize().into()),
            Ok(n) => sum.update(&buffer[..n]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A part of a file as if it were one.
struct Within<'a, R> {
    inner: &'a mut R,
    start: u64,
    size: u64,
}

impl<R: Read + Seek> Read for Within<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let at = self.inner.stream_position()?.saturating_sub(self.start);
        let rest = self.size.saturating_sub(at);
        self.inner.by_ref().take(rest).read(buffer)
    }
}

impl<R: Read + Seek> Seek for Within<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => SeekFrom::Start(self.start.saturating_add(at)),
            SeekFrom::End(back) => SeekFrom::Start(
                self.start.saturating_add(self.size).saturating_add_signed(back).max(self.start),
            ),
            SeekFrom::Current(by) => SeekFrom::Current(by),
        };
        Ok(self.inner.seek(to)?.saturating_sub(self.start))
    }
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod tests;
