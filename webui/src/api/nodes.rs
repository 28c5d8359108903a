//! One node, whichever it is: its log, its LED, its power.

use super::refused;
use crate::pages::Ctx;
use axum::Json;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use model::NodeId;
use model::action::{Action, MOST_LINES, Reply};
use model::audit::{Deed, Record};
use serde_json::json;

/// How long the green LED blinks.
const BLINK_SECONDS: u16 = 20;

async fn ask(ctx: &Ctx, node: &str, action: Action, deed: Option<Deed>) -> Response {
    let known = ctx.snapshot().settings.nodes.iter().find(|n| n.id.as_str() == node).cloned();
    let Some(node) = known.map(|n| n.id) else {
        return refused(StatusCode::NOT_FOUND, format!("there is no node {node:?}"));
    };
    let result = asked(ctx, &node, action, deed).await;
    match result {
        Ok(Reply::Lines(lines)) => Json(json!({ "lines": lines })).into_response(),
        Ok(_) => (StatusCode::ACCEPTED, Json(json!({ "node": node }))).into_response(),
        Err(why) => refused(StatusCode::CONFLICT, crate::words::sentence(&why)),
    }
}

/// Asks a node on behalf of this visitor, and writes down what came of it.
pub(crate) async fn asked(
    ctx: &Ctx,
    node: &NodeId,
    action: Action,
    deed: Option<Deed>,
) -> Result<Reply, String> {
    let author = ctx.visitor.address.to_string();
    let record = deed.map(|deed| Record::done(ctx.visitor.actor.clone(), deed, node.to_string()));
    // What ends the process of this very node is written down before.
    if let Some(record) = record.clone().filter(|_| node == ctx.snapshot().node()) {
        crate::audit::note(&ctx.app, record).await;
    }
    let result = ctx.app.ports.remote.ask(node, &author, action).await;
    if let Some(record) = record.filter(|_| node != ctx.snapshot().node() || result.is_err()) {
        crate::audit::note(&ctx.app, record.result(&result)).await;
    }
    result
}

pub(crate) async fn log(ctx: Ctx, Path(node): Path<String>) -> Response {
    ask(&ctx, &node, Action::Logs { lines: MOST_LINES }, None).await
}

pub(crate) async fn blink(ctx: Ctx, Path(node): Path<String>) -> Response {
    ask(&ctx, &node, Action::Blink { seconds: BLINK_SECONDS }, Some(Deed::Blink)).await
}

pub(crate) async fn reboot(ctx: Ctx, Path(node): Path<String>) -> Response {
    ask(&ctx, &node, Action::Reboot, Some(Deed::Reboot)).await
}

pub(crate) async fn power_off(ctx: Ctx, Path(node): Path<String>) -> Response {
    ask(&ctx, &node, Action::PowerOff, Some(Deed::PowerOff)).await
}
