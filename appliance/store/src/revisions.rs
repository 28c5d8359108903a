//! The settings' revisions.

use crate::database::Shared;
use crate::error::StoreError;
use crate::key_file::KeyFile;
use control::{
    Author, Commit, NewRevision, Piece, RevisionInfo, Storage, StorageError, StoredRevision,
};
use model::{Revision, Settings};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::time::{SystemTime, UNIX_EPOCH};

/// Every revision of the settings, newest last, with the document behind them and its keys.
#[derive(Debug)]
pub struct Revisions {
    shared: Shared,
    keys: KeyFile,
}

impl Revisions {
    pub(crate) fn new(shared: Shared, keys: KeyFile) -> Self {
        Self { shared, keys }
    }

    fn one(&self, sql: &str, number: &[i64]) -> Result<Option<StoredRevision>, StoreError> {
        let found = self
            .shared
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

    fn write(&self, commit: &Commit<'_>) -> Result<(), StoreError> {
        let mut connection = self.shared.lock();
        let transaction = connection.transaction()?;
        if let Some(new) = &commit.revision {
            insert(&transaction, new)?;
        }
        let piece = match commit.piece {
            Piece::Append(piece) => piece,
            Piece::Whole(whole) => {
                transaction.execute("DELETE FROM document", [])?;
                whole
            }
        };
        transaction.execute("INSERT INTO document (piece) VALUES (?)", [piece])?;
        Ok(transaction.commit()?)
    }

    fn pieces(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        let connection = self.shared.lock();
        let mut statement =
            connection.prepare_cached("SELECT piece FROM document ORDER BY number")?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn list(&self, limit: usize) -> Result<Vec<RevisionInfo>, StoreError> {
        let connection = self.shared.lock();
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

fn insert(connection: &Connection, new: &NewRevision<'_>) -> Result<(), StoreError> {
    let author =
        serde_json::to_string(new.author).map_err(|e| StoreError::Unreadable(e.to_string()))?;
    connection.execute(
        "INSERT INTO revisions (revision, at_ms, author, sentence, document) VALUES (?, ?, ?, ?, ?)",
        params![
            number(new.revision)?,
            now_ms(),
            author,
            new.sentence,
            model::to_json(new.settings)
        ],
    )?;
    Ok(())
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
        Ok(self.write(commit)?)
    }

    fn history(&mut self, limit: usize) -> Result<Vec<RevisionInfo>, StorageError> {
        Ok(self.list(limit)?)
    }

    fn document(&mut self) -> Result<Vec<Vec<u8>>, StorageError> {
        Ok(self.pieces()?)
    }

    fn keys(&mut self) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.keys.read()?)
    }

    fn set_keys(&mut self, keys: &[u8]) -> Result<(), StorageError> {
        Ok(self.keys.write(keys)?)
    }
}
