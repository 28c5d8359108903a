//! The ways to a node: a cable pulled under traffic, and addresses and routers that nobody gets
//! through with, taken back with nobody's help.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test states what it expects")]

use lab::{Api, Figures, Lab, Load, Options, Plan, Shape, site, wait, wired, wireless};
use serde_json::{Value, json};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
const PASSWORD: &str = "correct horse battery";
/// Instead of 90 s: long enough for probes, addresses and one attempt of every other node.
const WITHIN: u64 = 15;

fn start() -> Lab {
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
fn by_radio(lab: &Lab, node: &str) -> Api {
    Api::at(lab, SocketAddr::from((wireless(node), 1936)), PASSWORD)
}

/// What a node's status says of its own interface.
fn link<'v>(status: &'v Value, node: &str, name: &str) -> Option<&'v Value> {
    let nodes = status["nodes"].as_array()?;
    let own = nodes.iter().find(|n| n["status"]["id"] == node)?;
    own["status"]["links"].as_array()?.iter().find(|l| l["name"] == name)
}

/// Waits until the trial on eth0 stands like this; what it says.
fn trial(api: &Api, node: &str, is: &str) -> Value {
    let limit = Duration::from_secs(WITHIN) + PATIENCE;
    api.wait_status(limit, &format!("the trial of {node} to be {is}"), |status| {
        let trial = &link(status, node, "eth0")?["trial"];
        (trial["state"]["is"] == is).then(|| trial.clone())
    })
    .unwrap()
}

/// Waits until the node has exactly these on eth0.
fn addresses(lab: &Lab, node: &str, expected: &[&str]) {
    wait::until(PATIENCE, &format!("{node} to have {expected:?}"), || {
        let found = lab.node(node).addresses("eth0");
        if found == expected { Ok(()) } else { Err(found) }
    })
    .unwrap();
}

fn eth0(document: &Value, node: &str) -> Value {
    let nodes = document["nodes"].as_array().unwrap();
    nodes.iter().find(|n| n["id"] == node).unwrap()["eth0"].clone()
}

fn change_eth0(api: &Api, node: &str, address: &str, gateway: &str) {
    api.change(|document| {
        let nodes = document["nodes"].as_array_mut().unwrap();
        let node = nodes.iter_mut().find(|n| n["id"] == node).unwrap();
        node["eth0"]["address"] = json!(address);
        node["eth0"]["gateway"] = json!(gateway);
    })
    .unwrap();
}

