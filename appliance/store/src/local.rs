//! What belongs to this board alone and is no setting of the cluster.

use crate::database::Shared;
use crate::error::StoreError;
use model::NodeId;
use rusqlite::OptionalExtension;

const NODE_ID: &str = "node_id";
const PASSWORD: &str = "admin_password_hash";
const AGREED_PASSWORD: &str = "admin_password_agreed";
const FORGOTTEN_AT: &str = "admin_password_forgotten_at";
const FORGOTTEN: &str = "admin_password_forgotten";
const SETUP_PASSPHRASE: &str = "setup_passphrase";
const JOIN_TOKEN: &str = "join_token";
const BOOT_FILE: &str = "boot_file_digest";
const NETWORK: &str = "network_confirmed";

const SET: &str = "INSERT INTO local (name, value) VALUES (?1, ?2)
                   ON CONFLICT (name) DO UPDATE SET value = ?2";
const REMOVE: &str = "DELETE FROM local WHERE name = ?";

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

    /// The token that the cards of one batch were written with.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn join_token(&self) -> Result<Option<String>, StoreError> {
        self.get(JOIN_TOKEN)
    }

    /// Replaces it.
    ///
    /// # Errors
    /// When it is not stored.
    pub fn set_join_token(&self, token: &str) -> Result<(), StoreError> {
        self.set(JOIN_TOKEN, token)
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

    /// The hash of the admin password that this board and the cluster last agreed on. Another one
    /// in [`Self::password_hash`] was set here since, for example on the command line.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn agreed_password_hash(&self) -> Result<Option<String>, StoreError> {
        self.get(AGREED_PASSWORD)
    }

    /// The cluster and this board agree on this hash.
    ///
    /// # Errors
    /// When it is not stored.
    pub fn agree_on_password_hash(&self, hash: &str) -> Result<(), StoreError> {
        let connection = self.0.lock();
        let transaction = connection.unchecked_transaction()?;
        for name in [PASSWORD, AGREED_PASSWORD] {
            transaction.execute(SET, [name, hash])?;
        }
        transaction.execute(REMOVE, [FORGOTTEN])?;
        Ok(transaction.commit()?)
    }

    /// Lets the admin password be chosen anew on this board, whatever the cluster says: once for
    /// each `boot`, because a process that is started again finds the same order. False when that
    /// was done.
    ///
    /// # Errors
    /// When that is not stored.
    pub fn forget_password(&self, boot: &str) -> Result<bool, StoreError> {
        if self.get(FORGOTTEN_AT)?.as_deref() == Some(boot) {
            return Ok(false);
        }
        let connection = self.0.lock();
        let transaction = connection.unchecked_transaction()?;
        transaction.execute(REMOVE, [PASSWORD])?;
        transaction.execute(SET, [FORGOTTEN, "yes"])?;
        transaction.execute(SET, [FORGOTTEN_AT, boot])?;
        transaction.commit()?;
        Ok(true)
    }

    /// Is it to be chosen anew? Until it is.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn password_is_forgotten(&self) -> Result<bool, StoreError> {
        Ok(self.password_hash()?.is_none() && self.get(FORGOTTEN)?.is_some())
    }

    /// The network settings of this board that somebody got through with, as the network wrote
    /// them down.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn network(&self) -> Result<Option<String>, StoreError> {
        self.get(NETWORK)
    }

    /// Remembers them.
    ///
    /// # Errors
    /// When they are not stored.
    pub fn set_network(&self, text: &str) -> Result<(), StoreError> {
        self.set(NETWORK, text)
    }

    /// Forgets them: what the settings say next is taken for right.
    ///
    /// # Errors
    /// When they stay.
    pub fn forget_network(&self) -> Result<(), StoreError> {
        self.0.lock().execute("DELETE FROM local WHERE name = ?", [NETWORK])?;
        Ok(())
    }

    fn get(&self, name: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT value FROM local WHERE name = ?";
        Ok(self.0.lock().query_row(sql, [name], |row| row.get(0)).optional()?)
    }

    fn set(&self, name: &str, value: &str) -> Result<(), StoreError> {
        self.0.lock().execute(SET, [name, value])?;
        Ok(())
    }
}
