//! The load balancer: frontends, backends, servers and their health.
//!
//! HTTP mode as HAProxy means it: every request is parsed strictly and balanced on its own, over
//! servers that are checked, with kept connections to them; mode tcp, where a connection is
//! balanced as a whole; and mode udp (`udp`), where the datagrams of one source are. The words are
//! HAProxy's, too.
//!
//! Pure files, without I/O, clock or tokio: `framing` (where a message ends), `message`,
//! `request` and `response` (what a head may say and what is sent on), `balance` (who is next),
//! `health` (from checks to up and down), `standing` (what a
//! server may take), `queue`, `proxy_protocol`, `log` (the access log's line), `answer` (our own error
//! pages). What is not exactly right about the framing of a message is refused, never repaired,
//! and what is sent on is framed anew.
//!
//! `history` and `paths` keep, in memory and bounded, what the charts show.
//!
//! The edge: `runner` is the manager, one thread that turns snapshots into listeners, workers and
//! checks. `worker` is one thread of the data plane, with a runtime, listeners (`SO_REUSEPORT`)
//! and idle server connections of its own; `spread` sees to it that all threads serve about as many
//! connections; `client` is one visitor's connection, `exchange` one request, `relay` its bytes;
//! `tcp` and `tunnel` pass on bytes nobody reads, by `splice`. `admit` finds a place on a server,
//! or has a request wait for one; `tries` remembers which ones were tried. A worker reads through
//! one buffer for all its connections, so that an idle connection costs next to nothing. Workers
//! hold an `Arc` of the settings and compare one number per request; counters, health and turns
//! live outside it (`live`), known by name, and survive every change.
//!
//! What a frontend's rules (`rules`), the persistence cookie and the stick tables (`persist`) and
//! the hashes want to know of a request they read from the head as it is sent on (`head`): it has
//! been checked and framed by then, and nothing they do can change where a message ends. Whoever
//! has none of them pays for none of them. `track` counts how much each visitor asks for, where rules
//! want to know.
//!
//! TLS (`tls`) ends here: which certificate is shown is part of a frontend's settings, and a
//! visitor's connection is a `stream`, whatever is around its bytes. An HTTP/2 connection
//! (`http2`) becomes one client for each of its streams, whose bytes are HTTP/1.1 again: there is
//! one parser, and one way from there.
//!
//! A frontend may show the statistics (`statistics`); who draws them is joined to it from outside.
//!
//! It never touches the disk: the access log goes to a writer it is given.

mod access;
mod admit;
mod answer;
mod balance;
mod check;
mod client;
mod config;
mod cookie;
mod error;
mod exchange;
mod framing;
#[doc(hidden)]
pub mod fuzzing;
mod head;
mod health;
mod history;
mod http2;
mod listen;
mod live;
mod log;
mod message;
mod paths;
mod persist;
mod pool;
mod preflight;
mod proxy_protocol;
mod queue;
mod relay;
mod request;
mod response;
mod rules;
mod runner;
mod shared;
mod splice;
mod spread;
mod standing;
mod statistics;
mod status;
mod stream;
mod tcp;
mod timers;
mod tls;
mod track;
mod tries;
mod tunnel;
mod udp;
mod visits;
mod worker;

pub use error::StartError;
pub use statistics::Statistics;

use control::{Preflight, Reporter, Shutdown, SnapshotReceiver};
use model::Name;
use model::status::ProxyStatus;
use runner::{Manager, Outside};
use shared::Shared;
use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How to run.
#[derive(Default)]
pub struct Options {
    /// Threads that carry traffic; as many as there are cores by default.
    pub threads: Option<usize>,
    /// Where access logs go, besides the newest lines kept in memory.
    pub access_log: Option<Box<dyn Write + Send>>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("threads", &self.threads).finish_non_exhaustive()
    }
}

/// A running load balancer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Outside>);

