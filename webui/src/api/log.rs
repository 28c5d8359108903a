//! The log of this node.

use crate::pages::Ctx;
use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::json;

pub(crate) async fn get(ctx: Ctx) -> Response {
    let journal = &ctx.app.ports.journal;
    Json(json!({ "lines": journal.recent(), "last_words": journal.last_words() })).into_response()
}
