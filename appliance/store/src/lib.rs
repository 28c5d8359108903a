//! SQLite: what outlives the process.
//!
//! One database file, `bramble.db` in the data directory, holds every revision of the settings
//! ([`Revisions`]), the admin page's sessions ([`Sessions`]), the audit logs ([`AuditLog`]) and
//! what belongs to this board alone ([`Local`]: its identity, the hash of the admin password). Write-ahead log with full
//! synchronisation: what was committed survives a power cut, what was not leaves no trace.
//!
//! Secrets that a copy of the database must not open stand beside it in files of their own
//! ([`KeyFile`]).
//!
//! A damaged database is set aside, never repaired by guessing, and the node starts with a new
//! one: [`Store::damaged`] tells the operator. This crate makes no decision about settings.

mod audit;
mod database;
mod error;
mod key_file;
mod local;
mod lock;
mod migrate;
mod revisions;
mod sessions;

pub use audit::{AuditLog, Merged};
pub use database::Store;
pub use error::StoreError;
pub use key_file::{Kept, KeyFile};
pub use local::Local;
pub use lock::DataLock;
pub use revisions::Revisions;
pub use sessions::Sessions;
