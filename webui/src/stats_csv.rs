//! `/stats;csv`: HAProxy's fields in HAProxy's order (management.txt 9.1, version 2.6).
//!
//! Tools index by position, so the columns are never reordered, and what this balancer does not
//! count is an empty field or the 0 HAProxy shows for it.

use model::ServerState;
use model::status::{
    BackendStatus, FrontendStatus, Health, HttpCounters, ProxyStatus, ServerStatus, TrafficCounters,
};

/// The fields 0 to 102.
pub(crate) const FIELDS: [&str; 103] = [
    "pxname",
    "svname",
    "qcur",
    "qmax",
    "scur",
    "smax",
    "slim",
    "stot",
    "bin",
    "bout",
    "dreq",
    "dresp",
    "ereq",
    "econ",
    "eresp",
    "wretr",
    "wredis",
    "status",
    "weight",
    "act",
    "bck",
    "chkfail",
    "chkdown",
    "lastchg",
    "downtime",
    "qlimit",
    "pid",
    "iid",
    "sid",
    "throttle",
    "lbtot",
    "tracked",
    "type",
    "rate",
    "rate_lim",
    "rate_max",
    "check_status",
    "check_code",
    "check_duration",
    "hrsp_1xx",
    "hrsp_2xx",
    "hrsp_3xx",
    "hrsp_4xx",
    "hrsp_5xx",
    "hrsp_other",
    "hanafail",
    "req_rate",
    "req_rate_max",
    "req_tot",
    "cli_abrt",
    "srv_abrt",
    "comp_in",
    "comp_out",
    "comp_byp",
    "comp_rsp",
    "lastsess",
    "last_chk",
    "last_agt",
    "qtime",
    "ctime",
    "rtime",
    "ttime",
    "agent_status",
    "agent_code",
    "agent_duration",
    "check_desc",
    "agent_desc",
    "check_rise",
    "check_fall",
    "check_health",
    "agent_rise",
    "agent_fall",
    "agent_health",
    "addr",
    "cookie",
    "mode",
    "algo",
    "conn_rate",
    "conn_rate_max",
    "conn_tot",
    "intercepted",
    "dcon",
    "dses",
    "wrew",
    "connect",
    "reuse",
    "cache_lookups",
    "cache_hits",
    "srv_icur",
    "src_ilim",
    "qtime_max",
    "ctime_max",
    "rtime_max",
    "ttime_max",
    "eint",
    "idle_conn_cur",
    "safe_conn_cur",
    "used_conn_cur",
    "need_conn_est",
    "uweight",
    "agg_server_status",
    "agg_server_check_status",
    "agg_check_status",
];

/// One line: values by the name of their field.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line(Vec<(&'static str, Value)>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Number(u64),
    Text(String),
}

impl Line {
    fn text(&mut self, field: &'static str, value: impl Into<String>) {
        self.put(field, Value::Text(value.into()));
    }

    fn number(&mut self, field: &'static str, value: impl Into<u64>) {
        self.put(field, Value::Number(value.into()));
    }

    fn maybe(&mut self, field: &'static str, value: Option<impl Into<u64>>) {
        if let Some(value) = value {
            self.number(field, value);
        }
    }

    fn put(&mut self, field: &'static str, value: Value) {
        debug_assert!(FIELDS.contains(&field), "{field}");
        debug_assert!(self.get(field).is_none(), "{field} twice");
        self.0.push((field, value));
    }

    pub(crate) fn get(&self, field: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| *name == field).map(|(_, value)| value)
    }

    fn traffic(&mut self, t: &TrafficCounters) {
        self.number("scur", t.scur);
        self.number("smax", t.smax);
        self.number("stot", t.stot);
        self.number("bin", t.bin);
        self.number("bout", t.bout);
        self.number("rate", t.rate);
        self.number("rate_max", t.rate_max);
    }

    fn responses(&mut self, h: &HttpCounters) {
        self.number("hrsp_1xx", h.hrsp_1xx);
        self.number("hrsp_2xx", h.hrsp_2xx);
        self.number("hrsp_3xx", h.hrsp_3xx);
        self.number("hrsp_4xx", h.hrsp_4xx);
        self.number("hrsp_5xx", h.hrsp_5xx);
        self.number("hrsp_other", h.hrsp_other);
    }
}

