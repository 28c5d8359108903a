//! How far each subsystem has followed the settings.

use crate::Revision;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The parts of the appliance that follow the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subsystem {
    /// Addresses, routes, host name.
    Network,
    /// Failover.
    Vrrp,
    /// Load balancer.
    Proxy,
    /// Web server.
    Server,
    /// File mirror.
    Mirror,
    /// Node-to-node channel.
    Cluster,
}

impl fmt::Display for Subsystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network => "network",
            Self::Vrrp => "failover",
            Self::Proxy => "load balancer",
            Self::Server => "web server",
            Self::Mirror => "mirror",
            Self::Cluster => "node channel",
        })
    }
}

/// What a subsystem makes of the settings it was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "is")]
pub enum SubsystemState {
    /// Not yet looked at them.
    #[default]
    Starting,
    /// Runs them.
    Applied,
    /// Nothing to do on this node.
    Idle,
    /// Runs what it can of them.
    Degraded {
        /// What is missing and what to do, for the operator.
        reason: String,
    },
    /// Ended unexpectedly and is being started again.
    Failed {
        /// Why.
        reason: String,
    },
}

/// A subsystem's state and the newest revision it has dealt with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubsystemStatus {
    /// The newest revision it has dealt with.
    pub revision: Revision,
    /// What came of it.
    pub state: SubsystemState,
}
