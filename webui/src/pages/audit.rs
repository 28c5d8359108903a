//! Who did what, on which node, and what came of it: newest first, of all nodes together.

use super::{Ctx, Shell, page};
use crate::error::{Failure, PageResult};
use crate::words::{moment, span};
use askama::Template;
use model::NodeId;
use model::audit::{Deed, Entry, Listed, Query};
use std::collections::BTreeMap;

/// Entries on a page.
const SHOWN: usize = 50;

/// A line of the list.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Entry(Box<Row>),
    /// What is not there, or what changed between two entries.
    Mark(String),
}

#[derive(Debug, PartialEq, Eq)]
struct Row {
    at: String,
    node: String,
    what: String,
    object: String,
    who: String,
    failure: String,
    /// A class ("add" or "del") and a line.
    changed: Vec<(&'static str, String)>,
}

/// A choice of a list.
struct Choice {
    value: String,
    name: String,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    shell: Shell,
    nodes: Vec<Choice>,
    deeds: Vec<Choice>,
    words: String,
    filtered: bool,
    complaints: Vec<String>,
    lines: Vec<Line>,
    older: Option<String>,
}

pub(crate) async fn show(ctx: Ctx) -> PageResult {
    let snapshot = ctx.snapshot();
    let asked = |name: &str| ctx.query.first(name).chars().take(200).collect::<String>();
    let (node, deed, words) = (asked("node"), asked("kind"), asked("q"));
    let node: Option<NodeId> = if node.is_empty() { None } else { Some(super::named(&node)?) };
    let deed = Some(deed).filter(|d| !d.is_empty());
    let query = Query {
        node: node.clone(),
        deed: deed.clone(),
        words: words.clone(),
        after: Some(asked("after")).filter(|a| !a.is_empty()),
        limit: SHOWN,
    };
    let audit = ctx.app.ports.audit.clone();
    let listed = tokio::task::spawn_blocking(move || audit.list(&query)).await;
    let listed: Listed = listed
        .map_err(|e| e.to_string())
        .and_then(|l| l)
        .map_err(|e| Failure::inside(format!("the audit log cannot be read: {e}")))?;
    let name_of = |id: &NodeId| crate::view::name_of(&snapshot, id);
    // Where a filter leaves entries out, numbers that are missing say nothing.
    let whole = deed.is_none() && words.is_empty();
    let lines = lines(&listed.entries, whole, &name_of);
    let older = listed.next.as_ref().map(|next| {
        let node = node.as_ref().map(ToString::to_string).unwrap_or_default();
        let part = |name: &str, value: &str| format!("{name}={}", crate::gate::encode(value));
        let parts = [
            part("node", &node),
            part("kind", deed.as_deref().unwrap_or_default()),
            part("q", &words),
            part("after", next),
        ];
        format!("/audit?{}", parts.join("&"))
    });
    let nodes = snapshot.settings.nodes.iter().map(|n| Choice {
        value: n.id.to_string(),
        name: n.name.to_string(),
        chosen: node.as_ref() == Some(&n.id),
    });
    let deeds = Deed::ALL.iter().map(|d| Choice {
        value: d.key().to_owned(),
        name: d.words().to_owned(),
        chosen: deed.as_deref() == Some(d.key()),
    });
    page(&AuditPage {
        nodes: nodes.collect(),
        deeds: deeds.collect(),
        filtered: node.is_some() || !whole,
        words,
        complaints: listed.complaints,
        lines,
        older,
        shell: ctx.shell("Audit log", "more"),
    })
}

/// The entries with what is between them: numbers that are missing, logs that begin anew, and
/// restarts.
fn lines(entries: &[Entry], whole: bool, name_of: &dyn Fn(&NodeId) -> String) -> Vec<Line> {
    let mut newer: BTreeMap<&NodeId, &Entry> = BTreeMap::new();
    let mut lines = Vec::new();
    for entry in entries {
        let name = name_of(&entry.node);
        if let Some(newer) = newer.insert(&entry.node, entry).filter(|_| whole) {
            lines.extend(between(newer, entry, &name).map(Line::Mark));
        }
        lines.push(Line::Entry(Box::new(row(entry, name))));
    }
    lines
}

/// What lies between two entries of one node.
fn between(newer: &Entry, older: &Entry, name: &str) -> Option<String> {
    if newer.log != older.log {
        return Some(format!(
            "{name} began a new log here: it had lost its data, or was replaced. What it wrote down \
             before and nobody else knows of is gone."
        ));
    }
    let missing = newer.seq.saturating_sub(older.seq).saturating_sub(1);
    if missing > 0 {
        let entries = crate::words::count(usize::try_from(missing).unwrap_or(usize::MAX), "entry");
        let entries = entries.replace("entrys", "entries");
        return Some(format!(
            "{entries} of {name} missing here: this node was not in touch with it, and gets them \
             once it is again, if they are still kept there."
        ));
    }
    (newer.boot != older.boot).then(|| format!("{name} started again."))
}

fn row(entry: &Entry, node: String) -> Row {
    let at = if entry.clock_set {
        moment(entry.at_ms)
    } else {
        format!("clock not set, {} after the start", span(entry.uptime_ms))
    };
    let deed = entry.deed_words();
    let mut changed = Vec::new();
    let parts = |text: &str| text.split("; ").map(str::to_owned).collect::<Vec<_>>();
    if !entry.before.is_empty() {
        changed.extend(parts(&entry.before).into_iter().map(|l| ("del", format!("− {l}"))));
    }
    if !entry.after.is_empty() {
        changed.extend(parts(&entry.after).into_iter().map(|l| ("add", format!("+ {l}"))));
    }
    Row {
        at,
        node,
        what: crate::words::sentence(deed).trim_end_matches('.').to_owned(),
        object: entry.object.clone(),
        who: entry.who(),
        failure: entry.failure.clone(),
        changed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(node: &str, log: &str, seq: u64, boot: &str) -> Entry {
        Entry {
            node: node.parse().unwrap(),
            log: log.into(),
            seq,
            boot: boot.into(),
            at_ms: 1_795_371_120_000,
            clock_set: true,
            actor: "node".into(),
            deed: "reboot".into(),
            ..Entry::default()
        }
    }

    fn marks(entries: &[Entry], whole: bool) -> Vec<String> {
        let lines = lines(entries, whole, &ToString::to_string);
        let mark = |line| match line {
            Line::Mark(text) => Some(text),
            Line::Entry(_) => None,
        };
        lines.into_iter().filter_map(mark).collect()
    }

    #[test]
    fn what_is_missing_is_marked_for_each_node_by_itself() {
        let entries = [
            entry("web01", "a", 9, "y"),
            entry("web02", "b", 4, "x"),
            entry("web01", "a", 8, "x"),
            entry("web01", "a", 5, "x"),
            entry("web02", "b", 3, "x"),
            entry("web02", "0", 70, "x"),
        ];
        let marks = marks(&entries, true);
        assert_eq!(marks.len(), 3, "{marks:?}");
        assert_eq!(marks[0], "web01 started again.");
        assert!(marks[1].starts_with("2 entries of web01 missing here"));
        assert!(marks[2].starts_with("web02 began a new log here"));
    }

    #[test]
    fn a_filter_is_no_gap() {
        let entries = [entry("web01", "a", 9, "x"), entry("web01", "a", 2, "x")];
        assert!(marks(&entries, true)[0].starts_with("6 entries"));
        assert_eq!(marks(&entries, false), Vec::<String>::new());
        let one = [entry("web01", "a", 9, "x"), entry("web01", "a", 7, "x")];
        assert!(marks(&one, true)[0].starts_with("1 entry of web01 missing"));
    }

    #[test]
    fn a_clock_that_was_not_set_says_nothing() {
        let lost = Entry { clock_set: false, uptime_ms: 65_000, ..entry("web01", "a", 1, "x") };
        assert_eq!(row(&lost, "Web01".into()).at, "clock not set, 1 min after the start");
        let changed = Entry { before: "a = 1; b = 2".into(), after: "a = 3".into(), ..lost };
        let lines: Vec<String> =
            row(&changed, String::new()).changed.into_iter().map(|c| c.1).collect();
        assert_eq!(lines, ["− a = 1", "− b = 2", "+ a = 3"]);
    }
}
