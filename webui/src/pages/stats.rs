//! The balancer's statistics as HAProxy users know them.
//!
//! HAProxy takes its options after the address: `/stats;csv`, `/stats;up;norefresh`, and the same
//! after a question mark. All of these are accepted here, in any order. The page does not load
//! itself again, which would keep a forgotten session alive, so `;norefresh` has nothing to do.

use super::stats_admin::{ACTIONS, words};
use super::{Ctx, Shell, page};
use crate::error::{Failure, PageResult};
use crate::view::name_of;
use crate::words::{bytes, number, span};
use crate::{stats_csv, stats_json};
use askama::Template;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri, header};
use model::Role;
use model::status::{
    BackendStatus, FrontendStatus, Health, HttpCounters, ProxyStatus, ServerStatus, TrafficCounters,
};
use model::{ServerState, Settings};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Format {
    #[default]
    Html,
    Csv,
    Json,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Options {
    format: Format,
    /// Without servers that are down.
    up: bool,
    no_maint: bool,
    /// Only proxies whose name holds this.
    scope: Option<String>,
    /// What came of the last action.
    outcome: Option<String>,
}

impl Options {
    fn read(uri: &Uri) -> Self {
        let mut options = Self::default();
        let path = uri.path().strip_prefix("/stats").unwrap_or_default();
        let query = uri.query().unwrap_or_default();
        for word in path.split(';').chain(query.split([';', '&'])) {
            match word {
                "csv" => options.format = Format::Csv,
                "json" => options.format = Format::Json,
                "up" => options.up = true,
                "no-maint" => options.no_maint = true,
                word if word.starts_with("st=") => {
                    options.outcome = word.strip_prefix("st=").map(str::to_owned);
                }
                _ => {
                    let scope = word.strip_prefix("scope=").filter(|s| !s.is_empty());
                    options.scope = scope.map(str::to_owned).or(options.scope);
                }
            }
        }
        options
    }

    /// What of the balancer is asked for.
    fn apply(&self, mut proxy: ProxyStatus) -> ProxyStatus {
        if let Some(scope) = &self.scope {
            proxy.frontends.retain(|f| f.name.as_str().contains(scope.as_str()));
            proxy.backends.retain(|b| b.name.as_str().contains(scope.as_str()));
        }
        for b in &mut proxy.backends {
            b.servers.retain(|s| {
                let maint = s.state == ServerState::Maint;
                !(self.no_maint && maint) && !(self.up && (maint || s.health == Health::Down))
            });
        }
        proxy
    }
}

#[derive(Default)]
struct Cell {
    text: String,
    title: String,
}

struct Row {
    name: String,
    /// It can be ticked for an action.
    is_server: bool,
    class: &'static str,
    cells: Vec<Cell>,
}

struct Table {
    name: String,
    /// It has a form of its own.
    is_backend: bool,
    rows: Vec<Row>,
}

#[derive(Template)]
#[template(path = "stats.html")]
struct Stats {
    shell: Shell,
    tables: Vec<Table>,
    balancer: bool,
    balancers: String,
    pid: u32,
    uptime: String,
    conns: u64,
    maxconn: u64,
    threads: u32,
    up: bool,
    actions: [(&'static str, &'static str); 9],
    /// Whether the last action did what it should, and what came of it.
    outcome: Option<(bool, &'static str)>,
}

/// Every `/stats…` that is not exactly `/stats`, and everything that is no page at all.
pub(crate) async fn fallback(
    uri: Uri,
    method: http::Method,
    ctx: Result<Ctx, Failure>,
) -> Response {
    if !uri.path().starts_with("/stats;") {
        if uri.path().starts_with("/api/") {
            return crate::api::nothing().await;
        }
        return Failure::not_found("There is no such page.").into_response();
    }
    if method != http::Method::GET && method != http::Method::HEAD {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    match ctx {
        Ok(ctx) => show(ctx, uri).await.into_response(),
        Err(failure) => failure.into_response(),
    }
}

pub(crate) async fn show(ctx: Ctx, uri: Uri) -> PageResult {
    let options = Options::read(&uri);
    let own = ctx.app.ports.board.own();
    let proxy = own.proxy.clone().map(|p| options.apply(p));
    let no_cache = (header::CACHE_CONTROL, "no-cache, no-store");
    match options.format {
        Format::Csv => {
            let text = stats_csv::csv(&proxy.unwrap_or_default(), own.pid);
            let head = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), no_cache];
            return Ok((head, text).into_response());
        }
        Format::Json => {
            let text = stats_json::json(&proxy.unwrap_or_default(), own.pid);
            let head = [(header::CONTENT_TYPE, "application/json"), no_cache];
            return Ok((head, text).into_response());
        }
        Format::Html => {}
    }
    // A program's credential opens the page too; then there is no session its links would need.
    let snapshot = ctx.snapshot();
    let proxy_is_here = proxy.is_some();
    let proxy = proxy.unwrap_or_default();
    page(&Stats {
        shell: ctx.shell("Statistics", "stats"),
        tables: tables(&proxy),
        balancer: proxy_is_here,
        balancers: balancers(&snapshot.settings, &name_of(&snapshot, snapshot.node())),
        pid: own.pid,
        uptime: span(own.uptime_ms),
        conns: proxy.curr_conns,
        maxconn: proxy.maxconn,
        threads: proxy.threads,
        up: options.up,
        actions: ACTIONS,
        outcome: options.outcome.as_deref().and_then(words),
    })
}

fn balancers(settings: &Settings, own: &str) -> String {
    let names = settings.with_role(Role::Balancer).map(|n| n.name.to_string());
    names.filter(|n| n != own).collect::<Vec<_>>().join(", ")
}

fn tables(proxy: &ProxyStatus) -> Vec<Table> {
    let frontends = proxy.frontends.iter().map(|f| Table {
        name: f.name.to_string(),
        is_backend: false,
        rows: vec![frontend_row(f)],
    });
    let backends = proxy.backends.iter().map(|b| {
        let mut rows: Vec<Row> = b.servers.iter().map(server_row).collect();
        rows.push(backend_row(b));
        Table { name: b.name.to_string(), is_backend: true, rows }
    });
    frontends.chain(backends).collect()
}

fn cell(text: impl Into<String>) -> Cell {
    Cell { text: text.into(), title: String::new() }
}

fn num(n: u64) -> Cell {
    cell(number(n))
}

fn none() -> Cell {
    Cell::default()
}

fn responses(h: &HttpCounters) -> String {
    format!(
        "1xx: {}, 2xx: {}, 3xx: {}, 4xx: {}, 5xx: {}, other: {}",
        h.hrsp_1xx, h.hrsp_2xx, h.hrsp_3xx, h.hrsp_4xx, h.hrsp_5xx, h.hrsp_other
    )
}

/// Session rate, sessions up to the total, with the responses behind the total.
fn traffic(t: &TrafficCounters, limit: Cell, h: &HttpCounters) -> Vec<Cell> {
    let total = Cell { text: number(t.stot), title: responses(h) };
    vec![num(t.rate), num(t.rate_max), none(), num(t.scur), num(t.smax), limit, total]
}

fn frontend_row(f: &FrontendStatus) -> Row {
    let mut cells = vec![none(), none(), none()];
    cells.extend(traffic(&f.traffic, num(f.slim.into()), &f.http));
    cells.extend([none(), none(), cell(bytes(f.traffic.bin)), cell(bytes(f.traffic.bout))]);
    cells.extend([num(f.dreq), num(0), num(f.ereq), none(), none(), none(), none()]);
    cells.push(cell(if f.open { "OPEN" } else { "STOP" }));
    cells.extend((0..8).map(|_| none()));
    Row {
        name: "Frontend".to_owned(),
        is_server: false,
        class: if f.open { "s-frontend" } else { "s-down" },
        cells,
    }
}

fn last(seconds: Option<u64>) -> Cell {
    cell(seconds.map_or("?".to_owned(), |s| span(s.saturating_mul(1000))))
}

fn server_row(s: &ServerStatus) -> Row {
    let limit = |n: u32| if n == 0 { cell("-") } else { num(n.into()) };
    let mut cells = vec![num(s.queue.qcur), num(s.queue.qmax), limit(s.maxqueue)];
    cells.extend(traffic(&s.traffic, limit(s.maxconn), &s.http));
    cells.extend([num(s.lbtot), last(s.lastsess)]);
    cells.extend([cell(bytes(s.traffic.bin)), cell(bytes(s.traffic.bout))]);
    cells.extend([none(), num(0), none(), num(s.econ), num(s.eresp), num(s.wretr), num(s.wredis)]);
    let since = span(s.lastchg.saturating_mul(1000));
    cells.push(cell(format!("{since} {}", s.status_word())));
    let took = s.check.check_duration.map(|d| format!(" in {d}ms")).unwrap_or_default();
    let code = s.check.check_code.map(|c| format!("/{c}")).unwrap_or_default();
    cells.push(Cell {
        text: format!("{}{code}{took}", s.check.check_status),
        title: match &s.agent {
            Some(agent) => format!(
                "{}; agent: {} {}",
                s.check.last_chk, agent.check.check_status, agent.check.last_chk
            ),
            None => s.check.last_chk.clone(),
        },
    });
    let flag = |on: bool| cell(if on { "Y" } else { "-" });
    let weight = match u32::from(s.weight.get()) {
        same if same == s.effective_weight => same.to_string(),
        configured => format!("{}/{configured}", s.effective_weight),
    };
    cells.extend([cell(weight), flag(!s.backup), flag(s.backup)]);
    cells.extend([num(s.check.chkfail), num(s.check.chkdown)]);
    cells.extend([cell(span(s.downtime.saturating_mul(1000))), cell("-")]);
    Row { name: s.name.to_string(), is_server: true, class: class(s), cells }
}

/// HAProxy's colours: green, yellow, orange, red, and so on.
fn class(s: &ServerStatus) -> &'static str {
    let word = s.status_word();
    match (s.wanted(), s.health) {
        (ServerState::Maint, _) => "s-maint",
        (_, Health::Down) if word != "DOWN" => "s-going-up",
        (_, Health::Down) => "s-down",
        (ServerState::Drain, _) | (_, Health::Stopping) => "s-drain",
        (ServerState::Ready, _) if s.weight.get() == 0 => "s-drain",
        (ServerState::Ready, Health::Unchecked) => "s-nocheck",
        (ServerState::Ready, Health::Up) if word != "UP" => "s-going-down",
        (ServerState::Ready, Health::Up) if s.backup => "s-backup",
        (ServerState::Ready, Health::Up) => "s-up",
    }
}