/// Starts the load balancer on threads of its own. It runs what the snapshots say until
/// `shutdown` or [`Handle::drain`].
///
/// # Errors
/// When the system gives no threads.
pub fn start(
    snapshots: SnapshotReceiver,
    reporter: Reporter,
    shutdown: Shutdown,
    options: Options,
) -> Result<Handle, StartError> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let shared = Arc::new(Shared::new(options.threads.unwrap_or_else(cores).max(1)));
    let outside = Arc::new(Outside {
        shared: Arc::clone(&shared),
        open: std::sync::Mutex::default(),
        ready: watch::channel(false).0,
        stop_by: watch::channel(None).0,
        stopped: watch::channel(false).0,
    });
    let writer = options.access_log;
    std::thread::Builder::new()
        .name("proxy-log".to_owned())
        .spawn(move || shared.access.write_to(writer))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let manager = Manager::new(Arc::clone(&outside), reporter.clone());
    let manager = Arc::new(tokio::sync::Mutex::new(manager));
    let ended = Arc::clone(&outside);
    std::thread::Builder::new().name("proxy".to_owned()).spawn(move || {
        runtime.block_on(async {
            let mut stopped = ended.stopped.subscribe();
            let again = control::supervise(reporter, shutdown.clone(), || {
                let (manager, snapshots) = (Arc::clone(&manager), snapshots.clone());
                let shutdown = shutdown.clone();
                async move { manager.lock().await.run(snapshots, shutdown).await }
            });
            tokio::select! {
                () = again => {}
                _ = stopped.wait_for(|s| *s) => {}
            }
        });
        ended.stopped.send_replace(true);
    })?;
    Ok(Handle(outside))
}

impl Handle {
    /// What it counts; None while this node is no balancer.
    pub fn status(&self) -> Option<ProxyStatus> {
        let shared = &self.0.shared;
        shared.active.load(Acquire).then(|| {
            let open = live::lock(&self.0.open).clone();
            status::proxy(shared, &open, shared.threads())
        })
    }

    /// True while this node is fit to be sent visitors: it is a balancer, listens wherever the
    /// settings say, and every thread is alive.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.0.ready.subscribe()
    }

    /// The check of new listening addresses and certificates before a change.
    pub fn preflight(&self) -> Arc<dyn Preflight> {
        Arc::new(preflight::Asked)
    }

    /// The newest 500 lines of the access log, oldest first.
    pub fn recent_log(&self) -> Vec<String> {
        self.0.shared.access.recent()
    }

    /// The last minutes and hours of every frontend, backend and server.
    pub fn charts(&self) -> Vec<model::charts::Series> {
        status::charts(&self.0.shared.config())
    }

    /// What is asked for most at each frontend.
    pub fn paths(&self) -> Vec<model::charts::Paths> {
        let config = self.0.shared.config();
        config.frontends.iter().map(|f| f.live.paths.read(&f.settings.name)).collect()
    }

    /// Has the statistics page of frontends (HAProxy `stats uri`) drawn there, by whoever comes
    /// first; until then it is answered with 503.
    pub fn join_statistics(&self, page: Arc<dyn Statistics>) {
        self.0.shared.statistics.join(page);
    }

    /// Breaks off the requests under way at a server (HAProxy `shutdown sessions server`); false
    /// where there is no such server.
    pub fn shut_down_sessions(&self, backend: &Name, server: &Name) -> bool {
        let config = self.0.shared.config();
        let backend = config.backends.iter().find(|b| b.settings.name == *backend);
        let server = backend.and_then(|b| b.servers.iter().find(|s| s.name == *server));
        if let Some(server) = server {
            tracing::info!("the requests of server {} are broken off", server.name);
            server.live.standing.end_requests();
            self.0.shared.look_again();
        }
        server.is_some()
    }

    /// How many connections of visitors each thread serves, those of mode udp left out.
    pub fn connections_of_threads(&self) -> Vec<usize> {
        self.0.shared.spread.connections().collect()
    }

    /// Lines of the access log that were dropped because the writer could not keep up.
    pub fn dropped_log_lines(&self) -> u64 {
        self.0.shared.access.dropped.get()
    }

    /// Stops: accepts what is already queued, lets running requests finish for at most
    /// `deadline`, and returns when every thread has ended.
    pub async fn drain(&self, deadline: Duration) {
        let mut stopped = self.0.stopped.subscribe();
        self.0.stop_by.send_replace(Some(Instant::now() + deadline));
        // The sender lives in `self`.
        let _ = stopped.wait_for(|s| *s).await;
    }
}
