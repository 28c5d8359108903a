//! One backend.

use crate::error::{Failure, PageResult};
use crate::forms::{BackendForm, Base, Field, Form, submit};
use crate::pages::{Confirm, Ctx, Shell, after, named, page, page_with, remove};
use askama::Template;
use axum::extract::Path;
use http::StatusCode;
use model::{Backend, Balance, CheckMethod, DEFAULT_BACKEND, DnsType, Edit, Mode, Name, OnError};

#[derive(Template)]
#[template(path = "backend_form.html")]
struct BackendPage {
    shell: Shell,
    title: String,
    form: BackendForm,
    balances: Vec<(String, String)>,
    modes: Vec<(String, String)>,
    methods: Vec<(String, String)>,
    dns_types: Vec<(String, String)>,
    on_errors: Vec<(String, String)>,
    finer_open: bool,
    written: bool,
    default_one: bool,
    keep_open: bool,
    hash_open: bool,
    expert_open: bool,
}

fn explained(balance: &Balance) -> (String, String) {
    let words = match balance {
        Balance::Roundrobin => "in turn, by weight",
        Balance::StaticRr => "in turn, by weight, without changes while running",
        Balance::Leastconn => "the least busy one",
        Balance::First => "the first that has room",
        Balance::Source => "by the visitor's address",
        Balance::Uri(_) => "by the address asked for",
        Balance::UrlParam { .. } => "by a parameter of the query",
        Balance::Hdr { .. } => "by a header field",
        Balance::Random { .. } => "the less busy of two drawn at random",
        Balance::RdpCookie { .. } => "by the remote desktop cookie (mode tcp)",
    };
    let line = balance.to_string();
    let text = format!("{line} – {words}");
    (line, text)
}

/// Is there an error in one of these, or a value that somebody else has changed?
fn needs_a_look(fields: &[&Field]) -> bool {
    fields.iter().any(|f| f.error.is_some() || f.now.is_some())
}

/// What a mode means, for a form.
pub(super) fn mode(mode: Mode) -> (String, String) {
    let words = match mode {
        Mode::Http => "every request is read, and balanced on its own",
        Mode::Tcp => "bytes are passed on as they come",
        Mode::Udp => "datagrams are, for DNS and the like",
    };
    (mode.to_string(), format!("{mode} – {words}"))
}

fn plain<T: std::fmt::Display>(all: &[T]) -> Vec<(String, String)> {
    all.iter().map(|v| (v.to_string(), v.to_string())).collect()
}

fn form_page(ctx: &Ctx, status: StatusCode, title: &str, form: BackendForm) -> PageResult {
    let snapshot = ctx.snapshot();
    let experts = [&form.retries, &form.timeout_connect, &form.timeout_server];
    let page = BackendPage {
        shell: ctx.shell(if form.head.new { "Add a backend" } else { title }, "balancing"),
        balances: Balance::examples().iter().map(explained).collect(),
        modes: Mode::ALL.iter().map(|m| mode(*m)).collect(),
        methods: plain(CheckMethod::ALL),
        dns_types: plain(DnsType::ALL),
        on_errors: plain(OnError::ALL),
        finer_open: form.finer.has_errors(),
        written: snapshot.settings.backends.iter().any(|b| b.name.as_str() == title),
        default_one: title == DEFAULT_BACKEND,
        title: title.to_owned(),
        keep_open: needs_a_look(&[&form.cookie, &form.stick_table, &form.stick_on]),
        hash_open: needs_a_look(&[&form.hash_type, &form.hash_balance_factor, &form.slowstart]),
        expert_open: needs_a_look(&experts),
        form,
    };
    page_with(status, &page)
}

pub(crate) async fn new(ctx: Ctx) -> PageResult {
    let mut form = BackendForm::of(&Backend::default(), &ctx.snapshot());
    form.head.new = true;
    form_page(&ctx, StatusCode::OK, "", form)
}

pub(crate) async fn add(ctx: Ctx) -> PageResult {
    let mut form = BackendForm::typed(&ctx.form);
    form.head.new = true;
    let submitted = submit(&ctx.app, &ctx.visitor, &mut form).await?;
    after(submitted, "/balancing", |status| form_page(&ctx, status, "", form))
}

pub(crate) async fn edit(ctx: Ctx, Path(name): Path<String>) -> PageResult {
    let snapshot = ctx.snapshot();
    let all = snapshot.settings.completed();
    let found = all.backends.iter().find(|b| b.name.as_str() == name);
    let found = found.ok_or_else(|| Failure::not_found("There is no such backend any more."))?;
    form_page(&ctx, StatusCode::OK, &name, BackendForm::of(found, &snapshot))
}

pub(crate) async fn save(ctx: Ctx, Path(name): Path<String>) -> PageResult {
    let name: Name = named(&name)?;
    let mut form = BackendForm::typed(&ctx.form);
    form.head.new = false;
    form.name.set(&name);
    let submitted = submit(&ctx.app, &ctx.visitor, &mut form).await?;
    after(submitted, "/balancing", |status| form_page(&ctx, status, name.as_str(), form))
}

pub(crate) async fn ask_remove(ctx: Ctx, Path(name): Path<String>) -> PageResult {
    let name: Name = named(&name)?;
    let default_one = name.as_str() == DEFAULT_BACKEND;
    page(&Confirm {
        shell: ctx.shell("Remove", "balancing"),
        question: if default_one {
            "Back to the default backend?".to_owned()
        } else {
            format!("Remove backend {name}?")
        },
        consequence: if default_one {
            "Its entry is removed, with the states and weights set there, and the built-in default takes its place: all web servers, in turn."
        } else {
            "Its servers get no visitors any more."
        }
        .to_owned(),
        action: format!("/balancing/backends/{name}/remove"),
        back: "/balancing",
        verb: if default_one { "Back to the default" } else { "Remove" },
        base: Base::of(&ctx.snapshot()),
    })
}

pub(crate) async fn remove_now(ctx: Ctx, Path(name): Path<String>) -> PageResult {
    remove(&ctx, Edit::RemoveBackend(named(&name)?), "/balancing").await
}
