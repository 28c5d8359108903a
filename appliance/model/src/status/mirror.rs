//! How far a mirror is behind its origin.

use crate::text::{Name, NodeId};
use serde::{Deserialize, Serialize};

/// What a site's mirror is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "is")]
pub enum MirrorPhase {
    /// This node is the origin and serves its mirrors.
    Origin,
    /// Not connected to the origin yet, or no more.
    #[default]
    Connecting,
    /// Comparing or copying.
    Syncing,
    /// Equal to the origin, as far as it has told.
    Following,
    /// Stopped for safety: nothing is changed until the reason is gone.
    Held {
        /// What happened, what it means, what to do.
        reason: String,
        /// The operator may let the deletion pass that is held back.
        approvable: bool,
    },
    /// Something went wrong; tried again by itself.
    Failed {
        /// What.
        reason: String,
    },
}

/// One site's mirror on this node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MirrorStatus {
    /// The site.
    pub site: Name,
    /// Its origin.
    pub origin: NodeId,
    /// What it is doing.
    pub phase: MirrorPhase,
    /// Milliseconds by which this node's copy may be behind; 0 when it is equal; None when
    /// unknown (never connected).
    pub lag_ms: Option<u64>,
    /// Milliseconds since the copy was last known to be equal.
    pub synced_ago_ms: Option<u64>,
    /// Milliseconds since the last full compare ended.
    pub compared_ago_ms: Option<u64>,
    /// Files and directories in the tree, as last scanned.
    pub entries: u64,
    /// Files created or replaced since start.
    pub copied: u64,
    /// Entries deleted since start.
    pub deleted: u64,
    /// Bytes of file content received since start (mirror) or sent (origin).
    pub bytes: u64,
    /// Mirrors connected (origin only).
    pub followers: u32,
    /// Entries that cannot be mirrored, with the reason, at most 20.
    pub skipped: Vec<String>,
}
