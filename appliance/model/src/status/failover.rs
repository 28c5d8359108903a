//! Who holds the floating IPs.

use crate::net::Cidr;
use crate::text::Name;
use crate::units::{Priority, Vrid};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// A virtual router's state (RFC 9568 6.4; FAULT as in keepalived).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum VrrpState {
    /// Not started.
    #[default]
    Init,
    /// Watches the master.
    Backup,
    /// Holds the floating IPs.
    Master,
    /// Cannot take part.
    Fault,
}

impl VrrpState {
    /// keepalived's word.
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::Init => "INIT",
            Self::Backup => "BACKUP",
            Self::Master => "MASTER",
            Self::Fault => "FAULT",
        }
    }
}

/// Packets counted since start, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VrrpCounters {
    /// Adverts sent.
    pub sent: u64,
    /// Adverts accepted.
    pub received: u64,
    /// Times this node became master.
    pub became_master: u64,
    /// Dropped: not a VRRP packet this instance can read (length, type, count, reserved forms).
    pub bad_packet: u64,
    /// Dropped: checksum.
    pub bad_checksum: u64,
    /// Dropped: TTL not 255.
    pub bad_ttl: u64,
    /// Dropped: another version than configured.
    pub bad_version: u64,
    /// Dropped: authentication.
    pub bad_auth: u64,
    /// Dropped: version 2 advert with another interval.
    pub bad_interval: u64,
    /// Accepted although the floating IPs listed differ.
    pub address_mismatch: u64,
}

/// One virtual router as this node sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VrrpStatus {
    /// Its name.
    pub name: Name,
    /// Its id.
    pub virtual_router_id: Vrid,
    /// The interface it runs on.
    pub interface: String,
    /// This node's state.
    pub state: VrrpState,
    /// Why it is in FAULT, for the operator.
    pub fault: Option<String>,
    /// Milliseconds since the state was entered.
    pub since_ms: u64,
    /// This node's configured priority.
    pub priority: Priority,
    /// The priority it competes with at this moment (raised by a failover asked for here).
    pub effective_priority: Priority,
    /// A failover was asked for: this node does not take the floating IP back by itself.
    pub held_back: bool,
    /// The floating IPs.
    pub addresses: Vec<Cidr>,
    /// Source address of the master's adverts; this node's own address when it is master.
    pub master: Option<Ipv4Addr>,
    /// The master's priority, as last heard.
    pub master_priority: Option<u8>,
    /// Packets.
    pub counters: VrrpCounters,
}

/// What came of a failover that was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailoverReport {
    /// The virtual router.
    pub name: Name,
    /// Address of the node that holds the floating IPs now.
    pub holder: Ipv4Addr,
    /// Milliseconds during which no node held them, as this node measured it; 0 when the old
    /// holder let go only after the new one had announced itself.
    pub gap_ms: f64,
}
