//! The virtual routers: who holds the floating IPs, and a button that hands them over.

use super::{Confirm, Ctx, Shell, after, named, page, page_with, remove, see};
use crate::app::{App, LastFailover, lock};
use crate::error::{Failure, PageResult};
use crate::forms::{Base, Form, VirtualRouterForm, submit};
use crate::live::Part;
use crate::view::{ClusterView, RouterView, Tone};
use crate::words::{sentence, span};
use askama::Template;
use axum::extract::Path;
use control::Snapshot;
use http::StatusCode;
use model::action::{Action, Reply};
use model::audit::Deed;
use model::status::{FailoverReport, NodeReport, VrrpState};
use model::{DEFAULT_INSTANCE, Edit, Name, NodeId, Role, VrrpInstance};
use std::time::Instant;

struct Last {
    tone: Tone,
    headline: String,
    detail: String,
}

struct RouterCard {
    name: String,
    live: String,
    button: String,
    last: Option<Last>,
}

#[derive(Template)]
#[template(path = "failover.html")]
struct FailoverPage {
    shell: Shell,
    routers: Vec<RouterCard>,
    disabled: Vec<String>,
}

#[derive(Template)]
#[template(path = "part_router.html")]
struct RouterPart<'a> {
    r: &'a RouterView,
    tone: Tone,
}

fn part(r: &RouterView) -> Result<String, askama::Error> {
    let tone = match (&r.holder, r.rivals.len()) {
        (_, 2..) => Tone::Bad,
        (Some(_), _) => Tone::Good,
        (None, _) => Tone::Warn,
    };
    RouterPart { r, tone }.render()
}

pub(crate) fn parts(
    snapshot: &Snapshot,
    reports: &[NodeReport],
) -> Result<Vec<Part>, askama::Error> {
    let v = ClusterView::new(snapshot, reports);
    v.routers.iter().map(|r| Ok(Part::new(format!("f-{}", r.name), part(r)?))).collect()
}

/// Who has this address.
pub(crate) fn owner(snapshot: &Snapshot, report: &FailoverReport) -> String {
    let nodes = &snapshot.settings.nodes;
    let node = nodes.iter().find(|n| n.addresses().any(|a| a == report.holder));
    node.map_or_else(|| report.holder.to_string(), |n| n.name.to_string())
}

fn told(snapshot: &Snapshot, last: &LastFailover, now: Instant) -> Last {
    let ago = now.saturating_duration_since(last.at).as_millis();
    let ago = span(u64::try_from(ago).unwrap_or(u64::MAX));
    match &last.result {
        Ok(report) => Last {
            tone: Tone::Good,
            headline: format!("{} holds the floating IP now.", owner(snapshot, report)),
            detail: format!(
                "Nobody held it for {:.1} ms, as this node measured it. Asked for {ago} ago.",
                report.gap_ms
            ),
        },
        Err(error) => Last {
            tone: Tone::Bad,
            headline: "The failover did not happen.".to_owned(),
            detail: format!("{} Asked for {ago} ago.", sentence(error)),
        },
    }
}

pub(crate) async fn show(ctx: Ctx) -> PageResult {
    let snapshot = ctx.snapshot();
    let v = ctx.cluster();
    let failovers = lock(&ctx.app.failovers).clone();
    let mut routers = Vec::new();
    for r in &v.routers {
        let last = failovers.iter().find(|(name, _)| name.as_str() == r.name);
        routers.push(RouterCard {
            live: part(r)?,
            button: match &r.next {
                Some(next) => format!("Hand over to {next} now"),
                None => "Hand over to the next node now".to_owned(),
            },
            last: last.map(|(_, last)| told(&snapshot, last, Instant::now())),
            name: r.name.clone(),
        });
    }
    let all = snapshot.settings.completed().vrrp;
    let disabled = all.iter().filter(|v| !v.enabled).map(|v| v.name.to_string()).collect();
    page(&FailoverPage { shell: ctx.shell("Failover", "failover"), routers, disabled })
}

/// The other node that says it holds the floating IPs of a virtual router.
fn master_elsewhere(app: &App, name: &Name) -> Option<NodeId> {
    let holds = |report: &NodeReport| {
        let mut routers = report.status.vrrp.iter();
        routers.any(|v| v.name == *name && v.state == VrrpState::Master)
    };
    let mut reports = app.ports.board.nodes().into_iter();
    // This node's own report is the first one.
    if reports.next().is_some_and(|own| holds(&own)) {
        return None;
    }
    reports.find(|r| r.reachable && holds(r)).map(|r| r.status.id)
}

async fn asked(ctx: &Ctx, name: &Name) -> Result<FailoverReport, String> {
    let Some(master) = master_elsewhere(&ctx.app, name) else {
        return ctx.app.ports.failover.failover(name).await;
    };
    let author = ctx.visitor.address.to_string();
    let action = Action::Failover { instance: name.clone() };
    match ctx.app.ports.remote.ask(&master, &author, action).await? {
        Reply::Failover(report) => Ok(report),
        _ => Err(format!("node {master} gave an answer that makes no sense; is it older?")),
    }
}

