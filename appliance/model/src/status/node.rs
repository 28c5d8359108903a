//! One node's report.

use super::{MirrorStatus, ProxyStatus, Subsystem, SubsystemStatus, SystemStatus, VrrpStatus};
use crate::Revision;
use crate::net::Cidr;
use crate::text::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Something the operator should know until it is dealt with, for example a settings database
/// that was damaged and set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// A stable name, so that a notice is not repeated.
    pub key: String,
    /// What happened, what it means, what to do.
    pub text: String,
}

/// What the kernel says of one network interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// Its name, such as `eth0`.
    pub name: String,
    /// Up and with a carrier.
    pub running: bool,
    /// Hardware address, `aa:bb:cc:dd:ee:ff`.
    pub mac: String,
    /// Addresses it has now, floating ones included.
    pub addresses: Vec<Cidr>,
    /// How it comes by an address; None where the settings have one, or nothing is asked for.
    #[serde(default)]
    pub dhcp: Option<DhcpStatus>,
    /// Another machine that answers for an address of this interface.
    #[serde(default)]
    pub conflict: Option<AddressConflict>,
    /// A change of its address or router that is tried out, or was tried out last.
    #[serde(default)]
    pub trial: Option<NetworkTrial>,
}

/// Two machines with one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressConflict {
    /// The address.
    pub address: Ipv4Addr,
    /// The other machine's hardware address, `aa:bb:cc:dd:ee:ff`.
    pub mac: String,
    /// This node has it set. False: it keeps off it until the other one lets go.
    pub used: bool,
}

/// A change of an interface's address or router. It is applied beside what was there before, and
/// taken back unless another node, or the operator, gets through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkTrial {
    /// What was there before, in words: an address or `DHCP`, and the router.
    pub from: String,
    /// What is tried.
    pub to: String,
    /// The new address, once there is one: where the operator may open the page to keep it.
    pub address: Option<Ipv4Addr>,
    /// How it stands.
    pub state: TrialState,
}

/// How a change of the network stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum TrialState {
    /// Applied beside the old one.
    Trying {
        /// Seconds until it is taken back.
        seconds_left: u32,
        /// Another node that got through, or the operator.
        reached_by: Option<String>,
        /// What is still missing, for the operator.
        waits_for: String,
    },
    /// It holds.
    Kept {
        /// The node that got through, or the operator.
        by: String,
    },
    /// Not kept; what was there before is in use.
    TakenBack {
        /// Why, for the operator.
        why: String,
    },
}

/// How far an interface is that has no address in the settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "is")]
pub enum DhcpStatus {
    /// Without a cable, or without a Wi-Fi network.
    NoCarrier,
    /// No server has answered yet.
    Asking,
    /// No server answers: it uses an address of its own choice, 169.254.x.y, which reaches only
    /// what is on the same cable. A server is still asked for.
    LinkLocal,
    /// A server lent it its address.
    Leased {
        /// That server.
        server: Ipv4Addr,
        /// For how long, in seconds, counted anew with each renewal; None: for ever.
        seconds: Option<u32>,
    },
}

/// Everything a node reports about itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// Who reports.
    pub id: NodeId,
    /// Its host name in the settings it runs.
    pub name: String,
    /// Software version.
    pub version: String,
    /// Process id of the appliance process.
    pub pid: u32,
    /// Milliseconds since that process started.
    pub uptime_ms: u64,
    /// The revision of the settings it runs.
    pub revision: Revision,
    /// A short fingerprint of every change it knows: nodes that show the same one are in sync.
    /// Empty where it is not known.
    pub heads: String,
    /// Its subsystems.
    pub subsystems: BTreeMap<Subsystem, SubsystemStatus>,
    /// Its interfaces.
    pub links: Vec<LinkStatus>,
    /// Its virtual routers; empty on a node that is no balancer.
    pub vrrp: Vec<VrrpStatus>,
    /// Its load balancer; None on a node that is no balancer.
    pub proxy: Option<ProxyStatus>,
    /// Its sites' mirrors; empty on a node that is no web server.
    pub mirror: Vec<MirrorStatus>,
    /// The board itself.
    pub system: SystemStatus,
    /// What the operator should know.
    pub notices: Vec<Notice>,
}

/// A node's last report as another node has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeReport {
    /// How long ago it arrived, in milliseconds; 0 for the node's own.
    pub age_ms: u64,
    /// False once nothing has arrived for 3 seconds.
    pub reachable: bool,
    /// The report.
    pub status: NodeStatus,
}
