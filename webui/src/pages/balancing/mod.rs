//! Frontends, backends and servers.

pub(crate) mod backends;
pub(crate) mod certificates;
pub(crate) mod frontends;
pub(crate) mod servers;

use super::{Ctx, Shell, page_with};
use crate::app::App;
use crate::error::PageResult;
use crate::live::Part;
use crate::view::charts::{self, Chart};
use crate::view::{ClusterView, ServerView, fewer_visitors, name_of};
use crate::words::number;
use askama::Template;
use control::Snapshot;
use http::StatusCode;
use model::status::NodeReport;

struct FrontendRow {
    name: String,
    enabled: bool,
    bind: String,
    backend: String,
    charts: String,
    paths: String,
}

struct ServerCard {
    name: String,
    /// What changes by itself, drawn apart so that a page can have it pushed.
    live: String,
    chart: String,
    state: &'static str,
    weight: String,
    error: String,
}

struct BackendCard {
    name: String,
    balance: &'static str,
    check: String,
    charts: String,
    servers: Vec<ServerCard>,
}

#[derive(Template)]
#[template(path = "balancing.html")]
struct Balancing {
    shell: Shell,
    by: String,
    /// What the nodes cannot do that the settings want.
    warnings: Vec<String>,
    frontends: Vec<FrontendRow>,
    backends: Vec<BackendCard>,
    log: Vec<String>,
}

#[derive(Template)]
#[template(path = "part_server.html")]
struct ServerPart<'a> {
    s: &'a ServerView,
}

fn by(v: &ClusterView) -> String {
    match &v.servers_by {
        Some(node) => format!("States and figures as {node} sees them."),
        None => "No load balancer has reported yet, so states are unknown.".to_owned(),
    }
}

/// Balancers that take fewer visitors at once than they should.
fn warnings(snapshot: &Snapshot, reports: &[NodeReport]) -> Vec<String> {
    let warning = |r: &NodeReport| {
        let (most, wanted) = fewer_visitors(&snapshot.settings, &r.status)?;
        Some(format!(
            "{} takes {} visitors at once instead of {}: its limit of open files allows no more. \
             What to do is on its page of diagnostics.",
            name_of(snapshot, &r.status.id),
            number(most),
            number(wanted)
        ))
    };
    reports.iter().filter_map(warning).collect()
}

/// A chart of the last minutes and one of the last hours.
#[derive(Template)]
#[template(path = "part_charts.html")]
struct ChartsPart {
    minutes: Chart,
    hours: Chart,
}

#[derive(Template)]
#[template(path = "part_paths.html")]
struct PathsPart {
    top: Vec<(String, String, String)>,
    other: String,
}

/// The charts and paths of this node, each with the id of its place on the page.
fn charts(app: &App) -> Result<Vec<Part>, askama::Error> {
    let mut parts = Vec::new();
    for series in app.ports.access_log.charts() {
        // A server's is on its card, so short that the hours have no place there.
        if let Some(server) = &series.server {
            let svg = charts::minutes(&series).svg;
            parts.push(Part::new(format!("c-{}-{server}", series.proxy), svg));
            continue;
        }
        let kind = if series.frontend { "cf" } else { "cb" };
        let drawn = ChartsPart { minutes: charts::minutes(&series), hours: charts::hours(&series) };
        parts.push(Part::new(format!("{kind}-{}", series.proxy), drawn.render()?));
    }
    for paths in app.ports.access_log.paths().into_iter().filter(|p| !p.top.is_empty()) {
        let row = |p: model::charts::PathCount| (p.path, number(p.requests), number(p.errors));
        let top = paths.top.into_iter().map(row).collect();
        let drawn = PathsPart { top, other: number(paths.other) };
        parts.push(Part::new(format!("p-{}", paths.frontend), drawn.render()?));
    }
    Ok(parts)
}

pub(crate) fn parts(
    app: &App,
    snapshot: &Snapshot,
    reports: &[NodeReport],
) -> Result<Vec<Part>, askama::Error> {
    let v = ClusterView::new(snapshot, reports);
    let mut parts = vec![Part::new("b-by", by(&v))];
    parts.extend(charts(app)?);
    for b in &v.backends {
        for s in &b.servers {
            let html = ServerPart { s }.render()?;
            parts.push(Part::new(format!("s-{}-{}", b.name, s.name), html));
        }
    }
    Ok(parts)
}

/// A weight that could not be set: of which server, what was typed, and what is wrong.
pub(crate) struct Refused {
    backend: String,
    server: String,
    typed: String,
    error: String,
}

pub(crate) async fn show(ctx: Ctx) -> PageResult {
    show_with(&ctx, StatusCode::OK, None)
}

fn show_with(ctx: &Ctx, status: StatusCode, refused: Option<Refused>) -> PageResult {
    let v = ctx.cluster();
    let snapshot = ctx.snapshot();
    let drawn = charts(&ctx.app)?;
    let part =
        |id: String| drawn.iter().find(|p| p.id == id).map(|p| p.html.clone()).unwrap_or_default();
    let mut backends = Vec::new();
    for b in &v.backends {
        let mut servers = Vec::new();
        for s in &b.servers {
            let refused = refused.as_ref().filter(|r| r.backend == b.name && r.server == s.name);
            servers.push(ServerCard {
                name: s.name.clone(),
                live: ServerPart { s }.render()?,
                chart: part(format!("c-{}-{}", b.name, s.name)),
                state: s.state,
                weight: refused.map_or_else(|| s.weight.to_string(), |r| r.typed.clone()),
                error: refused.map(|r| r.error.clone()).unwrap_or_default(),
            });
        }
        let check = b.check.clone();
        let charts = part(format!("cb-{}", b.name));
        let name = b.name.clone();
        backends.push(BackendCard { name, balance: b.balance, check, charts, servers });
    }
    let frontends = snapshot.settings.completed().frontends;
    let frontends = frontends.iter().map(|f| FrontendRow {
        name: f.name.to_string(),
        enabled: f.enabled,
        bind: f.bind.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        backend: f.default_backend.to_string(),
        charts: part(format!("cf-{}", f.name)),
        paths: part(format!("p-{}", f.name)),
    });
    let mut log = ctx.app.ports.access_log.recent();
    log.reverse();
    log.truncate(200);
    let shell = ctx.shell("Balancing", "balancing");
    let warnings = warnings(&snapshot, &ctx.app.ports.board.nodes());
    let page =
        Balancing { shell, by: by(&v), warnings, frontends: frontends.collect(), backends, log };
    page_with(status, &page)
}
