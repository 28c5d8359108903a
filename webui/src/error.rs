//! Answers that say what went wrong.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use http::StatusCode;

/// A page, or what kept it from being made.
pub(crate) type PageResult = Result<Response, Failure>;

/// A request that came to nothing, in words for the operator.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    title: String,
    text: String,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, title: &str, text: impl Into<String>) -> Self {
        Self { status, title: title.to_owned(), text: text.into() }
    }

    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn not_found(what: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found", what)
    }

    pub(crate) fn inside(text: impl Into<String>) -> Self {
        let text = text.into();
        tracing::error!("a page could not be answered: {text}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "That did not work", text)
    }

    pub(crate) fn forbidden(text: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Refused", text)
    }
}

#[derive(Template)]
#[template(path = "failure.html")]
struct FailurePage<'a> {
    status: u16,
    title: &'a str,
    text: &'a str,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let page =
            FailurePage { status: self.status.as_u16(), title: &self.title, text: &self.text };
        let body = page.render().unwrap_or_else(|_| self.title.clone());
        (self.status, Html(body)).into_response()
    }
}

impl From<askama::Error> for Failure {
    fn from(error: askama::Error) -> Self {
        Self::inside(error.to_string())
    }
}

impl From<control::Rejected> for Failure {
    fn from(rejected: control::Rejected) -> Self {
        use control::Rejected as R;
        let text = rejected.to_string();
        match rejected {
            R::Stale(_) => Self::new(StatusCode::CONFLICT, "Changed meanwhile", text),
            R::Problems(problems) => {
                let list: Vec<_> = problems.iter().map(|p| p.problem.as_str()).collect();
                Self::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "The settings would be wrong",
                    format!("Nothing was changed. {}.", list.join("; ")),
                )
            }
            R::Cannot { subsystem, reason } => Self::new(
                StatusCode::CONFLICT,
                "This cannot be done now",
                format!("Nothing was changed. The {subsystem} cannot do that: {reason}."),
            ),
            R::Missing(text) => Self::not_found(text),
            R::Storage(_) => Self::inside(text),
            R::Stopping => Self::new(StatusCode::SERVICE_UNAVAILABLE, "Shutting down", text),
        }
    }
}
