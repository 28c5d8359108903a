//! Changes of the network that are tried out at this moment. Pure.

use super::name_of;
use control::Snapshot;
use model::status::{NodeReport, TrialState};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrialView {
    pub(crate) node: String,
    pub(crate) interface: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) seconds: u32,
    pub(crate) waits_for: String,
    pub(crate) reached_by: Option<String>,
    /// Where the page is opened to keep it; None while there is no new address.
    pub(crate) page: Option<String>,
    /// It is this node's.
    pub(crate) here: bool,
}

/// Those under way, this node's first.
pub(crate) fn views(snapshot: &Snapshot, reports: &[NodeReport]) -> Vec<TrialView> {
    let mut all: Vec<TrialView> = Vec::new();
    for report in reports.iter().filter(|r| r.reachable) {
        for link in &report.status.links {
            let Some(trial) = &link.trial else { continue };
            let TrialState::Trying { seconds_left, reached_by, waits_for } = &trial.state else {
                continue;
            };
            let page = trial.address.map(|a| format!("http://{a}:{}/", model::ADMIN_PORT));
            all.push(TrialView {
                node: name_of(snapshot, &report.status.id),
                interface: link.name.clone(),
                from: trial.from.clone(),
                to: trial.to.clone(),
                seconds: *seconds_left,
                waits_for: crate::words::sentence(waits_for),
                reached_by: reached_by.clone(),
                page,
                here: report.status.id == *snapshot.node(),
            });
        }
    }
    all.sort_by_key(|t| !t.here);
    all
}