fn backend_row(b: &BackendStatus) -> Row {
    let sum = |f: fn(&ServerStatus) -> u64| b.servers.iter().map(f).sum::<u64>();
    let usable = |backup: bool| {
        b.servers.iter().filter(|s| s.usable() && s.backup == backup).count().to_string()
    };
    let up = b.servers.iter().any(ServerStatus::usable);
    let waiting = b.queue.qcur + sum(|s| s.queue.qcur);
    let mut cells = vec![num(waiting), num(b.queue.qmax), none()];
    cells.extend(traffic(&b.traffic, none(), &b.http));
    cells.extend([
        num(sum(|s| s.lbtot)),
        last(b.servers.iter().filter_map(|s| s.lastsess).min()),
        cell(bytes(b.traffic.bin)),
        cell(bytes(b.traffic.bout)),
        num(0),
        num(0),
        none(),
        num(b.econ + sum(|s| s.econ)),
        num(sum(|s| s.eresp)),
        num(sum(|s| s.wretr)),
        num(sum(|s| s.wredis)),
        cell(format!(
            "{} {}",
            span(b.lastchg.saturating_mul(1000)),
            if up { "UP" } else { "DOWN" }
        )),
        none(),
        num(stats_csv::total_weight(b)),
        cell(usable(false)),
        cell(usable(true)),
        none(),
        num(b.chkdown),
        cell(span(b.downtime.saturating_mul(1000))),
        none(),
    ]);
    Row {
        name: "Backend".to_owned(),
        is_server: false,
        class: if up { "s-backend" } else { "s-down" },
        cells,
    }
}