/// The header line and one line for each frontend, server and backend.
pub(crate) fn csv(proxy: &ProxyStatus, pid: u32) -> String {
    let mut text = String::from("# ");
    for field in FIELDS {
        text.extend([field, ","]);
    }
    text.push('\n');
    for line in lines(proxy, pid) {
        for field in FIELDS {
            match line.get(field) {
                Some(Value::Number(n)) => text.push_str(&n.to_string()),
                Some(Value::Text(t)) => text.push_str(&quoted(t)),
                None => {}
            }
            text.push(',');
        }
        text.push('\n');
    }
    text
}

/// RFC 4180, as HAProxy does it: quotes only where they are needed.
fn quoted(text: &str) -> String {
    let one_line = text.replace(['\n', '\r'], " ");
    if one_line.contains([',', '"']) {
        format!("\"{}\"", one_line.replace('"', "\"\""))
    } else {
        one_line
    }
}

/// Frontends first, then each backend's servers with the backend behind them.
pub(crate) fn lines(proxy: &ProxyStatus, pid: u32) -> Vec<Line> {
    let mut lines: Vec<Line> = proxy.frontends.iter().map(|f| frontend(f, pid)).collect();
    for b in &proxy.backends {
        lines.extend(b.servers.iter().map(|s| server(b, s, pid)));
        lines.push(backend(b, pid));
    }
    lines
}

fn frontend(f: &FrontendStatus, pid: u32) -> Line {
    let mut l = Line::default();
    l.text("pxname", f.name.as_str());
    l.text("svname", "FRONTEND");
    l.traffic(&f.traffic);
    l.responses(&f.http);
    l.number("slim", f.slim);
    l.number("dreq", f.dreq);
    l.number("dresp", 0_u64);
    l.number("ereq", f.ereq);
    l.text("status", if f.open { "OPEN" } else { "STOP" });
    l.number("pid", pid);
    l.number("iid", f.iid);
    l.number("sid", 0_u64);
    l.number("type", 0_u64);
    l.number("rate_lim", 0_u64);
    l.number("req_rate", f.req_rate);
    l.number("req_rate_max", f.req_rate_max);
    l.number("req_tot", f.req_tot);
    l.text("mode", f.mode.keyword());
    l.number("conn_rate", f.traffic.rate);
    l.number("conn_rate_max", f.traffic.rate_max);
    l.number("conn_tot", f.traffic.stot);
    l
}

fn server(b: &BackendStatus, s: &ServerStatus, pid: u32) -> Line {
    let mut l = Line::default();
    l.text("pxname", b.name.as_str());
    l.text("svname", s.name.as_str());
    l.number("qcur", s.queue.qcur);
    l.number("qmax", s.queue.qmax);
    l.maybe("slim", (s.maxconn > 0).then_some(s.maxconn));
    l.maybe("qlimit", (s.maxqueue > 0).then_some(s.maxqueue));
    l.traffic(&s.traffic);
    l.responses(&s.http);
    l.number("dresp", 0_u64);
    l.number("econ", s.econ);
    l.number("eresp", s.eresp);
    l.number("wretr", s.wretr);
    l.number("wredis", s.wredis);
    l.text("status", s.status_word());
    l.number("weight", s.effective_weight);
    l.number("act", u64::from(!s.backup));
    l.number("bck", u64::from(s.backup));
    let checked = s.health != Health::Unchecked;
    if checked {
        l.number("chkfail", s.check.chkfail);
        l.number("chkdown", s.check.chkdown);
    }
    l.number("lastchg", s.lastchg);
    l.number("downtime", s.downtime);
    l.number("pid", pid);
    l.number("iid", b.iid);
    l.number("sid", s.sid);
    l.number("lbtot", s.lbtot);
    l.number("type", 2_u64);
    if checked {
        l.text("check_status", s.check.check_status.as_str());
        l.maybe("check_code", s.check.check_code);
        l.maybe("check_duration", s.check.check_duration);
        l.text("last_chk", s.check.last_chk.as_str());
        l.text("check_desc", described(&s.check.check_status));
        l.number("check_rise", s.check_rise);
        l.number("check_fall", s.check_fall);
        l.number("check_health", s.check.check_health);
        l.number("hanafail", s.check.hanafail);
    }
    if let Some(agent) = &s.agent {
        let check = &agent.check;
        l.text("agent_status", check.check_status.as_str());
        l.maybe("agent_duration", check.check_duration);
        l.text("last_agt", check.last_chk.as_str());
        l.text("agent_desc", described(&check.check_status));
        // An agent's word counts at once.
        l.number("agent_rise", 1_u64);
        l.number("agent_fall", 1_u64);
        l.number("agent_health", check.check_health);
    }
    l.number("req_tot", s.traffic.stot);
    l.number("cli_abrt", s.cli_abrt);
    l.number("srv_abrt", s.srv_abrt);
    match s.lastsess {
        Some(seconds) => l.number("lastsess", seconds),
        None => l.text("lastsess", "-1"),
    }
    l.number("qtime", s.queue.qtime);
    l.number("ctime", s.ctime);
    l.number("rtime", s.rtime);
    l.number("ttime", s.ttime);
    l.text("addr", s.addr.to_string());
    l.text("mode", b.mode.keyword());
    l.number("connect", s.connect);
    l.number("reuse", s.reuse);
    l.number("srv_icur", s.srv_icur);
    l.number("used_conn_cur", s.traffic.scur);
    l.number("uweight", s.weight.get());
    l
}

