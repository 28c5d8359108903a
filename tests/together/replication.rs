//! One set of settings on four nodes: edits anywhere, splits, conflicts, nodes that were away.

use lab::{Api, Lab, Options, wait};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const PASSWORD: &str = "correct horse battery";
const PATIENCE: Duration = Duration::from_secs(30);
const NODES: [&str; 4] = ["web01", "web02", "lbmaster", "lbslave"];

struct Cluster {
    lab: Lab,
    apis: Vec<Api>,
}

impl Cluster {
    fn start() -> Self {
        let options = Options::new(env!("CARGO_BIN_EXE_bramble")).password(PASSWORD);
        let lab = Lab::start(&options).unwrap();
        lab.wait_ready(PATIENCE).unwrap();
        let apis = NODES.map(|node| Api::aboard(&lab, node, PASSWORD)).into();
        Self { lab, apis }
    }

    fn api(&self, node: &str) -> &Api {
        let at = NODES.iter().position(|n| *n == node).unwrap();
        self.apis.get(at).unwrap()
    }

    /// Until all of these have the same document; how long that took.
    fn agree(&self, nodes: &[&str]) -> Duration {
        let began = Instant::now();
        wait::until(PATIENCE, "one document", || {
            let mut heads = Vec::new();
            for node in nodes {
                heads.push(self.heads(node)?);
            }
            heads.dedup();
            if heads.len() == 1 { Ok(()) } else { Err(format!("{heads:?}")) }
        })
        .unwrap();
        began.elapsed()
    }

    fn replication(&self, node: &str) -> Result<Value, String> {
        let status = self.api(node).status().map_err(|e| e.to_string())?;
        Ok(status["replication"].clone())
    }

    fn heads(&self, node: &str) -> Result<String, String> {
        let replication = self.replication(node)?;
        let heads = replication["heads"].as_str();
        heads.map(str::to_owned).ok_or_else(|| replication.to_string())
    }

    fn wait_setting(&self, node: &str, pointer: &str, wanted: &Value) {
        wait::until(PATIENCE, &format!("{node}: {pointer} = {wanted}"), || {
            let (document, _) = self.api(node).settings().map_err(|e| e.to_string())?;
            let now = document.pointer(pointer).cloned().unwrap_or_default();
            if now == *wanted { Ok(()) } else { Err(now.to_string()) }
        })
        .unwrap();
    }
}

fn name_the_cluster(api: &Api, name: &str) {
    api.change(|d| d["cluster"]["name"] = json!(name)).unwrap();
}

#[test]
fn what_is_changed_on_one_node_runs_on_all() {
    let cluster = Cluster::start();
    cluster.agree(&NODES);
    // Every board was met and is pinned, although nobody told anybody.
    let (document, _) = cluster.api("web02").settings().unwrap();
    for node in document["nodes"].as_array().unwrap() {
        assert_eq!(node["device"].as_str().map(str::len), Some(64), "{node}");
    }
    let mut times = Vec::new();
    for (round, node) in NODES.iter().cycle().take(12).enumerate() {
        let name = format!("round-{round}");
        let began = Instant::now();
        name_the_cluster(cluster.api(node), &name);
        for other in NODES {
            cluster.wait_setting(other, "/cluster/name", &json!(name));
        }
        times.push(began.elapsed());
    }
    times.sort();
    println!("from a change to running on all four nodes, 12 changes: {times:?}");

    // One of two, and two of four: whoever is alive takes changes, and those that were away learn.
    for gone in ["lbmaster", "web01"] {
        cluster.lab.node(gone).power(false).unwrap();
    }
    name_the_cluster(cluster.api("lbslave"), "half-dead");
    cluster.wait_setting("web02", "/cluster/name", &json!("half-dead"));
    cluster.lab.node("web02").power(false).unwrap();
    name_the_cluster(cluster.api("lbslave"), "alone");
    for back in ["lbmaster", "web01", "web02"] {
        cluster.lab.node(back).power(true).unwrap();
    }
    for node in NODES {
        cluster.wait_setting(node, "/cluster/name", &json!("alone"));
    }
    // A change that was acknowledged is there after SIGKILL of everybody.
    name_the_cluster(cluster.api("web01"), "before-the-cut");
    for node in NODES {
        cluster.lab.node(node).kill().unwrap();
    }
    for node in NODES {
        cluster.lab.node(node).start().unwrap();
    }
    for node in NODES {
        cluster.wait_setting(node, "/cluster/name", &json!("before-the-cut"));
    }
}

