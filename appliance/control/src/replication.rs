//! What the cluster's document says beside the settings, for the pages and the other subsystems.

use model::DeviceId;
use replica::{Decision, LostEdit};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::watch;

/// How far this copy of the document is, and what somebody has to look at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replication {
    /// Equal on two nodes exactly when they have the same document.
    pub heads: String,
    /// Equal on two nodes exactly when they have the same keys.
    pub keys: String,
    /// Edits of the two halves of a split cluster that lost against another.
    pub lost: Vec<LostEdit>,
    /// Set while the settings that came of a merge break a rule and the last good ones run.
    pub decision: Option<Decision>,
    /// Boards that were members once and are none now, by their keys.
    pub removed: BTreeSet<DeviceId>,
    /// Values of the cluster that are no settings, such as `admin.password`. Secret.
    pub shared: BTreeMap<String, String>,
}

/// Where to watch it.
pub type ReplicationReceiver = watch::Receiver<Arc<Replication>>;
