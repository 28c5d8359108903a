//! Everything the operator has set, into a file and back.

use super::{Ctx, Shell, again, done, history, page_with, see};
use crate::app::{lock, now_unix};
use crate::backup::{self, Contents, Made, Refused};
use crate::error::{Failure, PageResult};
use crate::upload::Fields;
use crate::words::moment;
use askama::Template;
use axum::Extension;
use axum::response::IntoResponse;
use control::{Change, Rejected};
use http::{StatusCode, header};
use model::audit::Deed;
use model::{Edit, Revision, Settings};
use std::time::{Duration, Instant};

/// A backup that was opened and not yet restored is kept in memory so long.
const KEPT: Duration = Duration::from_secs(10 * 60);

/// A backup that was opened, waiting for a yes.
pub(crate) struct Pending {
    /// Tells it from another one opened meanwhile.
    id: String,
    /// Whose it is: the token of their session.
    owner: String,
    at: Instant,
    contents: Contents,
}

#[derive(Template)]
#[template(path = "backup.html")]
struct BackupPage {
    shell: Shell,
    make_error: Option<String>,
    restore_error: Option<String>,
    largest_kib: usize,
}

#[derive(Template)]
#[template(path = "backup_restore.html")]
struct RestorePage {
    shell: Shell,
    id: String,
    revision: u64,
    made: String,
    warnings: Vec<String>,
    /// A class ("add" or "del") and a line.
    changed: Vec<(&'static str, String)>,
    has_password: bool,
    /// The settings were changed while somebody looked.
    stale: bool,
}

enum Part {
    Make,
    Restore,
}

fn form_page(ctx: &Ctx, status: StatusCode, failed: Option<(Part, String)>) -> PageResult {
    let (make_error, restore_error) = match failed {
        None => (None, None),
        Some((Part::Make, text)) => (Some(text), None),
        Some((Part::Restore, text)) => (None, Some(text)),
    };
    let shell = ctx.shell("Backup", "more");
    let largest_kib = backup::LARGEST / 1024;
    page_with(status, &BackupPage { shell, make_error, restore_error, largest_kib })
}

pub(crate) async fn show(ctx: Ctx) -> PageResult {
    if let Some(first) = again::ask(&ctx, "/backup") {
        return Ok(first);
    }
    form_page(&ctx, StatusCode::OK, None)
}

fn refused(ctx: &Ctx, part: Part, text: impl Into<String>) -> PageResult {
    form_page(ctx, StatusCode::UNPROCESSABLE_ENTITY, Some((part, text.into())))
}

fn busy(ctx: &Ctx, part: Part) -> PageResult {
    let text = "Many passwords are looked at in this moment. Try again in a few seconds.";
    form_page(ctx, StatusCode::TOO_MANY_REQUESTS, Some((part, text.to_owned())))
}

/// The hour by this node's clock, if that was ever set.
fn now_ms(ctx: &Ctx) -> Option<i64> {
    let own = ctx.app.ports.board.own().system;
    match ctx.app.ports.system {
        Some(_) => own.clock_unix_ms.and_then(|ms| ms.try_into().ok()),
        None => Some(now_unix() * 1000),
    }
}

pub(crate) async fn make(ctx: Ctx) -> PageResult {
    if let Some(first) = again::ask(&ctx, "/backup") {
        return Ok(first);
    }
    let passphrase = ctx.form.first("passphrase").to_owned();
    if let Err(why) = backup::acceptable(&passphrase) {
        return refused(&ctx, Part::Make, why.to_string());
    }
    if passphrase != ctx.form.first("again") {
        return refused(&ctx, Part::Make, "The two passphrases are not the same. Type both again.");
    }
    let snapshot = ctx.snapshot();
    let made = Made {
        by: super::node_name(&snapshot),
        cluster: super::cluster_name(&snapshot),
        version: ctx.app.ports.board.own().version,
        at_unix_ms: now_ms(&ctx),
    };
    let password_hash = ctx.app.password_hash().await.map_err(Failure::inside)?;
    let settings = snapshot.settings.clone();
    let name = file_name(&made);
    let tokens = ctx.app.tokens().await.map_err(Failure::inside)?.to_vec();
    let contents = Contents { settings, password_hash, tokens, made };
    let sealed = ctx.app.hasher.run(move || backup::seal(&contents, &passphrase)).await;
    match sealed {
        Err(_) => busy(&ctx, Part::Make),
        Ok(Err(why)) => refused(&ctx, Part::Make, why.to_string()),
        Ok(Ok(file)) => {
            tracing::info!(from = %ctx.visitor.address, "a backup was made");
            ctx.note(Deed::BackupMade, name.clone()).await;
            let head = [
                (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
                (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
            ];
            Ok((head, file).into_response())
        }
    }
}

/// Letters, digits and hyphens only: it becomes a name on anybody's computer.
fn file_name(made: &Made) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let cluster: String = made.cluster.chars().map(plain).take(40).collect();
    let day = made.at_unix_ms.map(moment).unwrap_or_default();
    let day: String = day.chars().take_while(|c| *c != ' ').map(plain).collect();
    // A clock that was never set is told in words.
    let day = if day.starts_with(|c: char| c.is_ascii_digit()) {
        format!("-{day}")
    } else {
        String::new()
    };
    format!("bramble-{cluster}{day}.backup")
}

/// Opens an uploaded backup and shows what it would change.
pub(crate) async fn open(ctx: Ctx, fields: Option<Extension<Fields>>) -> PageResult {
    if let Some(first) = again::ask(&ctx, "/backup") {
        return Ok(first);
    }
    let Extension(fields) = fields.unwrap_or_default();
    let file = fields.bytes("file");
    if file.is_empty() {
        return refused(&ctx, Part::Restore, "There was no file. Choose one, then open it.");
    }
    if file.len() > backup::LARGEST {
        return refused(&ctx, Part::Restore, Refused::NoBackup.to_string());
    }
    let passphrase = fields.text("passphrase");
    let opened = ctx.app.hasher.run(move || backup::open(&file, &passphrase)).await;
    let contents = match opened {
        Err(_) => return busy(&ctx, Part::Restore),
        Ok(Err(why)) => return refused(&ctx, Part::Restore, why.to_string()),
        Ok(Ok(contents)) => contents,
    };
    let id = crate::session::random_token().map_err(Failure::inside)?;
    let owner = ctx.visitor.csrf.clone();
    let pending = Pending { id, owner, at: Instant::now(), contents };
    let shown = restore_page(&ctx, &pending, false);
    *lock(&ctx.app.restore) = Some(pending);
    shown
}

fn restore_page(ctx: &Ctx, pending: &Pending, stale: bool) -> PageResult {
    let snapshot = ctx.snapshot();
    let contents = &pending.contents;
    let next = backup::here(&contents.settings, &snapshot.settings);
    let status = if stale { StatusCode::CONFLICT } else { StatusCode::OK };
    page_with(
        status,
        &RestorePage {
            shell: ctx.shell("Restore", "more"),
            id: pending.id.clone(),
            revision: snapshot.revision.0,
            made: from(&contents.made),
            warnings: warnings(&next, &snapshot.settings, snapshot.node()),
            changed: history::difference(&snapshot.settings, &next),
            has_password: contents.password_hash.is_some(),
            stale,
        },
    )
}

fn from(made: &Made) -> String {
    let when = match made.at_unix_ms {
        Some(at) => format!("on {}", moment(at)),
        None => "at an unknown hour".to_owned(),
    };
    format!("Made {when} on {} of {}, with Bramble {}.", made.by, made.cluster, made.version)
}

/// What somebody might not expect.
fn warnings(next: &Settings, now: &Settings, own: &model::NodeId) -> Vec<String> {
    let mut all = Vec::new();
    if next.node(own).is_none() {
        let name = now.node(own).map_or_else(|| own.to_string(), |n| n.name.to_string());
        all.push(format!(
            "This board ({name}) is not in the backup: it would have no role. Add it under Nodes \
             afterwards, or replace the board whose place it takes."
        ));
    }
    let gone: Vec<&str> = now
        .nodes
        .iter()
        .filter(|n| n.id != *own && next.node(&n.id).is_none())
        .map(|n| n.name.as_str())
        .collect();
    if !gone.is_empty() {
        let verb = if gone.len() == 1 { "is" } else { "are" };
        all.push(format!(
            "{} {verb} not in the backup and would leave the cluster.",
            gone.join(", ")
        ));
    }
    if next.cluster.key != now.cluster.key && now.nodes.len() > 1 {
        all.push(
            "The backup has another cluster key: boards that are switched off at this moment do \
             not find back by themselves."
                .to_owned(),
        );
    }
    all
}

/// Takes the pending backup, if it is the one meant and still there.
fn take(ctx: &Ctx) -> Option<Pending> {
    let mut held = lock(&ctx.app.restore);
    let ours = held.as_ref().is_some_and(|p| {
        p.at.elapsed() < KEPT
            && crate::csrf::equal(&p.owner, &ctx.visitor.csrf)
            && p.id == ctx.form.first("id")
    });
    if ours { held.take() } else { None }
}

pub(crate) async fn restore(ctx: Ctx) -> PageResult {
    if let Some(first) = again::ask(&ctx, "/backup") {
        return Ok(first);
    }
    let Some(pending) = take(&ctx) else {
        return refused(
            &ctx,
            Part::Restore,
            "The backup is not held in memory any more: it is forgotten after ten minutes. Open it \
             again.",
        );
    };
    let snapshot = ctx.snapshot();
    let next = backup::here(&pending.contents.settings, &snapshot.settings);
    let base = ctx.form.first("revision").parse().ok().map(Revision);
    let author = ctx.visitor.author();
    let change = Change {
        base: Some(base.unwrap_or(Revision(0))),
        author,
        edits: vec![Edit::Replace(Box::new(next))],
    };
    let outcome = match ctx.app.ports.control.submit(change).await {
        Err(Rejected::Stale(_)) => {
            let shown = restore_page(&ctx, &pending, true);
            *lock(&ctx.app.restore) = Some(pending);
            return shown;
        }
        other => other?,
    };
    tracing::info!(from = %ctx.visitor.address, "a backup was restored");
    let made = &pending.contents.made;
    ctx.note(Deed::BackupRestored, format!("of {}, made by {}", made.cluster, made.by)).await;
    let hash = pending.contents.password_hash.filter(|_| ctx.form.has("password"));
    match hash {
        None => Ok(done(outcome, "/history")),
        Some(hash) => {
            bring_back(&ctx, pending.contents.tokens).await;
            ctx.app.set_password(hash).await.map_err(Failure::inside)?;
            ctx.note(Deed::Password, "from the backup").await;
            let ended = ctx.app.store.end_others(None).await;
            ended.map_err(|e| Failure::inside(format!("the sessions cannot be ended: {e}")))?;
            // Signed in with a password that is none any more.
            Ok(see("/login?restored=1"))
        }
    }
}

/// Tokens that were removed since, or that this cluster never had.
async fn bring_back(ctx: &Ctx, tokens: Vec<model::token::Token>) {
    for token in tokens {
        let port = ctx.app.ports.tokens.clone();
        let name = token.name.to_string();
        let added = tokio::task::spawn_blocking(move || port.add(&token)).await;
        // One of that name is there: it is the one programs use now.
        if let Ok(Ok(())) = added {
            ctx.note(Deed::TokenMade, format!("{name}, from the backup")).await;
        }
    }
    ctx.app.tokens_changed();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_harmless() {
        let made = Made {
            cluster: "../My \"farm\"\r\n".into(),
            at_unix_ms: Some(1_795_371_120_000),
            ..Made::default()
        };
        assert_eq!(file_name(&made), "bramble----My--farm----2026-11-22.backup");
        assert_eq!(file_name(&Made::default()), "bramble-.backup");
    }

    #[test]
    fn surprises_are_told_before() {
        let now = crate::demo::settings();
        let own = "lbmaster".parse().unwrap();
        assert!(warnings(&now, &now, &own).is_empty());
        let mut next = now.clone();
        next.nodes.retain(|n| n.id.as_str() == "web01");
        next.cluster.key = model::Secret::new("another");
        let all = warnings(&next, &now, &own);
        assert_eq!(all.len(), 3, "{all:?}");
        assert!(all[0].contains("LbMaster") && all[1].starts_with("Web02, LbSlave are not"));
    }
}