#[test]
fn after_a_split_both_halves_are_one_again_and_what_lost_is_shown() {
    let cluster = Cluster::start();
    cluster.agree(&NODES);
    let network = cluster.lab.network();
    let half = |nodes: [&str; 2]| nodes.map(str::to_owned);
    network.partition(&half(["web01", "lbmaster"]), &half(["web02", "lbslave"])).unwrap();
    // Different edits, the same edit made differently, and two edits that break a rule together.
    name_the_cluster(cluster.api("lbmaster"), "left");
    name_the_cluster(cluster.api("lbslave"), "right");
    cluster
        .api("web01")
        .change(|d| d["cluster"]["dns"] = json!(["192.168.1.1", "192.168.1.2"]))
        .unwrap();
    cluster.api("web02").change(|d| d["admin"]["hosts"] = json!(["cluster.example"])).unwrap();
    cluster.agree(&["web01", "lbmaster"]);
    cluster.agree(&["web02", "lbslave"]);
    network.heal().unwrap();
    let took = cluster.agree(&NODES);
    println!("one document again {took:?} after the split ended");
    let (document, _) = cluster.api("web01").settings().unwrap();
    let winner = document["cluster"]["name"].as_str().unwrap().to_owned();
    let loser = if winner == "left" { "right" } else { "left" };
    for node in NODES {
        cluster.wait_setting(node, "/cluster/dns/1", &json!("192.168.1.2"));
        cluster.wait_setting(node, "/admin/hosts/0", &json!("cluster.example"));
        cluster.wait_setting(node, "/cluster/name", &json!(winner));
        let lost = cluster.replication(node).unwrap()["lost"].clone();
        let mine = lost.as_array().unwrap().iter().find(|l| l["path"] == "cluster.name").unwrap();
        assert_eq!((&mine["current"], &mine["other"]), (&json!(winner), &json!(loser)), "{node}");
    }
}

#[test]
fn a_merge_that_breaks_a_rule_leaves_what_ran_running() {
    let cluster = Cluster::start();
    cluster.agree(&NODES);
    let network = cluster.lab.network();
    let half = |nodes: [&str; 2]| nodes.map(str::to_owned);
    network.partition(&half(["web01", "lbmaster"]), &half(["web02", "lbslave"])).unwrap();
    // Each half may call a node so; both together may not.
    let rename = |node: &str, at: usize| {
        cluster.api(node).change(|d| d["nodes"][at]["name"] = json!("Twin")).unwrap();
    };
    rename("web01", 0);
    rename("web02", 1);
    cluster.agree(&["web01", "lbmaster"]);
    cluster.agree(&["web02", "lbslave"]);
    network.heal().unwrap();
    cluster.agree(&NODES);
    for (node, at) in [("lbmaster", 0), ("lbslave", 1)] {
        let decision = cluster.replication(node).unwrap()["decision"].clone();
        assert!(
            decision["problems"][0]["problem"].as_str().unwrap().contains("Twin"),
            "{decision}"
        );
        cluster.wait_setting(node, &format!("/nodes/{at}/name"), &json!("Twin"));
        cluster.wait_setting(
            node,
            &format!("/nodes/{}/name", 1 - at),
            &json!(["Web01", "Web02"][1 - at]),
        );
    }
    // Any edit that makes it right again settles it, on every node.
    cluster.api("web02").change(|d| d["nodes"][1]["name"] = json!("Other")).unwrap();
    for node in NODES {
        cluster.wait_setting(node, "/nodes/0/name", &json!("Twin"));
        cluster.wait_setting(node, "/nodes/1/name", &json!("Other"));
        assert!(cluster.replication(node).unwrap()["decision"].is_null());
    }
}
