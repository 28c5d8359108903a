//! `/stats;json`: the same values in HAProxy's JSON form, a list of lists of fields; and
//! `/stats;json-schema`, what that form is (management.txt 9.3, `show schema json`).

use model::status::ProxyStatus;
use model::status::stat::{FIELDS, Line, Value, lines};
use serde_json::{Value as Json, json};

/// All values.
pub(crate) fn json(proxy: &ProxyStatus) -> String {
    let all: Vec<Json> = lines(proxy).iter().map(|l| Json::Array(fields(l))).collect();
    Json::Array(all).to_string()
}

fn fields(line: &Line) -> Vec<Json> {
    let (iid, sid) = (line.count("iid").unwrap_or(0), line.count("sid").unwrap_or(0));
    let known = FIELDS.iter().enumerate().filter_map(|(pos, f)| Some((pos, f, line.get(f.name)?)));
    known
        .map(|(pos, field, value)| {
            let (letters, kind) = line.typed(field);
            let value = match value {
                Value::Number(n) => json!({ "type": kind, "value": n }),
                Value::Never => json!({ "type": kind, "value": -1 }),
                Value::Text(t) => json!({ "type": kind, "value": t }),
            };
            json!({
                "objType": line.kind.word(),
                "proxyId": iid,
                "id": sid,
                "field": { "pos": pos, "name": field.name },
                "processNum": 1,
                "tags": tags(letters),
                "value": value,
            })
        })
        .collect()
}

/// HAProxy's three letters in words.
fn tags(letters: &str) -> Json {
    let at = |i: usize| letters.as_bytes().get(i).copied().unwrap_or(b'?');
    let origin = match at(0) {
        b'M' => "Metric",
        b'S' => "Status",
        b'K' => "Key",
        b'C' => "Config",
        _ => "Unknown",
    };
    let nature = match at(1) {
        b'A' => "Age",
        b'a' => "Avg",
        b'C' => "Counter",
        b'D' => "Duration",
        b'G' => "Gauge",
        b'L' => "Limit",
        b'M' => "Max",
        b'N' => "Name",
        b'O' => "Output",
        b'R' => "Rate",
        _ => "Unknown",
    };
    let scope = match at(2) {
        b'P' => "Process",
        b'S' => "Service",
        _ => "Unknown",
    };
    json!({ "origin": origin, "nature": nature, "scope": scope })
}

/// A schema of what [`json`] gives.
pub(crate) fn schema() -> String {
    let typed = |name: &str, value: Json| {
        let properties = json!({ "type": { "type": "string", "enum": [name] }, "value": value });
        json!({ "properties": properties, "required": ["type", "value"] })
    };
    let whole = |most: u64| json!({ "type": "integer", "minimum": 0, "maximum": most });
    json!({
        "$schema": "http://json-schema.org/draft-04/schema#",
        "title": "Stat",
        "type": "array",
        "items": { "type": "array", "items": {
            "title": "InfoItem",
            "type": "object",
            "properties": {
                "objType": { "enum": ["Frontend", "Backend", "Server"] },
                "proxyId": { "type": "integer", "minimum": 0 },
                "id": { "type": "integer", "minimum": 0 },
                "field": { "$ref": "#/definitions/field" },
                "processNum": { "type": "integer", "minimum": 1 },
                "tags": { "$ref": "#/definitions/tags" },
                "value": { "$ref": "#/definitions/value" },
            },
            "required": ["objType", "proxyId", "id", "field", "processNum", "tags", "value"],
        } },
        "definitions": {
            "field": {
                "type": "object",
                "properties": {
                    "pos": { "type": "integer", "minimum": 0 },
                    "name": { "enum": FIELDS.iter().map(|f| f.name).collect::<Vec<_>>() },
                },
                "required": ["pos", "name"],
            },
            "tags": {
                "type": "object",
                "properties": {
                    "origin": { "enum": ["Metric", "Status", "Key", "Config", "Unknown"] },
                    "nature": { "enum": ["Age", "Avg", "Counter", "Duration", "Gauge", "Limit",
                        "Max", "Name", "Output", "Rate", "Unknown"] },
                    "scope": { "enum": ["Process", "Service", "Unknown"] },
                },
                "required": ["origin", "nature", "scope"],
            },
            "value": { "oneOf": [
                typed("s32", json!({ "type": "integer", "minimum": i32::MIN, "maximum": i32::MAX })),
                typed("u32", whole(u32::MAX.into())),
                typed("u64", whole((1 << 53) - 1)),
                typed("str", json!({ "type": "string" })),
            ] },
        },
    })
    .to_string()
}
