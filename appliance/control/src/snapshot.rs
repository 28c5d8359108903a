//! What every subsystem sees of the settings.

use model::{Effective, NodeId, Revision, Settings, derive};
use std::sync::Arc;
use tokio::sync::watch;

/// One revision of the settings with everything that follows from it for this node. Immutable.
#[derive(Debug)]
pub struct Snapshot {
    /// Its number.
    pub revision: Revision,
    /// What the operator says.
    pub settings: Settings,
    /// What follows for this node.
    pub effective: Effective,
}

/// Where subsystems watch for a new snapshot.
pub type SnapshotReceiver = watch::Receiver<Arc<Snapshot>>;

impl Snapshot {
    /// Derives what this node runs.
    pub fn new(revision: Revision, settings: Settings, node: &NodeId) -> Self {
        let effective = derive(&settings, node);
        Self { revision, settings, effective }
    }

    /// This node.
    pub fn node(&self) -> &NodeId {
        &self.effective.node
    }

    /// A pair of channel ends with this snapshot in it, for tests and for subsystems run alone.
    pub fn channel(self) -> (watch::Sender<Arc<Self>>, SnapshotReceiver) {
        watch::channel(Arc::new(self))
    }
}
