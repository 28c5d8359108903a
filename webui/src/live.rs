//! Pages that follow along: parts of a page, pushed over server-sent events when they changed.
//!
//! A part is an element of a page, drawn by the same code that draws the page. Each open page has
//! one stream. All streams of a page share one drawing per change, and a stream sends only those
//! parts that differ from what it sent before.

use crate::app::{App, lock};
use crate::error::Failure;
use crate::pages::{
    Ctx, balancing, board, failover, firmware, found, network, overview, roles, sites, wifi,
};
use crate::session::{KEY, SignedIn, fingerprint};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use control::Snapshot;
use futures_util::stream::{self, Stream, StreamExt};
use http::StatusCode;
use model::status::NodeReport;
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};
use tower_sessions::session::Id;
use tower_sessions::{Session, SessionStore};

/// Changes that come together are drawn together.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// Ages grow without anybody saying so.
const TICK: Duration = Duration::from_secs(1);
/// A drawing so young is used again by the next stream.
const FRESH: Duration = Duration::from_millis(80);
/// A stream asks so often whether its session is still there.
const RECHECK: Duration = Duration::from_secs(20);
/// Streams of all sessions, and of one.
const STREAMS: usize = 16;
const PER_SESSION: usize = 4;

/// An element of a page by its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) id: String,
    pub(crate) html: String,
}

impl Part {
    pub(crate) fn new(id: impl Into<String>, html: String) -> Self {
        Self { id: id.into(), html }
    }
}

type Draw = fn(&App, &Snapshot, &[NodeReport]) -> Result<Vec<Part>, askama::Error>;

const PAGES: [(&str, Draw); 10] = [
    ("overview", overview::parts),
    ("balancing", balancing::parts),
    ("failover", |_, s, r| failover::parts(s, r)),
    ("sites", |_, s, r| sites::parts(s, r)),
    ("board", |_, _, r| board::parts(r)),
    ("firmware", |app, _, r| firmware::parts(app, r)),
    ("wifi", wifi::parts),
    ("found", |app, _, _| found::parts(app)),
    ("network", |_, s, r| network::parts(s, r)),
    ("applied", |_, s, r| roles::parts(s, r)),
];

/// The last drawing of each page.
pub(crate) type Rendered = BTreeMap<&'static str, (Instant, Arc<Vec<Part>>)>;

fn draw(app: &App, page: &'static str, parts: Draw) -> Option<Arc<Vec<Part>>> {
    let mut rendered = lock(&app.rendered);
    if let Some((at, parts)) = rendered.get(page) {
        if at.elapsed() < FRESH {
            return Some(parts.clone());
        }
    }
    let drawn = Arc::new(parts(app, &app.snapshot(), &app.ports.board.nodes()).ok()?);
    rendered.insert(page, (Instant::now(), drawn.clone()));
    Some(drawn)
}

/// The streams of each session, the oldest first, each with what ends it when it is dropped.
pub(crate) type Streams = BTreeMap<String, VecDeque<(u64, oneshot::Sender<()>)>>;

/// A place among the streams, given back when the stream ends.
struct Place {
    app: App,
    session: String,
    number: u64,
}

impl Place {
    /// A session that opens one page too many loses its oldest stream: the newest page is the one
    /// that is looked at, and a browser may be slow to close those it left.
    fn take(app: &App, session: String) -> Option<(Self, oneshot::Receiver<()>)> {
        let mut streams = lock(&app.streams);
        if streams.get(&session).is_some_and(|own| own.len() >= PER_SESSION) {
            streams.get_mut(&session).and_then(VecDeque::pop_front);
        }
        if streams.values().map(VecDeque::len).sum::<usize>() >= STREAMS {
            return None;
        }
        let own = streams.entry(session.clone()).or_default();
        let number = own.back().map_or(0, |(number, _)| number + 1);
        let (stay, leave) = oneshot::channel();
        own.push_back((number, stay));
        drop(streams);
        Some((Self { app: app.clone(), session, number }, leave))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut streams = lock(&self.app.streams);
        if let Some(own) = streams.get_mut(&self.session) {
            own.retain(|(number, _)| *number != self.number);
            if own.is_empty() {
                streams.remove(&self.session);
            }
        }
    }
}

