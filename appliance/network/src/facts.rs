//! What the parts that talk to the network need to know of it.

use crate::plan::{Learned, Wanted};
use crate::view::View;
use control::Snapshot;
use model::Cidr;
use std::net::Ipv4Addr;

/// A link that carries traffic now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LiveLink {
    pub(crate) name: String,
    pub(crate) index: u32,
    /// This node's own address on it, never a floating one.
    pub(crate) address: Cidr,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// This node's host name.
    pub(crate) name: String,
    pub(crate) links: Vec<LiveLink>,
    /// Time servers that DHCP servers named.
    pub(crate) ntp: Vec<Ipv4Addr>,
}

pub(crate) fn facts(snapshot: &Snapshot, wanted: &Wanted, known: &Learned, view: &View) -> Facts {
    let node = snapshot.settings.node(snapshot.node());
    let name = node.map(|n| n.name.to_string()).filter(|name| !name.is_empty());
    let own = wanted.links.iter().map(|link| (link.name.as_str(), Some(link.address)));
    let lent = known.reserved.iter().map(|name| (name.as_str(), None));
    let links = own.chain(lent).filter_map(|(name, address)| {
        let interface = view.interface(name).filter(|i| i.up && i.running)?;
        let mut set = view.addresses.iter().filter(|a| {
            a.interface == interface.index && !wanted.floating.contains(&a.address.addr())
        });
        let found = set.find(|a| address.is_none_or(|wanted| wanted == a.address))?;
        Some(LiveLink { name: name.to_owned(), index: interface.index, address: found.address })
    });
    let ntp = known.sources.values().filter_map(|source| source.lease.as_ref());
    Facts {
        name: name.unwrap_or_else(|| snapshot.node().to_string()),
        links: links.collect(),
        ntp: ntp.flat_map(|lease| lease.ntp.iter().copied()).collect(),
    }
}
