//! One thread per site, as the settings say.

use crate::error::Error;
use crate::filter::Filter;
use crate::follow::{self, Place};
use crate::link::{Event, Incoming, keep_connected};
use crate::live::Live;
use crate::origin::{self, Config, Published};
use crate::session;
use crate::wire::{Message, VERSION};
use crate::{Stream, Transport};
use control::{Reporter, Shutdown, Snapshot, SnapshotReceiver};
use model::status::{MirrorPhase, MirrorStatus};
use model::{DerivedSite, MirrorDuty, Name, NodeId};
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, watch};

/// A mirror has so long to say which site it wants.
const HELLO: Duration = Duration::from_secs(5);
/// A site whose thread failed is started again after this pause.
const PAUSE: Duration = Duration::from_secs(1);
/// Threads are waited for so long when stopping.
const FAREWELL: Duration = Duration::from_secs(5);
/// Messages taken from the connection before the site's thread has looked at them.
const EVENTS: usize = 32;
/// The threads' own frames are small and nothing recurses.
const STACK: usize = 512 * 1024;

/// Where things are.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data directory; sites are below it.
    pub data_dir: PathBuf,
}

/// The mirror of this node. Cheap to clone.
#[derive(Clone)]
pub struct Handle(Arc<Inner>);

struct Inner {
    sites: Mutex<BTreeMap<Name, Running>>,
}

/// What a thread was started for; another value needs another thread.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Duty {
    directory: String,
    follows: Option<NodeId>,
}

struct Running {
    duty: Option<Duty>,
    live: Arc<Live>,
    config: Option<watch::Sender<Config>>,
    published: Option<Arc<Published>>,
    approvals: Option<mpsc::Sender<Event>>,
    link: Option<tokio::task::JoinHandle<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Starts mirroring as the settings say, now and whenever they change. Must be called within a
/// tokio runtime; file work is done on threads of its own.
pub fn start(
    snapshots: SnapshotReceiver,
    reporter: Reporter,
    shutdown: Shutdown,
    transport: Arc<dyn Transport>,
    options: Options,
) -> Handle {
    let handle = Handle(Arc::new(Inner { sites: Mutex::default() }));
    let runner = Runner { handle: handle.clone(), reporter, transport, options };
    tokio::spawn(runner.run(snapshots, shutdown));
    handle
}

impl Handle {
    /// Serves a mirror that opened a stream, until it goes away. The peer is who the transport
    /// says it is.
    pub async fn serve(&self, peer: NodeId, stream: Box<dyn Stream>) {
        let served: Pin<Box<dyn Future<Output = Result<(), Error>> + Send>> =
            Box::pin(self.clone().try_serve(peer.clone(), stream));
        if let Err(error) = served.await {
            tracing::debug!(%peer, "a mirror's connection ended: {error}");
        }
    }

    async fn try_serve(self, peer: NodeId, stream: Box<dyn Stream>) -> Result<(), Error> {
        let (read, mut write) = tokio::io::split(stream);
        let mut incoming = Incoming::new(read);
        let first = tokio::time::timeout(HELLO, incoming.next());
        let Message::Hello { version, site } = first.await.map_err(|_| Error::Silent)?? else {
            return Err(Error::Rule("it does not say hello"));
        };
        let found = if version == VERSION {
            self.origin_of(&peer, &site)
        } else {
            Err(format!(
                "the origin speaks version {VERSION} of the mirror protocol and this node \
                 version {version}; bring both to the same release"
            ))
        };
        let (published, live, config) = match found {
            Ok(found) => found,
            Err(reason) => {
                write.write_all(&Message::Refused { reason: reason.clone() }.to_frame()).await?;
                write.shutdown().await?;
                return Err(Error::Refused(reason));
            }
        };
        let _follower = Follower::new(Arc::clone(&live));
        tokio::select! {
            ended = session::run(incoming, write, published, live) => ended,
            () = dismissed(config, peer) => Err(Error::Stopping),
        }
    }

    #[expect(clippy::type_complexity, reason = "used once, right above")]
    fn origin_of(
        &self,
        peer: &NodeId,
        site: &Name,
    ) -> Result<(Arc<Published>, Arc<Live>, watch::Receiver<Config>), String> {
        let sites = self.sites();
        let running = sites.get(site);
        let running = running.ok_or_else(|| format!("the origin has no site {site}"))?;
        match (&running.published, &running.config) {
            (Some(published), Some(config)) if config.borrow().mirrors.contains(peer) => {
                Ok((Arc::clone(published), Arc::clone(&running.live), config.subscribe()))
            }
            (Some(_), _) => {
                Err(format!("this node is no mirror of {site} in the settings of its origin"))
            }
            (None, _) => {
                Err(format!("the other node is not the origin of {site} by its own settings"))
            }
        }
    }

