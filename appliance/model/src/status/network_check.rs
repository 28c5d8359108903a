//! What trying out a node's network came to. Facts only; what they mean is worked out where they
//! are shown.

use crate::text::NodeId;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// One round of tries, made when somebody asked for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkCheck {
    /// Milliseconds since the round was over.
    pub age_ms: u64,
    /// The routers of this node, one entry an interface that has one.
    pub gateways: Vec<GatewayTry>,
    /// The name servers it asks, in their order; empty where there is none.
    pub name_servers: Vec<ServerTry>,
    /// A connection to a well-known address on the internet, by number, without any name.
    pub internet: Try,
    /// The time servers it asks; empty where this node keeps no time of its own.
    pub time_servers: Vec<TimeTry>,
    /// The other nodes, one entry an address of theirs.
    pub peers: Vec<PeerTry>,
    /// Addresses of this node, floating ones included, that another machine answers for too.
    pub duplicates: Vec<Duplicate>,
}

/// What became of one try.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "is")]
pub enum Try {
    /// Not tried: there was nothing to try, or no way to.
    #[default]
    Untried,
    /// An answer came.
    Answered {
        /// After so many milliseconds.
        ms: u32,
    },
    /// No answer came in time.
    Silent,
    /// An answer came, and it was no good, or the kernel refused to ask.
    Failed {
        /// What it said, for the operator.
        why: String,
    },
}

impl Try {
    /// Did an answer come that is good?
    pub const fn is_good(&self) -> bool {
        matches!(self, Self::Answered { .. })
    }
}

/// A router, asked by ARP: whether it is there at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayTry {
    /// On this interface.
    pub interface: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// What became of it.
    pub answer: Try,
}

/// A name server, asked for a well-known name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerTry {
    /// Its address.
    pub address: Ipv4Addr,
    /// What became of it.
    pub answer: Try,
}

/// A time server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeTry {
    /// Its name or address.
    pub server: String,
    /// What became of it.
    pub answer: Try,
    /// How far this node's clock is ahead of it, in milliseconds.
    #[serde(default)]
    pub ahead_ms: Option<i64>,
}

/// Another node's address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerTry {
    /// That node.
    pub node: NodeId,
    /// The address of it that was tried.
    pub address: Ipv4Addr,
    /// What became of it.
    pub answer: Try,
}

/// An address two machines have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duplicate {
    /// On this interface.
    pub interface: String,
    /// The address.
    pub address: Ipv4Addr,
    /// The other machine's hardware address, `aa:bb:cc:dd:ee:ff`.
    pub mac: String,
}
