//! Keeping a change of this node's addresses that is tried.

use super::refused;
use crate::pages::Ctx;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

pub(crate) async fn keep_now(ctx: Ctx) -> Response {
    let Some(trials) = ctx.app.ports.trials.clone() else {
        return refused(StatusCode::CONFLICT, "nothing is tried out here");
    };
    match trials.keep(ctx.through) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(why) => refused(StatusCode::CONFLICT, &why),
    }
}
