//! The single writer.

use crate::book::{Book, BookError, Gift};
use crate::change::{Author, Change, Outcome, Rejected};
use crate::replication::{Replication, ReplicationReceiver};
use crate::snapshot::{Snapshot, SnapshotReceiver};
use crate::storage::{RevisionInfo, Storage, StorageError};
use model::{Edit, NodeId, Problem, Revision, Settings, check};
use replica::{Choice, SyncError};
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
    ///
    /// # Errors
    /// When the next settings could not be run.
    fn prepare<'a>(
        &'a self,
        current: &'a Snapshot,
        next: &'a Snapshot,
    ) -> Pin<Box<dyn Future<Output = Result<(), Obstacle>> + Send + 'a>>;
}

/// What is in the way of a change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// Something outside the settings, in words for the operator.
    #[error("{0}")]
    Circumstances(String),
    /// Values of the settings that only the subsystem can judge.
    #[error("the settings would have {} problem(s)", .0.len())]
    Settings(Vec<Problem>),
}

impl From<String> for Obstacle {
    fn from(reason: String) -> Self {
        Self::Circumstances(reason)
    }
}

type Reply<T> = oneshot::Sender<T>;
type Changed = Result<Outcome, Rejected>;

enum Request {
    Submit(Change, Reply<Changed>),
    Revert(Revision, Author, Reply<Changed>),
    Undo(Revision, Author, Reply<Changed>),
    Resolve(String, Choice, Author, Reply<Changed>),
    TakeBack(Option<String>, Author, Reply<Changed>),
    Share(Shared, Author, Reply<Result<bool, Rejected>>),
    History(usize, Reply<Result<Vec<RevisionInfo>, StorageError>>),
    Revision(Revision, Reply<Result<Option<Settings>, StorageError>>),
    Gift(Reply<Gift>),
    Join(Gift, Author, Reply<Changed>),
    Keys(Reply<String>),
    AddKeys(Vec<u8>, NodeId, Reply<Changed>),
    OpenSession(Reply<u64>),
    CloseSession(u64),
    NextMessage(u64, Reply<Option<Vec<u8>>>),
    Receive(u64, NodeId, Vec<u8>, Reply<Result<(), ExchangeError>>),
}

/// A shared value on its way in.
struct Shared {
    name: String,
    value: Option<String>,
    sentence: String,
    /// Only where there is none.
    first: bool,
}

/// An exchange with another node that cannot go on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ExchangeError {
    /// What it sent makes no sense.
    #[error(transparent)]
    Peer(#[from] SyncError),
    /// What came could not be kept.
    #[error("what another node changed could not be stored: {0}")]
    Storage(String),
    /// The appliance is stopping.
    #[error("this node is shutting down")]
    Stopping,
}

