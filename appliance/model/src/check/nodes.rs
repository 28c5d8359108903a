//! Names and identities of the boards, and the cluster's key.

use super::Problems;
use crate::settings::Settings;

/// resolv.conf(5): the resolver reads at most three name servers.
const MAX_NAME_SERVERS: usize = 3;
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
    if cluster.dns.len() > MAX_NAME_SERVERS {
        problems.add("cluster.dns", format!("at most {MAX_NAME_SERVERS} name servers are used"));
    }
    for (i, server) in cluster.dns.iter().enumerate() {
        if server.is_unspecified() || server.is_multicast() || server.is_broadcast() {
            problems.add(format!("cluster.dns[{i}]"), format!("{server} cannot be a name server"));
        }
    }
    if cluster.key.is_mask() {
        problems.add("cluster.key", "there is no key here yet that could be kept; type the key");
    } else if !cluster.key.is_empty() && cluster.key.reveal().len() < MIN_KEY {
        problems.add("cluster.key", format!("the key needs at least {MIN_KEY} characters"));
    }
}
