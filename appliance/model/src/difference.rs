//! What differs between two settings documents, for people.

use crate::Settings;
use serde_json::Value;

/// The values that differ, each as `path = value`: those that are gone and those that have come.
/// Secrets are masked: a changed one shows neither value.
pub fn difference(before: &Settings, after: &Settings) -> (Vec<String>, Vec<String>) {
    let (before, after) = (leaves(before), leaves(after));
    let missing = |from: &[String], other: &[String]| {
        from.iter().filter(|l| !other.contains(l)).cloned().collect()
    };
    (missing(&before, &after), missing(&after, &before))
}

fn leaves(settings: &Settings) -> Vec<String> {
    let value = serde_json::to_value(settings.masked()).unwrap_or_default();
    let mut lines = Vec::new();
    walk("", &value, &mut lines);
    lines
}

fn walk(path: &str, value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let at = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                walk(&at, value, lines);
            }
        }
        Value::Array(list) if list.iter().any(Value::is_object) => {
            for (i, entry) in list.iter().enumerate() {
                // An entry is known by its name, so that removing the first one does not make
                // every other one look changed.
                let name = entry.get("id").or_else(|| entry.get("name")).and_then(Value::as_str);
                let name = name.map_or_else(|| i.to_string(), str::to_owned);
                walk(&format!("{path}[{name}]"), entry, lines);
            }
        }
        Value::Null => {}
        Value::Array(list) if list.is_empty() => {}
        Value::String(text) if text.is_empty() => {}
        Value::String(text) if text.contains('\n') => {
            lines.push(format!("{path} = {}", gist(text)));
        }
        Value::String(text) => lines.push(format!("{path} = {text}")),
        other => lines.push(format!("{path} = {other}")),
    }
}

/// Of a text of many lines (a PEM text, say) its size and what is right before the end, where a
/// certificate's signature differs from any other's.
fn gist(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|l| !l.starts_with("-----")).collect();
    let end: String = lines.iter().rev().take(2).rev().map(|l| l.trim()).collect();
    let skip = end.chars().count().saturating_sub(24);
    format!("({} bytes, ending in {})", text.len(), end.chars().skip(skip).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Node, Secret};

    #[test]
    fn only_what_changed_and_no_secret() {
        let node = |id: &str| Node { id: id.parse().unwrap(), ..Node::default() };
        let mut before = Settings { nodes: vec![node("a"), node("b")], ..Settings::default() };
        before.cluster.key = Secret::new("the first key of them all, long enough");
        let mut after = before.clone();
        after.nodes.remove(0);
        after.cluster.gateway = "192.168.1.1".parse().ok();
        after.cluster.key = Secret::new("another key, which is long enough as well");
        let (gone, come) = difference(&before, &after);
        assert_eq!(gone, ["nodes[a].id = a"]);
        assert_eq!(come, ["cluster.gateway = 192.168.1.1"]);
        assert_eq!(difference(&after, &after), (vec![], vec![]));
    }

    #[test]
    fn of_a_long_text_only_the_gist() {
        let with = |last: &str| Settings {
            certificates: vec![crate::Certificate {
                name: "a".parse().unwrap(),
                chain: format!(
                    "-----BEGIN CERTIFICATE-----\nMIIB\n{last}\n-----END CERTIFICATE-----\n"
                ),
                key: Secret::new("-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"),
            }],
            ..Settings::default()
        };
        let (gone, come) = difference(&with("one="), &with("two="));
        assert_eq!(gone, ["certificates[a].chain = (64 bytes, ending in MIIBone=)"]);
        assert_eq!(come, ["certificates[a].chain = (64 bytes, ending in MIIBtwo=)"]);
    }
}
