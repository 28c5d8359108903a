//! Where revisions, the replicated document and its keys are kept.

use crate::change::Author;
use model::{Revision, Settings};

/// The settings could not be read or written; the text is for the operator.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct StorageError(pub String);

/// A revision about to be stored.
#[derive(Clone, Debug)]
pub struct NewRevision<'a> {
    /// Its number, one more than the newest.
    pub revision: Revision,
    /// Who made it.
    pub author: &'a Author,
    /// What the history says of it.
    pub sentence: &'a str,
    /// The whole document, its secrets sealed.
    pub settings: &'a Settings,
}

/// What becomes of the replicated document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// This comes after what there is.
    Append(&'a [u8]),
    /// This takes the place of everything there is.
    Whole(&'a [u8]),
}

/// What is stored together or not at all.
#[derive(Clone, Debug)]
pub struct Commit<'a> {
    /// None: the settings that run stay as they are.
    pub revision: Option<NewRevision<'a>>,
    /// The replicated document, which knows the newest revision from then on.
    pub piece: Piece<'a>,
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

/// A stored revision, its secrets sealed.
#[derive(Clone, Debug)]
pub struct StoredRevision {
    /// Its number.
    pub revision: Revision,
    /// The whole document.
    pub settings: Settings,
}

/// Keeps revisions for ever and in order, the document in pieces, and the keys in a place of their
/// own. Used by one thread at a time.
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
    /// Stores, durably: a power cut after this returns does not lose it.
    ///
    /// # Errors
    /// When it is not stored; everything is then as before.
    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), StorageError>;
    /// The newest `limit` revisions, newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    fn history(&mut self, limit: usize) -> Result<Vec<RevisionInfo>, StorageError>;
    /// The pieces of the replicated document, oldest first.
    ///
    /// # Errors
    /// When they cannot be read.
    fn document(&mut self) -> Result<Vec<Vec<u8>>, StorageError>;
    /// The cluster's keys; None on a node that has none yet.
    ///
    /// # Errors
    /// When they cannot be read.
    fn keys(&mut self) -> Result<Option<Vec<u8>>, StorageError>;
    /// Stores the keys, durably and readable to this process alone.
    ///
    /// # Errors
    /// When they are not stored; the old ones are still there then.
    fn set_keys(&mut self, keys: &[u8]) -> Result<(), StorageError>;
}

/// Keeps everything in memory: for tests, and for a node whose card cannot be written.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    revisions: Vec<(RevisionInfo, Settings)>,
    pieces: Vec<Vec<u8>>,
    keys: Option<Vec<u8>>,
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
        match commit.piece {
            Piece::Append(piece) => self.pieces.push(piece.to_vec()),
            Piece::Whole(whole) => self.pieces = vec![whole.to_vec()],
        }
        let Some(new) = &commit.revision else { return Ok(()) };
        let info = RevisionInfo {
            revision: new.revision,
            author: new.author.clone(),
            sentence: new.sentence.to_owned(),
            at_ms: 0,
        };
        self.revisions.push((info, new.settings.clone()));
        Ok(())
    }

    fn history(&mut self, limit: usize) -> Result<Vec<RevisionInfo>, StorageError> {
        Ok(self.revisions.iter().rev().take(limit).map(|(info, _)| info.clone()).collect())
    }

    fn document(&mut self) -> Result<Vec<Vec<u8>>, StorageError> {
        Ok(self.pieces.clone())
    }

    fn keys(&mut self) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.keys.clone())
    }

    fn set_keys(&mut self, keys: &[u8]) -> Result<(), StorageError> {
        self.keys = Some(keys.to_vec());
        Ok(())
    }
}
