//! The document and the settings that run, side by side.

use crate::decision::{Decision, PendingChange};
use crate::document::{ChangeId, Document, Stored, Versions};
use crate::error::{LedgerError, SyncError};
use crate::flat::{self, Flat, Leaf};
use crate::keyring::{Keyring, Random};
use crate::lost::{self, Choice, LostEdit, Values, is_there, opened, shown};
use crate::note::Note;
use model::{DeviceId, NodeId, Problem, Settings, check};
use std::collections::{BTreeMap, BTreeSet};

const SETTINGS: &str = "settings/";
const SHARED: &str = "shared/";

/// What came of an edit or of a message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// The settings to run from now on; None where they stay.
    pub settings: Option<Settings>,
    /// What others did, oldest first.
    pub notes: Vec<Note>,
}

/// The replicated document of one node. Not stored by itself: after each step, store
/// [`Ledger::unstored`], then say [`Ledger::stored`].
#[derive(Debug)]
pub struct Ledger<D: Document = crate::Automerge> {
    document: D,
    keyring: Keyring,
    node: NodeId,
    running: Settings,
    stored: Vec<ChangeId>,
    decision: Option<Decision>,
    lost: Vec<LostEdit>,
    shared: BTreeMap<String, String>,
    removed: BTreeSet<DeviceId>,
}

impl<D: Document> Ledger<D> {
    /// The ledger of a node that runs `running`. An empty document is filled with that.
    ///
    /// # Errors
    /// When the pieces are no document, or a secret cannot be sealed.
    pub fn open(
        actor: [u8; 16],
        node: NodeId,
        pieces: &[Vec<u8>],
        keyring: Keyring,
        running: Settings,
    ) -> Result<Self, LedgerError> {
        let document = D::load(actor, pieces)?;
        let stored = document.heads();
        let mut ledger = Self {
            document,
            keyring,
            node,
            running,
            stored,
            decision: None,
            lost: Vec::new(),
            shared: BTreeMap::new(),
            removed: BTreeSet::new(),
        };
        if ledger.stored.is_empty() {
            let changes = flat::difference(&Flat::new(), &flat::flatten(&ledger.running));
            let sentence = "brought its settings along".to_owned();
            let note = Note { node: ledger.node.clone(), author: String::new(), sentence };
            ledger.put(SETTINGS, &changes, &note)?;
        }
        ledger.refresh();
        Ok(ledger)
    }

    /// The ledger of a node that joins a cluster: the cluster's document in place of its own.
    ///
    /// # Errors
    /// When the document cannot be read.
    pub fn join(
        actor: [u8; 16],
        node: NodeId,
        document: Vec<u8>,
        keyring: Keyring,
    ) -> Result<Self, LedgerError> {
        let mut ledger = Self::open(actor, node, &[document], keyring, Settings::default())?;
        if ledger.document.heads().is_empty() {
            return Err(LedgerError::Unreadable("the document is empty".to_owned()));
        }
        ledger.stored.clear();
        Ok(ledger)
    }

    /// The settings that run.
    pub fn running(&self) -> &Settings {
        &self.running
    }

    /// What has to be decided, if anything.
    pub fn decision(&self) -> Option<&Decision> {
        self.decision.as_ref()
    }

    /// Edits that lost and nobody has looked at.
    pub fn lost(&self) -> &[LostEdit] {
        &self.lost
    }

    /// Values that are no settings, by name.
    pub fn shared(&self) -> &BTreeMap<String, String> {
        &self.shared
    }

    /// Boards that were members once and are none now, by their keys.
    pub fn removed(&self) -> &BTreeSet<DeviceId> {
        &self.removed
    }

    /// The cluster's keys.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Gives it its first keys. Later ones come with [`Self::add_keys`] and [`Self::rotate`].
    pub fn set_keys(&mut self, keys: Keyring) {
        self.keyring = keys;
    }

    /// Equal on two nodes exactly when their documents are: 16 hexadecimal digits.
    pub fn heads(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for head in self.document.heads() {
            hasher.update(&head.0);
        }
        hasher.finalize().to_hex().chars().take(16).collect()
    }

    /// What every edit there ever was says of itself, oldest first.
    pub fn history(&self) -> Vec<Note> {
        let notes = self.document.notes_since(&[]);
        notes.iter().map(|(_, text)| Note::read(text.as_deref())).collect()
    }

    /// The whole document, for a node that joins or to store it in place of its pieces.
    pub fn whole(&self) -> Vec<u8> {
        self.document.save()
    }

