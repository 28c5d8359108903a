//! Why two nodes did not come together, by whose fault.

use crate::hello::{Refusal, Versions};
use model::NodeId;
use std::io;

/// A handshake that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(io::Error),
    /// Too slow.
    #[error("no answer in time")]
    TimedOut,
    /// What came was no handshake.
    #[error("what came was not from a node")]
    Garbage,
    /// The other end does not know our key, or we do not know its.
    #[error("it has another cluster key")]
    OtherKey,
    /// Nothing says which board that node is.
    #[error("its board is not known yet: adopt it, or give all nodes the same cluster key")]
    Unmet,
    /// The settings know another board under that name; here it is.
    #[error("{0} has a new key: its card was replaced or wiped; use Replace on its page")]
    NewKey(String),
    /// The other end speaks other versions of this protocol only.
    #[error("{}", versions(*.ours, *.theirs))]
    Versions {
        /// Ours.
        ours: Versions,
        /// Its.
        theirs: Versions,
    },
    /// The other end said no.
    #[error("{}", .0.text)]
    Refused(Refusal),
    /// We said no.
    #[error("{}", .0.text)]
    Refusing(Refusal),
    /// Somebody else answered than the node that was called.
    #[error("node {0} answers at its address")]
    OtherNode(NodeId),
}

/// What to do about two releases that do not understand each other.
pub(crate) fn versions(ours: Versions, theirs: Versions) -> String {
    let which = if theirs.max < ours.min { "older" } else { "newer" };
    format!(
        "it runs a much {which} release that this node does not understand; update the older one"
    )
}

impl HandshakeError {
    /// A deliberate no, which another address of the same node would repeat.
    pub(crate) fn is_refusal(&self) -> bool {
        !matches!(self, Self::Io(_) | Self::TimedOut | Self::Garbage)
    }
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        // What TLS cannot make sense of, and what we could not.
        if error.kind() == io::ErrorKind::InvalidData { Self::Garbage } else { Self::Io(error) }
    }
}

impl From<HandshakeError> for io::Error {
    fn from(error: HandshakeError) -> Self {
        let kind = match &error {
            HandshakeError::Io(inner) => inner.kind(),
            HandshakeError::TimedOut => io::ErrorKind::TimedOut,
            HandshakeError::Garbage => io::ErrorKind::InvalidData,
            HandshakeError::Unmet => io::ErrorKind::NotConnected,
            _ => io::ErrorKind::PermissionDenied,
        };
        Self::new(kind, error.to_string())
    }
}
