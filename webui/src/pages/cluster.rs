//! What all nodes have in common.

use super::{Ctx, Shell, after, page_with};
use crate::error::PageResult;
use crate::forms::{ClusterForm, Form, submit};
use askama::Template;
use http::StatusCode;

#[derive(Template)]
#[template(path = "cluster_form.html")]
struct ClusterPage {
    shell: Shell,
    form: ClusterForm,
}

fn form_page(ctx: &Ctx, status: StatusCode, form: ClusterForm) -> PageResult {
    page_with(status, &ClusterPage { shell: ctx.shell("Cluster", "nodes"), form })
}

pub(crate) async fn edit(ctx: Ctx) -> PageResult {
    let snapshot = ctx.snapshot();
    let form = ClusterForm::of(&snapshot.settings.cluster, &snapshot);
    form_page(&ctx, StatusCode::OK, form)
}

pub(crate) async fn save(ctx: Ctx) -> PageResult {
    let mut form = ClusterForm::typed(&ctx.form);
    let submitted = submit(&ctx.app, &ctx.visitor, &mut form).await?;
    after(submitted, "/nodes", |status| form_page(&ctx, status, form))
}