    /// What is not stored yet; empty when everything is.
    pub fn unstored(&self) -> Vec<u8> {
        if self.document.heads() == self.stored {
            return Vec::new();
        }
        self.document.save_after(&self.stored)
    }

    /// What [`Self::unstored`] said is stored now.
    pub fn stored(&mut self) {
        self.stored = self.document.heads();
    }

    /// The operator wants these settings, which keep every rule. They run from now on, unless a
    /// decision that was due is settled by them: then the merged ones do.
    ///
    /// # Errors
    /// When they could not be recorded; nothing has changed then.
    pub fn edit(&mut self, next: Settings, note: &Note) -> Result<Step, LedgerError> {
        let changes = flat::difference(&flat::flatten(&self.running), &flat::flatten(&next));
        self.put(SETTINGS, &changes, note)?;
        let before = std::mem::replace(&mut self.running, next);
        self.refresh();
        let changed = (self.running != before).then(|| self.running.clone());
        Ok(Step { settings: changed, notes: Vec::new() })
    }

    /// Sets a shared value, or removes it.
    ///
    /// # Errors
    /// When it could not be recorded.
    pub fn share(
        &mut self,
        name: &str,
        value: Option<&str>,
        note: &Note,
    ) -> Result<Step, LedgerError> {
        let leaf = value
            .map(|text| Leaf { json: serde_json::Value::from(text).to_string(), secret: true });
        self.step(|this| this.put(SHARED, &[(name.to_owned(), leaf)], note))
    }

    /// The settings as they would be with a lost value in place of the one that holds; None where
    /// the lost value is no setting (see [`Self::settle`]).
    ///
    /// # Errors
    /// When the conflict is settled already, or what it leads to cannot be understood.
    pub fn with_theirs(
        &self,
        key: &str,
        change: ChangeId,
    ) -> Result<Option<Settings>, LedgerError> {
        let lost = self.conflict(key, Some(change))?;
        let Some(inner) = lost.key.strip_prefix(SETTINGS) else {
            return Ok(None);
        };
        let mut flat = flat::flatten(&self.running);
        if let Some(entry) = flat::marked(inner) {
            // Brought back with everything that was ever set in it.
            let all = self.document.all();
            let below = format!("{entry}/");
            let values = space(&all, SETTINGS);
            for (key, held) in values.iter().filter(|(key, _)| key.starts_with(&below)) {
                if let Some(leaf) = self.leaf(key, held) {
                    flat.insert((*key).to_owned(), leaf);
                }
            }
            flat.insert(inner.to_owned(), Leaf { json: "true".to_owned(), secret: false });
        } else {
            let versions = self.document.get(key).ok_or(LedgerError::Settled)?;
            let other = versions.others.iter().find(|o| o.change == change);
            let other = &other.ok_or(LedgerError::Settled)?.value;
            match opened(&self.keyring, key, other) {
                Some(json) => {
                    let secret = matches!(other, Stored::Sealed(_));
                    flat.insert(inner.to_owned(), Leaf { json, secret });
                }
                None => {
                    flat.remove(inner);
                }
            }
        }
        let (mut settings, problems) = flat::unflatten(&flat);
        settings.cluster.key.clone_from(&self.running.cluster.key);
        match problems.first() {
            None => Ok(Some(settings)),
            Some(problem) => Err(LedgerError::Refused(problem.to_string())),
        }
    }

    /// Settles a conflict in the document alone: the value that holds is set once more, or the
    /// lost shared value takes its place.
    ///
    /// # Errors
    /// When it is settled already or cannot be recorded.
    pub fn settle(&mut self, key: &str, choice: Choice, note: &Note) -> Result<Step, LedgerError> {
        let change = match choice {
            Choice::Keep => None,
            Choice::Theirs(change) => Some(change),
        };
        self.conflict(key, change)?;
        let versions = self.document.get(key).ok_or(LedgerError::Settled)?;
        let version = match change {
            None => &versions.current,
            Some(change) => {
                versions.others.iter().find(|o| o.change == change).ok_or(LedgerError::Settled)?
            }
        };
        let value = version.value.clone();
        self.step(|this| this.document.put(&[(key.to_owned(), value)], &note.written()))
    }

    fn conflict(&self, key: &str, change: Option<ChangeId>) -> Result<&LostEdit, LedgerError> {
        let fits = |l: &&LostEdit| l.key == key && change.is_none_or(|c| l.change == c);
        self.lost.iter().find(fits).ok_or(LedgerError::Settled)
    }

