//! `GET /api/v1/charts` and `/api/v1/paths`: the last minutes and hours of the balancer, and what
//! is asked for most.

use crate::pages::Ctx;
use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Everything, or with `?proxy=` and `?server=` only one's.
pub(crate) async fn charts(ctx: Ctx) -> Response {
    let (proxy, server) = (ctx.query.first("proxy"), ctx.query.first("server"));
    let mut all = ctx.app.ports.access_log.charts();
    all.retain(|s| {
        (proxy.is_empty() || s.proxy.as_str() == proxy)
            && (server.is_empty() || s.server.as_ref().is_some_and(|n| n.as_str() == server))
    });
    Json(json!({ "series": all })).into_response()
}

/// Of each frontend.
pub(crate) async fn paths(ctx: Ctx) -> Response {
    Json(json!({ "frontends": ctx.app.ports.access_log.paths() })).into_response()
}
