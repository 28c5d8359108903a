//! How the appliance changes.
//!
//! [`Engine`] is the only writer of the settings: it applies a [`Change`] to a copy, checks it,
//! asks the subsystems whether they could run it ([`Preflight`]), commits it to [`Storage`] and
//! only then publishes a new [`Snapshot`]. Subsystems watch snapshots, compare their own section
//! with what they run, and report to the [`StatusBoard`]. What is on disk never lags what runs;
//! a missed or repeated snapshot is harmless.
//!
//! This crate knows no subsystem, no SQL and no HTTP.

mod board;
mod change;
mod engine;
mod shutdown;
mod snapshot;
mod storage;
mod supervise;

pub use board::{Reporter, StatusBoard};
pub use change::{Author, Change, Outcome, Rejected};
pub use engine::{Control, Engine, Preflight};
pub use shutdown::{Shutdown, ShutdownTrigger};
pub use snapshot::{Snapshot, SnapshotReceiver};
pub use storage::{Commit, MemoryStorage, RevisionInfo, Storage, StorageError, StoredRevision};
pub use supervise::supervise;

#[cfg(test)]
mod tests;
