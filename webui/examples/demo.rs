//! The pages over the reference cluster in memory, for looking at them:
//! `cargo run -p webui --example demo [ADDR:PORT]`, password "demo password".
//! With `DEMO=trouble` some things are broken, with `DEMO=empty` nothing is set up,
//! with `DEMO=unclaimed` there is no password yet, with `DEMO=hand` it runs on somebody else's
//! Linux, with `DEMO=update` an update is under way, with `DEMO=wrong` every passphrase is wrong.
//! With `DEMO=first` it is a new board among others that wait to be adopted, with `DEMO=boards` it
//! is claimed already, with `DEMO=alone` it is and there are no others, with `DEMO=asked` a cluster
//! wants it; `DEMO_STEP_MS` is how long each step of an adoption takes.
//! With `DEMO=split` two halves of the cluster changed the same things and Web02 is away, with
//! `DEMO=trial` a new address is tried.
//! `DEMO_JOIN_MS` is how long joining a network takes.

#![allow(clippy::unwrap_used, reason = "a demo may fail loudly")]

#[path = "../tests/support/mod.rs"]
mod support;

use control::{Author, Change, Shutdown};
use model::status::{Health, SubsystemState, SubsystemStatus};
use model::{Edit, ServerState};
use webui::Credentials;

async fn change(node: &support::Node, edits: Vec<Edit>) {
    let author = Author::Operator("192.168.1.50".to_owned());
    node.control.submit(Change { base: None, author, edits }).await.unwrap();
}

fn server(name: &str, weight: Option<u64>, state: Option<ServerState>) -> Edit {
    Edit::SetServer {
        backend: "webservers".parse().unwrap(),
        server: name.parse().unwrap(),
        weight: weight.map(|w| model::Weight::new(w).unwrap()),
        state,
        health: None,
        agent: None,
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:1936".to_owned());
    let mode = std::env::var("DEMO").unwrap_or_default();
    let fresh = ["first", "asked", "boards", "alone"].contains(&mode.as_str());
    let node = match mode.as_str() {
        "empty" => support::node("lbmaster", model::Settings::default()),
        _ if fresh => support::node("pi-5eed00", support::fresh("pi-5eed00", "bramble-5eed00")),
        _ => support::node("lbmaster", support::demo::settings()),
    };
    if ["first", "boards"].contains(&mode.as_str()) {
        support::neighbourhood(&node);
    }
    if mode == "asked" {
        *node.neighbours.asked.lock().unwrap() = Some(model::status::Asked {
            cluster: "Reference".to_owned(),
            node: "LbMaster".to_owned(),
            code: "412908".to_owned(),
            blinks: 4,
        });
    }
    if !["unclaimed", "first", "asked"].contains(&mode.as_str()) {
        node.up.store((3 * 24 + 4) * 3_600_000, std::sync::atomic::Ordering::Relaxed);
        let hash = webui::hash_password("demo password").unwrap();
        node.password.set_password_hash(&hash).unwrap();
    }
    if mode != "empty" && !fresh {
        change(&node, vec![server("web01-wlan", Some(10), None)]).await;
        change(&node, vec![server("web02-wlan", None, Some(ServerState::Drain))]).await;
        let mut cluster = node.control.snapshot().settings.cluster.clone();
        cluster.dns.push("9.9.9.9".parse().unwrap());
        change(&node, vec![Edit::PutCluster(cluster)]).await;
    }
    if mode == "trouble" {
        node.board.notice("database", "The settings database was damaged and set aside as settings.db.damaged-1. This node started with the settings of LbSlave; look at History.");
        node.board.provide(|status| {
            let reason =
                "no answer from the kernel for wlan0: the dongle is gone. Plug it in again"
                    .to_owned();
            status.subsystems.insert(
                model::status::Subsystem::Network,
                SubsystemStatus {
                    revision: status.revision,
                    state: SubsystemState::Degraded { reason },
                },
            );
            for b in status.proxy.iter_mut().flat_map(|p| &mut p.backends) {
                for (i, s) in b.servers.iter_mut().enumerate() {
                    match i {
                        0 => {
                            (s.health, s.check.check_health) = (Health::Down, 0);
                            s.check.check_status = "L4CON".to_owned();
                            s.check.last_chk = "Connection refused".to_owned();
                            s.econ = 12;
                        }
                        1 => (s.health, s.check.check_health) = (Health::Down, 1),
                        2 => s.check.check_health = 3,
                        _ => s.state = ServerState::Maint,
                    }
                }
            }
        });
    } else {
        let split = mode == "split";
        // The others keep reporting.
        let (board, control) = (node.board.clone(), node.control.clone());
        tokio::spawn(async move {
            loop {
                let snapshot = control.snapshot();
                let reports = support::demo::reports(&snapshot).into_iter().skip(1);
                for report in reports.filter(|r| !split || r.status.id.as_str() != "web02") {
                    board.heard(report.status);
                }
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        });
    }
    let mut ports = node.ports.clone();
    *node.journal.lines.lock().unwrap() = (0..400)
        .map(|n| format!("2026-11-22T18:{:02}:{:02}.{:03}Z {} webui::gate: line {n} of the log, the operator signed in from=192.168.1.50", n / 60, n % 60, n * 7 % 1000, if n % 9 == 0 { " WARN" } else { " INFO" }))
        .collect();
    match mode.as_str() {
        "split" => {
            support::split(&node, true, true).await;
        }
        "trial" => node.board.provide(|status| {
            let trial = model::status::NetworkTrial {
                from: "192.168.1.14/24".to_owned(),
                to: "192.168.1.44/24".to_owned(),
                address: Some([192, 168, 1, 44].into()),
                state: model::status::TrialState::Trying {
                    seconds_left: 63,
                    reached_by: None,
                    waits_for: "it holds once another node, or you, got through".to_owned(),
                },
            };
            status.links[0].trial = Some(trial);
        }),
        "trouble" => {
            *node.journal.last_words.lock().unwrap() = Some("2026-11-22T17:59:58.120Z ERROR mirror: the scan failed\nthread 'data-1' panicked at appliance/mirror/src/scan.rs:120:9:\nindex out of bounds: the len is 0 but the index is 0".to_owned());
            node.board.provide(|status| support::demo::trouble(&mut status.system));
        }
        "wrong" => {
            *node.air.verdict.lock().unwrap() = model::status::WifiVerdict::WrongPassphrase;
        }
        "update" => node.board.provide(|status| {
            use model::status::FirmwareProgress::Writing;
            if let Some(firmware) = &mut status.system.firmware {
                firmware.progress = Some(Writing { done: 14_200_000, total: 33_554_432 });
            }
        }),
        // As on somebody else's Linux.
        "hand" => {
            ports.system = None;
            ports.radio = None;
            node.board.provide(|status| status.system = model::status::SystemStatus::default());
        }
        "unclaimed" => node.board.provide(|status| {
            let system = &mut status.system;
            system.firmware.iter_mut().for_each(|f| f.on_trial = true);
            system.wifi.iter_mut().for_each(|w| w.connected = None);
            system.setup.iter_mut().for_each(|s| (s.up, s.stations, s.reason) = (true, 1, None));
            status.links.iter_mut().for_each(|l| (l.running, l.addresses) = (false, Vec::new()));
        }),
        _ => {}
    }
    let listener = tokio::net::TcpListener::bind(&address).await.unwrap();
    println!("http://{address}/");
    let (_trigger, shutdown) = Shutdown::new();
    webui::serve(listener, ports, shutdown).await;
}
