//! The document as automerge keeps it: scalars in the root map, nothing nested, nothing deleted.
//!
//! Nested maps would lose edits: deleting one beats a change inside it, and two nodes that make the
//! same one hide each other's.

use crate::MAX_MESSAGE;
use crate::document::{ChangeId, Document, Stored, Version, Versions};
use crate::error::{LedgerError, SyncError};
use ::automerge::sync::{Message, State, SyncDoc};
use ::automerge::transaction::{CommitOptions, Transactable};
use ::automerge::{ActorId, ChangeHash, ROOT, ReadDoc, ScalarValue, Value};
use std::collections::BTreeMap;

/// An automerge document.
pub struct Automerge(::automerge::Automerge);

impl std::fmt::Debug for Automerge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Automerge")
    }
}

fn hashes(ids: &[ChangeId]) -> Vec<ChangeHash> {
    ids.iter().map(|id| ChangeHash(id.0)).collect()
}

fn stored(value: &Value<'_>) -> Stored {
    match value {
        Value::Scalar(scalar) => match scalar.as_ref() {
            ScalarValue::Str(text) => Stored::Plain(text.trim_end_matches(AGAIN).to_owned()),
            ScalarValue::Bytes(bytes) => Stored::Sealed(bytes.clone()),
            // Nobody writes anything else.
            _ => Stored::Gone,
        },
        Value::Object(_) => Stored::Gone,
    }
}

/// Behind a text that is set once more. JSON may end in blanks and ours never does.
const AGAIN: char = ' ';

/// automerge leaves out what sets a value once more. What an operator wants is said again all the
/// same, so that it comes after what others did meanwhile: nothing and texts have two faces for
/// that.
fn scalar(value: &Stored, held: Option<&Value<'_>>) -> ScalarValue {
    let held = match held {
        Some(Value::Scalar(held)) => Some(held.as_ref()),
        _ => None,
    };
    match (value, held) {
        (Stored::Gone, Some(ScalarValue::Null)) => ScalarValue::Boolean(false),
        (Stored::Gone, _) => ScalarValue::Null,
        (Stored::Plain(text), Some(ScalarValue::Str(same))) if same.as_str() == text => {
            ScalarValue::Str(format!("{text}{AGAIN}").as_str().into())
        }
        (Stored::Plain(text), _) => ScalarValue::Str(text.as_str().into()),
        (Stored::Sealed(bytes), _) => ScalarValue::Bytes(bytes.clone()),
    }
}

impl Document for Automerge {
    type Session = State;

    fn new(actor: [u8; 16]) -> Self {
        Self(::automerge::Automerge::new().with_actor(ActorId::from(&actor[..])))
    }

    fn load(actor: [u8; 16], pieces: &[Vec<u8>]) -> Result<Self, LedgerError> {
        let mut document = Self::new(actor);
        for piece in pieces {
            document
                .0
                .load_incremental(piece)
                .map_err(|e| LedgerError::Unreadable(e.to_string()))?;
        }
        Ok(document)
    }

    fn save(&self) -> Vec<u8> {
        self.0.save()
    }

    fn save_after(&self, heads: &[ChangeId]) -> Vec<u8> {
        self.0.save_after(&hashes(heads))
    }

    fn put(&mut self, values: &[(String, Stored)], note: &str) -> Result<(), LedgerError> {
        let options = CommitOptions::default().with_message(note);
        self.0
            .transact_with::<_, _, ::automerge::AutomergeError, _>(
                |()| options,
                |transaction| {
                    values.iter().try_for_each(|(key, value)| {
                        let held =
                            transaction.get(ROOT, key.as_str())?.map(|(held, _)| held.to_owned());
                        transaction.put(ROOT, key.as_str(), scalar(value, held.as_ref()))
                    })
                },
            )
            .map(|_| ())
            .map_err(|failure| LedgerError::Refused(failure.error.to_string()))
    }

    fn get(&self, key: &str) -> Option<Versions> {
        let all = self.0.get_all(ROOT, key).ok()?;
        let mut versions: Vec<Version> = all
            .iter()
            .filter_map(|(value, id)| {
                let hash = self.0.hash_for_opid(id)?;
                Some(Version { value: stored(value), change: ChangeId(hash.0) })
            })
            .collect();
        // In the order of the operations: the last one wins.
        let current = versions.pop()?;
        Some(Versions { current, others: versions })
    }

    fn all_at(&self, key: &str, heads: &[ChangeId]) -> Vec<ChangeId> {
        let all = self.0.get_all_at(ROOT, key, &hashes(heads)).unwrap_or_default();
        all.iter().filter_map(|(_, id)| Some(ChangeId(self.0.hash_for_opid(id)?.0))).collect()
    }

    fn all(&self) -> BTreeMap<String, Versions> {
        self.0.keys(ROOT).filter_map(|key| self.get(&key).map(|held| (key, held))).collect()
    }

    fn heads(&self) -> Vec<ChangeId> {
        let mut heads: Vec<ChangeId> =
            self.0.get_heads().into_iter().map(|hash| ChangeId(hash.0)).collect();
        heads.sort_unstable();
        heads
    }

    fn notes_since(&self, heads: &[ChangeId]) -> Vec<(ChangeId, Option<String>)> {
        let changes = self.0.get_changes_meta(&hashes(heads));
        changes
            .iter()
            .map(|c| (ChangeId(c.hash.0), c.message.as_ref().map(|m| m.to_string())))
            .collect()
    }

    fn note(&self, change: &ChangeId) -> Option<String> {
        self.0.get_change_meta_by_hash(&ChangeHash(change.0))?.message.map(|m| m.to_string())
    }

    fn generate(&self, session: &mut State) -> Option<Vec<u8>> {
        self.0.generate_sync_message(session).map(Message::encode)
    }

    fn receive(&mut self, session: &mut State, message: &[u8]) -> Result<(), SyncError> {
        if message.len() > MAX_MESSAGE {
            return Err(SyncError::TooLong(message.len()));
        }
        let garbage = |text: String| SyncError::Garbage(text);
        let message = Message::decode(message).map_err(|e| garbage(e.to_string()))?;
        self.0.receive_sync_message(session, message).map_err(|e| garbage(e.to_string()))
    }
}
