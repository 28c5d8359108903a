//! The settings as a flat map of scalars, and back.
//!
//! ```text
//! cluster/gateway            "192.168.1.1"
//! nodes/#                    ["web01","web02"]       the order of a list, for those that are in it
//! nodes/web01/!              true                    there is such an entry
//! nodes/web01/eth0/address   "192.168.1.10/24"
//! ```
//!
//! Lists whose entries have a name become one key for each value of each entry, so that edits of
//! different entries, or of different values of one entry, never meet. Any other list is one value.
//! An entry that is removed keeps its keys and loses its mark.

use model::{Problem, Settings};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The lists whose entries are known by a name, and where the name stands.
const LISTS: &[(&[&str], &str)] = &[
    (&["nodes"], "id"),
    (&["wifi", "networks"], "ssid"),
    (&["sites"], "name"),
    (&["certificates"], "name"),
    (&["frontends"], "name"),
    (&["backends"], "name"),
    (&["backends", "*", "servers"], "name"),
    (&["vrrp"], "name"),
];

/// Local to a node: never in the document.
const LOCAL: &str = "cluster/key";

const ORDER: &str = "#";
const MARK: &str = "!";

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// As JSON.
    pub json: String,
    /// It is, or holds, a secret.
    pub secret: bool,
}

impl Leaf {
    fn plain(value: &Value) -> Self {
        Self { json: value.to_string(), secret: false }
    }
}

/// Settings, key by key.
pub type Flat = BTreeMap<String, Leaf>;

/// The name of the entries' key for a list at this place.
fn list_at(path: &[String]) -> Option<&'static str> {
    let fits = |pattern: &[&str]| {
        pattern.len() == path.len()
            && pattern.iter().zip(path).all(|(want, have)| *want == "*" || want == have)
    };
    LISTS.iter().find(|(pattern, _)| fits(pattern)).map(|(_, name)| *name)
}

fn escape(segment: &str) -> String {
    match segment {
        ORDER => "%23".to_owned(),
        MARK => "%21".to_owned(),
        _ => segment.replace('%', "%25").replace('/', "%2F"),
    }
}

fn unescape(segment: &str) -> String {
    match segment {
        "%23" => ORDER.to_owned(),
        "%21" => MARK.to_owned(),
        _ => segment.replace("%2F", "/").replace("%25", "%"),
    }
}

fn joined(path: &[String]) -> String {
    path.iter().map(|s| escape(s)).collect::<Vec<_>>().join("/")
}

/// The settings, key by key.
pub fn flatten(settings: &Settings) -> Flat {
    let plain = serde_json::to_value(settings).unwrap_or_default();
    let masked = serde_json::to_value(settings.masked()).unwrap_or_default();
    let mut flat = Flat::new();
    walk(&plain, &masked, &mut Vec::new(), &mut flat);
    flat.remove(LOCAL);
    flat
}

fn walk(plain: &Value, masked: &Value, path: &mut Vec<String>, flat: &mut Flat) {
    match plain {
        Value::Object(map) => {
            for (key, value) in map {
                path.push(key.clone());
                walk(value, masked.get(key).unwrap_or(&Value::Null), path, flat);
                path.pop();
            }
        }
        Value::Array(list) => match list_at(path) {
            Some(name) => entries(list, masked, name, path, flat),
            None => leaf(plain, masked, path, flat),
        },
        _ => leaf(plain, masked, path, flat),
    }
}

fn leaf(plain: &Value, masked: &Value, path: &[String], flat: &mut Flat) {
    flat.insert(joined(path), Leaf { json: plain.to_string(), secret: plain != masked });
}

