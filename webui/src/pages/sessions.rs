//! Who is signed in, on whichever node, and ending it.

use super::{Ctx, Flash, Shell, page, see};
use crate::error::{Failure, PageResult};
use crate::view::Tone;
use crate::words::{count, span};
use askama::Template;
use model::audit::Deed;
use model::session::Session as Kept;
use tower_sessions::Session;

struct Row {
    name: String,
    address: String,
    node: String,
    since: String,
    seen: String,
    this: bool,
}

#[derive(Template)]
#[template(path = "sessions.html")]
struct Sessions {
    shell: Shell,
    sessions: Vec<Row>,
}

async fn all(ctx: &Ctx) -> Result<Vec<Kept>, Failure> {
    let list = ctx.app.store.list().await;
    list.map_err(|e| Failure::inside(format!("the sessions cannot be read: {e}")))
}

pub(crate) async fn show(ctx: Ctx, session: Session) -> PageResult {
    let snapshot = ctx.snapshot();
    let own = session.id().map(|id| id.to_string());
    let row = |kept: Kept| Row {
        name: kept.name(),
        address: kept.address.to_string(),
        node: crate::view::name_of(&snapshot, &kept.node),
        since: span(kept.age_ms),
        seen: if kept.unused_ms < 90_000 {
            "just now".to_owned()
        } else {
            format!("{} ago", span(kept.unused_ms))
        },
        this: own.as_ref() == Some(&kept.id),
    };
    let sessions = all(&ctx).await?.into_iter().map(row).collect();
    let mut shell = ctx.shell("Sessions", "more");
    if let Ok(ended) = ctx.query.first("ended").parse::<usize>() {
        let text = format!("{} ended.", count(ended, "session"));
        shell.flash = Some(Flash { tone: Tone::Good, text });
    }
    page(&Sessions { shell, sessions })
}

pub(crate) async fn end(ctx: Ctx) -> PageResult {
    let name = ctx.form.first("name");
    let mut ended = 0;
    for kept in all(&ctx).await?.into_iter().filter(|kept| kept.name() == name) {
        let done = ctx.app.store.end(kept.id.clone()).await;
        done.map_err(|e| Failure::inside(format!("the session cannot be ended: {e}")))?;
        let object = format!("session {} from {}", kept.name(), kept.address);
        ctx.note(Deed::SessionsEnded, object).await;
        ended += 1;
    }
    Ok(see(&format!("/sessions?ended={ended}")))
}

/// All of them on every node; the one that asks only where the form says so.
pub(crate) async fn end_all(ctx: Ctx, session: Session) -> PageResult {
    let everywhere = !ctx.form.first("everywhere").is_empty();
    let keep = session.id().filter(|_| !everywhere);
    let before = all(&ctx).await?.len();
    let done = ctx.app.store.end_others(keep).await;
    done.map_err(|e| Failure::inside(format!("the sessions cannot be ended: {e}")))?;
    let object = if everywhere { "all" } else { "all others" };
    ctx.note(Deed::SessionsEnded, object).await;
    if everywhere {
        return Ok(see("/login?out=1"));
    }
    Ok(see(&format!("/sessions?ended={}", before.saturating_sub(1))))
}
