//! The statistics where visitors arrive: what `stats uri` of a frontend shows, which the balancer
//! serves. Whoever knows the password, or has a token, may look; states are changed on the admin
//! page, where forms carry a token of ours.

use super::admin::words;
use super::options::{Format, Options};
use super::table::{Table, tables};
use super::{for_programs, seconds};
use crate::app::App;
use crate::error::Failure;
use crate::view::name_of;
use crate::words::{bytes, span};
use crate::{assets, gate, headers};
use askama::Template;
use axum::body::to_bytes;
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use model::statistics::{Answer, Asked};
use std::net::IpAddr;

/// What of the page's address asks for its style.
const STYLE: &str = ";style=";
/// No page is larger.
const LARGEST: usize = 64 * 1024 * 1024;

/// Draws the statistics page of frontends. Cheap to clone.
#[derive(Clone)]
pub struct Statistics(App);

impl std::fmt::Debug for Statistics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Statistics")
    }
}

#[derive(Template)]
#[template(path = "stats_frontend.html")]
struct Page {
    title: String,
    node: String,
    style: String,
    tables: Vec<Table>,
    pid: u32,
    uptime: String,
    conns: u64,
    rate: u64,
    maxconn: u64,
    out: String,
    threads: u32,
    home: String,
    now: String,
    toggle_up: String,
    up: bool,
    toggle_maint: String,
    no_maint: bool,
    /// Where the page does, or does not, load itself; empty where it never does.
    toggle_refresh: String,
    refreshes: bool,
    outcome: Option<(bool, &'static str)>,
}

impl Statistics {
    pub(crate) const fn new(app: App) -> Self {
        Self(app)
    }

    /// What somebody who asked for the page is told.
    pub async fn answer(&self, asked: Asked) -> Answer {
        let mut response = match self.let_in(&asked.authorization, asked.from).await {
            Ok(()) => self.draw(&asked),
            Err(refused) => refused,
        };
        headers::put(response.headers_mut());
        let (head, body) = response.into_parts();
        let fields = head.headers.iter().filter_map(|(name, value)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        });
        let fields: Vec<_> = fields.filter(|(n, _)| n != header::CONTENT_LENGTH.as_str()).collect();
        // A page is whole in memory: only its size could be in the way.
        let Ok(body) = to_bytes(body, LARGEST).await else {
            return Answer { status: 500, ..Answer::default() };
        };
        Answer { status: head.status.as_u16(), fields, body: body.into() }
    }

    async fn let_in(&self, given: &str, from: IpAddr) -> Result<(), Response> {
        let stored = self.0.password_hash().await.map_err(|e| {
            Failure::inside(format!("the password cannot be read: {e}")).into_response()
        })?;
        let Some(stored) = stored else {
            return Err(gate::unauthorized("this node has no password yet; open its admin page"));
        };
        let Ok(given) = HeaderValue::from_str(given) else {
            return Err(gate::unauthorized(""));
        };
        gate::credential(&self.0, &given, &stored, from.to_canonical()).await.map(|_| ())
    }

    fn draw(&self, asked: &Asked) -> Response {
        if asked.form {
            // HAProxy's answer where `stats admin` does not allow it.
            let back = Options { outcome: None, ..Options::read(&asked.rest) }.behind(&asked.home);
            let to = [(header::LOCATION, format!("{back};st=DENY"))];
            return (StatusCode::SEE_OTHER, to).into_response();
        }
        if asked.rest.starts_with(STYLE) {
            return style();
        }
        let options = Options::read(&asked.rest);
        let proxy = self.0.ports.board.own().proxy.clone().unwrap_or_default();
        let proxy = options.apply(proxy);
        match for_programs(options.format, &proxy) {
            Some(response) => response,
            None => self.page(asked, &options, &proxy),
        }
    }

    fn page(
        &self,
        asked: &Asked,
        options: &Options,
        proxy: &model::status::ProxyStatus,
    ) -> Response {
        debug_assert!(options.format == Format::Html, "programs have theirs");
        let (snapshot, own) = (self.0.snapshot(), self.0.ports.board.own());
        let every = asked.refresh.map_or(0, seconds);
        let refreshes = every > 0 && !options.norefresh;
        let with = |change| options.with(change).behind(&asked.home);
        let hash = assets::style().map_or("", |(hash, _)| hash);
        let drawn = Page {
            title: asked.frontend.to_string(),
            node: name_of(&snapshot, snapshot.node()),
            style: format!("{}{STYLE}{hash}", asked.home),
            tables: tables(proxy),
            pid: own.pid,
            uptime: span(own.uptime_ms),
            conns: proxy.curr_conns,
            rate: proxy.conn_rate,
            maxconn: proxy.maxconn,
            out: bytes(proxy.frontends.iter().map(|f| f.traffic.bout).sum()),
            threads: proxy.threads,
            home: asked.home.clone(),
            now: options.behind(&asked.home),
            toggle_up: with(|o| o.up = !o.up),
            up: options.up,
            toggle_maint: with(|o| o.no_maint = !o.no_maint),
            no_maint: options.no_maint,
            toggle_refresh: if every > 0 {
                with(|o| o.norefresh = !o.norefresh)
            } else {
                String::new()
            },
            refreshes,
            outcome: options.outcome.as_deref().and_then(words),
        };
        let drawn = match drawn.render() {
            Ok(drawn) => drawn,
            Err(error) => return Failure::from(error).into_response(),
        };
        let mut response = Html(drawn).into_response();
        if refreshes {
            let again =
                HeaderValue::from_str(&format!("{every}; url={}", options.behind(&asked.home)));
            if let Ok(again) = again {
                response.headers_mut().insert(header::REFRESH, again);
            }
        }
        response
    }
}

/// The style sheet, at an address that changes with it.
fn style() -> Response {
    let bytes = assets::style().map_or(&b""[..], |(_, bytes)| bytes);
    let head = [
        (header::CONTENT_TYPE, "text/css; charset=utf-8"),
        (header::CACHE_CONTROL, "private, max-age=31536000, immutable"),
    ];
    (head, bytes).into_response()
}
