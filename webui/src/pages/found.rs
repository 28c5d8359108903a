//! Boards in reach: adopting them, one or several at once, with the code to compare where it takes
//! one.

use super::{Ctx, Flash, Shell, named, page_with, see};
use crate::app::App;
use crate::error::{Failure, PageResult};
use crate::forms::Field;
use crate::live::Part;
use crate::ports::Adoption;
use crate::view::Tone;
use crate::view::found::FoundView;
use crate::words::count;
use askama::Template;
use control::Snapshot;
use http::StatusCode;
use model::audit::{Actor, Deed, Record};
use model::status::Offer;
use model::{DeviceId, NodeId};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

/// What is asked of a board is often answered so soon; the page then shows what came of it.
const PROMPT: Duration = Duration::from_millis(600);
/// An address nobody answers at is given up after so long.
const LOOK: Duration = Duration::from_secs(8);

#[derive(Template)]
#[template(path = "found.html")]
struct FoundPage {
    shell: Shell,
    parts: Vec<Part>,
    /// Right after claiming.
    welcome: bool,
    /// The node whose place a board is to take: its identity and its name.
    replaces: Option<(String, String)>,
    address: Field,
}

#[derive(Template)]
#[template(path = "part_found.html")]
struct FoundPart<'a> {
    v: &'a FoundView,
}

/// How the list is meant.
struct Purpose {
    welcome: bool,
    replaces: Option<(String, String)>,
}

impl Purpose {
    fn of(ctx: &Ctx) -> Self {
        let wanted: Option<NodeId> = asked(ctx, "as").parse().ok();
        let replaces = wanted.and_then(|id| {
            let node = ctx.snapshot().settings.node(&id)?.name.to_string();
            Some((id.to_string(), node))
        });
        Self { welcome: !asked(ctx, "welcome").is_empty(), replaces }
    }

    fn query(&self) -> String {
        match &self.replaces {
            Some((id, _)) => format!("?as={id}"),
            None if self.welcome => "?welcome=1".to_owned(),
            None => String::new(),
        }
    }
}

fn asked<'a>(ctx: &'a Ctx, name: &str) -> &'a str {
    let typed = ctx.form.first(name);
    if typed.is_empty() { ctx.query.first(name) } else { typed }
}

fn adoption(app: &App) -> Result<Arc<dyn Adoption>, Failure> {
    let none = || Failure::new(StatusCode::CONFLICT, "Not here", "This node looks for no boards.");
    app.ports.adoption.clone().ok_or_else(none)
}

/// What is known of the boards in reach.
pub(crate) fn view(app: &App) -> FoundView {
    match &app.ports.adoption {
        Some(adoption) => FoundView::new(&adoption.found(), &adoption.progress()),
        None => FoundView::default(),
    }
}

/// The parts that are pushed to open pages. They stand inside the page's only form.
pub(crate) fn parts(app: &App) -> Result<Vec<Part>, askama::Error> {
    Ok(vec![Part::new("found", FoundPart { v: &view(app) }.render()?)])
}

fn found_page(ctx: &Ctx, status: StatusCode, address: Field, flash: Option<Flash>) -> PageResult {
    let purpose = Purpose::of(ctx);
    let mut shell = ctx.shell("Found boards", "nodes");
    shell.flash = flash.or(shell.flash);
    let parts = parts(&ctx.app)?;
    let Purpose { welcome, replaces } = purpose;
    page_with(status, &FoundPage { shell, parts, welcome, replaces, address })
}

pub(crate) async fn show(ctx: Ctx) -> PageResult {
    let flash = (!ctx.query.first("blinks").is_empty()).then(|| {
        let text = "Its green LED flashes now. If another board flashes, it is the wrong one.";
        Flash { tone: Tone::Good, text: text.to_owned() }
    });
    found_page(&ctx, StatusCode::OK, Field::default(), flash)
}

/// Looks at an address no board was heard of from.
pub(crate) async fn look(ctx: Ctx) -> PageResult {
    let adoption = adoption(&ctx.app)?;
    let mut address = Field::default();
    address.set(ctx.form.first("address"));
    let Some(at) = address.read::<Ipv4Addr>() else {
        address.error = Some("Type an address such as 192.168.1.77.".to_owned());
        return found_page(&ctx, StatusCode::UNPROCESSABLE_ENTITY, address, None);
    };
    match tokio::time::timeout(LOOK, adoption.look_at(at)).await {
        Ok(Ok(_)) => Ok(see(&format!("/found{}", Purpose::of(&ctx).query()))),
        Ok(Err(why)) => {
            address.refuse(&why);
            found_page(&ctx, StatusCode::UNPROCESSABLE_ENTITY, address, None)
        }
        Err(_) => {
            address.refuse("nothing answered there; is it the board's address, and is it on?");
            found_page(&ctx, StatusCode::UNPROCESSABLE_ENTITY, address, None)
        }
    }
}

/// The board whose button was pressed.
fn device(ctx: &Ctx) -> Result<DeviceId, Failure> {
    named(ctx.form.first("this"))
}

