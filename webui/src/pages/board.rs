//! The board under this node: how it feels, and the buttons that stop it.

use super::{Ctx, Flash, Shell, page};
use crate::app::App;
use crate::error::{Failure, PageResult};
use crate::live::Part;
use crate::ports::System;
use crate::update::NO_BOARD;
use crate::view::Tone;
use crate::view::board::{Group, groups};
use askama::Template;
use axum::response::Response;
use http::StatusCode;
use model::audit::Deed;
use model::status::{NodeReport, VrrpState};
use std::sync::Arc;
use std::time::Duration;

/// The green LED blinks so long.
const BLINK_SECONDS: u16 = 20;
/// An order that is refused is refused so soon; one that is not may never be answered.
const PROMPT: Duration = Duration::from_millis(700);

#[derive(Template)]
#[template(path = "board.html")]
struct BoardPage {
    shell: Shell,
    parts: Vec<Part>,
    buttons: bool,
}

#[derive(Template)]
#[template(path = "part_board.html")]
struct BoardPart {
    groups: Vec<Group>,
}

#[derive(Template)]
#[template(path = "board_confirm.html")]
struct ConfirmPage {
    shell: Shell,
    order: Order,
    costs: Vec<String>,
}

/// While the board is away.
#[derive(Template)]
#[template(path = "waiting.html")]
pub(crate) struct Waiting {
    pub(crate) title: &'static str,
    pub(crate) text: &'static str,
    /// This run of the process; the page goes on once another answers.
    pub(crate) run: String,
    /// Where to; empty when nothing comes back.
    pub(crate) then: &'static str,
}

/// The parts that are pushed to open pages.
pub(crate) fn parts(reports: &[NodeReport]) -> Result<Vec<Part>, askama::Error> {
    let groups = reports.first().map(|r| groups(&r.status)).unwrap_or_default();
    Ok(vec![Part::new("board", BoardPart { groups }.render()?)])
}

pub(crate) async fn show(ctx: Ctx) -> PageResult {
    let parts = parts(&ctx.app.ports.board.nodes())?;
    let mut shell = ctx.shell("This board", "more");
    if !ctx.query.first("blinks").is_empty() {
        let text = format!("The green LED blinks for {BLINK_SECONDS} seconds.");
        shell.flash = Some(Flash { tone: Tone::Good, text });
    }
    page(&BoardPage { shell, parts, buttons: ctx.app.ports.system.is_some() })
}

/// What stops the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Reboot,
    PowerOff,
    Reset,
}

impl Order {
    const fn path(self) -> &'static str {
        match self {
            Self::Reboot => "/board/reboot",
            Self::PowerOff => "/board/poweroff",
            Self::Reset => "/board/reset",
        }
    }

    const fn question(self) -> &'static str {
        match self {
            Self::Reboot => "Restart this board?",
            Self::PowerOff => "Switch this board off?",
            Self::Reset => "Make this board forget everything?",
        }
    }

    const fn verb(self) -> &'static str {
        match self {
            Self::Reboot => "Restart",
            Self::PowerOff => "Switch off",
            Self::Reset => "Forget everything",
        }
    }

    const fn deed(self) -> Deed {
        match self {
            Self::Reboot => Deed::Reboot,
            Self::PowerOff => Deed::PowerOff,
            Self::Reset => Deed::FactoryReset,
        }
    }

    fn waiting(self, app: &App) -> Waiting {
        let (title, text, then) = match self {
            Self::Reboot => (
                "Restarting",
                "Everything is stopped in order, then the board starts again. This takes well \
                 under a minute.",
                "/board",
            ),
            Self::PowerOff => (
                "Switching off",
                "Everything is stopped in order. Pull the plug once the green LED has stopped \
                 blinking. The board starts again when it gets power again.",
                "",
            ),
            Self::Reset => (
                "Forgetting everything",
                "The board starts again as a new one: without settings, password and sites. If \
                 it was on a Wi-Fi network, look for its setup network.",
                "/claim",
            ),
        };
        Waiting { title, text, run: app.run_id(), then }
    }
}

