//! One node: how it is, wherever this page is open, and what can be done with it.

use super::{Ctx, Flash, Shell, done, named, page, page_with, see};
use crate::app::App;
use crate::error::{Failure, PageResult};
use crate::view::actions::{self, ActionView};
use crate::view::board::{Group, groups};
use crate::view::{ClusterView, NodeView, Tone};
use crate::words::{sentence, span};
use askama::Template;
use axum::extract::Path;
use control::{Change, Snapshot};
use http::StatusCode;
use model::action::{Action, Reply};
use model::audit::Deed;
use model::status::NodeReport;
use model::{Edit, Name, Node, NodeId, ServerState};

const BLINK_SECONDS: u16 = 20;
/// Lines of another node's log.
const LINES: u32 = 300;

#[derive(Template)]
#[template(path = "node.html")]
struct NodePage {
    shell: Shell,
    id: String,
    part: String,
    actions: Vec<ActionView>,
}

#[derive(Template)]
#[template(path = "part_node.html")]
struct NodePart<'a> {
    n: &'a NodeView,
    groups: Vec<Group>,
    /// How long it has not been heard of, where that is a while.
    seen: Option<String>,
    servers: Vec<(String, &'static str, Tone)>,
}

#[derive(Template)]
#[template(path = "node_confirm.html")]
struct NodeConfirm {
    shell: Shell,
    id: String,
    question: String,
    costs: Vec<String>,
    path: String,
    verb: &'static str,
    /// What is typed where nobody can hold a button.
    name: String,
    base: String,
    wrong: bool,
}

#[derive(Template)]
#[template(path = "node_log.html")]
struct NodeLog {
    shell: Shell,
    id: String,
    name: String,
    lines: Vec<String>,
    problem: Option<String>,
}

fn find(snapshot: &Snapshot, id: &str) -> Result<Node, Failure> {
    let id: NodeId = named(id)?;
    let node = snapshot.settings.node(&id).cloned();
    node.ok_or_else(|| Failure::not_found("There is no such node any more."))
}

/// A report that a node made of itself, old or new.
fn report<'a>(reports: &'a [NodeReport], id: &NodeId) -> Option<&'a NodeReport> {
    reports.iter().find(|r| r.status.id == *id)
}

/// Is there a board of ours under this node?
fn has_board(app: &App, snapshot: &Snapshot, report: Option<&NodeReport>, id: &NodeId) -> bool {
    if id == snapshot.node() {
        return app.ports.system.is_some();
    }
    report.is_some_and(|r| r.status.system.firmware.is_some())
}

fn draw(
    snapshot: &Snapshot,
    cluster: &ClusterView,
    id: &NodeId,
    report: Option<&NodeReport>,
) -> Result<String, Failure> {
    let n = cluster.nodes.iter().find(|n| n.id == id.as_str());
    let n = n.ok_or_else(|| Failure::not_found("There is no such node any more."))?;
    let servers = cluster.backends.iter().flat_map(|b| {
        let own = actions::servers(snapshot, id);
        let is_own = move |s: &&crate::view::ServerView| {
            own.iter()
                .any(|(backend, name, _)| backend.as_str() == b.name && name.as_str() == s.name)
        };
        b.servers.iter().filter(is_own).map(|s| {
            let word = if s.usable { "takes visitors" } else { "takes none" };
            (format!("{}/{}: {}", b.name, s.name, s.word), word, s.tone)
        })
    });
    let part = NodePart {
        n,
        groups: report.map(|r| groups(&r.status)).unwrap_or_default(),
        seen: report.filter(|r| !r.reachable).map(|r| span(r.age_ms)),
        servers: servers.collect(),
    };
    Ok(part.render()?)
}

