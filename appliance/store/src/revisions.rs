//! The settings' revisions.

use crate::database::Shared;
use crate::error::StoreError;
use control::{Author, Commit, RevisionInfo, Storage, StorageError, StoredRevision};
use model::{Revision, Settings};
use rusqlite::{OptionalExtension, Row, params};
use std::time::{SystemTime, UNIX_EPOCH};

/// Every revision of the settings, newest last.
#[derive(Debug)]
pub struct Revisions(Shared);

impl Revisions {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(shared)
    }

    fn one(&self, sql: &str, number: &[i64]) -> Result<Option<StoredRevision>, StoreError> {
        let found = self
            .0
            .lock()
            .query_row(sql, rusqlite::params_from_iter(number), |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
            })
            .optional()?;
        let Some((number, document)) = found else {
            return Ok(None);
        };
        let settings = Settings::from_stored(&document)
            .map_err(|e| StoreError::Unreadable(format!("revision {number}: {e}")))?;
        Ok(Some(StoredRevision { revision: revision(number)?, settings }))
    }

    fn insert(&self, commit: &Commit<'_>) -> Result<(), StoreError> {
        let author = serde_json::to_string(commit.author)
            .map_err(|e| StoreError::Unreadable(e.to_string()))?;
        self.0.lock().execute(
            "INSERT INTO revisions (revision, at_ms, author, sentence, document) VALUES (?, ?, ?, ?, ?)",
            params![
                number(commit.revision)?,
                now_ms(),
                author,
                commit.sentence,
                model::to_json(commit.settings)
            ],
        )?;
        Ok(())
    }

    fn list(&self, limit: usize) -> Result<Vec<RevisionInfo>, StoreError> {
        let connection = self.0.lock();
        let mut statement = connection.prepare_cached(
            "SELECT revision, author, sentence, at_ms FROM revisions ORDER BY revision DESC LIMIT ?",
        )?;
        let rows = statement.query_map([i64::try_from(limit).unwrap_or(i64::MAX)], info)?;
        rows.map(|row| {
            let (number, author, sentence, at_ms) = row?;
            let author: Author = serde_json::from_str(&author)
                .map_err(|e| StoreError::Unreadable(format!("author of revision {number}: {e}")))?;
            Ok(RevisionInfo { revision: revision(number)?, author, sentence, at_ms })
        })
        .collect()
    }
}

fn info(row: &Row<'_>) -> rusqlite::Result<(i64, String, String, i64)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

fn revision(number: i64) -> Result<Revision, StoreError> {
    u64::try_from(number)
        .map(Revision)
        .map_err(|_| StoreError::Unreadable(format!("revision number {number}")))
}

fn number(revision: Revision) -> Result<i64, StoreError> {
    i64::try_from(revision.0)
        .map_err(|_| StoreError::Unreadable(format!("revision number {revision}")))
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl Storage for Revisions {
    fn newest(&mut self) -> Result<Option<StoredRevision>, StorageError> {
        let sql = "SELECT revision, document FROM revisions ORDER BY revision DESC LIMIT 1";
        Ok(self.one(sql, &[])?)
    }

    fn revision(&mut self, revision: Revision) -> Result<Option<StoredRevision>, StorageError> {
        let sql = "SELECT revision, document FROM revisions WHERE revision = ?";
        Ok(self.one(sql, &[number(revision)?])?)
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), StorageError> {
        Ok(self.insert(commit)?)
    }

    fn history(&mut self, limit: usize) -> Result<Vec<RevisionInfo>, StorageError> {
        Ok(self.list(limit)?)
    }
}
