//! What one router runs with.

use crate::packet::{pass, seconds};
use crate::time;
use model::{
    Centiseconds, Cidr, DerivedInstance, Effective, Name, NodeId, Priority, Role, Vrid, VrrpVersion,
};
use std::time::Duration;

/// One virtual router as this node takes part in it. Replaced as a whole when settings change.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Its name in the settings.
    pub name: Name,
    /// Where adverts travel and the floating IPs are set.
    pub interface: String,
    /// The version on the wire.
    pub version: VrrpVersion,
    /// Its number on the wire.
    pub virtual_router: Vrid,
    /// This node's priority.
    pub priority: Priority,
    /// How often the master speaks.
    pub advert_interval: Centiseconds,
    /// Take the floating IPs from a master of lower priority.
    pub preempt: bool,
    /// How long to wait with that.
    pub preempt_delay: Duration,
    /// The floating IPs.
    pub addresses: Vec<Cidr>,
    /// Version 2 password as it travels.
    pub auth: Option<[u8; 8]>,
    /// Leave when this node's load balancer does not work.
    pub track_proxy: bool,
    /// The settings know this node and one other: when that one says farewell, nobody else can
    /// be meant.
    pub sole_backup: bool,
    /// The lowest priority among the other members.
    pub lowest_peer: Option<Priority>,
}

impl Config {
    /// What `instance` means for `node`; None when the node is no member or there is no floating
    /// IP to hold.
    pub fn new(instance: &DerivedInstance, node: &NodeId) -> Option<Self> {
        let priority = instance.priority?;
        if instance.addresses.is_empty() {
            return None;
        }
        let settings = &instance.instance;
        let others = || instance.members.iter().filter(|(id, _)| id != node);
        Some(Self {
            name: settings.name.clone(),
            interface: settings.interface.as_str().to_owned(),
            version: settings.version,
            virtual_router: settings.virtual_router_id,
            priority,
            advert_interval: settings.advert_interval,
            preempt: settings.preempt,
            preempt_delay: settings.preempt_delay.duration(),
            addresses: instance.addresses.clone(),
            auth: match settings.version {
                VrrpVersion::V2 => pass(settings.auth_pass.reveal()),
                VrrpVersion::V3 => None,
            },
            track_proxy: settings.track_proxy,
            sole_backup: instance.members.len() == 2 && others().count() == 1,
            lowest_peer: others().map(|(_, priority)| *priority).min(),
        })
    }

    /// Everything this node takes part in.
    pub fn all(effective: &Effective) -> Vec<Self> {
        if !effective.is(Role::Balancer) {
            return Vec::new();
        }
        effective.vrrp.iter().filter_map(|i| Self::new(i, &effective.node)).collect()
    }

    /// The interval as it goes out: version 2 knows whole seconds only.
    pub(crate) fn interval(&self) -> Duration {
        match self.version {
            VrrpVersion::V2 => Duration::from_secs(u64::from(seconds(self.advert_interval))),
            VrrpVersion::V3 => self.advert_interval.duration(),
        }
    }

    /// Longest time until some backup answers our farewell.
    pub(crate) fn worst_skew(&self) -> Duration {
        time::worst_skew(self.version, self.lowest_peer, self.interval())
    }

    /// Would an advert of `other` look the same, priority aside?
    pub(crate) fn same_on_the_wire(&self, other: &Self) -> bool {
        self.version == other.version
            && self.virtual_router == other.virtual_router
            && self.advert_interval == other.advert_interval
            && self.auth == other.auth
    }
}

/// The interface as a router needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// It carries packets, and adverts are sent from this address.
    Up(std::net::Ipv4Addr),
    /// It does not; why, for the operator.
    Down(String),
}