fn entries(list: &[Value], masked: &Value, name: &str, path: &mut Vec<String>, flat: &mut Flat) {
    let called = |entry: &Value| entry.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
    let order: Value = list.iter().map(called).collect();
    flat.insert(under(&joined(path), ORDER), Leaf::plain(&order));
    for (index, entry) in list.iter().enumerate() {
        path.push(called(entry));
        flat.insert(under(&joined(path), MARK), Leaf::plain(&Value::Bool(true)));
        if let Value::Object(map) = entry {
            for (key, value) in map.iter().filter(|(key, _)| *key != name) {
                path.push(key.clone());
                let hidden = masked.get(index).and_then(|m| m.get(key));
                walk(value, hidden.unwrap_or(&Value::Null), path, flat);
                path.pop();
            }
        }
        path.pop();
    }
}

fn under(path: &str, segment: &str) -> String {
    format!("{path}/{segment}")
}

/// The settings that a flat map stands for, with what could not be understood. Keys of a newer
/// release are passed over without a word; so is an entry without a mark.
pub fn unflatten(flat: &Flat) -> (Settings, Vec<Problem>) {
    let mut root = Branch::default();
    for (key, leaf) in flat {
        let segments: Vec<&str> = key.split('/').collect();
        root.insert(&segments, &leaf.json);
    }
    model::understood(root.value(&mut Vec::new()))
}

#[derive(Default)]
struct Branch {
    leaf: Option<String>,
    below: BTreeMap<String, Branch>,
}

impl Branch {
    fn insert(&mut self, path: &[&str], json: &str) {
        match path.split_first() {
            None => self.leaf = Some(json.to_owned()),
            Some((first, rest)) => {
                self.below.entry((*first).to_owned()).or_default().insert(rest, json);
            }
        }
    }

    fn value(&self, path: &mut Vec<String>) -> Value {
        if let Some(name) = list_at(path) {
            return self.list(name, path);
        }
        if self.below.is_empty() {
            let json = self.leaf.as_deref().unwrap_or("null");
            return serde_json::from_str(json).unwrap_or(Value::Null);
        }
        self.object(path).into()
    }

    fn object(&self, path: &mut Vec<String>) -> Map<String, Value> {
        let mut map = Map::new();
        for (segment, branch) in &self.below {
            if segment != MARK && segment != ORDER {
                path.push(unescape(segment));
                map.insert(unescape(segment), branch.value(path));
                path.pop();
            }
        }
        map
    }

    fn list(&self, name: &str, path: &mut Vec<String>) -> Value {
        let order = self.below.get(ORDER).and_then(|o| o.leaf.as_deref());
        let order = order.map(names).unwrap_or_default();
        let there = self.below.iter().filter(|(s, b)| *s != ORDER && b.below.contains_key(MARK));
        let mut entries: Vec<(usize, String, Value)> = Vec::new();
        for (segment, branch) in there {
            let called = unescape(segment);
            path.push(called.clone());
            let mut map = branch.object(path);
            path.pop();
            map.insert(name.to_owned(), called.clone().into());
            // What another node added while this list was reordered comes last.
            let place = order.iter().position(|o| *o == called).unwrap_or(usize::MAX);
            entries.push((place, called, map.into()));
        }
        entries.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        entries.into_iter().map(|(_, _, entry)| entry).collect()
    }
}

fn names(json: &str) -> Vec<String> {
    serde_json::from_str(json).unwrap_or_default()
}

/// What changes from one to the other: values to set, and keys that are gone (None).
pub fn difference(before: &Flat, after: &Flat) -> Vec<(String, Option<Leaf>)> {
    let new = after
        .iter()
        .filter(|(key, leaf)| before.get(*key) != Some(*leaf))
        .map(|(key, leaf)| (key.clone(), Some(leaf.clone())));
    let gone = before
        .keys()
        .filter(|key| !after.contains_key(*key))
        // Losing its mark, an entry takes everything under it along.
        .filter(|key| {
            entry_of(key).is_none_or(|entry| {
                let mark = under(&entry, MARK);
                **key == mark || after.contains_key(&mark)
            })
        })
        // The mark of an entry within an entry that is gone as well.
        .filter(|key| {
            outer_entries(key).iter().all(|mark| after.contains_key(mark) || *key == mark)
        })
        .map(|key| (key.clone(), None));
    new.chain(gone).collect()
}

