//! What all nodes have in common.

use crate::net::Cidr;
use crate::secret::Secret;
use crate::text::{Name, TimeServer};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// The `cluster` section.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cluster {
    /// What the page calls the whole.
    pub name: Option<Name>,
    /// The address visitors use, held by whichever balancer is VRRP master. None: no balancing.
    pub floating_ip: Option<Cidr>,
    /// The router of every interface that names none of its own.
    pub gateway: Option<Ipv4Addr>,
    /// Name servers of every node, in order, at most 3 (resolv.conf(5) MAXNS).
    pub dns: Vec<Ipv4Addr>,
    /// Time servers of every node, asked together. None: the DHCP server's, or else public ones.
    pub ntp: Vec<TimeServer>,
    /// Connections of visitors that a balancer takes at once, over all frontends; more wait in the
    /// kernel (HAProxy's global `maxconn`). None: as many as its limit of open files allows.
    pub maxconn: Option<u32>,
    /// By this key nodes that have not met trust each other on port 1937, and pin each other's
    /// own keys: at least 32 characters, the same on every node. Empty: only boards that are
    /// pinned already or adopted.
    pub key: Secret,
}
