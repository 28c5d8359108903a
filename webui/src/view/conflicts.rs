//! Edits that lost against another, and settings that wait for a decision. Pure.

use super::name_of;
use crate::words::sentence;
use control::{Decision, LostEdit, Note, Replication, Snapshot};

/// One setting that two halves of the cluster set differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LostView {
    pub(crate) key: String,
    pub(crate) change: String,
    pub(crate) what: String,
    pub(crate) current: String,
    pub(crate) current_by: String,
    pub(crate) other: String,
    pub(crate) other_by: String,
}

/// One value that does not run because the whole breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PendingView {
    pub(crate) key: String,
    pub(crate) what: String,
    pub(crate) running: String,
    pub(crate) merged: String,
    pub(crate) by: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DecisionView {
    pub(crate) problems: Vec<String>,
    pub(crate) changes: Vec<PendingView>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConflictsView {
    pub(crate) lost: Vec<LostView>,
    pub(crate) decision: Option<DecisionView>,
}

impl ConflictsView {
    pub(crate) fn new(snapshot: &Snapshot, replication: &Replication) -> Self {
        let lost = replication.lost.iter().map(|l| lost(snapshot, l)).collect();
        Self { lost, decision: replication.decision.as_ref().map(|d| decision(snapshot, d)) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lost.is_empty() && self.decision.is_none()
    }
}

fn lost(snapshot: &Snapshot, edit: &LostEdit) -> LostView {
    LostView {
        key: edit.key.clone(),
        change: edit.change.to_string(),
        what: what(snapshot, &edit.path),
        current: edit.current.clone(),
        current_by: by(snapshot, &edit.current_by),
        other: edit.other.clone(),
        other_by: by(snapshot, &edit.other_by),
    }
}

fn decision(snapshot: &Snapshot, decision: &Decision) -> DecisionView {
    let problem = |p: &model::Problem| {
        format!("{}: {}", what(snapshot, &p.path), sentence(&p.problem).to_lowercase_first())
    };
    let pending = decision.changes.iter().map(|c| PendingView {
        key: c.key.clone(),
        what: what(snapshot, &c.path),
        running: c.running.clone(),
        merged: c.merged.clone(),
        by: by(snapshot, &c.by),
    });
    DecisionView {
        problems: decision.problems.iter().map(problem).collect(),
        changes: pending.collect(),
    }
}

trait LowercaseFirst {
    fn to_lowercase_first(&self) -> String;
}

impl LowercaseFirst for String {
    /// A sentence as the second half of another.
    fn to_lowercase_first(&self) -> String {
        let mut chars = self.chars();
        match (chars.next(), self.chars().nth(1)) {
            (Some(first), Some(second)) if !second.is_uppercase() => {
                format!("{}{}", first.to_lowercase(), chars.as_str())
            }
            _ => self.clone(),
        }
    }
}

/// Who, where, doing what.
fn by(snapshot: &Snapshot, note: &Note) -> String {
    let mut text = if note.author.is_empty() { "somebody".to_owned() } else { note.author.clone() };
    if !note.node.is_empty() {
        text.push_str(&format!(", on {}", name_of(snapshot, &note.node)));
    }
    if !note.sentence.is_empty() {
        text.push_str(&format!(": {}", note.sentence));
    }
    text
}

/// `nodes[web02].eth0.address` as an operator says it: "Web02, eth0 address".
pub(crate) fn what(snapshot: &Snapshot, path: &str) -> String {
    let plain = |text: &str| text.replace(['.', '_'], " ").trim().to_owned();
    let Some((list, rest)) = path.split_once('[') else { return plain(path) };
    let Some((entry, rest)) = rest.split_once(']') else { return plain(path) };
    let name = match list {
        "nodes" => {
            let by_number = entry.parse::<usize>().ok();
            let by_number = by_number.and_then(|at| snapshot.settings.nodes.get(at));
            let by_id = snapshot.settings.nodes.iter().find(|n| n.id.as_str() == entry);
            by_id.or(by_number).map_or_else(|| entry.to_owned(), |n| n.name.to_string())
        }
        _ => format!("{} {entry}", plain(list)),
    };
    let rest = plain(rest);
    if rest.is_empty() { name } else { format!("{name}, {rest}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Revision;

    #[test]
    fn paths_read_well() {
        let own = "lbmaster".parse().unwrap();
        let snapshot = Snapshot::new(Revision(3), crate::demo::settings(), &own);
        for (path, words) in [
            ("nodes[web02].eth0.address", "Web02, eth0 address"),
            ("nodes[0].name", "Web01, name"),
            ("nodes[gone]", "gone"),
            ("cluster.floating_ip", "cluster floating ip"),
            ("sites[default].mirror.exclude", "sites default, mirror exclude"),
            ("odd[", "odd["),
        ] {
            assert_eq!(what(&snapshot, path), words);
        }
    }
}