fn node_page(ctx: &Ctx, id: &str, status: StatusCode, flash: Option<Flash>) -> PageResult {
    let snapshot = ctx.snapshot();
    let node = find(&snapshot, id)?;
    let reports = ctx.app.ports.board.nodes();
    let cluster = ClusterView::new(&snapshot, &reports);
    let said = report(&reports, &node.id);
    let board = has_board(&ctx.app, &snapshot, said, &node.id);
    let mut shell = ctx.shell(node.name.as_str(), "nodes");
    shell.flash = flash.or(shell.flash);
    let page = NodePage {
        shell,
        part: draw(&snapshot, &cluster, &node.id, said)?,
        actions: actions::views(&snapshot, &cluster, &node, said, board),
        id: node.id.to_string(),
    };
    page_with(status, &page)
}

pub(crate) async fn show(ctx: Ctx, Path(id): Path<String>) -> PageResult {
    let said = match ctx.query.first("done") {
        "blink" => Some("Its green LED flashes now."),
        "reboot" => Some("It restarts. It is away for well under a minute."),
        "poweroff" => Some("It switches off. Pull the plug once its green LED has stopped."),
        "failover" => Some("The floating IP was handed over."),
        _ => None,
    };
    let flash = said.map(|text| Flash { tone: Tone::Good, text: text.to_owned() });
    node_page(&ctx, &id, StatusCode::OK, flash)
}

/// The changing part alone, for the open page to ask for again and again.
pub(crate) async fn state(ctx: Ctx, Path(id): Path<String>) -> PageResult {
    let snapshot = ctx.snapshot();
    let node = find(&snapshot, &id)?;
    let reports = ctx.app.ports.board.nodes();
    let cluster = ClusterView::new(&snapshot, &reports);
    let part = draw(&snapshot, &cluster, &node.id, report(&reports, &node.id))?;
    Ok(axum::response::IntoResponse::into_response(axum::response::Html(part)))
}

/// Sets every server that stands for the node, as one change.
async fn set_servers(ctx: Ctx, id: &str, state: ServerState) -> PageResult {
    let snapshot = ctx.snapshot();
    let node = find(&snapshot, id)?;
    let servers = actions::servers(&snapshot, &node.id).into_iter();
    let edits: Vec<Edit> = servers
        .map(|(backend, server, _)| Edit::SetServer {
            backend,
            server,
            weight: None,
            state: Some(state),
            health: None,
            agent: None,
        })
        .collect();
    if edits.is_empty() {
        let text = "No server stands for this node.".to_owned();
        let flash = Flash { tone: Tone::Warn, text };
        return node_page(&ctx, id, StatusCode::CONFLICT, Some(flash));
    }
    // Means the same on any revision.
    let change = Change { base: None, author: ctx.visitor.author(), edits };
    Ok(done(ctx.app.ports.control.submit(change).await?, &format!("/nodes/{id}")))
}

pub(crate) async fn drain(ctx: Ctx, Path(id): Path<String>) -> PageResult {
    set_servers(ctx, &id, ServerState::Drain).await
}

pub(crate) async fn ready(ctx: Ctx, Path(id): Path<String>) -> PageResult {
    set_servers(ctx, &id, ServerState::Ready).await
}

/// Has it done there, or here where the node is this one.
async fn act(ctx: &Ctx, node: &Node, action: Action) -> Result<Reply, String> {
    let app = &ctx.app;
    if node.id != *app.snapshot().node() {
        let author = ctx.visitor.address.to_string();
        return app.ports.remote.ask(&node.id, &author, action).await;
    }
    let system = || app.ports.system.clone().ok_or_else(|| crate::update::NO_BOARD.to_owned());
    match action {
        Action::Blink { seconds } => system()?.blink(seconds).await.map(|()| Reply::Done),
        Action::Logs { .. } => Ok(Reply::Lines(app.ports.journal.recent())),
        _ => Err("this node does that on its own page".to_owned()),
    }
}

pub(crate) async fn blink(ctx: Ctx, Path(id): Path<String>) -> PageResult {
    let node = find(&ctx.snapshot(), &id)?;
    let result = act(&ctx, &node, Action::Blink { seconds: BLINK_SECONDS }).await;
    let result =
        result.map_err(|why| Failure::new(StatusCode::CONFLICT, "No light", sentence(&why)));
    ctx.tried(Deed::Blink, node.name.to_string(), &result).await;
    match result {
        Ok(_) => Ok(see(&format!("/nodes/{id}?done=blink"))),
        Err(failure) => refused(&ctx, &id, &failure),
    }
}