/// `now` without what was changed from `before` to `after`.
///
/// # Errors
/// The places that have been changed again since.
pub fn undo(before: &Flat, after: &Flat, now: &Flat) -> Result<Flat, Vec<String>> {
    let mut next = now.clone();
    let mut changed = Vec::new();
    for (key, leaf) in difference(after, before) {
        let order = is_order(&key);
        if now.get(&key) != after.get(&key) && !order {
            changed.push(written(&key));
            continue;
        }
        match (leaf, marked(&key)) {
            // What has come or gone since keeps its place.
            (Some(_), _) if order && now.get(&key) != after.get(&key) => {}
            (Some(leaf), _) => {
                next.insert(key, leaf);
            }
            (None, Some(entry)) => {
                let below = under(entry, "");
                next.retain(|key, _| !key.starts_with(&below));
            }
            (None, None) => {
                next.remove(&key);
            }
        }
    }
    if changed.is_empty() { Ok(next) } else { Err(changed) }
}

/// The innermost entry a key belongs to, such as `nodes/web01`.
pub(crate) fn entry_of(key: &str) -> Option<String> {
    entries_of(key).pop()
}

/// The marks of all entries around a key but the innermost.
fn outer_entries(key: &str) -> Vec<String> {
    let mut entries = entries_of(key);
    entries.pop();
    entries.iter().map(|entry| under(entry, MARK)).collect()
}

/// Every entry a key belongs to, the outermost first.
pub(crate) fn entries_of(key: &str) -> Vec<String> {
    let segments: Vec<&str> = key.split('/').collect();
    let mut path: Vec<String> = Vec::new();
    let mut found = Vec::new();
    for segment in segments {
        let in_list = list_at(&path).is_some();
        path.push(unescape(segment));
        if in_list && segment != ORDER {
            found.push(joined(&path));
        }
    }
    found
}

/// True if every entry around the key has its mark.
pub(crate) fn is_visible(key: &str, has: impl Fn(&str) -> bool) -> bool {
    entries_of(key).iter().all(|entry| has(&under(entry, MARK)))
}

/// The mark of an entry.
pub(crate) fn mark_of(entry: &str) -> String {
    under(entry, MARK)
}

/// Is this the mark of an entry? Then which entry's.
pub(crate) fn marked(key: &str) -> Option<&str> {
    key.strip_suffix(MARK)?.strip_suffix('/')
}

/// Is this the order of a list?
pub(crate) fn is_order(key: &str) -> bool {
    key.ends_with("/#")
}

/// True if two orders put the entries they have in common in the same order.
pub(crate) fn same_order(a: &str, b: &str) -> bool {
    let (a, b) = (names(a), names(b));
    let common = |of: &[String], with: &[String]| -> Vec<String> {
        of.iter().filter(|n| with.contains(n)).cloned().collect()
    };
    common(&a, &b) == common(&b, &a)
}

