//! `/stats;json`: the same values in HAProxy's JSON form, a list of proxies' lists of fields.

use crate::stats_csv::{FIELDS, Line, Value, lines};
use model::status::ProxyStatus;
use serde_json::{Value as Json, json};

pub(crate) fn json(proxy: &ProxyStatus, pid: u32) -> String {
    let all: Vec<Json> = lines(proxy, pid).iter().map(|l| Json::Array(fields(l))).collect();
    Json::Array(all).to_string()
}

fn number(line: &Line, field: &str) -> u64 {
    match line.get(field) {
        Some(Value::Number(n)) => *n,
        _ => 0,
    }
}

fn fields(line: &Line) -> Vec<Json> {
    let kind = match number(line, "type") {
        0 => "Frontend",
        1 => "Backend",
        _ => "Server",
    };
    let (iid, sid) = (number(line, "iid"), number(line, "sid"));
    let known =
        FIELDS.iter().enumerate().filter_map(|(pos, name)| Some((pos, name, line.get(name)?)));
    known
        .map(|(pos, name, value)| {
            let value = match value {
                Value::Number(n) => json!({ "type": "u64", "value": n }),
                Value::Text(t) => json!({ "type": "str", "value": t }),
            };
            json!({
                "objType": kind,
                "proxyId": iid,
                "id": sid,
                "field": { "pos": pos, "name": name },
                "processNum": 1,
                "value": value,
            })
        })
        .collect()
}
