//! What can go wrong with the database.

use control::StorageError;
use std::path::PathBuf;

/// The database could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory or file could not be made, opened or moved.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// SQLite refused.
    #[error("the settings database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A row does not hold what was written there.
    #[error("the settings database holds something unreadable: {0}")]
    Unreadable(String),
    /// A newer release wrote it.
    #[error(
        "the settings database was written by a newer release (schema {found}, this one knows {known}); install that release again, or start with an empty data directory"
    )]
    Newer {
        /// Its schema.
        found: usize,
        /// The newest schema this release knows.
        known: usize,
    },
    /// Another process runs on the same data directory.
    #[error("{0} is in use by a running node; change its settings on its page or stop it first")]
    InUse(PathBuf),
}

impl From<StoreError> for StorageError {
    fn from(error: StoreError) -> Self {
        Self(error.to_string())
    }
}