/// HAProxy's words for a check's result.
fn described(status: &str) -> &'static str {
    match status.trim_start_matches("* ") {
        "L4OK" => "Layer4 check passed",
        "L4TOUT" => "Layer4 timeout",
        "L4CON" => "Layer4 connection problem",
        "L7OK" => "Layer7 check passed",
        "L7OKC" => "Layer7 check conditionally passed",
        "L7TOUT" => "Layer7 timeout",
        "L7RSP" => "Layer7 invalid response",
        "L7STS" => "Layer7 wrong status",
        "HANA" => "Health analyze",
        "CHECKED" => "No status change",
        "SOCKERR" => "Socket error",
        "INI" => "Initializing",
        _ => "",
    }
}

/// The weight of the servers that take visitors: of the backup ones only when no other does.
pub(crate) fn total_weight(b: &BackendStatus) -> u64 {
    let sum = |backup: bool| {
        let usable = b.servers.iter().filter(|s| s.usable() && s.backup == backup);
        usable.map(|s| u64::from(s.effective_weight)).sum::<u64>()
    };
    match sum(false) {
        0 => sum(true),
        n => n,
    }
}

fn backend(b: &BackendStatus, pid: u32) -> Line {
    let sum = |f: fn(&ServerStatus) -> u64| b.servers.iter().map(f).sum::<u64>();
    // Averages over the servers, by how many requests each had.
    let requests = sum(|s| s.traffic.stot).max(1);
    let average = |f: fn(&ServerStatus) -> u64| {
        b.servers.iter().map(|s| f(s).saturating_mul(s.traffic.stot)).sum::<u64>() / requests
    };
    let usable = |backup: bool| {
        let n = b.servers.iter().filter(|s| s.usable() && s.backup == backup).count();
        u64::try_from(n).unwrap_or(u64::MAX)
    };
    let up = b.servers.iter().any(ServerStatus::usable);
    let down = b
        .servers
        .iter()
        .filter(|s| s.state != ServerState::Maint && s.health == Health::Down)
        .count();
    let mut l = Line::default();
    l.text("pxname", b.name.as_str());
    l.text("svname", "BACKEND");
    l.number("qcur", b.queue.qcur + sum(|s| s.queue.qcur));
    l.number("qmax", b.queue.qmax);
    l.traffic(&b.traffic);
    l.responses(&b.http);
    l.number("dreq", 0_u64);
    l.number("dresp", 0_u64);
    l.number("econ", b.econ + sum(|s| s.econ));
    l.number("eresp", sum(|s| s.eresp));
    l.number("wretr", sum(|s| s.wretr));
    l.number("wredis", sum(|s| s.wredis));
    l.text("status", if up { "UP" } else { "DOWN" });
    l.number("weight", total_weight(b));
    l.number("act", usable(false));
    l.number("bck", usable(true));
    l.number("chkdown", b.chkdown);
    l.number("lastchg", b.lastchg);
    l.number("downtime", b.downtime);
    l.number("pid", pid);
    l.number("iid", b.iid);
    l.number("sid", 0_u64);
    l.number("lbtot", sum(|s| s.lbtot));
    l.number("type", 1_u64);
    l.number("req_tot", b.traffic.stot);
    l.number("cli_abrt", sum(|s| s.cli_abrt));
    l.number("srv_abrt", sum(|s| s.srv_abrt));
    match b.servers.iter().filter_map(|s| s.lastsess).min() {
        Some(seconds) => l.number("lastsess", seconds),
        None => l.text("lastsess", "-1"),
    }
    l.number("qtime", b.queue.qtime);
    l.number("ctime", average(|s| s.ctime));
    l.number("rtime", average(|s| s.rtime));
    l.number("ttime", average(|s| s.ttime));
    l.text("mode", b.mode.keyword());
    l.text("algo", b.balance.keyword());
    l.number("connect", sum(|s| s.connect));
    l.number("reuse", sum(|s| s.reuse));
    l.number("uweight", total_weight(b));
    l.number("agg_server_status", u64::try_from(down).unwrap_or(u64::MAX));
    l
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Revision;

    /// The header of HAProxy 2.6.12 up to field 102, byte for byte.
    const HAPROXY: &str = "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status,weight,act,bck,chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,rate,rate_lim,rate_max,check_status,check_code,check_duration,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,hanafail,req_rate,req_rate_max,req_tot,cli_abrt,srv_abrt,comp_in,comp_out,comp_byp,comp_rsp,lastsess,last_chk,last_agt,qtime,ctime,rtime,ttime,agent_status,agent_code,agent_duration,check_desc,agent_desc,check_rise,check_fall,check_health,agent_rise,agent_fall,agent_health,addr,cookie,mode,algo,conn_rate,conn_rate_max,conn_tot,intercepted,dcon,dses,wrew,connect,reuse,cache_lookups,cache_hits,srv_icur,src_ilim,qtime_max,ctime_max,rtime_max,ttime_max,eint,idle_conn_cur,safe_conn_cur,used_conn_cur,need_conn_est,uweight,agg_server_status,agg_server_check_status,agg_check_status,";

    fn demo() -> ProxyStatus {
        let settings = crate::demo::settings();
        let id = "lbmaster".parse().unwrap();
        let snapshot = control::Snapshot::new(Revision(1), settings, &id);
        crate::demo::status(&snapshot, &id).proxy.unwrap()
    }

    /// A strict reader: every line has 103 fields and an empty one behind the last comma.
    fn parse(text: &str) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        for line in text.lines() {
            let (mut row, mut field, mut quoted) = (Vec::new(), String::new(), false);
            let mut chars = line.chars().peekable();
            while let Some(c) = chars.next() {
                match c {
                    '"' if quoted && chars.peek() == Some(&'"') => {
                        chars.next();
                        field.push('"');
                    }
                    '"' => quoted = !quoted,
                    ',' if !quoted => row.push(std::mem::take(&mut field)),
                    c => field.push(c),
                }
            }
            assert!(!quoted && field.is_empty(), "{line}");
            assert_eq!(row.len(), FIELDS.len(), "{line}");
            rows.push(row);
        }
        rows
    }

    #[test]
    fn the_header_is_haproxys() {
        assert_eq!(csv(&ProxyStatus::default(), 1), format!("{HAPROXY}\n"));
    }

    #[test]
    fn lines_read_back_strictly() {
        let mut proxy = demo();
        proxy.backends[0].servers[0].check.last_chk = "say \"no\", or\nnot".into();
        proxy.backends[0].servers[1].health = Health::Down;
        proxy.backends[0].servers[1].check.check_health = 0;
        let rows = parse(&csv(&proxy, 7));
        let names: Vec<_> = rows.iter().map(|r| (r[0].as_str(), r[1].as_str())).collect();
        assert_eq!(names[1], ("http-in", "FRONTEND"));
        assert_eq!(names[2], ("webservers", "web01-eth"));
        assert_eq!(names[6], ("webservers", "BACKEND"));
        let at = |row: usize, field: &str| {
            rows[row][FIELDS.iter().position(|f| *f == field).unwrap()].as_str()
        };
        assert_eq!(at(2, "last_chk"), "say \"no\", or not");
        assert_eq!((at(2, "status"), at(3, "status"), at(6, "status")), ("UP", "DOWN", "UP"));
        assert_eq!((at(6, "act"), at(6, "weight"), at(6, "agg_server_status")), ("3", "3", "1"));
        assert_eq!((at(1, "type"), at(2, "type"), at(6, "type")), ("0", "2", "1"));
        assert_eq!((at(1, "iid"), at(2, "iid"), at(2, "sid")), ("1", "2", "1"));
        assert_eq!((at(1, "pid"), at(1, "mode"), at(6, "algo")), ("7", "http", "roundrobin"));
        assert_eq!(at(2, "addr"), "192.168.1.10:80");
    }
}
