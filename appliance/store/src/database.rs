//! Opening the database, or setting a damaged one aside.

use crate::audit::AuditLog;
use crate::error::StoreError;
use crate::key_file::KeyFile;
use crate::local::Local;
use crate::migrate::migrate;
use crate::revisions::Revisions;
use crate::sessions::Sessions;
use control::Storage;
use model::NodeId;
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const FILE: &str = "bramble.db";
/// The keys that secrets in it are sealed with.
const KEYS: &str = "cluster.keys";

/// The database of one data directory.
#[derive(Debug)]
pub struct Store {
    keys: KeyFile,
    damaged: Option<PathBuf>,
    shared: Shared,
}

/// The connection that everything has in common. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Mutex<Connection>>);

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic between two statements leaves a connection that is as good as before.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Opens the database in `directory`, which is made if missing. A damaged database is moved
    /// to `bramble.db.damaged-N` and a new one begun.
    ///
    /// # Errors
    /// When the directory cannot be written, or a newer release wrote the database.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let file = |path: &Path, source| StoreError::File { path: path.to_owned(), source };
        make_directory(directory)?;
        let path = directory.join(FILE);
        let keys = KeyFile::new(directory, KEYS)?;
        // The database holds secrets: made before SQLite would make it readable to all.
        fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| file(&path, e))?;
        match examine(&path, &keys) {
            Ok(shared) => Ok(Self { keys, damaged: None, shared }),
            Err(error) if is_damage(&error) => {
                tracing::error!("{error}; the database is set aside");
                let aside = set_aside(&path).map_err(|e| file(&path, e))?;
                Ok(Self { shared: examine(&path, &keys)?, keys, damaged: Some(aside) })
            }
            Err(error) => Err(error),
        }
    }

    /// Where a damaged database was moved when this one was opened.
    pub fn damaged(&self) -> Option<&Path> {
        self.damaged.as_deref()
    }

    /// The settings' revisions.
    pub fn revisions(&self) -> Revisions {
        Revisions::new(self.shared.clone(), self.keys.clone())
    }

    /// The admin page's sessions. To be opened once: what is open knows more than the database.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn sessions(&self) -> Result<Sessions, StoreError> {
        Sessions::open(self.shared.clone())
    }

    /// The audit logs, as the node of this name writes its own. `clock_set` says whether its clock
    /// is to be trusted.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn audit(
        &self,
        node: &NodeId,
        clock_set: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Result<AuditLog, StoreError> {
        AuditLog::open(self.shared.clone(), node, Box::new(clock_set))
    }

    /// What belongs to this board alone.
    pub fn local(&self) -> Local {
        Local::new(self.shared.clone())
    }
}

/// Makes a data directory where there is none.
pub(crate) fn make_directory(directory: &Path) -> Result<(), StoreError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(directory);
    made.map_err(|source| StoreError::File { path: directory.to_owned(), source })
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    match connect_as(path, "NORMAL") {
        // The index of the log is a file that needs a little room; a full card has none. Whoever
        // locks everybody else out keeps it in memory, and can read at least.
        Err(StoreError::Sqlite(error)) if is_want_of_room(&error) => {
            tracing::warn!("the data partition is full: {error}");
            connect_as(path, "EXCLUSIVE")
        }
        result => result,
    }
}

fn is_want_of_room(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DiskFull, SystemIoFailure};
    matches!(error.sqlite_error_code(), Some(DiskFull | SystemIoFailure))
}

fn connect_as(path: &Path, locking: &str) -> Result<Connection, StoreError> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "locking_mode", locking)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // With the log, FULL is what makes a commit survive a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // Only now the file is read, and the log's index made.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

/// Opens a database and reads what it must hold, so that damage shows now and not later.
fn examine(path: &Path, keys: &KeyFile) -> Result<Shared, StoreError> {
    let mut connection = connect(path)?;
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(StoreError::Unreadable(verdict));
    }
    migrate(&mut connection)?;
    let shared = Shared(Arc::new(Mutex::new(connection)));
    Revisions::new(shared.clone(), keys.clone())
        .newest()
        .map_err(|e| StoreError::Unreadable(e.0))?;
    Ok(shared)
}

fn is_damage(error: &StoreError) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    match error {
        StoreError::Unreadable(_) => true,
        StoreError::Sqlite(rusqlite::Error::SqliteFailure(code, _)) => {
            // An error without a code of its own is a statement that failed: a table is missing.
            matches!(code.code, DatabaseCorrupt | NotADatabase | rusqlite::ErrorCode::Unknown)
        }
        StoreError::Sqlite(_) => true,
        StoreError::File { .. } | StoreError::Newer { .. } | StoreError::InUse(_) => false,
    }
}

/// Moves the database with its log to a name that is free.
fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
    let name = |number: u32, suffix: &str| {
        PathBuf::from(format!("{}{suffix}.damaged-{number}", path.display()))
    };
    let number = (1..1000).find(|n| !name(*n, "").exists()).unwrap_or(1000);
    let aside = name(number, "");
    fs::rename(path, &aside)?;
    for suffix in ["-wal", "-shm"] {
        let part = PathBuf::from(format!("{}{suffix}", path.display()));
        if part.exists() {
            fs::rename(&part, name(number, suffix))?;
        }
    }
    Ok(aside)
}
