//! Why a board did not come into the cluster.

use super::wire::No;
use crate::error::HandshakeError;

/// Why a board was not adopted, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdoptError {
    /// Nobody has heard of it.
    #[error("this board was not heard of lately: look whether it has power, or enter its address")]
    NotFound,
    /// It does not answer.
    #[error("the board does not answer ({0}): look whether it has power and is on this network")]
    Unreachable(String),
    /// Another board is at its address now.
    #[error("another board answers at its address now: look at the list again")]
    OtherBoard,
    /// It speaks another protocol.
    #[error("{0}")]
    OtherProtocol(String),
    /// This very board.
    #[error("this is the board whose page you are looking at")]
    OwnBoard,
    /// A copy of this board's card.
    #[error("the card of that board is a copy of this one's: write a new card for it, or reset it")]
    Copied,
    /// A node already.
    #[error("it is node {0} of this cluster already")]
    Member(String),
    /// Somebody's.
    #[error("it belongs to {}: remove it there, or reset it", cluster(.0))]
    Claimed(String),
    /// It was a node of this cluster.
    #[error(
        "it was a node of this cluster and still has its old settings: reset it, then adopt it"
    )]
    Removed,
    /// The board says it got its power too long ago.
    #[error(
        "it can be adopted in the first 30 minutes after it got power, so that only somebody who \
         can touch it can: unplug it, plug it in again, wait a minute and try again"
    )]
    Window,
    /// Somebody else is at it.
    #[error("another node is adopting it right now: wait five minutes, or go on there")]
    Busy,
    /// It is being completed.
    #[error("its adoption is being completed: wait a moment")]
    UnderWay,
    /// Too many attempts.
    #[error("there were too many attempts on this board: wait a minute")]
    Often,
    /// The board said no in its own words.
    #[error("the board refused: {0}")]
    Refused(String),
    /// The board does not keep to the protocol.
    #[error("the board did not keep to what it said: somebody may be in between; try again")]
    Cheated,
    /// Nobody confirmed.
    #[error("nobody confirmed within five minutes: begin again")]
    Expired,
    /// The connection is gone.
    #[error("the connection to the board broke: begin again")]
    Broken,
    /// Gone while it mattered.
    #[error(
        "the connection broke while the settings were handed over: if the board does not appear \
         among the nodes within a minute, adopt it again"
    )]
    Halfway,
    /// Ended by the operator.
    #[error("it was cancelled")]
    Cancelled,
    /// Confirmed without having begun.
    #[error("no adoption of this board is under way: begin again")]
    NotBegun,
    /// Adopted without a comparison, which is not allowed.
    #[error("the code has to be compared")]
    NotCompared,
    /// The node to be replaced is not there.
    #[error("there is no node {0} to replace; reload the page to see what there is now")]
    NoSuchNode(String),
    /// This node is nobody's itself.
    #[error("give this node a password first: then it can adopt others")]
    Unclaimed,
    /// Too many at once.
    #[error("too many adoptions are under way: finish or cancel some")]
    TooMany,
    /// The settings did not take it.
    #[error("it could not be made a node: {0}")]
    NotInvited(String),
    /// The board did not take the settings.
    #[error("the board could not take over the settings: {0}")]
    NotAccepted(String),
}

fn cluster(name: &str) -> String {
    if name.is_empty() { "somebody already".to_owned() } else { format!("cluster {name}") }
}

impl AdoptError {
    pub(crate) fn said(why: No, text: &str) -> Self {
        match why {
            No::Claimed => Self::Claimed(text.to_owned()),
            No::Window => Self::Window,
            No::Busy => Self::Busy,
            No::Often => Self::Often,
            No::Failed => Self::NotAccepted(text.to_owned()),
            No::Nonsense | No::Other => Self::Refused(text.to_owned()),
        }
    }
}

impl From<HandshakeError> for AdoptError {
    fn from(error: HandshakeError) -> Self {
        match error {
            HandshakeError::Io(_) | HandshakeError::TimedOut => Self::Broken,
            HandshakeError::Garbage => {
                Self::OtherProtocol("what answers there is no board of this kind".to_owned())
            }
            HandshakeError::Versions { .. } => Self::OtherProtocol(error.to_string()),
            other => Self::Refused(other.to_string()),
        }
    }
}