/// Prometheus.
pub(crate) async fn metrics(
    State(app): State<crate::app::App>,
    visitor: Option<Extension<crate::gate::Visitor>>,
) -> Response {
    if visitor.is_none() {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let text = crate::metrics::metrics(&app.snapshot(), &app.ports.board.nodes());
    let head = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (head, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_in_every_shape() {
        let read = |u: &str| Options::read(&u.parse().unwrap());
        assert_eq!(read("/stats"), Options::default());
        let csv = Options { format: Format::Csv, ..Options::default() };
        for u in [
            "/stats;csv;norefresh",
            "/stats?;csv;norefresh",
            "/stats;norefresh?csv",
            "/stats?csv&norefresh",
        ] {
            assert_eq!(read(u), csv, "{u}");
        }
        let o = read("/stats;up;no-maint;scope=web;junk;st=DONE");
        assert!(
            o.up && o.no_maint && o.scope.as_deref() == Some("web") && o.format == Format::Html
        );
    }

    #[test]
    fn a_row_has_a_cell_for_every_column() {
        let snapshot = control::Snapshot::new(
            model::Revision(1),
            crate::demo::settings(),
            &"lbmaster".parse().unwrap(),
        );
        let proxy = crate::demo::status(&snapshot, snapshot.node()).proxy.unwrap();
        for table in tables(&proxy) {
            for row in table.rows {
                assert_eq!(row.cells.len(), 30, "{}", row.name);
            }
        }
    }
}
