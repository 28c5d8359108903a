//! Names and identities of the boards, and the cluster's key.

use super::Problems;
use crate::settings::Settings;
use crate::text::TimeServer;
use std::net::Ipv4Addr;

/// resolv.conf(5): the resolver reads at most three name servers.
const MAX_NAME_SERVERS: usize = 3;
/// So many are asked at once.
const MAX_TIME_SERVERS: usize = 4;
/// Shorter keys can be guessed.
const MIN_KEY: usize = 32;
/// What the cluster is built and tested for.
const MAX_NODES: usize = 16;

pub(super) fn check(settings: &Settings, problems: &mut Problems) {
    let names = settings.nodes.iter().enumerate();
    problems
        .unique("node id", names.clone().map(|(i, n)| (format!("nodes[{i}].id"), n.id.as_str())));
    problems.unique("node", names.map(|(i, n)| (format!("nodes[{i}].name"), n.name.as_str())));
    for (i, node) in settings.nodes.iter().enumerate() {
        let twin =
            settings.nodes.iter().take(i).find(|n| n.device.is_some() && n.device == node.device);
        if let Some(twin) = twin {
            let text = format!("node {} has the same key: its card was copied", twin.name);
            problems.add(format!("nodes[{i}].device"), text);
        }
    }
    if settings.nodes.len() > MAX_NODES {
        problems.add("nodes", format!("a cluster has at most {MAX_NODES} nodes"));
    }
    let cluster = &settings.cluster;
    servers("cluster", &cluster.dns, &cluster.ntp, problems);
    for (i, node) in settings.nodes.iter().enumerate() {
        for (interface, link) in node.links() {
            servers(&format!("nodes[{i}].{interface}"), &link.dns, &link.ntp, problems);
        }
    }
    if cluster.key.is_mask() {
        problems.add("cluster.key", "there is no key here yet that could be kept; type the key");
    } else if !cluster.key.is_empty() && cluster.key.reveal().len() < MIN_KEY {
        problems.add("cluster.key", format!("the key needs at least {MIN_KEY} characters"));
    }
}

/// Name and time servers at one place.
fn servers(place: &str, dns: &[Ipv4Addr], ntp: &[TimeServer], problems: &mut Problems) {
    if dns.len() > MAX_NAME_SERVERS {
        let text = format!("at most {MAX_NAME_SERVERS} name servers are used");
        problems.add(format!("{place}.dns"), text);
    }
    for (i, server) in dns.iter().enumerate() {
        let path = format!("{place}.dns[{i}]");
        if nobody(*server) {
            problems.add(path, format!("{server} cannot be a name server"));
        } else if dns.iter().take(i).any(|earlier| earlier == server) {
            problems.add(path, format!("{server} is listed twice"));
        }
    }
    if ntp.len() > MAX_TIME_SERVERS {
        let text = format!("at most {MAX_TIME_SERVERS} time servers are used");
        problems.add(format!("{place}.ntp"), text);
    }
    for (i, server) in ntp.iter().enumerate() {
        let path = format!("{place}.ntp[{i}]");
        if server.is_empty() {
            problems.add(path, "a time server has an address or a name");
        } else if server.as_str().parse().is_ok_and(nobody) {
            problems.add(path, format!("{server} cannot be a time server"));
        } else if ntp.iter().take(i).any(|e| e.as_str().eq_ignore_ascii_case(server.as_str())) {
            problems.add(path, format!("{server} is listed twice"));
        }
    }
}

/// An address at which nobody answers.
fn nobody(address: Ipv4Addr) -> bool {
    address.is_unspecified() || address.is_multicast() || address.is_broadcast()
}
