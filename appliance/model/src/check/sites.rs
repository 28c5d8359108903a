//! Sites and how they are mirrored.

use super::Problems;
use crate::admin::{ADMIN_PORT, NODE_PORT};
use crate::node::Role;
use crate::settings::Settings;
use crate::site::Site;
use crate::units::Millis;

/// More often would keep an SD card busy for nothing.
const SHORTEST_COMPARE: Millis = Millis::seconds(10);

pub(super) fn check(all: &Settings, written: &Settings, problems: &mut Problems) {
    let names = written.sites.iter().enumerate();
    problems.unique("site", names.map(|(i, s)| (format!("sites[{i}].name"), s.name.as_str())));
    for (i, site) in written.sites.iter().enumerate() {
        let path = format!("sites[{i}]");
        one(all, site, &path, problems);
        let earlier = all.sites.iter().take(i).filter(|o| o.port == site.port);
        for other in earlier {
            if other.hosts.is_empty() && site.hosts.is_empty() {
                problems.add(
                    format!("{path}.hosts"),
                    format!(
                        "{} already answers for every host on port {}; name this site's hosts",
                        other.name, site.port
                    ),
                );
            }
            for (k, host) in site.hosts.iter().enumerate().filter(|(_, h)| other.hosts.contains(h))
            {
                problems.add(
                    format!("{path}.hosts[{k}]"),
                    format!("{host} already leads to {}", other.name),
                );
            }
        }
    }
}

fn one(all: &Settings, site: &Site, path: &str, problems: &mut Problems) {
    if site.name.as_str().starts_with('.') {
        problems.add(format!("{path}.name"), "a site's name does not begin with a dot");
    }
    if [ADMIN_PORT, NODE_PORT].contains(&site.port.get()) {
        problems.add(format!("{path}.port"), reserved(site.port.get()));
    }
    for (k, name) in site.index.iter().enumerate() {
        if name.is_empty()
            || name.len() > 255
            || name.contains(['/', '\0'])
            || name.starts_with('.')
        {
            problems.add(
                format!("{path}.index[{k}]"),
                format!("{name:?} is no file name that can be served"),
            );
        }
    }
    if site.mirror.full_compare < SHORTEST_COMPARE {
        problems.add(
            format!("{path}.mirror.full_compare"),
            format!("the shortest time between full compares is {SHORTEST_COMPARE}"),
        );
    }
    if let Some(origin) = &site.mirror.origin {
        if !all.with_role(Role::Web).any(|n| &n.id == origin) {
            problems.add(
                format!("{path}.mirror.origin"),
                format!("{origin} is not a web server of this cluster"),
            );
        }
    }
}

pub(super) fn reserved(port: u16) -> String {
    let what = if port == ADMIN_PORT { "the admin page" } else { "the nodes' own channel" };
    format!("port {port} belongs to {what}; choose another")
}
