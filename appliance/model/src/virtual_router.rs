//! VRRP instances, under keepalived's names.

use crate::error::BadValue;
use crate::net::Cidr;
use crate::secret::Secret;
use crate::text::{InterfaceName, Name, NodeId};
use crate::units::{Centiseconds, Millis, Priority, Vrid};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The instance that exists as soon as there is a floating IP and a balancer.
pub const DEFAULT_INSTANCE: &str = "VI_1";

/// The version of the protocol on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum VrrpVersion {
    /// RFC 3768, keepalived's default: whole seconds.
    #[default]
    V2,
    /// RFC 9568: hundredths of a second.
    V3,
}

impl TryFrom<u8> for VrrpVersion {
    type Error = BadValue;
    fn try_from(value: u8) -> Result<Self, BadValue> {
        match value {
            2 => Ok(Self::V2),
            3 => Ok(Self::V3),
            _ => Err(BadValue::new(format!("VRRP has versions 2 and 3, not {value}"))),
        }
    }
}

impl From<VrrpVersion> for u8 {
    fn from(value: VrrpVersion) -> u8 {
        match value {
            VrrpVersion::V2 => 2,
            VrrpVersion::V3 => 3,
        }
    }
}

/// One virtual router (keepalived `vrrp_instance`). Its members are the nodes with the balancer
/// role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VrrpInstance {
    /// Its name.
    pub name: Name,
    /// Off: kept in the settings, takes no part.
    pub enabled: bool,
    /// keepalived `vrrp_version`.
    pub version: VrrpVersion,
    /// keepalived `virtual_router_id`.
    pub virtual_router_id: Vrid,
    /// The interface adverts travel on and the floating IP is set on.
    pub interface: InterfaceName,
    /// keepalived `advert_int`, in hundredths of a second; version 2 wants whole seconds.
    pub advert_interval: Centiseconds,
    /// A node with a higher priority takes the floating IP from one that holds it.
    pub preempt: bool,
    /// How long such a node waits first (keepalived `preempt_delay`).
    pub preempt_delay: Millis,
    /// The floating IPs; empty: the cluster's.
    pub addresses: Vec<Cidr>,
    /// The node that should hold them; none: the first balancer.
    pub primary: Option<NodeId>,
    /// Priorities of single nodes; the rest get 101 (primary), 100, 99 and so on.
    pub priorities: BTreeMap<NodeId, Priority>,
    /// Version 2 simple password of at most 8 characters (keepalived `auth_type PASS`); empty:
    /// none. It travels in clear text.
    pub auth_pass: Secret,
    /// Give the floating IP up when this node's own load balancer does not work (keepalived
    /// `track_process`).
    pub track_proxy: bool,
}

impl Default for VrrpInstance {
    fn default() -> Self {
        Self {
            name: Name::default(),
            enabled: true,
            version: VrrpVersion::default(),
            virtual_router_id: Vrid::constant(77),
            interface: "eth0".parse().unwrap_or_default(),
            advert_interval: Centiseconds::constant(100),
            preempt: true,
            preempt_delay: Millis(0),
            addresses: Vec::new(),
            primary: None,
            priorities: BTreeMap::new(),
            auth_pass: Secret::default(),
            track_proxy: true,
        }
    }
}