/// The handle everyone else has of the engine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Control {
    requests: mpsc::Sender<Request>,
    snapshots: SnapshotReceiver,
    replication: ReplicationReceiver,
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

    /// Takes back what one revision changed, and nothing else.
    ///
    /// # Errors
    /// As [`Self::submit`]; [`Rejected::Missing`] when it was changed again since.
    pub async fn undo(&self, revision: Revision, author: Author) -> Result<Outcome, Rejected> {
        self.ask(|reply| Request::Undo(revision, author, reply)).await?
    }

    /// Where to watch the document behind the settings.
    pub fn replication(&self) -> ReplicationReceiver {
        self.replication.clone()
    }

    /// Settles a conflict (see [`Replication::lost`]) by its key.
    ///
    /// # Errors
    /// As [`Self::submit`]; [`Rejected::Missing`] when it is settled already.
    pub async fn resolve(
        &self,
        key: String,
        choice: Choice,
        author: Author,
    ) -> Result<Outcome, Rejected> {
        self.ask(|reply| Request::Resolve(key, choice, author, reply)).await?
    }

    /// Settles a decision (see [`Replication::decision`]): takes back the change of this key, or
    /// every change that does not run here yet.
    ///
    /// # Errors
    /// As [`Self::submit`]; [`Rejected::Missing`] when there is nothing to decide.
    pub async fn take_back(
        &self,
        key: Option<String>,
        author: Author,
    ) -> Result<Outcome, Rejected> {
        self.ask(|reply| Request::TakeBack(key, author, reply)).await?
    }

    /// A value of the cluster that is no setting.
    pub fn shared(&self, name: &str) -> Option<String> {
        self.replication.borrow().shared.get(name).cloned()
    }

    /// Sets such a value on every node, or removes it. `sentence` tells the others what happened.
    ///
    /// # Errors
    /// When it is not stored.
    pub async fn share(
        &self,
        name: &str,
        value: Option<String>,
        author: Author,
        sentence: &str,
    ) -> Result<(), Rejected> {
        let (name, sentence) = (name.to_owned(), sentence.to_owned());
        let shared = Shared { name, value, sentence, first: false };
        self.ask(|reply| Request::Share(shared, author, reply)).await?.map(|_| ())
    }

    /// Sets such a value where there is none, in one step; true when it did.
    ///
    /// # Errors
    /// When it is not stored.
    pub async fn share_first(
        &self,
        name: &str,
        value: String,
        author: Author,
        sentence: &str,
    ) -> Result<bool, Rejected> {
        let (name, sentence) = (name.to_owned(), sentence.to_owned());
        let shared = Shared { name, value: Some(value), sentence, first: true };
        self.ask(|reply| Request::Share(shared, author, reply)).await?
    }

    /// What a node that joins this cluster is given. Secret.
    ///
    /// # Errors
    /// When the appliance is stopping.
    pub async fn gift(&self) -> Result<Gift, Rejected> {
        self.ask(Request::Gift).await
    }

    /// Takes over the cluster this node joins, in place of everything it had.
    ///
    /// # Errors
    /// When it cannot be read or stored; the node is what it was then.
    pub async fn join(&self, gift: Gift, author: Author) -> Result<Outcome, Rejected> {
        self.ask(|reply| Request::Join(gift, author, reply)).await?
    }

    /// The cluster's keys, for another member alone.
    ///
    /// # Errors
    /// When the appliance is stopping.
    pub async fn keys(&self) -> Result<String, Rejected> {
        self.ask(Request::Keys).await
    }

    /// Takes over another member's keys.
    ///
    /// # Errors
    /// When they make no sense or are not stored.
    pub async fn add_keys(&self, keys: Vec<u8>, from: NodeId) -> Result<(), Rejected> {
        self.ask(|reply| Request::AddKeys(keys, from, reply)).await?.map(|_| ())
    }

    /// Begins an exchange of changes with another node, for as long as a connection lasts.
    ///
    /// # Errors
    /// When the appliance is stopping.
    pub async fn open_exchange(&self) -> Result<Exchange, Rejected> {
        let number = self.ask(Request::OpenSession).await?;
        Ok(Exchange { control: self.clone(), number })
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

/// One connection's exchange of changes with another node.
#[derive(Debug)]
pub struct Exchange {
    control: Control,
    number: u64,
}

impl Exchange {
    /// What the other node should be told next; None until something changes.
    ///
    /// # Errors
    /// When the appliance is stopping.
    pub async fn next(&self) -> Result<Option<Vec<u8>>, ExchangeError> {
        let asked = self.control.ask(|reply| Request::NextMessage(self.number, reply)).await;
        asked.map_err(|_| ExchangeError::Stopping)
    }

    /// Takes what the other node says; what comes of it is stored and runs when this returns.
    ///
    /// # Errors
    /// When it makes no sense, or could not be stored. The exchange is over then.
    pub async fn take(&self, from: &NodeId, message: Vec<u8>) -> Result<(), ExchangeError> {
        let receive = |reply| Request::Receive(self.number, from.clone(), message, reply);
        self.control.ask(receive).await.map_err(|_| ExchangeError::Stopping)?
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // A full queue or an engine that has ended: it forgets the exchange by itself or not at
        // all, which costs a few kilobytes.
        let _ = self.control.requests.try_send(Request::CloseSession(self.number));
    }
}

/// The single writer of the settings.
pub struct Engine<S> {
    book: Book<S>,
    preflights: Vec<Arc<dyn Preflight>>,
    requests: mpsc::Receiver<Request>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    replication: watch::Sender<Arc<Replication>>,
}

impl<S: Storage> Engine<S> {
    /// Loads the newest revision, or starts with `first` as revision 0, which is not stored
    /// before it is changed.
    ///
    /// # Errors
    /// When the storage cannot be read.
    pub fn new(
        storage: S,
        node: &NodeId,
        first: Settings,
    ) -> Result<(Self, Control), StorageError> {
        let failed = |e: BookError| StorageError(e.to_string());
        let mut book = Book::open(storage, node, first).map_err(failed)?;
        book.begin().map_err(failed)?;
        let snapshot = Snapshot::new(book.revision(), book.settings().clone(), node);
        let (snapshots, receiver) = snapshot.channel();
        let (replication, replicated) = watch::channel(book.replication());
        let (sender, requests) = mpsc::channel(16);
        let control = Control { requests: sender, snapshots: receiver, replication: replicated };
        Ok((Self { book, preflights: Vec::new(), requests, snapshots, replication }, control))
    }

    /// Adds a subsystem that is asked before each change.
    pub fn add_preflight(&mut self, preflight: Arc<dyn Preflight>) {
        self.preflights.push(preflight);
    }

    /// Serves requests until every [`Control`] is gone. Storage calls block briefly, so this
    /// belongs on a thread where that is harmless.
    pub async fn run(mut self) {
        while let Some(request) = self.requests.recv().await {
            self.serve(request).await;
        }
    }

    /// A caller that went away no longer wants the answer; the change stands.
    async fn serve(&mut self, request: Request) {
        match request {
            Request::Submit(change, reply) => {
                let outcome = self.submit(change).await;
                let _ = reply.send(outcome);
            }
            Request::Revert(to, author, reply) => {
                let outcome = self.revert(to, author).await;
                let _ = reply.send(outcome);
            }
            Request::Undo(revision, author, reply) => {
                let outcome = self.undo(revision, author).await;
                let _ = reply.send(outcome);
            }
            Request::Resolve(key, choice, author, reply) => {
                let outcome = self.resolve(&key, choice, &author).await;
                let _ = reply.send(outcome);
            }
            Request::TakeBack(key, author, reply) => {
                let done = self.book.take_back(key.as_deref(), &author);
                let _ = reply.send(self.done(done));
            }
            Request::Share(shared, author, reply) => {
                let _ = reply.send(self.share(&shared, &author));
            }
            Request::History(limit, reply) => {
                let _ = reply.send(self.book.history(limit));
            }
            Request::Revision(revision, reply) => {
                let _ = reply.send(self.book.read(revision));
            }
            Request::Gift(reply) => {
                let _ = reply.send(self.book.gift());
            }
            Request::Join(gift, author, reply) => {
                let joined = self.book.join(gift, &author, "joined the cluster");
                let _ = reply.send(self.done(joined));
            }
            Request::Keys(reply) => {
                let _ = reply.send(self.book.keys());
            }
            Request::AddKeys(keys, from, reply) => {
                let done = self.book.add_keys(&keys, &from);
                let _ = reply.send(self.done(done));
            }
            Request::OpenSession(reply) => {
                let _ = reply.send(self.book.open_session());
            }
            Request::CloseSession(number) => self.book.close_session(number),
            Request::NextMessage(number, reply) => {
                let _ = reply.send(self.book.next_message(number));
            }
            Request::Receive(number, from, message, reply) => {
                let taken = match self.book.receive(number, &from, &message) {
                    Ok(taken) => taken.map_err(ExchangeError::Peer),
                    Err(error) => Err(ExchangeError::Storage(error.to_string())),
                };
                self.publish();
                let _ = reply.send(taken);
            }
        }
    }

    /// What came of writing the book, published.
    fn done(&mut self, done: Result<(), BookError>) -> Changed {
        let before = self.snapshots.borrow().revision;
        self.publish();
        done.map_err(refused)?;
        let now = self.book.revision();
        Ok(if now == before { Outcome::Unchanged(now) } else { Outcome::Applied(now) })
    }

    /// Everybody learns what is stored.
    fn publish(&self) {
        let node = self.snapshots.borrow().node().clone();
        if self.snapshots.borrow().revision != self.book.revision() {
            let (revision, settings) = (self.book.revision(), self.book.settings().clone());
            self.snapshots.send_replace(Arc::new(Snapshot::new(revision, settings, &node)));
        }
        let now = self.book.replication();
        self.replication.send_if_modified(|held| {
            let news = **held != *now;
            *held = now;
            news
        });
    }

    /// False where there was a value already and none was to be replaced.
    fn share(&mut self, shared: &Shared, author: &Author) -> Result<bool, Rejected> {
        if shared.first && self.book.replication().shared.contains_key(&shared.name) {
            return Ok(false);
        }
        let value = shared.value.as_deref();
        let done = self.book.share(&shared.name, value, author, &shared.sentence);
        self.done(done).map(|_| true)
    }

    async fn revert(&mut self, to: Revision, author: Author) -> Changed {
        let old = self.book.read(to).map_err(stored)?;
        let old = old.ok_or_else(|| Rejected::Missing(format!("there is no revision {to}")))?;
        let edits = [Edit::Replace(Box::new(old))];
        self.change(&edits, &author, &format!("went back to revision {to}")).await
    }

    async fn undo(&mut self, revision: Revision, author: Author) -> Changed {
        let next = self.book.without(revision).map_err(Rejected::Missing)?;
        self.run_settings(next, &author, &format!("took back revision {revision}")).await
    }

    async fn resolve(&mut self, key: &str, choice: Choice, author: &Author) -> Changed {
        if let Choice::Theirs(change) = choice {
            let theirs = self.book.with_theirs(key, change);
            if let Some(next) = theirs.map_err(|e| refused(e.into()))? {
                return self.run_settings(next, author, "took over an edit that had lost").await;
            }
        }
        let done = self.book.settle(key, choice, author);
        self.done(done)
    }

    async fn submit(&mut self, change: Change) -> Changed {
        let current = self.snapshots.borrow().clone();
        if change.base.is_some_and(|base| base != current.revision) {
            return Err(Rejected::Stale(current));
        }
        let sentence = change.edits.iter().map(Edit::sentence).collect::<Vec<_>>().join("; ");
        self.change(&change.edits, &change.author, &sentence).await
    }

    async fn change(&mut self, edits: &[Edit], author: &Author, sentence: &str) -> Changed {
        let current = self.snapshots.borrow().clone();
        let mut settings = current.settings.clone();
        for edit in edits {
            edit.apply(&mut settings).map_err(|e| Rejected::Missing(e.to_string()))?;
        }
        settings.unmask(&current.settings);
        self.run_settings(settings, author, sentence).await
    }

    async fn run_settings(
        &mut self,
        settings: Settings,
        author: &Author,
        sentence: &str,
    ) -> Changed {
        let current = self.snapshots.borrow().clone();
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
            let prepared = preflight.prepare(&current, &next).await;
            prepared.map_err(|obstacle| match obstacle {
                Obstacle::Settings(problems) => Rejected::Problems(problems),
                Obstacle::Circumstances(reason) => {
                    Rejected::Cannot { subsystem: preflight.name().to_owned(), reason }
                }
            })?;
        }
        let written = self.book.write_settings(next.settings, author, sentence);
        let outcome = self.done(written)?;
        tracing::info!(revision = %outcome.revision(), %author, "{sentence}");
        Ok(outcome)
    }
}

fn refused(error: BookError) -> Rejected {
    match error {
        BookError::Storage(error) => stored(error),
        BookError::Ledger(error) => Rejected::Missing(error.to_string()),
    }
}
