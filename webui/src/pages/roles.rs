//! Roles, names and addresses of all boards at once: suggested, reviewed, applied as one change,
//! and followed until every node runs it.

use super::{Ctx, Shell, page, page_with, see};
use crate::app::App;
use crate::error::PageResult;
use crate::forms::{CHOICES, Card, Place, RolesForm};
use crate::live::Part;
use crate::view::{Tone, name_of, suggest};
use crate::words::span;
use askama::Template;
use control::{Change, Outcome, Rejected, Snapshot};
use futures_util::future::join_all;
use http::StatusCode;
use model::status::{NodeReport, SubsystemState};
use model::{Cidr, Edit, Node, Role, Settings};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

/// Whoever has an address answers sooner (RFC 5227 2.1.1: three probes, a second or two apart).
const PROBE: Duration = Duration::from_millis(3500);
/// So many addresses are asked about for one suggestion.
const TRIED: usize = 4;

#[derive(Template)]
#[template(path = "roles.html")]
struct RolesPage {
    shell: Shell,
    form: RolesForm,
    choices: [(&'static str, &'static str); 4],
    /// Part of the first steps.
    welcome: bool,
    stale: bool,
}

#[derive(Template)]
#[template(path = "review.html")]
struct Review {
    shell: Shell,
    form: RolesForm,
    welcome: bool,
    /// A board's name, and what becomes of it.
    boards: Vec<(String, String)>,
    whole: Vec<String>,
    cautions: Vec<String>,
    /// Where this page is afterwards, if its board gets another address.
    moves_to: Option<String>,
}

fn welcome(settings: &Settings) -> bool {
    settings.nodes.iter().all(|n| n.roles.is_empty())
}

fn roles_page(ctx: &Ctx, status: StatusCode, form: RolesForm, stale: bool) -> PageResult {
    let welcome = welcome(&ctx.snapshot().settings);
    let shell = ctx.shell("Roles", "nodes");
    page_with(status, &RolesPage { shell, form, choices: CHOICES, welcome, stale })
}

pub(crate) async fn show(ctx: Ctx) -> PageResult {
    let snapshot = ctx.snapshot();
    let reports = ctx.app.ports.board.nodes();
    let mut form = RolesForm::suggested(&snapshot, &reports);
    if form.floating_ip.value.is_empty() {
        let free = free_address(&ctx.app, &snapshot, &reports, &form).await;
        form.floating_ip.set_option(free);
    }
    roles_page(&ctx, StatusCode::OK, form, false)
}

/// An address of the balancers' network that nobody is known to have and nobody answers at.
async fn free_address(
    app: &App,
    snapshot: &Snapshot,
    reports: &[NodeReport],
    form: &RolesForm,
) -> Option<Cidr> {
    let balances = |c: &&Card| ["balancer", "both"].contains(&&*c.role.value);
    let network = form.cards.iter().filter(balances).find_map(|c| c.address.value.parse().ok());
    let network: Cidr = network.or_else(|| {
        let nodes = snapshot.settings.nodes.iter();
        nodes
            .filter_map(|n| {
                let interface = suggest::interface(n, reports);
                suggest::address_now(n, interface, reports, &snapshot.settings)
            })
            .next()
    })?;
    let mut known = suggest::known(&snapshot.settings, reports);
    known.extend(
        form.cards.iter().filter_map(|c| c.address.value.parse::<Cidr>().ok()).map(Cidr::addr),
    );
    let candidates: Vec<Cidr> = suggest::unused(network, &known).take(TRIED).collect();
    let taken = taken(app, candidates.iter().map(|c| c.addr())).await;
    candidates.into_iter().find(|c| !taken.iter().any(|(ip, _)| *ip == c.addr()))
}

