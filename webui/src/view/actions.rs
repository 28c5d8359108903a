//! What can be done with a node, and why not where it cannot. Pure.

use super::{ClusterView, name_of};
use control::Snapshot;
use model::status::{NodeReport, VrrpState};
use model::{Node, NodeId, Role, ServerState};

/// A button.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ActionView {
    pub(crate) path: String,
    pub(crate) word: String,
    /// What follows from it, or why it cannot be done now.
    pub(crate) note: String,
    pub(crate) possible: bool,
    /// Leads to a question first.
    pub(crate) asks: bool,
    pub(crate) danger: bool,
}

/// The servers that stand for a node: backend, server, and what the operator wants of it.
pub(crate) fn servers(
    snapshot: &Snapshot,
    node: &NodeId,
) -> Vec<(model::Name, model::Name, ServerState)> {
    let backends = snapshot.effective.backends.iter();
    backends
        .flat_map(|b| {
            let own = b.servers.iter().filter(|s| s.node.as_ref() == Some(node));
            own.map(|s| (b.backend.name.clone(), s.name.clone(), s.state))
        })
        .collect()
}

/// The virtual routers whose addresses a node holds.
pub(crate) fn held(report: &NodeReport) -> Vec<(model::Name, String)> {
    let masters = report.status.vrrp.iter().filter(|v| v.state == VrrpState::Master);
    masters
        .map(|v| {
            let ips: Vec<String> = v.addresses.iter().map(|a| a.addr().to_string()).collect();
            (v.name.clone(), ips.join(", "))
        })
        .collect()
}

/// Everything that can be done with this node, the gentle things first.
pub(crate) fn views(
    snapshot: &Snapshot,
    cluster: &ClusterView,
    node: &Node,
    report: Option<&NodeReport>,
    board: bool,
) -> Vec<ActionView> {
    let (id, name) = (&node.id, &node.name);
    let away = !report.is_some_and(|r| r.reachable);
    let unreachable = || format!("{name} cannot be reached at this moment.");
    let act = |what: &str, word: &str, note: String, possible: bool| ActionView {
        path: format!("/nodes/{id}/{what}"),
        word: word.to_owned(),
        note,
        possible,
        asks: false,
        danger: false,
    };
    let mut all = Vec::new();
    if node.is(Role::Web) {
        all.push(drain(snapshot, cluster, node, &act));
    }
    if node.is(Role::Balancer) {
        all.extend(failover(cluster, report, away, &act));
    }
    let not_ours = "It runs on somebody else's Linux, which looks after the board.".to_owned();
    let at_board = |what: &str, word: &str, note: &str| {
        let why = if away {
            unreachable()
        } else if board {
            note.to_owned()
        } else {
            not_ours.clone()
        };
        act(what, word, why, !away && board)
    };
    all.push(at_board("blink", "Blink", "Its green LED flashes for 20 seconds."));
    let log = if away { unreachable() } else { "What happened on it lately.".to_owned() };
    all.push(ActionView { asks: true, ..act("log", "Log", log, !away) });
    let asking = |action: ActionView| ActionView { asks: true, ..action };
    all.push(asking(at_board("do/reboot", "Restart…", "Away for well under a minute.")));
    let off = at_board("do/poweroff", "Switch off…", "Somebody has to plug it in again.");
    all.push(asking(off));
    let here = id == snapshot.node();
    let replace = if here {
        act(
            "replace",
            "Replace…",
            "Open this page on another node to replace this one.".into(),
            false,
        )
    } else {
        act(
            "replace",
            "Replace…",
            "Another board takes its name, roles and addresses.".into(),
            true,
        )
    };
    all.push(asking(replace));
    let remove = if here && snapshot.settings.nodes.len() > 1 {
        act(
            "do/remove",
            "Remove…",
            "Open this page on another node to remove this one.".into(),
            false,
        )
    } else {
        act(
            "do/remove",
            "Remove…",
            "It leaves the cluster and may not come back by itself.".into(),
            true,
        )
    };
    all.push(ActionView { danger: true, ..asking(remove) });
    all
}

