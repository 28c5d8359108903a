//! Restarting, switching off, forgetting everything.

use super::refused;
use crate::pages::Ctx;
use crate::pages::board::{Order, give};
use axum::Json;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

async fn order(ctx: &Ctx, order: Order, what: &str) -> Response {
    match give(ctx, order).await {
        Ok(()) => {
            tracing::info!(from = %ctx.visitor.address, "{what} was asked for by a program");
            (StatusCode::ACCEPTED, Json(json!({ "accepted": what }))).into_response()
        }
        Err(failure) => refused(failure.status(), failure.text()),
    }
}

pub(crate) async fn reboot(ctx: Ctx) -> Response {
    order(&ctx, Order::Reboot, "reboot").await
}

pub(crate) async fn power_off(ctx: Ctx) -> Response {
    order(&ctx, Order::PowerOff, "poweroff").await
}

pub(crate) async fn factory_reset(ctx: Ctx) -> Response {
    if !ctx.visitor.proven {
        return refused(
            StatusCode::FORBIDDEN,
            "This needs the password itself: user and password with this request, or typed once \
             more on the page.",
        );
    }
    order(&ctx, Order::Reset, "factory-reset").await
}

/// Only a board that was started for tests does it.
pub(crate) async fn fail(ctx: Ctx, Path(how): Path<String>) -> Response {
    let Some(system) = ctx.app.ports.system.clone() else {
        return refused(StatusCode::NOT_FOUND, "There is no board of ours here.");
    };
    match system.fail(&how).await {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(why) => refused(StatusCode::FORBIDDEN, why),
    }
}
