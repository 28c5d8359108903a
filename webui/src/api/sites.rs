//! Letting a mirror's held deletion pass.

use super::refused;
use crate::pages::Ctx;
use crate::pages::sites::approve;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use model::Name;

pub(crate) async fn approve_now(ctx: Ctx, Path(name): Path<String>) -> Response {
    let Ok(name) = name.parse::<Name>() else {
        return refused(StatusCode::NOT_FOUND, "there is no site of that name");
    };
    match approve(&ctx, &name).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(failure) => refused(failure.status(), failure.text()),
    }
}