    /// Settles a decision by setting values of the merged settings back to what runs here: this
    /// one, or all (None).
    ///
    /// # Errors
    /// When there is nothing to decide, or it could not be recorded.
    pub fn take_back(&mut self, key: Option<&str>, note: &Note) -> Result<Step, LedgerError> {
        let due = self.decision.as_ref().ok_or(LedgerError::Settled)?;
        if let Some(key) = key {
            if !due.changes.iter().any(|c| c.key == key) {
                return Err(LedgerError::Settled);
            }
        }
        let running = flat::flatten(&self.running);
        let merged = self.visible(&space(&self.document.all(), SETTINGS));
        let changes: Vec<_> = flat::difference(&merged, &running)
            .into_iter()
            .filter(|(k, _)| key.is_none_or(|key| pending_key(k, &running, &merged) == key))
            .collect();
        self.step(|this| this.put(SETTINGS, &changes, note))
    }

    /// Takes over keys of another member. True if one was new: store the keyring before the step.
    pub fn add_keys(&mut self, keys: &Keyring) -> (bool, Step) {
        if !self.keyring.merge(keys) {
            return (false, Step::default());
        }
        let step = self.step(|_| Ok(())).unwrap_or_default();
        (true, step)
    }

    /// What is secret from now on is sealed with a key that those who are no longer members do not
    /// have. What they knew already stays as it is: setting it again would settle conflicts nobody
    /// has looked at. Store the keyring before the next step.
    ///
    /// # Errors
    /// Without random numbers; the old keys then still hold.
    pub fn rotate(&mut self, random: &mut Random) -> Result<(), LedgerError> {
        self.keyring.rotate(random)
    }

    /// The next message to a peer; None when there is nothing to say.
    pub fn generate(&self, session: &mut D::Session) -> Option<Vec<u8>> {
        self.document.generate(session)
    }

    /// Takes a peer's message.
    ///
    /// # Errors
    /// When it is none; what it had that made sense is kept.
    pub fn receive(&mut self, session: &mut D::Session, message: &[u8]) -> Result<Step, SyncError> {
        let before = self.document.heads();
        let outcome = self.document.receive(session, message);
        if self.document.heads() == before {
            return outcome.map(|()| Step::default());
        }
        let notes = self.document.notes_since(&before);
        let notes = notes.iter().map(|(_, text)| Note::read(text.as_deref())).collect();
        let was = self.running.clone();
        self.refresh();
        let settings = (self.running != was).then(|| self.running.clone());
        outcome.map(|()| Step { settings, notes })
    }

    fn step(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<(), LedgerError>,
    ) -> Result<Step, LedgerError> {
        work(self)?;
        let before = self.running.clone();
        self.refresh();
        let settings = (self.running != before).then(|| self.running.clone());
        Ok(Step { settings, notes: Vec::new() })
    }

    /// Records changes, in one; what the document says already as well: whoever sets it otherwise
    /// without knowing of this must not win without a word.
    fn put(
        &mut self,
        space: &str,
        changes: &[(String, Option<Leaf>)],
        note: &Note,
    ) -> Result<(), LedgerError> {
        let mut values = Vec::new();
        for (key, leaf) in changes {
            let key = format!("{space}{key}");
            if leaf.is_none() && self.document.get(&key).is_none() {
                continue;
            }
            let value = match leaf {
                None => Stored::Gone,
                // An empty secret is none.
                Some(leaf) if leaf.secret => Stored::Sealed(self.keyring.seal(&key, &leaf.json)?),
                Some(leaf) => Stored::Plain(leaf.json.clone()),
            };
            values.push((key, value));
        }
        if values.is_empty() {
            return Ok(());
        }
        self.document.put(&values, &note.written())
    }

    /// The settings the document stands for, key by key, where its secrets can be read.
    fn visible(&self, values: &Values<'_>) -> Flat {
        let there = |key: &str| is_there(values, key);
        let seen = values.iter().filter(|(key, _)| flat::is_visible(key, there));
        seen.filter_map(|(key, held)| Some(((*key).to_owned(), self.leaf(key, held)?))).collect()
    }

    /// The value of a setting that counts; None where it is gone or its secret cannot be read.
    fn leaf(&self, key: &str, held: &Versions) -> Option<Leaf> {
        let value = &held.current.value;
        let json = opened(&self.keyring, &format!("{SETTINGS}{key}"), value)?;
        Some(Leaf { json, secret: matches!(value, Stored::Sealed(_)) })
    }

