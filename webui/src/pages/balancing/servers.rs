//! One server: its state and weight at once, the rest by a form.

use super::{Refused, show_with};
use crate::error::{Failure, PageResult};
use crate::forms::{Base, Form, ServerForm, submit};
use crate::pages::{Ctx, Shell, after, done, named, page_with, remove};
use askama::Template;
use axum::extract::Path;
use control::Change;
use http::StatusCode;
use model::{Edit, Name, SendProxy, ServerAgent, ServerHealth, ServerState, Weight};

/// The buttons and the weight field on the Balancing page.
pub(crate) async fn set(ctx: Ctx, Path((backend, server)): Path<(String, String)>) -> PageResult {
    let (backend, server): (Name, Name) = (named(&backend)?, named(&server)?);
    let refused = |typed: &str, error: String| {
        let refused = Refused {
            backend: backend.to_string(),
            server: server.to_string(),
            typed: typed.to_owned(),
            error: crate::words::sentence(&error),
        };
        show_with(&ctx, StatusCode::UNPROCESSABLE_ENTITY, Some(refused))
    };
    let (state, weight) = (ctx.form.first("state"), ctx.form.first("weight"));
    let health = match ctx.form.first("health") {
        "" => None,
        text => match text.parse::<ServerHealth>() {
            Ok(health) => Some(health),
            Err(error) => return refused("", error.to_string()),
        },
    };
    let state = match state {
        "" => None,
        text => match text.parse::<ServerState>() {
            Ok(state) => Some(state),
            Err(error) => return refused("", error.to_string()),
        },
    };
    let weight = match weight {
        "" if state.is_none() && health.is_none() => {
            return refused("", "type a weight from 0 to 256".to_owned());
        }
        "" => None,
        text => match text.parse::<Weight>() {
            Ok(weight) => Some(weight),
            Err(error) => return refused(text, error.to_string()),
        },
    };
    // Means the same on any revision, so it needs no base.
    let edit = Edit::SetServer {
        backend: backend.clone(),
        server: server.clone(),
        weight,
        state,
        health,
        agent: None,
    };
    let change = Change { base: None, author: ctx.visitor.author(), edits: vec![edit] };
    Ok(done(ctx.app.ports.control.submit(change).await?, "/balancing"))
}

#[derive(Template)]
#[template(path = "server_form.html")]
struct ServerPage {
    shell: Shell,
    title: String,
    form: ServerForm,
    address_hint: &'static str,
    healths: Vec<(String, String)>,
    agents: Vec<(String, String)>,
    send_proxies: Vec<(String, String)>,
    expert_open: bool,
    derived: bool,
    removable: bool,
}

fn agents(agent: ServerAgent) -> (String, String) {
    let words = match agent {
        ServerAgent::Asked => "what the agent says counts",
        ServerAgent::Off => "it is not asked; what it said last stays",
        ServerAgent::Up => "it says up, whatever it says",
        ServerAgent::Down => "it says down, whatever it says",
    };
    (agent.to_string(), format!("{agent} – {words}"))
}

fn healths(health: ServerHealth) -> (String, String) {
    let words = match health {
        ServerHealth::Checked => "what the checks say",
        ServerHealth::Up => "whatever happens; no checks",
        ServerHealth::Stopping => "no new visitors; no checks",
        ServerHealth::Down => "no visitors at all; no checks",
    };
    (health.to_string(), format!("{health} – {words}"))
}

fn form_page(ctx: &Ctx, status: StatusCode, title: &str, form: ServerForm) -> PageResult {
    let shell = ctx.shell(if form.head.new { "Add a server" } else { title }, "balancing");
    let snapshot = ctx.snapshot();
    let backend = snapshot.effective.backends.iter();
    let backend = backend.filter(|b| b.backend.name.as_str() == form.backend);
    let server = backend.flat_map(|b| &b.servers).find(|s| s.name.as_str() == title);
    let derived = server.is_some_and(|s| s.node.is_some());
    let written = form.part(&snapshot.settings).is_some_and(|b| form.server(&b).is_some());
    let finer = [
        &form.hostname,
        &form.health,
        &form.agent,
        &form.maxconn,
        &form.minconn,
        &form.maxqueue,
        &form.send_proxy,
    ];
    let page = ServerPage {
        shell,
        expert_open: finer.iter().any(|f| f.error.is_some() || f.now.is_some()),
        healths: ServerHealth::ALL.iter().map(|h| healths(*h)).collect(),
        agents: ServerAgent::ALL.iter().map(|a| agents(*a)).collect(),
        send_proxies: SendProxy::ALL.iter().map(|v| (v.to_string(), v.to_string())).collect(),
        title: title.to_owned(),
        removable: written && !form.head.new,
        form,
        address_hint: if derived {
            "Empty: the address of its node."
        } else {
            "For example 192.168.1.30:8080."
        },
        derived,
    };
    page_with(status, &page)
}

fn form_of(ctx: &Ctx, backend: &str, server: &str) -> Result<ServerForm, Failure> {
    let snapshot = ctx.snapshot();
    let mut form = ServerForm::default();
    form.backend = backend.to_owned();
    form.head.base = Base::of(&snapshot);
    form.name.set(server);
    let part = form.part(&snapshot.settings);
    let part = part.ok_or_else(|| Failure::not_found("There is no such backend any more."))?;
    form.fill(&part);
    Ok(form)
}

pub(crate) async fn new(ctx: Ctx, Path(backend): Path<String>) -> PageResult {
    let mut form = form_of(&ctx, &backend, "")?;
    form.head.new = true;
    form_page(&ctx, StatusCode::OK, "", form)
}

pub(crate) async fn edit(ctx: Ctx, Path((backend, server)): Path<(String, String)>) -> PageResult {
    let form = form_of(&ctx, &backend, &server)?;
    let snapshot = ctx.snapshot();
    let servers = snapshot.effective.backends.iter().filter(|b| b.backend.name.as_str() == backend);
    if !servers.flat_map(|b| &b.servers).any(|s| s.name.as_str() == server) {
        return Err(Failure::not_found("There is no such server any more."));
    }
    form_page(&ctx, StatusCode::OK, &server, form)
}

pub(crate) async fn add(ctx: Ctx, Path(backend): Path<String>) -> PageResult {
    let mut form = ServerForm::typed(&ctx.form);
    form.backend = backend;
    form.head.new = true;
    let submitted = submit(&ctx.app, &ctx.visitor, &mut form).await?;
    after(submitted, "/balancing", |status| form_page(&ctx, status, "", form))
}

pub(crate) async fn save(ctx: Ctx, Path((backend, server)): Path<(String, String)>) -> PageResult {
    let mut form = ServerForm::typed(&ctx.form);
    form.backend = backend;
    form.name.set(&server);
    form.head.new = false;
    let submitted = submit(&ctx.app, &ctx.visitor, &mut form).await?;
    after(submitted, "/balancing", |status| form_page(&ctx, status, &server, form))
}

pub(crate) async fn remove_now(
    ctx: Ctx,
    Path((backend, server)): Path<(String, String)>,
) -> PageResult {
    let backend: Name = named(&backend)?;
    let snapshot = ctx.snapshot();
    let entry = snapshot.settings.backend(&backend);
    let mut entry =
        entry.cloned().ok_or_else(|| Failure::not_found("There is no such backend any more."))?;
    entry.servers.retain(|s| s.name.as_str() != server);
    remove(&ctx, Edit::PutBackend(entry), "/balancing").await
}
