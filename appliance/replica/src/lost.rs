//! Edits that lost against another one made at the same time.

use crate::document::{ChangeId, Document, Stored, Versions};
use crate::flat;
use crate::keyring::Keyring;
use crate::note::Note;
use std::collections::BTreeMap;

/// An edit that two halves of a split cluster made differently. The document holds both values
/// until somebody decides; every node shows the same list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostEdit {
    /// Its key in the document.
    pub key: String,
    /// The same for people: `nodes[web02].eth0.address`.
    pub path: String,
    /// The value that holds; secrets are not shown.
    pub current: String,
    /// Who set it.
    pub current_by: Note,
    /// The value that lost.
    pub other: String,
    /// Who set that.
    pub other_by: Note,
    /// The change that set it.
    pub change: ChangeId,
}

/// What the operator makes of a lost edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The value that holds is the right one.
    Keep,
    /// The one that lost is.
    Theirs(ChangeId),
}

/// The value for people. JSON's quotes say nothing to an operator.
pub(crate) fn shown(json: Option<&str>, secret: bool) -> String {
    match json {
        None => "(removed)".to_owned(),
        Some(_) if secret => "(a secret)".to_owned(),
        Some(json) => match serde_json::from_str(json) {
            Ok(serde_json::Value::Null) => "(nothing)".to_owned(),
            Ok(serde_json::Value::String(text)) if text.is_empty() => "(nothing)".to_owned(),
            Ok(serde_json::Value::String(text)) => text,
            Ok(serde_json::Value::Bool(true)) => "yes".to_owned(),
            Ok(serde_json::Value::Bool(false)) => "no".to_owned(),
            _ => json.to_owned(),
        },
    }
}

/// A stored value in clear; None where it is gone or its key is not here.
pub(crate) fn opened(keyring: &Keyring, key: &str, value: &Stored) -> Option<String> {
    match value {
        Stored::Gone => None,
        Stored::Plain(json) => Some(json.clone()),
        Stored::Sealed(bytes) => keyring.open(key, bytes),
    }
}

/// What the keys of one space hold, by the rest of their names.
pub(crate) type Values<'a> = BTreeMap<&'a str, &'a Versions>;

/// Does it hold a value?
pub(crate) fn is_there(values: &Values<'_>, key: &str) -> bool {
    values.get(key).is_some_and(|held| held.current.value != Stored::Gone)
}

/// Every lost edit of one space of the document, by key. `values` are those that count, by the rest
/// of their keys.
pub(crate) fn find<D: Document>(
    document: &D,
    keyring: &Keyring,
    space: &str,
    values: &Values<'_>,
) -> Vec<LostEdit> {
    let there = |key: &str| is_there(values, key);
    let mut lost = Vec::new();
    for (key, versions) in values {
        if !flat::is_visible(key, there) && flat::marked(key).is_none() {
            continue;
        }
        let full = format!("{space}{key}");
        let current = opened(keyring, &full, &versions.current.value);
        for other in &versions.others {
            let value = opened(keyring, &full, &other.value);
            let both_orders = match (&current, &value) {
                (Some(a), Some(b)) => flat::is_order(key) && flat::same_order(a, b),
                _ => false,
            };
            if value == current || both_orders {
                continue;
            }
            let secret = |v: &Stored| matches!(v, Stored::Sealed(_));
            lost.push(LostEdit {
                key: full.clone(),
                path: flat::written(key),
                current: shown(current.as_deref(), secret(&versions.current.value)),
                current_by: note(document, &versions.current.change),
                other: shown(value.as_deref(), secret(&other.value)),
                other_by: note(document, &other.change),
                change: other.change,
            });
        }
        if let (Some(entry), Stored::Gone) = (flat::marked(key), &versions.current.value) {
            lost.extend(edited_while_removed(
                document,
                keyring,
                space,
                values,
                entry,
                &versions.current.change,
            ));
        }
    }
    lost
}

/// An entry was removed on one side and changed on the other: the removal holds, and the change
/// would be lost without a word.
fn edited_while_removed<D: Document>(
    document: &D,
    keyring: &Keyring,
    space: &str,
    values: &Values<'_>,
    entry: &str,
    removal: &ChangeId,
) -> Option<LostEdit> {
    let below = format!("{entry}/");
    let mark = flat::mark_of(entry);
    let inside = values.iter().filter(|(key, _)| key.starts_with(&below) && **key != mark);
    inside.into_iter().find_map(|(key, versions)| {
        let full = format!("{space}{key}");
        // Whoever removed the entry knew these.
        let known = document.all_at(&full, std::slice::from_ref(removal));
        let all = std::iter::once(&versions.current).chain(&versions.others);
        let news = all.into_iter().find(|version| !known.contains(&version.change))?;
        let json = opened(keyring, &full, &news.value);
        let value = shown(json.as_deref(), matches!(news.value, Stored::Sealed(_)));
        Some(LostEdit {
            key: format!("{space}{mark}"),
            path: flat::written(entry),
            current: "(removed)".to_owned(),
            current_by: note(document, removal),
            other: format!("{} = {value}", flat::written(key)),
            other_by: note(document, &news.change),
            change: news.change,
        })
    })
}

pub(crate) fn note<D: Document>(document: &D, change: &ChangeId) -> Note {
    Note::read(document.note(change).as_deref())
}
