//! The replicated document behind the settings.
//!
//! Every node has a whole copy of one document and may edit it at any time, alone or not; copies
//! that meet again become the same ([`Ledger`]). The document is a flat map ([`flat`]): each
//! setting is a key of its own, so that two nodes that changed different settings while they were
//! apart both keep their change. Where both changed the same one, every copy chooses the same
//! winner, and the other value stays readable until somebody decides ([`LostEdit`]). Where a merge
//! breaks a rule that spans several keys, the last good settings go on running and the operator is
//! asked ([`Decision`]).
//!
//! Nothing is ever removed from the document's history, so a secret enters it only as ciphertext
//! ([`Keyring`]). What belongs to the cluster and is no setting (the hash of the admin password,
//! for instance) lives beside the settings as a shared value: no revert of settings touches it.
//!
//! Clocks decide nothing here: order comes from the edits' causes.
//!
//! Pure: no I/O, no threads, no clock. The engine in `control` stores what a [`Step`] says and the
//! cluster carries [`Ledger::generate`]'s messages. The merging itself is automerge's, behind
//! [`Document`].

mod automerge;
mod decision;
mod document;
mod error;
pub mod flat;
#[doc(hidden)]
pub mod fuzzing;
mod keyring;
mod ledger;
mod lost;
mod note;

pub use automerge::Automerge;
pub use decision::{Decision, PendingChange};
pub use document::{ChangeId, Document, Stored, Version, Versions};
pub use error::{BadKeyring, LedgerError, SyncError};
pub use keyring::{Keyring, Random, from_system};
pub use ledger::{Ledger, Step};
pub use lost::{Choice, LostEdit};
pub use note::Note;

/// A larger message of another node is refused unread, in bytes. A cluster that has been edited
/// 10,000 times is copied whole in less than a hundredth of that.
pub const MAX_MESSAGE: usize = 8 * 1024 * 1024;

#[cfg(test)]
mod tests;
