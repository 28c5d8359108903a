//! The schema, one step after another; `PRAGMA user_version` counts the steps taken.

use crate::error::StoreError;
use rusqlite::Connection;

/// Never changed once released: a new need is a new step.
const STEPS: &[&str] = &[
    include_str!("../migrations/001_start.sql"),
    include_str!("../migrations/002_document.sql"),
    include_str!("../migrations/003_services.sql"),
];

/// Brings a database to the newest schema, each step whole or not at all.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let done: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let done = usize::try_from(done).unwrap_or(usize::MAX);
    if done > STEPS.len() {
        return Err(StoreError::Newer { found: done, known: STEPS.len() });
    }
    for (index, step) in STEPS.iter().enumerate().skip(done) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", i64::try_from(index + 1).unwrap_or(0))?;
        transaction.commit()?;
    }
    Ok(())
}
