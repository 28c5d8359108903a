//! What is wrong with a node, and what to do.

use super::{Ctx, Shell, page};
use crate::app::lock;
use crate::error::{Failure, PageResult};
use crate::view::Tone;
use crate::view::diagnosis::{self, Facts, Finding, Group};
use crate::words::span;
use askama::Template;
use model::NodeId;
use model::status::NetworkCheck;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What was tried out is shown again for so long before it is tried anew.
const FRESH: Duration = Duration::from_secs(30);
/// And even if somebody asks for it, so long.
const AT_LEAST: Duration = Duration::from_secs(3);
/// A page waits so long for what is being tried out.
const PATIENCE: Duration = Duration::from_secs(8);

/// What trying out the networks came to, by node.
#[derive(Default)]
pub(crate) struct Tried(BTreeMap<NodeId, (Instant, Result<NetworkCheck, String>)>);

/// A link to the diagnosis of another node.
struct Other {
    href: String,
    name: String,
    current: bool,
}

#[derive(Template)]
#[template(path = "diagnostics.html")]
struct Diagnostics {
    shell: Shell,
    name: String,
    others: Vec<Other>,
    again: String,
    tone: Tone,
    headline: String,
    /// What should be known before: that the values are old, or that nothing could be tried.
    notes: Vec<String>,
    /// Everything to be done, with its group.
    todo: Vec<(&'static str, Finding)>,
    groups: Vec<Group>,
}

/// Tries out a node's network, unless that was done a moment ago.
async fn check(ctx: &Ctx, id: &NodeId) -> Option<Result<NetworkCheck, String>> {
    let probes = ctx.app.ports.probes.clone()?;
    let fresh = if ctx.query.has("again") { AT_LEAST } else { FRESH };
    let known = lock(&ctx.app.tried_out).0.get(id).cloned();
    if let Some((at, result)) = known {
        if at.elapsed() < fresh {
            return Some(result);
        }
    }
    let result = match tokio::time::timeout(PATIENCE, probes.check(id)).await {
        Ok(result) => result,
        Err(_) => Err("trying it out took too long".to_owned()),
    };
    lock(&ctx.app.tried_out).0.insert(id.clone(), (Instant::now(), result.clone()));
    Some(result)
}

pub(crate) async fn show(ctx: Ctx) -> PageResult {
    let snapshot = ctx.snapshot();
    let own = snapshot.node().clone();
    let asked = ctx.query.first("node");
    let id = if asked.is_empty() { own.clone() } else { super::named(asked)? };
    if id != own && snapshot.settings.node(&id).is_none() {
        return Err(Failure::not_found("There is no such node any more."));
    }
    let mut notes = Vec::new();
    let check = match check(&ctx, &id).await {
        None => None,
        Some(Ok(check)) => Some(check),
        Some(Err(why)) => {
            let why = crate::words::sentence(&why);
            notes.push(format!("The network of this node could not be tried out. {why}"));
            None
        }
    };
    // Only now: what the node says of itself should be no older than what was tried.
    let reports = ctx.app.ports.board.nodes();
    let report = reports.iter().find(|r| r.status.id == id);
    let status = report.map(|r| r.status.clone()).unwrap_or_default();
    match report {
        None => notes.push("This node was not heard from yet: nothing is known of it.".to_owned()),
        Some(r) if !r.reachable => notes.push(format!(
            "This node was last heard from {} ago: what it says of itself is as old.",
            span(r.age_ms)
        )),
        Some(_) => {}
    }
    let groups = diagnosis::diagnose(&Facts {
        settings: &snapshot.settings,
        reports: &reports,
        id: &id,
        status: &status,
        // The kernel's uptime is told by boards of ours only.
        board: status.system.uptime_ms > 0,
        check: check.as_ref(),
    });
    let (tone, headline) = match report {
        Some(r) if r.reachable => diagnosis::headline(&groups),
        _ => (Tone::Bad, "This node is not reached".to_owned()),
    };
    let mut todo: Vec<(&'static str, Finding)> = groups
        .iter()
        .flat_map(|g| g.findings.iter().map(|f| (g.title, f.clone())))
        .filter(|(_, f)| f.tone >= Tone::Warn)
        .collect();
    // Stable: within a tone the order in which things build on each other stays.
    todo.sort_by_key(|(_, f)| std::cmp::Reverse(f.tone));
    let others = snapshot.settings.nodes.iter().map(|n| Other {
        href: format!("/diagnostics?node={}", n.id),
        name: n.name.to_string(),
        current: n.id == id,
    });
    page(&Diagnostics {
        shell: ctx.shell("Diagnostics", "more"),
        name: crate::view::name_of(&snapshot, &id),
        others: others.collect(),
        again: format!("/diagnostics?node={id}&again=1"),
        tone,
        headline,
        notes,
        todo,
        groups,
    })
}
