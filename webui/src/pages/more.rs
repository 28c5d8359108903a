//! The pages that have no place in the bar of a phone.

use super::{Ctx, Flash, Shell, page};
use crate::error::PageResult;
use crate::view::Tone;
use askama::Template;

#[derive(Template)]
#[template(path = "more.html")]
struct More {
    shell: Shell,
    version: String,
    revision: u64,
}

pub(crate) async fn show(ctx: Ctx) -> PageResult {
    let mut shell = ctx.shell("More", "more");
    if !ctx.query.first("password").is_empty() {
        let text = "The password is changed, and every other session has ended.".to_owned();
        shell.flash = Some(Flash { tone: Tone::Good, text });
    }
    let version = ctx.app.ports.board.own().version;
    page(&More { shell, version, revision: ctx.snapshot().revision.0 })
}
