//! The firmware: what runs, and another one.

use crate::pages::Ctx;
use crate::pages::firmware::status;
use crate::update::{NO_BOARD, Turn};
use crate::upload::{Incoming, Source, drop_rest};
use axum::Extension;
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

pub(crate) async fn get(ctx: Ctx) -> Response {
    match ctx.app.ports.board.own().system.firmware {
        Some(firmware) => Json(firmware).into_response(),
        None => problem(StatusCode::NOT_FOUND, NO_BOARD),
    }
}

fn problem(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "problem": text }))).into_response()
}

/// Answers once the bundle is written to the other slot, or refused.
pub(crate) async fn put(ctx: Ctx, Extension(incoming): Extension<Incoming>) -> Response {
    let source = incoming.take().unwrap_or(Source::Nothing);
    let turn = match Turn::take(&ctx.app) {
        Ok(turn) => turn,
        Err(no) => {
            drop_rest(source).await;
            return problem(StatusCode::CONFLICT, no.sentence());
        }
    };
    let size = match turn.receive(source).await {
        Ok(size) => size,
        Err(refused) => return problem(status(&refused), &refused.sentence()),
    };
    tracing::info!(from = %ctx.visitor.address, size, "a firmware bundle was uploaded");
    match turn.install(ctx.visitor.actor.clone()).await {
        Ok(Ok(())) => {
            let body = json!({ "accepted": "firmware", "size": size });
            (StatusCode::ACCEPTED, Json(body)).into_response()
        }
        Ok(Err(why)) => problem(StatusCode::UNPROCESSABLE_ENTITY, &crate::words::sentence(&why)),
        Err(failed) => problem(StatusCode::INTERNAL_SERVER_ERROR, &failed.to_string()),
    }
}
