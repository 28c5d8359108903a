//! Who holds the floating IP, how every node is, how many servers are up.

use super::{Ctx, Shell, page};
use crate::app::App;
use crate::error::PageResult;
use crate::live::Part;
use crate::view::{ClusterView, Tone, reporting_balancer};
use askama::Template;
use control::Snapshot;
use model::status::{NodeReport, SetupStatus};

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    shell: Shell,
    parts: Vec<Part>,
}

#[derive(Template)]
#[template(path = "part_verdict.html")]
struct VerdictPart<'a> {
    v: &'a ClusterView,
}

#[derive(Template)]
#[template(path = "part_tiles.html")]
struct TilesPart<'a> {
    v: &'a ClusterView,
    servers: (usize, usize),
    servers_tone: Tone,
    nodes: (usize, usize),
    nodes_tone: Tone,
    /// Requests a second, and connections.
    rate: Option<(u64, u64)>,
}

#[derive(Template)]
#[template(path = "part_nodes.html")]
struct NodesPart<'a> {
    v: &'a ClusterView,
}

#[derive(Template)]
#[template(path = "part_setup.html")]
struct SetupPart {
    setup: Option<SetupStatus>,
    stations: String,
}

/// The parts that are pushed to open pages.
pub(crate) fn parts(
    app: &App,
    snapshot: &Snapshot,
    reports: &[NodeReport],
) -> Result<Vec<Part>, askama::Error> {
    let v = &ClusterView::new(snapshot, reports);
    let servers = v.servers_up();
    let nodes = v.nodes_reachable();
    let proxy = reporting_balancer(reports).and_then(|r| r.status.proxy.as_ref());
    let rate = proxy.map(|p| (p.frontends.iter().map(|f| f.req_rate).sum(), p.curr_conns));
    let tone = |(good, all): (usize, usize)| match (good, all) {
        (_, 0) => Tone::Quiet,
        (0, _) => Tone::Bad,
        _ if good < all => Tone::Warn,
        _ => Tone::Good,
    };
    let meant = v.backends.iter().flat_map(|b| &b.servers).all(|s| s.tone <= Tone::Quiet);
    let servers_tone = match tone(servers) {
        _ if v.servers_by.is_none() => Tone::Quiet,
        // Drained or in maintenance because somebody wanted it so.
        Tone::Warn if meant => Tone::Info,
        tone => tone,
    };
    let tiles = TilesPart { v, servers, servers_tone, nodes, nodes_tone: tone(nodes), rate };
    let setup = reports.first().and_then(|r| r.status.system.setup.clone());
    let phones = setup.as_ref().map_or(0, |s| usize::try_from(s.stations).unwrap_or(0));
    let setup = SetupPart { setup, stations: crate::words::count(phones, "phone") };
    Ok(vec![
        Part::new("verdict", VerdictPart { v }.render()?),
        Part::new("trials", super::network::part(snapshot, reports)?),
        Part::new("conflicts", super::conflicts::hint(app)?),
        Part::new("setup", setup.render()?),
        Part::new("found-hint", super::found::hint(app, snapshot)?),
        Part::new("tiles", tiles.render()?),
        Part::new("nodes", NodesPart { v }.render()?),
    ])
}

pub(crate) async fn show(ctx: Ctx) -> PageResult {
    let parts = parts(&ctx.app, &ctx.snapshot(), &ctx.app.ports.board.nodes())?;
    page(&Overview { shell: ctx.shell("Overview", "overview"), parts })
}
