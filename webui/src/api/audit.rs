//! The audit log of all nodes, newest first.

use super::refused;
use crate::pages::Ctx;
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use model::audit::Query;
use serde_json::json;

/// Entries in one answer, unless another number is asked for, and at most.
const USUAL: usize = 100;
const MOST: usize = 1000;

/// `?node=&deed=&q=&limit=&after=`, the last one being `next` of the answer before.
pub(crate) async fn get(ctx: Ctx) -> Response {
    let asked = |name| Some(ctx.query.first(name)).filter(|v| !v.is_empty()).map(str::to_owned);
    let node = match asked("node").map(|n| n.parse()).transpose() {
        Ok(node) => node,
        Err(error) => return refused(StatusCode::BAD_REQUEST, model::BadValue::to_string(&error)),
    };
    let limit = asked("limit").map_or(Ok(USUAL), |l| l.parse::<usize>());
    let Ok(limit) = limit else {
        return refused(StatusCode::BAD_REQUEST, "limit is a whole number");
    };
    let words = ctx.query.first("q").chars().take(200).collect();
    let (deed, after) = (asked("deed"), asked("after"));
    let query = Query { node, deed, words, after, limit: limit.clamp(1, MOST) };
    let port = ctx.app.ports.audit.clone();
    match tokio::task::spawn_blocking(move || port.list(&query)).await {
        Ok(Ok(listed)) => Json(json!({
            "entries": listed.entries,
            "next": listed.next,
            "complaints": listed.complaints,
        }))
        .into_response(),
        Ok(Err(error)) => refused(StatusCode::INTERNAL_SERVER_ERROR, error),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}
