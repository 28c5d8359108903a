//! The balancer's metrics, under HAProxy's names.

use super::{Page, all, codes, each, seconds, states};
use crate::stats_csv::total_weight;
use model::ServerState;
use model::status::{self, Health, ServerStatus};

pub(super) fn frontends(page: &mut Page, proxy: &status::ProxyStatus) {
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

pub(super) fn backends(page: &mut Page, proxy: &status::ProxyStatus) {
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
            ("haproxy_backend_current_queue", "gauge", "Number of queued requests", |b| {
                b.queue.qcur + sum(b, |s| s.queue.qcur)
            }),
            ("haproxy_backend_max_queue", "gauge", "Highest number of queued requests", |b| {
                b.queue.qmax
            }),
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
            ("haproxy_backend_weight", "gauge", "Total effective weight", total_weight),
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

pub(super) fn servers(page: &mut Page, proxy: &status::ProxyStatus) {
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
            ("haproxy_server_weight", "gauge", "Effective weight", |s| s.effective_weight.into()),
            ("haproxy_server_current_queue", "gauge", "Number of queued requests", |s| {
                s.queue.qcur
            }),
            ("haproxy_server_max_queue", "gauge", "Highest number of queued requests", |s| {
                s.queue.qmax
            }),
            ("haproxy_server_queue_limit", "gauge", "Limit of the queue, 0 for none", |s| {
                s.maxqueue.into()
            }),
            ("haproxy_server_limit_sessions", "gauge", "Limit of sessions, 0 for none", |s| {
                s.maxconn.into()
            }),
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
