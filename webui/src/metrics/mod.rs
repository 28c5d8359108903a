//! Prometheus text: HAProxy's names where the same thing is measured, `bramble_` for the rest.

mod balancer;
mod board;
mod names;

use control::Snapshot;
use model::ServerState;
use model::status::stat::lines;
use model::status::{self, MirrorPhase, NodeReport, SubsystemState, VrrpState};
use std::fmt::Write;

/// Builds the text; a metric's samples stay together, as the format wants it.
struct Page(String);

impl Page {
    fn metric(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> =
            labels.iter().map(|(k, v)| format!("{k}=\"{}\"", escaped(v))).collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Seconds with milliseconds, without floating point.
fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// What is asked for, as HAProxy's exporter takes it (`?scope=frontend&scope=server&no-maint`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scope {
    /// None for all.
    of: Option<Vec<String>>,
    /// Without servers in maintenance.
    no_maint: bool,
}

impl Scope {
    /// Reads a query; None for a scope nobody knows.
    pub(crate) fn read(query: &str) -> Option<Self> {
        let mut scope = Self::default();
        for pair in query.split('&') {
            match pair.split_once('=') {
                Some(("scope", "*")) => scope.of = None,
                Some(("scope", word)) => {
                    let known =
                        ["", "global", "frontend", "listener", "backend", "server", "sticktable"];
                    if !known.contains(&word) {
                        return None;
                    }
                    scope.of.get_or_insert_default().push(word.to_owned());
                }
                _ => scope.no_maint |= pair == "no-maint",
            }
        }
        Some(scope)
    }

