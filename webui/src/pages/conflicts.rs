//! What two halves of a split cluster set differently, and settings that wait for a decision.

use super::{Ctx, Flash, Shell, done, page_with, see};
use crate::app::App;
use crate::error::{Failure, PageResult};
use crate::view::Tone;
use crate::view::conflicts::ConflictsView;
use crate::words::{count, sentence};
use askama::Template;
use control::{Choice, Outcome, Rejected, Snapshot};
use http::StatusCode;

#[derive(Template)]
#[template(path = "conflicts.html")]
struct ConflictsPage {
    shell: Shell,
    v: ConflictsView,
}

#[derive(Template)]
#[template(path = "part_conflicts.html")]
struct HintPart {
    lost: usize,
    edits: String,
    decision: bool,
}

/// A word on conflicts, for the overview.
pub(crate) fn hint(app: &App) -> Result<String, askama::Error> {
    let replication = app.ports.control.replication().borrow().clone();
    let lost = replication.lost.len();
    let edits = count(lost, "setting");
    HintPart { lost, edits, decision: replication.decision.is_some() }.render()
}

fn view(app: &App, snapshot: &Snapshot) -> ConflictsView {
    ConflictsView::new(snapshot, &app.ports.control.replication().borrow())
}

fn conflicts_page(ctx: &Ctx, status: StatusCode, flash: Option<Flash>) -> PageResult {
    let v = view(&ctx.app, &ctx.snapshot());
    let mut shell = ctx.shell("Conflicts", "history");
    shell.flash = flash.or(shell.flash);
    page_with(status, &ConflictsPage { shell, v })
}

pub(crate) async fn show(ctx: Ctx) -> PageResult {
    conflicts_page(&ctx, StatusCode::OK, None)
}

/// Back to the list, or home when it is empty; or the list with what was in the way.
fn after(ctx: &Ctx, outcome: Result<Outcome, Rejected>) -> PageResult {
    let warn = |text: String| Some(Flash { tone: Tone::Warn, text });
    match outcome {
        Ok(outcome) => {
            let empty = view(&ctx.app, &ctx.snapshot()).is_empty();
            match (outcome, empty) {
                (Outcome::Unchanged(_), true) => Ok(see("/")),
                (Outcome::Unchanged(_), false) => Ok(see("/conflicts")),
                (applied, true) => Ok(done(applied, "/")),
                (applied, false) => Ok(done(applied, "/conflicts")),
            }
        }
        Err(Rejected::Missing(_)) => {
            let text = "This was settled already, here or on another node.".to_owned();
            conflicts_page(ctx, StatusCode::CONFLICT, warn(text))
        }
        Err(Rejected::Problems(problems)) => {
            let list: Vec<_> = problems.iter().map(|p| sentence(&p.problem)).collect();
            let text = format!("Nothing was changed, it would be wrong: {}", list.join(" "));
            conflicts_page(ctx, StatusCode::UNPROCESSABLE_ENTITY, warn(text))
        }
        Err(other) => Err(other.into()),
    }
}

pub(crate) async fn resolve(ctx: Ctx) -> PageResult {
    let (key, change) = (ctx.form.first("key"), ctx.form.first("change"));
    let control = &ctx.app.ports.control;
    let lost = control.replication().borrow().lost.clone();
    let found = lost.iter().find(|l| l.key == key && l.change.to_string() == change);
    let Some(edit) = found else {
        let gone = Rejected::Missing(String::new());
        return after(&ctx, Err(gone));
    };
    let choice = match ctx.form.first("choice") {
        "keep" => Choice::Keep,
        "theirs" => Choice::Theirs(edit.change),
        _ => return Err(Failure::not_found("There is no such choice.")),
    };
    let outcome = control.resolve(key.to_owned(), choice, ctx.visitor.author()).await;
    after(&ctx, outcome)
}

pub(crate) async fn decide(ctx: Ctx) -> PageResult {
    // Without a key: everything that does not run is taken back.
    let key = Some(ctx.form.first("key")).filter(|k| !k.is_empty()).map(str::to_owned);
    let outcome = ctx.app.ports.control.take_back(key, ctx.visitor.author()).await;
    after(&ctx, outcome)
}
