//! The tables of `/stats`: HAProxy's columns, colours and tips.

use crate::words::{bytes, number, span};
use model::status::stat::{Kind, Line, Value, lines};
use model::status::{Health, ProxyStatus, ServerStatus};
use model::{Name, ServerState};

/// A cell, and what is told of it when it is pointed at or tapped.
#[derive(Default)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) tips: Vec<(&'static str, String)>,
}

pub(super) struct Row {
    pub(super) name: String,
    /// It can be ticked for an action.
    pub(super) is_server: bool,
    pub(super) class: &'static str,
    pub(super) cells: Vec<Cell>,
}

pub(super) struct Table {
    pub(super) name: String,
    /// It has a form of its own.
    pub(super) is_backend: bool,
    pub(super) rows: Vec<Row>,
}

pub(super) fn tables(proxy: &ProxyStatus) -> Vec<Table> {
    let all = lines(proxy);
    let of = |name: &Name, kinds: &[Kind]| -> Vec<&Line> {
        let is = |l: &&Line| {
            kinds.contains(&l.kind)
                && l.get("pxname").is_some_and(|n| n.to_string() == name.as_str())
        };
        all.iter().filter(is).collect()
    };
    let frontends = proxy.frontends.iter().map(|f| Table {
        name: f.name.to_string(),
        is_backend: false,
        rows: of(&f.name, &[Kind::Frontend]).into_iter().map(|l| frontend(l, f.open)).collect(),
    });
    let backends = proxy.backends.iter().map(|b| {
        let servers = of(&b.name, &[Kind::Server]);
        let mut rows: Vec<Row> =
            servers.iter().zip(&b.servers).map(|(l, s)| server(l, s)).collect();
        let up = b.servers.iter().any(ServerStatus::usable);
        rows.extend(of(&b.name, &[Kind::Backend]).into_iter().map(|l| backend(l, up)));
        Table { name: b.name.to_string(), is_backend: true, rows }
    });
    frontends.chain(backends).collect()
}

fn cell(text: impl Into<String>) -> Cell {
    Cell { text: text.into(), tips: Vec::new() }
}

fn seconds(n: u64) -> String {
    span(n.saturating_mul(1000))
}

/// Percent of a whole, as HAProxy rounds it.
fn percent(part: u64, whole: u64) -> String {
    format!("{} ({}%)", number(part), part.saturating_mul(100) / whole.max(1))
}

/// How a line's fields become cells.
struct Fields<'a>(&'a Line);

