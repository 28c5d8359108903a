//! What belongs to this board alone and is no setting of the cluster.

use crate::database::Shared;
use crate::error::StoreError;
use model::NodeId;
use rusqlite::OptionalExtension;

const NODE_ID: &str = "node_id";
const PASSWORD: &str = "admin_password_hash";
const SETUP_PASSPHRASE: &str = "setup_passphrase";
const BOOT_FILE: &str = "boot_file_digest";

/// Values of this board. Cheap to clone; calls block for a disk write at most.
#[derive(Clone, Debug)]
pub struct Local(Shared);

impl Local {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(shared)
    }

    /// The board's identity.
    ///
    /// # Errors
    /// When the database cannot be read or holds something else.
    pub fn node_id(&self) -> Result<Option<NodeId>, StoreError> {
        let unreadable = |e: model::BadValue| StoreError::Unreadable(e.to_string());
        self.get(NODE_ID)?.map(|id| id.parse().map_err(unreadable)).transpose()
    }

    /// Gives the board its identity.
    ///
    /// # Errors
    /// When it is not stored.
    pub fn set_node_id(&self, id: &NodeId) -> Result<(), StoreError> {
        self.set(NODE_ID, id.as_str())
    }

    /// The hash of the admin password; None on an unclaimed node.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn password_hash(&self) -> Result<Option<String>, StoreError> {
        self.get(PASSWORD)
    }

    /// Replaces the hash of the admin password.
    ///
    /// # Errors
    /// When it is not stored.
    pub fn set_password_hash(&self, hash: &str) -> Result<(), StoreError> {
        self.set(PASSWORD, hash)
    }

    /// Sets the hash on an unclaimed node; false when another was first.
    ///
    /// # Errors
    /// When it is not stored.
    pub fn claim(&self, hash: &str) -> Result<bool, StoreError> {
        let sql = "INSERT INTO local (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING";
        Ok(self.0.lock().execute(sql, [PASSWORD, hash])? == 1)
    }

    /// The passphrase of this board's setup access point.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn setup_passphrase(&self) -> Result<Option<String>, StoreError> {
        self.get(SETUP_PASSPHRASE)
    }

    /// Replaces it.
    ///
    /// # Errors
    /// When it is not stored.
    pub fn set_setup_passphrase(&self, passphrase: &str) -> Result<(), StoreError> {
        self.set(SETUP_PASSPHRASE, passphrase)
    }

    /// Which text of the boot partition's settings file was taken over last.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn boot_file_digest(&self) -> Result<Option<String>, StoreError> {
        self.get(BOOT_FILE)
    }

    /// Remembers it.
    ///
    /// # Errors
    /// When it is not stored.
    pub fn set_boot_file_digest(&self, digest: &str) -> Result<(), StoreError> {
        self.set(BOOT_FILE, digest)
    }

    fn get(&self, name: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT value FROM local WHERE name = ?";
        Ok(self.0.lock().query_row(sql, [name], |row| row.get(0)).optional()?)
    }

    fn set(&self, name: &str, value: &str) -> Result<(), StoreError> {
        let sql = "INSERT INTO local (name, value) VALUES (?1, ?2)
                   ON CONFLICT (name) DO UPDATE SET value = ?2";
        self.0.lock().execute(sql, [name, value])?;
        Ok(())
    }
}