/// A key as the pages write it: `nodes[web01].eth0.address`.
pub(crate) fn written(key: &str) -> String {
    let mut path: Vec<String> = Vec::new();
    let mut text = String::new();
    for segment in key.split('/') {
        let in_list = list_at(&path).is_some();
        let name = unescape(segment);
        match segment {
            MARK => {}
            ORDER => text.push_str(" (order)"),
            _ if in_list => text.push_str(&format!("[{name}]")),
            _ if text.is_empty() => text.push_str(&name),
            _ => text.extend([".", &name]),
        }
        path.push(name);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Secret, WifiNetwork};

    fn settings() -> Settings {
        let text = include_str!("reference.toml");
        model::from_toml(text, &Settings::default()).unwrap()
    }

    #[test]
    fn there_and_back_nothing_changes() {
        let mut settings = settings();
        let odd = ["a/b", "#", "!", "50%", "%23", "ü/%2F"];
        for ssid in odd {
            settings.wifi.networks.push(WifiNetwork {
                ssid: ssid.parse().unwrap(),
                passphrase: Secret::new("secret secret"),
                hidden: false,
            });
        }
        let flat = flatten(&settings);
        let (mut back, problems) = unflatten(&flat);
        assert_eq!(problems, []);
        assert!(back.cluster.key.is_empty(), "the cluster's key stays where it is");
        back.cluster.key = settings.cluster.key.clone();
        assert_eq!(back, settings);
        let secret = |key: &str| flat.get(key).is_some_and(|leaf| leaf.secret);
        assert!(secret("wifi/networks/50%25/passphrase"), "{flat:#?}");
        assert!(!secret("nodes/web01/name"));
    }

    #[test]
    fn only_what_changed_is_a_difference() {
        let before = settings();
        let mut after = before.clone();
        after.nodes[1].name = "Other".parse().unwrap();
        after.nodes.remove(0);
        let changes = difference(&flatten(&before), &flatten(&after));
        let keys: Vec<_> = changes.iter().map(|(k, v)| (k.as_str(), v.is_some())).collect();
        assert_eq!(keys, [("nodes/#", true), ("nodes/web02/name", true), ("nodes/web01/!", false)]);
        assert_eq!(written("nodes/web02/eth0/address"), "nodes[web02].eth0.address");
        assert_eq!(written("backends/b/servers/s%2F1/weight"), "backends[b].servers[s/1].weight");
        assert_eq!(written("nodes/web01/!"), "nodes[web01]");
    }

    #[test]
    fn a_removed_backend_takes_its_servers_along() {
        let mut before = settings();
        before.backends.push(model::Backend {
            name: "b".parse().unwrap(),
            servers: vec![model::Server { name: "s".parse().unwrap(), ..Default::default() }],
            ..Default::default()
        });
        let changes = difference(&flatten(&before), &flatten(&settings()));
        let keys: Vec<_> = changes.iter().map(|(k, _)| k.as_str()).collect();
        assert_eq!(keys, ["backends/#", "backends/b/!"]);
    }

    #[test]
    fn one_change_is_taken_back_and_later_ones_stay() {
        let before = settings();
        let mut after = before.clone();
        after.nodes.remove(1);
        after.cluster.gateway = None;
        let mut now = after.clone();
        now.nodes[0].name = "Later".parse().unwrap();
        let (before, after) = (flatten(&before), flatten(&after));
        let (undone, problems) = unflatten(&undo(&before, &after, &flatten(&now)).unwrap());
        assert_eq!(problems, []);
        assert_eq!(undone.nodes.len(), 4);
        assert_eq!(undone.nodes[0].name.as_str(), "Later");
        assert_eq!(undone.nodes[1].id.as_str(), "web02");
        assert!(undone.cluster.gateway.is_some());
        now.cluster.gateway = "192.168.1.9".parse().ok();
        let refused = undo(&before, &after, &flatten(&now)).unwrap_err();
        assert_eq!(refused, ["cluster.gateway"]);
        // And forward again: the entry goes with everything in it.
        let (gone, _) = unflatten(&undo(&after, &before, &before).unwrap());
        assert_eq!(gone.nodes.len(), 3);
    }

    #[test]
    fn what_a_newer_release_knows_is_passed_over() {
        let mut flat = flatten(&settings());
        let leaf = |json: &str| Leaf { json: json.into(), secret: false };
        flat.insert("nodes/web01/colour".into(), leaf("\"red\""));
        flat.insert("weather/rain".into(), leaf("true"));
        let (_, problems) = unflatten(&flat);
        assert_eq!(problems, []);
        flat.insert("backends/b/!".into(), leaf("true"));
        flat.insert("backends/b/balance".into(), leaf("\"astrology\""));
        let (_, problems) = unflatten(&flat);
        assert_eq!(problems.len(), 1, "{problems:?}");
    }
}