struct Follower {
    app: App,
    page: &'static str,
    draw: Draw,
    session: Id,
    sent: BTreeMap<String, String>,
    waiting: VecDeque<Event>,
    changes: watch::Receiver<u64>,
    settings: control::SnapshotReceiver,
    ended: watch::Receiver<u64>,
    checked: Instant,
    first: bool,
    leave: oneshot::Receiver<()>,
    _place: Place,
}

pub(crate) async fn events(ctx: Ctx, session: Session) -> Response {
    let asked = ctx.query.first("page");
    let Some((page, draw)) = PAGES.into_iter().find(|(name, _)| *name == asked) else {
        return Failure::not_found("There is no such page to follow.").into_response();
    };
    let Some(id) = session.id() else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let Some((place, leave)) = Place::take(&ctx.app, id.to_string()) else {
        return crate::gate::too_many(Duration::from_secs(5), "too many open pages");
    };
    let app = ctx.app;
    let follower = Follower {
        page,
        draw,
        session: id,
        sent: BTreeMap::new(),
        waiting: VecDeque::new(),
        changes: app.ports.board.changes(),
        settings: app.ports.control.watch(),
        ended: app.ports.sessions.endings(),
        checked: Instant::now(),
        first: true,
        leave,
        _place: place,
        app,
    };
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(15));
    Sse::new(follow(follower)).keep_alive(keep_alive).into_response()
}

fn follow(follower: Follower) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(follower, |mut f| async move {
        loop {
            if let Some(event) = f.waiting.pop_front() {
                return Some((Ok(event), f));
            }
            if !f.next().await {
                return None;
            }
        }
    })
    .fuse()
}

impl Follower {
    /// Waits for something to change and draws it; false when the stream is over.
    async fn next(&mut self) -> bool {
        if self.first {
            self.first = false;
            // Browsers that lost the stream come back after so many milliseconds.
            self.waiting.push_back(Event::default().retry(Duration::from_secs(2)));
        } else if !self.wait().await {
            return false;
        }
        if self.checked.elapsed() >= RECHECK {
            if !self.still_signed_in().await {
                return false;
            }
            self.checked = Instant::now();
        }
        let Some(parts) = draw(&self.app, self.page, self.draw) else { return true };
        for part in parts.iter() {
            if self.sent.get(&part.id) != Some(&part.html) {
                self.sent.insert(part.id.clone(), part.html.clone());
                self.waiting.push_back(Event::default().event(&part.id).data(&part.html));
            }
        }
        true
    }

    async fn wait(&mut self) -> bool {
        let shutdown = self.app.shutdown.clone();
        let stopping = async {
            match &shutdown {
                Some(shutdown) => shutdown.requested().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stopping => return false,
            _ = &mut self.leave => return false,
            changed = self.ended.changed() => {
                return changed.is_ok() && self.still_signed_in().await;
            }
            changed = self.changes.changed() => if changed.is_err() { return false },
            changed = self.settings.changed() => if changed.is_err() { return false },
            () = tokio::time::sleep(TICK) => return true,
        }
        tokio::time::sleep(DEBOUNCE).await;
        self.changes.mark_unchanged();
        self.settings.mark_unchanged();
        true
    }

    /// Looks without counting as use: an open page alone keeps no session alive.
    async fn still_signed_in(&self) -> bool {
        let Ok(Some(record)) = self.app.store.load(&self.session).await else { return false };
        let Ok(Some(stored)) = self.app.password_hash().await else { return false };
        let signed_in = record.data.get(KEY).cloned();
        let signed_in = signed_in.and_then(|v| serde_json::from_value::<SignedIn>(v).ok());
        signed_in.is_some_and(|s| s.credential == fingerprint(&stored))
    }
}
