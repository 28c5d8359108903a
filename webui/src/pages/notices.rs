//! Notices that all nodes share, until somebody has seen them.

use super::{Ctx, see};
use crate::error::{Failure, PageResult};
use axum::extract::Path;
use http::StatusCode;

/// What the shared values of notices begin with.
pub const PREFIX: &str = "notice/";

/// A notice and the name it is dismissed by.
pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// Those that are there now.
pub(crate) fn all(ctx: &Ctx) -> Vec<Shared> {
    let replication = ctx.app.ports.control.replication();
    let replication = replication.borrow();
    let ours = replication.shared.iter().filter_map(|(key, text)| {
        let name = key.strip_prefix(PREFIX)?;
        Some(Shared { name: name.to_owned(), text: text.clone() })
    });
    ours.take(8).collect()
}

/// Takes one away, on every node.
pub(crate) async fn dismiss(ctx: Ctx, Path(name): Path<String>) -> PageResult {
    let key = format!("{PREFIX}{name}");
    let control = &ctx.app.ports.control;
    if control.shared(&key).is_none() {
        return Err(Failure::new(
            StatusCode::NOT_FOUND,
            "Gone already",
            "There is no such notice any more; somebody dismissed it.",
        ));
    }
    let sentence = format!("dismissed the notice about {name}");
    control.share(&key, None, ctx.visitor.author(), &sentence).await?;
    Ok(see("/"))
}
