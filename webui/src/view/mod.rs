//! What the pages show, worked out from the settings and from what the nodes report. Pure.

pub(crate) mod actions;
pub(crate) mod board;
pub(crate) mod charts;
pub(crate) mod conflicts;
pub(crate) mod diagnosis;
pub(crate) mod found;
mod mirrors;
mod nodes;
mod routers;
mod servers;
pub(crate) mod suggest;
pub(crate) mod sync;
pub(crate) mod trials;
mod verdict;
pub(crate) mod wifi;

pub(crate) use mirrors::MirrorView;
pub(crate) use nodes::NodeView;
pub(crate) use routers::RouterView;
pub(crate) use servers::{BackendView, ServerView, reporting_balancer};
pub(crate) use verdict::Verdict;

use control::Snapshot;
use model::Settings;
use model::status::{NodeReport, NodeStatus};

/// How something is, as a colour. Every place that shows one shows a word as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tone {
    /// As it should be.
    Good,
    /// Meant to be so: drained, in maintenance.
    Info,
    /// Nothing is known, or there is nothing to do.
    #[default]
    Quiet,
    /// Works, and somebody should look.
    Warn,
    /// Does not work.
    Bad,
}

impl Tone {
    /// Its class in the style sheet.
    pub(crate) const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Info => "info",
            Self::Quiet => "quiet",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// Something the operator should know, and who says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoticeView {
    pub(crate) node: String,
    pub(crate) text: String,
}

/// The whole cluster as this node knows it.
#[derive(Clone, Debug)]
pub(crate) struct ClusterView {
    pub(crate) verdict: Verdict,
    pub(crate) nodes: Vec<NodeView>,
    pub(crate) routers: Vec<RouterView>,
    pub(crate) backends: Vec<BackendView>,
    /// Which node's balancer the servers' states come from.
    pub(crate) servers_by: Option<String>,
    pub(crate) mirrors: Vec<MirrorView>,
    pub(crate) notices: Vec<NoticeView>,
}

/// How many visitors a balancer takes at once and how many it should, where its limit of open files
/// allows fewer than the settings want.
pub(crate) fn fewer_visitors(settings: &Settings, status: &NodeStatus) -> Option<(u64, u64)> {
    let wanted = u64::from(settings.cluster.maxconn?);
    let most = status.proxy.as_ref()?.maxconn;
    (most < wanted).then_some((most, wanted))
}

impl ClusterView {
    pub(crate) fn new(snapshot: &Snapshot, reports: &[NodeReport]) -> Self {
        let nodes = nodes::views(snapshot, reports);
        let routers = routers::views(snapshot, reports);
        let (backends, servers_by) = servers::views(snapshot, reports);
        let mirrors = mirrors::views(snapshot, reports);
        let notices = notices(reports);
        let verdict = verdict::judge(snapshot, &nodes, &routers, &backends, &mirrors);
        Self { verdict, nodes, routers, backends, servers_by, mirrors, notices }
    }

    /// Servers that take visitors, and all that should.
    pub(crate) fn servers_up(&self) -> (usize, usize) {
        let servers = || self.backends.iter().flat_map(|b| &b.servers);
        (servers().filter(|s| s.usable).count(), servers().count())
    }

    /// Nodes heard from, and all.
    pub(crate) fn nodes_reachable(&self) -> (usize, usize) {
        (self.nodes.iter().filter(|n| n.reachable).count(), self.nodes.len())
    }
}

fn notices(reports: &[NodeReport]) -> Vec<NoticeView> {
    let reachable = reports.iter().filter(|r| r.reachable);
    let all = reachable.flat_map(|r| {
        r.status
            .notices
            .iter()
            .map(|n| NoticeView { node: r.status.name.clone(), text: n.text.clone() })
    });
    all.collect()
}

/// What a node is called: as the settings say, or else as it says itself.
pub(crate) fn name_of(snapshot: &Snapshot, id: &model::NodeId) -> String {
    snapshot.settings.node(id).map_or_else(|| id.to_string(), |n| n.name.to_string())
}

#[cfg(test)]
mod tests;