    fn has(&self, word: &str) -> bool {
        self.of.as_ref().is_none_or(|all| all.iter().any(|w| w == word))
    }
}

pub(crate) fn metrics(snapshot: &Snapshot, reports: &[NodeReport], scope: &Scope) -> String {
    let mut page = Page(String::new());
    if let Some(own) = reports.first() {
        if let Some(proxy) = &own.status.proxy {
            if scope.has("global") {
                let (uptime, version) = (own.status.uptime_ms, own.status.version.as_str());
                balancer::process(&mut page, proxy, uptime, version);
            }
            let mut proxy = proxy.clone();
            for b in proxy.backends.iter_mut().filter(|_| scope.no_maint) {
                b.servers.retain(|s| s.wanted() != ServerState::Maint);
            }
            balancer::objects(&mut page, &lines(&proxy), scope);
        }
        if scope.of.is_some() {
            return page.0;
        }
        process(&mut page, &own.status);
        board::board(&mut page, &own.status.system);
        subsystems(&mut page, snapshot, own);
        failover(&mut page, own);
        mirrors(&mut page, own);
    }
    nodes(&mut page, reports);
    page.0
}

fn process(page: &mut Page, own: &status::NodeStatus) {
    if own.proxy.is_none() {
        // Dashboards made for HAProxy show this much of a node that balances nothing.
        let name = "haproxy_process_uptime_seconds";
        page.metric(name, "gauge", "How long ago this worker process was started (seconds)");
        page.sample(name, &[], own.uptime_ms / 1000);
    }
    page.metric("bramble_build_info", "gauge", "The software of this node");
    page.sample("bramble_build_info", &[("version", &own.version), ("node", own.id.as_str())], 1);
}

/// One metric over all entries of a list.
fn each<T>(
    page: &mut Page,
    entries: &[(Vec<(&str, &str)>, &T)],
    (name, kind, help): (&str, &str, &str),
    value: impl Fn(&T) -> Option<String>,
) {
    if entries.is_empty() {
        return;
    }
    page.metric(name, kind, help);
    for (labels, entry) in entries {
        if let Some(value) = value(entry) {
            page.sample(name, labels, value);
        }
    }
}

/// One metric whose state is a label: 1 for the one it is in, 0 for the others.
fn states<T>(
    page: &mut Page,
    entries: &[(Vec<(&str, &str)>, &T)],
    (name, help): (&str, &str),
    all: &[&str],
    state: impl Fn(&T) -> &'static str,
) {
    if entries.is_empty() {
        return;
    }
    page.metric(name, "gauge", help);
    for (labels, entry) in entries {
        for candidate in all {
            let mut labels = labels.clone();
            labels.push(("state", candidate));
            page.sample(name, &labels, u8::from(state(entry) == *candidate));
        }
    }
}

type Metric<T> = (&'static str, &'static str, &'static str, fn(&T) -> u64);

fn all<T>(page: &mut Page, entries: &[(Vec<(&str, &str)>, &T)], metrics: &[Metric<T>]) {
    for (name, kind, help, value) in metrics {
        each(page, entries, (name, kind, help), |e| Some(value(e).to_string()));
    }
}

fn subsystems(page: &mut Page, snapshot: &Snapshot, own: &NodeReport) {
    page.metric("bramble_settings_revision", "gauge", "Revision of the settings of this node");
    page.sample("bramble_settings_revision", &[], snapshot.revision);
    let names: Vec<(String, &status::SubsystemStatus)> =
        own.status.subsystems.iter().map(|(s, st)| (format!("{s:?}").to_lowercase(), st)).collect();
    let entries: Vec<_> =
        names.iter().map(|(n, s)| (vec![("subsystem", n.as_str())], *s)).collect();
    let state = |s: &status::SubsystemStatus| match s.state {
        SubsystemState::Starting => "starting",
        SubsystemState::Applied => "applied",
        SubsystemState::Idle => "idle",
        SubsystemState::Degraded { .. } => "degraded",
        SubsystemState::Failed { .. } => "failed",
    };
    states(
        page,
        &entries,
        ("bramble_subsystem_state", "What each subsystem makes of the settings"),
        &["starting", "applied", "idle", "degraded", "failed"],
        state,
    );
    all(
        page,
        &entries,
        &[(
            "bramble_subsystem_revision",
            "gauge",
            "The newest revision each subsystem has dealt with",
            |s| s.revision.0,
        )],
    );
}

fn failover(page: &mut Page, own: &NodeReport) {
    let entries: Vec<_> =
        own.status.vrrp.iter().map(|v| (vec![("router", v.name.as_str())], v)).collect();
    let state = |v: &status::VrrpStatus| match v.state {
        VrrpState::Init => "init",
        VrrpState::Backup => "backup",
        VrrpState::Master => "master",
        VrrpState::Fault => "fault",
    };
    states(
        page,
        &entries,
        ("bramble_vrrp_state", "State of each virtual router on this node"),
        &["init", "backup", "master", "fault"],
        state,
    );
    each(
        page,
        &entries,
        ("bramble_vrrp_state_seconds", "gauge", "How long the state has lasted"),
        |v| Some(seconds(v.since_ms)),
    );
    all(
        page,
        &entries,
        &[
            ("bramble_vrrp_priority", "gauge", "Priority this node competes with", |v| {
                v.effective_priority.get().into()
            }),
            ("bramble_vrrp_adverts_sent_total", "counter", "Adverts sent", |v| v.counters.sent),
            ("bramble_vrrp_adverts_received_total", "counter", "Adverts accepted", |v| {
                v.counters.received
            }),
            ("bramble_vrrp_became_master_total", "counter", "Times this node became master", |v| {
                v.counters.became_master
            }),
        ],
    );
    if entries.is_empty() {
        return;
    }
    let name = "bramble_vrrp_adverts_dropped_total";
    page.metric(name, "counter", "Adverts dropped, by what was wrong with them");
    for v in &own.status.vrrp {
        let c = v.counters;
        for (reason, value) in [
            ("packet", c.bad_packet),
            ("checksum", c.bad_checksum),
            ("ttl", c.bad_ttl),
            ("version", c.bad_version),
            ("auth", c.bad_auth),
            ("interval", c.bad_interval),
        ] {
            page.sample(name, &[("router", v.name.as_str()), ("reason", reason)], value);
        }
    }
}

fn mirrors(page: &mut Page, own: &NodeReport) {
    let entries: Vec<_> =
        own.status.mirror.iter().map(|m| (vec![("site", m.site.as_str())], m)).collect();
    let state = |m: &status::MirrorStatus| match m.phase {
        MirrorPhase::Origin => "origin",
        MirrorPhase::Connecting => "connecting",
        MirrorPhase::Syncing => "syncing",
        MirrorPhase::Following => "following",
        MirrorPhase::Held { .. } => "held",
        MirrorPhase::Failed { .. } => "failed",
    };
    states(
        page,
        &entries,
        ("bramble_mirror_state", "What each site's mirror is doing"),
        &["origin", "connecting", "syncing", "following", "held", "failed"],
        state,
    );
    each(
        page,
        &entries,
        ("bramble_mirror_lag_seconds", "gauge", "How far this node's copy may be behind"),
        |m| m.lag_ms.map(seconds),
    );
    all(
        page,
        &entries,
        &[
            ("bramble_mirror_entries", "gauge", "Files and directories in the tree", |m| m.entries),
            ("bramble_mirror_copied_total", "counter", "Files created or replaced", |m| m.copied),
            ("bramble_mirror_deleted_total", "counter", "Entries deleted", |m| m.deleted),
            ("bramble_mirror_bytes_total", "counter", "Bytes of file content transferred", |m| {
                m.bytes
            }),
            ("bramble_mirror_followers", "gauge", "Mirrors connected to this origin", |m| {
                m.followers.into()
            }),
        ],
    );
}

fn nodes(page: &mut Page, reports: &[NodeReport]) {
    let entries: Vec<_> =
        reports.iter().map(|r| (vec![("node", r.status.id.as_str())], r)).collect();
    all(
        page,
        &entries,
        &[
            (
                "bramble_node_reachable",
                "gauge",
                "Whether each node has been heard from lately",
                |r| r.reachable.into(),
            ),
            ("bramble_node_revision", "gauge", "Revision of the settings each node runs", |r| {
                r.status.revision.0
            }),
        ],
    );
    each(
        page,
        &entries,
        ("bramble_node_report_age_seconds", "gauge", "How old each node's last report is"),
        |r| Some(seconds(r.age_ms)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_text_is_well_formed() {
        for id in ["lbmaster", "web02"] {
            let id = id.parse().unwrap();
            let snapshot = Snapshot::new(model::Revision(3), crate::demo::settings(), &id);
            let mut reports = crate::demo::reports(&snapshot);
            reports[0].status.version = "a\"b\\c\nd".into();
            let text = metrics(&snapshot, &reports, &Scope::default());
            let (mut declared, mut current, mut samples) = (BTreeSet::new(), "", BTreeSet::new());
            for line in text.lines() {
                if let Some(rest) = line.strip_prefix("# TYPE ") {
                    current = rest.split(' ').next().unwrap();
                    assert!(declared.insert(current), "{current} twice");
                } else if !line.starts_with("# HELP ") {
                    let (series, value) = line.rsplit_once(' ').unwrap();
                    assert_eq!(series.split('{').next().unwrap(), current, "{line}");
                    assert!(value.parse::<f64>().is_ok(), "{line}");
                    assert!(samples.insert(series), "{series} twice");
                }
            }
            assert!(text.contains(r#"version="a\"b\\c\nd""#));
            let balancer = text.contains(
                "haproxy_server_status{proxy=\"webservers\",server=\"web01-eth\",state=\"UP\"} 1",
            );
            assert_eq!(balancer, id.as_str() == "lbmaster");
        }
    }
}
