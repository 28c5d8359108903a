//! One file per page.

pub(crate) mod account;
pub(crate) mod admin;
pub(crate) mod again;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod balancing;
pub(crate) mod board;
pub(crate) mod cluster;
pub(crate) mod conflicts;
pub(crate) mod diagnostics;
pub(crate) mod failover;
pub(crate) mod firmware;
pub(crate) mod found;
pub(crate) mod history;
pub(crate) mod log;
pub(crate) mod more;
pub(crate) mod network;
pub(crate) mod node;
pub(crate) mod nodes;
pub(crate) mod notices;
pub(crate) mod overview;
pub(crate) mod roles;
pub(crate) mod sessions;
pub(crate) mod sites;
pub(crate) mod stats;
pub(crate) mod tokens;
pub(crate) mod wifi;

use crate::app::App;
use crate::assets;
use crate::audit::note;
use crate::error::{Failure, PageResult};
use crate::forms::{Base, Pairs, Submitted};
use crate::gate::{Visitor, WholeBody};
use crate::view::{ClusterView, Tone};
use askama::Template;
use axum::extract::FromRequestParts;
use axum::response::{Html, IntoResponse, Redirect, Response};
use control::{Outcome, Snapshot};
use http::StatusCode;
use http::request::Parts;
use model::audit::{Deed, Record};
use model::status::NodeReport;
use std::sync::Arc;

/// What a request brings: who asks, and what about.
pub(crate) struct Ctx {
    pub(crate) app: App,
    pub(crate) visitor: Visitor,
    pub(crate) query: Pairs,
    pub(crate) form: Pairs,
    /// The address of this node that the connection came to.
    pub(crate) through: std::net::Ipv4Addr,
}

impl FromRequestParts<App> for Ctx {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let visitor = parts.extensions.get::<Visitor>().cloned();
        // The gate stands before every page; without its word nobody gets in.
        let visitor = visitor.ok_or_else(|| Failure::forbidden("This page is closed."))?;
        let body = parts.extensions.get::<WholeBody>().cloned().unwrap_or_default();
        Ok(Self {
            app: app.clone(),
            visitor,
            query: Pairs::parse(parts.uri.query().unwrap_or_default().as_bytes()),
            form: Pairs::parse(&body.0),
            through: through(parts),
        })
    }
}

fn through(parts: &Parts) -> std::net::Ipv4Addr {
    match parts.extensions.get::<crate::gate::Local>().map(|l| l.0.ip().to_canonical()) {
        Some(std::net::IpAddr::V4(address)) => address,
        _ => std::net::Ipv4Addr::UNSPECIFIED,
    }
}

impl Ctx {
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.app.snapshot()
    }

    /// The revision an edit starts from: the running one if the form was made from that. None
    /// where the form does not say.
    pub(crate) async fn base(&self) -> Result<Option<model::Revision>, Failure> {
        match Base::read(self.form.first("revision")) {
            Some(base) => Ok(Some(base.current(&self.app.ports.control).await?)),
            None => Ok(None),
        }
    }

    /// Writes down what this visitor did.
    pub(crate) async fn note(&self, deed: Deed, object: impl Into<String>) {
        note(&self.app, Record::done(self.visitor.actor.clone(), deed, object)).await;
    }

    /// Writes down what this visitor tried, with what came of it.
    pub(crate) async fn tried<T>(
        &self,
        deed: Deed,
        object: impl Into<String>,
        result: &Result<T, Failure>,
    ) {
        let result = result.as_ref().map_err(|failure| failure.text().to_owned());
        let record = Record::done(self.visitor.actor.clone(), deed, object).result(&result);
        note(&self.app, record).await;
    }

    pub(crate) fn cluster(&self) -> ClusterView {
        ClusterView::new(&self.snapshot(), &self.app.ports.board.nodes())
    }

    pub(crate) fn shell(&self, title: &str, tab: &'static str) -> Shell {
        let snapshot = self.snapshot();
        let reports = self.app.ports.board.nodes();
        let flash = if !self.query.first("saved").is_empty() {
            let revision: String =
                self.query.first("saved").chars().filter(char::is_ascii_digit).take(20).collect();
            Some(Flash {
                tone: Tone::Good,
                text: format!("Saved and running as revision {revision}."),
            })
        } else if !self.query.first("same").is_empty() {
            let text = "Nothing to change: the settings say so already.".to_owned();
            Some(Flash { tone: Tone::Quiet, text })
        } else {
            None
        };
        Shell {
            title: title.to_owned(),
            tab,
            node: node_name(&snapshot),
            cluster: cluster_name(&snapshot),
            csrf: self.visitor.csrf.clone(),
            flash,
            sync: crate::view::sync::view(&snapshot, &reports),
            others: others(&snapshot, &reports),
            trials: crate::view::trials::views(&snapshot, &reports),
            alarm: crate::view::board::in_memory(&self.app.ports.board.own().system),
            notices: notices::all(self),
            icon: assets::url("icon.svg"),
            css: assets::url("bramble.css"),
            htmx: assets::url("htmx.min.js"),
            sse: assets::url("sse.min.js"),
            live: assets::url("live.js"),
        }
    }
}

