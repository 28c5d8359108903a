//! The origin's side: its tree, and what changed in it.

use crate::filter::Filter;
use crate::guard::Source;
use crate::live::Live;
use crate::observer::Observer;
use crate::root::Root;
use crate::scan::Filters;
use crate::tree::{Kind, RelPath, Tree};
use crate::wire::MAX_PROBLEMS;
use model::NodeId;
use model::status::MirrorPhase;
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A mirror that missed more changes than this gets the whole listing again.
const LOG: usize = 20_000;
/// How often it is checked that the directory is still the one that is held open.
pub(crate) const GLANCE: Duration = Duration::from_secs(1);

/// What the settings say of a site, as far as it can change while it runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    /// The site's exclude patterns.
    pub(crate) filter: Arc<Filter>,
    /// Time between full compares.
    pub(crate) full_compare: Duration,
    /// Who may follow (origin only).
    pub(crate) mirrors: Vec<NodeId>,
}

/// What the origin's thread and its sessions share.
#[derive(Debug)]
pub(crate) struct Published {
    state: Mutex<State>,
    generation: watch::Sender<u64>,
}

/// The tree and how it came about.
#[derive(Debug)]
pub(crate) struct State {
    /// A new number means: send everything again.
    pub(crate) epoch: u64,
    /// Counts changes.
    pub(crate) generation: u64,
    /// What is there.
    pub(crate) tree: Arc<Tree>,
    /// Whether it could be read.
    pub(crate) source: Source,
    /// What could not be read.
    pub(crate) problems: Vec<(RelPath, String)>,
    /// The patterns it was read with.
    pub(crate) patterns: Vec<Vec<u8>>,
    /// Where files are read.
    pub(crate) root: Option<Arc<Root>>,
    log: VecDeque<(u64, RelPath)>,
    /// The log is complete from after this generation on.
    log_from: u64,
}

impl Published {
    /// Nothing was read yet: epoch 0 is not to be sent.
    pub(crate) fn new() -> Self {
        let state = State {
            epoch: 0,
            generation: 0,
            tree: Arc::default(),
            source: Source::Missing,
            problems: Vec::new(),
            patterns: Vec::new(),
            root: None,
            log: VecDeque::new(),
            log_from: 0,
        };
        Self { state: Mutex::new(state), generation: watch::channel(0).0 }
    }

    /// The state; held briefly.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes up at every change.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    fn publish(&self, observer: &Observer, filter: &Filter, changed: Vec<RelPath>) {
        let mut state = self.state();
        let mut problems = observer.problems.clone();
        problems.truncate(MAX_PROBLEMS);
        let anew = state.epoch == 0
            || state.source != observer.source
            || state.problems != problems
            || state.patterns != filter.source()
            || changed.len() > LOG;
        state.tree = Arc::clone(&observer.tree);
        state.source = observer.source.clone();
        state.problems = problems;
        state.patterns = filter.source().to_vec();
        state.root = observer.root().cloned();
        if anew {
            state.epoch += 1;
            state.log.clear();
        } else if changed.is_empty() {
            return;
        }
        state.generation += 1;
        let generation = state.generation;
        if anew {
            state.log_from = generation;
        } else {
            state.log.extend(changed.into_iter().map(|path| (generation, path)));
            // A session that is still behind what is dropped here starts again.
            while state.log.len() > LOG {
                if let Some((dropped, _)) = state.log.pop_front() {
                    state.log_from = dropped;
                }
            }
        }
        drop(state);
        self.generation.send_replace(generation);
    }
}

impl State {
    /// The paths that changed after a generation; None when that is no longer known.
    pub(crate) fn since(&self, generation: u64) -> Option<BTreeSet<RelPath>> {
        let newer = self.log.iter().rev().take_while(|(g, _)| *g > generation);
        (generation >= self.log_from).then(|| newer.map(|(_, p)| p.clone()).collect())
    }
}

/// Watches a site's tree until the settings' sender is gone.
pub(crate) async fn run(
    path: PathBuf,
    published: Arc<Published>,
    live: Arc<Live>,
    mut config: watch::Receiver<Config>,
) -> io::Result<()> {
    let mut current = config.borrow_and_update().clone();
    let filters = |config: &Config| Filters(vec![Arc::clone(&config.filter)]);
    let mut observer = Observer::new(path, filters(&current))?;
    let mut again = true;
    let mut compared = Instant::now();
    let mut glance = tokio::time::interval(GLANCE);
    glance.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        if again {
            again = false;
            let changed = observer.rescan()?;
            published.publish(&observer, &current.filter, changed);
            compared = Instant::now();
            show(&observer, &live, true);
        }
        let every = observer.compare_every(current.full_compare);
        let due = observer.due().unwrap_or(compared + every).min(compared + every);
        tokio::select! {
            changed = config.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let next = config.borrow_and_update().clone();
                again = observer.set_filters(filters(&next));
                current = next;
            }
            heard = observer.listen() => heard?,
            () = tokio::time::sleep_until(due.into()) => {
                let now = Instant::now();
                if now >= compared + every {
                    again = true;
                } else {
                    match observer.refresh(now) {
                        Some(changed) => {
                            published.publish(&observer, &current.filter, changed);
                            show(&observer, &live, false);
                        }
                        None => again = true,
                    }
                }
            }
            _ = glance.tick() => again = !observer.in_place(),
        }
    }
}

fn show(observer: &Observer, live: &Live, whole: bool) {
    let mut facts = live.facts();
    facts.entries = u64::try_from(observer.tree.len().saturating_sub(1)).unwrap_or(u64::MAX);
    if whole {
        facts.compared_at = Some(Instant::now());
    }
    drop(facts);
    let special = observer.tree.iter().filter(|(_, e)| e.kind == Kind::Special);
    let mut lines: Vec<String> = observer
        .problems
        .iter()
        .take(MAX_PROBLEMS)
        .map(|(path, why)| format!("{path} cannot be read: {why}"))
        .chain(special.take(MAX_PROBLEMS).map(|(path, _)| {
            format!("{path} is a fifo, a socket or a device; these are not mirrored")
        }))
        .collect();
    if observer.is_limited() {
        lines.insert(
            0,
            "not all directories can be watched (fs.inotify.max_user_watches); changes are \
             looked for every 10 s"
                .to_owned(),
        );
    }
    live.skipped(lines);
    live.phase(match &observer.source {
        Source::Listed => MirrorPhase::Origin,
        Source::Missing => MirrorPhase::Failed {
            reason: "the site's directory is gone here, on its origin; the mirrors keep what \
                     they have until it is back"
                .to_owned(),
        },
        Source::Unreadable(why) => MirrorPhase::Failed {
            reason: format!(
                "the site's directory cannot be read here, on its origin: {why}; the mirrors \
                 keep what they have until it can"
            ),
        },
    });
}
