//! Certificates for visitors who speak TLS.

use crate::error::{Failure, PageResult};
use crate::forms::{Base, CertificateForm, Form, Pairs, submit};
use crate::pages::{Confirm, Ctx, Shell, after, named, page, page_with, remove};
use crate::upload::Fields;
use crate::words::{count, moment};
use askama::Template;
use axum::Extension;
use axum::extract::Path;
use http::StatusCode;
use model::{Certificate, Edit, Name, Order, Pem, Settings};
use std::time::{SystemTime, UNIX_EPOCH};

struct Row {
    name: String,
    /// The names it is good for.
    names: String,
    until: String,
    issuer: String,
    /// What is the matter with it, in a word; empty for nothing.
    chip: &'static str,
    /// What should be known of its chain; empty for nothing.
    chain: String,
    used: String,
}

#[derive(Template)]
#[template(path = "certificates.html")]
struct Certificates {
    shell: Shell,
    certificates: Vec<Row>,
}

#[derive(Template)]
#[template(path = "certificate_form.html")]
struct CertificatePage {
    shell: Shell,
    title: String,
    form: CertificateForm,
    now: Option<Row>,
}

fn seconds_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The frontends that show it.
fn users(settings: &Settings, name: &Name) -> Vec<String> {
    let all = settings.frontends.iter().filter(|f| f.certificates.contains(name));
    all.map(|f| f.name.to_string()).collect()
}

fn row(settings: &Settings, certificate: &Certificate, now: i64) -> Row {
    let users = users(settings, &certificate.name);
    let used = if users.is_empty() {
        "not used by any frontend".to_owned()
    } else {
        format!("used by {}", users.join(", "))
    };
    let name = certificate.name.to_string();
    let Some(facts) = certificate.facts() else {
        let unknown = "cannot be read".to_owned();
        return Row {
            name,
            names: unknown,
            until: String::new(),
            issuer: String::new(),
            chip: "broken",
            chain: String::new(),
            used,
        };
    };
    let day = |at: i64| moment(at.saturating_mul(1000)).chars().take(10).collect::<String>();
    let left = facts.days_left(now);
    let (chip, until) = match left {
        None => ("", format!("until {}", day(facts.not_after))),
        Some(_) if facts.not_before > now => ("not yet", format!("from {}", day(facts.not_before))),
        Some(left) if left < 0 => ("expired", format!("expired on {}", day(facts.not_after))),
        Some(left) => {
            let days = count(usize::try_from(left).unwrap_or(0), "day");
            let chip = if facts.ends_soon(now) { "ends soon" } else { "" };
            (chip, format!("until {} ({days})", day(facts.not_after)))
        }
    };
    Row {
        name,
        names: facts.names.join(", "),
        until,
        issuer: facts.issuer.unwrap_or_default(),
        chip,
        chain: alone(certificate),
        used,
    }
}

/// A certificate without the one it is signed with is the usual reason why some visitors see a
/// warning and others do not.
fn alone(certificate: &Certificate) -> String {
    let order = Order::of(&Pem::read(&certificate.chain).certificates(), None);
    match (order.chain.len(), order.missing) {
        (1, Some(issuer)) => format!(
            "It comes without the certificate of {issuer}, which has signed it: unless that is a \
             root they know, some browsers and programs warn. Add it below its own (fullchain.pem)."
        ),
        _ => String::new(),
    }
}

pub(crate) async fn list(ctx: Ctx) -> PageResult {
    let (snapshot, now) = (ctx.snapshot(), seconds_now());
    let settings = &snapshot.settings;
    let certificates = settings.certificates.iter().map(|c| row(settings, c, now)).collect();
    page(&Certificates { shell: ctx.shell("Certificates", "balancing"), certificates })
}

