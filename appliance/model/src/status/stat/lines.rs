//! What each field of a frontend, a backend and a server is.

use super::{Kind, Line, Value};
use crate::balancing::Mode;
use crate::status::{
    BackendStatus, CheckStatus, FrontendStatus, HttpCounters, ProxyStatus, ServerStatus,
    TrafficCounters,
};

/// Frontends first, then each backend's servers with the backend behind them.
pub fn lines(proxy: &ProxyStatus) -> Vec<Line> {
    let mut lines: Vec<Line> = proxy.frontends.iter().map(frontend).collect();
    for b in &proxy.backends {
        lines.extend(b.servers.iter().map(|s| server(b, s)));
        lines.push(backend(b));
    }
    lines
}

impl Line {
    fn traffic(&mut self, t: &TrafficCounters) {
        self.numbers(&[
            ("scur", t.scur),
            ("smax", t.smax),
            ("stot", t.stot),
            ("bin", t.bin),
            ("bout", t.bout),
            ("rate", t.rate),
            ("rate_max", t.rate_max),
        ]);
    }

    fn responses(&mut self, h: &HttpCounters) {
        self.numbers(&[
            ("hrsp_1xx", h.hrsp_1xx),
            ("hrsp_2xx", h.hrsp_2xx),
            ("hrsp_3xx", h.hrsp_3xx),
            ("hrsp_4xx", h.hrsp_4xx),
            ("hrsp_5xx", h.hrsp_5xx),
            ("hrsp_other", h.hrsp_other),
        ]);
    }

    /// What HAProxy shows of a frontend's or backend's compression and cache: there are none.
    fn without_compression(&mut self, mode: Mode) {
        self.numbers(&[("comp_in", 0), ("comp_out", 0), ("comp_byp", 0), ("comp_rsp", 0)]);
        if mode == Mode::Http {
            self.numbers(&[("cache_lookups", 0), ("cache_hits", 0)]);
        }
    }

    fn last(&mut self, seconds: Option<u64>) {
        self.put("lastsess", seconds.map_or(Value::Never, Value::Number));
    }
}

fn frontend(f: &FrontendStatus) -> Line {
    let mut l = Line::new(Kind::Frontend);
    l.text("pxname", f.name.as_str());
    l.text("svname", "FRONTEND");
    l.text("status", if f.open { "OPEN" } else { "STOP" });
    l.text("mode", f.mode.keyword());
    l.traffic(&f.traffic);
    l.without_compression(f.mode);
    if f.mode == Mode::Http {
        l.responses(&f.http);
    }
    l.numbers(&[
        ("slim", f.slim.into()),
        ("dreq", f.dreq),
        ("dresp", 0),
        ("ereq", f.ereq),
        ("pid", 1),
        ("iid", f.iid.into()),
        ("sid", 0),
        ("type", Kind::Frontend.number()),
        ("rate_lim", 0),
        ("conn_rate", f.traffic.rate),
        ("conn_rate_max", f.traffic.rate_max),
        ("conn_tot", f.traffic.stot),
        ("intercepted", f.intercepted),
        ("dcon", f.dcon),
        // Counts what `tcp-request session` rules refuse; here rules refuse connections.
        ("dses", 0),
        ("wrew", f.wrew),
        ("eint", f.eint),
        ("req_rate", f.req_rate),
        ("req_rate_max", f.req_rate_max),
        ("req_tot", f.req_tot),
    ]);
    l
}

