//! How one interface is reached, as the settings have it. Pure.

use model::{Cidr, Link, Node, Settings};
use std::fmt;
use std::net::Ipv4Addr;

/// What could lock somebody out: an interface's address and router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Way {
    /// Its static address; None: by DHCP, or left as it is found.
    pub(crate) address: Option<Cidr>,
    /// Its own router.
    pub(crate) gateway: Option<Ipv4Addr>,
    /// The cluster's router, where it is that one which counts.
    pub(crate) cluster: Option<Ipv4Addr>,
}

impl Way {
    pub(crate) fn of(link: &Link, settings: &Settings) -> Self {
        let shared = link.address.is_some() && link.gateway.is_none();
        Self {
            address: link.address,
            gateway: link.gateway,
            cluster: settings.cluster.gateway.filter(|_| shared),
        }
    }

    /// Of this interface of a node; None: the settings do not have the node.
    pub(crate) fn find(node: Option<&Node>, interface: &str, settings: &Settings) -> Option<Self> {
        let links = node?.links();
        let (_, link) = links.into_iter().find(|(name, _)| *name == interface)?;
        Some(Self::of(link, settings))
    }

    /// The router of its static address.
    pub(crate) fn router(&self) -> Option<Ipv4Addr> {
        self.gateway.or(self.cluster).filter(|_| self.address.is_some())
    }

    /// The same in effect, whoever names the router.
    pub(crate) fn same(&self, other: &Self) -> bool {
        (self.address, self.router()) == (other.address, other.router())
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            None => f.write_str("DHCP"),
            Some(address) => {
                write!(f, "{address}")?;
                match self.router() {
                    Some(router) => write!(f, ", router {router}"),
                    None => f.write_str(", no router"),
                }
            }
        }
    }
}
