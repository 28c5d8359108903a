//! The JSON API under `/api/v1/`. One file per resource.

pub(crate) mod audit;
pub(crate) mod board;
pub(crate) mod charts;
pub(crate) mod failover;
pub(crate) mod firmware;
pub(crate) mod log;
pub(crate) mod network;
pub(crate) mod nodes;
pub(crate) mod servers;
pub(crate) mod settings;
pub(crate) mod sites;
pub(crate) mod status;

use axum::Json;
use axum::response::{IntoResponse, Response};
use control::{Outcome, Rejected};
use http::{HeaderValue, StatusCode, header};
use model::{Problem, Revision};
use serde_json::{Value, json};

pub(crate) fn etag(revision: Revision) -> String {
    format!("\"{revision}\"")
}

fn tagged(mut response: Response, revision: Revision) -> Response {
    if let Ok(value) = HeaderValue::from_str(&etag(revision)) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response
}

pub(crate) fn refused(status: StatusCode, error: impl Into<String>) -> Response {
    (status, Json(json!({ "error": error.into() }))).into_response()
}

/// 422 with everything that is wrong.
pub(crate) fn problems(problems: &[Problem]) -> Response {
    (StatusCode::UNPROCESSABLE_ENTITY, Json(problems)).into_response()
}

/// What became of a change.
pub(crate) fn outcome(outcome: Result<Outcome, Rejected>) -> Response {
    match outcome {
        Ok(outcome) => {
            let revision = outcome.revision();
            let changed = matches!(outcome, Outcome::Applied(_));
            let body: Value = json!({ "revision": revision.0, "changed": changed });
            tagged(Json(body).into_response(), revision)
        }
        Err(rejected) => {
            let text = rejected.to_string();
            match rejected {
                Rejected::Stale(now) => {
                    tagged(refused(StatusCode::PRECONDITION_FAILED, text), now.revision)
                }
                Rejected::Problems(list) => problems(&list),
                Rejected::Cannot { .. } => refused(StatusCode::CONFLICT, text),
                Rejected::Missing(_) => refused(StatusCode::NOT_FOUND, text),
                Rejected::Storage(_) => refused(StatusCode::INTERNAL_SERVER_ERROR, text),
                Rejected::Stopping => refused(StatusCode::SERVICE_UNAVAILABLE, text),
            }
        }
    }
}

/// Anything else below `/api/`.
pub(crate) async fn nothing() -> Response {
    refused(StatusCode::NOT_FOUND, "there is no such resource")
}
