//! Asks for the password once more before something that could lock the operator out or give
//! secrets away: a phone that was left unlocked is no owner.

use super::account::local;
use super::{Ctx, Shell, page_with, see};
use crate::app::{lock, now_unix};
use crate::error::{Failure, PageResult};
use crate::session::{KEY, SignedIn};
use askama::Template;
use axum::response::Response;
use http::{StatusCode, header};
use std::time::{Duration, Instant};
use tower_sessions::Session;

#[derive(Template)]
#[template(path = "again.html")]
struct Again {
    shell: Shell,
    next: String,
    error: Option<String>,
}

/// The way to the question, unless the password was typed in the last minutes. `next` is the page
/// on which the operator then goes on; it must be one that a browser may open.
pub(crate) fn ask(ctx: &Ctx, next: &str) -> Option<Response> {
    let to = format!("/again?next={}", crate::gate::encode(next));
    (!ctx.visitor.proven).then(|| see(&to))
}

fn again_page(ctx: &Ctx, status: StatusCode, error: Option<String>) -> PageResult {
    let next = ctx.form.first("next").to_owned() + ctx.query.first("next");
    let shell = ctx.shell("Password", "more");
    page_with(status, &Again { shell, next: local(&next), error })
}

pub(crate) async fn show(ctx: Ctx) -> PageResult {
    again_page(&ctx, StatusCode::OK, None)
}

fn wait(ctx: &Ctx, wait: Duration) -> PageResult {
    let seconds = wait.as_secs() + 1;
    let error = format!("Too many attempts. Wait {seconds} s, then try again.");
    let mut page = again_page(ctx, StatusCode::TOO_MANY_REQUESTS, Some(error))?;
    page.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    Ok(page)
}

pub(crate) async fn prove(ctx: Ctx, session: Session) -> PageResult {
    let turn = lock(&ctx.app.throttle).attempt(ctx.visitor.address, Instant::now());
    if let Err(time) = turn {
        return wait(&ctx, time);
    }
    let stored = ctx.app.password_hash().await.map_err(Failure::inside)?.unwrap_or_default();
    match ctx.app.hasher.verify(ctx.form.first("password"), &stored).await {
        Err(_) => {
            lock(&ctx.app.throttle).withdrawn(ctx.visitor.address);
            return wait(&ctx, Duration::from_secs(2));
        }
        Ok(false) => {
            tracing::warn!(from = %ctx.visitor.address, "the password was not proven again");
            crate::audit::failed(&ctx.app, ctx.visitor.address).await;
            let error = "This is not the password.".to_owned();
            return again_page(&ctx, StatusCode::UNAUTHORIZED, Some(error));
        }
        Ok(true) => lock(&ctx.app.throttle).succeeded(ctx.visitor.address),
    }
    let failed = |e: tower_sessions::session::Error| {
        Failure::inside(format!("the session cannot be stored: {e}"))
    };
    if let Some(signed_in) = session.get::<SignedIn>(KEY).await.map_err(failed)? {
        let proven = SignedIn { proven: now_unix(), ..signed_in };
        session.insert(KEY, &proven).await.map_err(failed)?;
    }
    Ok(see(&local(ctx.form.first("next"))))
}
