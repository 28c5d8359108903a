//! Settings change while visitors are served: none of them notices, and no process is restarted.

#![allow(clippy::unwrap_used, reason = "a test states what it expects")]

use lab::{Api, Figures, Lab, Load, Node, Options, Plan, Shape, site, wait, wired};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

const PASSWORD: &str = "correct horse battery";
const PATIENCE: Duration = Duration::from_secs(30);
/// All requests together are at least so many.
const REQUESTS: u64 = 20_000;
/// Traffic between two changes, so that each change meets some.
const BETWEEN: u64 = 500;

struct Traffic {
    loads: Vec<Load>,
}

impl Traffic {
    /// Visitors with a connection for each request, and visitors who keep theirs.
    fn start(lab: &Lab) -> Self {
        let plan = |keep_alive| Plan {
            shape: Shape::Workers { count: 8, keep_alive },
            timeout: Duration::from_secs(10),
            ..Plan::steady(site())
        };
        let load = |keep_alive| Load::start(&lab.client(), plan(keep_alive)).unwrap();
        Self { loads: vec![load(false), load(true)] }
    }

    fn goes_on(&self) {
        for load in &self.loads {
            let seen = load.so_far();
            assert_eq!(seen.failed, 0, "{seen:?}");
            load.reach(seen.total + BETWEEN, PATIENCE).unwrap();
        }
    }

    fn total(&self) -> u64 {
        self.loads.iter().map(|l| l.so_far().total).sum()
    }
}

/// The entry of this name in a list of the settings document, made if there is none.
fn entry<'a>(document: &'a mut Value, list: &str, name: &str) -> &'a mut Value {
    let list = document[list].as_array_mut().unwrap();
    let at = list.iter().position(|e| e["name"] == name).unwrap_or_else(|| {
        list.push(json!({ "name": name }));
        list.len() - 1
    });
    list.get_mut(at).unwrap()
}

fn balance(api: &Api, algorithm: &str) {
    api.change(|d| {
        let backend = entry(d, "backends", "webservers");
        backend["web_nodes"] = json!(true);
        backend["balance"] = json!(algorithm);
    })
    .unwrap();
    wait::until(PATIENCE, algorithm, || {
        let now = api.stat("webservers", "BACKEND", "algo").map_err(|e| e.to_string())?;
        if now == algorithm { Ok(()) } else { Err(now) }
    })
    .unwrap();
}

fn server(api: &Api, change: &Value, field: &str, wanted: &str) {
    api.server("webservers", "web01-eth", change).unwrap();
    wait::until(PATIENCE, &change.to_string(), || {
        let now = api.stat("webservers", "web01-eth", field).map_err(|e| e.to_string())?;
        if now.starts_with(wanted) { Ok(()) } else { Err(now) }
    })
    .unwrap();
}