    /// The status of every site of this node.
    pub fn status(&self) -> Vec<MirrorStatus> {
        self.sites().values().filter(|r| r.duty.is_some()).map(|r| r.live.status()).collect()
    }

    /// Lets the deletion pass that a site's mirror holds at this moment; another one that comes
    /// later is held again. Nothing happens when nothing is held.
    pub async fn approve(&self, site: &Name) {
        let sender = self.sites().get(site).and_then(|r| r.approvals.clone());
        if let Some(sender) = sender {
            // The thread is gone: so is what it held.
            let _ = sender.send(Event::Approve).await;
        }
    }

    fn sites(&self) -> MutexGuard<'_, BTreeMap<Name, Running>> {
        self.0.sites.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns when the settings no longer list the mirror.
async fn dismissed(mut config: watch::Receiver<Config>, peer: NodeId) {
    while config.borrow_and_update().mirrors.contains(&peer) {
        if config.changed().await.is_err() {
            return;
        }
    }
}

/// Counts a connected mirror for as long as it lives.
struct Follower(Arc<Live>);

impl Follower {
    fn new(live: Arc<Live>) -> Self {
        live.facts().followers += 1;
        Self(live)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut facts = self.0.facts();
        facts.followers = facts.followers.saturating_sub(1);
    }
}

struct Runner {
    handle: Handle,
    reporter: Reporter,
    transport: Arc<dyn Transport>,
    options: Options,
}

impl Runner {
    async fn run(self, mut snapshots: SnapshotReceiver, shutdown: Shutdown) {
        let (ended, mut endings) = mpsc::unbounded_channel();
        loop {
            let snapshot = Arc::clone(&snapshots.borrow_and_update());
            self.apply(&snapshot, &ended);
            tokio::select! {
                changed = snapshots.changed() => {
                    if changed.is_err() {
                        break;
                    }
                }
                site = endings.recv() => {
                    if let Some(site) = site {
                        self.clear(&site);
                        tokio::select! {
                            () = tokio::time::sleep(PAUSE) => {}
                            () = shutdown.requested() => break,
                        }
                    }
                }
                () = shutdown.requested() => break,
            }
        }
        self.stop().await;
    }

    /// Compares the settings with what runs. Synchronous: threads that are no longer wanted end
    /// by themselves, and whoever takes over waits for them.
    fn apply(&self, snapshot: &Snapshot, ended: &mpsc::UnboundedSender<Name>) {
        let mut sites = self.handle.sites();
        sites.retain(|name, running| {
            let known = snapshot.effective.sites.iter().any(|s| s.site.name == *name);
            if !known {
                running.stop();
            }
            known
        });
        let mut degraded = None;
        for site in &snapshot.effective.sites {
            let name = &site.site.name;
            let running = sites.entry(name.clone()).or_insert_with(|| {
                Running::idle(Live::new(name.clone(), self.reporter.board().clone()))
            });
            let (duty, config) = wanted(site);
            if running.duty == duty {
                if let Some(sender) = &running.config {
                    sender.send_if_modified(|c| std::mem::replace(c, config.clone()) != config);
                }
                continue;
            }
            running.stop();
            if let Some(duty) = duty {
                let started = self.begin(snapshot, name, running, duty, config, ended);
                degraded = started.err().or(degraded);
            }
        }
        let busy = sites.values().any(|r| r.duty.is_some());
        drop(sites);
        match degraded {
            Some(reason) => self.reporter.degraded(snapshot.revision, reason),
            None if busy => self.reporter.applied(snapshot.revision),
            None => self.reporter.idle(snapshot.revision),
        }
    }

