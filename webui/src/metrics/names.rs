//! HAProxy's metrics of frontends, backends and servers: name, type, words, and the field of its
//! statistics that each of them is (`addons/promex`, version 2.6).

use model::status::stat::Kind;

/// How a field's number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// As it is.
    Plain,
    /// Milliseconds, as seconds.
    Millis,
}

/// A metric of one field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    /// What follows `haproxy_frontend_` and so on.
    pub(super) name: &'static str,
    /// The field.
    pub(super) field: &'static str,
    /// Of what there is such a metric: F, B, S.
    of: &'static str,
    /// Prometheus' type.
    pub(super) kind: &'static str,
    pub(super) unit: Unit,
    pub(super) help: &'static str,
}

impl Metric {
    /// Is there such a metric of a frontend, a backend, a server?
    pub(super) fn is_of(&self, kind: Kind) -> bool {
        self.of.contains(match kind {
            Kind::Frontend => 'F',
            Kind::Backend => 'B',
            Kind::Server => 'S',
        })
    }
}

const GAUGE: &str = "gauge";
const COUNTER: &str = "counter";

const fn m(
    name: &'static str,
    field: &'static str,
    of: &'static str,
    kind: &'static str,
    help: &'static str,
) -> Metric {
    Metric { name, field, of, kind, unit: Unit::Plain, help }
}

const fn ms(
    name: &'static str,
    field: &'static str,
    of: &'static str,
    kind: &'static str,
    help: &'static str,
) -> Metric {
    Metric { name, field, of, kind, unit: Unit::Millis, help }
}