/// One balancer gets the change; the others have it from there.
fn on_all(apis: &[Api], edit: impl Fn(&mut Value)) {
    let (first, others) = apis.split_first().unwrap();
    first.change(&edit).unwrap();
    let (wanted, _) = first.settings().unwrap();
    for other in others {
        wait::until(PATIENCE, "the change on the other balancer", || {
            let (now, _) = other.settings().map_err(|e| e.to_string())?;
            if now == wanted { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .unwrap();
    }
}

fn floating(apis: &[Api], addresses: &[&str]) {
    on_all(apis, |d| entry(d, "vrrp", "VI_1")["addresses"] = json!(addresses));
}

#[test]
fn twenty_thousand_requests_do_not_notice_a_change_of_settings() {
    let lab = Lab::start(&Options::new(env!("CARGO_BIN_EXE_bramble")).password(PASSWORD)).unwrap();
    lab.wait_ready(PATIENCE).unwrap();
    lab.wait_holder("lbmaster", PATIENCE).unwrap();
    let api = |node: &str| Api::new(&lab, node, PASSWORD);
    let (master, webs) = (api("lbmaster"), [api("web01"), api("web02")]);
    let balancers = [api("lbmaster"), api("lbslave")];
    master.wait_servers(4, PATIENCE).unwrap();
    let pids = || lab::network::NODES.map(|n| Node::pid(&lab.node(n)).unwrap());
    let before = pids();
    let at = |last: u8, port: u16| SocketAddr::from(([192, 168, 1, last], port));

    let traffic = Traffic::start(&lab);
    traffic.goes_on();
    let mut rounds = 0;
    while rounds == 0 || traffic.total() < REQUESTS {
        balance(&master, "leastconn");
        traffic.goes_on();
        balance(&master, "static-rr");
        traffic.goes_on();
        balance(&master, "roundrobin");
        traffic.goes_on();
        server(&master, &json!({ "weight": 7 }), "weight", "7");
        traffic.goes_on();
        server(&master, &json!({ "weight": 1 }), "weight", "1");
        server(&master, &json!({ "state": "drain" }), "status", "DRAIN");
        traffic.goes_on();
        let during = || master.stat("webservers", "web01-eth", "lbtot").unwrap();
        let chosen = during();
        traffic.goes_on();
        assert_eq!(during(), chosen, "a server that is drained was chosen for new requests");
        server(&master, &json!({ "state": "ready" }), "status", "UP");
        traffic.goes_on();
        wait::until_true(PATIENCE, "a turn for it", || during() != chosen).unwrap();

        on_all(&balancers, |d| {
            let frontend = entry(d, "frontends", "alt");
            frontend["bind"] = json!(["floating:8081"]);
            frontend["default_backend"] = json!("webservers");
        });
        lab.wait_ok(at(15, 8081), "/", PATIENCE).unwrap();
        traffic.goes_on();
        on_all(&balancers, |d| {
            d["frontends"].as_array_mut().unwrap().retain(|f| f["name"] != "alt")
        });
        traffic.goes_on();
        wait::until_true(PATIENCE, "port 8081 to close", || {
            lab.wait_ok(at(15, 8081), "/", Duration::ZERO).is_err()
        })
        .unwrap();

        floating(&balancers, &["192.168.1.15/24", "192.168.1.16/24"]);
        lab.wait_ok(at(16, 80), "/", PATIENCE).unwrap();
        traffic.goes_on();
        floating(&balancers, &["192.168.1.15/24", "192.168.1.17/24"]);
        lab.wait_ok(at(17, 80), "/", PATIENCE).unwrap();
        wait::until_true(PATIENCE, ".16 to be let go", || lab.holders("192.168.1.16").is_empty())
            .unwrap();
        traffic.goes_on();
        floating(&balancers, &[]);
        wait::until_true(PATIENCE, ".17 to be let go", || lab.holders("192.168.1.17").is_empty())
            .unwrap();
        traffic.goes_on();

        for api in &webs {
            api.change(|d| {
                let exclude = &mut entry(d, "sites", "default")["mirror"]["exclude"];
                exclude.as_array_mut().unwrap().push(json!(format!("/private-{rounds}")));
            })
            .unwrap();
        }
        excluded(&lab, rounds);
        traffic.goes_on();
        rounds += 1;
    }
    assert_eq!(pids(), before, "a process was restarted");
    assert_eq!(lab.holders("192.168.1.15"), ["lbmaster"]);

    let title = format!("settings changing ({rounds} rounds)");
    let mut figures = Figures::new(env!("CARGO_TARGET_TMPDIR"), &title);
    let names = ["a connection for each request", "connections kept"];
    let reports: Vec<_> = traffic.loads.into_iter().map(|l| l.finish().unwrap()).collect();
    for (name, report) in names.into_iter().zip(&reports) {
        figures.row(name, report);
    }
    figures.publish().unwrap();
    assert!(reports.iter().map(|r| r.total).sum::<u64>() >= REQUESTS);
    assert!(reports.iter().all(|r| r.failed == 0), "{}", figures.text());
}

/// The new pattern holds: what it names stays on the origin, everything else is sent.
fn excluded(lab: &Lab, round: u32) {
    let (here, there) = (lab.node("web01").site(), lab.node("web02").site());
    fs::create_dir(here.join(format!("private-{round}"))).unwrap();
    fs::write(here.join(format!("public-{round}")), "for everybody").unwrap();
    let sent = there.join(format!("public-{round}"));
    wait::until_true(PATIENCE, "the public file", || sent.exists()).unwrap();
    assert!(!there.join(format!("private-{round}")).exists());
    let at = SocketAddr::from((wired("web02"), 80));
    lab.wait_ok(at, &format!("/public-{round}"), PATIENCE).unwrap();
}