    /// Looks at the document: what it stands for runs if it keeps every rule.
    fn refresh(&mut self) {
        let all = self.document.all();
        let (settings, shared) = (space(&all, SETTINGS), space(&all, SHARED));
        let merged = self.visible(&settings);
        let (mut candidate, mut problems) = flat::unflatten(&merged);
        candidate.cluster.key.clone_from(&self.running.cluster.key);
        problems.extend(self.unreadable(&settings));
        if problems.is_empty() && candidate != self.running {
            problems = check(&candidate);
        }
        if problems.is_empty() {
            self.running = candidate;
            self.decision = None;
        } else {
            self.decision = Some(Decision { problems, changes: self.pending(&merged) });
        }
        self.shared = shared
            .iter()
            .filter_map(|(name, held)| {
                let json = opened(&self.keyring, &format!("{SHARED}{name}"), &held.current.value)?;
                Some(((*name).to_owned(), serde_json::from_str(&json).ok()?))
            })
            .collect();
        self.removed = self.strangers(&settings);
        let (document, keyring) = (&self.document, &self.keyring);
        self.lost = lost::find(document, keyring, SETTINGS, &settings);
        self.lost.extend(lost::find(document, keyring, SHARED, &shared));
    }

    /// The keys of entries without a mark that are no present node's.
    fn strangers(&self, values: &Values<'_>) -> BTreeSet<DeviceId> {
        let there = |key: &str| is_there(values, key);
        let devices = values.iter().filter(|(key, _)| {
            key.starts_with("nodes/") && key.ends_with("/device") && !flat::is_visible(key, there)
        });
        let device = |key: &str, held: &Versions| {
            serde_json::from_str::<Option<DeviceId>>(&self.leaf(key, held)?.json).ok()?
        };
        let present =
            |id: &DeviceId| self.running.nodes.iter().any(|n| n.device.as_ref() == Some(id));
        devices.filter_map(|(key, held)| device(key, held)).filter(|id| !present(id)).collect()
    }

    /// Secrets of a key that has not arrived yet.
    fn unreadable(&self, values: &Values<'_>) -> Vec<Problem> {
        let there = |key: &str| is_there(values, key);
        let closed = values.iter().filter(|(key, held)| {
            matches!(held.current.value, Stored::Sealed(_))
                && flat::is_visible(key, there)
                && self.leaf(key, held).is_none()
        });
        let text = "this secret was sealed with a key this board does not have yet; it comes with \
                    the next contact with the other boards";
        closed.map(|(key, _)| Problem::new(flat::written(key), text)).collect()
    }

    fn pending(&self, merged: &Flat) -> Vec<PendingChange> {
        let running = flat::flatten(&self.running);
        let mut changes: BTreeMap<String, PendingChange> = BTreeMap::new();
        for (key, _) in flat::difference(&running, merged) {
            let key = pending_key(&key, &running, merged);
            if flat::is_order(&key) || changes.contains_key(&key) {
                continue;
            }
            let full = format!("{SETTINGS}{key}");
            let by = match self.document.get(&full) {
                Some(versions) => lost::note(&self.document, &versions.current.change),
                None => Note::default(),
            };
            let text = |flat: &Flat| {
                let leaf = flat.get(&key);
                match (flat::marked(&key), leaf) {
                    (Some(_), Some(_)) => "(there)".to_owned(),
                    (Some(_), None) => "(not there)".to_owned(),
                    (None, Some(leaf)) => shown(Some(&leaf.json), leaf.secret),
                    (None, None) => shown(Some("null"), false),
                }
            };
            let (runs, says) = (text(&running), text(merged));
            let change = PendingChange {
                path: flat::written(&key),
                key: key.clone(),
                running: runs,
                merged: says,
                by,
            };
            changes.insert(key, change);
        }
        changes.into_values().collect()
    }
}

/// A value in an entry that is there on one side only stands for the whole entry.
fn pending_key(key: &str, running: &Flat, merged: &Flat) -> String {
    let whole = flat::entries_of(key)
        .into_iter()
        .map(|entry| flat::mark_of(&entry))
        .find(|mark| running.contains_key(mark) != merged.contains_key(mark));
    whole.unwrap_or_else(|| key.to_owned())
}

/// The keys of one space, by the rest of their names.
fn space<'a>(all: &'a BTreeMap<String, Versions>, space: &str) -> Values<'a> {
    all.iter().filter_map(|(key, held)| Some((key.strip_prefix(space)?, held))).collect()
}
