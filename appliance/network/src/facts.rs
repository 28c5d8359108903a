//! What the parts that talk to the network need to know of it.

use crate::plan::{Learned, Wanted};
use crate::servers::time_servers;
use crate::view::View;
use control::Snapshot;
use model::Cidr;

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
    /// Time servers, in groups that are asked one after the other.
    pub(crate) time: Vec<Vec<String>>,
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
    Facts {
        name: name.unwrap_or_else(|| snapshot.node().to_string()),
        links: links.collect(),
        time: time_servers(&snapshot.settings, node, wanted, known, view),
    }
}
