//! The one sentence at the top of the overview.

use super::{BackendView, MirrorView, NodeView, RouterView, Tone};
use crate::words::count;
use control::Snapshot;
use model::Role;

/// How the whole is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) tone: Tone,
    pub(crate) headline: String,
    /// Everything that is not as it should be, the worst first.
    pub(crate) reasons: Vec<String>,
}

pub(super) fn judge(
    snapshot: &Snapshot,
    nodes: &[NodeView],
    routers: &[RouterView],
    backends: &[BackendView],
    mirrors: &[MirrorView],
) -> Verdict {
    if snapshot.settings.nodes.is_empty() {
        return Verdict {
            tone: Tone::Quiet,
            headline: "Nothing is set up yet".to_owned(),
            reasons: vec!["Add your boards under Nodes and say what each of them does.".to_owned()],
        };
    }
    let mut found: Vec<(Tone, String)> = Vec::new();
    for router in routers {
        router_reasons(router, &mut found);
    }
    for backend in backends.iter().filter(|b| !b.servers.is_empty()) {
        let heard = backend.servers.iter().any(|s| s.word != "unknown");
        let troubled = || backend.servers.iter().filter(|s| s.tone >= Tone::Warn);
        let down = troubled().filter(|s| !s.usable).count();
        for s in troubled().filter(|s| s.usable) {
            found.push((
                Tone::Warn,
                format!("Server {}/{} is failing checks.", backend.name, s.name),
            ));
        }
        if heard && backend.usable == 0 {
            found.push((Tone::Bad, format!("No server of {} takes visitors.", backend.name)));
        } else if down > 0 {
            let all = count(backend.servers.len(), "server");
            let verb = if down == 1 { "does" } else { "do" };
            let text = format!("{down} of {all} of {} {verb} not answer.", backend.name);
            found.push((Tone::Warn, text));
        }
    }
    let lost: Vec<_> = nodes.iter().filter(|n| n.known && !n.reachable).collect();
    let names: Vec<&str> = lost.iter().map(|n| n.name.as_str()).collect();
    match names.split_last() {
        None => {}
        Some((last, [])) => found.push((Tone::Warn, format!("{last} is not reachable from here."))),
        Some((last, rest)) => {
            let text = format!("{} and {last} are not reachable from here.", rest.join(", "));
            found.push((Tone::Warn, text));
        }
    }
    for node in nodes {
        for s in node.subsystems.iter().filter(|s| node.reachable && s.tone >= Tone::Warn) {
            let reason = s.reason.as_deref().map(|r| format!(": {r}")).unwrap_or_default();
            let text = format!("{}: {} {}{reason}", node.name, s.name.to_lowercase(), s.word);
            found.push((s.tone, crate::words::sentence(&text)));
        }
        for (tone, text) in node.troubles.iter().filter(|_| node.reachable) {
            found.push((*tone, format!("{}: {text}", node.name)));
        }
    }
    for m in mirrors.iter().filter(|m| m.tone >= Tone::Warn) {
        found.push((m.tone, format!("The mirror on {}: {}.", m.node, m.word)));
    }
    if routers.is_empty() {
        found.push((Tone::Quiet, setup_hint(snapshot)));
    }
    found.sort_by_key(|(tone, _)| std::cmp::Reverse(*tone));
    let tone = found.first().map_or(Tone::Good, |(tone, _)| *tone);
    let headline = match tone {
        Tone::Good | Tone::Info => "All good",
        Tone::Quiet if routers.is_empty() => "Not highly available yet",
        Tone::Quiet => "Not everything is known here",
        Tone::Warn => "Working, with something to look at",
        Tone::Bad => "Something does not work",
    };
    let reasons = found.into_iter().map(|(_, text)| text).collect();
    Verdict { tone, headline: headline.to_owned(), reasons }
}

fn router_reasons(router: &RouterView, found: &mut Vec<(Tone, String)>) {
    let ip = router.addresses.join(", ");
    if !router.rivals.is_empty() {
        found.push((
            Tone::Bad,
            format!(
                "{} say they hold {ip} at once: they do not hear each other's adverts.",
                router.rivals.join(" and ")
            ),
        ));
    } else if router.holder.is_none() {
        let heard = router.members.iter().any(|m| m.tone == Tone::Bad || m.tone == Tone::Info);
        let tone = if heard { Tone::Bad } else { Tone::Quiet };
        let text = if heard { "Nobody holds" } else { "It is not known here who holds" };
        found.push((tone, format!("{text} the floating IP {ip}.")));
    }
    let known = router.members.iter().filter(|m| m.tone != Tone::Quiet).count();
    if router.members.len() == 1 {
        found.push((
            Tone::Warn,
            "There is one load balancer only: when it fails, nobody takes over.".to_owned(),
        ));
    } else if router.holder.is_some() && router.next.is_none() && known > 1 {
        found.push((Tone::Warn, "No other load balancer is ready to take over.".to_owned()));
    }
    for m in router.members.iter() {
        if let Some(fault) = &m.fault {
            let text = format!("{} cannot take part in failover: {fault}", m.name);
            found.push((Tone::Warn, crate::words::sentence(&text)));
        }
    }
}

fn setup_hint(snapshot: &Snapshot) -> String {
    let balancers = snapshot.settings.with_role(Role::Balancer).count();
    match (balancers, snapshot.settings.cluster.floating_ip) {
        (0, _) => "No node is a load balancer yet. Give two of them that role under Nodes.",
        (_, None) => "There is no floating IP yet. Set one under Nodes, Cluster.",
        _ => "Every virtual router is switched off.",
    }
    .to_owned()
}
