//! What a board that was just adopted had best do, and where. Pure.

use model::status::{DhcpStatus, LinkStatus, NodeReport};
use model::{Cidr, Hostname, Node, Role, Settings};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// Boards that nobody gave a role, with the roles they had best have, in the settings' order.
///
/// Two boards balance, wired ones first, and all others serve; a cluster of fewer than four has
/// boards that do both, so that any one of them may fail.
pub(crate) fn roles(settings: &Settings, reports: &[NodeReport]) -> Vec<BTreeSet<Role>> {
    let nodes = &settings.nodes;
    let mut all: Vec<BTreeSet<Role>> = nodes.iter().map(|n| n.roles.clone()).collect();
    let mut free: Vec<usize> = (0..nodes.len()).filter(|i| is_free(nodes, *i)).collect();
    free.sort_by_key(|i| !nodes.get(*i).is_some_and(|n| wired(n, reports)));
    let have = |role| nodes.iter().filter(|n| n.is(role)).count();
    let balancers = 2_usize.saturating_sub(have(Role::Balancer)).min(free.len());
    let left = free.len() - balancers;
    let webs = left.max(2_usize.saturating_sub(have(Role::Web))).min(free.len());
    for i in free.iter().take(balancers) {
        all.get_mut(*i).map(|roles| roles.insert(Role::Balancer));
    }
    for i in free.iter().rev().take(webs) {
        all.get_mut(*i).map(|roles| roles.insert(Role::Web));
    }
    all
}

fn is_free(nodes: &[Node], at: usize) -> bool {
    nodes.get(at).is_some_and(|n| n.roles.is_empty())
}

fn report<'a>(node: &Node, reports: &'a [NodeReport]) -> Option<&'a NodeReport> {
    reports.iter().find(|r| r.status.id == node.id)
}

fn link<'a>(node: &Node, name: &str, reports: &'a [NodeReport]) -> Option<&'a LinkStatus> {
    report(node, reports)?.status.links.iter().find(|l| l.name == name)
}

fn wired(node: &Node, reports: &[NodeReport]) -> bool {
    node.eth0.address.is_some() || link(node, "eth0", reports).is_some_and(|l| l.running)
}

/// The interface a board is best reached by: the wired one unless only the other is in use.
pub(crate) fn interface(node: &Node, reports: &[NodeReport]) -> &'static str {
    let wireless =
        node.wlan0.address.is_some() || link(node, "wlan0", reports).is_some_and(|l| l.running);
    if wireless && !wired(node, reports) { "wlan0" } else { "eth0" }
}

/// The address an interface has now, floating ones left out; none that reaches only the cable.
pub(crate) fn address_now(
    node: &Node,
    interface: &str,
    reports: &[NodeReport],
    settings: &Settings,
) -> Option<Cidr> {
    let floating = |a: &Cidr| {
        let ip = a.addr();
        let others = settings.vrrp.iter().flat_map(|v| &v.addresses);
        settings.cluster.floating_ip.iter().chain(others).any(|f| f.addr() == ip)
    };
    let link = link(node, interface, reports)?;
    link.addresses.iter().copied().find(|a| !floating(a) && !a.addr().is_link_local())
}

/// Who lends this cluster its addresses: in a home it is the router, and knows names as well.
pub(crate) fn lender(reports: &[NodeReport]) -> Option<Ipv4Addr> {
    let links = reports.iter().flat_map(|r| &r.status.links);
    links
        .filter_map(|l| match &l.dhcp {
            Some(DhcpStatus::Leased { server, .. }) => Some(*server),
            _ => None,
        })
        .next()
}

/// Host names for these roles, in order: Web01, Web02, LbMaster, LbSlave. `taken` are names that
/// are not to be used.
pub(crate) fn names(roles: &[BTreeSet<Role>], taken: &BTreeSet<String>) -> Vec<Hostname> {
    let mut used: BTreeSet<String> = taken.iter().map(|n| n.to_ascii_lowercase()).collect();
    let numbered = |prefix: &'static str| (1..100).map(move |n| format!("{prefix}{n:02}"));
    roles
        .iter()
        .map(|roles| match (roles.contains(&Role::Web), roles.contains(&Role::Balancer)) {
            (true, false) => free(numbered("Web"), &mut used),
            (false, true) => {
                let first = ["LbMaster", "LbSlave"].into_iter().map(str::to_owned);
                free(first.chain(numbered("Lb").skip(2)), &mut used)
            }
            (true, true) => free(numbered("Node"), &mut used),
            (false, false) => free(numbered("Spare"), &mut used),
        })
        .collect()
}

fn free(mut candidates: impl Iterator<Item = String>, used: &mut BTreeSet<String>) -> Hostname {
    let name = candidates.find(|c| used.insert(c.to_ascii_lowercase()));
    name.and_then(|n| n.parse().ok()).unwrap_or_default()
}

