//! One frontend.

use crate::error::{Failure, PageResult};
use crate::forms::{Base, Form, FrontendForm, submit};
use crate::pages::{Confirm, Ctx, Shell, after, named, page, page_with, remove};
use askama::Template;
use axum::extract::Path;
use http::StatusCode;
use model::{DEFAULT_BACKEND, DEFAULT_FRONTEND, Edit, Frontend, Mode, Name, TlsVersion};

#[derive(Template)]
#[template(path = "frontend_form.html")]
struct FrontendPage {
    shell: Shell,
    title: String,
    form: FrontendForm,
    backends: Vec<(String, String)>,
    modes: Vec<(String, String)>,
    /// The certificates there are.
    certificates: Vec<String>,
    versions: Vec<(String, String)>,
    tls_open: bool,
    written: bool,
    default_one: bool,
    rules_open: bool,
    expert_open: bool,
    stats_open: bool,
}

fn form_page(ctx: &Ctx, status: StatusCode, title: &str, form: FrontendForm) -> PageResult {
    let snapshot = ctx.snapshot();
    let mut backends: Vec<(String, String)> = snapshot
        .effective
        .backends
        .iter()
        .map(|b| (b.backend.name.to_string(), b.backend.name.to_string()))
        .collect();
    // A backend that is gone stays selected, so that what was chosen is not silently another.
    let chosen = form.default_backend.value.clone();
    if !chosen.is_empty() && !backends.iter().any(|(name, _)| *name == chosen) {
        backends.push((chosen.clone(), format!("{chosen} (not there)")));
    }
    let experts = [
        &form.maxconn,
        &form.count_paths,
        &form.dontlognull,
        &form.http_ignore_probes,
        &form.timeout_client,
        &form.timeout_http_request,
        &form.timeout_http_keep_alive,
        &form.timeout_tarpit,
        &form.timeout_client_fin,
        &form.inspect_delay,
    ];
    let page = FrontendPage {
        shell: ctx.shell(if form.head.new { "Add a frontend" } else { title }, "balancing"),
        written: snapshot.settings.frontends.iter().any(|f| f.name.as_str() == title),
        default_one: title == DEFAULT_FRONTEND,
        title: title.to_owned(),
        rules_open: !form.rules.value.is_empty()
            || form.rules.error.is_some()
            || form.stick_table.error.is_some()
            || form.rules.now.is_some(),
        stats_open: !form.stats_uri.value.is_empty()
            || [&form.stats_uri, &form.stats_refresh]
                .iter()
                .any(|f| f.error.is_some() || f.now.is_some()),
        expert_open: experts.iter().any(|f| f.error.is_some() || f.now.is_some()),
        certificates: snapshot.settings.certificates.iter().map(|c| c.name.to_string()).collect(),
        versions: TlsVersion::ALL.iter().map(|v| (v.to_string(), v.to_string())).collect(),
        tls_open: form.bind.value.contains("ssl")
            || [&form.certificates, &form.strict_sni, &form.http2, &form.ssl_min_ver]
                .iter()
                .any(|f| f.error.is_some() || f.now.is_some()),
        backends,
        modes: Mode::ALL.iter().map(|m| super::backends::mode(*m)).collect(),
        form,
    };
    page_with(status, &page)
}

pub(crate) async fn new(ctx: Ctx) -> PageResult {
    let mut form = FrontendForm::of(&Frontend::default(), &ctx.snapshot());
    form.head.new = true;
    form.default_backend.set(DEFAULT_BACKEND);
    form_page(&ctx, StatusCode::OK, "", form)
}

pub(crate) async fn add(ctx: Ctx) -> PageResult {
    let mut form = FrontendForm::typed(&ctx.form);
    form.head.new = true;
    let submitted = submit(&ctx.app, &ctx.visitor, &mut form).await?;
    after(submitted, "/balancing", |status| form_page(&ctx, status, "", form))
}

pub(crate) async fn edit(ctx: Ctx, Path(name): Path<String>) -> PageResult {
    let snapshot = ctx.snapshot();
    let all = snapshot.settings.completed();
    let found = all.frontends.iter().find(|f| f.name.as_str() == name);
    let found = found.ok_or_else(|| Failure::not_found("There is no such frontend any more."))?;
    form_page(&ctx, StatusCode::OK, &name, FrontendForm::of(found, &snapshot))
}

pub(crate) async fn save(ctx: Ctx, Path(name): Path<String>) -> PageResult {
    let name: Name = named(&name)?;
    let mut form = FrontendForm::typed(&ctx.form);
    form.head.new = false;
    form.name.set(&name);
    let submitted = submit(&ctx.app, &ctx.visitor, &mut form).await?;
    after(submitted, "/balancing", |status| form_page(&ctx, status, name.as_str(), form))
}

pub(crate) async fn ask_remove(ctx: Ctx, Path(name): Path<String>) -> PageResult {
    let name: Name = named(&name)?;
    let default_one = name.as_str() == DEFAULT_FRONTEND;
    page(&Confirm {
        shell: ctx.shell("Remove", "balancing"),
        question: if default_one {
            "Back to the default frontend?".to_owned()
        } else {
            format!("Remove frontend {name}?")
        },
        consequence: if default_one {
            "Its entry is removed and the built-in default takes its place: port 80 of the floating IP, to the web servers."
        } else {
            "Visitors can no longer reach its addresses. Connections that are open are finished."
        }
        .to_owned(),
        action: format!("/balancing/frontends/{name}/remove"),
        back: "/balancing",
        verb: if default_one { "Back to the default" } else { "Remove" },
        base: Base::of(&ctx.snapshot()),
    })
}

pub(crate) async fn remove_now(ctx: Ctx, Path(name): Path<String>) -> PageResult {
    remove(&ctx, Edit::RemoveFrontend(named(&name)?), "/balancing").await
}
