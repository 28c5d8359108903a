//! Sessions of the admin page, as opaque records.

use crate::database::Shared;
use crate::error::StoreError;
use rusqlite::{OptionalExtension, params};

/// Sessions by their id. Cheap to clone; calls block for a disk write at most.
#[derive(Clone, Debug)]
pub struct Sessions(Shared);

impl Sessions {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(shared)
    }

    /// The record of a session, expired or not.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn load(&self, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let connection = self.0.lock();
        let mut statement =
            connection.prepare_cached("SELECT record FROM sessions WHERE id = ?")?;
        Ok(statement.query_row([id], |row| row.get(0)).optional()?)
    }

    /// Stores a record until `expires_at`, in seconds since 1970.
    ///
    /// # Errors
    /// When it is not stored.
    pub fn save(&self, id: &str, record: &[u8], expires_at: i64) -> Result<(), StoreError> {
        let sql = "INSERT INTO sessions (id, record, expires_at) VALUES (?1, ?2, ?3)
                   ON CONFLICT (id) DO UPDATE SET record = ?2, expires_at = ?3";
        self.0.lock().execute(sql, params![id, record, expires_at])?;
        Ok(())
    }

    /// Ends a session.
    ///
    /// # Errors
    /// When it is not removed.
    pub fn delete(&self, id: &str) -> Result<(), StoreError> {
        self.0.lock().execute("DELETE FROM sessions WHERE id = ?", [id])?;
        Ok(())
    }

    /// Ends all sessions but one.
    ///
    /// # Errors
    /// When they are not removed.
    pub fn delete_all_except(&self, id: Option<&str>) -> Result<(), StoreError> {
        self.0.lock().execute("DELETE FROM sessions WHERE id IS NOT ?", [id])?;
        Ok(())
    }

    /// Removes what expired before `now`, in seconds since 1970.
    ///
    /// # Errors
    /// When it is not removed.
    pub fn delete_expired(&self, now: i64) -> Result<(), StoreError> {
        self.0.lock().execute("DELETE FROM sessions WHERE expires_at < ?", [now])?;
        Ok(())
    }
}
