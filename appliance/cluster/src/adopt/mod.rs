//! How a board that is nobody's becomes a node.
//!
//! A node of the cluster calls the board. Both prove the join token that one batch of cards was
//! written with, or show six digits that the operator compares; only then anything leaves the
//! cluster. What is handed over ([`Gift`]) makes the board a member as a whole or not at all.

mod board;
mod code;
mod desk;
mod error;
mod node;
mod rules;
pub(crate) mod wire;

pub(crate) use board::{About, Door, attend};
pub(crate) use code::Meeting;
pub(crate) use desk::Desk;
pub use error::AdoptError;

use model::{DeviceId, Node, NodeId, Secret};
use serde::{Deserialize, Serialize};
use std::pin::Pin;
use std::time::Duration;

/// A future whose error is a sentence for the operator.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

/// How it was made sure that a board is the one that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verified {
    /// Both sides know the join token.
    Card,
    /// The operator compared the code.
    Code,
    /// Not at all: the operator skipped it.
    Skipped,
}

/// A board on its way into the cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct NewBoard {
    /// The fingerprint of its key, which it has proved.
    pub device: DeviceId,
    /// Which node it is to be.
    pub node: NodeId,
    /// It takes the place of that node, which is in the settings; otherwise it is a new one.
    pub replaces: bool,
    /// Its entry in its own settings, under the new id and with its key pinned. A node that it
    /// replaces keeps its own entry, with this key.
    pub entry: Node,
    /// What board it is; empty where unknown.
    pub model: String,
    /// How it was made sure that it is the one.
    pub verified: Verified,
}

/// What makes a board a member.
pub trait Gift: Send + Sync {
    /// On the node that adopts: makes the board a node in the settings, its key pinned, and gives
    /// what it needs to be one. The bytes leave for the board only.
    fn invite(&self, board: NewBoard) -> Answer<'_, Vec<u8>>;
    /// On the node that adopts: the board could not take the gift; it is no node after all.
    fn withdraw(&self, board: NewBoard) -> Answer<'_, ()>;
    /// On the board: becomes that node. Once this has answered, the board is a member after a
    /// power cut as well; before, it is nobody's.
    fn accept(&self, node: NodeId, gift: Vec<u8>) -> Answer<'_, ()>;
}

/// What discovery and adoption need to know of this board.
pub trait Household: Send + Sync {
    /// Somebody's already: it has a password or is a member of a cluster.
    fn claimed(&self) -> bool;
    /// Since it got its power.
    fn powered_for(&self) -> Duration;
    /// What board it is; empty where unknown.
    fn model(&self) -> String {
        String::new()
    }
    /// It has a cable.
    fn wired(&self) -> Option<bool> {
        None
    }
    /// The token that cards of one batch have in common.
    fn join_token(&self) -> Option<Secret> {
        None
    }
    /// Was this board a member of the cluster, and removed?
    fn was_removed(&self, _device: &DeviceId) -> bool {
        false
    }
    /// Lets the green LED flash so many times in a row; None: for half a minute.
    fn blink(&self, flashes: Option<u8>) -> Answer<'_, ()>;
}

#[cfg(test)]
mod tests;
