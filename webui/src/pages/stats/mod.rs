//! The balancer's statistics as HAProxy users know them.
//!
//! The page is at `/stats`, and also where the operator wants it (HAProxy `stats uri`). It loads
//! itself again where that is set (HAProxy `stats refresh`); such a load does not count as use of
//! the session, or a forgotten page would keep it alive.

pub(crate) mod admin;
pub(crate) mod frontend;
mod options;
mod table;
mod top;

use self::admin::ACTIONS;
use self::options::{Format, Options};
use self::table::{Table, tables};
use self::top::Top;
use super::{Ctx, Shell, page};
use crate::error::{Failure, PageResult};
use crate::metrics::Scope;
use crate::stats_json;
use crate::view::name_of;
use askama::Template;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, Uri, header};
use model::status::{ProxyStatus, stat};
use model::{Role, Settings};

/// The page where it always is.
const HOME: &str = "/stats";
/// Behind the address of a page that loads itself.
const BY_ITSELF: &str = ";auto";

#[derive(Template)]
#[template(path = "stats.html")]
struct Stats {
    shell: Shell,
    tables: Vec<Table>,
    balancer: bool,
    balancers: String,
    top: Top,
    scope: String,
    actions: [(&'static str, &'static str); 13],
}

/// What follows the page's address in this one, and that address; None where it is another page.
pub(crate) fn rest<'a>(uri: &'a Uri, settings: &'a Settings) -> Option<(&'a str, &'a str)> {
    let all = uri.path_and_query().map_or_else(|| uri.path(), |p| p.as_str());
    let own = settings.admin.stats_uri.as_ref().map(model::StatsUri::as_str);
    [HOME].into_iter().chain(own).find_map(|home| {
        let rest = all.strip_prefix(home)?;
        (rest.is_empty() || rest.starts_with([';', '?', '&'])).then_some((home, rest))
    })
}

/// Is this load of the page nobody's doing?
pub(crate) fn loads_itself(uri: &Uri, settings: &Settings) -> bool {
    rest(uri, settings).is_some_and(|(_, rest)| rest.ends_with(BY_ITSELF))
}

/// Every `/stats…` that is not exactly `/stats`, the page at an address of the operator's, and
/// everything that is no page at all.
pub(crate) async fn fallback(uri: Uri, method: Method, ctx: Result<Ctx, Failure>) -> Response {
    let is_page = ctx.as_ref().is_ok_and(|c| rest(&uri, &c.snapshot().settings).is_some());
    if !is_page && !uri.path().starts_with("/stats;") {
        if uri.path().starts_with("/api/") {
            return crate::api::nothing().await;
        }
        return Failure::not_found("There is no such page.").into_response();
    }
    match (ctx, method) {
        (Err(failure), _) => failure.into_response(),
        (Ok(ctx), Method::GET | Method::HEAD) => show(ctx, uri).await.into_response(),
        // Forms are on the page only.
        (Ok(ctx), Method::POST) if is_html(&ctx, &uri) => post(ctx, uri).await.into_response(),
        (Ok(_), _) => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

fn is_html(ctx: &Ctx, uri: &Uri) -> bool {
    let snapshot = ctx.snapshot();
    let rest = rest(uri, &snapshot.settings).map_or("", |(_, rest)| rest);
    Options::read(rest).format == Format::Html
}

pub(crate) async fn show(ctx: Ctx, uri: Uri) -> PageResult {
    let snapshot = ctx.snapshot();
    let (home, rest) = rest(&uri, &snapshot.settings).unwrap_or((HOME, ""));
    let options = Options::read(rest);
    let mut own = ctx.app.ports.board.own();
    let proxy = own.proxy.take().map(|p| options.apply(p));
    let here = proxy.is_some();
    let proxy = proxy.unwrap_or_default();
    if let Some(response) = for_programs(options.format, &proxy) {
        return Ok(response);
    }
    let settings = &snapshot.settings;
    let top = Top::new(&own, &proxy, (home, &options), settings.admin.stats_refresh);
    // A program's credential opens the page too; then there is no session its links would need.
    let drawn = Stats {
        shell: ctx.shell("Statistics", "stats"),
        tables: tables(&proxy),
        balancer: here,
        balancers: balancers(settings, &name_of(&snapshot, snapshot.node())),
        top,
        scope: options.scope.clone().unwrap_or_default(),
        actions: ACTIONS,
    };
    let mut response = page(&drawn)?;
    drawn.top.put_refresh(response.headers_mut(), BY_ITSELF);
    Ok(response)
}

/// Everything in a form for programs; None where the page is asked for.
fn for_programs(format: Format, proxy: &ProxyStatus) -> Option<Response> {
    let plain = "text/plain; charset=utf-8";
    let (kind, text) = match format {
        Format::Html => return None,
        Format::Csv => (plain, stat::csv(proxy)),
        Format::Typed => (plain, stat::typed(proxy)),
        Format::Json => ("application/json", stats_json::json(proxy)),
        Format::Schema => ("application/json", stats_json::schema()),
    };
    let head = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache, no-store")];
    Some((head, text).into_response())
}

fn balancers(settings: &Settings, own: &str) -> String {
    let names = settings.with_role(Role::Balancer).map(|n| n.name.to_string());
    names.filter(|n| n != own).collect::<Vec<_>>().join(", ")
}

/// The form under each backend.
pub(crate) async fn post(ctx: Ctx, uri: Uri) -> PageResult {
    let snapshot = ctx.snapshot();
    let (home, rest) = rest(&uri, &snapshot.settings).unwrap_or((HOME, ""));
    let back = Options { outcome: None, ..Options::read(rest) }.behind(home);
    admin::post(ctx, &back).await
}

/// Prometheus.
pub(crate) async fn metrics(
    State(app): State<crate::app::App>,
    uri: Uri,
    visitor: Option<Extension<crate::gate::Visitor>>,
) -> Response {
    if visitor.is_none() {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let Some(scope) = Scope::read(uri.query().unwrap_or_default()) else {
        let text =
            "a scope is one of global, frontend, listener, backend, server, sticktable and *";
        return (StatusCode::BAD_REQUEST, text).into_response();
    };
    let text = crate::metrics::metrics(&app.snapshot(), &app.ports.board.nodes(), &scope);
    let head = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (head, text).into_response()
}
