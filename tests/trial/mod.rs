//! Changes of addresses and routers that are on trial.
#![allow(dead_code, reason = "no test file needs all of them")]

use lab::{Api, Lab, Options, wait, wired, wireless};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const PASSWORD: &str = "correct horse battery";
/// Instead of 90 s: long enough for probes, addresses and one attempt of every other node.
pub(crate) const WITHIN: u64 = 15;

pub(crate) fn start() -> Lab {
    let options = Options::new(env!("CARGO_BIN_EXE_bramble")).password(PASSWORD);
    let lab = Lab::start(&options.confirm_within(WITHIN)).unwrap();
    lab.wait_ready(PATIENCE).unwrap();
    lab.wait_holder("lbmaster", PATIENCE).unwrap();
    for node in ["lbmaster", "lbslave"] {
        Api::new(&lab, node, PASSWORD).wait_servers(4, PATIENCE).unwrap();
    }
    lab
}

/// The API of a node whose wired address may be out of reach.
pub(crate) fn by_radio(lab: &Lab, node: &str) -> Api {
    Api::at(lab, SocketAddr::from((wireless(node), 1936)), PASSWORD)
}

/// What a node's status says of its own interface.
pub(crate) fn link<'v>(status: &'v Value, node: &str, name: &str) -> Option<&'v Value> {
    let nodes = status["nodes"].as_array()?;
    let own = nodes.iter().find(|n| n["status"]["id"] == node)?;
    own["status"]["links"].as_array()?.iter().find(|l| l["name"] == name)
}

/// Waits until the trial on eth0 stands like this; what it says.
pub(crate) fn trial(api: &Api, node: &str, is: &str) -> Value {
    let limit = Duration::from_secs(WITHIN) + PATIENCE;
    api.wait_status(limit, &format!("the trial of {node} to be {is}"), |status| {
        let trial = &link(status, node, "eth0")?["trial"];
        (trial["state"]["is"] == is).then(|| trial.clone())
    })
    .unwrap()
}

/// Waits until the node has exactly these on eth0.
pub(crate) fn addresses(lab: &Lab, node: &str, expected: &[&str]) {
    wait::until(PATIENCE, &format!("{node} to have {expected:?}"), || {
        let found = lab.node(node).addresses("eth0");
        if found == expected { Ok(()) } else { Err(found) }
    })
    .unwrap();
}

pub(crate) fn eth0(document: &Value, node: &str) -> Value {
    let nodes = document["nodes"].as_array().unwrap();
    nodes.iter().find(|n| n["id"] == node).unwrap()["eth0"].clone()
}

pub(crate) fn change_eth0(api: &Api, node: &str, address: &str, gateway: &str) {
    api.change(|document| {
        let nodes = document["nodes"].as_array_mut().unwrap();
        let node = nodes.iter_mut().find(|n| n["id"] == node).unwrap();
        node["eth0"]["address"] = json!(address);
        node["eth0"]["gateway"] = json!(gateway);
    })
    .unwrap();
}

/// Waits until the settings of every node have the node's old address and router again.
pub(crate) fn settings_are_back(lab: &Lab, node: &str) {
    for at in ["web01", "web02", "lbmaster", "lbslave"] {
        wait::until(PATIENCE, &format!("the settings of {at} to be taken back"), || {
            let (document, _) =
                Api::new(lab, at, PASSWORD).settings().map_err(|e| e.to_string())?;
            let link = eth0(&document, node);
            let back = link["address"] == format!("{}/24", wired(node))
                && link["gateway"].is_null()
                && document["cluster"]["gateway"] == "192.168.1.1";
            if back { Ok(()) } else { Err(format!("{link}, {}", document["cluster"])) }
        })
        .unwrap();
    }
}

pub(crate) fn notice(api: &Api, words: &str) {
    api.wait_status(PATIENCE, &format!("a notice with {words:?}"), |status| {
        let notices = status["nodes"][0]["status"]["notices"].as_array()?;
        notices.iter().any(|n| n["text"].as_str().is_some_and(|t| t.contains(words))).then_some(())
    })
    .unwrap();
}
