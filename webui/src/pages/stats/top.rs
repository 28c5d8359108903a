//! What stands above the tables, on the admin page and where a frontend shows the statistics.

use super::admin::words;
use super::options::Options;
use crate::words::{bytes, span};
use http::{HeaderMap, HeaderValue, header};
use model::Millis;
use model::status::{NodeStatus, ProxyStatus};

/// See the file.
pub(super) struct Top {
    pub(super) pid: u32,
    pub(super) uptime: String,
    pub(super) conns: u64,
    pub(super) rate: u64,
    pub(super) maxconn: u64,
    pub(super) out: String,
    pub(super) threads: u32,
    /// Where the form and the links lead.
    pub(super) home: String,
    pub(super) now: String,
    pub(super) toggle_up: String,
    pub(super) up: bool,
    pub(super) toggle_maint: String,
    pub(super) no_maint: bool,
    /// Where the page does, or does not, load itself; empty where it never does.
    pub(super) toggle_refresh: String,
    pub(super) refreshes: bool,
    /// Whether the last action did what it should, and what came of it.
    pub(super) outcome: Option<(bool, &'static str)>,
    /// Seconds after which the page loads itself.
    every: u32,
}

impl Top {
    pub(super) fn new(
        own: &NodeStatus,
        proxy: &ProxyStatus,
        (home, options): (&str, &Options),
        refresh: Option<Millis>,
    ) -> Self {
        // As long in whole seconds, as a page that loads itself wants it.
        let every = refresh.map_or(0, |every| every.0.div_ceil(1000));
        let with = |change| options.with(change).behind(home);
        let toggle_refresh =
            if every > 0 { with(|o| o.norefresh = !o.norefresh) } else { String::new() };
        Self {
            pid: own.pid,
            uptime: span(own.uptime_ms),
            conns: proxy.curr_conns,
            rate: proxy.conn_rate,
            maxconn: proxy.maxconn,
            out: bytes(proxy.frontends.iter().map(|f| f.traffic.bout).sum()),
            threads: proxy.threads,
            home: home.to_owned(),
            now: options.behind(home),
            toggle_up: with(|o| o.up = !o.up),
            up: options.up,
            toggle_maint: with(|o| o.no_maint = !o.no_maint),
            no_maint: options.no_maint,
            toggle_refresh,
            refreshes: every > 0 && !options.norefresh,
            outcome: options.outcome.as_deref().and_then(words),
            every,
        }
    }

    /// Has the page load itself where that is wanted; `mark` stands behind its address then.
    pub(super) fn put_refresh(&self, headers: &mut HeaderMap, mark: &str) {
        let again = HeaderValue::from_str(&format!("{}; url={}{mark}", self.every, self.now));
        if let (true, Ok(again)) = (self.refreshes, again) {
            headers.insert(header::REFRESH, again);
        }
    }
}
