//! Tokens of programs: making one, which is shown once, and removing one.

use super::{Ctx, Flash, Shell, named, page_with, see};
use crate::app::{lock, now_unix};
use crate::error::{Failure, PageResult};
use crate::forms::Field;
use crate::view::Tone;
use crate::words::{moment, sentence, span};
use askama::Template;
use axum::extract::Path;
use http::StatusCode;
use model::Name;
use model::audit::Deed;
use model::token::{Scope, Token};

struct Row {
    name: String,
    scope: String,
    made: String,
    used: String,
}

#[derive(Template)]
#[template(path = "tokens.html")]
struct Tokens {
    shell: Shell,
    tokens: Vec<Row>,
    /// The one just made, with its name.
    made: Option<(String, String)>,
    called: Field,
    may: Field,
    scopes: Vec<(String, String)>,
    node: String,
}

fn row(ctx: &Ctx, token: &Token) -> Row {
    let used = lock(&ctx.app.tokens_used).get(token.name.as_str()).copied();
    let by = if token.by.is_empty() { String::new() } else { format!(" by {}", token.by) };
    Row {
        name: token.name.to_string(),
        scope: token.scope.to_string(),
        made: format!("made{by} ({})", moment(token.at_ms)),
        used: used.map_or_else(String::new, |at| {
            let ms = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
            format!("used {} ago", span(ms))
        }),
    }
}

async fn shown(
    ctx: &Ctx,
    status: StatusCode,
    (called, may): (Field, Field),
    made: Option<(String, String)>,
) -> PageResult {
    let tokens = ctx.app.tokens().await.map_err(Failure::inside)?;
    let tokens = tokens.iter().map(|t| row(ctx, t)).collect();
    let mut shell = ctx.shell("Tokens", "more");
    if !ctx.query.first("removed").is_empty() {
        let text = "The token is removed: no node takes it any more.".to_owned();
        shell.flash = Some(Flash { tone: Tone::Good, text });
    }
    let choice = |scope: Scope, text: &str| (scope.key().to_owned(), text.to_owned());
    let scopes = vec![
        choice(Scope::Read, "Read only: statistics, status, settings without secrets"),
        choice(Scope::Full, "Everything: changes, failover, restart, firmware"),
    ];
    let node = super::node_name(&ctx.snapshot());
    page_with(status, &Tokens { shell, tokens, made, called, may, scopes, node })
}

pub(crate) async fn show(ctx: Ctx) -> PageResult {
    shown(&ctx, StatusCode::OK, (Field::default(), Field::default()), None).await
}

pub(crate) async fn make(ctx: Ctx) -> PageResult {
    let (mut name, mut scope) = (Field::default(), Field::default());
    name.set(ctx.form.first("name"));
    scope.set(ctx.form.first("scope"));
    let read = (name.read::<Name>(), scope.read::<Scope>());
    let (Some(of), Some(to)) = read else {
        return shown(&ctx, StatusCode::UNPROCESSABLE_ENTITY, (name, scope), None).await;
    };
    let text = crate::tokens::make().map_err(Failure::inside)?;
    let token = Token {
        name: of.clone(),
        scope: to,
        hash: crate::tokens::hash(&text),
        by: format!("operator at {}", ctx.visitor.address),
        at_ms: now_unix().saturating_mul(1000),
    };
    let port = ctx.app.ports.tokens.clone();
    let added = tokio::task::spawn_blocking(move || port.add(&token)).await;
    ctx.app.tokens_changed();
    if let Err(why) = added.map_err(|e| Failure::inside(e.to_string()))? {
        name.refuse(&sentence(&why));
        return shown(&ctx, StatusCode::CONFLICT, (name, scope), None).await;
    }
    ctx.note(Deed::TokenMade, format!("{of} ({to})")).await;
    let made = Some((of.to_string(), text));
    shown(&ctx, StatusCode::OK, (Field::default(), Field::default()), made).await
}

pub(crate) async fn remove(ctx: Ctx, Path(name): Path<String>) -> PageResult {
    let name: Name = named(&name)?;
    let (port, gone) = (ctx.app.ports.tokens.clone(), name.clone());
    let removed = tokio::task::spawn_blocking(move || port.remove(&gone)).await;
    ctx.app.tokens_changed();
    let removed = removed.map_err(|e| Failure::inside(e.to_string()))?.map_err(Failure::inside)?;
    if !removed {
        return Err(Failure::not_found("There is no such token any more."));
    }
    ctx.note(Deed::TokenRemoved, name.to_string()).await;
    Ok(see("/tokens?removed=1"))
}
