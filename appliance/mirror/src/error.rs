//! What can go wrong, by whose fault.

use crate::wire::BadMessage;
use std::io;

/// Why a connection or a piece of work ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The other node could not be reached, or the connection broke.
    #[error("the connection failed: {0}")]
    Link(#[from] io::Error),
    /// The other node was silent for too long.
    #[error("the other node no longer answers")]
    Silent,
    /// The other node said something that makes no sense.
    #[error("the other node broke the protocol: {0}")]
    Protocol(#[from] BadMessage),
    /// The other node broke the protocol in another way.
    #[error("the other node broke the protocol: {0}")]
    Rule(&'static str),
    /// The origin does not serve this node.
    #[error("{0}")]
    Refused(String),
    /// This node is stopping, or no longer has this duty.
    #[error("the mirror is stopping")]
    Stopping,
}

/// A system error in an operator's words.
pub(crate) fn plain(error: rustix::io::Errno) -> String {
    use rustix::io::Errno;
    match error {
        Errno::NOSPC => "the disk is full".to_owned(),
        Errno::DQUOT => "the disk quota is used up".to_owned(),
        Errno::ACCESS | Errno::PERM => "permission denied".to_owned(),
        Errno::ROFS => "the disk is read-only".to_owned(),
        Errno::IO => "the disk reports an error (EIO)".to_owned(),
        Errno::XDEV => "it is on another file system than the data directory".to_owned(),
        Errno::NOTEMPTY => "a directory in its place is not empty".to_owned(),
        Errno::LOOP => "a symbolic link is in the way".to_owned(),
        other => io::Error::from(other).to_string(),
    }
}
