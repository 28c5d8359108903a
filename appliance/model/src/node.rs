//! One board: what it is called, what it does and how it is reached.

use crate::net::Cidr;
use crate::text::{DeviceId, Hostname, NodeId, TimeServer};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;

/// What a board does. A board may have several roles; one with none is a spare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Serves the sites.
    Web,
    /// Takes part in holding the floating IP and spreads its visitors over the web servers.
    Balancer,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Web => "web server",
            Self::Balancer => "load balancer",
        })
    }
}

/// One entry of the `nodes` section.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Node {
    /// The board's identity; never changes.
    pub id: NodeId,
    /// The key it proves itself with on port 1937. None: not met yet; the first board that knows
    /// the cluster's key and says it is this node is taken for it.
    pub device: Option<DeviceId>,
    /// Its host name.
    pub name: Hostname,
    /// What it does.
    pub roles: BTreeSet<Role>,
    /// The wired link.
    pub eth0: Link,
    /// The wireless link.
    pub wlan0: Link,
}

impl Node {
    /// Does this board have the role?
    pub fn is(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Both links with the names of their interfaces, the wired one first.
    pub fn links(&self) -> [(&'static str, &Link); 2] {
        [("eth0", &self.eth0), ("wlan0", &self.wlan0)]
    }

    /// The static addresses, the wired one first.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.links().into_iter().filter_map(|(_, link)| Some(link.address?.addr()))
    }
}

/// One network interface of a board.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Link {
    /// Its static address. None: by DHCP on a board; elsewhere the interface is left as it is found.
    pub address: Option<Cidr>,
    /// Its router; none: the cluster's.
    pub gateway: Option<Ipv4Addr>,
    /// Its name servers, in order; none: the cluster's, or else the DHCP server's. The resolver
    /// reads at most 3 of all interfaces together (resolv.conf(5) MAXNS).
    pub dns: Vec<Ipv4Addr>,
    /// Its time servers, asked before the cluster's.
    pub ntp: Vec<TimeServer>,
}
