//! The settings' book: what runs, the replicated document behind it, and the card they are kept on,
//! always in step. No tokio, no subsystems: the engine drives it, and so does the command line.

use crate::change::Author;
use crate::replication::Replication;
use crate::storage::{Commit, NewRevision, Piece, RevisionInfo, Storage, StorageError};
use model::{Hostname, NodeId, Revision, Secret, Settings};
use replica::{
    Automerge, ChangeId, Choice, Document, Keyring, Ledger, LedgerError, Note, Random, Step,
};
use replica::{SyncError, flat};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// After so many pieces the document is written anew as one.
const PIECES: usize = 100;
/// What others did is listed up to so many sentences.
const SENTENCES: usize = 5;
/// How a secret begins that was sealed for the card.
const SEALED: &str = "sealed:";

type Session = <Automerge as Document>::Session;

/// A book whose every page is stored before it counts.
pub struct Book<S> {
    storage: S,
    random: Box<Random>,
    /// Worked out anew when something changes.
    replication: Arc<Replication>,
    node: NodeId,
    revision: Revision,
    ledger: Ledger,
    pieces: usize,
    sessions: BTreeMap<u64, Session>,
    next_session: u64,
}

/// Why a page could not be written.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The card.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The document.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// What a node that joins is given: the cluster's whole document and its keys.
#[derive(Clone, Debug)]
pub struct Gift {
    /// The document.
    pub document: Vec<u8>,
    /// The keys, as [`Keyring::to_json`].
    pub keys: String,
}

impl<S: Storage> Book<S> {
    /// Opens the book of a node for reading; an empty one begins with `first` as revision 0, which
    /// is not stored before it is changed. To write, [`Self::begin`] first.
    ///
    /// # Errors
    /// When the storage cannot be read, or the document it has cannot.
    pub fn open(storage: S, node: &NodeId, first: Settings) -> Result<Self, BookError> {
        Self::open_with(storage, node, first, Box::new(replica::from_system))
    }

