//! Every change of the settings, and the way back.

use super::{Ctx, Flash, Shell, done, page_with};
use crate::error::PageResult;
use crate::view::Tone;
use askama::Template;
use axum::extract::Path;
use control::Rejected;
use http::StatusCode;
use model::{Revision, Settings};

/// Revisions on one page, and with `?all`.
const SHORT: usize = 30;
const LONG: usize = 500;
/// Lines of a comparison.
const LINES: usize = 200;

struct Entry {
    number: u64,
    sentence: String,
    author: String,
    at: String,
    current: bool,
    /// A class ("add" or "del") and a line.
    changed: Vec<(&'static str, String)>,
}

#[derive(Template)]
#[template(path = "history.html")]
struct History {
    shell: Shell,
    revisions: Vec<Entry>,
    more: bool,
}

pub(crate) async fn show(ctx: Ctx) -> PageResult {
    history_page(&ctx, StatusCode::OK, None).await
}

async fn history_page(ctx: &Ctx, status: StatusCode, flash: Option<Flash>) -> PageResult {
    let control = &ctx.app.ports.control;
    let limit = if ctx.query.has("all") { LONG } else { SHORT };
    let list = control.history(limit + 1).await?;
    let more = list.len() > limit && limit == SHORT;
    let running = ctx.snapshot().revision;
    let mut revisions = Vec::new();
    for (i, info) in list.iter().take(limit).enumerate() {
        // Comparing reads two documents from the card: for the newest few only.
        let changed = if i < 10 { compare(ctx, info.revision).await? } else { Vec::new() };
        revisions.push(Entry {
            number: info.revision.0,
            sentence: crate::words::sentence(&info.sentence).trim_end_matches('.').to_owned(),
            author: info.author.to_string(),
            at: crate::words::moment(info.at_ms),
            current: info.revision == running,
            changed,
        });
    }
    let mut shell = ctx.shell("History", "history");
    shell.flash = flash.or(shell.flash);
    page_with(status, &History { shell, revisions, more })
}

async fn compare(ctx: &Ctx, revision: Revision) -> Result<Vec<(&'static str, String)>, Rejected> {
    let control = &ctx.app.ports.control;
    let Some(after) = control.revision(revision).await? else { return Ok(Vec::new()) };
    let before = match revision.0.checked_sub(1) {
        Some(before) => control.revision(Revision(before)).await?,
        None => None,
    };
    Ok(difference(&before.unwrap_or_default(), &after))
}

/// What differs, as `path = value` lines.
pub(crate) fn difference(before: &Settings, after: &Settings) -> Vec<(&'static str, String)> {
    let (before, after) = (leaves(before), leaves(after));
    let gone = before.iter().filter(|l| !after.contains(l)).map(|l| ("del", format!("− {l}")));
    let come = after.iter().filter(|l| !before.contains(l)).map(|l| ("add", format!("+ {l}")));
    let mut lines: Vec<_> = gone.chain(come).collect();
    // The two halves of one changed value belong together.
    lines.sort_by(|(ka, a), (kb, b)| {
        let key = |s: &str| s.chars().skip(2).take_while(|c| *c != '=').collect::<String>();
        key(a).cmp(&key(b)).then(kb.cmp(ka))
    });
    lines.truncate(LINES);
    lines
}

fn leaves(settings: &Settings) -> Vec<String> {
    // A changed secret is a change, but neither value is shown.
    let value = serde_json::to_value(settings.masked()).unwrap_or_default();
    let mut lines = Vec::new();
    walk("", &value, &mut lines);
    lines
}

fn walk(path: &str, value: &serde_json::Value, lines: &mut Vec<String>) {
    use serde_json::Value as V;
    match value {
        V::Object(map) => {
            for (key, value) in map {
                let at = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                walk(&at, value, lines);
            }
        }
        V::Array(list) if list.iter().any(V::is_object) => {
            for (i, entry) in list.iter().enumerate() {
                // An entry is recognised by its name, so that removing the first one does not
                // make every other one look changed.
                let name = entry.get("id").or_else(|| entry.get("name")).and_then(V::as_str);
                let name = name.map_or_else(|| i.to_string(), str::to_owned);
                walk(&format!("{path}[{name}]"), entry, lines);
            }
        }
        V::Null => {}
        V::Array(list) if list.is_empty() => {}
        V::String(text) if text.is_empty() => {}
        V::String(text) => lines.push(format!("{path} = {text}")),
        other => lines.push(format!("{path} = {other}")),
    }
}

pub(crate) async fn revert(ctx: Ctx, Path(to): Path<u64>) -> PageResult {
    let author = ctx.visitor.author();
    let outcome = ctx.app.ports.control.revert(Revision(to), author).await?;
    Ok(done(outcome, "/history"))
}

/// Takes back what one change did, and nothing else.
pub(crate) async fn undo(ctx: Ctx, Path(revision): Path<u64>) -> PageResult {
    let control = &ctx.app.ports.control;
    let why = match control.undo(Revision(revision), ctx.visitor.author()).await {
        Ok(outcome) => return Ok(done(outcome, "/history")),
        Err(Rejected::Missing(why)) => why,
        Err(Rejected::Problems(problems)) => {
            let list: Vec<_> = problems.iter().map(|p| p.problem.as_str()).collect();
            format!("something later depends on it: {}", list.join("; "))
        }
        Err(other) => return Err(other.into()),
    };
    let text = format!("Nothing was taken back. {}", crate::words::sentence(&why));
    let flash = Flash { tone: Tone::Warn, text };
    history_page(&ctx, StatusCode::CONFLICT, Some(flash)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_short_and_keep_secrets() {
        let before = crate::demo::settings();
        let mut after = before.clone();
        after.nodes.remove(0);
        after.cluster.gateway = "192.168.1.254".parse().ok();
        after.cluster.key = model::Secret::new("another key another key another key");
        let lines = difference(&before, &after);
        assert_eq!(lines.iter().filter(|(k, _)| *k == "add").count(), 1, "{lines:#?}");
        assert!(lines.iter().all(|(_, l)| l.contains("[web01]") || l.contains("cluster.gateway")));
        assert!(difference(&after, &after).is_empty());
    }
}
