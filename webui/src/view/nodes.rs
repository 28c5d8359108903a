//! The boards.

use super::Tone;
use crate::words::span;
use control::Snapshot;
use model::status::{NodeReport, Subsystem, SubsystemState, SubsystemStatus, VrrpState};
use model::{Node, Role};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SubsystemView {
    pub(crate) name: String,
    pub(crate) tone: Tone,
    pub(crate) word: &'static str,
    pub(crate) reason: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct NodeView {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) roles: Vec<&'static str>,
    pub(crate) reachable: bool,
    /// Has ever been heard from; what is shown of it may be old.
    pub(crate) known: bool,
    pub(crate) tone: Tone,
    pub(crate) word: String,
    pub(crate) addresses: Vec<(String, String)>,
    pub(crate) subsystems: Vec<SubsystemView>,
    /// Holds a floating IP.
    pub(crate) master: bool,
    pub(crate) backup: bool,
    pub(crate) uptime: String,
    pub(crate) version: String,
    /// It has not the same settings as this node; each node counts its revisions by itself.
    pub(crate) behind: bool,
    /// Its own page, where it is not this one.
    pub(crate) page: Option<String>,
    /// What its board suffers from.
    pub(crate) troubles: Vec<(Tone, String)>,
}

pub(super) fn views(snapshot: &Snapshot, reports: &[NodeReport]) -> Vec<NodeView> {
    let settings = &snapshot.settings;
    let own = reports.first().map(|r| r.status.heads.as_str()).unwrap_or_default();
    let mut all: Vec<NodeView> = settings
        .nodes
        .iter()
        .map(|n| view(snapshot, own, Some(n), reports.iter().find(|r| r.status.id == n.id)))
        .collect();
    // A node without an entry in the settings: this one before it is set up.
    for report in reports.iter().filter(|r| settings.node(&r.status.id).is_none()) {
        all.push(view(snapshot, own, None, Some(report)));
    }
    all
}

fn view(
    snapshot: &Snapshot,
    own: &str,
    node: Option<&Node>,
    report: Option<&NodeReport>,
) -> NodeView {
    let status = report.map(|r| &r.status);
    let id = node.map(|n| n.id.to_string()).or_else(|| status.map(|s| s.id.to_string()));
    let id = id.unwrap_or_default();
    let name = node.map(|n| n.name.to_string()).or_else(|| status.map(|s| s.name.clone()));
    let here = snapshot.node().as_str() == id;
    let reachable = report.is_some_and(|r| r.reachable);
    let mut subsystems: Vec<_> = status
        .map(|s| s.subsystems.iter().map(|(s, st)| subsystem(*s, st)).collect())
        .unwrap_or_default();
    subsystems.retain(|s: &SubsystemView| s.word != "idle");
    let troubles: Vec<(Tone, String)> =
        status.map(|s| super::board::troubles(&s.system)).unwrap_or_default();
    let tones = subsystems.iter().map(|s| s.tone).chain(troubles.iter().map(|(tone, _)| *tone));
    let worst = tones.max().unwrap_or(Tone::Good);
    let (tone, word) = match report {
        None => (Tone::Quiet, "not heard from yet".to_owned()),
        Some(r) if !r.reachable => (Tone::Bad, format!("not reachable for {}", span(r.age_ms))),
        Some(_) if worst >= Tone::Warn => (worst, "needs a look".to_owned()),
        Some(_) if here => (Tone::Good, "this node".to_owned()),
        Some(_) => (Tone::Good, "reachable".to_owned()),
    };
    let is = |state| status.is_some_and(|s| s.vrrp.iter().any(|v| v.state == state));
    let addresses = node.map(addresses).unwrap_or_default();
    NodeView {
        page: node
            .filter(|_| !here)
            .and_then(|n| n.addresses().next())
            .map(|a| format!("http://{a}:{}/", model::ADMIN_PORT)),
        name: name.filter(|n| !n.is_empty()).unwrap_or_else(|| id.clone()),
        roles: node.map(roles).unwrap_or_default(),
        known: status.is_some(),
        master: reachable && is(VrrpState::Master),
        backup: reachable && is(VrrpState::Backup),
        uptime: status.map(|s| span(s.uptime_ms)).unwrap_or_default(),
        version: status.map(|s| s.version.clone()).unwrap_or_default(),
        behind: reachable && status.is_some_and(|s| !own.is_empty() && s.heads != own),
        addresses: if addresses.is_empty() { links(status) } else { addresses },
        id,
        reachable,
        tone,
        word,
        subsystems,
        troubles,
    }
}

fn roles(node: &Node) -> Vec<&'static str> {
    let mut roles = Vec::new();
    if node.is(Role::Web) {
        roles.push("web server");
    }
    if node.is(Role::Balancer) {
        roles.push("load balancer");
    }
    if roles.is_empty() {
        roles.push("spare");
    }
    roles
}

fn addresses(node: &Node) -> Vec<(String, String)> {
    let with = |(name, link): (&str, &model::Link)| {
        link.address.map(|a| (name.to_owned(), a.addr().to_string()))
    };
    node.links().into_iter().filter_map(with).collect()
}

/// What the kernel has, where the settings say nothing.
fn links(status: Option<&model::status::NodeStatus>) -> Vec<(String, String)> {
    let links = status.map(|s| s.links.as_slice()).unwrap_or_default();
    links
        .iter()
        .flat_map(|l| l.addresses.iter().map(|a| (l.name.clone(), a.addr().to_string())))
        .take(4)
        .collect()
}

fn subsystem(which: Subsystem, status: &SubsystemStatus) -> SubsystemView {
    let (tone, word, reason) = match &status.state {
        SubsystemState::Starting => (Tone::Quiet, "starting", None),
        SubsystemState::Applied => (Tone::Good, "running", None),
        SubsystemState::Idle => (Tone::Quiet, "idle", None),
        SubsystemState::Degraded { reason } => (Tone::Warn, "degraded", Some(reason.clone())),
        SubsystemState::Failed { reason } => (Tone::Bad, "failed", Some(reason.clone())),
    };
    let name = crate::words::sentence(&which.to_string());
    SubsystemView { name: name.trim_end_matches('.').to_owned(), tone, word, reason }
}
