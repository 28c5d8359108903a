//! Opening the database, or setting a damaged one aside.

use crate::error::StoreError;
use crate::local::Local;
use crate::migrate::migrate;
use crate::revisions::Revisions;
use crate::sessions::Sessions;
use control::Storage;
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const FILE: &str = "bramble.db";

/// The database of one data directory.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    damaged: Option<PathBuf>,
    shared: Shared,
}

/// The connection that sessions and local values have in common. Cheap to clone.
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
        // The database holds secrets: made before SQLite would make it readable to all.
        fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| file(&path, e))?;
        match examine(&path) {
            Ok(connection) => Ok(Self::new(path, connection, None)),
            Err(error) if is_damage(&error) => {
                tracing::error!("{error}; the database is set aside");
                let aside = set_aside(&path).map_err(|e| file(&path, e))?;
                let connection = examine(&path)?;
                Ok(Self::new(path, connection, Some(aside)))
            }
            Err(error) => Err(error),
        }
    }

    fn new(path: PathBuf, connection: Connection, damaged: Option<PathBuf>) -> Self {
        Self { path, damaged, shared: Shared(Arc::new(Mutex::new(connection))) }
    }

    /// Where a damaged database was moved when this one was opened.
    pub fn damaged(&self) -> Option<&Path> {
        self.damaged.as_deref()
    }

    /// The settings' revisions, on a connection of their own.
    ///
    /// # Errors
    /// When the database cannot be opened a second time.
    pub fn revisions(&self) -> Result<Revisions, StoreError> {
        Ok(Revisions::new(connect(&self.path)?))
    }

    /// The admin page's sessions.
    pub fn sessions(&self) -> Sessions {
        Sessions::new(self.shared.clone())
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
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // With the log, FULL is what makes a commit survive a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}

/// Opens a database and reads what it must hold, so that damage shows now and not later.
fn examine(path: &Path) -> Result<Connection, StoreError> {
    let mut connection = connect(path)?;
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(StoreError::Unreadable(verdict));
    }
    migrate(&mut connection)?;
    Revisions::new(connect(path)?).newest().map_err(|e| StoreError::Unreadable(e.0))?;
    Ok(connection)
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
