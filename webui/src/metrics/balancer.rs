//! The balancer's metrics, under HAProxy's names.
//!
//! A value HAProxy writes as `NaN`, because there is none, is left out here.

use super::names::{METRICS, Unit};
use super::{Page, Scope, seconds};
use model::status::ProxyStatus;
use model::status::stat::{Kind, Line, Value};
use std::time::{SystemTime, UNIX_EPOCH};

const CLASSES: [(&str, &str); 6] = [
    ("1xx", "hrsp_1xx"),
    ("2xx", "hrsp_2xx"),
    ("3xx", "hrsp_3xx"),
    ("4xx", "hrsp_4xx"),
    ("5xx", "hrsp_5xx"),
    ("other", "hrsp_other"),
];
const PROXY_STATES: [&str; 2] = ["DOWN", "UP"];
const SERVER_STATES: [&str; 5] = ["DOWN", "UP", "MAINT", "DRAIN", "NOLB"];
const CHECKS: [&str; 16] = [
    "HANA", "SOCKERR", "L4OK", "L4TOUT", "L4CON", "L6OK", "L6TOUT", "L6RSP", "L7TOUT", "L7RSP",
    "L7OK", "L7OKC", "L7STS", "PROCERR", "PROCTOUT", "PROCOK",
];

/// The process as HAProxy's dashboards know it.
pub(super) fn process(page: &mut Page, proxy: &ProxyStatus, uptime_ms: u64, version: &str) {
    let sum =
        |f: fn(&model::status::FrontendStatus) -> u64| proxy.frontends.iter().map(f).sum::<u64>();
    let listeners = proxy.frontends.iter().filter(|f| f.open).map(|f| f.bind.len()).sum::<usize>();
    let listeners = u64::try_from(listeners).unwrap_or(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    for (name, kind, help, value) in [
        (
            "nbthread",
            "gauge",
            "Number of started threads (global.nbthread)",
            u64::from(proxy.threads),
        ),
        ("nbproc", "gauge", "Number of started worker processes (historical, always 1)", 1),
        ("relative_process_id", "gauge", "Relative worker process number (1)", 1),
        (
            "uptime_seconds",
            "gauge",
            "How long ago this worker process was started (seconds)",
            uptime_ms / 1000,
        ),
        (
            "max_connections",
            "gauge",
            "Hard limit on the number of per-process connections (configured or imposed by Ulimit-n)",
            proxy.maxconn,
        ),
        (
            "hard_max_connections",
            "gauge",
            "Hard limit on the number of per-process connections (imposed by Memmax_MB or Ulimit-n)",
            proxy.maxconn,
        ),
        (
            "current_connections",
            "gauge",
            "Current number of connections on this worker process",
            proxy.curr_conns,
        ),
        (
            "connections_total",
            "counter",
            "Total number of connections on this worker process since started",
            sum(|f| f.traffic.stot),
        ),
        (
            "requests_total",
            "counter",
            "Total number of requests on this worker process since started",
            sum(|f| f.req_tot),
        ),
        (
            "current_connection_rate",
            "gauge",
            "Number of front connections created on this worker process over the last second",
            proxy.conn_rate,
        ),
        (
            "max_connection_rate",
            "gauge",
            "Highest ConnRate reached on this worker process since started (in connections per second)",
            proxy.conn_rate_max,
        ),
        (
            "current_session_rate",
            "gauge",
            "Number of sessions created on this worker process over the last second",
            proxy.conn_rate,
        ),
        (
            "max_session_rate",
            "gauge",
            "Highest SessRate reached on this worker process since started (in sessions per second)",
            proxy.conn_rate_max,
        ),
        (
            "jobs",
            "gauge",
            "Current number of active jobs on the current worker process (frontend connections, master connections, listeners)",
            proxy.curr_conns + listeners,
        ),
        (
            "listeners",
            "gauge",
            "Current number of active listeners on the current worker process",
            listeners,
        ),
        (
            "dropped_logs_total",
            "counter",
            "Total number of dropped logs for current worker process since started",
            proxy.dropped_logs,
        ),
        (
            "bytes_out_total",
            "counter",
            "Total number of bytes emitted by current worker process since started",
            sum(|f| f.traffic.bout),
        ),
        (
            "start_time_seconds",
            "gauge",
            "Start time in seconds",
            now.saturating_sub(uptime_ms / 1000),
        ),
    ] {
        let name = format!("haproxy_process_{name}");
        page.metric(&name, kind, help);
        page.sample(&name, &[], value);
    }
    page.metric("haproxy_process_build_info", "gauge", "Build info");
    page.sample("haproxy_process_build_info", &[("version", version)], 1);
}

/// Frontends, backends and servers, as far as they are asked for.
pub(super) fn objects(page: &mut Page, lines: &[Line], scope: &Scope) {
    for (kind, word) in
        [(Kind::Frontend, "frontend"), (Kind::Backend, "backend"), (Kind::Server, "server")]
    {
        if !scope.has(word) {
            continue;
        }
        let of: Vec<Object> = lines.iter().filter(|l| l.kind == kind).map(Object::new).collect();
        if of.is_empty() {
            continue;
        }
        for metric in METRICS.iter().filter(|m| m.is_of(kind)) {
            let write = |n: u64| match metric.unit {
                Unit::Plain => n.to_string(),
                Unit::Millis => seconds(n),
            };
            let samples = of.iter().filter_map(|o| {
                let value = match o.line.get(metric.field)? {
                    Value::Number(n) => write(*n),
                    other => other.to_string(),
                };
                Some((o.labels(None), value))
            });
            let name = format!("haproxy_{word}_{}", metric.name);
            put(page, (&name, metric.kind, metric.help), samples.collect());
        }
        stateful(page, word, kind, &of);
    }
    if scope.has("backend") {
        aggregates(page, lines);
    }
}

/// A line and what it is labelled with.
struct Object<'a> {
    line: &'a Line,
    proxy: String,
    server: Option<String>,
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

impl<'a> Object<'a> {
    fn new(line: &'a Line) -> Self {
        let text = |field| line.get(field).map(ToString::to_string).unwrap_or_default();
        let server = (line.kind == Kind::Server).then(|| text("svname"));
        Self { line, proxy: text("pxname"), server }
    }

    fn labels<'b>(&'b self, more: Option<(&'static str, &'b str)>) -> Labels<'b> {
        let server = self.server.as_ref().map(|s| ("server", s.as_str()));
        [("proxy", self.proxy.as_str())].into_iter().chain(server).chain(more).collect()
    }

    fn state(&self) -> &'static str {
        state(self.line)
    }

    fn check(&self) -> Option<String> {
        let word = self.line.get("check_status")?.to_string();
        Some(word.trim_start_matches("* ").to_owned())
    }
}

