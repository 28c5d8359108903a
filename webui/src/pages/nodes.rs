//! The boards: what each does, its name and addresses.

use super::{Ctx, Shell, after, named, page, page_with};
use crate::error::{Failure, PageResult};
use crate::forms::{Base, Form, NodeForm, submit};
use crate::view::ClusterView;
use askama::Template;
use axum::extract::Path;
use http::StatusCode;
use model::NodeId;

#[derive(Template)]
#[template(path = "nodes.html")]
struct Nodes {
    shell: Shell,
    v: ClusterView,
    unknown_here: bool,
    own_id: String,
    own_name: String,
    floating_ip: String,
    gateway: String,
    dns: String,
    /// Boards that wait to be adopted.
    waiting: usize,
}

#[derive(Template)]
#[template(path = "node_form.html")]
struct NodePage {
    shell: Shell,
    title: String,
    form: NodeForm,
    address_hint: &'static str,
    wireless_hint: &'static str,
}

pub(crate) async fn list(ctx: Ctx) -> PageResult {
    let snapshot = ctx.snapshot();
    let cluster = &snapshot.settings.cluster;
    let own_id = snapshot.node().to_string();
    page(&Nodes {
        shell: ctx.shell("Nodes", "nodes"),
        v: ctx.cluster(),
        unknown_here: snapshot.settings.node(snapshot.node()).is_none(),
        own_name: own_id.clone(),
        own_id,
        floating_ip: cluster.floating_ip.map(|ip| ip.to_string()).unwrap_or_default(),
        gateway: cluster.gateway.map(|ip| ip.to_string()).unwrap_or_default(),
        waiting: super::found::view(&ctx.app).free.len(),
        dns: cluster.dns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    })
}

fn form_page(ctx: &Ctx, status: StatusCode, title: &str, form: NodeForm) -> PageResult {
    let shell = ctx.shell(if form.head.new { "Add a node" } else { title }, "nodes");
    // On somebody else's Linux an interface without an address is that system's affair.
    let (address_hint, wireless_hint) = if ctx.app.ports.system.is_some() {
        ("For example 192.168.1.10/24. Empty: by DHCP.", "Empty: by DHCP.")
    } else {
        ("For example 192.168.1.10/24. Empty: left as it is found.", "Empty: left as it is found.")
    };
    page_with(
        status,
        &NodePage { shell, title: title.to_owned(), form, address_hint, wireless_hint },
    )
}

pub(crate) async fn new(ctx: Ctx) -> PageResult {
    let mut form = NodeForm::default();
    form.head.new = true;
    form.head.base = Base::of(&ctx.snapshot());
    form.id.set(ctx.query.first("id"));
    form.name.set(ctx.query.first("name"));
    form_page(&ctx, StatusCode::OK, "", form)
}

pub(crate) async fn add(ctx: Ctx) -> PageResult {
    let mut form = NodeForm::typed(&ctx.form);
    form.head.new = true;
    if form.id.value.is_empty() {
        form.id.set(form.name.value.to_ascii_lowercase());
    }
    let submitted = submit(&ctx.app, &ctx.visitor, &mut form).await?;
    after(submitted, "/nodes", |status| form_page(&ctx, status, "", form))
}

pub(crate) async fn edit(ctx: Ctx, Path(id): Path<String>) -> PageResult {
    let snapshot = ctx.snapshot();
    let id: NodeId = named(&id)?;
    let node = snapshot.settings.node(&id);
    let node = node.ok_or_else(|| Failure::not_found("There is no such node any more."))?;
    let form = NodeForm::of(node, &snapshot);
    form_page(&ctx, StatusCode::OK, node.name.as_str(), form)
}

pub(crate) async fn save(ctx: Ctx, Path(id): Path<String>) -> PageResult {
    let id: NodeId = named(&id)?;
    let mut form = NodeForm::typed(&ctx.form);
    form.head.new = false;
    form.id.set(&id);
    let submitted = submit(&ctx.app, &ctx.visitor, &mut form).await?;
    let title = crate::view::name_of(&ctx.snapshot(), &id);
    after(submitted, &format!("/nodes/{id}"), |status| form_page(&ctx, status, &title, form))
}