/// Adopts the ticked boards.
pub(crate) async fn adopt(ctx: Ctx) -> PageResult {
    let adoption = adoption(&ctx.app)?;
    let purpose = Purpose::of(&ctx);
    let chosen = ctx.form.joined("device");
    let mut chosen: Vec<DeviceId> = chosen.lines().filter_map(|d| d.parse().ok()).collect();
    chosen.sort();
    chosen.dedup();
    let problem = match (chosen.len(), &purpose.replaces) {
        (0, _) => Some("Nothing was adopted: tick the boards you mean first."),
        (2.., Some(_)) => Some("Nothing was adopted: one board can take the place, not several."),
        _ => None,
    };
    if let Some(text) = problem {
        let flash = Flash { tone: Tone::Warn, text: text.to_owned() };
        return found_page(&ctx, StatusCode::UNPROCESSABLE_ENTITY, Field::default(), Some(flash));
    }
    let place: Option<NodeId> = purpose.replaces.as_ref().and_then(|(id, _)| id.parse().ok());
    tracing::info!(
        from = %ctx.visitor.address,
        "{} to be adopted: asked for on the page",
        count(chosen.len(), "board")
    );
    let begun: Vec<_> = chosen
        .into_iter()
        .map(|device| {
            let noted = Noted { app: ctx.app.clone(), actor: ctx.visitor.actor.clone() };
            tokio::spawn(bring_in(adoption.clone(), device, place.clone(), noted))
        })
        .collect();
    wait_a_little(begun).await;
    ctx.app.ports.board.touch();
    Ok(see(&format!("/found{}", purpose.query())))
}

/// Calls one board, and takes it in if its card speaks for it. What comes of it is in the
/// adoption's progress.
async fn bring_in(
    adoption: Arc<dyn Adoption>,
    device: DeviceId,
    place: Option<NodeId>,
    noted: Noted,
) {
    // An attempt that failed before is over.
    adoption.cancel(&device);
    match adoption.begin(&device, place.as_ref()).await {
        Ok(Offer::Trusted) => take_in(adoption, device, noted).await,
        Ok(Offer::Compare { .. }) => {}
        Err(why) => {
            tracing::warn!("board {device} was not adopted: {why}");
            noted.adopted(&device, Err(why)).await;
        }
    }
}

async fn take_in(adoption: Arc<dyn Adoption>, device: DeviceId, noted: Noted) {
    let result = adoption.confirm(&device).await;
    match &result {
        Ok(node) => tracing::info!("board {device} is node {node} now"),
        Err(why) => tracing::warn!("board {device} was not adopted: {why}"),
    }
    noted.adopted(&device, result).await;
}

/// Whoever asked for it, for the audit log: an adoption outlives the request.
struct Noted {
    app: App,
    actor: Actor,
}

impl Noted {
    async fn adopted(self, device: &DeviceId, result: Result<NodeId, String>) {
        let short: String = device.as_str().chars().take(16).collect();
        let object = match &result {
            Ok(node) => format!("board {short} as node {node}"),
            Err(_) => format!("board {short}"),
        };
        let record = Record::done(self.actor, Deed::Adopted, object).result(&result);
        crate::audit::note(&self.app, record).await;
    }
}

async fn wait_a_little(tasks: Vec<tokio::task::JoinHandle<()>>) {
    let all = async {
        for task in tasks {
            // One that failed has said so in the log.
            let _ = task.await;
        }
    };
    // They go on by themselves.
    let _ = tokio::time::timeout(PROMPT, all).await;
}

pub(crate) async fn confirm(ctx: Ctx) -> PageResult {
    let adoption = adoption(&ctx.app)?;
    let device = device(&ctx)?;
    tracing::info!(from = %ctx.visitor.address, "the code of board {device} was found the same");
    let noted = Noted { app: ctx.app.clone(), actor: ctx.visitor.actor.clone() };
    wait_a_little(vec![tokio::spawn(take_in(adoption, device, noted))]).await;
    ctx.app.ports.board.touch();
    Ok(see(&format!("/found{}", Purpose::of(&ctx).query())))
}

pub(crate) async fn cancel(ctx: Ctx) -> PageResult {
    adoption(&ctx.app)?.cancel(&device(&ctx)?);
    ctx.app.ports.board.touch();
    Ok(see(&format!("/found{}", Purpose::of(&ctx).query())))
}

pub(crate) async fn blink(ctx: Ctx) -> PageResult {
    let adoption = adoption(&ctx.app)?;
    let device = device(&ctx)?;
    let blinked = tokio::time::timeout(LOOK, adoption.blink(&device)).await;
    let query = Purpose::of(&ctx).query();
    let also = if query.is_empty() { "?" } else { "&" };
    match blinked {
        Ok(Ok(())) => Ok(see(&format!("/found{query}{also}blinks=1"))),
        Ok(Err(why)) => {
            let text = format!("No light: {why}");
            let flash = Flash { tone: Tone::Warn, text: crate::words::sentence(&text) };
            found_page(&ctx, StatusCode::CONFLICT, Field::default(), Some(flash))
        }
        Err(_) => {
            let text = "No light: the board does not answer.".to_owned();
            let flash = Flash { tone: Tone::Warn, text };
            found_page(&ctx, StatusCode::CONFLICT, Field::default(), Some(flash))
        }
    }
}

#[derive(Template)]
#[template(path = "part_found_hint.html")]
struct HintPart {
    waiting: usize,
    boards: String,
}

/// A word on boards that wait to be adopted, for other pages.
pub(crate) fn hint(app: &App, snapshot: &Snapshot) -> Result<String, askama::Error> {
    let v = view(app);
    // A cluster that is complete need not hear of every spare board in the house at each visit.
    let waiting = v.free.len();
    let few = snapshot.settings.nodes.len() < 2;
    let boards = count(waiting, "board");
    HintPart { waiting: if few || v.underway() > 0 { waiting } else { 0 }, boards }.render()
}