/// Addresses from this network that nobody is known to have, likely ones first: routers lend
/// addresses from the lower and the middle part.
pub(crate) fn unused(network: Cidr, known: &BTreeSet<Ipv4Addr>) -> impl Iterator<Item = Cidr> {
    let last = u32::from(network.broadcast());
    let first = u32::from(network.network());
    (first.saturating_add(1)..last.saturating_sub(4))
        .rev()
        .take(100)
        .map(Ipv4Addr::from)
        .filter(|ip| !known.contains(ip))
        .filter_map(move |ip| Cidr::new(ip, network.prefix()).ok())
}

/// Every address the settings or the nodes know of.
pub(crate) fn known(settings: &Settings, reports: &[NodeReport]) -> BTreeSet<Ipv4Addr> {
    let cluster = &settings.cluster;
    let links = reports.iter().flat_map(|r| &r.status.links);
    settings
        .nodes
        .iter()
        .flat_map(Node::addresses)
        .chain(cluster.floating_ip.map(Cidr::addr))
        .chain(cluster.gateway)
        .chain(cluster.dns.iter().copied())
        .chain(settings.vrrp.iter().flat_map(|v| &v.addresses).map(|a| a.addr()))
        .chain(links.flat_map(|l| &l.addresses).map(|a| a.addr()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::status::NodeStatus;

    fn cluster(n: usize, wireless: &[usize]) -> (Settings, Vec<NodeReport>) {
        let mut settings = Settings::default();
        let mut reports = Vec::new();
        for i in 0..n {
            let id: model::NodeId = format!("pi-{i}").parse().unwrap();
            let name = format!("bramble-{i}").parse().unwrap();
            settings.nodes.push(Node { id: id.clone(), name, ..Node::default() });
            let name = if wireless.contains(&i) { "wlan0" } else { "eth0" };
            let link = LinkStatus {
                name: name.to_owned(),
                running: true,
                addresses: vec![format!("192.168.1.{}/24", 70 + i).parse().unwrap()],
                ..LinkStatus::default()
            };
            let status = NodeStatus { id, links: vec![link], ..NodeStatus::default() };
            reports.push(NodeReport { age_ms: 0, reachable: true, status });
        }
        (settings, reports)
    }

    fn words(n: usize, wireless: &[usize]) -> String {
        let (settings, reports) = cluster(n, wireless);
        let letter = |r: &BTreeSet<Role>| match (r.contains(&Role::Web), r.len()) {
            (_, 2) => "both",
            (true, 1) => "web",
            (false, 1) => "lb",
            _ => "spare",
        };
        roles(&settings, &reports).iter().map(letter).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn any_one_board_may_fail() {
        assert_eq!(words(1, &[]), "both");
        assert_eq!(words(2, &[]), "both both");
        assert_eq!(words(3, &[]), "lb both web");
        assert_eq!(words(4, &[]), "lb lb web web");
        assert_eq!(words(6, &[]), "lb lb web web web web");
    }

    #[test]
    fn boards_with_a_cable_balance() {
        assert_eq!(words(4, &[0, 2]), "web lb web lb");
        let (settings, reports) = cluster(4, &[0, 2]);
        let interfaces: Vec<_> = settings.nodes.iter().map(|n| interface(n, &reports)).collect();
        assert_eq!(interfaces, ["wlan0", "eth0", "wlan0", "eth0"]);
        let now = address_now(&settings.nodes[2], "wlan0", &reports, &settings);
        assert_eq!(now, "192.168.1.72/24".parse().ok());
    }

    #[test]
    fn roles_that_were_given_stay() {
        let settings = crate::demo::settings();
        let before: Vec<_> = settings.nodes.iter().map(|n| n.roles.clone()).collect();
        assert_eq!(roles(&settings, &[]), before);
        let mut more = settings;
        more.nodes.push(Node { id: "new".parse().unwrap(), ..Node::default() });
        assert!(roles(&more, &[])[4].contains(&Role::Web), "two balance already");
    }

    #[test]
    fn names_are_those_of_the_reference() {
        let (settings, reports) = cluster(4, &[]);
        let roles = roles(&settings, &reports);
        let names: Vec<_> = names(&roles, &BTreeSet::new()).iter().map(|n| n.to_string()).collect();
        assert_eq!(names, ["LbMaster", "LbSlave", "Web01", "Web02"]);
        let taken = ["web01".to_owned(), "LbMaster".to_owned()].into();
        let names: Vec<_> = super::names(&roles, &taken).iter().map(|n| n.to_string()).collect();
        assert_eq!(names, ["LbSlave", "Lb03", "Web02", "Web03"]);
    }

    #[test]
    fn an_unused_address_is_nobodys() {
        let (settings, reports) = cluster(2, &[]);
        let mut known = known(&settings, &reports);
        assert!(known.contains(&[192, 168, 1, 71].into()));
        known.insert([192, 168, 1, 250].into());
        let network: Cidr = "192.168.1.71/24".parse().unwrap();
        let first = unused(network, &known).next().map(|c| c.to_string());
        assert_eq!(first.as_deref(), Some("192.168.1.249/24"));
        assert_eq!(unused("10.0.0.1/31".parse().unwrap(), &known).count(), 0);
        assert_eq!(unused("10.0.0.1/32".parse().unwrap(), &known).count(), 0);
    }
}
