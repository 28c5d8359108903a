//! What can go wrong here.

/// Something the board cannot give.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel has no random numbers yet.
    #[error("there are no random numbers: {0}")]
    Random(getrandom::Error),
    /// A setup name or passphrase that breaks the rules for one.
    #[error(transparent)]
    Value(#[from] model::BadValue),
}
