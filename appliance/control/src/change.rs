//! A change on its way in, and what became of it.

use crate::snapshot::Snapshot;
use model::{Edit, Problem, Revision};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Who wants a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", content = "name")]
pub enum Author {
    /// The operator, on the page or through the API, from this address.
    Operator(String),
    /// Another node of the cluster.
    Peer(String),
    /// The command line, or the appliance itself at first start.
    Local,
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator(from) => write!(f, "operator at {from}"),
            Self::Peer(node) => write!(f, "node {node}"),
            Self::Local => f.write_str("this node"),
        }
    }
}

/// Edits that are made together or not at all.
#[derive(Clone, Debug)]
pub struct Change {
    /// The revision they were made from. None: whatever is current, for edits such as a server's
    /// state that mean the same on any revision.
    pub base: Option<Revision>,
    /// Who wants them.
    pub author: Author,
    /// The edits, in order.
    pub edits: Vec<Edit>,
}

/// A change that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is stored and published under this number.
    Applied(Revision),
    /// The settings already say so; nothing was stored or published.
    Unchanged(Revision),
}

impl Outcome {
    /// The revision that holds the change.
    pub const fn revision(self) -> Revision {
        match self {
            Self::Applied(r) | Self::Unchanged(r) => r,
        }
    }
}

/// A change that was refused; the running settings are untouched.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Rejected {
    /// Somebody else changed the settings first.
    #[error("the settings were changed meanwhile; they are at revision {} now", .0.revision)]
    Stale(Arc<Snapshot>),
    /// The settings would be wrong.
    #[error("the settings would have {} problem(s)", .0.len())]
    Problems(Vec<Problem>),
    /// A subsystem could not run them.
    #[error("{subsystem} cannot do that: {reason}")]
    Cannot {
        /// Which.
        subsystem: String,
        /// Why, for the operator.
        reason: String,
    },
    /// An edit names something that is not there, or a revision that never was.
    #[error("{0}")]
    Missing(String),
    /// The settings could not be stored.
    #[error("the settings could not be stored: {0}")]
    Storage(String),
    /// The appliance is stopping.
    #[error("this node is shutting down; try again when it is back")]
    Stopping,
}
