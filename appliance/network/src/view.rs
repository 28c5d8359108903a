//! What the kernel has, as far as this crate looks.

use model::Cidr;
use std::net::Ipv4Addr;

/// Marks addresses (IFA_PROTO), routes and rules (rtm_protocol) as set by this crate, so that
/// what a killed process left behind is recognised. Nobody else uses this number: see RTPROT_* in
/// linux/rtnetlink.h, IFAPROT_* in linux/if_addr.h and iproute2's rt_protos.
pub const MARK: u8 = 183;

/// The main routing table (RT_TABLE_MAIN).
pub(crate) const MAIN: u32 = 254;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) addresses: Vec<Address>,
    pub(crate) routes: Vec<Route>,
    pub(crate) rules: Vec<Rule>,
}

impl View {
    pub(crate) fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|i| i.name == name)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) index: u32,
    pub(crate) mac: [u8; 6],
    /// Switched on (IFF_UP).
    pub(crate) up: bool,
    /// With a carrier (IFF_RUNNING).
    pub(crate) running: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) interface: u32,
    pub(crate) address: Cidr,
    /// Who set it (IFA_PROTO); None: not said.
    pub(crate) protocol: Option<u8>,
    /// The metric of its subnet's route (IFA_RT_PRIORITY).
    pub(crate) metric: u32,
}

/// A unicast route through one interface; others are not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) table: u32,
    /// None: everywhere.
    pub(crate) to: Option<Cidr>,
    pub(crate) gateway: Option<Ipv4Addr>,
    pub(crate) interface: u32,
    pub(crate) source: Option<Ipv4Addr>,
    pub(crate) metric: u32,
    pub(crate) protocol: u8,
}

impl Route {
    /// The kernel has at most one route of these three, appended ones aside.
    pub(crate) fn same_place(&self, other: &Self) -> bool {
        self.table == other.table && self.to == other.to && self.metric == other.metric
    }

    /// Equal but for who set it.
    pub(crate) fn does_the_same(&self, other: &Self) -> bool {
        self.same_place(other)
            && self.gateway == other.gateway
            && self.interface == other.interface
            && self.source == other.source
    }
}

/// A rule `from ADDRESS lookup TABLE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) priority: u32,
    /// None: from anywhere.
    pub(crate) from: Option<Ipv4Addr>,
    pub(crate) table: u32,
    pub(crate) protocol: u8,
}
