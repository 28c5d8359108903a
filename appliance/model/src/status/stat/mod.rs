//! HAProxy's statistics: the same fields for `;csv`, `;typed`, `;json`, the page and Prometheus.
//!
//! What this balancer does not count is the empty field or the 0 HAProxy shows for it.

mod fields;
mod lines;

pub use fields::{FIELDS, Field};
pub use lines::{lines, total_weight};

use super::ProxyStatus;
use std::fmt::Write;

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A frontend.
    Frontend,
    /// A backend.
    Backend,
    /// A server.
    Server,
}

impl Kind {
    /// HAProxy's number, the field `type`.
    pub const fn number(self) -> u64 {
        match self {
            Self::Frontend => 0,
            Self::Backend => 1,
            Self::Server => 2,
        }
    }

    /// HAProxy's word in JSON; its first letter stands for it in `;typed`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Frontend => "Frontend",
            Self::Backend => "Backend",
            Self::Server => "Server",
        }
    }
}

/// A field's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Number(u64),
    /// It never happened: -1.
    Never,
    /// A text.
    Text(String),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(n) => write!(f, "{n}"),
            Self::Never => f.write_str("-1"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// One line: values by the name of their field.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it is about.
    pub kind: Kind,
    values: Vec<(&'static str, Value)>,
}

impl Line {
    fn new(kind: Kind) -> Self {
        Self { kind, values: Vec::with_capacity(80) }
    }

    fn text(&mut self, field: &'static str, value: impl Into<String>) {
        self.put(field, Value::Text(value.into()));
    }

    fn number(&mut self, field: &'static str, value: impl Into<u64>) {
        self.put(field, Value::Number(value.into()));
    }

    fn numbers(&mut self, values: &[(&'static str, u64)]) {
        for (field, value) in values {
            self.number(field, *value);
        }
    }

    fn maybe(&mut self, field: &'static str, value: Option<impl Into<u64>>) {
        if let Some(value) = value {
            self.number(field, value);
        }
    }

    fn put(&mut self, field: &'static str, value: Value) {
        debug_assert!(FIELDS.iter().any(|f| f.name == field), "{field}");
        debug_assert!(self.get(field).is_none(), "{field} twice");
        self.values.push((field, value));
    }

    /// The value of a field, where it has one.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.values.iter().find(|(name, _)| *name == field).map(|(_, value)| value)
    }

    /// The same, where it is a number.
    pub fn count(&self, field: &str) -> Option<u64> {
        match self.get(field)? {
            Value::Number(n) => Some(*n),
            Value::Never | Value::Text(_) => None,
        }
    }

    /// A field's letters and type for this kind of line: HAProxy tells some apart.
    pub const fn typed<'a>(&self, field: &'a Field) -> (&'a str, &'a str) {
        let tags = match (self.kind, field.name.as_bytes()) {
            (Kind::Backend, b"rate" | b"rate_max" | b"act" | b"bck") => "MGP",
            _ => field.tags,
        };
        (tags, field.kind)
    }
}

/// `;csv`: the header line and one line for each frontend, server and backend.
pub fn csv(proxy: &ProxyStatus) -> String {
    let mut text = String::from("# ");
    for field in &FIELDS {
        text.extend([field.name, ","]);
    }
    text.push('\n');
    for line in lines(proxy) {
        for field in &FIELDS {
            match line.get(field.name) {
                Some(Value::Text(t)) => text.push_str(&quoted(t)),
                Some(value) => {
                    // Writing to a String cannot fail.
                    let _ = write!(text, "{value}");
                }
                None => {}
            }
            text.push(',');
        }
        text.push('\n');
    }
    text
}

/// `;typed`: one line for each value, HAProxy's `show stat typed` (management.txt 9.2).
pub fn typed(proxy: &ProxyStatus) -> String {
    let mut text = String::new();
    for line in lines(proxy) {
        let letter = line.kind.word().get(..1).unwrap_or_default();
        let (iid, sid) = (line.count("iid").unwrap_or(0), line.count("sid").unwrap_or(0));
        for (pos, field) in FIELDS.iter().enumerate() {
            let Some(value) = line.get(field.name) else { continue };
            let (tags, kind) = line.typed(field);
            let value = value.to_string().replace(['\n', '\r'], " ");
            let name = field.name;
            let _ = writeln!(text, "{letter}.{iid}.{sid}.{pos}.{name}.1:{tags}:{kind}:{value}");
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The header of HAProxy 2.6.12 up to field 102, byte for byte.
    const HAPROXY: &str = "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status,weight,act,bck,chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,rate,rate_lim,rate_max,check_status,check_code,check_duration,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,hanafail,req_rate,req_rate_max,req_tot,cli_abrt,srv_abrt,comp_in,comp_out,comp_byp,comp_rsp,lastsess,last_chk,last_agt,qtime,ctime,rtime,ttime,agent_status,agent_code,agent_duration,check_desc,agent_desc,check_rise,check_fall,check_health,agent_rise,agent_fall,agent_health,addr,cookie,mode,algo,conn_rate,conn_rate_max,conn_tot,intercepted,dcon,dses,wrew,connect,reuse,cache_lookups,cache_hits,srv_icur,src_ilim,qtime_max,ctime_max,rtime_max,ttime_max,eint,idle_conn_cur,safe_conn_cur,used_conn_cur,need_conn_est,uweight,agg_server_status,agg_server_check_status,agg_check_status,";

    #[test]
    fn the_header_is_haproxys() {
        assert_eq!(csv(&ProxyStatus::default()), format!("{HAPROXY}\n"));
    }

    #[test]
    fn texts_are_quoted_only_where_they_must_be() {
        assert_eq!(quoted("say \"no\", or\nnot"), "\"say \"\"no\"\", or not\"");
        assert_eq!(quoted("plain; text"), "plain; text");
    }
}
