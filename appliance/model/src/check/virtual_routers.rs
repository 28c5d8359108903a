//! VRRP instances.

use super::Problems;
use crate::node::Role;
use crate::settings::Settings;
use crate::virtual_router::{VrrpInstance, VrrpVersion};

/// The version 2 header has one byte of whole seconds (RFC 3768 5.3.7).
const MAX_V2_SECONDS: u16 = 40;
/// keepalived uses the first 8 characters (RFC 2338 5.3.10).
const MAX_AUTH: usize = 8;

pub(super) fn check(all: &Settings, written: &Settings, problems: &mut Problems) {
    let names = written.vrrp.iter().enumerate();
    problems
        .unique("virtual router", names.map(|(i, v)| (format!("vrrp[{i}].name"), v.name.as_str())));
    for (i, instance) in all.vrrp.iter().enumerate() {
        let path = |field: &str| {
            // The derived instance has no path of its own; its floating IP does.
            if i < written.vrrp.len() {
                format!("vrrp[{i}].{field}")
            } else {
                "cluster.floating_ip".to_owned()
            }
        };
        let earlier = all.vrrp.iter().take(i).find(|o| {
            o.interface == instance.interface && o.virtual_router_id == instance.virtual_router_id
        });
        if let Some(other) = earlier {
            problems.add(
                path("virtual_router_id"),
                format!(
                    "{} already has id {} on {}",
                    other.name, instance.virtual_router_id, instance.interface
                ),
            );
        }
        if i < written.vrrp.len() {
            fields(all, instance, &path, problems);
        }
        if instance.enabled {
            floating_fit(all, instance, &path, problems);
        }
    }
}

fn fields(
    all: &Settings,
    instance: &VrrpInstance,
    path: &dyn Fn(&str) -> String,
    problems: &mut Problems,
) {
    let interval = instance.advert_interval.get();
    if instance.version == VrrpVersion::V2 {
        if interval % 100 != 0 || interval / 100 > MAX_V2_SECONDS {
            problems.add(
                path("advert_interval"),
                format!("version 2 counts whole seconds up to {MAX_V2_SECONDS}: 100, 200, 300 and so on; choose version 3 for shorter ones"),
            );
        }
    } else if !instance.auth_pass.is_empty() {
        problems.add(
            path("auth_pass"),
            "version 3 has no passwords (RFC 9568); leave it empty or choose version 2",
        );
    }
    if instance.auth_pass.is_mask() {
        problems
            .add(path("auth_pass"), "there is no password here yet that could be kept; type it");
    } else if instance.auth_pass.reveal().len() > MAX_AUTH {
        problems
            .add(path("auth_pass"), format!("VRRP passwords have at most {MAX_AUTH} characters"));
    }
    let balancer = |id: &crate::NodeId| all.with_role(Role::Balancer).any(|n| &n.id == id);
    if let Some(primary) = instance.primary.as_ref().filter(|p| !balancer(p)) {
        problems.add(path("primary"), format!("{primary} is not a load balancer of this cluster"));
    }
    for id in instance.priorities.keys().filter(|id| all.node(id).is_none()) {
        problems.add(path(&format!("priorities.{id}")), format!("there is no node {id}"));
    }
    if !["eth0", "wlan0"].contains(&instance.interface.as_str()) {
        problems.add(path("interface"), "a virtual router runs on eth0 or wlan0");
    }
    if instance.enabled && all.addresses_of(instance).is_empty() {
        problems.add(
            path("addresses"),
            "there is no floating IP; give one here or in the cluster's settings",
        );
    }
}

/// A floating IP must lie in the network of the interface it moves between.
fn floating_fit(
    all: &Settings,
    instance: &VrrpInstance,
    path: &dyn Fn(&str) -> String,
    problems: &mut Problems,
) {
    for node in all.with_role(Role::Balancer) {
        let link = node.links().into_iter().find(|(name, _)| *name == instance.interface.as_str());
        let Some(network) = link.and_then(|(_, l)| l.address) else {
            continue; // no static address: what the interface has is known only on the node
        };
        for (k, address) in all.addresses_of(instance).iter().enumerate() {
            if !network.contains(address.addr()) {
                let at = if instance.addresses.is_empty() {
                    "cluster.floating_ip".to_owned()
                } else {
                    path(&format!("addresses[{k}]"))
                };
                problems.add(
                    at,
                    format!(
                        "the floating IP {} is outside the network {}/{} of {} {}",
                        address.addr(),
                        network.network(),
                        network.prefix(),
                        node.name,
                        instance.interface
                    ),
                );
            }
        }
    }
}