fn drain(
    snapshot: &Snapshot,
    cluster: &ClusterView,
    node: &Node,
    act: &dyn Fn(&str, &str, String, bool) -> ActionView,
) -> ActionView {
    let own = servers(snapshot, &node.id);
    let ready = own.iter().any(|(_, _, state)| *state == ServerState::Ready);
    if own.is_empty() {
        let why = "No server stands for it; it needs a fixed address.".to_owned();
        return act("drain", "Take no new visitors", why, false);
    }
    if !ready {
        return act("ready", "Take visitors again", "Its servers are set to ready.".into(), true);
    }
    let is_own = |backend: &str, name: &str| {
        own.iter().any(|(b, s, _)| b.as_str() == backend && s.as_str() == name)
    };
    let alone = cluster.backends.iter().any(|b| {
        let (mine, others): (Vec<_>, Vec<_>) =
            b.servers.iter().filter(|s| s.usable).partition(|s| is_own(&b.name, &s.name));
        !mine.is_empty() && others.is_empty()
    });
    let note = if alone {
        "No other server takes visitors: the sites would be gone. Drained all the same if you say so."
    } else {
        "Those it has are served to the end; the other web servers take the new ones."
    };
    ActionView { danger: alone, ..act("drain", "Take no new visitors", note.to_owned(), true) }
}

fn failover(
    cluster: &ClusterView,
    report: Option<&NodeReport>,
    away: bool,
    act: &dyn Fn(&str, &str, String, bool) -> ActionView,
) -> Vec<ActionView> {
    let held = report.filter(|_| !away).map(held).unwrap_or_default();
    if held.is_empty() {
        let why = "It holds no floating IP at this moment.".to_owned();
        return vec![act("failover", "Hand the floating IP over", why, false)];
    }
    held.into_iter()
        .map(|(name, ips)| {
            let router = cluster.routers.iter().find(|r| r.name == name.as_str());
            match router.and_then(|r| r.next.as_ref()) {
                Some(next) => {
                    let word = format!("Hand {ips} to {next}…");
                    let path = format!("failover/{name}");
                    let note = "Visitors notice next to nothing.".to_owned();
                    ActionView { asks: true, ..act(&path, &word, note, true) }
                }
                None => {
                    let why = "No other load balancer is ready to take over.".to_owned();
                    act("failover", &format!("Hand {ips} over"), why, false)
                }
            }
        })
        .collect()
}

/// What it costs to have a node away, worst first.
pub(crate) fn costs(
    snapshot: &Snapshot,
    cluster: &ClusterView,
    node: &Node,
    report: Option<&NodeReport>,
) -> Vec<String> {
    let name = name_of(snapshot, &node.id);
    let mut costs = Vec::new();
    for (router, ips) in report.filter(|r| r.reachable).map(held).unwrap_or_default() {
        let next = cluster.routers.iter().find(|r| r.name == router.as_str());
        costs.push(match next.and_then(|r| r.next.as_deref()) {
            Some(next) => format!(
                "{name} holds the floating IP {ips}: it is handed over to {next} first, so visitors \
                 notice next to nothing."
            ),
            None => format!(
                "{name} holds the floating IP {ips} and no other load balancer is ready to take \
                 over: visitors reach nothing until it is back."
            ),
        });
    }
    if node.is(Role::Web) {
        let others = snapshot.settings.with_role(Role::Web).filter(|n| n.id != node.id).count();
        costs.push(if others > 0 {
            format!("{name} is a web server: the others serve its visitors meanwhile.")
        } else {
            format!("{name} is the only web server: the sites are gone until it is back.")
        });
    }
    if costs.is_empty() {
        costs.push(format!("{name} has no role that others depend on."));
    }
    costs
}
