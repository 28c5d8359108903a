//! The firmware: what runs, what is beside it, and another one.

use super::{Ctx, Shell, page};
use crate::app::{App, lock};
use crate::error::{Failure, PageResult};
use crate::live::Part;
use crate::update::{NoTurn, Turn, Update};
use crate::upload::{Incoming, LARGEST, Refused, Source};
use crate::view::Tone;
use crate::words::{bytes, sentence};
use askama::Template;
use axum::Extension;
use http::StatusCode;
use model::status::{FirmwareProgress, FirmwareStatus, NodeReport};

#[derive(Template)]
#[template(path = "firmware.html")]
struct FirmwarePage {
    shell: Shell,
    parts: Vec<Part>,
    here: bool,
    /// Drawn again by itself in a browser without scripts.
    refresh: bool,
    largest: u64,
}

#[derive(Template)]
#[template(path = "part_firmware.html")]
struct FirmwarePart {
    firmware: Option<FirmwareStatus>,
    step: Option<Step>,
    run: String,
}

/// What an update is at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    tone: Tone,
    headline: String,
    detail: String,
    /// How far, in percent.
    percent: Option<u64>,
    restarting: bool,
    running: bool,
}

impl Step {
    fn new(tone: Tone, headline: &str, detail: impl Into<String>) -> Self {
        let headline = headline.to_owned();
        let detail = detail.into();
        Self { tone, headline, detail, percent: None, restarting: false, running: true }
    }

    fn restarting() -> Self {
        let text = "The new firmware is in the other slot. The board starts into it on trial and \
                    keeps it once it has proved itself; otherwise the old one is back by itself. \
                    This page waits and goes on.";
        Self { restarting: true, ..Self::new(Tone::Info, "Restarting into the new firmware", text) }
    }

    fn failed(reason: &str) -> Self {
        let step = Self::new(Tone::Bad, "The firmware was not installed", sentence(reason));
        Self { running: false, ..step }
    }
}

fn percent(done: u64, total: u64) -> u64 {
    done.saturating_mul(100).checked_div(total).unwrap_or(0).min(100)
}

fn step(update: &Update, firmware: Option<&FirmwareStatus>) -> Option<Step> {
    if let Some(arrived) = update.arrived {
        return Some(Step::new(
            Tone::Info,
            "Receiving the file",
            format!("{} so far.", bytes(arrived)),
        ));
    }
    match (firmware.and_then(|f| f.progress.as_ref()), &update.outcome) {
        (Some(FirmwareProgress::Verifying), _) => {
            Some(Step::new(Tone::Info, "Checking the signature", ""))
        }
        (Some(FirmwareProgress::Writing { done, total }), _) => {
            let text = format!("{} of {}.", bytes(*done), bytes(*total));
            let step = Step::new(Tone::Info, "Writing to the other slot", text);
            Some(Step { percent: Some(percent(*done, *total)), ..step })
        }
        (Some(FirmwareProgress::Checking), _) => {
            Some(Step::new(Tone::Info, "Reading back what was written", ""))
        }
        (Some(FirmwareProgress::Restarting), _) | (None, Some(Ok(()))) => Some(Step::restarting()),
        (Some(FirmwareProgress::Failed { reason }), _) | (None, Some(Err(reason))) => {
            Some(Step::failed(reason))
        }
        (None, None) => None,
    }
}

/// The parts that are pushed to open pages.
pub(crate) fn parts(app: &App, reports: &[NodeReport]) -> Result<Vec<Part>, askama::Error> {
    let firmware = reports.first().and_then(|r| r.status.system.firmware.clone());
    let step = step(&lock(&app.update), firmware.as_ref());
    let part = FirmwarePart { firmware, step, run: app.run_id() };
    Ok(vec![Part::new("firmware", part.render()?)])
}

pub(crate) async fn show(ctx: Ctx) -> PageResult {
    let reports = ctx.app.ports.board.nodes();
    let firmware = reports.first().and_then(|r| r.status.system.firmware.as_ref());
    let refresh = step(&lock(&ctx.app.update), firmware).is_some_and(|s| s.running);
    page(&FirmwarePage {
        parts: parts(&ctx.app, &reports)?,
        here: ctx.app.ports.system.is_some(),
        refresh,
        largest: LARGEST,
        shell: ctx.shell("Firmware", "more"),
    })
}

/// The page that says why a file was not taken.
pub(crate) fn refusal(refused: &Refused) -> Failure {
    Failure::new(status(refused), "The file was not taken", refused.sentence())
}

pub(crate) const fn status(refused: &Refused) -> StatusCode {
    match refused {
        Refused::CutOff => StatusCode::BAD_REQUEST,
        Refused::Slow => StatusCode::REQUEST_TIMEOUT,
        Refused::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Refused::Nothing => StatusCode::UNPROCESSABLE_ENTITY,
        Refused::Disk(_) => StatusCode::INSUFFICIENT_STORAGE,
    }
}

pub(crate) async fn install(ctx: Ctx, Extension(incoming): Extension<Incoming>) -> PageResult {
    let source = incoming.take().unwrap_or(Source::Nothing);
    let turn = match Turn::take(&ctx.app) {
        Ok(turn) => turn,
        Err(no) => {
            crate::upload::drop_rest(source).await;
            let title = if no == NoTurn::Busy { "Busy" } else { "Not here" };
            return Err(Failure::new(StatusCode::CONFLICT, title, no.sentence()));
        }
    };
    let size = turn.receive(source).await.map_err(|refused| refusal(&refused))?;
    tracing::info!(from = %ctx.visitor.address, size, "a firmware bundle was uploaded");
    // The page shows what comes of it.
    drop(turn.install(ctx.visitor.actor.clone()));
    Ok(super::see("/firmware"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(progress: Option<FirmwareProgress>) -> FirmwareStatus {
        FirmwareStatus { progress, ..FirmwareStatus::default() }
    }

    #[test]
    fn every_step_is_shown() {
        let idle = Update::default();
        assert_eq!(step(&idle, Some(&at(None))), None);
        let arriving = Update { arrived: Some(2_000_000), ..Update::default() };
        assert_eq!(step(&arriving, None).unwrap().detail, "2.0 MB so far.");
        let half = at(Some(FirmwareProgress::Writing { done: 1, total: 2 }));
        assert_eq!(step(&idle, Some(&half)).unwrap().percent, Some(50));
        assert_eq!((percent(1, 0), percent(5, 3)), (0, 100));
        let refused = Update { outcome: Some(Err("it is older".into())), ..Update::default() };
        let shown = step(&refused, Some(&at(None))).unwrap();
        assert_eq!((shown.detail.as_str(), shown.running), ("It is older.", false));
        let done = Update { outcome: Some(Ok(())), ..Update::default() };
        assert!(step(&done, Some(&at(None))).unwrap().restarting);
    }
}