fn refused(ctx: &Ctx, id: &str, failure: &Failure) -> PageResult {
    let flash = Flash { tone: Tone::Warn, text: failure.text().to_owned() };
    node_page(ctx, id, failure.status(), Some(flash))
}

pub(crate) async fn log(ctx: Ctx, Path(id): Path<String>) -> PageResult {
    let node = find(&ctx.snapshot(), &id)?;
    let (lines, problem) = match act(&ctx, &node, Action::Logs { lines: LINES }).await {
        Ok(Reply::Lines(mut lines)) => {
            lines.reverse();
            (lines, None)
        }
        Ok(_) => (Vec::new(), Some("It gave an answer that makes no sense; is it older?".into())),
        Err(why) => (Vec::new(), Some(sentence(&why))),
    };
    let name = node.name.to_string();
    page(&NodeLog { shell: ctx.shell("Log", "nodes"), id, name, lines, problem })
}

/// What asks before it is done.
#[derive(Clone, Debug)]
enum Order {
    Reboot,
    PowerOff,
    Failover(Name),
    Remove,
}

impl Order {
    fn read(what: &str) -> Option<Self> {
        Some(match what {
            "reboot" => Self::Reboot,
            "poweroff" => Self::PowerOff,
            _ => return None,
        })
    }

    fn path(&self) -> String {
        match self {
            Self::Reboot => "do/reboot".to_owned(),
            Self::PowerOff => "do/poweroff".to_owned(),
            Self::Failover(name) => format!("failover/{name}"),
            Self::Remove => "remove".to_owned(),
        }
    }

    fn question(&self, name: &str) -> String {
        match self {
            Self::Reboot => format!("Restart {name}?"),
            Self::PowerOff => format!("Switch {name} off?"),
            Self::Failover(_) => format!("Take the floating IP from {name}?"),
            Self::Remove => format!("Remove {name} from the cluster?"),
        }
    }

    const fn verb(&self) -> &'static str {
        match self {
            Self::Reboot => "Restart",
            Self::PowerOff => "Switch off",
            Self::Failover(_) => "Hand over",
            Self::Remove => "Remove",
        }
    }
}

