//! What is needed of a merging engine. One trait, so that another engine can take its place.

use crate::error::{LedgerError, SyncError};
use std::collections::BTreeMap;

/// Names one change of one node for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeId(pub [u8; 32]);

impl std::fmt::Debug for ChangeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for ChangeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().take(8).try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// A value as it stands in the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Removed.
    Gone,
    /// JSON.
    Plain(String),
    /// Ciphertext of JSON.
    Sealed(Vec<u8>),
}

/// A value and the change that set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The value.
    pub value: Stored,
    /// Who set it.
    pub change: ChangeId,
}

/// What a key holds: the value every copy agrees on, and those that were set at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The one that counts.
    pub current: Version,
    /// The ones it won over, until somebody sets the key again.
    pub others: Vec<Version>,
}

/// A flat map that several nodes edit, and whose copies become the same by exchanging messages.
pub trait Document: Sized + Send {
    /// How far the exchange with one peer has come, for as long as a connection lasts.
    type Session: Default + Send;

    /// A new, empty document. `actor` must never have been used by anybody: one that is used again
    /// after an old copy was restored would stop the exchange for good.
    fn new(actor: [u8; 16]) -> Self;
    /// The document from what [`Self::save`] and [`Self::save_after`] gave, in that order.
    ///
    /// # Errors
    /// When the pieces are no document.
    fn load(actor: [u8; 16], pieces: &[Vec<u8>]) -> Result<Self, LedgerError>;
    /// The whole document.
    fn save(&self) -> Vec<u8>;
    /// What has come since the document was at `heads`.
    fn save_after(&self, heads: &[ChangeId]) -> Vec<u8>;
    /// Sets keys, together and durably named by `note`.
    ///
    /// # Errors
    /// When the engine refuses; nothing is set then.
    fn put(&mut self, values: &[(String, Stored)], note: &str) -> Result<(), LedgerError>;
    /// What a key holds.
    fn get(&self, key: &str) -> Option<Versions>;
    /// The changes whose values a key held at an earlier state, those that lost as well.
    fn all_at(&self, key: &str, heads: &[ChangeId]) -> Vec<ChangeId>;
    /// What every key holds, removed ones as well, in one pass.
    fn all(&self) -> BTreeMap<String, Versions>;
    /// The newest changes: equal on two copies exactly when the copies are.
    fn heads(&self) -> Vec<ChangeId>;
    /// The notes of what has come since `heads`, oldest first.
    fn notes_since(&self, heads: &[ChangeId]) -> Vec<(ChangeId, Option<String>)>;
    /// The note of one change.
    fn note(&self, change: &ChangeId) -> Option<String>;
    /// The next message to a peer; None when there is nothing to say.
    fn generate(&self, session: &mut Self::Session) -> Option<Vec<u8>>;
    /// Takes a peer's message.
    ///
    /// # Errors
    /// When it is none. The document may have taken part of it, never half of a change.
    fn receive(&mut self, session: &mut Self::Session, message: &[u8]) -> Result<(), SyncError>;
}
