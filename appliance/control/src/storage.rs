//! Where revisions are kept.

use crate::change::Author;
use model::{Revision, Settings};

/// The settings could not be read or written; the text is for the operator.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct StorageError(pub String);

/// A revision about to be stored.
#[derive(Clone, Debug)]
pub struct Commit<'a> {
    /// Its number, one more than the newest.
    pub revision: Revision,
    /// Who made it.
    pub author: &'a Author,
    /// What the history says of it.
    pub sentence: &'a str,
    /// The whole document.
    pub settings: &'a Settings,
}

/// A revision as the history lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionInfo {
    /// Its number.
    pub revision: Revision,
    /// Who made it.
    pub author: Author,
    /// What it changed.
    pub sentence: String,
    /// When, in milliseconds since 1970 by this node's clock, which may have been wrong.
    pub at_ms: i64,
}

/// A stored revision.
#[derive(Clone, Debug)]
pub struct StoredRevision {
    /// Its number.
    pub revision: Revision,
    /// The whole document.
    pub settings: Settings,
}

/// Keeps revisions for ever and in order. Used by one thread at a time.
pub trait Storage: Send + 'static {
    /// The newest revision; None on a node that never had settings.
    ///
    /// # Errors
    /// When it cannot be read.
    fn newest(&mut self) -> Result<Option<StoredRevision>, StorageError>;
    /// One revision.
    ///
    /// # Errors
    /// When it cannot be read.
    fn revision(&mut self, revision: Revision) -> Result<Option<StoredRevision>, StorageError>;
    /// Stores a revision, durably: a power cut after this returns does not lose it.
    ///
    /// # Errors
    /// When it is not stored; the newest revision is then the one before.
    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), StorageError>;
    /// The newest `limit` revisions, newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    fn history(&mut self, limit: usize) -> Result<Vec<RevisionInfo>, StorageError>;
}

/// Keeps revisions in memory: for tests, and for a node whose card cannot be written.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    revisions: Vec<(RevisionInfo, Settings)>,
}

impl Storage for MemoryStorage {
    fn newest(&mut self) -> Result<Option<StoredRevision>, StorageError> {
        Ok(self.revisions.last().map(|(info, settings)| StoredRevision {
            revision: info.revision,
            settings: settings.clone(),
        }))
    }

    fn revision(&mut self, revision: Revision) -> Result<Option<StoredRevision>, StorageError> {
        let found = self.revisions.iter().find(|(info, _)| info.revision == revision);
        Ok(found.map(|(_, settings)| StoredRevision { revision, settings: settings.clone() }))
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), StorageError> {
        let info = RevisionInfo {
            revision: commit.revision,
            author: commit.author.clone(),
            sentence: commit.sentence.to_owned(),
            at_ms: 0,
        };
        self.revisions.push((info, commit.settings.clone()));
        Ok(())
    }

    fn history(&mut self, limit: usize) -> Result<Vec<RevisionInfo>, StorageError> {
        Ok(self.revisions.iter().rev().take(limit).map(|(info, _)| info.clone()).collect())
    }
}
