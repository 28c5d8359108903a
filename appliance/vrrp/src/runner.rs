//! The handle of the others, and the task between the appliance and the thread.

use crate::error::FailoverError;
use crate::ports::{Addresses, LastWill};
use crate::router::{Config, Note};
use crate::thread::{Engine, Parts, become_real_time, now};
use crate::time::Moment;
use control::{Reporter, Shutdown, Snapshot, SnapshotReceiver};
use model::status::{FailoverReport, VrrpState, VrrpStatus};
use model::{Name, Revision};
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Longer than the thread itself takes to stop at most.
const STOP_TIMEOUT: Duration = Duration::from_secs(4);
/// Longer than the longest skew of version 3 (41 s).
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(45);
/// After a fault of its own the thread starts again, later each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Events waiting to be logged.
const EVENTS: usize = 256;

pub(crate) enum Command {
    Settings { revision: Revision, configs: Vec<Config> },
    Tracked(bool),
    Failover(Name, oneshot::Sender<Result<FailoverReport, FailoverError>>),
    Stop(Option<oneshot::Sender<()>>),
    Answer(oneshot::Sender<()>),
}

#[derive(Debug)]
pub(crate) enum Event {
    Entered(Name, VrrpState, Option<String>),
    Note(Name, Note),
    Trouble(Name, String),
    Report { revision: Revision, idle: bool, problem: Option<String> },
    Failed(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) status: VrrpStatus,
    pub(crate) since: Moment,
}

pub(crate) struct Shared {
    pub(crate) wake: OwnedFd,
    pub(crate) published: Mutex<Vec<Published>>,
}

/// What the rest of the appliance has of the virtual routers. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    commands: Sender<Command>,
    shared: Option<Arc<Shared>>,
}

impl Handle {
    /// Every virtual router this node takes part in.
    pub fn status(&self) -> Vec<VrrpStatus> {
        let Some(shared) = &self.shared else { return Vec::new() };
        let list = shared.published.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let moment = now();
        let aged = |mut p: Published| {
            let age = moment.since(p.since).as_millis();
            p.status.since_ms = u64::try_from(age).unwrap_or(u64::MAX);
            p.status
        };
        list.into_iter().map(aged).collect()
    }

    /// Gives the floating IPs of this virtual router to another node or, on a backup, takes them.
    /// Answers when that is done.
    ///
    /// # Errors
    /// Why they stay where they are.
    pub async fn failover(&self, name: &Name) -> Result<FailoverReport, FailoverError> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Failover(name.clone(), answer));
        match tokio::time::timeout(FAILOVER_TIMEOUT, answered).await {
            Ok(Ok(result)) => result,
            _ => Err(FailoverError::Stopping),
        }
    }

    /// Leaves every virtual router for good: says farewell, keeps serving until the successor
    /// has spoken (a second or so at most), and lets go of the floating IPs. To be called before
    /// anything else of the node is stopped.
    pub async fn stop(&self) {
        let (done, is_done) = oneshot::channel();
        self.send(Command::Stop(Some(done)));
        let _ = tokio::time::timeout(STOP_TIMEOUT, is_done).await;
    }

    /// Whether the thread still does its work: it answers after the next turn of its loop, or
    /// never. True where there is no such thread.
    pub async fn answers(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Answer(answer));
        self.shared.is_none() || answered.await.is_ok()
    }

    fn send(&self, command: Command) {
        // A thread that has ended takes its receiver along: whoever waits for an answer sees
        // the sender dropped.
        let _ = self.commands.send(command);
        if let Some(shared) = &self.shared {
            let _ = rustix::io::write(&shared.wake, &1_u64.to_ne_bytes());
        }
    }
}