/// HAProxy's word for a state, of those its metrics have.
fn state(line: &Line) -> &'static str {
    let word = line.get("status").map(ToString::to_string).unwrap_or_default();
    let first = word.split(' ').next().unwrap_or_default();
    match first {
        "DOWN" | "STOP" => "DOWN",
        "MAINT" => "MAINT",
        "DRAIN" => "DRAIN",
        "NOLB" => "NOLB",
        // OPEN, UP, no check.
        _ => "UP",
    }
}

fn put(page: &mut Page, (name, kind, help): (&str, &str, &str), all: Vec<(Labels<'_>, String)>) {
    if all.is_empty() {
        return;
    }
    page.metric(name, kind, help);
    for (labels, value) in all {
        page.sample(name, &labels, value);
    }
}

/// What has a label of its own: states, and responses by class.
fn stateful(page: &mut Page, word: &str, kind: Kind, of: &[Object<'_>]) {
    let one = |is: bool| u8::from(is).to_string();
    let states = if kind == Kind::Server { &SERVER_STATES[..] } else { &PROXY_STATES[..] };
    let all = of.iter().flat_map(|o| {
        states.iter().map(move |s| (o.labels(Some(("state", *s))), one(o.state() == *s)))
    });
    let help = "Current status of the service, per state label value.";
    put(page, (&format!("haproxy_{word}_status"), "gauge", help), all.collect());
    let all = of.iter().flat_map(|o| {
        CLASSES.iter().filter_map(move |(class, field)| {
            Some((o.labels(Some(("code", *class))), o.line.count(field)?.to_string()))
        })
    });
    let help =
        "Total number of HTTP responses by class of their status since the worker process started";
    let name = format!("haproxy_{word}_http_responses_total");
    put(page, (&name, "counter", help), all.collect());
    let all = of.iter().filter_map(|o| Some((o, o.check()?))).flat_map(|(o, check)| {
        CHECKS.iter().map(move |s| (o.labels(Some(("state", *s))), one(check == *s)))
    });
    let help = "Status of last health check, per state label value.";
    put(page, (&format!("haproxy_{word}_check_status"), "gauge", help), all.collect());
}

/// How many servers of each backend are in each state.
fn aggregates(page: &mut Page, lines: &[Line]) {
    let backends: Vec<Object> =
        lines.iter().filter(|l| l.kind == Kind::Backend).map(Object::new).collect();
    let servers: Vec<Object> =
        lines.iter().filter(|l| l.kind == Kind::Server).map(Object::new).collect();
    let count = |proxy: &str, is: &dyn Fn(&Object<'_>) -> bool| {
        servers.iter().filter(|s| s.proxy == proxy && is(s)).count().to_string()
    };
    let by_state = || {
        backends.iter().flat_map(|b| {
            SERVER_STATES.iter().map(|state| {
                let n = count(&b.proxy, &|s| s.state() == *state);
                (b.labels(Some(("state", *state))), n)
            })
        })
    };
    for (name, help) in [
        ("agg_server_status", "Backend's aggregated gauge of servers' status"),
        ("agg_server_check_status", "Backend's aggregated gauge of servers' state check status"),
    ] {
        let name = format!("haproxy_backend_{name}");
        put(page, (&name, "gauge", help), by_state().collect());
    }
    let by_check = backends.iter().flat_map(|b| {
        CHECKS.iter().map(|word| {
            let n = count(&b.proxy, &|s| s.check().is_some_and(|c| c == *word));
            (b.labels(Some(("state", *word))), n)
        })
    });
    let help = "Backend's aggregated gauge of servers' state check status";
    put(page, ("haproxy_backend_agg_check_status", "gauge", help), by_check.collect());
}