impl Fields<'_> {
    fn n(&self, field: &str) -> u64 {
        self.0.count(field).unwrap_or(0)
    }

    fn has(&self, field: &str) -> bool {
        self.0.get(field).is_some()
    }

    /// A number; nothing where there is none.
    fn num(&self, field: &str) -> Cell {
        cell(self.0.count(field).map(number).unwrap_or_default())
    }

    fn text(&self, field: &str) -> String {
        self.0.get(field).map(ToString::to_string).unwrap_or_default()
    }

    fn limit(&self, field: &str) -> Cell {
        cell(match self.n(field) {
            0 => "-".to_owned(),
            n => number(n),
        })
    }

    fn bytes(&self, field: &str) -> Cell {
        cell(bytes(self.n(field)))
    }

    fn last(&self) -> Cell {
        cell(match self.0.get("lastsess") {
            Some(Value::Number(n)) => seconds(*n),
            _ => "?".to_owned(),
        })
    }

    /// Requests, and the responses to them.
    fn answers(&self, tips: &mut Vec<(&'static str, String)>) {
        if !self.has("hrsp_2xx") {
            return;
        }
        let all = self.n("req_tot");
        tips.push(("HTTP requests", number(all)));
        for (name, field) in [
            ("1xx responses", "hrsp_1xx"),
            ("2xx responses", "hrsp_2xx"),
            ("3xx responses", "hrsp_3xx"),
            ("4xx responses", "hrsp_4xx"),
            ("5xx responses", "hrsp_5xx"),
            ("other responses", "hrsp_other"),
        ] {
            tips.push((name, percent(self.n(field), all)));
        }
    }

    /// New and reused connections, and the times.
    fn connections(&self, tips: &mut Vec<(&'static str, String)>) {
        let (new, reused) = (self.n("connect"), self.n("reuse"));
        tips.push(("New connections", number(new)));
        tips.push(("Reused connections", percent(reused, new + reused)));
        self.answers(tips);
        for (name, most, average) in [
            ("Queue time, max / average", "qtime_max", "qtime"),
            ("Connect time", "ctime_max", "ctime"),
            ("Response time", "rtime_max", "rtime"),
            ("Total time", "ttime_max", "ttime"),
        ] {
            tips.push((name, format!("{} / {} ms", self.n(most), self.n(average))));
        }
    }

    /// Connection resets during transfers.
    fn broken(&self) -> Cell {
        let tips = vec![
            ("Broken off by visitors", number(self.n("cli_abrt"))),
            ("Broken off by servers", number(self.n("srv_abrt"))),
        ];
        Cell { tips, ..self.num("eresp") }
    }
}

fn frontend(line: &Line, open: bool) -> Row {
    let f = Fields(line);
    let mut cells = vec![cell(""), cell(""), cell("")];
    let rate = |text: &str, connections: &str, requests: &str| {
        let mut tips = vec![
            ("Connections", format!("{}/s", number(f.n(connections)))),
            ("Sessions", format!("{}/s", number(f.n(text)))),
        ];
        if f.has("hrsp_2xx") {
            tips.push(("Requests", format!("{}/s", number(f.n(requests)))));
        }
        Cell { tips, ..f.num(text) }
    };
    cells.push(rate("rate", "conn_rate", "req_rate"));
    cells.push(rate("rate_max", "conn_rate_max", "req_rate_max"));
    cells.push(f.limit("rate_lim"));
    cells.extend([f.num("scur"), f.num("smax"), f.num("slim")]);
    let mut tips =
        vec![("Connections", number(f.n("conn_tot"))), ("Sessions", number(f.n("stot")))];
    f.answers(&mut tips);
    if f.has("hrsp_2xx") {
        tips.push(("Answered by a rule", number(f.n("intercepted"))));
    }
    cells.push(Cell { tips, ..f.num("stot") });
    cells.extend([cell(""), cell(""), f.bytes("bin"), f.bytes("bout")]);
    cells.extend([f.num("dreq"), f.num("dresp"), f.num("ereq")]);
    cells.extend((0..4).map(|_| cell("")));
    cells.push(cell(f.text("status")));
    cells.extend((0..8).map(|_| cell("")));
    let class = if open { "s-frontend" } else { "s-down" };
    Row { name: "Frontend".to_owned(), is_server: false, class, cells }
}

/// Queue and session rate, the same of servers and backends.
fn first(f: &Fields<'_>, limit: Cell) -> Vec<Cell> {
    let mut cells = vec![f.num("qcur"), f.num("qmax"), limit];
    cells.extend([f.num("rate"), f.num("rate_max"), cell("")]);
    cells
}

/// Sessions up to redispatches, the same of servers and backends.
fn middle(f: &Fields<'_>, current: Cell, limit: Cell) -> Vec<Cell> {
    let mut tips = vec![("Sessions", number(f.n("stot")))];
    f.connections(&mut tips);
    let total = Cell { tips, ..f.num("stot") };
    let mut cells = vec![current, f.num("smax"), limit, total, f.num("lbtot"), f.last()];
    cells.extend([f.bytes("bin"), f.bytes("bout"), f.num("dreq"), f.num("dresp")]);
    cells.extend([cell(""), f.num("econ"), f.broken(), f.num("wretr"), f.num("wredis")]);
    cells
}

fn server(line: &Line, s: &ServerStatus) -> Row {
    let f = Fields(line);
    let mut cells = first(&f, f.limit("qlimit"));
    let tips = vec![
        ("Active connections", number(f.n("scur"))),
        ("Used connections", number(f.n("used_conn_cur"))),
        ("Idle connections", number(f.n("srv_icur"))),
        ("Needed, as estimated", number(f.n("need_conn_est"))),
        ("Limit of active ones", f.limit("slim").text),
    ];
    cells.extend(middle(&f, Cell { tips, ..f.num("scur") }, f.limit("slim")));
    let since = seconds(f.n("lastchg"));
    cells.push(cell(format!("{since} {}", f.text("status"))));
    cells.push(last_check(&f));
    let flag = |on: bool| cell(if on { "Y" } else { "-" });
    cells.push(cell(format!("{}/{}", f.n("weight"), f.n("uweight"))));
    cells.extend([flag(!s.backup), flag(s.backup)]);
    let fails = vec![("Failed health checks", number(f.n("chkfail")))];
    let analyzed = s.observed.then(|| ("Bad answers to visitors", number(f.n("hanafail"))));
    cells.push(Cell { tips: fails.into_iter().chain(analyzed).collect(), ..f.num("chkfail") });
    let downtime = if f.has("downtime") { seconds(f.n("downtime")) } else { String::new() };
    cells.extend([f.num("chkdown"), cell(downtime)]);
    cells.push(cell(s.throttle.map_or_else(|| "-".to_owned(), |t| format!("{t}%"))));
    Row { name: s.name.to_string(), is_server: true, class: class(s), cells }
}

/// The last check in HAProxy's form, `L7OK/200 in 1ms`, and the agent's last word.
fn last_check(f: &Fields<'_>) -> Cell {
    let said = |status: &str, code: &str, took: &str| {
        let code = if f.n(code) > 0 { format!("/{}", f.n(code)) } else { String::new() };
        let took = if f.has(took) { format!(" in {}ms", f.n(took)) } else { String::new() };
        format!("{}{code}{took}", f.text(status))
    };
    let told = |description: &str, more: &str| {
        let (description, more) = (f.text(description), f.text(more));
        if more.is_empty() { description } else { format!("{description}: {more}") }
    };
    let mut tips = Vec::new();
    if f.has("check_status") {
        tips.push(("Check", told("check_desc", "last_chk")));
    }
    if f.has("agent_status") {
        tips.push(("Agent", said("agent_status", "agent_code", "agent_duration")));
        tips.push(("It says", told("agent_desc", "last_agt")));
    }
    Cell { text: said("check_status", "check_code", "check_duration"), tips }
}

/// HAProxy's colours: green, yellow, orange, red, and so on.
pub(super) fn class(s: &ServerStatus) -> &'static str {
    let word = s.status_word();
    match (s.wanted(), s.health) {
        (ServerState::Maint, _) => "s-maint",
        _ if s.unresolved() => "s-maint",
        (_, Health::Down) if word.contains('/') && s.backup => "s-backup-going-up",
        (_, Health::Down) if word.contains('/') => "s-going-up",
        (_, Health::Down) => "s-down",
        (ServerState::Drain, _) | (_, Health::Stopping) => "s-drain",
        (ServerState::Ready, _) if s.weight.get() == 0 => "s-drain",
        (ServerState::Ready, Health::Unchecked) => "s-nocheck",
        (ServerState::Ready, Health::Up) if word.contains('/') && s.backup => "s-backup-going-down",
        (ServerState::Ready, Health::Up) if word.contains('/') => "s-going-down",
        (ServerState::Ready, Health::Up) if s.backup => "s-backup",
        (ServerState::Ready, Health::Up) => "s-up",
    }
}

fn backend(line: &Line, up: bool) -> Row {
    let f = Fields(line);
    let mut cells = first(&f, cell(""));
    cells.extend(middle(&f, f.num("scur"), f.num("slim")));
    let since = seconds(f.n("lastchg"));
    cells.extend([
        cell(format!("{since} {}", f.text("status"))),
        cell(""),
        cell(format!("{}/{}", f.n("weight"), f.n("uweight"))),
        f.num("act"),
        f.num("bck"),
        cell(""),
        f.num("chkdown"),
        cell(seconds(f.n("downtime"))),
        cell(""),
    ]);
    let class = if up { "s-backend" } else { "s-down" };
    Row { name: "Backend".to_owned(), is_server: false, class, cells }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_a_cell_for_every_column() {
        let snapshot = control::Snapshot::new(
            model::Revision(1),
            crate::demo::settings(),
            &"lbmaster".parse().unwrap(),
        );
        let proxy = crate::demo::status(&snapshot, snapshot.node()).proxy.unwrap();
        let all = tables(&proxy);
        assert!(all.iter().any(|t| t.rows.len() > 2));
        for row in all.into_iter().flat_map(|t| t.rows) {
            assert_eq!(row.cells.len(), 30, "{}", row.name);
        }
    }
}