/// Which of these addresses somebody answers at, and who.
async fn taken(app: &App, addresses: impl Iterator<Item = Ipv4Addr>) -> Vec<(Ipv4Addr, String)> {
    let Some(probe) = &app.ports.probe else { return Vec::new() };
    let asked = addresses.map(|ip| async move {
        // Not being able to ask is no reason to refuse.
        let answer = tokio::time::timeout(PROBE, probe.who_has(ip)).await.ok()?.ok()?;
        answer.map(|who| (ip, who))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// Says at its field that an address belongs to a stranger.
async fn refuse_taken(app: &App, form: &mut RolesForm, next: &Settings, reports: &[NodeReport]) {
    let links = || reports.iter().flat_map(|r| &r.status.links);
    let ours: BTreeSet<Ipv4Addr> = links().flat_map(|l| &l.addresses).map(|a| a.addr()).collect();
    let macs: BTreeSet<String> = links().map(|l| l.mac.to_ascii_lowercase()).collect();
    let wanted = next.nodes.iter().flat_map(Node::addresses);
    let wanted = wanted.chain(next.cluster.floating_ip.map(Cidr::addr));
    let strange: BTreeSet<Ipv4Addr> = wanted.filter(|ip| !ours.contains(ip)).collect();
    for (ip, who) in taken(app, strange.into_iter()).await {
        if macs.contains(&who.to_ascii_lowercase()) {
            continue;
        }
        let problem =
            format!("{ip} is taken: a device with the hardware address {who} answers there");
        let is = |field: &str| field.parse::<Cidr>().is_ok_and(|c| c.addr() == ip);
        for card in form.cards.iter_mut().filter(|c| is(&c.address.value)) {
            card.address.refuse(&problem);
        }
        if is(&form.floating_ip.value) {
            form.floating_ip.refuse(&problem);
        }
    }
}

/// The settings as they would be.
fn applied(settings: &Settings, edits: &[Edit]) -> Result<Settings, Rejected> {
    let mut next = settings.clone();
    for edit in edits {
        edit.apply(&mut next).map_err(|e| Rejected::Missing(e.to_string()))?;
    }
    Ok(next)
}

pub(crate) async fn save(ctx: Ctx) -> PageResult {
    let snapshot = ctx.snapshot();
    let reports = ctx.app.ports.board.nodes();
    let mut form = RolesForm::typed(&ctx.form, &snapshot, &reports);
    if ctx.form.first("step") == "edit" {
        return roles_page(&ctx, StatusCode::OK, form, false);
    }
    let control = &ctx.app.ports.control;
    let stale = !matches!(form.base.place(control, &snapshot).await?, Place::Current);
    if stale {
        form.base = crate::forms::Base::of(&snapshot);
        return roles_page(&ctx, StatusCode::CONFLICT, form, true);
    }
    let Some(edits) = form.edits(&snapshot.settings) else {
        return roles_page(&ctx, StatusCode::UNPROCESSABLE_ENTITY, form, false);
    };
    let next = applied(&snapshot.settings, &edits)?;
    form.blame(&model::check(&next));
    let apply = ctx.form.first("step") == "apply";
    if !form.wrong() && !apply {
        refuse_taken(&ctx.app, &mut form, &next, &reports).await;
    }
    if form.wrong() {
        return roles_page(&ctx, StatusCode::UNPROCESSABLE_ENTITY, form, false);
    }
    if !apply {
        return review(&ctx, &snapshot, &next, form, &reports);
    }
    let author = ctx.visitor.author();
    match control.submit(Change { base: Some(snapshot.revision), author, edits }).await {
        Ok(Outcome::Applied(revision)) => Ok(see(&format!("/roles/applied?saved={revision}"))),
        Ok(Outcome::Unchanged(_)) => Ok(see("/roles/applied?same=1")),
        Err(Rejected::Stale(_)) => roles_page(&ctx, StatusCode::CONFLICT, form, true),
        Err(Rejected::Cannot { subsystem, reason }) => {
            let text = format!("nothing was changed: the {subsystem} cannot do that: {reason}");
            form.top.push(crate::words::sentence(&text));
            roles_page(&ctx, StatusCode::CONFLICT, form, false)
        }
        Err(other) => Err(other.into()),
    }
}

/// What a board does, as part of a sentence.
fn duty(node: &Node) -> &'static str {
    match (node.is(Role::Web), node.is(Role::Balancer)) {
        (true, true) => "a web server and a load balancer",
        (true, false) => "a web server",
        (false, true) => "a load balancer",
        (false, false) => "a spare",
    }
}

fn becomes(old: &Node, new: &Node) -> String {
    if old == new {
        return "stays as it is".to_owned();
    }
    let mut text = String::new();
    if old.name != new.name {
        text = format!("is called {} and ", new.name);
    }
    let verb = if old.roles == new.roles { "stays" } else { "becomes" };
    text.push_str(&format!("{verb} {}", duty(new)));
    for ((name, was), (_, link)) in old.links().into_iter().zip(new.links()) {
        match (was.address, link.address) {
            (a, b) if a == b => {}
            (_, Some(address)) => {
                text.push_str(&format!(", fixed at {} on {name}", address.addr()))
            }
            (Some(_), None) => text.push_str(&format!(", with an address by DHCP on {name}")),
            (None, None) => {}
        }
    }
    text
}

fn review(
    ctx: &Ctx,
    snapshot: &Snapshot,
    next: &Settings,
    form: RolesForm,
    reports: &[NodeReport],
) -> PageResult {
    let old = &snapshot.settings;
    let boards = old
        .nodes
        .iter()
        .zip(&next.nodes)
        .map(|(old, new)| (old.name.to_string(), format!("{}.", becomes(old, new))));
    let mut whole = Vec::new();
    let named =
        |role| -> Vec<String> { next.with_role(role).map(|n| n.name.to_string()).collect() };
    let (balancers, webs) = (named(Role::Balancer), named(Role::Web));
    if let (Some(ip), Some(first)) = (next.cluster.floating_ip, balancers.first()) {
        let ip = ip.addr();
        whole.push(match balancers.get(1) {
            Some(second) => format!(
                "Visitors come to {ip}: {first} holds it, and {second} takes over when {first} fails."
            ),
            None => format!("Visitors come to {ip}, which {first} holds."),
        });
    }
    if !webs.is_empty() {
        whole.push(match webs.split_first() {
            Some((origin, [])) => format!("The sites are served by {origin} alone."),
            Some((origin, rest)) => format!(
                "The sites are served by {}; their files are put on {origin} and mirrored to {}.",
                webs.join(" and "),
                rest.join(" and ")
            ),
            None => String::new(),
        });
    }
    let mut cautions = Vec::new();
    if balancers.len() == 1 {
        cautions
            .push("There is one load balancer only: when it fails, nobody takes over.".to_owned());
    }
    if balancers.is_empty() {
        cautions.push("There is no load balancer: nobody holds a floating IP.".to_owned());
    }
    if webs.len() < 2 {
        cautions
            .push("With fewer than two web servers the sites are gone when one fails.".to_owned());
    }
    let away: Vec<&str> =
        form.cards.iter().filter(|c| !c.reachable).map(|c| c.was.as_str()).collect();
    if !away.is_empty() {
        cautions.push(format!(
            "{} cannot be reached now and will follow when back.",
            away.join(" and ")
        ));
    }
    let own = |settings: &Settings| settings.node(snapshot.node()).cloned().unwrap_or_default();
    let (was, is) = (own(old), own(next));
    let now: BTreeSet<Ipv4Addr> = reports
        .first()
        .map(|r| r.status.links.iter().flat_map(|l| &l.addresses).map(|a| a.addr()).collect())
        .unwrap_or_default();
    let lost = was.links() != is.links() && !is.addresses().any(|a| now.contains(&a));
    let moves_to = is
        .addresses()
        .next()
        .filter(|_| lost)
        .map(|a| format!("http://{a}:{}/", model::ADMIN_PORT));
    let boards = boards.collect();
    let shell = ctx.shell("Review", "nodes");
    let welcome = welcome(old);
    page(&Review { shell, form, welcome, boards, whole, cautions, moves_to })
}

/// How far one node is with the settings that run here.
pub(crate) struct Progress {
    id: String,
    name: String,
    tone: Tone,
    word: String,
    reason: Option<String>,
}

#[derive(Template)]
#[template(path = "applied.html")]
struct AppliedPage {
    shell: Shell,
    parts: Vec<Part>,
}

#[derive(Template)]
#[template(path = "part_applied.html")]
struct AppliedPart {
    nodes: Vec<Progress>,
    ready: usize,
    balances: bool,
}

fn progress(snapshot: &Snapshot, node: &Node, reports: &[NodeReport]) -> Progress {
    let report = reports.iter().find(|r| r.status.id == node.id);
    let own = reports.first().map(|r| r.status.heads.as_str()).unwrap_or_default();
    let (tone, word, reason) = match report {
        None => (Tone::Quiet, "not heard from yet".to_owned(), None),
        Some(r) if !r.reachable => {
            let word = format!("not reachable for {}", span(r.age_ms));
            (Tone::Warn, word, Some("It gets the settings when it is back.".to_owned()))
        }
        Some(r) if r.status.heads != own => (Tone::Info, "on its way there".to_owned(), None),
        Some(r) => {
            let states = r.status.subsystems.iter();
            let mut worst = None;
            for (which, s) in states {
                match &s.state {
                    SubsystemState::Degraded { reason } | SubsystemState::Failed { reason } => {
                        let text = format!("{which}: {reason}");
                        worst = Some(crate::words::sentence(&text));
                    }
                    _ => {}
                }
            }
            let behind = |s: &model::status::SubsystemStatus| s.revision < r.status.revision;
            if worst.is_some() {
                (Tone::Warn, "has it, with something to look at".to_owned(), worst)
            } else if r.status.subsystems.values().any(behind) {
                (Tone::Info, "has it and puts it to work".to_owned(), None)
            } else {
                (Tone::Good, "runs it".to_owned(), None)
            }
        }
    };
    Progress { id: node.id.to_string(), name: name_of(snapshot, &node.id), tone, word, reason }
}

pub(crate) fn parts(
    snapshot: &Snapshot,
    reports: &[NodeReport],
) -> Result<Vec<Part>, askama::Error> {
    let nodes: Vec<Progress> =
        snapshot.settings.nodes.iter().map(|n| progress(snapshot, n, reports)).collect();
    let ready = nodes.iter().filter(|n| n.tone == Tone::Good).count();
    let balances = snapshot.settings.with_role(Role::Balancer).count() > 1;
    let part = AppliedPart { nodes, ready, balances };
    Ok(vec![Part::new("applied", part.render()?)])
}

pub(crate) async fn progress_page(ctx: Ctx) -> PageResult {
    let parts = parts(&ctx.snapshot(), &ctx.app.ports.board.nodes())?;
    page(&AppliedPage { shell: ctx.shell("Applying", "nodes"), parts })
}