    fn begin(
        &self,
        snapshot: &Snapshot,
        name: &Name,
        running: &mut Running,
        duty: Duty,
        config: Config,
        ended: &mpsc::UnboundedSender<Name>,
    ) -> Result<(), String> {
        let path = self.options.data_dir.join(&duty.directory);
        let (sender, receiver) = watch::channel(config);
        let live = Arc::clone(&running.live);
        let work: Work = match &duty.follows {
            None => {
                let published = Arc::new(Published::new());
                running.published = Some(Arc::clone(&published));
                live.facts().origin = snapshot.node().clone();
                Work::Origin { path, published }
            }
            Some(origin) => {
                let (events, inbox) = mpsc::channel(EVENTS);
                running.approvals = Some(events.clone());
                live.facts().origin = origin.clone();
                let transport = Arc::clone(&self.transport);
                let link = keep_connected(transport, origin.clone(), name.clone(), events);
                running.link = Some(tokio::spawn(link));
                let place = Place {
                    path,
                    directory: duty.directory.clone(),
                    staging: self.options.data_dir.join("mirror/staging").join(name.as_str()),
                    origin: origin.clone(),
                };
                Work::Mirror { place, events: inbox }
            }
        };
        let before = running.thread.take();
        let job = Job { name: name.clone(), live, config: receiver, work, ended: ended.clone() };
        let thread = std::thread::Builder::new()
            .name(format!("mirror {name}").chars().take(15).collect())
            .stack_size(STACK)
            .spawn(move || {
                // Whoever worked on this directory must have finished.
                if let Some(before) = before {
                    let _ = before.join();
                }
                job.run();
            })
            .map_err(|e| format!("no thread for the mirror of {name}: {e}"))?;
        running.thread = Some(thread);
        running.config = Some(sender);
        running.duty = Some(duty);
        Ok(())
    }

    /// A thread ended by itself: the next look at the settings starts another.
    fn clear(&self, site: &Name) {
        if let Some(running) = self.handle.sites().get_mut(site) {
            running.stop();
        }
    }

    async fn stop(&self) {
        let mut threads = Vec::new();
        for running in self.handle.sites().values_mut() {
            running.stop();
            threads.extend(running.thread.take());
        }
        let joined = tokio::task::spawn_blocking(|| {
            for thread in threads {
                let _ = thread.join();
            }
        });
        let _ = tokio::time::timeout(FAREWELL, joined).await;
    }
}

impl Running {
    fn idle(live: Live) -> Self {
        Self {
            duty: None,
            live: Arc::new(live),
            config: None,
            published: None,
            approvals: None,
            link: None,
            thread: None,
        }
    }

    /// Tells everything to end; the thread is kept to be waited for.
    fn stop(&mut self) {
        self.duty = None;
        self.config = None;
        self.published = None;
        self.approvals = None;
        if let Some(link) = self.link.take() {
            link.abort();
        }
        let mut facts = self.live.facts();
        facts.phase = MirrorPhase::Connecting;
        facts.equal_at = None;
        facts.skipped.clear();
    }
}

fn wanted(site: &DerivedSite) -> (Option<Duty>, Config) {
    let policy = &site.site.mirror;
    let mut config = Config {
        filter: Arc::new(Filter::new(policy.exclude.iter().map(|p| p.as_str()))),
        full_compare: policy.full_compare.duration().max(Duration::from_secs(1)),
        mirrors: Vec::new(),
    };
    let follows = match &site.duty {
        MirrorDuty::None => return (None, config),
        MirrorDuty::Origin { mirrors } => {
            config.mirrors.clone_from(mirrors);
            None
        }
        MirrorDuty::Mirror { origin } => Some(origin.clone()),
    };
    (Some(Duty { directory: site.directory.clone(), follows }), config)
}

enum Work {
    Origin { path: PathBuf, published: Arc<Published> },
    Mirror { place: Place, events: mpsc::Receiver<Event> },
}

/// A site's thread.
struct Job {
    name: Name,
    live: Arc<Live>,
    config: watch::Receiver<Config>,
    work: Work,
    ended: mpsc::UnboundedSender<Name>,
}

impl Job {
    fn run(self) {
        let Self { name, live, config, work, ended } = self;
        let runs = config.clone();
        let ran = {
            let live = Arc::clone(&live);
            std::panic::catch_unwind(AssertUnwindSafe(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async {
                    match work {
                        Work::Origin { path, published } => {
                            origin::run(path, published, live, config).await
                        }
                        Work::Mirror { place, mut events } => {
                            follow::run(place, live, config, &mut events).await
                        }
                    }
                })
            }))
        };
        // The settings' sender is gone: this was the plan.
        if runs.has_changed().is_err() {
            return;
        }
        let reason = match ran {
            Ok(Ok(())) => "it ended by itself".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it hit a fault of its own".to_owned(),
        };
        tracing::error!(site = %name, "the mirror failed and is started again: {reason}");
        live.phase(MirrorPhase::Failed { reason: format!("{reason}; it is started again") });
        // The runner is gone only when everything stops.
        let _ = ended.send(name);
    }
}

#[cfg(test)]
#[path = "hostile_tests.rs"]
mod hostile;