fn ask_page(ctx: &Ctx, node: &Node, order: &Order, wrong: bool) -> PageResult {
    let snapshot = ctx.snapshot();
    let reports = ctx.app.ports.board.nodes();
    let cluster = ClusterView::new(&snapshot, &reports);
    let mut costs = actions::costs(&snapshot, &cluster, node, report(&reports, &node.id));
    match order {
        Order::PowerOff => costs
            .push("To start it again somebody has to unplug it and plug it in again.".to_owned()),
        Order::Remove => {
            costs.push(
                "Its servers, its mirror and its part in failover go with it; the files on it stay \
                 there. It is not let in again unless it is adopted anew."
                    .to_owned(),
            );
            costs.push(
                "The keys of the cluster are changed, so that it can read no new secret.".into(),
            );
        }
        Order::Failover(_) => costs.truncate(1),
        Order::Reboot => {}
    }
    let status = if wrong { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let page = NodeConfirm {
        shell: ctx.shell(order.verb(), "nodes"),
        id: node.id.to_string(),
        question: order.question(node.name.as_str()),
        costs,
        path: format!("/nodes/{}/{}", node.id, order.path()),
        verb: order.verb(),
        name: node.name.to_string(),
        base: crate::forms::Base::of(&snapshot).to_string(),
        wrong,
    };
    page_with(status, &page)
}

/// The button was held, or the node's name typed.
fn meant(ctx: &Ctx, node: &Node) -> bool {
    let typed = ctx.form.first("confirm").trim();
    ctx.form.first("held") == "yes" || typed.eq_ignore_ascii_case(node.name.as_str())
}

pub(crate) async fn ask(ctx: Ctx, Path((id, what)): Path<(String, String)>) -> PageResult {
    let node = find(&ctx.snapshot(), &id)?;
    let nothing = || Failure::not_found("There is no such button.");
    ask_page(&ctx, &node, &Order::read(&what).ok_or_else(nothing)?, false)
}

pub(crate) async fn ask_failover(
    ctx: Ctx,
    Path((id, router)): Path<(String, String)>,
) -> PageResult {
    let node = find(&ctx.snapshot(), &id)?;
    ask_page(&ctx, &node, &Order::Failover(named(&router)?), false)
}

pub(crate) async fn failover(ctx: Ctx, Path((id, router)): Path<(String, String)>) -> PageResult {
    let node = find(&ctx.snapshot(), &id)?;
    let router: Name = named(&router)?;
    if !meant(&ctx, &node) {
        return ask_page(&ctx, &node, &Order::Failover(router), true);
    }
    match super::failover::hand_over(&ctx, &router).await {
        Ok(_) => Ok(see(&format!("/nodes/{id}?done=failover"))),
        Err(failure) if failure.status() == StatusCode::NOT_FOUND => Err(failure),
        Err(failure) => refused(&ctx, &id, &failure),
    }
}

pub(crate) async fn obey(ctx: Ctx, Path((id, what)): Path<(String, String)>) -> PageResult {
    let snapshot = ctx.snapshot();
    let node = find(&snapshot, &id)?;
    let nothing = || Failure::not_found("There is no such button.");
    let order = Order::read(&what).ok_or_else(nothing)?;
    if !meant(&ctx, &node) {
        return ask_page(&ctx, &node, &order, true);
    }
    let (action, deed) = match order {
        Order::Reboot => (Action::Reboot, Deed::Reboot),
        Order::PowerOff => (Action::PowerOff, Deed::PowerOff),
        _ => return Err(nothing()),
    };
    if node.id == *snapshot.node() {
        // The page goes with the board, and waits for it.
        let order = match order {
            Order::PowerOff => super::board::Order::PowerOff,
            _ => super::board::Order::Reboot,
        };
        return super::board::obey(&ctx, order).await;
    }
    let result = act(&ctx, &node, action).await;
    let result =
        result.map_err(|why| Failure::new(StatusCode::CONFLICT, "Refused", sentence(&why)));
    ctx.tried(deed, node.name.to_string(), &result).await;
    match result {
        Ok(_) => Ok(see(&format!("/nodes/{id}?done={what}"))),
        Err(failure) => refused(&ctx, &id, &failure),
    }
}

pub(crate) async fn ask_remove(ctx: Ctx, Path(id): Path<String>) -> PageResult {
    let node = find(&ctx.snapshot(), &id)?;
    if let Some(first) = super::again::ask(&ctx, &format!("/nodes/{id}/remove")) {
        return Ok(first);
    }
    ask_page(&ctx, &node, &Order::Remove, false)
}

pub(crate) async fn remove(ctx: Ctx, Path(id): Path<String>) -> PageResult {
    let node = find(&ctx.snapshot(), &id)?;
    if let Some(first) = super::again::ask(&ctx, &format!("/nodes/{id}/remove")) {
        return Ok(first);
    }
    if !meant(&ctx, &node) {
        return ask_page(&ctx, &node, &Order::Remove, true);
    }
    let base = ctx.base().await?;
    let edits = vec![Edit::RemoveNode(node.id.clone())];
    let change = Change { base, author: ctx.visitor.author(), edits };
    let outcome = ctx.app.ports.control.submit(change).await?;
    ctx.note(Deed::Removed, node.name.to_string()).await;
    Ok(done(outcome, "/nodes"))
}

/// Choosing the board that takes a node's place.
pub(crate) async fn replace(ctx: Ctx, Path(id): Path<String>) -> PageResult {
    let snapshot = ctx.snapshot();
    let node = find(&snapshot, &id)?;
    if node.id == *snapshot.node() {
        let text = "Open this page on another node to replace this one.".to_owned();
        let flash = Flash { tone: Tone::Warn, text };
        return node_page(&ctx, &id, StatusCode::CONFLICT, Some(flash));
    }
    Ok(see(&format!("/found?as={}", node.id)))
}
