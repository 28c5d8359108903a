//! The single writer.

use crate::change::{Author, Change, Outcome, Rejected};
use crate::snapshot::{Snapshot, SnapshotReceiver};
use crate::storage::{Commit, RevisionInfo, Storage, StorageError};
use model::{Edit, NodeId, Revision, Settings, check};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// A subsystem's say before a change: can it run the next settings?
pub trait Preflight: Send + Sync {
    /// Its name, for the operator.
    fn name(&self) -> &'static str;
    /// Looks, and changes nothing that cannot be undone by doing nothing. What it set aside for
    /// `next` (say, a bound socket) it releases by itself when `next` is not published soon.
    ///
    /// The error says what is in the way, for the operator.
    fn prepare<'a>(
        &'a self,
        current: &'a Snapshot,
        next: &'a Snapshot,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;
}

enum Request {
    Submit(Change, oneshot::Sender<Result<Outcome, Rejected>>),
    Revert(Revision, Author, oneshot::Sender<Result<Outcome, Rejected>>),
    History(usize, oneshot::Sender<Result<Vec<RevisionInfo>, StorageError>>),
    Revision(Revision, oneshot::Sender<Result<Option<Settings>, StorageError>>),
}

/// The handle everyone else has of the engine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Control {
    requests: mpsc::Sender<Request>,
    snapshots: SnapshotReceiver,
}

impl Control {
    /// The settings that run now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshots.borrow().clone()
    }

    /// Where to watch for the next ones.
    pub fn watch(&self) -> SnapshotReceiver {
        self.snapshots.clone()
    }

    /// Asks for a change and waits until it is stored and published.
    ///
    /// # Errors
    /// Why it was refused; nothing has changed then.
    pub async fn submit(&self, change: Change) -> Result<Outcome, Rejected> {
        self.ask(|reply| Request::Submit(change, reply)).await?
    }

    /// Makes an old revision's settings the newest revision.
    ///
    /// # Errors
    /// As [`Self::submit`]; an old document may break a rule that has come since.
    pub async fn revert(&self, to: Revision, author: Author) -> Result<Outcome, Rejected> {
        self.ask(|reply| Request::Revert(to, author, reply)).await?
    }

    /// The newest revisions, newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn history(&self, limit: usize) -> Result<Vec<RevisionInfo>, Rejected> {
        self.ask(|reply| Request::History(limit, reply)).await?.map_err(stored)
    }

    /// The document of one revision.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn revision(&self, revision: Revision) -> Result<Option<Settings>, Rejected> {
        self.ask(|reply| Request::Revision(revision, reply)).await?.map_err(stored)
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, Rejected> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| Rejected::Stopping)?;
        answer.await.map_err(|_| Rejected::Stopping)
    }
}

fn stored(error: StorageError) -> Rejected {
    Rejected::Storage(error.0)
}

/// The single writer of the settings.
pub struct Engine<S> {
    storage: S,
    preflights: Vec<Arc<dyn Preflight>>,
    requests: mpsc::Receiver<Request>,
    snapshots: watch::Sender<Arc<Snapshot>>,
}

impl<S: Storage> Engine<S> {
    /// Loads the newest revision, or starts with `first` as revision 0, which is not stored
    /// before it is changed.
    ///
    /// # Errors
    /// When the storage cannot be read.
    pub fn new(
        mut storage: S,
        node: &NodeId,
        first: Settings,
    ) -> Result<(Self, Control), StorageError> {
        let snapshot = match storage.newest()? {
            Some(stored) => Snapshot::new(stored.revision, stored.settings, node),
            None => Snapshot::new(Revision(0), first, node),
        };
        let (snapshots, receiver) = snapshot.channel();
        let (sender, requests) = mpsc::channel(16);
        let control = Control { requests: sender, snapshots: receiver };
        Ok((Self { storage, preflights: Vec::new(), requests, snapshots }, control))
    }

    /// Adds a subsystem that is asked before each change.
    pub fn add_preflight(&mut self, preflight: Arc<dyn Preflight>) {
        self.preflights.push(preflight);
    }

    /// Serves requests until every [`Control`] is gone. Storage calls block briefly, so this
    /// belongs on a thread where that is harmless.
    pub async fn run(mut self) {
        while let Some(request) = self.requests.recv().await {
            // A caller that went away no longer wants the answer; the change stands.
            match request {
                Request::Submit(change, reply) => {
                    let outcome = self.submit(change).await;
                    let _ = reply.send(outcome);
                }
                Request::Revert(to, author, reply) => {
                    let outcome = self.revert(to, author).await;
                    let _ = reply.send(outcome);
                }
                Request::History(limit, reply) => {
                    let _ = reply.send(self.storage.history(limit));
                }
                Request::Revision(revision, reply) => {
                    let found = self.storage.revision(revision);
                    let _ = reply.send(found.map(|f| f.map(|r| r.settings)));
                }
            }
        }
    }

    async fn revert(&mut self, to: Revision, author: Author) -> Result<Outcome, Rejected> {
        let old = self.storage.revision(to).map_err(stored)?;
        let old = old.ok_or_else(|| Rejected::Missing(format!("there is no revision {to}")))?;
        let edits = [Edit::Replace(Box::new(old.settings))];
        self.change(&edits, &author, &format!("went back to revision {to}")).await
    }

    async fn submit(&mut self, change: Change) -> Result<Outcome, Rejected> {
        let current = self.snapshots.borrow().clone();
        if change.base.is_some_and(|base| base != current.revision) {
            return Err(Rejected::Stale(current));
        }
        let sentence = change.edits.iter().map(Edit::sentence).collect::<Vec<_>>().join("; ");
        self.change(&change.edits, &change.author, &sentence).await
    }

    async fn change(
        &mut self,
        edits: &[Edit],
        author: &Author,
        sentence: &str,
    ) -> Result<Outcome, Rejected> {
        let current = self.snapshots.borrow().clone();
        let mut settings = current.settings.clone();
        for edit in edits {
            edit.apply(&mut settings).map_err(|e| Rejected::Missing(e.to_string()))?;
        }
        settings.unmask(&current.settings);
        if settings == current.settings {
            return Ok(Outcome::Unchanged(current.revision));
        }
        let problems = check(&settings);
        if !problems.is_empty() {
            return Err(Rejected::Problems(problems));
        }
        let revision = Revision(current.revision.0 + 1);
        let next = Snapshot::new(revision, settings, current.node());
        for preflight in &self.preflights {
            preflight.prepare(&current, &next).await.map_err(|reason| Rejected::Cannot {
                subsystem: preflight.name().to_owned(),
                reason,
            })?;
        }
        let commit = Commit { revision, author, sentence, settings: &next.settings };
        self.storage.commit(&commit).map_err(stored)?;
        tracing::info!(%revision, %author, "{sentence}");
        self.snapshots.send_replace(Arc::new(next));
        Ok(Outcome::Applied(revision))
    }
}
