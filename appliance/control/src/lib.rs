//! How the appliance changes.
//!
//! [`Engine`] is the only writer of the settings: it applies a [`Change`] to a copy, checks it,
//! asks the subsystems whether they could run it ([`Preflight`]), commits it to [`Storage`] and
//! only then publishes a new [`Snapshot`]. Subsystems watch snapshots, compare their own section
//! with what they run, and report to the [`StatusBoard`]. What is on disk never lags what runs;
//! a missed or repeated snapshot is harmless.
//!
//! Behind the settings stands a document that every node of the cluster has ([`replica`]): the
//! [`Book`] keeps both and the card in step. What other nodes changed comes in through an
//! [`Exchange`] and becomes a revision like any other.
//!
//! This crate knows no subsystem, no SQL and no HTTP.

mod board;
mod book;
mod change;
mod engine;
mod replication;
mod shutdown;
mod snapshot;
mod storage;
mod supervise;

pub use board::{Reporter, StatusBoard};
pub use book::{Book, BookError, Gift};
pub use change::{Author, Change, Outcome, Rejected};
pub use engine::{Control, Engine, Exchange, ExchangeError, Obstacle, Preflight};
pub use replica::flat;
pub use replica::{ChangeId, Choice, Decision, LostEdit, MAX_MESSAGE, Note, PendingChange, Random};
pub use replication::{Replication, ReplicationReceiver};
pub use shutdown::{Shutdown, ShutdownTrigger};
pub use snapshot::{Snapshot, SnapshotReceiver};
pub use storage::{
    Commit, MemoryStorage, NewRevision, Piece, RevisionInfo, Storage, StorageError, StoredRevision,
};
pub use supervise::supervise;

#[cfg(test)]
mod tests;
