//! Addresses: no two alike, each usable in its network.

use super::Problems;
use crate::net::Cidr;
use crate::settings::Settings;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

pub(super) fn check(settings: &Settings, problems: &mut Problems) {
    let mut taken: BTreeMap<Ipv4Addr, String> = BTreeMap::new();
    for (i, node) in settings.nodes.iter().enumerate() {
        for (interface, link) in node.links() {
            let path = format!("nodes[{i}].{interface}");
            let owner = format!("{} {interface}", node.name);
            let gateway = link.gateway.or(settings.cluster.gateway);
            if let Some(address) = link.address {
                claim(&mut taken, problems, &format!("{path}.address"), address, owner);
                if gateway == Some(address.addr()) {
                    problems.add(
                        format!("{path}.address"),
                        format!("{} is the gateway's own address", address.addr()),
                    );
                }
            } else if link.gateway.is_some() {
                problems.add(
                    format!("{path}.gateway"),
                    "a gateway is of use only with an address; give the interface one or leave the gateway out",
                );
            }
            if let (Some(address), Some(gateway)) = (link.address, link.gateway) {
                reachable(problems, &format!("{path}.gateway"), address, gateway);
            }
        }
    }
    if let Some(gateway) = settings.cluster.gateway {
        let mut links = settings.nodes.iter().flat_map(|n| n.links());
        let foreign = links.find_map(|(_, l)| match (l.address, l.gateway) {
            (Some(address), None) if !address.contains(gateway) => Some(address),
            _ => None,
        });
        if let Some(address) = foreign {
            reachable(problems, "cluster.gateway", address, gateway);
        }
    }
    floating(settings, &mut taken, problems);
}

/// Floating IPs of all virtual routers; where each must fit is the virtual router's matter.
fn floating(settings: &Settings, taken: &mut BTreeMap<Ipv4Addr, String>, problems: &mut Problems) {
    if let Some(address) = settings.cluster.floating_ip {
        claim(taken, problems, "cluster.floating_ip", address, "the floating IP".to_owned());
        if settings.cluster.gateway == Some(address.addr()) {
            problems.add("cluster.floating_ip", "this is the gateway's address");
        }
    }
    for (i, instance) in settings.vrrp.iter().enumerate() {
        for (k, address) in instance.addresses.iter().enumerate() {
            // Naming the cluster's floating IP again says the same thing twice, no more.
            if Some(address.addr()) != settings.cluster.floating_ip.map(Cidr::addr) {
                let owner = format!("a floating IP of {}", instance.name);
                claim(taken, problems, &format!("vrrp[{i}].addresses[{k}]"), *address, owner);
            }
        }
    }
}

fn claim(
    taken: &mut BTreeMap<Ipv4Addr, String>,
    problems: &mut Problems,
    path: &str,
    address: Cidr,
    owner: String,
) {
    let ip = address.addr();
    if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || ip.octets()[0] >= 240 {
        problems.add(path, format!("{ip} cannot be the address of an interface"));
    } else if address.prefix() < 31 && (ip == address.network() || ip == address.broadcast()) {
        problems.add(path, format!("{ip} is the network's own or its broadcast address"));
    }
    match taken.get(&ip) {
        Some(other) => problems.add(path, format!("{ip} is already the address of {other}")),
        None => {
            taken.insert(ip, owner);
        }
    }
}

fn reachable(problems: &mut Problems, path: &str, address: Cidr, gateway: Ipv4Addr) {
    if !address.contains(gateway) {
        problems.add(path, format!("the gateway {gateway} is outside the network of {address}"));
    }
}