/// Where this page goes on should this node stop answering: names and addresses of others.
fn others(snapshot: &Snapshot, reports: &[NodeReport]) -> Vec<(String, String)> {
    let alive = |n: &&model::Node| {
        n.id != *snapshot.node() && reports.iter().any(|r| r.status.id == n.id && r.reachable)
    };
    let nodes = snapshot.settings.nodes.iter().filter(alive);
    nodes
        .filter_map(|n| {
            let report = reports.iter().find(|r| r.status.id == n.id);
            let lent = || {
                let links = report.iter().flat_map(|r| &r.status.links);
                links.flat_map(|l| &l.addresses).map(|a| a.addr()).find(|a| !a.is_loopback())
            };
            let address = n.addresses().next().or_else(lent)?;
            Some((n.name.to_string(), format!("http://{address}:{}", model::ADMIN_PORT)))
        })
        .take(3)
        .collect()
}

pub(crate) fn node_name(snapshot: &Snapshot) -> String {
    crate::view::name_of(snapshot, snapshot.node())
}

pub(crate) fn cluster_name(snapshot: &Snapshot) -> String {
    snapshot.settings.cluster.name.as_ref().map_or("Bramble".to_owned(), ToString::to_string)
}

/// A sentence about what was just done.
pub(crate) struct Flash {
    pub(crate) tone: Tone,
    pub(crate) text: String,
}

/// What is around every page.
pub(crate) struct Shell {
    pub(crate) title: String,
    pub(crate) tab: &'static str,
    pub(crate) node: String,
    pub(crate) cluster: String,
    pub(crate) csrf: String,
    pub(crate) flash: Option<Flash>,
    /// Whether every node has the same settings.
    pub(crate) sync: Option<crate::view::sync::SyncView>,
    /// Nodes on which the page goes on when this one is gone.
    pub(crate) others: Vec<(String, String)>,
    /// Network changes that are tried out.
    pub(crate) trials: Vec<crate::view::trials::TrialView>,
    /// What nobody may overlook, on whatever page they are.
    pub(crate) alarm: Option<String>,
    /// What all nodes say until somebody has seen it.
    pub(crate) notices: Vec<notices::Shared>,
    pub(crate) icon: String,
    pub(crate) css: String,
    pub(crate) htmx: String,
    pub(crate) sse: String,
    pub(crate) live: String,
}

/// An entry of the navigation.
pub(crate) struct Tab {
    pub(crate) key: &'static str,
    pub(crate) href: &'static str,
    pub(crate) name: &'static str,
    /// Where there is room for it.
    pub(crate) class: &'static str,
}

impl Shell {
    pub(crate) fn tabs(&self) -> [Tab; 8] {
        let tab = |key, href, name, class| Tab { key, href, name, class };
        [
            tab("overview", "/", "Overview", ""),
            tab("nodes", "/nodes", "Nodes", ""),
            tab("balancing", "/balancing", "Balancing", ""),
            tab("failover", "/failover", "Failover", ""),
            tab("sites", "/sites", "Sites", "roomy"),
            tab("history", "/history", "History", "roomy"),
            tab("stats", "/stats", "Statistics", "roomy"),
            tab("more", "/more", "More", ""),
        ]
    }
}

pub(crate) fn page(template: &impl Template) -> PageResult {
    page_with(StatusCode::OK, template)
}

pub(crate) fn page_with(status: StatusCode, template: &impl Template) -> PageResult {
    Ok((status, Html(template.render()?)).into_response())
}

/// Where a browser goes after a change: back to a page, with a word on what came of it.
pub(crate) fn done(outcome: Outcome, to: &str) -> Response {
    match outcome {
        Outcome::Applied(revision) => see(&format!("{to}?saved={revision}")),
        Outcome::Unchanged(_) => see(&format!("{to}?same=1")),
    }
}

pub(crate) fn see(to: &str) -> Response {
    Redirect::to(to).into_response()
}

/// Either on to another page, or the form again.
pub(crate) fn after(
    submitted: Submitted,
    to: &str,
    again: impl FnOnce(StatusCode) -> PageResult,
) -> PageResult {
    match submitted {
        Submitted::Done(outcome) => Ok(done(outcome, to)),
        Submitted::Again(status) => again(status),
    }
}

/// "Are you sure?", with what follows from it.
#[derive(Template)]
#[template(path = "confirm.html")]
pub(crate) struct Confirm {
    pub(crate) shell: Shell,
    pub(crate) question: String,
    pub(crate) consequence: String,
    pub(crate) action: String,
    pub(crate) back: &'static str,
    pub(crate) verb: &'static str,
    pub(crate) base: Base,
}

/// Removes an entry, if nobody has changed anything since the question was asked.
pub(crate) async fn remove(ctx: &Ctx, edit: model::Edit, to: &str) -> PageResult {
    let base = ctx.base().await?;
    let author = ctx.visitor.author();
    let change = control::Change { base, author, edits: vec![edit] };
    Ok(done(ctx.app.ports.control.submit(change).await?, to))
}

/// A name from an address.
pub(crate) fn named<T: std::str::FromStr>(text: &str) -> Result<T, Failure> {
    text.parse().map_err(|_| Failure::not_found("There is nothing of that name."))
}
