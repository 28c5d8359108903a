//! The statistics where visitors arrive: what `stats uri` of a frontend shows, which the balancer
//! serves. Whoever knows the password, or has a token, may look; states are changed on the admin
//! page, where forms carry a token of ours.

use super::for_programs;
use super::options::Options;
use super::table::{Table, tables};
use super::top::Top;
use crate::app::App;
use crate::error::Failure;
use crate::view::name_of;
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
    top: Top,
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
        let mut own = self.0.ports.board.own();
        let proxy = options.apply(own.proxy.take().unwrap_or_default());
        if let Some(response) = for_programs(options.format, &proxy) {
            return response;
        }
        let snapshot = self.0.snapshot();
        let hash = assets::style().map_or("", |(hash, _)| hash);
        let drawn = Page {
            title: asked.frontend.to_string(),
            node: name_of(&snapshot, snapshot.node()),
            style: format!("{}{STYLE}{hash}", asked.home),
            tables: tables(&proxy),
            top: Top::new(&own, &proxy, (&asked.home, &options), asked.refresh),
        };
        let mut response = match drawn.render() {
            Ok(drawn) => Html(drawn).into_response(),
            Err(error) => return Failure::from(error).into_response(),
        };
        drawn.top.put_refresh(response.headers_mut(), "");
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
