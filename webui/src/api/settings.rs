//! The whole settings document. Its `ETag` is a revision, which each node counts for itself: a
//! program sends `If-Match` to the node it read from, not to whoever holds the floating IP.

use super::{outcome, problems, refused, tagged};
use crate::gate::WholeBody;
use crate::pages::Ctx;
use axum::Extension;
use axum::response::{IntoResponse, Response};
use control::Change;
use http::{HeaderMap, StatusCode, header};
use model::{Edit, Revision};

pub(crate) async fn get(ctx: Ctx) -> Response {
    let snapshot = ctx.snapshot();
    let body = model::to_json(&snapshot.settings.masked());
    let head = [(header::CONTENT_TYPE, "application/json")];
    tagged((head, body).into_response(), snapshot.revision)
}

/// What `If-Match` asks for.
enum Base {
    Any,
    One(Revision),
    /// None that ever was.
    Never,
}

fn base(headers: &HeaderMap, current: Revision) -> Option<Base> {
    let mut given = headers.get_all(header::IF_MATCH).iter().peekable();
    given.peek()?;
    let tags: Vec<&str> =
        given.filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).map(str::trim).collect();
    if tags.contains(&"*") {
        return Some(Base::Any);
    }
    // RFC 9110 13.1.1: compared strongly, so W/"…" matches nothing.
    let revisions =
        tags.iter().filter_map(|t| t.strip_prefix('"')?.strip_suffix('"')?.parse().ok());
    let revisions: Vec<Revision> = revisions.map(Revision).collect();
    if revisions.contains(&current) {
        return Some(Base::One(current));
    }
    Some(revisions.first().map_or(Base::Never, |r| Base::One(*r)))
}

pub(crate) async fn put(
    ctx: Ctx,
    Extension(WholeBody(body)): Extension<WholeBody>,
    headers: HeaderMap,
) -> Response {
    let current = ctx.snapshot();
    let base = match base(&headers, current.revision) {
        None => {
            return refused(
                StatusCode::PRECONDITION_REQUIRED,
                "say which revision this document was made from: If-Match with the ETag of GET",
            );
        }
        Some(Base::Never) => {
            let text = format!("the settings are at revision {} now", current.revision);
            return tagged(refused(StatusCode::PRECONDITION_FAILED, text), current.revision);
        }
        Some(Base::Any) => None,
        Some(Base::One(revision)) => Some(revision),
    };
    let next = match model::from_json(&body, &current.settings) {
        Ok(next) => next,
        Err(list) => return problems(&list),
    };
    let author = ctx.visitor.author();
    let change = Change { base, author, edits: vec![Edit::Replace(Box::new(next))] };
    outcome(ctx.app.ports.control.submit(change).await)
}