    /// The same with other random numbers, for simulations that can be repeated.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(
        mut storage: S,
        node: &NodeId,
        first: Settings,
        mut random: Box<Random>,
    ) -> Result<Self, BookError> {
        let newest = storage.newest()?;
        let pieces = storage.document()?;
        let kept = storage.keys()?.map(|keys| Keyring::from_json(&keys)).transpose();
        let mut keyring = kept.unwrap_or_else(|error| {
            // They come again with the next contact; until then secrets of others stay closed.
            tracing::error!("{error}");
            None
        });
        if keyring.is_none() {
            // Settings of a release before there was a document, or first ones with secrets.
            let has_secrets = first != first.masked();
            let old = newest.as_ref().map(|n| &n.settings).or(has_secrets.then_some(&first));
            keyring = old.map(|old| first_keys(old, &mut *random)).transpose()?;
        }
        let keyring = keyring.unwrap_or_default();
        let revision = newest.as_ref().map(|n| n.revision).unwrap_or_default();
        let running = newest.map_or(first, |stored| opened(&stored.settings, &keyring));
        let actor = new_actor(&mut *random)?;
        let read = |pieces: &[Vec<u8>], running| {
            Ledger::open(actor, node.clone(), pieces, keyring.clone(), running)
        };
        let (ledger, pieces) = match read(&pieces, running.clone()) {
            Ok(ledger) => (ledger, pieces.len()),
            Err(error @ LedgerError::Unreadable(_)) => {
                tracing::error!("{error}; it begins anew from the settings that ran last");
                // More pieces than there may be: it is written whole.
                (read(&[], running)?, PIECES)
            }
            Err(error) => return Err(error.into()),
        };
        let (node, sessions) = (node.clone(), BTreeMap::new());
        let replication = Arc::default();
        let mut book = Self {
            storage,
            random,
            replication,
            node,
            revision,
            ledger,
            pieces,
            sessions,
            next_session: 0,
        };
        book.look();
        Ok(book)
    }

    /// Brings the card in step with what was opened.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub fn begin(&mut self) -> Result<(), BookError> {
        if self.storage.keys()?.is_none() && !self.ledger.keyring().is_empty() {
            self.storage.set_keys(self.keys().as_bytes())?;
        }
        let Some(newest) = self.storage.newest()? else { return Ok(()) };
        let known = opened(&newest.settings, self.ledger.keyring());
        let changed = (*self.settings() != known).then(|| self.settings().clone());
        let step = Step { settings: changed, notes: Vec::new() };
        self.write(step, &Author::Local, "took over what had arrived before the last stop")
    }

    /// The settings that run.
    pub fn settings(&self) -> &Settings {
        self.ledger.running()
    }

    /// Their number.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// What the document says beside them.
    pub fn replication(&self) -> Arc<Replication> {
        self.replication.clone()
    }

    /// After every change of the document.
    fn look(&mut self) {
        self.replication = Arc::new(Replication {
            heads: self.ledger.heads(),
            keys: self.ledger.keyring().fingerprint(),
            lost: self.ledger.lost().to_vec(),
            decision: self.ledger.decision().cloned(),
            removed: self.ledger.removed().clone(),
            shared: self.ledger.shared().clone(),
        });
    }

    /// Writes settings that keep every rule.
    ///
    /// # Errors
    /// When they are not stored; what ran before runs on.
    pub fn write_settings(
        &mut self,
        next: Settings,
        author: &Author,
        sentence: &str,
    ) -> Result<(), BookError> {
        let note = self.note(author, sentence);
        let gone = devices(self.settings()).difference(&devices(&next)).count() > 0;
        self.attempt(author, sentence, |ledger, storage, random| {
            if ledger.keyring().is_empty() {
                let keys = first_keys(&next, random)?;
                storage.set_keys(keys.to_json().as_bytes())?;
                ledger.set_keys(keys);
            } else if !next.cluster.key.is_empty()
                && next.cluster.key != ledger.running().cluster.key
            {
                let (new, _) = ledger.add_keys(&Keyring::from_shared(next.cluster.key.reveal()));
                if new {
                    storage.set_keys(ledger.keyring().to_json().as_bytes())?;
                }
            }
            let step = ledger.edit(next, &note)?;
            if gone {
                // Whoever left knows the keys: what is secret from now on must not open to them.
                ledger.rotate(random)?;
                storage.set_keys(ledger.keyring().to_json().as_bytes())?;
            }
            Ok(step)
        })
    }

    /// Sets a shared value, or removes it. True if that changed something.
    ///
    /// # Errors
    /// When it is not stored.
    pub fn share(
        &mut self,
        name: &str,
        value: Option<&str>,
        author: &Author,
        sentence: &str,
    ) -> Result<(), BookError> {
        let note = self.note(author, sentence);
        let fallback = self.settings().clone();
        self.attempt(author, sentence, |ledger, storage, random| {
            if ledger.keyring().is_empty() {
                let keys = first_keys(&fallback, random)?;
                storage.set_keys(keys.to_json().as_bytes())?;
                ledger.set_keys(keys);
            }
            ledger.share(name, value, &note).map_err(BookError::from)
        })
    }

    /// The settings with a value that lost in place of the one that holds; None where it is no
    /// setting and [`Self::settle`] will do.
    ///
    /// # Errors
    /// When it is settled already.
    pub fn with_theirs(
        &self,
        key: &str,
        change: ChangeId,
    ) -> Result<Option<Settings>, LedgerError> {
        self.ledger.with_theirs(key, change)
    }

    /// Settles a conflict without a change of the settings.
    ///
    /// # Errors
    /// When it is settled already, or not stored.
    pub fn settle(&mut self, key: &str, choice: Choice, author: &Author) -> Result<(), BookError> {
        let sentence = "settled a conflict";
        let note = self.note(author, sentence);
        self.attempt(author, sentence, |ledger, _, _| Ok(ledger.settle(key, choice, &note)?))
    }

    /// Settles a decision: takes back one of the changes that wait, or all of them.
    ///
    /// # Errors
    /// When there is nothing to decide, or it is not stored.
    pub fn take_back(&mut self, key: Option<&str>, author: &Author) -> Result<(), BookError> {
        let sentence = match key {
            Some(_) => "took back a change that did not fit with another",
            None => "kept the settings that ran and took back what did not fit with them",
        };
        let note = self.note(author, sentence);
        self.attempt(author, sentence, |ledger, _, _| Ok(ledger.take_back(key, &note)?))
    }

    /// The settings without what one revision changed.
    ///
    /// # Errors
    /// The sentence says why that is not possible.
    pub fn without(&mut self, revision: Revision) -> Result<Settings, String> {
        let missing = || format!("there is no revision {revision} that could be taken back");
        let before = revision.0.checked_sub(1).map(Revision).ok_or_else(missing)?;
        let mut read = |number| match self.read(number) {
            Ok(found) => found.ok_or_else(missing),
            Err(error) => Err(error.0),
        };
        let (before, after) = (read(before)?, read(revision)?);
        let flat = |settings: &Settings| flat::flatten(settings);
        let undone = flat::undo(&flat(&before), &flat(&after), &flat(self.settings()));
        let undone = undone.map_err(|places| {
            format!(
                "what revision {revision} changed has been changed again since: {}. Take the later \
                 change back first, or correct it by hand",
                places.join(", ")
            )
        })?;
        let (mut settings, problems) = flat::unflatten(&undone);
        settings.cluster.key.clone_from(&self.settings().cluster.key);
        match problems.first() {
            None => Ok(settings),
            Some(problem) => Err(problem.to_string()),
        }
    }

    /// One revision.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&mut self, revision: Revision) -> Result<Option<Settings>, StorageError> {
        let found = self.storage.revision(revision)?;
        Ok(found.map(|stored| opened(&stored.settings, self.ledger.keyring())))
    }

    /// What every edit of every node says of itself, oldest first.
    pub fn edits(&self) -> Vec<Note> {
        self.ledger.history()
    }

    /// The newest revisions, newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn history(&mut self, limit: usize) -> Result<Vec<RevisionInfo>, StorageError> {
        self.storage.history(limit)
    }

    /// What a node that joins is given.
    pub fn gift(&self) -> Gift {
        Gift { document: self.ledger.whole(), keys: self.ledger.keyring().to_json() }
    }

    /// Takes over the cluster this node joins, in place of everything it had.
    ///
    /// # Errors
    /// When it cannot be read or stored; the node is what it was then.
    pub fn join(&mut self, gift: Gift, author: &Author, sentence: &str) -> Result<(), BookError> {
        let keys = Keyring::from_json(gift.keys.as_bytes())
            .map_err(|e| LedgerError::Unreadable(e.to_string()))?;
        let actor = new_actor(&mut *self.random)?;
        let ledger = Ledger::join(actor, self.node.clone(), gift.document, keys.clone())?;
        if let Some(due) = ledger.decision() {
            let problem = due.problems.first().map(ToString::to_string).unwrap_or_default();
            return Err(LedgerError::Refused(format!(
                "the cluster waits for a decision of its operator, who has to make it first: {problem}"
            ))
            .into());
        }
        let before = self.storage.keys()?;
        self.storage.set_keys(keys.to_json().as_bytes())?;
        self.ledger = ledger;
        self.sessions.clear();
        self.pieces = PIECES;
        let step = Step { settings: Some(self.ledger.running().clone()), notes: Vec::new() };
        let outcome = self.write(step, author, sentence);
        if outcome.is_err() {
            if let Some(before) = before {
                self.storage.set_keys(&before)?;
            }
            self.reload()?;
        }
        outcome
    }

    /// The cluster's keys, for another member.
    pub fn keys(&self) -> String {
        self.ledger.keyring().to_json()
    }

    /// Takes over another member's keys.
    ///
    /// # Errors
    /// When they are none, or not stored.
    pub fn add_keys(&mut self, keys: &[u8], from: &NodeId) -> Result<(), BookError> {
        let keys = Keyring::from_json(keys).map_err(|e| LedgerError::Unreadable(e.to_string()))?;
        let author = self.peer(from);
        self.attempt(&author, "read what a new key opens", |ledger, storage, _| {
            let (new, step) = ledger.add_keys(&keys);
            if new {
                storage.set_keys(ledger.keyring().to_json().as_bytes())?;
            }
            Ok(step)
        })
    }

    /// Begins an exchange with another node.
    pub fn open_session(&mut self) -> u64 {
        let number = self.next_session;
        self.next_session += 1;
        self.sessions.insert(number, Session::default());
        number
    }

    /// Ends it.
    pub fn close_session(&mut self, number: u64) {
        self.sessions.remove(&number);
    }

    /// What the other node should be told next, if anything.
    pub fn next_message(&mut self, number: u64) -> Option<Vec<u8>> {
        self.ledger.generate(self.sessions.get_mut(&number)?)
    }

    /// Takes another node's message.
    ///
    /// # Errors
    /// [`SyncError`] inside when it is none; outside when what came is not stored.
    pub fn receive(
        &mut self,
        number: u64,
        from: &NodeId,
        message: &[u8],
    ) -> Result<Result<(), SyncError>, BookError> {
        let mut session = self.sessions.remove(&number).unwrap_or_default();
        let before = self.settings().clone();
        let ledger = &mut self.ledger;
        // The engine that merges is somebody else's, and what it reads comes from the network.
        let taken = catch_unwind(AssertUnwindSafe(|| ledger.receive(&mut session, message)));
        let Ok(taken) = taken else {
            self.reload()?;
            let text = "it made the merging engine fail";
            return Ok(Err(SyncError::Garbage(text.to_owned())));
        };
        self.sessions.insert(number, session);
        let (step, outcome) = match taken {
            Ok(step) => (step, Ok(())),
            Err(error) => {
                let now = self.settings().clone();
                (Step { settings: (now != before).then_some(now), notes: Vec::new() }, Err(error))
            }
        };
        let author = self.authors(&step.notes, from);
        let sentence = sentences(&step.notes);
        let stored = self.write(step, &author, &sentence);
        if stored.is_err() {
            self.reload()?;
        }
        stored.map(|()| outcome)
    }

    fn attempt(
        &mut self,
        author: &Author,
        sentence: &str,
        work: impl FnOnce(&mut Ledger, &mut S, &mut Random) -> Result<Step, BookError>,
    ) -> Result<(), BookError> {
        let outcome = work(&mut self.ledger, &mut self.storage, &mut *self.random)
            .and_then(|step| self.write(step, author, sentence));
        if outcome.is_err() {
            self.reload()?;
        }
        outcome
    }

    /// Stores what came of a step.
    fn write(&mut self, step: Step, author: &Author, sentence: &str) -> Result<(), BookError> {
        let unstored = self.ledger.unstored();
        if unstored.is_empty() && step.settings.is_none() {
            // New keys may have come all the same.
            self.look();
            return Ok(());
        }
        let whole = (self.pieces >= PIECES).then(|| self.ledger.whole());
        let next = Revision(self.revision.0 + 1);
        let sealed = step.settings.map(|s| sealed(&s, self.ledger.keyring())).transpose()?;
        let revision = sealed.as_ref().map(|settings| NewRevision {
            revision: next,
            author,
            sentence,
            settings,
        });
        let new = revision.is_some();
        let piece = whole.as_deref().map_or(Piece::Append(&unstored), Piece::Whole);
        self.storage.commit(&Commit { revision, piece })?;
        self.pieces = if whole.is_some() { 1 } else { self.pieces + 1 };
        self.ledger.stored();
        if new {
            self.revision = next;
        }
        self.look();
        Ok(())
    }

    /// Back to what the card has.
    fn reload(&mut self) -> Result<(), BookError> {
        let pieces = self.storage.document()?;
        let newest = self.storage.newest()?;
        let keys = self.storage.keys()?.and_then(|keys| Keyring::from_json(&keys).ok());
        let keys = keys.unwrap_or_else(|| self.ledger.keyring().clone());
        let running = match newest {
            Some(stored) => opened(&stored.settings, &keys),
            // Revision 0 is in memory alone, and nothing has changed it.
            None => self.ledger.running().clone(),
        };
        self.sessions.clear();
        self.ledger =
            Ledger::open(new_actor(&mut *self.random)?, self.node.clone(), &pieces, keys, running)?;
        self.pieces = pieces.len();
        self.look();
        Ok(())
    }

    fn note(&self, author: &Author, sentence: &str) -> Note {
        Note { node: self.node.clone(), author: author.to_string(), sentence: sentence.to_owned() }
    }

    fn name(&self, node: &NodeId) -> String {
        let name: Option<&Hostname> = self.settings().node(node).map(|n| &n.name);
        name.map_or_else(|| node.to_string(), ToString::to_string)
    }

    fn peer(&self, node: &NodeId) -> Author {
        Author::Peer(self.name(node))
    }

    fn authors(&self, notes: &[Note], from: &NodeId) -> Author {
        let nodes: BTreeSet<&NodeId> =
            notes.iter().map(|n| &n.node).filter(|n| !n.is_empty()).collect();
        if nodes.is_empty() {
            return self.peer(from);
        }
        let names: Vec<String> = nodes.into_iter().map(|n| self.name(n)).collect();
        Author::Peer(names.join(", "))
    }
}