/// By the place of their field.
#[rustfmt::skip]
pub(super) const METRICS: [Metric; 63] = [
    m("current_queue", "qcur", "BS", GAUGE,
        "Number of current queued connections"),
    m("max_queue", "qmax", "BS", GAUGE,
        "Highest value of queued connections encountered since process started"),
    m("current_sessions", "scur", "FBS", GAUGE,
        "Number of current sessions on the frontend, backend or server"),
    m("max_sessions", "smax", "FBS", GAUGE,
        "Highest value of current sessions encountered since process started"),
    m("limit_sessions", "slim", "FBS", GAUGE,
        "Frontend/listener/server's maxconn, backend's fullconn"),
    m("sessions_total", "stot", "FBS", COUNTER,
        "Total number of sessions since process started"),
    m("bytes_in_total", "bin", "FBS", COUNTER,
        "Total number of request bytes since process started"),
    m("bytes_out_total", "bout", "FBS", COUNTER,
        "Total number of response bytes since process started"),
    m("requests_denied_total", "dreq", "FB", COUNTER,
        "Total number of denied requests since process started"),
    m("responses_denied_total", "dresp", "FBS", COUNTER,
        "Total number of denied responses since process started"),
    m("request_errors_total", "ereq", "F", COUNTER,
        "Total number of invalid requests since process started"),
    m("connection_errors_total", "econ", "BS", COUNTER,
        "Total number of failed connections to server since the worker process started"),
    m("response_errors_total", "eresp", "BS", COUNTER,
        "Total number of invalid responses since the worker process started"),
    m("retry_warnings_total", "wretr", "BS", COUNTER,
        "Total number of server connection retries since the worker process started"),
    m("redispatch_warnings_total", "wredis", "BS", COUNTER,
        "Total number of server redispatches due to connection failures since the worker process started"),
    m("weight", "weight", "BS", GAUGE,
        "Server's effective weight, or sum of active servers' effective weights for a backend"),
    m("active_servers", "act", "B", GAUGE,
        "Total number of active UP servers with a non-zero weight"),
    m("backup_servers", "bck", "B", GAUGE,
        "Total number of backup UP servers with a non-zero weight"),
    m("check_failures_total", "chkfail", "S", COUNTER,
        "Total number of failed individual health checks per server/backend, since the worker process started"),
    m("check_up_down_total", "chkdown", "BS", COUNTER,
        "Total number of failed checks causing UP to DOWN server transitions, per server/backend, since the worker process started"),
    m("check_last_change_seconds", "lastchg", "BS", GAUGE,
        "How long ago the last server state changed, in seconds"),
    m("downtime_seconds_total", "downtime", "BS", COUNTER,
        "Total time spent in DOWN state, for server or backend"),
    m("queue_limit", "qlimit", "S", GAUGE,
        "Limit on the number of connections in queue, for servers only (maxqueue argument)"),
    m("current_throttle", "throttle", "S", GAUGE,
        "Throttling ratio applied to a server's maxconn and weight during the slowstart period (0 to 100%)"),
    m("loadbalanced_total", "lbtot", "BS", COUNTER,
        "Total number of requests routed by load balancing since the worker process started (ignores queue pop and stickiness)"),
    m("limit_session_rate", "rate_lim", "F", GAUGE,
        "Limit on the number of sessions accepted in a second (frontend only, 'rate-limit sessions' setting)"),
    m("max_session_rate", "rate_max", "FBS", GAUGE,
        "Highest value of sessions per second observed since the worker process started"),
    m("check_code", "check_code", "S", GAUGE,
        "layer5-7 code, if available of the last health check."),
    ms("check_duration_seconds", "check_duration", "S", GAUGE,
        "Total duration of the latest server health check, in seconds."),
    m("http_requests_rate_max", "req_rate_max", "F", GAUGE,
        "Highest value of http requests observed since the worker process started"),
    m("http_requests_total", "req_tot", "FB", COUNTER,
        "Total number of HTTP requests processed by this object since the worker process started"),
    m("client_aborts_total", "cli_abrt", "BS", COUNTER,
        "Total number of requests or connections aborted by the client since the worker process started"),
    m("server_aborts_total", "srv_abrt", "BS", COUNTER,
        "Total number of requests or connections aborted by the server since the worker process started"),
    m("http_comp_bytes_in_total", "comp_in", "FB", COUNTER,
        "Total number of bytes submitted to the HTTP compressor for this object since the worker process started"),
    m("http_comp_bytes_out_total", "comp_out", "FB", COUNTER,
        "Total number of bytes emitted by the HTTP compressor for this object since the worker process started"),
    m("http_comp_bytes_bypassed_total", "comp_byp", "FB", COUNTER,
        "Total number of bytes that bypassed HTTP compression for this object since the worker process started (CPU/memory/bandwidth limitation)"),
    m("http_comp_responses_total", "comp_rsp", "FB", COUNTER,
        "Total number of HTTP responses that were compressed for this object since the worker process started"),
    m("last_session_seconds", "lastsess", "BS", GAUGE,
        "How long ago some traffic was seen on this object on this worker process, in seconds"),
    ms("queue_time_average_seconds", "qtime", "BS", GAUGE,
        "Avg. queue time for last 1024 successful connections."),
    ms("connect_time_average_seconds", "ctime", "BS", GAUGE,
        "Avg. connect time for last 1024 successful connections."),
    ms("response_time_average_seconds", "rtime", "BS", GAUGE,
        "Avg. response time for last 1024 successful connections."),
    ms("total_time_average_seconds", "ttime", "BS", GAUGE,
        "Avg. total time for last 1024 successful connections."),
    m("connections_rate_max", "conn_rate_max", "F", GAUGE,
        "Highest value of connections per second observed since the worker process started"),
    m("connections_total", "conn_tot", "F", COUNTER,
        "Total number of new connections accepted on this frontend since the worker process started"),
    m("intercepted_requests_total", "intercepted", "F", COUNTER,
        "Total number of HTTP requests intercepted on the frontend (redirects/stats/services) since the worker process started"),
    m("denied_connections_total", "dcon", "F", COUNTER,
        "Total number of incoming connections blocked on a listener/frontend by a tcp-request connection rule since the worker process started"),
    m("denied_sessions_total", "dses", "F", COUNTER,
        "Total number of incoming sessions blocked on a listener/frontend by a tcp-request connection rule since the worker process started"),
    m("failed_header_rewriting_total", "wrew", "FBS", COUNTER,
        "Total number of failed HTTP header rewrites since the worker process started"),
    m("connection_attempts_total", "connect", "BS", COUNTER,
        "Total number of outgoing connection attempts on this backend/server since the worker process started"),
    m("connection_reuses_total", "reuse", "BS", COUNTER,
        "Total number of reused connection on this backend/server since the worker process started"),
    m("http_cache_lookups_total", "cache_lookups", "FB", COUNTER,
        "Total number of HTTP requests looked up in the cache on this frontend/backend since the worker process started"),
    m("http_cache_hits_total", "cache_hits", "FB", COUNTER,
        "Total number of HTTP requests found in the cache on this frontend/backend since the worker process started"),
    m("idle_connections_current", "srv_icur", "S", GAUGE,
        "Current number of idle connections available for reuse on this server"),
    ms("max_queue_time_seconds", "qtime_max", "BS", GAUGE,
        "Maximum observed time spent in the queue"),
    ms("max_connect_time_seconds", "ctime_max", "BS", GAUGE,
        "Maximum observed time spent waiting for a connection to complete"),
    ms("max_response_time_seconds", "rtime_max", "BS", GAUGE,
        "Maximum observed time spent waiting for a server response"),
    ms("max_total_time_seconds", "ttime_max", "BS", GAUGE,
        "Maximum observed total request+response time (request+queue+connect+response+processing)"),
    m("internal_errors_total", "eint", "FBS", COUNTER,
        "Total number of internal errors since process started"),
    m("unsafe_idle_connections_current", "idle_conn_cur", "S", GAUGE,
        "Current number of unsafe idle connections"),
    m("safe_idle_connections_current", "safe_conn_cur", "S", GAUGE,
        "Current number of safe idle connections"),
    m("used_connections_current", "used_conn_cur", "S", GAUGE,
        "Current number of connections in use"),
    m("need_connections_current", "need_conn_est", "S", GAUGE,
        "Estimated needed number of connections"),
    m("uweight", "uweight", "BS", GAUGE,
        "Server's user weight, or sum of active servers' user weights for a backend"),
];