/// Starts the VRRP thread and a task that feeds it. Must be called on a tokio runtime.
///
/// `tracked` says whether this node's own load balancer works.
pub fn start(
    snapshots: SnapshotReceiver,
    tracked: watch::Receiver<bool>,
    addresses: Box<dyn Addresses>,
    will: Box<dyn LastWill>,
    reporter: Reporter,
    shutdown: Shutdown,
) -> Handle {
    let (commands, receiver) = channel();
    let (events, events_receiver) = mpsc::channel(EVENTS);
    let wake = match eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK) {
        Ok(wake) => wake,
        Err(error) => {
            reporter.failed(format!("it could not start: {error}"));
            return Handle { commands, shared: None };
        }
    };
    let shared = Arc::new(Shared { wake, published: Mutex::default() });
    let handle = Handle { commands, shared: Some(Arc::clone(&shared)) };
    let works = *tracked.borrow();
    let spawned = std::thread::Builder::new().name("vrrp".to_owned()).spawn(move || {
        run(addresses, will, receiver, events, shared, works);
    });
    if let Err(error) = spawned {
        reporter.failed(format!("it could not start: {error}"));
        return handle;
    }
    let feeder = handle.clone();
    tokio::spawn(feed(feeder, snapshots, tracked, events_receiver, reporter, shutdown));
    handle
}

fn run(
    addresses: Box<dyn Addresses>,
    will: Box<dyn LastWill>,
    commands: Receiver<Command>,
    events: mpsc::Sender<Event>,
    shared: Arc<Shared>,
    tracked: bool,
) {
    become_real_time();
    let mut parts = Parts {
        addresses,
        will,
        commands,
        events,
        shared,
        tracked,
        revision: Revision::default(),
        configs: Vec::new(),
        testaments: Vec::new(),
    };
    let mut pause = FIRST_PAUSE;
    loop {
        let attempt = AssertUnwindSafe(|| Engine::new(&mut parts).and_then(|mut e| e.run()));
        let reason = match catch_unwind(attempt) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it hit a fault of its own".to_owned(),
        };
        parts.bury();
        let reason = format!("{reason}; it is started again in {} ms", pause.as_millis());
        let _ = parts.events.try_send(Event::Failed(reason));
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

enum Occasion {
    Snapshot,
    Tracked,
    Event(Option<Event>),
    Shutdown,
}

/// Takes snapshots to the thread and events from it to the log and the board.
async fn feed(
    handle: Handle,
    mut snapshots: SnapshotReceiver,
    mut tracked: watch::Receiver<bool>,
    mut events: mpsc::Receiver<Event>,
    reporter: Reporter,
    shutdown: Shutdown,
) {
    let current = snapshots.borrow_and_update().clone();
    handle.send(settings(&current));
    let (mut settings_end, mut tracked_end, mut stopping) = (false, false, false);
    loop {
        let occasion = tokio::select! {
            changed = snapshots.changed(), if !settings_end => {
                settings_end = changed.is_err();
                Occasion::Snapshot
            }
            changed = tracked.changed(), if !tracked_end => {
                tracked_end = changed.is_err();
                Occasion::Tracked
            }
            event = events.recv() => Occasion::Event(event),
            () = shutdown.requested(), if !stopping => Occasion::Shutdown,
        };
        match occasion {
            Occasion::Snapshot => {
                let snapshot = snapshots.borrow_and_update().clone();
                handle.send(settings(&snapshot));
            }
            Occasion::Tracked => {
                let works = *tracked.borrow_and_update();
                handle.send(Command::Tracked(works));
            }
            Occasion::Event(Some(event)) => tell(&event, &reporter),
            Occasion::Event(None) => return, // the thread has ended
            Occasion::Shutdown => {
                stopping = true;
                handle.send(Command::Stop(None));
            }
        }
    }
}

fn settings(snapshot: &Snapshot) -> Command {
    Command::Settings { revision: snapshot.revision, configs: Config::all(&snapshot.effective) }
}

fn tell(event: &Event, reporter: &Reporter) {
    match event {
        Event::Entered(name, state, None) => {
            tracing::info!("{name} is {} now", state.keyword());
            reporter.board().touch();
        }
        Event::Entered(name, state, Some(reason)) => {
            tracing::warn!("{name} is in {}: {reason}", state.keyword());
            reporter.board().touch();
        }
        Event::Note(name, note) => tracing::warn!("{name}: {note}"),
        Event::Trouble(name, what) => tracing::warn!("{name}: {what}"),
        Event::Report { revision, problem: Some(problem), .. } => {
            reporter.degraded(*revision, problem.clone());
        }
        Event::Report { revision, idle: true, .. } => reporter.idle(*revision),
        Event::Report { revision, .. } => reporter.applied(*revision),
        Event::Failed(reason) => {
            tracing::error!("VRRP failed: {reason}");
            reporter.failed(reason.clone());
        }
    }
}