fn sentences(notes: &[Note]) -> String {
    let all: Vec<&str> =
        notes.iter().map(|n| n.sentence.as_str()).filter(|s| !s.is_empty()).collect();
    let mut text = all.iter().take(SENTENCES).copied().collect::<Vec<_>>().join("; ");
    if all.len() > SENTENCES {
        text.push_str(&format!("; and {} more changes", all.len() - SENTENCES));
    }
    if text.is_empty() { "took over what another node had changed".to_owned() } else { text }
}

fn devices(settings: &Settings) -> BTreeSet<&str> {
    settings.nodes.iter().filter_map(|n| n.device.as_ref()).map(|d| d.as_str()).collect()
}

/// A name that no copy of the document has ever written under.
fn new_actor(random: &mut Random) -> Result<[u8; 16], LedgerError> {
    let mut actor = [0; 16];
    random(&mut actor)?;
    Ok(actor)
}

/// The keys a node begins with.
fn first_keys(settings: &Settings, random: &mut Random) -> Result<Keyring, LedgerError> {
    match settings.cluster.key.reveal() {
        "" => Keyring::generate(random),
        shared => Ok(Keyring::from_shared(shared)),
    }
}

/// Every revision stays on the card for ever, so its secrets are there as ciphertext only.
fn sealed(settings: &Settings, keyring: &Keyring) -> Result<Settings, LedgerError> {
    use base64::Engine;
    let mut failure = None;
    let sealed = settings.map_secrets(|secret| match keyring.seal("revision", secret.reveal()) {
        Ok(bytes) => {
            let text = base64::engine::general_purpose::STANDARD.encode(bytes);
            Secret::new(format!("{SEALED}{text}"))
        }
        Err(error) => {
            failure = Some(error);
            Secret::default()
        }
    });
    failure.map_or(Ok(sealed), Err)
}

/// A secret whose key is gone is empty: the page asks for it again.
fn opened(settings: &Settings, keyring: &Keyring) -> Settings {
    use base64::Engine;
    settings.map_secrets(|secret| {
        let Some(text) = secret.reveal().strip_prefix(SEALED) else { return secret.clone() };
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default();
        Secret::new(keyring.open("revision", &bytes).unwrap_or_default())
    })
}
