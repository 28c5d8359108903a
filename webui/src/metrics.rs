//! Prometheus text: HAProxy's names where the same thing is measured, `bramble_` for the rest.

use control::Snapshot;
use model::status::{Health, MirrorPhase, NodeReport, ServerStatus, SubsystemState, VrrpState};
use model::{ServerState, status};
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

pub(crate) fn metrics(snapshot: &Snapshot, reports: &[NodeReport]) -> String {
    let mut page = Page(String::new());
    if let Some(own) = reports.first() {
        process(&mut page, &own.status);
        if let Some(proxy) = &own.status.proxy {
            frontends(&mut page, proxy);
            backends(&mut page, proxy);
            servers(&mut page, proxy);
        }
        subsystems(&mut page, snapshot, own);
        failover(&mut page, own);
        mirrors(&mut page, own);
    }
    nodes(&mut page, reports);
    page.0
}

fn process(page: &mut Page, own: &status::NodeStatus) {
    let mut one = |name: &str, kind: &str, help: &str, value: String| {
        page.metric(name, kind, help);
        page.sample(name, &[], value);
    };
    one(
        "haproxy_process_uptime_seconds",
        "gauge",
        "How long ago this process was started (seconds)",
        (own.uptime_ms / 1000).to_string(),
    );
    if let Some(proxy) = &own.proxy {
        one(
            "haproxy_process_nbthread",
            "gauge",
            "Number of started threads (global.nbthread)",
            proxy.threads.to_string(),
        );
        one(
            "haproxy_process_current_connections",
            "gauge",
            "Current number of connections on this worker process",
            proxy.curr_conns.to_string(),
        );
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

fn codes<T>(
    page: &mut Page,
    entries: &[(Vec<(&str, &str)>, &T)],
    name: &str,
    http: impl Fn(&T) -> status::HttpCounters,
) {
    if entries.is_empty() {
        return;
    }
    page.metric(name, "counter", "Total number of HTTP responses by status class");
    for (labels, entry) in entries {
        let h = http(entry);
        for (code, value) in [
            ("1xx", h.hrsp_1xx),
            ("2xx", h.hrsp_2xx),
            ("3xx", h.hrsp_3xx),
            ("4xx", h.hrsp_4xx),
            ("5xx", h.hrsp_5xx),
            ("other", h.hrsp_other),
        ] {
            let mut labels = labels.clone();
            labels.push(("code", code));
            page.sample(name, &labels, value);
        }
    }
}

type Metric<T> = (&'static str, &'static str, &'static str, fn(&T) -> u64);

fn all<T>(page: &mut Page, entries: &[(Vec<(&str, &str)>, &T)], metrics: &[Metric<T>]) {
    for (name, kind, help, value) in metrics {
        each(page, entries, (name, kind, help), |e| Some(value(e).to_string()));
    }
}

fn frontends(page: &mut Page, proxy: &status::ProxyStatus) {
    let entries: Vec<_> =
        proxy.frontends.iter().map(|f| (vec![("proxy", f.name.as_str())], f)).collect();
    states(
        page,
        &entries,
        ("haproxy_frontend_status", "Current status of the service, per state label value."),
        &["DOWN", "UP"],
        |f| if f.open { "UP" } else { "DOWN" },
    );
    all(
        page,
        &entries,
        &[
            ("haproxy_frontend_current_sessions", "gauge", "Number of current sessions", |f| {
                f.traffic.scur
            }),
            ("haproxy_frontend_max_sessions", "gauge", "Highest number of current sessions", |f| {
                f.traffic.smax
            }),
            (
                "haproxy_frontend_limit_sessions",
                "gauge",
                "Limit on the number of current sessions",
                |f| f.slim.into(),
            ),
            ("haproxy_frontend_sessions_total", "counter", "Total number of sessions", |f| {
                f.traffic.stot
            }),
            ("haproxy_frontend_connections_total", "counter", "Total number of connections", |f| {
                f.traffic.stot
            }),
            (
                "haproxy_frontend_max_session_rate",
                "gauge",
                "Highest number of sessions per second",
                |f| f.traffic.rate_max,
            ),
            ("haproxy_frontend_bytes_in_total", "counter", "Total number of request bytes", |f| {
                f.traffic.bin
            }),
            (
                "haproxy_frontend_bytes_out_total",
                "counter",
                "Total number of response bytes",
                |f| f.traffic.bout,
            ),
            (
                "haproxy_frontend_requests_denied_total",
                "counter",
                "Total number of denied requests",
                |f| f.dreq,
            ),
            (
                "haproxy_frontend_request_errors_total",
                "counter",
                "Total number of invalid requests",
                |f| f.ereq,
            ),
            (
                "haproxy_frontend_http_requests_total",
                "counter",
                "Total number of HTTP requests",
                |f| f.req_tot,
            ),
            (
                "haproxy_frontend_http_requests_rate_max",
                "gauge",
                "Highest number of HTTP requests per second",
                |f| f.req_rate_max,
            ),
        ],
    );
    codes(page, &entries, "haproxy_frontend_http_responses_total", |f| f.http);
}

fn backends(page: &mut Page, proxy: &status::ProxyStatus) {
    let entries: Vec<_> =
        proxy.backends.iter().map(|b| (vec![("proxy", b.name.as_str())], b)).collect();
    let up = |b: &status::BackendStatus| b.servers.iter().any(ServerStatus::usable);
    states(
        page,
        &entries,
        ("haproxy_backend_status", "Current status of the service, per state label value."),
        &["DOWN", "UP"],
        |b| if up(b) { "UP" } else { "DOWN" },
    );
    fn sum(b: &status::BackendStatus, f: fn(&ServerStatus) -> u64) -> u64 {
        b.servers.iter().map(f).sum()
    }
    fn usable(b: &status::BackendStatus, backup: bool) -> u64 {
        sum(
            b,
            if backup {
                |s| u64::from(s.usable() && s.backup)
            } else {
                |s| u64::from(s.usable() && !s.backup)
            },
        )
    }
    all(
        page,
        &entries,
        &[
            ("haproxy_backend_current_sessions", "gauge", "Number of current sessions", |b| {
                b.traffic.scur
            }),
            ("haproxy_backend_max_sessions", "gauge", "Highest number of current sessions", |b| {
                b.traffic.smax
            }),
            ("haproxy_backend_sessions_total", "counter", "Total number of sessions", |b| {
                b.traffic.stot
            }),
            (
                "haproxy_backend_http_requests_total",
                "counter",
                "Total number of HTTP requests",
                |b| b.traffic.stot,
            ),
            (
                "haproxy_backend_max_session_rate",
                "gauge",
                "Highest number of sessions per second",
                |b| b.traffic.rate_max,
            ),
            ("haproxy_backend_bytes_in_total", "counter", "Total number of request bytes", |b| {
                b.traffic.bin
            }),
            ("haproxy_backend_bytes_out_total", "counter", "Total number of response bytes", |b| {
                b.traffic.bout
            }),
            ("haproxy_backend_active_servers", "gauge", "Number of active servers", |b| {
                usable(b, false)
            }),
            ("haproxy_backend_backup_servers", "gauge", "Number of backup servers", |b| {
                usable(b, true)
            }),
            (
                "haproxy_backend_weight",
                "gauge",
                "Total effective weight",
                crate::stats_csv::total_weight,
            ),
            (
                "haproxy_backend_check_up_down_total",
                "counter",
                "Total number of UP to DOWN transitions",
                |b| b.chkdown,
            ),
            (
                "haproxy_backend_check_last_change_seconds",
                "gauge",
                "Seconds since the last change of status",
                |b| b.lastchg,
            ),
            (
                "haproxy_backend_downtime_seconds_total",
                "counter",
                "Seconds without a usable server",
                |b| b.downtime,
            ),
            (
                "haproxy_backend_connection_errors_total",
                "counter",
                "Total number of failed connections",
                |b| b.econ + sum(b, |s| s.econ),
            ),
            (
                "haproxy_backend_response_errors_total",
                "counter",
                "Total number of invalid responses",
                |b| sum(b, |s| s.eresp),
            ),
            ("haproxy_backend_retry_warnings_total", "counter", "Total number of retries", |b| {
                sum(b, |s| s.wretr)
            }),
            (
                "haproxy_backend_redispatch_warnings_total",
                "counter",
                "Total number of redispatches",
                |b| sum(b, |s| s.wredis),
            ),
            (
                "haproxy_backend_loadbalanced_total",
                "counter",
                "Total number of requests given to a server",
                |b| sum(b, |s| s.lbtot),
            ),
        ],
    );
    codes(page, &entries, "haproxy_backend_http_responses_total", |b| b.http);
}

fn server_state(s: &ServerStatus) -> &'static str {
    match (s.state, s.health) {
        (ServerState::Maint, _) => "MAINT",
        (_, Health::Down) => "DOWN",
        (ServerState::Drain, _) => "DRAIN",
        (ServerState::Ready, _) => "UP",
    }
}

fn servers(page: &mut Page, proxy: &status::ProxyStatus) {
    let entries: Vec<_> = proxy
        .backends
        .iter()
        .flat_map(|b| {
            b.servers
                .iter()
                .map(|s| (vec![("proxy", b.name.as_str()), ("server", s.name.as_str())], s))
        })
        .collect();
    states(
        page,
        &entries,
        ("haproxy_server_status", "Current status of the service, per state label value."),
        &["DOWN", "UP", "MAINT", "DRAIN", "NOLB"],
        server_state,
    );
    all(
        page,
        &entries,
        &[
            ("haproxy_server_current_sessions", "gauge", "Number of current sessions", |s| {
                s.traffic.scur
            }),
            ("haproxy_server_max_sessions", "gauge", "Highest number of current sessions", |s| {
                s.traffic.smax
            }),
            ("haproxy_server_sessions_total", "counter", "Total number of sessions", |s| {
                s.traffic.stot
            }),
            (
                "haproxy_server_max_session_rate",
                "gauge",
                "Highest number of sessions per second",
                |s| s.traffic.rate_max,
            ),
            ("haproxy_server_bytes_in_total", "counter", "Total number of request bytes", |s| {
                s.traffic.bin
            }),
            ("haproxy_server_bytes_out_total", "counter", "Total number of response bytes", |s| {
                s.traffic.bout
            }),
            ("haproxy_server_weight", "gauge", "Effective weight", |s| s.weight.get().into()),
            ("haproxy_server_uweight", "gauge", "Configured weight", |s| s.weight.get().into()),
            (
                "haproxy_server_check_failures_total",
                "counter",
                "Total number of failed checks while up",
                |s| s.check.chkfail,
            ),
            (
                "haproxy_server_check_up_down_total",
                "counter",
                "Total number of UP to DOWN transitions",
                |s| s.check.chkdown,
            ),
            (
                "haproxy_server_check_last_change_seconds",
                "gauge",
                "Seconds since the last change of status",
                |s| s.lastchg,
            ),
            (
                "haproxy_server_downtime_seconds_total",
                "counter",
                "Total seconds the server was down",
                |s| s.downtime,
            ),
            (
                "haproxy_server_connection_errors_total",
                "counter",
                "Total number of failed connections",
                |s| s.econ,
            ),
            (
                "haproxy_server_response_errors_total",
                "counter",
                "Total number of invalid responses",
                |s| s.eresp,
            ),
            ("haproxy_server_retry_warnings_total", "counter", "Total number of retries", |s| {
                s.wretr
            }),
            (
                "haproxy_server_redispatch_warnings_total",
                "counter",
                "Total number of redispatches",
                |s| s.wredis,
            ),
            (
                "haproxy_server_loadbalanced_total",
                "counter",
                "Total number of requests given to the server",
                |s| s.lbtot,
            ),
            (
                "haproxy_server_connection_attempts_total",
                "counter",
                "Total number of connection attempts",
                |s| s.connect,
            ),
            (
                "haproxy_server_connection_reuses_total",
                "counter",
                "Total number of connections used again",
                |s| s.reuse,
            ),
            (
                "haproxy_server_idle_connections_current",
                "gauge",
                "Current number of idle connections",
                |s| s.srv_icur,
            ),
            (
                "haproxy_server_client_aborts_total",
                "counter",
                "Total number of requests the visitor broke off",
                |s| s.cli_abrt,
            ),
            (
                "haproxy_server_server_aborts_total",
                "counter",
                "Total number of transfers the server broke off",
                |s| s.srv_abrt,
            ),
        ],
    );
    each(
        page,
        &entries,
        ("haproxy_server_check_duration_seconds", "gauge", "Time of the last check, in seconds"),
        |s| s.check.check_duration.map(seconds),
    );
    each(
        page,
        &entries,
        ("haproxy_server_check_code", "gauge", "HTTP status of the last check"),
        |s| s.check.check_code.map(|c| c.to_string()),
    );
    each(
        page,
        &entries,
        (
            "haproxy_server_connect_time_average_seconds",
            "gauge",
            "Average time to connect, last 1024 requests",
        ),
        |s| Some(seconds(s.ctime)),
    );
    each(
        page,
        &entries,
        (
            "haproxy_server_response_time_average_seconds",
            "gauge",
            "Average time to the response's head, last 1024 requests",
        ),
        |s| Some(seconds(s.rtime)),
    );
    each(
        page,
        &entries,
        (
            "haproxy_server_total_time_average_seconds",
            "gauge",
            "Average time altogether, last 1024 requests",
        ),
        |s| Some(seconds(s.ttime)),
    );
    codes(page, &entries, "haproxy_server_http_responses_total", |s| s.http);
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
            let text = metrics(&snapshot, &reports);
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