/// Waits until the settings of every node have the node's old address and router again.
fn settings_are_back(lab: &Lab, node: &str) {
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

fn notice(api: &Api, words: &str) {
    api.wait_status(PATIENCE, &format!("a notice with {words:?}"), |status| {
        let notices = status["nodes"][0]["status"]["notices"].as_array()?;
        notices.iter().any(|n| n["text"].as_str().is_some_and(|t| t.contains(words))).then_some(())
    })
    .unwrap();
}

#[test]
fn what_nobody_gets_through_with_is_taken_back() {
    let lab = start();
    let api = Api::new(&lab, "web02", PASSWORD);
    let plan =
        Plan { timeout: Duration::from_secs(12), shape: Shape::Rate(50), ..Plan::steady(site()) };
    let load = Load::start(&lab.client(), plan).unwrap();

    // A network nobody else is in.
    change_eth0(&api, "web02", "192.168.9.9/24", "192.168.9.1");
    let seen = trial(&api, "web02", "trying");
    assert_eq!(seen["from"], "192.168.1.11/24, router 192.168.1.1");
    addresses(&lab, "web02", &["192.168.1.11/24", "192.168.9.9/24"]);
    let over = trial(&api, "web02", "taken_back");
    let why = over["state"]["why"].as_str().unwrap().to_owned();
    assert!(why.contains("192.168.9.1 did not answer"), "{why}");
    addresses(&lab, "web02", &["192.168.1.11/24"]);
    settings_are_back(&lab, "web02");
    notice(&api, "Web02's address change on eth0 was taken back");

    // The same without a router that could be silent: nobody reaches the address.
    api.change(|d| d["nodes"][1]["eth0"]["address"] = json!("192.168.1.111/32")).unwrap_err();
    change_eth0(&api, "web02", "192.168.77.9/16", "192.168.1.1");
    addresses(&lab, "web02", &["192.168.1.11/24", "192.168.77.9/16"]);
    let over = trial(&api, "web02", "taken_back");
    let why = over["state"]["why"].as_str().unwrap().to_owned();
    assert!(why.contains("no other board reached it at 192.168.77.9"), "{why}");
    settings_are_back(&lab, "web02");

    // A router that is none, of this node and of all nodes.
    change_eth0(&api, "web02", "192.168.1.11/24", "192.168.1.254");
    trial(&api, "web02", "trying");
    let over = trial(&api, "web02", "taken_back");
    assert_eq!(over["to"], "192.168.1.11/24, router 192.168.1.254");
    settings_are_back(&lab, "web02");
    notice(&api, "Web02's router change on eth0 was taken back");
    api.change(|d| d["cluster"]["gateway"] = json!("192.168.1.254")).unwrap();
    trial(&api, "web02", "trying");
    trial(&api, "web02", "taken_back");
    settings_are_back(&lab, "web02");

    // An address another device has: no need to wait.
    let begun = Instant::now();
    let taken = Ipv4Addr::new(192, 168, 1, 50);
    change_eth0(&api, "web02", &format!("{taken}/24"), "192.168.1.1");
    let over = wait::until(PATIENCE, "the conflict", || {
        let status = api.status().map_err(|e| e.to_string())?;
        let trial = link(&status, "web02", "eth0").map(|l| l["trial"].clone()).unwrap_or_default();
        let why = trial["state"]["why"].as_str().unwrap_or_default().to_owned();
        if why.contains(&taken.to_string()) { Ok(why) } else { Err(trial.to_string()) }
    });
    let mac = lab.exec("client", "cat", &["/sys/class/net/eth0/address"]).unwrap();
    let over = over.unwrap();
    assert!(over.contains(mac.trim()), "{over}, not {mac}");
    assert!(begun.elapsed() < Duration::from_secs(WITHIN), "{:?}", begun.elapsed());
    settings_are_back(&lab, "web02");
    assert_eq!(lab.node("web02").addresses("eth0"), ["192.168.1.11/24"]);

    let report = load.finish().unwrap();
    let mut figures = Figures::new(env!("CARGO_TARGET_TMPDIR"), "while changes were taken back");
    figures.row("50 requests a second", &report);
    figures.publish().unwrap();
    assert_eq!(report.failed, 0, "{report:?}");
}

#[test]
fn a_good_address_holds_once_another_board_gets_through() {
    let lab = start();
    let api = by_radio(&lab, "web02");
    let begun = Instant::now();
    change_eth0(&api, "web02", "192.168.1.31/24", "192.168.1.1");
    let kept = trial(&api, "web02", "kept");
    println!("kept after {:?}: {kept}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(WITHIN), "{:?}", begun.elapsed());
    let by = kept["state"]["by"].as_str().unwrap();
    assert!(["Web01", "LbMaster", "LbSlave"].contains(&by), "{kept}");
    addresses(&lab, "web02", &["192.168.1.31/24"]);
    // The others follow: the balancers' checks and the node channel.
    for node in ["lbmaster", "lbslave"] {
        Api::new(&lab, node, PASSWORD).wait_servers(4, PATIENCE).unwrap();
    }
    std::thread::sleep(Duration::from_secs(WITHIN));
    assert_eq!(lab.node("web02").addresses("eth0"), ["192.168.1.31/24"], "it stays");
}

#[test]
fn a_power_cut_is_no_confirmation() {
    let lab = start();
    for cut in ["power", "kill"] {
        let api = Api::new(&lab, "web02", PASSWORD);
        change_eth0(&api, "web02", "192.168.9.9/24", "192.168.9.1");
        addresses(&lab, "web02", &["192.168.1.11/24", "192.168.9.9/24"]);
        if cut == "power" {
            lab.node("web02").power(false).unwrap();
            lab.node("web02").power(true).unwrap();
        } else {
            lab.node("web02").kill().unwrap();
            lab.node("web02").start().unwrap();
        }
        addresses(&lab, "web02", &["192.168.1.11/24"]);
        let over = trial(&api, "web02", "taken_back");
        let why = over["state"]["why"].as_str().unwrap().to_owned();
        assert!(why.contains("stopped before anybody had confirmed it"), "{cut}: {why}");
        settings_are_back(&lab, "web02");
        assert_eq!(lab.node("web02").addresses("eth0"), ["192.168.1.11/24"], "{cut}");
    }
}

/// Waits until every node has a fresh report of this one.
fn heard(lab: &Lab, node: &str) {
    for at in ["web01", "web02", "lbmaster", "lbslave"].into_iter().filter(|at| *at != node) {
        let what = format!("{at} to hear from {node}");
        let heard = |status: &Value| {
            let nodes = status["nodes"].as_array()?;
            nodes.iter().any(|n| n["status"]["id"] == node && n["reachable"] == true).then_some(())
        };
        by_radio(lab, at).wait_status(PATIENCE, &what, heard).unwrap();
    }
}

/// A file made on web01 is on web02 before the patience ends; how long it took.
fn mirrored(lab: &Lab, name: &str) -> Duration {
    let begun = Instant::now();
    fs::write(lab.node("web01").site().join(name), name).unwrap();
    let copy = lab.node("web02").site().join(name);
    wait::until_true(PATIENCE, &format!("{name} on web02"), || copy.exists()).unwrap();
    begun.elapsed()
}

#[test]
fn a_cable_pulled_under_traffic_costs_visitors_little() {
    let lab = start();
    lab.node("web02").site(); // its first copy comes by itself
    mirrored(&lab, "first");
    let mut figures = Figures::new(env!("CARGO_TARGET_TMPDIR"), "eth0 pulled and plugged back");
    let mut complaints: Vec<String> = Vec::new();
    let mut run = |what: &str, most: u64, gap_ms: f64, event: &dyn Fn(&Lab)| {
        let plan = Plan {
            timeout: Duration::from_secs(12),
            shape: Shape::Rate(100),
            ..Plan::steady(site())
        };
        let load = Load::start(&lab.client(), plan).unwrap();
        load.reach(100, PATIENCE).unwrap();
        event(&lab);
        let now = load.so_far().total;
        load.reach(now + 150, PATIENCE).unwrap();
        let report = load.finish().unwrap();
        figures.row(what, &report);
        if report.failed > most || report.longest_gap_ms > gap_ms {
            complaints.push(format!("{what}: {most} failed and {gap_ms} ms at most, {report:?}"));
        }
    };
    let up = |lab: &Lab, count: usize| {
        for node in ["lbmaster", "lbslave"] {
            by_radio(lab, node).wait_servers(count, PATIENCE).unwrap();
        }
    };

    // Three failed checks until a server is down; requests that meet it go on to another one.
    run("Web02's eth0 pulled", 3, 500.0, &|lab| {
        lab.node("web02").link("eth0", false).unwrap();
        up(lab, 3);
        heard(lab, "web02");
        println!("mirrored to web02 over its radio in {:?}", mirrored(lab, "over-the-radio"));
    });
    run("Web02's eth0 back", 0, 500.0, &|lab| {
        lab.node("web02").link("eth0", true).unwrap();
        up(lab, 4);
        println!("mirrored to web02 with both in {:?}", mirrored(lab, "with-both"));
    });
    run("Web01's eth0 pulled", 3, 500.0, &|lab| {
        lab.node("web01").link("eth0", false).unwrap();
        up(lab, 3);
        heard(lab, "web01");
        println!("mirrored from web01's radio in {:?}", mirrored(lab, "from-the-radio"));
    });
    run("Web01's eth0 back", 0, 500.0, &|lab| {
        lab.node("web01").link("eth0", true).unwrap();
        up(lab, 4);
    });
    run("LbMaster's eth0 pulled", 10, 4500.0, &|lab| {
        lab.node("lbmaster").link("eth0", false).unwrap();
        // The cable took no address away: the master cannot say farewell through it.
        wait::until(PATIENCE, "lbslave to take over", || {
            let holder = by_radio(lab, "lbslave").status().map_err(|e| e.to_string())?;
            let state = holder["nodes"][0]["status"]["vrrp"][0]["state"].clone();
            if state == "MASTER" { Ok(()) } else { Err(state) }
        })
        .unwrap();
        heard(lab, "lbmaster");
        // Its own checks go on over the radio.
        std::thread::sleep(Duration::from_secs(3));
        up(lab, 4);
    });
    run("LbMaster's eth0 back", 3, 1000.0, &|lab| {
        lab.node("lbmaster").link("eth0", true).unwrap();
        lab.wait_holder("lbmaster", PATIENCE).unwrap();
        up(lab, 4);
    });
    figures.publish().unwrap();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn with_nobody_around_it_is_the_operators_word_that_counts() {
    let options = Options::new(env!("CARGO_BIN_EXE_bramble")).password(PASSWORD);
    let lab = Lab::start(&options.confirm_within(WITHIN).start(&["web02"])).unwrap();
    let old = Api::new(&lab, "web02", PASSWORD);
    old.wait_status(PATIENCE, "web02 to be there", |_| Some(())).unwrap();
    let new = Api::at(&lab, "192.168.1.31:1936".parse().unwrap(), PASSWORD);
    let keep = lab::http::Request::new("POST", "/api/v1/network/keep");

    assert_eq!(old.send(&keep).unwrap().status, 409, "nothing is tried");
    change_eth0(&old, "web02", "192.168.1.31/24", "192.168.1.1");
    addresses(&lab, "web02", &["192.168.1.11/24", "192.168.1.31/24"]);
    let refused = wait::until(PATIENCE, "a word on where to keep it", || {
        let answer = old.send(&keep).map_err(|e| e.to_string())?;
        let text = answer.text();
        if text.contains("http://192.168.1.31:1936/") { Ok(answer.status) } else { Err(text) }
    });
    assert_eq!(refused.unwrap(), 409);
    assert_eq!(new.send(&keep).unwrap().status, 204);
    assert_eq!(trial(&new, "web02", "kept")["state"]["by"], "the operator");
    addresses(&lab, "web02", &["192.168.1.31/24"]);

    change_eth0(&new, "web02", "192.168.1.32/24", "192.168.1.1");
    addresses(&lab, "web02", &["192.168.1.31/24", "192.168.1.32/24"]);
    addresses(&lab, "web02", &["192.168.1.31/24"]);
    let over = trial(&new, "web02", "taken_back");
    assert!(over["state"]["why"].as_str().unwrap().contains("nobody opened the page"), "{over}");
}
