//! Sections of the settings document inside the file.

use super::Mistake;
use super::piece::{Piece, What};
use super::syntax::line_of;
use crate::decode::decode;
use crate::secret::Secret;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use toml::Spanned;
use toml::de::DeValue;

/// Sections that are tables, whose keys are merged one by one.
const TABLES: [&str; 2] = ["cluster", "admin"];
/// Sections that are lists, whose entries are merged by the key that names them.
const LISTS: [(&str, &str); 6] = [
    ("nodes", "id"),
    ("sites", "name"),
    ("certificates", "name"),
    ("frontends", "name"),
    ("backends", "name"),
    ("vrrp", "name"),
];

/// The section's name as a constant, if the settings document has it and nothing else reads it.
pub(super) fn known(key: &str) -> Option<&'static str> {
    TABLES.into_iter().chain(LISTS.into_iter().map(|(s, _)| s)).find(|s| *s == key)
}

/// The key that names an entry of this list.
pub(super) fn naming(section: &str) -> Option<&'static str> {
    LISTS.into_iter().find(|(s, _)| *s == section).map(|(_, key)| key)
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLES.into_iter().chain(LISTS.into_iter().map(|(s, _)| s))
}

/// What one section says.
pub(super) fn read(
    text: &str,
    section: &'static str,
    given: &Spanned<DeValue<'_>>,
    pieces: &mut Vec<Piece>,
    mistakes: &mut Vec<Mistake>,
) {
    let value = json(given.get_ref());
    let document = Value::Object(Map::from_iter([(section.to_owned(), value.clone())]));
    let (settings, problems) = decode(document);
    let mut wrong = BTreeSet::new();
    for problem in problems {
        let line = line_at(text, given, &problem.path);
        mistakes.push(Mistake::new(line, format!("{}: {}", problem.path, problem.problem)));
        wrong.insert(problem.path);
    }
    if wrong.contains(section) {
        return;
    }
    let understood = serde_json::to_value(&settings).unwrap_or_default();
    let good = both(&value, understood.get(section).unwrap_or(&Value::Null), section, &wrong);
    match good {
        Value::Object(table) => {
            for (key, value) in table {
                let line = line_at(text, given, &format!("{section}.{key}"));
                let value = Map::from_iter([(key, value)]);
                pieces.push(piece(line, section, value));
            }
        }
        Value::Array(entries) => {
            let naming = naming(section).unwrap_or("name");
            for (index, entry) in entries.into_iter().enumerate() {
                let line = line_at(text, given, &format!("{section}[{index}]"));
                let Value::Object(entry) = entry else { continue };
                let path = format!("{section}[{index}].{naming}");
                if entry.contains_key(naming) {
                    pieces.push(piece(line, section, entry));
                } else if !wrong.contains(&path) {
                    mistakes.push(Mistake::new(
                        line,
                        format!("this entry needs a line {naming} = \"...\""),
                    ));
                }
            }
        }
        _ => {}
    }
}

/// Its secret, where it has one, is kept apart.
fn piece(line: u32, section: &'static str, mut value: Map<String, Value>) -> Piece {
    let key = match section {
        "cluster" => Some("key"),
        "certificates" => Some("key"),
        "vrrp" => Some("auth_pass"),
        _ => None,
    };
    let found =
        key.and_then(|key| Some((key, Secret::new(value.remove(key)?.as_str()?.to_owned()))));
    let (key, secret) = found.unzip();
    Piece::with(line, What::Section { section, value, secret: key }, secret.unwrap_or_default())
}

/// What was given and understood, in the form the settings have it.
fn both(given: &Value, understood: &Value, path: &str, wrong: &BTreeSet<String>) -> Value {
    match (given, understood) {
        (Value::Object(given), Value::Object(understood)) => {
            let mut out = Map::new();
            for (key, value) in given {
                let path = format!("{path}.{key}");
                if let (Some(known), false) = (understood.get(key), wrong.contains(&path)) {
                    out.insert(key.clone(), both(value, known, &path, wrong));
                }
            }
            Value::Object(out)
        }
        (Value::Array(given), Value::Array(understood)) if given.len() == understood.len() => {
            let pairs = given.iter().zip(understood).enumerate();
            Value::Array(
                pairs.map(|(i, (g, u))| both(g, u, &format!("{path}[{i}]"), wrong)).collect(),
            )
        }
        _ => understood.clone(),
    }
}

pub(super) fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::String(number.as_str().to_owned()), Value::from),
        DeValue::Float(number) => number
            .as_str()
            .parse::<f64>()
            .map_or_else(|_| Value::String(number.as_str().to_owned()), Value::from),
        DeValue::Boolean(yes) => Value::Bool(*yes),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Array(list) => Value::Array(list.iter().map(|v| json(v.get_ref())).collect()),
        DeValue::Table(table) => Value::Object(
            table.iter().map(|(k, v)| (k.get_ref().to_string(), json(v.get_ref()))).collect(),
        ),
    }
}

/// The line of a path such as `vrrp[0].priorities.web01`, or of the last part of it that exists.
fn line_at(text: &str, section: &Spanned<DeValue<'_>>, path: &str) -> u32 {
    let mut at = section;
    let mut start = section.span().start;
    for step in path.split(['.', '[']).skip(1) {
        let next = match at.get_ref() {
            DeValue::Table(table) => {
                table.iter().find(|(k, _)| k.get_ref() == step).map(|(k, v)| {
                    // A list of tables begins at its first heading, a key where it is written.
                    (k.span().start, v)
                })
            }
            DeValue::Array(list) => step
                .strip_suffix(']')
                .and_then(|index| index.parse::<usize>().ok())
                .and_then(|index| list.get(index))
                .map(|v| (v.span().start, v)),
            _ => None,
        };
        let Some((position, value)) = next else { break };
        (start, at) = (position, value);
    }
    line_of(text, start)
}