fn server(b: &BackendStatus, s: &ServerStatus) -> Line {
    let mut l = Line::new(Kind::Server);
    l.text("pxname", b.name.as_str());
    l.text("svname", s.name.as_str());
    l.text("status", s.status_word());
    l.text("mode", b.mode.keyword());
    l.text("addr", s.addr.to_string());
    if let Some(cookie) = &s.cookie {
        l.text("cookie", cookie.as_str());
    }
    l.traffic(&s.traffic);
    l.maybe("slim", (s.maxconn > 0).then_some(s.maxconn));
    l.maybe("qlimit", (s.maxqueue > 0).then_some(s.maxqueue));
    l.maybe("throttle", s.throttle);
    l.last(s.lastsess);
    if b.mode == Mode::Http {
        l.responses(&s.http);
        // As HAProxy counts a server's requests: when they are answered.
        l.number("req_tot", s.http.sum());
    }
    l.numbers(&[
        ("qcur", s.queue.qcur),
        ("qmax", s.queue.qmax),
        ("dresp", 0),
        ("econ", s.econ),
        ("eresp", s.eresp),
        ("wretr", s.wretr),
        ("wredis", s.wredis),
        ("weight", s.effective_weight.into()),
        ("act", (!s.backup).into()),
        ("bck", s.backup.into()),
        ("lastchg", s.lastchg),
        ("pid", 1),
        ("iid", b.iid.into()),
        ("sid", s.sid.into()),
        ("lbtot", s.lbtot),
        ("type", Kind::Server.number()),
        ("cli_abrt", s.cli_abrt),
        ("srv_abrt", s.srv_abrt),
        ("qtime", s.queue.qtime),
        ("ctime", s.ctime),
        ("rtime", s.rtime),
        ("ttime", s.ttime),
        ("qtime_max", s.queue.qtime_max),
        ("ctime_max", s.ctime_max),
        ("rtime_max", s.rtime_max),
        ("ttime_max", s.ttime_max),
        ("wrew", s.wrew),
        ("eint", s.eint),
        ("connect", s.connect),
        ("reuse", s.reuse),
        ("srv_icur", s.srv_icur),
        // No `src_ilim`: it is HAProxy's `pool-max-conn`, and empty where a server has no limit of
        // its own. Here all of them share one.
        // Idle connections are not told apart: all of them have served a request well.
        ("idle_conn_cur", 0),
        ("safe_conn_cur", s.srv_icur),
        ("used_conn_cur", s.traffic.scur),
        // As many as are kept: they go when they are not used for a while.
        ("need_conn_est", s.traffic.scur + s.srv_icur),
        ("uweight", s.user_weight.into()),
    ]);
    checks(&mut l, s);
    l
}

/// The last check, the last word of the agent and what follows from them.
fn checks(l: &mut Line, s: &ServerStatus) {
    let began = |running: bool, word: &str| {
        if running { format!("* {word}") } else { word.to_owned() }
    };
    if s.checked {
        l.numbers(&[
            ("chkfail", s.check.chkfail),
            ("chkdown", s.check.chkdown),
            ("downtime", s.downtime),
        ]);
    }
    if s.checks_run() {
        let check = &s.check;
        l.text("check_status", began(check.running, &check.check_status));
        l.maybe("check_code", check.check_code);
        l.maybe("check_duration", check.check_duration);
        l.text("check_desc", described(&check.check_status));
        l.text("last_chk", details(check));
        l.numbers(&[
            ("check_rise", s.check_rise.into()),
            ("check_fall", s.check_fall.into()),
            ("check_health", check.check_health.into()),
        ]);
        if s.observed {
            l.number("hanafail", check.hanafail);
        }
    }
    if let Some(agent) = &s.agent {
        let check = &agent.check;
        l.text("agent_status", began(check.running, &check.check_status));
        // HAProxy has a code, always 0, where the agent spoke of health.
        let spoke = matches!(check.check_status.as_str(), "L7OK" | "L7STS");
        l.maybe("agent_code", spoke.then_some(0_u64));
        l.maybe("agent_duration", check.check_duration);
        l.text("agent_desc", described(&check.check_status));
        l.text("last_agt", details(check));
        // An agent's word counts at once.
        l.numbers(&[
            ("agent_rise", 1),
            ("agent_fall", 1),
            ("agent_health", check.check_health.into()),
        ]);
    }
}

/// What a check's text says beyond its description and its code.
fn details(check: &CheckStatus) -> &str {
    let text = check.last_chk.as_str();
    let rest = text.strip_prefix(described(&check.check_status));
    let rest = rest.map_or(text, |rest| rest.trim_start_matches(": "));
    let code = check.check_code.map(|c| c.to_string());
    code.and_then(|c| rest.strip_prefix(&c)).map_or(rest, str::trim_start)
}

/// HAProxy's words for a check's result.
fn described(status: &str) -> &'static str {
    match status {
        "INI" => "Initializing",
        "SOCKERR" => "Socket error",
        "L4OK" => "Layer4 check passed",
        "L4TOUT" => "Layer4 timeout",
        "L4CON" => "Layer4 connection problem",
        "L6OK" => "Layer6 check passed",
        "L6TOUT" => "Layer6 timeout",
        "L6RSP" => "Layer6 invalid response",
        "L7OK" => "Layer7 check passed",
        "L7OKC" => "Layer7 check conditionally passed",
        "L7TOUT" => "Layer7 timeout",
        "L7RSP" => "Layer7 invalid response",
        "L7STS" => "Layer7 wrong status",
        "HANA" => "Health analyze",
        "CHECKED" => "No status change",
        _ => "",
    }
}

