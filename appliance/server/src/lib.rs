//! The web server: sites from a directory over HTTP/1.1.
//!
//! It hands out the files below `DIR/site/` (and `DIR/sites/NAME/`), as Apache and nginx do for
//! a static site: types, index files, conditional requests, ranges, precompressed siblings
//! (`page.html.br` beside `page.html`), several sites on one address told apart by host name.
//! Two web servers with the same copy answer with the same headers, so that a visitor can be
//! moved from one to the other in the middle of a download.
//!
//! What it does not do: list directories, run programs, compress by itself, speak TLS or HTTP/2
//! (the balancer in front does what visitors see), or write a log (the balancer does).
//!
//! hyper speaks HTTP; what a request means is decided here. Pure: [`path`] (where a request
//! points), [`hosts`] (which site), [`conditional`], [`range`], [`encoding`], [`etag`], [`date`],
//! [`types`]. The edge: [`beneath`] and [`files`] (opening without ever leaving the site),
//! [`reply`], [`body`] and [`card`] (the response), [`service`] (one request), [`stream`] and [`listener`]
//! (connections), [`runner`] (following the settings).
//!
//! A file whose name and content are in the kernel's memory is answered on the spot
//! (`RESOLVE_CACHED`, `RWF_NOWAIT`); anything that has to wait for the SD card waits on one of a
//! few threads kept for that, and nobody else waits with it.
#![forbid(unsafe_code)]

mod beneath;
mod body;
mod card;
mod conditional;
mod counters;
mod date;
mod encoding;
mod error;
mod etag;
mod files;
mod hosts;
mod listener;
mod path;
mod preflight;
mod range;
mod reply;
mod runner;
mod service;
mod stream;
mod types;

pub use counters::Counters;

use control::{Preflight, Reporter, Shutdown, SnapshotReceiver, supervise};
use listener::Common;
use runner::Running;
use rustix::process::{Resource, getrlimit};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Connections at once, if descriptors allow: about 16 kB each.
const MOST_CONNECTIONS: u32 = 8192;

/// What this node tells the web server once.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data directory, which holds the sites' directories.
    pub data_dir: PathBuf,
}

/// The running web server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Running>);

/// Starts the web server on the current tokio runtime; it follows `snapshots` until `shutdown`.
pub fn start(
    snapshots: SnapshotReceiver,
    reporter: Reporter,
    shutdown: Shutdown,
    options: Options,
) -> Handle {
    let most = most_connections();
    let common = Arc::new(Common {
        tally: Arc::default(),
        connections: Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(usize::MAX))),
        most,
        card: card::Card::new(),
        look: watch::channel(0).0,
        crowded: AtomicBool::new(false),
        limits: stream::Limits::default(),
    });
    let running = Arc::new(Running::new(options.data_dir, common));
    let handle = Handle(running.clone());
    tokio::spawn(supervise(reporter.clone(), shutdown.clone(), move || {
        runner::run(running.clone(), snapshots.clone(), reporter.clone(), shutdown.clone())
    }));
    handle
}

/// Half of the descriptors this process may have: the balancer lives in the same one, and a
/// request needs two.
fn most_connections() -> u32 {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) / 2;
    u32::try_from(limit).unwrap_or(u32::MAX).clamp(64, MOST_CONNECTIONS)
}

impl Handle {
    /// The web server's say before a change of settings.
    pub fn preflight(&self) -> Arc<dyn Preflight> {
        Arc::new(preflight::Asked(self.0.clone()))
    }

    /// What was served since start.
    pub fn counters(&self) -> Counters {
        self.0.common.tally.read()
    }

    /// Stops listening for good, answers what is under way and waits until every connection has
    /// ended, but no longer than `patience`.
    pub async fn drain(&self, patience: Duration) {
        self.0.retire_all();
        let all = self.0.common.connections.acquire_many(self.0.common.most);
        let _ = tokio::time::timeout(patience, all).await;
    }
}
