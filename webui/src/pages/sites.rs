//! What the web servers serve, and how it is mirrored.

use super::{Confirm, Ctx, Shell, after, named, page, page_with, remove, see};
use crate::error::{Failure, PageResult};
use crate::forms::{Base, Form, SiteForm, submit};
use crate::live::Part;
use crate::view::{ClusterView, MirrorView};
use askama::Template;
use axum::extract::Path;
use control::Snapshot;
use http::StatusCode;
use model::audit::Deed;
use model::status::{MirrorPhase, NodeReport};
use model::{DEFAULT_SITE, Edit, Name, Role};

struct Row {
    name: String,
    hosts: String,
    port: u16,
    directory: String,
    excluded: usize,
}

#[derive(Template)]
#[template(path = "sites.html")]
struct Sites {
    shell: Shell,
    sites: Vec<Row>,
    mirrors: String,
}

#[derive(Template)]
#[template(path = "part_mirrors.html")]
struct MirrorsPart<'a> {
    mirrors: &'a [MirrorView],
}

#[derive(Template)]
#[template(path = "site_form.html")]
struct SitePage {
    shell: Shell,
    title: String,
    form: SiteForm,
    origins: Vec<(String, String)>,
    written: bool,
    default_one: bool,
}

pub(crate) fn parts(
    snapshot: &Snapshot,
    reports: &[NodeReport],
) -> Result<Vec<Part>, askama::Error> {
    let v = ClusterView::new(snapshot, reports);
    Ok(vec![Part::new("mirrors", MirrorsPart { mirrors: &v.mirrors }.render()?)])
}

pub(crate) async fn list(ctx: Ctx) -> PageResult {
    let snapshot = ctx.snapshot();
    let sites = snapshot.effective.sites.iter().map(|s| Row {
        name: s.site.name.to_string(),
        hosts: s.site.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        port: s.site.port.get(),
        directory: s.directory.clone(),
        excluded: s.site.mirror.exclude.len(),
    });
    let sites = sites.collect();
    let mirrors = MirrorsPart { mirrors: &ctx.cluster().mirrors }.render()?;
    page(&Sites { shell: ctx.shell("Sites", "sites"), sites, mirrors })
}

fn form_page(ctx: &Ctx, status: StatusCode, title: &str, form: SiteForm) -> PageResult {
    let snapshot = ctx.snapshot();
    let settings = &snapshot.settings;
    let mut origins = vec![(String::new(), "the first web server".to_owned())];
    origins.extend(settings.with_role(Role::Web).map(|n| (n.id.to_string(), n.name.to_string())));
    let shell = ctx.shell(if form.head.new { "Add a site" } else { title }, "sites");
    page_with(
        status,
        &SitePage {
            shell,
            written: settings.sites.iter().any(|s| s.name.as_str() == title),
            default_one: title == DEFAULT_SITE,
            title: title.to_owned(),
            form,
            origins,
        },
    )
}

pub(crate) async fn new(ctx: Ctx) -> PageResult {
    let mut form = SiteForm::of(&model::Site::default(), &ctx.snapshot());
    form.head.new = true;
    form_page(&ctx, StatusCode::OK, "", form)
}

pub(crate) async fn add(ctx: Ctx) -> PageResult {
    let mut form = SiteForm::typed(&ctx.form);
    form.head.new = true;
    let submitted = submit(&ctx.app, &ctx.visitor, &mut form).await?;
    after(submitted, "/sites", |status| form_page(&ctx, status, "", form))
}

pub(crate) async fn edit(ctx: Ctx, Path(name): Path<String>) -> PageResult {
    let snapshot = ctx.snapshot();
    let all = snapshot.settings.completed();
    let site = all.sites.iter().find(|s| s.name.as_str() == name);
    let site = site.ok_or_else(|| Failure::not_found("There is no such site any more."))?;
    form_page(&ctx, StatusCode::OK, &name, SiteForm::of(site, &snapshot))
}

pub(crate) async fn save(ctx: Ctx, Path(name): Path<String>) -> PageResult {
    let name: Name = named(&name)?;
    let mut form = SiteForm::typed(&ctx.form);
    form.head.new = false;
    form.name.set(&name);
    let submitted = submit(&ctx.app, &ctx.visitor, &mut form).await?;
    after(submitted, "/sites", |status| form_page(&ctx, status, name.as_str(), form))
}

pub(crate) async fn ask_remove(ctx: Ctx, Path(name): Path<String>) -> PageResult {
    let name: Name = named(&name)?;
    let default_one = name.as_str() == DEFAULT_SITE;
    page(&Confirm {
        shell: ctx.shell("Remove", "sites"),
        question: if default_one {
            "Back to the default site?".to_owned()
        } else {
            format!("Remove site {name}?")
        },
        consequence: if default_one {
            "Its entry is removed and the built-in default takes its place, without exclude patterns. Files stay."
        } else {
            "It is no longer served. Its files stay on the web servers."
        }
        .to_owned(),
        action: format!("/sites/{name}/remove"),
        back: "/sites",
        verb: if default_one { "Back to the default" } else { "Remove" },
        base: Base::of(&ctx.snapshot()),
    })
}

pub(crate) async fn remove_now(ctx: Ctx, Path(name): Path<String>) -> PageResult {
    remove(&ctx, Edit::RemoveSite(named(&name)?), "/sites").await
}

/// Lets the deletion pass that this node's mirror of a site holds back now.
pub(crate) async fn approve(ctx: &Ctx, name: &Name) -> Result<(), Failure> {
    let own = ctx.app.ports.board.own();
    let held = own
        .mirror
        .iter()
        .any(|m| m.site == *name && matches!(m.phase, MirrorPhase::Held { approvable: true, .. }));
    if !held {
        return Err(Failure::new(
            StatusCode::CONFLICT,
            "There is nothing to approve",
            format!("This node holds back no deletion of {name} at this moment."),
        ));
    }
    ctx.app.ports.mirror.approve(name).await;
    ctx.note(Deed::DeletionApproved, name.to_string()).await;
    ctx.app.ports.board.touch();
    Ok(())
}

pub(crate) async fn ask_approve(ctx: Ctx, Path(name): Path<String>) -> PageResult {
    let name: Name = named(&name)?;
    let own = ctx.app.ports.board.own();
    let held = own.mirror.into_iter().find(|m| m.site == name).map(|m| m.phase);
    let consequence = match held {
        Some(MirrorPhase::Held { reason, approvable: true }) => reason,
        // The page that led here was older than the end of it.
        _ => "Nothing is held back any more; there is nothing to do.".to_owned(),
    };
    page(&Confirm {
        shell: ctx.shell("Let the deletion pass", "sites"),
        question: format!("Delete these files of {name} here too?"),
        consequence,
        action: format!("/sites/{name}/approve"),
        back: "/sites",
        verb: "Let the deletion pass",
        base: Base::of(&ctx.snapshot()),
    })
}

pub(crate) async fn approve_now(ctx: Ctx, Path(name): Path<String>) -> PageResult {
    approve(&ctx, &named(&name)?).await?;
    Ok(see("/sites"))
}
