//! Backends and their servers.

use super::{Tone, name_of};
use crate::words::{bytes, number, span};
use control::Snapshot;
use model::status::{Health, NodeReport, ServerStatus, VrrpState};
use model::{DerivedServer, ServerState};

#[derive(Clone, Debug)]
pub(crate) struct ServerView {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) weight: u16,
    /// HAProxy's keyword for what the operator wants.
    pub(crate) state: &'static str,
    pub(crate) backup: bool,
    pub(crate) usable: bool,
    pub(crate) tone: Tone,
    /// HAProxy's status word.
    pub(crate) word: String,
    pub(crate) explained: &'static str,
    pub(crate) since: String,
    pub(crate) check: String,
    pub(crate) sessions: String,
    pub(crate) requests: String,
    pub(crate) traffic: String,
    pub(crate) errors: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct BackendView {
    pub(crate) name: String,
    pub(crate) balance: &'static str,
    pub(crate) check: String,
    pub(crate) servers: Vec<ServerView>,
    pub(crate) usable: usize,
}

/// The report the servers' states are taken from: the balancer that holds the floating IP, since
/// it is the one whose word counts; or this node's own; or any that can be heard.
pub(crate) fn reporting_balancer(reports: &[NodeReport]) -> Option<&NodeReport> {
    let balancers = || reports.iter().filter(|r| r.reachable && r.status.proxy.is_some());
    let holds = |r: &&NodeReport| r.status.vrrp.iter().any(|v| v.state == VrrpState::Master);
    balancers().find(holds).or_else(|| balancers().next())
}

pub(super) fn views(
    snapshot: &Snapshot,
    reports: &[NodeReport],
) -> (Vec<BackendView>, Option<String>) {
    let report = reporting_balancer(reports);
    let proxy = report.and_then(|r| r.status.proxy.as_ref());
    let backends = snapshot.effective.backends.iter().map(|derived| {
        let said = proxy.and_then(|p| p.backends.iter().find(|b| b.name == derived.backend.name));
        let servers: Vec<_> = derived
            .servers
            .iter()
            .map(|s| {
                let said = said.and_then(|b| b.servers.iter().find(|o| o.name == s.name));
                server(s, said)
            })
            .collect();
        let check = &derived.backend.check;
        BackendView {
            name: derived.backend.name.to_string(),
            balance: derived.backend.balance.keyword(),
            check: match (&check.http_path, check.enabled) {
                (_, false) => "not checked".to_owned(),
                (Some(path), true) => format!("checked by GET {path} every {}", check.inter),
                (None, true) => format!("checked by a connection every {}", check.inter),
            },
            usable: servers.iter().filter(|s| s.usable).count(),
            servers,
        }
    });
    (backends.collect(), report.map(|r| name_of(snapshot, &r.status.id)))
}

fn server(derived: &DerivedServer, said: Option<&ServerStatus>) -> ServerView {
    let (tone, word, explained) = match said {
        Some(s) => state_of(s),
        None => (Tone::Quiet, "unknown".to_owned(), "no balancer has said anything of it yet"),
    };
    let mut view = ServerView {
        name: derived.name.to_string(),
        address: derived.address.to_string(),
        weight: derived.weight.get(),
        state: derived.state.keyword(),
        backup: derived.backup,
        usable: said.is_some_and(ServerStatus::usable),
        tone,
        word,
        explained,
        since: String::new(),
        check: String::new(),
        sessions: "–".to_owned(),
        requests: "–".to_owned(),
        traffic: "–".to_owned(),
        errors: 0,
    };
    if let Some(s) = said {
        view.since = span(s.lastchg.saturating_mul(1000));
        view.check = check_of(s);
        view.sessions = number(s.traffic.scur);
        view.requests = number(s.traffic.stot);
        view.traffic = bytes(s.traffic.bout);
        view.errors = s.econ + s.eresp;
    }
    view
}

/// Colour, HAProxy's word, and what it means.
pub(crate) fn state_of(s: &ServerStatus) -> (Tone, String, &'static str) {
    let word = s.status_word();
    let (tone, explained) = match (s.wanted(), s.health) {
        (ServerState::Maint, _) => (Tone::Info, "in maintenance: no visitors, not checked"),
        (_, Health::Down) if word != "DOWN" => (Tone::Warn, "coming back: checks succeed again"),
        (_, Health::Down) => (Tone::Bad, "does not answer"),
        (ServerState::Drain, _) => (Tone::Info, "draining: finishes what it has, gets nothing new"),
        (ServerState::Ready, Health::Stopping) => {
            (Tone::Info, "stopping: finishes what it has, gets nothing new")
        }
        (ServerState::Ready, _) if s.effective_weight == 0 => {
            (Tone::Info, "weight 0: gets no visitors")
        }
        (ServerState::Ready, Health::Unchecked) => (Tone::Quiet, "takes visitors, not checked"),
        (ServerState::Ready, Health::Up) if word != "UP" => (Tone::Warn, "failing checks"),
        (ServerState::Ready, Health::Up) => (Tone::Good, "takes visitors"),
    };
    (tone, word, explained)
}

fn check_of(s: &ServerStatus) -> String {
    if s.check.check_status.is_empty() {
        return String::new();
    }
    let code = s.check.check_code.map(|c| format!("/{c}")).unwrap_or_default();
    let took = s.check.check_duration.map(|d| format!(" in {d} ms")).unwrap_or_default();
    format!("{}{code}{took}", s.check.check_status)
}
