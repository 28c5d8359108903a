//! Boards in reach, and how one of them comes into the cluster.

use crate::text::{DeviceId, NodeId};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// A board that was heard of on the local network, or looked at by its address. What it says of
/// itself is a hint and proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundBoard {
    /// The fingerprint of its key.
    pub device: DeviceId,
    /// The host name it goes by now.
    pub name: String,
    /// What board it is, such as `Raspberry Pi 3 Model B Plus Rev 1.3`; empty where unknown.
    pub model: String,
    /// Where it is reached, the best address first.
    pub addresses: Vec<Ipv4Addr>,
    /// It has a cable, as it says itself; None where it does not say.
    pub wired: Option<bool>,
    /// Whose it is.
    pub state: BoardState,
    /// It shows to have been made in one batch with this cluster's cards (see [`BoardTrust`]).
    pub trust: BoardTrust,
    /// Milliseconds since it was last heard of.
    pub age_ms: u64,
}

/// Whose a board in reach is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "is")]
pub enum BoardState {
    /// Nobody's: it can be adopted.
    Unclaimed,
    /// A node of this cluster.
    Ours {
        /// Which.
        node: NodeId,
    },
    /// Another cluster's, or one that was claimed on its own page.
    Other {
        /// What that cluster calls itself; empty where it does not say.
        cluster: String,
    },
    /// It speaks a version of the protocol that this node does not.
    Unknown {
        /// The version it says it runs.
        version: String,
    },
}

/// How a board is known to be the one that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BoardTrust {
    /// Its card was written with this cluster's join token: nothing has to be compared. Proved
    /// again, by both sides, before any secret leaves.
    Card,
    /// A code is shown here and there, and the operator says whether they are the same.
    Code,
}

/// What adopting a board takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "by")]
pub enum Offer {
    /// It proved the join token: it can be confirmed at once.
    Trusted,
    /// The operator compares first.
    Compare {
        /// Six digits, which the board shows as well.
        code: String,
        /// How often its green LED flashes in a row, for a board without a screen; from the code.
        blinks: u8,
    },
}

/// One adoption, while it goes on and for a while after it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joining {
    /// The board.
    pub device: DeviceId,
    /// Its name, as it was found.
    pub name: String,
    /// The node whose place it takes; None: a new node.
    pub replaces: Option<NodeId>,
    /// How far it is.
    pub step: JoinStep,
}

/// How far an adoption is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "is")]
pub enum JoinStep {
    /// Asked for, and not begun.
    Pending,
    /// Calling the board.
    Connecting,
    /// Waiting for the operator to compare.
    Compare {
        /// As in [`Offer::Compare`].
        code: String,
        /// As in [`Offer::Compare`].
        blinks: u8,
    },
    /// Handing over the settings and the cluster's key.
    Joining,
    /// It is a node.
    Member {
        /// Which.
        node: NodeId,
    },
    /// It came to nothing; both sides are as before.
    Failed {
        /// Why, and what to do.
        reason: String,
    },
}

/// On the side of a board that nobody has claimed: a cluster wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// What that cluster calls itself.
    pub cluster: String,
    /// The node that asks.
    pub node: String,
    /// Six digits to compare; empty where the join token did.
    pub code: String,
    /// How often the green LED flashes in a row; from the code.
    pub blinks: u8,
}
