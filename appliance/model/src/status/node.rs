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
