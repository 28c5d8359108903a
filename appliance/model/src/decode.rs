//! Documents from outside: JSON from the API, TOML from a file.
//!
//! serde stops at the first mistake. An operator wants all of them, so a document is decoded
//! again and again: each mistake is noted, taken out of the document, and the rest is looked at.

use crate::check::check;
use crate::problem::Problem;
use crate::settings::Settings;
use serde::Deserialize;
use serde_json::Value;
use serde_path_to_error::Segment;

/// The largest document that is looked at, in bytes.
pub const MAX_DOCUMENT: usize = 1024 * 1024;

/// Mistakes after which a document is taken for something else altogether.
const MAX_MISTAKES: usize = 100;

/// Settings from a JSON text. Secrets that read [`crate::MASK`] are taken from `current`.
///
/// # Errors
/// Every problem of the document: unknown keys, wrong types, and what [`check()`] finds.
pub fn from_json(text: &[u8], current: &Settings) -> Result<Settings, Vec<Problem>> {
    sized(text.len())?;
    let value = serde_json::from_slice(text)
        .map_err(|e| vec![Problem::new("", format!("this is no JSON document: {e}"))])?;
    checked(value, current)
}

/// Settings from a TOML text. Secrets that read [`crate::MASK`] are taken from `current`.
///
/// # Errors
/// As [`from_json`].
pub fn from_toml(text: &str, current: &Settings) -> Result<Settings, Vec<Problem>> {
    sized(text.len())?;
    let value: toml::Table = toml::from_str(text)
        .map_err(|e| vec![Problem::new("", format!("this is no TOML document: {e}"))])?;
    let value = serde_json::to_value(value)
        .map_err(|e| vec![Problem::new("", format!("this document cannot be read: {e}"))])?;
    checked(value, current)
}

fn sized(len: usize) -> Result<(), Vec<Problem>> {
    if len <= MAX_DOCUMENT {
        return Ok(());
    }
    Err(vec![Problem::new(
        "",
        format!("the document has {len} bytes; settings have at most {MAX_DOCUMENT}"),
    )])
}

fn checked(value: Value, current: &Settings) -> Result<Settings, Vec<Problem>> {
    let (mut settings, mut problems) = decode(value);
    settings.unmask(current);
    for found in check(&settings) {
        // A value that could not be read was taken out; that it is missing is not news.
        let known = problems
            .iter()
            .any(|p| found.path == p.path || p.path.starts_with(&format!("{}.", found.path)));
        if !known {
            problems.push(found);
        }
    }
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

/// Decodes a document as far as it can be, with every mistake of form in it.
pub fn decode(value: Value) -> (Settings, Vec<Problem>) {
    decode_with(value, |_| true)
}

/// The same for a document of another release: what this one does not know is passed over without
/// a word. A value it cannot read is still a problem.
pub fn understood(value: Value) -> (Settings, Vec<Problem>) {
    decode_with(value, |error| !error.starts_with(UNKNOWN))
}

/// How serde begins what it says of a key that no field has.
const UNKNOWN: &str = "unknown field ";

fn decode_with(mut value: Value, counts: impl Fn(&str) -> bool) -> (Settings, Vec<Problem>) {
    let mut problems = Vec::new();
    while problems.len() < MAX_MISTAKES {
        let error = match serde_path_to_error::deserialize::<_, Settings>(&value) {
            Ok(settings) => {
                let understood = serde_json::to_value(&settings).unwrap_or_default();
                tables(&value, &understood, &mut Vec::new(), &mut problems);
                return (settings, problems);
            }
            Err(error) => error,
        };
        let path: Vec<Step> = error.path().iter().filter_map(Step::from_segment).collect();
        let text = error.into_inner().to_string();
        if counts(&text) {
            problems.push(Problem::new(written(&path), plain(&text)));
        }
        if !take_out(&mut value, &path) {
            break;
        }
    }
    (Settings::default(), problems)
}

/// serde takes a list for a struct, field by field; an operator who wrote one made a mistake.
fn tables(given: &Value, understood: &Value, path: &mut Vec<Step>, problems: &mut Vec<Problem>) {
    match (given, understood) {
        (Value::Array(_), Value::Object(_)) => {
            problems.push(Problem::new(written(path), "this is a list; a table is expected here"));
        }
        (Value::Array(given), Value::Array(understood)) => {
            for (index, (given, understood)) in given.iter().zip(understood).enumerate() {
                path.push(Step::Index(index));
                tables(given, understood, path, problems);
                path.pop();
            }
        }
        (Value::Object(given), Value::Object(understood)) => {
            for (key, given) in given {
                if let Some(understood) = understood.get(key) {
                    path.push(Step::Key(key.clone()));
                    tables(given, understood, path, problems);
                    path.pop();
                }
            }
        }
        _ => {}
    }
}

enum Step {
    Key(String),
    Index(usize),
}

impl Step {
    fn from_segment(segment: &Segment) -> Option<Self> {
        match segment {
            Segment::Seq { index } => Some(Self::Index(*index)),
            Segment::Map { key } => Some(Self::Key(key.clone())),
            Segment::Enum { .. } | Segment::Unknown => None,
        }
    }
}

fn written(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => text.extend([".", key]),
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

/// serde's words, without its habit of naming Rust types.
fn plain(error: &str) -> String {
    if let Some(rest) = error.strip_prefix(UNKNOWN) {
        let (key, known) = rest.split_once(", expected ").unwrap_or((rest, ""));
        let known = known.trim_start_matches("one of ").replace('`', "");
        return format!("there is no setting {}; known here: {known}", key.replace('`', "\""));
    }
    error.replace('`', "\"").replace("a borrowed string", "a text").replace("a string", "a text")
}

/// Removes the value at the path; list entries become empty ones, so that later paths keep
/// their numbers.
fn take_out(value: &mut Value, path: &[Step]) -> bool {
    let Some((last, before)) = path.split_last() else {
        return false;
    };
    let mut at = value;
    for step in before {
        let next = match step {
            Step::Key(key) => at.get_mut(key.as_str()),
            Step::Index(index) => at.get_mut(*index),
        };
        match next {
            Some(next) => at = next,
            None => return false,
        }
    }
    match (last, at) {
        (Step::Key(key), Value::Object(map)) => map.remove(key).is_some(),
        (Step::Index(index), Value::Array(list)) => match list.get_mut(*index) {
            Some(entry) if entry.is_object() && entry.as_object().is_some_and(|o| o.is_empty()) => {
                list.remove(*index);
                true
            }
            Some(entry) if entry.is_object() => {
                *entry = Value::Object(serde_json::Map::new());
                true
            }
            Some(_) => {
                list.remove(*index);
                true
            }
            None => false,
        },
        _ => false,
    }
}

/// The document as JSON. Secrets are in it: call [`Settings::masked`] first for anything that
/// leaves the node.
pub fn to_json(settings: &Settings) -> String {
    // Settings hold no map with keys other than strings and no float, the only things that fail.
    serde_json::to_string(settings).unwrap_or_default()
}

/// The document as TOML, with a comment on every key.
pub fn to_toml(settings: &Settings) -> String {
    crate::comments::commented(&toml::to_string(settings).unwrap_or_default())
}

impl Settings {
    /// A document of the store, which was checked when it was written.
    ///
    /// # Errors
    /// serde's message when the store holds something else.
    pub fn from_stored(text: &str) -> Result<Self, String> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        Self::deserialize(&mut deserializer).map_err(|e| e.to_string())
    }
}
