//! Single points of failure: what works today and is gone with the first thing that breaks.

use super::{Facts, Finding};
use model::status::LinkStatus;
use model::{MirrorDuty, Role};

pub(super) fn points(facts: &Facts<'_>) -> Vec<Finding> {
    let mut all = Vec::new();
    let Some(node) = facts.node().filter(|n| !n.roles.is_empty()) else { return all };
    let running: Vec<&LinkStatus> = facts
        .status
        .links
        .iter()
        .filter(|l| l.name != "lo" && l.running && !l.addresses.is_empty())
        .collect();
    match running.as_slice() {
        [] => {}
        [only] => all
            .push(Finding::warn("Network link", format!("{} only", only.name)).so(format!(
            "When that cable, its port or its switch fails, {} is gone. Add a second way: a cable \
             beside Wi-Fi, best to another switch.",
            node.name
        ))),
        _ => all.push(Finding::good("Network link", "more than one")),
    }
    let with = |role| facts.settings.with_role(role).count();
    if node.is(Role::Balancer) {
        all.push(match with(Role::Balancer) {
            1 => Finding::warn("Load balancer", "one only").so(
                "When it fails, nobody takes the floating IP over. Give a second board that role \
                 under Nodes.",
            ),
            n => Finding::good("Load balancer", format!("{n} of them")),
        });
    }
    if node.is(Role::Web) {
        all.push(match with(Role::Web) {
            1 => Finding::warn("Web server", "one only").so(
                "When it fails, the sites are gone. Give a second board that role under Nodes; its \
                 copy of the sites makes itself.",
            ),
            n => Finding::good("Web server", format!("{n} of them")),
        });
        for site in model::derive(facts.settings, facts.id).sites {
            if let MirrorDuty::Origin { .. } = site.duty {
                all.push(Finding::good(format!("Site {}", site.site.name), "this is its origin").so(
                    "While this node is away visitors are served from the mirrors, and nobody can \
                     change the site. To change it then, make another node its origin under Sites.",
                ));
            }
        }
    }
    all
}