fn form_page(ctx: &Ctx, status: StatusCode, title: &str, mut form: CertificateForm) -> PageResult {
    let snapshot = ctx.snapshot();
    let settings = &snapshot.settings;
    let found = settings.certificates.iter().find(|c| c.name.as_str() == title);
    form.hide_key();
    let page = CertificatePage {
        shell: ctx.shell(if form.head.new { "Add a certificate" } else { title }, "balancing"),
        title: title.to_owned(),
        now: found.map(|c| row(settings, c, seconds_now())),
        form,
    };
    page_with(status, &page)
}

pub(crate) async fn new(ctx: Ctx) -> PageResult {
    let mut form = CertificateForm::of(&Certificate::default(), &ctx.snapshot());
    form.head.new = true;
    form_page(&ctx, StatusCode::OK, "", form)
}

/// What was typed, and what the files say.
fn typed(ctx: &Ctx, fields: Option<Extension<Fields>>) -> CertificateForm {
    let Some(Extension(fields)) = fields else { return CertificateForm::typed(&ctx.form) };
    let names = ["revision", "new", "name", "chain", "key"];
    let mut form = CertificateForm::typed(&Pairs::of(names.map(|n| (n, fields.text(n)))));
    for file in ["chain_file", "key_file"] {
        match model::not_pem(&fields.bytes(file)) {
            Some(why) => form.refuse_file(file == "key_file", why),
            None => form.add(&fields.text(file)),
        }
    }
    form
}

pub(crate) async fn add(ctx: Ctx, fields: Option<Extension<Fields>>) -> PageResult {
    let mut form = typed(&ctx, fields);
    form.head.new = true;
    let submitted = submit(&ctx.app, &ctx.visitor, &mut form).await?;
    after(submitted, "/balancing/certificates", |status| form_page(&ctx, status, "", form))
}

pub(crate) async fn edit(ctx: Ctx, Path(name): Path<String>) -> PageResult {
    let snapshot = ctx.snapshot();
    let found = snapshot.settings.certificates.iter().find(|c| c.name.as_str() == name);
    let found =
        found.ok_or_else(|| Failure::not_found("There is no such certificate any more."))?;
    form_page(&ctx, StatusCode::OK, &name, CertificateForm::of(found, &snapshot))
}

pub(crate) async fn save(
    ctx: Ctx,
    Path(name): Path<String>,
    fields: Option<Extension<Fields>>,
) -> PageResult {
    let name: Name = named(&name)?;
    let mut form = typed(&ctx, fields);
    form.head.new = false;
    form.name.set(&name);
    let submitted = submit(&ctx.app, &ctx.visitor, &mut form).await?;
    let to = "/balancing/certificates";
    after(submitted, to, |status| form_page(&ctx, status, name.as_str(), form))
}

/// One that is shown to visitors stays.
fn refuse_if_used(ctx: &Ctx, name: &Name) -> Result<(), Failure> {
    let users = users(&ctx.snapshot().settings, name);
    if users.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        StatusCode::CONFLICT,
        "Still in use",
        format!(
            "Visitors of {} are shown {name}. Take it out of the frontend first, or replace it.",
            users.join(", ")
        ),
    ))
}

pub(crate) async fn ask_remove(ctx: Ctx, Path(name): Path<String>) -> PageResult {
    let name: Name = named(&name)?;
    refuse_if_used(&ctx, &name)?;
    page(&Confirm {
        shell: ctx.shell("Remove", "balancing"),
        question: format!("Remove certificate {name}?"),
        consequence: "Its key goes with it; whoever has no copy has to have another certificate \
                      made. No visitor notices: no frontend uses it."
            .to_owned(),
        action: format!("/balancing/certificates/{name}/remove"),
        back: "/balancing/certificates",
        verb: "Remove",
        base: Base::of(&ctx.snapshot()),
    })
}

pub(crate) async fn remove_now(ctx: Ctx, Path(name): Path<String>) -> PageResult {
    let name: Name = named(&name)?;
    refuse_if_used(&ctx, &name)?;
    remove(&ctx, Edit::RemoveCertificate(name), "/balancing/certificates").await
}
