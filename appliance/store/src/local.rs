//! What belongs to this board alone and is no setting of the cluster.

use crate::database::Shared;
use crate::error::StoreError;
use model::token::{MOST, Token};
use model::{Name, NodeId};
use rusqlite::OptionalExtension;

const NODE_ID: &str = "node_id";
const PASSWORD: &str = "admin_password_hash";
const SETUP_PASSPHRASE: &str = "setup_passphrase";
const JOIN_TOKEN: &str = "join_token";
const BOOT_FILE: &str = "boot_file_digest";
const NETWORK: &str = "network_confirmed";

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

    /// The tokens of programs, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        let connection = self.0.lock();
        let mut statement = connection
            .prepare_cached("SELECT value FROM local WHERE name GLOB 'token/*' ORDER BY name")?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
        let read = |text: String| {
            serde_json::from_str(&text).map_err(|e| StoreError::Unreadable(e.to_string()))
        };
        rows.map(|row| read(row?)).collect()
    }

    /// Stores a new token; the inner error says why not.
    ///
    /// # Errors
    /// When it is not stored.
    pub fn add_token(&self, token: &Token) -> Result<Result<(), String>, StoreError> {
        if self.tokens()?.len() >= MOST {
            return Ok(Err(format!("there are {MOST} tokens already; remove one first")));
        }
        let text =
            serde_json::to_string(token).map_err(|e| StoreError::Unreadable(e.to_string()))?;
        let sql = "INSERT INTO local (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING";
        let stored = self.0.lock().execute(sql, [format!("token/{}", token.name), text])? == 1;
        Ok(if stored { Ok(()) } else { Err("there is a token of that name already".to_owned()) })
    }

    /// Removes a token; false when there was none.
    ///
    /// # Errors
    /// When it is not removed.
    pub fn remove_token(&self, name: &Name) -> Result<bool, StoreError> {
        let sql = "DELETE FROM local WHERE name = ?";
        Ok(self.0.lock().execute(sql, [format!("token/{name}")])? == 1)
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
        let sql = "INSERT INTO local (name, value) VALUES (?1, ?2)
                   ON CONFLICT (name) DO UPDATE SET value = ?2";
        self.0.lock().execute(sql, [name, value])?;
        Ok(())
    }
}
