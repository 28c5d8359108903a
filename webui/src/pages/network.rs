//! Changes of the network that are tried out: how much time is left, and the word to keep one.

use super::{Ctx, Flash, Shell, page_with, see};
use crate::error::{Failure, PageResult};
use crate::live::Part;
use crate::view::Tone;
use crate::view::trials::{TrialView, views};
use askama::Template;
use control::Snapshot;
use http::StatusCode;
use model::status::NodeReport;

#[derive(Template)]
#[template(path = "network.html")]
struct NetworkPage {
    shell: Shell,
    parts: Vec<Part>,
}

#[derive(Template)]
#[template(path = "part_trials.html")]
struct TrialsPart {
    trials: Vec<TrialView>,
}

/// What is tried at this moment, for pages that follow along. Its button needs the form `keep`.
pub(crate) fn part(snapshot: &Snapshot, reports: &[NodeReport]) -> Result<String, askama::Error> {
    TrialsPart { trials: views(snapshot, reports) }.render()
}

pub(crate) fn parts(
    snapshot: &Snapshot,
    reports: &[NodeReport],
) -> Result<Vec<Part>, askama::Error> {
    Ok(vec![Part::new("trials", part(snapshot, reports)?)])
}

fn network_page(ctx: &Ctx, status: StatusCode, flash: Option<Flash>) -> PageResult {
    let parts = parts(&ctx.snapshot(), &ctx.app.ports.board.nodes())?;
    let mut shell = ctx.shell("Network", "nodes");
    shell.flash = flash.or(shell.flash);
    page_with(status, &NetworkPage { shell, parts })
}

pub(crate) async fn show(ctx: Ctx) -> PageResult {
    let kept = (!ctx.query.first("kept").is_empty())
        .then(|| Flash { tone: Tone::Good, text: "The new address is kept.".to_owned() });
    network_page(&ctx, StatusCode::OK, kept)
}

/// The operator got through: what is tried may stay.
pub(crate) async fn keep(ctx: Ctx) -> PageResult {
    let none = || Failure::new(StatusCode::CONFLICT, "Not here", "Nothing is tried out here.");
    let trials = ctx.app.ports.trials.clone().ok_or_else(none)?;
    match trials.keep(ctx.through) {
        Ok(()) => {
            tracing::info!(from = %ctx.visitor.address, "the new address is kept by the operator");
            Ok(see("/network?kept=1"))
        }
        Err(why) => {
            let flash = Flash { tone: Tone::Warn, text: crate::words::sentence(&why) };
            network_page(&ctx, StatusCode::CONFLICT, Some(flash))
        }
    }
}