/// What it costs to have this board away, worst first.
fn costs(ctx: &Ctx, order: Order) -> Vec<String> {
    let snapshot = ctx.snapshot();
    let cluster = ctx.cluster();
    let own = ctx.app.ports.board.own();
    let mut costs = Vec::new();
    if order == Order::Reset {
        costs.push(
            "Settings, history, password and the files of the sites on this board are deleted. \
             There is no way back. The firmware stays."
                .to_owned(),
        );
    }
    for v in own.vrrp.iter().filter(|v| v.state == VrrpState::Master) {
        let ips: Vec<String> = v.addresses.iter().map(|a| a.addr().to_string()).collect();
        let ips = ips.join(", ");
        let next = cluster.routers.iter().find(|r| r.name == v.name.as_str());
        costs.push(match next.and_then(|r| r.next.as_deref()) {
            Some(next) => format!(
                "This board holds the floating IP {ips}: it is handed over to {next} first, so \
                 visitors notice next to nothing."
            ),
            None => format!(
                "This board holds the floating IP {ips} and no other load balancer is ready to \
                 take over: visitors reach nothing until it is back."
            ),
        });
    }
    let own_id = snapshot.node();
    let mut others = snapshot.settings.with_role(model::Role::Web).filter(|n| n.id != *own_id);
    if snapshot.effective.is(model::Role::Web) {
        costs.push(if others.next().is_some() {
            "This board is a web server: the others serve its visitors meanwhile.".to_owned()
        } else {
            "This board is the only web server: the sites are gone until it is back.".to_owned()
        });
    }
    if costs.is_empty() {
        costs.push("It has no role that others depend on.".to_owned());
    }
    if order == Order::PowerOff {
        costs.push("To start it again somebody has to unplug it and plug it in again.".to_owned());
    }
    costs
}

fn ask(ctx: &Ctx, order: Order) -> PageResult {
    system(&ctx.app)?;
    if let Some(first) = prove(ctx, order) {
        return Ok(first);
    }
    let costs = costs(ctx, order);
    page(&ConfirmPage { shell: ctx.shell(order.verb(), "more"), order, costs })
}

fn system(app: &App) -> Result<Arc<dyn System>, Failure> {
    let none = || Failure::new(StatusCode::CONFLICT, "Not here", NO_BOARD);
    app.ports.system.clone().ok_or_else(none)
}

/// Gives the order and writes that down; Ok when it was not refused.
pub(crate) async fn give(ctx: &Ctx, order: Order) -> Result<(), Failure> {
    let system = system(&ctx.app)?;
    // Before it is given: afterwards there may be nobody left to write.
    ctx.note(order.deed(), "").await;
    let result = obeyed(system, order).await;
    if result.is_err() {
        ctx.tried(order.deed(), "", &result).await;
    }
    result
}

async fn obeyed(system: Arc<dyn System>, order: Order) -> Result<(), Failure> {
    // On its own: the answer to the browser may be the last thing this process does.
    let done = tokio::spawn(async move {
        match order {
            Order::Reboot => system.reboot().await,
            Order::PowerOff => system.power_off().await,
            Order::Reset => system.factory_reset().await,
        }
    });
    match tokio::time::timeout(PROMPT, done).await {
        Ok(Ok(Err(why))) => {
            Err(Failure::new(StatusCode::CONFLICT, "Refused", crate::words::sentence(&why)))
        }
        Ok(Err(failed)) => Err(Failure::inside(failed.to_string())),
        Ok(Ok(Ok(()))) | Err(_) => Ok(()),
    }
}

/// What cannot be taken back asks for the password.
fn prove(ctx: &Ctx, order: Order) -> Option<Response> {
    if order == Order::Reset { super::again::ask(ctx, order.path()) } else { None }
}

pub(crate) async fn obey(ctx: &Ctx, order: Order) -> PageResult {
    if let Some(first) = prove(ctx, order) {
        return Ok(first);
    }
    give(ctx, order).await?;
    tracing::info!(from = %ctx.visitor.address, "{} was asked for on the page", order.verb());
    let mut answer = page(&order.waiting(&ctx.app))?;
    *answer.status_mut() = StatusCode::ACCEPTED;
    Ok(answer)
}

pub(crate) async fn ask_reboot(ctx: Ctx) -> PageResult {
    ask(&ctx, Order::Reboot)
}

pub(crate) async fn reboot(ctx: Ctx) -> PageResult {
    obey(&ctx, Order::Reboot).await
}

pub(crate) async fn ask_power_off(ctx: Ctx) -> PageResult {
    ask(&ctx, Order::PowerOff)
}

pub(crate) async fn power_off(ctx: Ctx) -> PageResult {
    obey(&ctx, Order::PowerOff).await
}

pub(crate) async fn ask_reset(ctx: Ctx) -> PageResult {
    ask(&ctx, Order::Reset)
}

pub(crate) async fn reset(ctx: Ctx) -> PageResult {
    obey(&ctx, Order::Reset).await
}

pub(crate) async fn blink(ctx: Ctx) -> PageResult {
    let blinked = system(&ctx.app)?.blink(BLINK_SECONDS).await;
    ctx.note(Deed::Blink, "").await;
    match blinked {
        Ok(()) => Ok(super::see("/board?blinks=1")),
        Err(why) => {
            Err(Failure::new(StatusCode::CONFLICT, "No light", crate::words::sentence(&why)))
        }
    }
}
