//! The admin page's own settings.

use super::{Ctx, Shell, after, page_with};
use crate::error::PageResult;
use crate::forms::{AdminForm, Form, submit};
use askama::Template;
use http::StatusCode;

#[derive(Template)]
#[template(path = "admin_form.html")]
struct AdminPage {
    shell: Shell,
    form: AdminForm,
}

fn form_page(ctx: &Ctx, status: StatusCode, form: AdminForm) -> PageResult {
    page_with(status, &AdminPage { shell: ctx.shell("Admin page", "more"), form })
}

pub(crate) async fn edit(ctx: Ctx) -> PageResult {
    let snapshot = ctx.snapshot();
    let form = AdminForm::of(&snapshot.settings.admin, &snapshot);
    form_page(&ctx, StatusCode::OK, form)
}

pub(crate) async fn save(ctx: Ctx) -> PageResult {
    let mut form = AdminForm::typed(&ctx.form);
    let submitted = submit(&ctx.app, &ctx.visitor, &mut form).await?;
    after(submitted, "/admin", |status| form_page(&ctx, status, form))
}
