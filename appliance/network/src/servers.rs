//! Whom to ask for names and for the time. Pure.
//!
//! What an interface's own settings say comes first, then the cluster's, then what a DHCP server
//! said. The interface that carries the default route comes before the others, so that the file
//! follows when a cable is pulled.

use crate::plan::{Learned, Wanted, WantedLink};
use crate::view::View;
use model::{Node, Settings};
use std::net::Ipv4Addr;

/// Name servers and where they come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NameServers {
    /// In order, without duplicates.
    pub(crate) servers: Vec<Ipv4Addr>,
    /// At least one is from the settings, or from a DHCP server.
    pub(crate) from_settings: bool,
    pub(crate) from_dhcp: bool,
}

impl NameServers {
    fn add(&mut self, servers: &[Ipv4Addr], origin: impl Fn(&mut Self) -> &mut bool) {
        for server in servers {
            if !self.servers.contains(server) {
                self.servers.push(*server);
                *origin(self) = true;
            }
        }
    }
}

/// Our interfaces: those with a carrier first, of these the ones with a router, then the
/// preferred ones.
fn in_order<'w>(wanted: &'w Wanted, view: &View) -> Vec<&'w WantedLink> {
    let mut links: Vec<&WantedLink> = wanted.links.iter().collect();
    links.sort_by_key(|link| {
        let running = view.interface(&link.name).is_some_and(|i| i.up && i.running);
        (!running, link.gateway.is_none(), link.metric)
    });
    links
}

fn settings_of<'s>(node: &'s Node, interface: &str) -> Option<&'s model::Link> {
    node.links().into_iter().find(|(name, _)| *name == interface).map(|(_, link)| link)
}

/// The name servers of this node.
pub(crate) fn name_servers(
    settings: &Settings,
    node: Option<&Node>,
    wanted: &Wanted,
    known: &Learned,
    view: &View,
) -> NameServers {
    let mut found = NameServers::default();
    let cluster = &settings.cluster.dns;
    for link in in_order(wanted, view) {
        let own = node.and_then(|node| settings_of(node, &link.name)).map(|link| &link.dns);
        match own {
            Some(own) if !own.is_empty() => found.add(own, |f| &mut f.from_settings),
            Some(_) if !cluster.is_empty() => found.add(cluster, |f| &mut f.from_settings),
            _ => {
                let source = known.sources.get(&link.name).filter(|_| link.learned);
                let lease = source.and_then(|source| source.lease.as_ref());
                found.add(lease.map_or(&[], |lease| &lease.dns), |f| &mut f.from_dhcp);
            }
        }
    }
    // A node whose interfaces are somebody else's.
    if wanted.links.is_empty() && node.is_some() {
        found.add(cluster, |f| &mut f.from_settings);
    }
    found
}

