//! Giving the floating IP to the next node.

use super::refused;
use crate::pages::Ctx;
use crate::pages::failover::{hand_over, owner};
use axum::Json;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use model::Name;
use serde_json::json;

pub(crate) async fn post(ctx: Ctx, Path(name): Path<String>) -> Response {
    let Ok(name) = name.parse::<Name>() else {
        return refused(StatusCode::NOT_FOUND, "there is no virtual router of that name");
    };
    match hand_over(&ctx, &name).await {
        Ok(report) => Json(json!({
            "name": report.name,
            "holder": report.holder,
            "holder_name": owner(&ctx.snapshot(), &report),
            "gap_ms": report.gap_ms,
        }))
        .into_response(),
        Err(failure) => refused(failure.status(), failure.text()),
    }
}
