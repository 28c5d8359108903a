//! The sites' mirrors.

use super::{Tone, name_of};
use crate::words::{count, number, short_span, span};
use control::Snapshot;
use model::status::{MirrorPhase, MirrorStatus, NodeReport};

#[derive(Clone, Debug)]
pub(crate) struct MirrorView {
    pub(crate) site: String,
    pub(crate) node: String,
    pub(crate) origin: String,
    pub(crate) is_origin: bool,
    pub(crate) tone: Tone,
    pub(crate) word: String,
    pub(crate) reason: Option<String>,
    /// A deletion is held back that the operator may let pass.
    pub(crate) approvable: bool,
    /// It can be let pass on this very page, and not only on the page of the node it is about.
    pub(crate) here: bool,
    pub(crate) detail: String,
    /// The lag in words; empty where it says nothing.
    pub(crate) lag: String,
    pub(crate) skipped: Vec<String>,
}

pub(super) fn views(snapshot: &Snapshot, reports: &[NodeReport]) -> Vec<MirrorView> {
    reports.iter().flat_map(|r| r.status.mirror.iter().map(|m| view(snapshot, r, m))).collect()
}

fn view(snapshot: &Snapshot, report: &NodeReport, m: &MirrorStatus) -> MirrorView {
    let age = report.age_ms;
    let (mut tone, mut word, reason) = match &m.phase {
        MirrorPhase::Origin => (Tone::Good, "origin", None),
        MirrorPhase::Connecting => (Tone::Warn, "not connected to the origin", None),
        MirrorPhase::Syncing => (Tone::Info, "copying", None),
        MirrorPhase::Following => (Tone::Good, "in step", None),
        MirrorPhase::Held { reason, .. } => (Tone::Bad, "stopped for safety", Some(reason.clone())),
        MirrorPhase::Failed { reason } => (Tone::Bad, "failed", Some(reason.clone())),
    };
    if !report.reachable {
        (tone, word) = (Tone::Quiet, "not heard from");
    }
    let is_origin = m.phase == MirrorPhase::Origin;
    let lag = match m.lag_ms {
        _ if is_origin || !report.reachable => String::new(),
        Some(0) => "no lag".to_owned(),
        Some(ms) => format!("{} behind", short_span(ms)),
        None => "lag unknown".to_owned(),
    };
    let entries = format!("{} entries", number(m.entries));
    let detail = if is_origin {
        format!("{entries}, {}", count(m.followers.try_into().unwrap_or(usize::MAX), "follower"))
    } else {
        let equal = m.synced_ago_ms.map(|ms| format!(", equal {} ago", span(ms + age)));
        let compared = m.compared_ago_ms.map(|ms| format!(", all compared {} ago", span(ms + age)));
        format!("{entries}{}{}", equal.unwrap_or_default(), compared.unwrap_or_default())
    };
    MirrorView {
        site: m.site.to_string(),
        node: name_of(snapshot, &report.status.id),
        origin: name_of(snapshot, &m.origin),
        is_origin,
        tone,
        word: word.to_owned(),
        reason,
        approvable: matches!(m.phase, MirrorPhase::Held { approvable: true, .. }),
        here: report.status.id == *snapshot.node(),
        detail,
        lag,
        skipped: m.skipped.clone(),
    }
}