/// The weight of the servers that take visitors: of the backup ones only when no other does.
pub fn total_weight(b: &BackendStatus) -> u64 {
    total(b, |s| s.effective_weight.into())
}

fn total(b: &BackendStatus, weight: fn(&ServerStatus) -> u64) -> u64 {
    let sum = |backup: bool| {
        let usable = b.servers.iter().filter(|s| s.usable() && s.backup == backup);
        usable.map(weight).sum::<u64>()
    };
    match sum(false) {
        0 => sum(true),
        n => n,
    }
}

fn backend(b: &BackendStatus) -> Line {
    let sum = |f: fn(&ServerStatus) -> u64| b.servers.iter().map(f).sum::<u64>();
    let most = |f: fn(&ServerStatus) -> u64| b.servers.iter().map(f).max().unwrap_or(0);
    // Averages over the servers, by how many requests each had.
    let requests = sum(|s| s.traffic.stot).max(1);
    let average = |f: fn(&ServerStatus) -> u64| {
        b.servers.iter().map(|s| f(s).saturating_mul(s.traffic.stot)).sum::<u64>() / requests
    };
    let usable = |backup: bool| -> u64 {
        b.servers.iter().map(|s| u64::from(s.usable() && s.backup == backup)).sum()
    };
    let up = b.servers.iter().any(ServerStatus::usable);
    let mut l = Line::new(Kind::Backend);
    l.text("pxname", b.name.as_str());
    l.text("svname", "BACKEND");
    l.text("status", if up { "UP" } else { "DOWN" });
    l.text("mode", b.mode.keyword());
    l.text("algo", b.balance.keyword());
    if let Some(cookie) = &b.cookie {
        l.text("cookie", cookie.as_str());
    }
    l.traffic(&b.traffic);
    l.without_compression(b.mode);
    l.last(b.servers.iter().filter_map(|s| s.lastsess).min());
    if b.mode == Mode::Http {
        l.responses(&b.http);
        l.number("req_tot", b.traffic.stot);
    }
    l.numbers(&[
        ("slim", b.slim),
        ("qcur", b.queue.qcur + sum(|s| s.queue.qcur)),
        ("qmax", b.queue.qmax),
        ("dreq", 0),
        ("dresp", 0),
        ("econ", b.econ + sum(|s| s.econ)),
        ("eresp", sum(|s| s.eresp)),
        ("wretr", sum(|s| s.wretr)),
        ("wredis", sum(|s| s.wredis)),
        ("weight", total_weight(b)),
        ("act", usable(false)),
        ("bck", usable(true)),
        ("chkdown", b.chkdown),
        ("lastchg", b.lastchg),
        ("downtime", b.downtime),
        ("pid", 1),
        ("iid", b.iid.into()),
        ("sid", 0),
        ("lbtot", sum(|s| s.lbtot)),
        ("type", Kind::Backend.number()),
        ("cli_abrt", sum(|s| s.cli_abrt)),
        ("srv_abrt", sum(|s| s.srv_abrt)),
        ("qtime", average(|s| s.queue.qtime)),
        ("ctime", average(|s| s.ctime)),
        ("rtime", average(|s| s.rtime)),
        ("ttime", average(|s| s.ttime)),
        ("qtime_max", b.queue.qtime_max.max(most(|s| s.queue.qtime_max))),
        ("ctime_max", most(|s| s.ctime_max)),
        ("rtime_max", most(|s| s.rtime_max)),
        ("ttime_max", most(|s| s.ttime_max)),
        ("wrew", b.wrew),
        ("eint", b.eint),
        ("connect", sum(|s| s.connect)),
        ("reuse", sum(|s| s.reuse)),
        ("uweight", total(b, |s| s.user_weight.into())),
        // HAProxy fills these for Prometheus only.
        ("agg_server_status", 0),
        ("agg_server_check_status", 0),
        ("agg_check_status", 0),
    ]);
    l
}