/// The time servers of this node, the ones to ask together in one group; a group is asked when
/// the one before it was of no use.
pub(crate) fn time_servers(
    settings: &Settings,
    node: Option<&Node>,
    wanted: &Wanted,
    known: &Learned,
    view: &View,
) -> Vec<Vec<String>> {
    let links = in_order(wanted, view);
    let of_links = links.iter().map(|link| {
        let own = node.and_then(|node| settings_of(node, &link.name));
        own.map_or_else(Vec::new, |link| link.ntp.iter().map(ToString::to_string).collect())
    });
    let cluster = settings.cluster.ntp.iter().map(ToString::to_string).collect();
    let leases = known.sources.values().filter_map(|source| source.lease.as_ref());
    let lent = leases.flat_map(|lease| lease.ntp.iter().map(ToString::to_string)).collect();
    let mut groups: Vec<Vec<String>> = Vec::new();
    for group in of_links.chain([cluster, lent]) {
        let known = |name: &String| groups.iter().flatten().any(|n| n.eq_ignore_ascii_case(name));
        let group: Vec<String> = group.into_iter().filter(|name| !known(name)).collect();
        if !group.is_empty() {
            groups.push(group);
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::lease::Lease;
    use crate::dhcp::machine::Source;
    use crate::view::Interface;

    fn link(name: &str, metric: u32, learned: bool) -> WantedLink {
        WantedLink {
            name: name.to_owned(),
            address: "10.0.0.2/24".parse().unwrap(),
            gateway: Some(Ipv4Addr::new(10, 0, 0, 1)),
            metric,
            table: 183,
            floating: Vec::new(),
            learned,
        }
    }

    fn view(eth0: bool) -> View {
        let interface = |name: &str, running| Interface {
            name: name.to_owned(),
            index: 2,
            mac: [2; 6],
            up: true,
            running,
        };
        let interfaces = vec![interface("eth0", eth0), interface("wlan0", true)];
        View { interfaces, ..View::default() }
    }

    fn a(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(9, 9, 9, last)
    }

    fn lease(dns: &[Ipv4Addr], ntp: &[Ipv4Addr]) -> Source {
        let lease = Lease {
            address: "10.0.0.2/24".parse().unwrap(),
            router: None,
            dns: dns.to_vec(),
            domain: None,
            ntp: ntp.to_vec(),
            server: Ipv4Addr::new(10, 0, 0, 1),
            seconds: None,
            renew: None,
            rebind: None,
            over: None,
        };
        Source { carrier: true, lease: Some(lease), local: None }
    }

    #[test]
    fn the_link_with_the_route_first_then_the_others() {
        let wanted = Wanted {
            links: vec![link("eth0", 50, false), link("wlan0", 60, false)],
            ..Wanted::default()
        };
        let mut node = Node::default();
        node.eth0.dns = vec![a(1), a(2)];
        node.wlan0.dns = vec![a(3), a(1)];
        let mut settings = Settings::default();
        settings.cluster.dns = vec![a(9)];
        let known = Learned::default();
        let servers = |settings: &Settings, node: &Node, eth0| {
            name_servers(settings, Some(node), &wanted, &known, &view(eth0)).servers
        };
        assert_eq!(servers(&settings, &node, true), [a(1), a(2), a(3)]);
        assert_eq!(servers(&settings, &node, false), [a(3), a(1), a(2)]);
        node.wlan0.dns.clear();
        assert_eq!(servers(&settings, &node, true), [a(1), a(2), a(9)]);
        node.eth0.dns.clear();
        assert_eq!(servers(&settings, &node, true), [a(9)]);
        let none = name_servers(&settings, Some(&node), &Wanted::default(), &known, &view(true));
        assert_eq!((none.servers, none.from_settings), (vec![a(9)], true));
    }

    #[test]
    fn what_a_server_lent_is_for_links_without_servers_of_their_own() {
        let wanted = Wanted {
            links: vec![link("eth0", 100, true), link("wlan0", 60, false)],
            ..Wanted::default()
        };
        let sources = [("eth0".to_owned(), lease(&[a(5)], &[a(6)]))].into();
        let known = Learned { dhcp: true, sources, ..Learned::default() };
        let (mut settings, mut node) = (Settings::default(), Node::default());
        let found = name_servers(&settings, Some(&node), &wanted, &known, &view(true));
        assert_eq!(
            (found.servers, found.from_settings, found.from_dhcp),
            (vec![a(5)], false, true)
        );
        node.wlan0.dns = vec![a(3)];
        let found = name_servers(&settings, Some(&node), &wanted, &known, &view(true));
        assert_eq!((found.servers, found.from_settings), (vec![a(3), a(5)], true));
        node.eth0.dns = vec![a(4)];
        let found = name_servers(&settings, Some(&node), &wanted, &known, &view(true));
        assert_eq!((found.servers, found.from_dhcp), (vec![a(3), a(4)], false));

        let groups = |settings: &Settings, node: &Node| {
            time_servers(settings, Some(node), &wanted, &known, &view(true))
        };
        assert_eq!(groups(&settings, &node), [["9.9.9.6"]]);
        settings.cluster.ntp = vec!["ntp.example.org".parse().unwrap()];
        node.eth0.ntp = vec!["NTP.example.org".parse().unwrap(), "10.0.0.1".parse().unwrap()];
        let expected = [vec!["NTP.example.org", "10.0.0.1"], vec!["9.9.9.6"]];
        assert_eq!(groups(&settings, &node), expected);
    }
}