/// Why a failover was not even tried, or what came of it. Whichever node holds the floating IPs
/// is the one that hands them over.
pub(crate) async fn hand_over(ctx: &Ctx, name: &Name) -> Result<FailoverReport, Failure> {
    let app = &ctx.app;
    if !app.snapshot().effective.vrrp.iter().any(|v| v.instance.name == *name) {
        return Err(Failure::not_found(format!("There is no virtual router {name}.")));
    }
    let result = asked(ctx, name).await;
    let last = LastFailover { at: Instant::now(), result: result.clone() };
    lock(&app.failovers).insert(name.clone(), last);
    app.ports.board.touch();
    let result = result.map_err(|error| {
        Failure::new(StatusCode::CONFLICT, "The failover did not happen", sentence(&error))
    });
    ctx.tried(Deed::Failover, name.to_string(), &result).await;
    result
}

pub(crate) async fn start(ctx: Ctx, Path(name): Path<String>) -> PageResult {
    let name: Name = named(&name)?;
    match hand_over(&ctx, &name).await {
        // The page says what came of it, good or bad.
        Err(failure) if failure.status() == StatusCode::NOT_FOUND => Err(failure),
        _ => Ok(see("/failover")),
    }
}

#[derive(Template)]
#[template(path = "virtual_router_form.html")]
struct VirtualRouterPage {
    shell: Shell,
    title: String,
    form: VirtualRouterForm,
    primaries: Vec<(String, String)>,
    versions: Vec<(String, String)>,
    interfaces: Vec<(String, String)>,
    written: bool,
    default_one: bool,
    expert_open: bool,
}

fn form_page(ctx: &Ctx, status: StatusCode, title: &str, form: VirtualRouterForm) -> PageResult {
    let snapshot = ctx.snapshot();
    let pair = |value: &str, text: &str| (value.to_owned(), text.to_owned());
    let mut primaries = vec![pair("", "the first load balancer")];
    let balancers = snapshot.settings.with_role(Role::Balancer);
    primaries.extend(balancers.map(|n| pair(n.id.as_str(), n.name.as_str())));
    let experts = [&form.preempt_delay, &form.priorities, &form.auth_pass];
    let page = VirtualRouterPage {
        shell: ctx.shell(if form.head.new { "Add a virtual router" } else { title }, "failover"),
        primaries,
        versions: vec![pair("2", "2"), pair("3", "3")],
        interfaces: vec![pair("eth0", "eth0 (wired)"), pair("wlan0", "wlan0 (wireless)")],
        written: snapshot.settings.vrrp.iter().any(|v| v.name.as_str() == title),
        default_one: title == DEFAULT_INSTANCE,
        title: title.to_owned(),
        expert_open: experts.iter().any(|f| f.error.is_some() || f.now.is_some()),
        form,
    };
    page_with(status, &page)
}

pub(crate) async fn new(ctx: Ctx) -> PageResult {
    let mut form = VirtualRouterForm::of(&VrrpInstance::default(), &ctx.snapshot());
    form.head.new = true;
    form.interface.set("eth0");
    form_page(&ctx, StatusCode::OK, "", form)
}

pub(crate) async fn add(ctx: Ctx) -> PageResult {
    let mut form = VirtualRouterForm::typed(&ctx.form);
    form.head.new = true;
    let submitted = submit(&ctx.app, &ctx.visitor, &mut form).await?;
    after(submitted, "/failover", |status| form_page(&ctx, status, "", form))
}

pub(crate) async fn edit(ctx: Ctx, Path(name): Path<String>) -> PageResult {
    let snapshot = ctx.snapshot();
    let all = snapshot.settings.completed();
    let found = all.vrrp.iter().find(|v| v.name.as_str() == name);
    let found =
        found.ok_or_else(|| Failure::not_found("There is no such virtual router any more."))?;
    form_page(&ctx, StatusCode::OK, &name, VirtualRouterForm::of(found, &snapshot))
}

pub(crate) async fn save(ctx: Ctx, Path(name): Path<String>) -> PageResult {
    let name: Name = named(&name)?;
    let mut form = VirtualRouterForm::typed(&ctx.form);
    form.head.new = false;
    form.name.set(&name);
    let submitted = submit(&ctx.app, &ctx.visitor, &mut form).await?;
    after(submitted, "/failover", |status| form_page(&ctx, status, name.as_str(), form))
}

pub(crate) async fn ask_remove(ctx: Ctx, Path(name): Path<String>) -> PageResult {
    let name: Name = named(&name)?;
    let default_one = name.as_str() == DEFAULT_INSTANCE;
    page(&Confirm {
        shell: ctx.shell("Remove", "failover"),
        question: if default_one {
            "Back to the default virtual router?".to_owned()
        } else {
            format!("Remove virtual router {name}?")
        },
        consequence: if default_one {
            "Its entry is removed and the built-in default takes its place: router 77 on eth0 for the cluster's floating IP."
        } else {
            "Nobody holds its floating IPs any more."
        }
        .to_owned(),
        action: format!("/failover/{name}/remove"),
        back: "/failover",
        verb: if default_one { "Back to the default" } else { "Remove" },
        base: Base::of(&ctx.snapshot()),
    })
}

pub(crate) async fn remove_now(ctx: Ctx, Path(name): Path<String>) -> PageResult {
    remove(&ctx, Edit::RemoveVrrp(named(&name)?), "/failover").await
}
