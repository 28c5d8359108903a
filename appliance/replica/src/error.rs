//! What can go wrong, by whose fault.

/// The document could not be read or written. Ours, or the card's.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LedgerError {
    /// What is stored is no document.
    #[error("the stored document cannot be read: {0}")]
    Unreadable(String),
    /// The merging engine refused an edit.
    #[error("the edit could not be recorded: {0}")]
    Refused(String),
    /// A secret could not be sealed.
    #[error("a secret could not be sealed: {0}")]
    Seal(String),
    /// A conflict that is not there any more.
    #[error("this conflict is settled already; reload the page to see what holds now")]
    Settled,
}

/// What another node sent makes no sense. Counted, and its stream ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyncError {
    /// It is too long.
    #[error("a message of {0} bytes is longer than any there is")]
    TooLong(usize),
    /// It is no message.
    #[error("a message that is none: {0}")]
    Garbage(String),
}

/// A keyring that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cluster's keys cannot be read: {0}")]
pub struct BadKeyring(pub String);
