//! What is wrong with a node, what that means, and what to do: from what it reports, what the
//! settings say and what trying out its network came to. Pure.
//!
//! The groups stand in the order in which things build on each other: a cable, an address on it, a
//! router, a name server, the internet, the time, the other nodes. Where something further down
//! fails because of something above it, it says so instead of sending the operator elsewhere.

mod board;
mod failover;
mod link;
mod load;
mod reach;
mod single;

use super::Tone;
use model::status::{NetworkCheck, NodeReport, NodeStatus};
use model::{Node, NodeId, Settings};

/// Everything a diagnosis is made from.
pub(crate) struct Facts<'a> {
    pub(crate) settings: &'a Settings,
    /// What all nodes report, the asked one's own as well.
    pub(crate) reports: &'a [NodeReport],
    /// The node in question, and what it reports.
    pub(crate) id: &'a NodeId,
    pub(crate) status: &'a NodeStatus,
    /// It runs on a board of ours, where this appliance sets everything.
    pub(crate) board: bool,
    /// What trying out its network came to; None where it was not, or could not be.
    pub(crate) check: Option<&'a NetworkCheck>,
}

impl Facts<'_> {
    fn node(&self) -> Option<&Node> {
        self.settings.node(self.id)
    }

    fn name_of(&self, id: &NodeId) -> String {
        self.settings.node(id).map_or_else(|| id.to_string(), |n| n.name.to_string())
    }

    fn has_lease(&self) -> bool {
        use model::status::DhcpStatus::Leased;
        self.status.links.iter().any(|l| matches!(l.dhcp, Some(Leased { .. })))
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) subject: String,
    pub(crate) tone: Tone,
    /// What was found, in a few words.
    pub(crate) found: String,
    /// What it means and what to do; empty where nothing is to be done.
    pub(crate) advice: String,
}

impl Finding {
    fn new(subject: impl Into<String>, tone: Tone, found: impl Into<String>) -> Self {
        Self { subject: subject.into(), tone, found: found.into(), advice: String::new() }
    }

    fn good(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(subject, Tone::Good, found)
    }

    fn quiet(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(subject, Tone::Quiet, found)
    }

    fn warn(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(subject, Tone::Warn, found)
    }

    fn bad(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(subject, Tone::Bad, found)
    }

    fn so(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }

    /// The verdict in a word.
    pub(crate) const fn word(&self) -> &'static str {
        word(self.tone)
    }
}

/// A verdict in a word, for those who do not see its colour.
pub(crate) const fn word(tone: Tone) -> &'static str {
    match tone {
        Tone::Good | Tone::Info => "good",
        Tone::Quiet => "not known",
        Tone::Warn => "attention",
        Tone::Bad => "bad",
    }
}

/// Findings about one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) title: &'static str,
    pub(crate) findings: Vec<Finding>,
}

impl Group {
    /// How its worst finding is.
    pub(crate) fn tone(&self) -> Tone {
        self.findings.iter().map(|f| f.tone).max().unwrap_or(Tone::Quiet)
    }
}

/// Looks at everything.
pub(crate) fn diagnose(facts: &Facts<'_>) -> Vec<Group> {
    let group = |title, findings| Group { title, findings };
    let mut groups = vec![
        group("Cable and radio", link::links(facts)),
        group("Address", link::addresses(facts)),
        group("Router", reach::gateways(facts)),
        group("Names (DNS)", reach::name_servers(facts)),
        group("Internet", reach::internet(facts)),
        group("Time", reach::time(facts)),
        group("Other nodes", reach::peers(facts)),
        group("Failover (VRRP)", failover::routers(facts)),
        group("Services and ports", failover::services(facts)),
        group("Load balancer", load::visitors(facts)),
        group("Board and card", board::board(facts)),
        group("What hangs on one thing", single::points(facts)),
    ];
    groups.retain(|g| !g.findings.is_empty());
    groups
}

/// The sentence at the top: how many things somebody should look at.
pub(crate) fn headline(groups: &[Group]) -> (Tone, String) {
    let count = |tone| groups.iter().flat_map(|g| &g.findings).filter(|f| f.tone == tone).count();
    let (bad, warn) = (count(Tone::Bad), count(Tone::Warn));
    let things = |n: usize| crate::words::count(n, "thing");
    match (bad, warn) {
        (0, 0) => (Tone::Good, "Nothing is wrong here".to_owned()),
        (0, warn) => (Tone::Warn, format!("{} to look at", things(warn))),
        (bad, 0) => (Tone::Bad, format!("{} to mend", things(bad))),
        (bad, warn) => (Tone::Bad, format!("{} to mend, {warn} to look at", things(bad))),
    }
}

#[cfg(test)]
mod tests;
