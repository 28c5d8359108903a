//! Why two nodes did not come together, by whose fault.

use model::NodeId;
use std::io;

/// A handshake that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// Too slow.
    #[error("no answer in time")]
    TimedOut,
    /// What came was no handshake.
    #[error("what came was not from a node")]
    Garbage,
    /// The other end does not know our key, or we do not know its.
    #[error("it has another cluster key")]
    OtherKey,
    /// The other end speaks another version of this protocol.
    #[error("it runs another version of the software; update the older node")]
    OtherVersion,
    /// The other end said no.
    #[error("{0}")]
    Refused(String),
    /// Somebody else answered than the node that was called.
    #[error("node {0} answers at its address")]
    OtherNode(NodeId),
    /// The cipher failed on our side.
    #[error("the cipher failed: {0}")]
    Cipher(snow::Error),
}

impl HandshakeError {
    /// A deliberate no, which another address of the same node would repeat.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::OtherKey | Self::OtherVersion | Self::Refused(_) | Self::OtherNode(_))
    }
}

impl From<HandshakeError> for io::Error {
    fn from(error: HandshakeError) -> Self {
        let kind = match &error {
            HandshakeError::Io(inner) => inner.kind(),
            HandshakeError::TimedOut => io::ErrorKind::TimedOut,
            HandshakeError::Garbage | HandshakeError::Cipher(_) => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::PermissionDenied,
        };
        Self::new(kind, error.to_string())
    }
}
