//! One balancer's VRRP alone, as a process: the test program itself, started again with
//! `BALANCER=NODE` and `SETTINGS=FILE`.
//!
//! It reads commands from standard input (`failover NAME`, `tracked true|false`, `reload`,
//! `status`) and answers line by line. With `WILL=FILE` it keeps its testament there. With
//! `GUARDED=1` it runs the same as a child and carries out the testament when the child is
//! killed: the toy of what PID 1 does, and as ignorant of VRRP.

use super::netlink::Netlink;
use control::{Shutdown, Snapshot, StatusBoard};
use model::status::Subsystem;
use model::{Cidr, Name, NodeId, Revision, Settings};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Command, exit};
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use vrrp::{Addresses, LastWill, Testament};

/// A file in which the whole will is one line per testament.
struct WillFile(String);

impl LastWill for WillFile {
    fn write(&mut self, will: &[Testament]) {
        let mut text = String::new();
        for t in will {
            let hex: String = t.farewell.iter().map(|b| format!("{b:02x}")).collect();
            let vips: Vec<String> = t.addresses.iter().map(Cidr::to_string).collect();
            writeln!(text, "{} {} {} {}", t.interface, t.source, hex, vips.join(",")).unwrap();
        }
        std::fs::write(&self.0, text).unwrap();
    }
}

/// The arguments that make this program the process and nothing else.
pub(crate) const ARGUMENTS: [&str; 4] = ["balancer_process", "--exact", "--ignored", "--nocapture"];

fn guardian(will: &str) -> ! {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(ARGUMENTS)
        .env_remove("GUARDED")
        .env("WILL", will)
        .spawn()
        .unwrap();
    let status = child.wait().unwrap();
    if status.success() {
        exit(0);
    }
    let mut addresses = Netlink::new().unwrap();
    for line in std::fs::read_to_string(will).unwrap().lines() {
        let [interface, source, farewell, vips] =
            line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let pdu: Vec<u8> = (0..farewell.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&farewell[i..i + 2], 16).unwrap())
            .collect();
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::RAW, Some(112.into()))
                .unwrap();
        socket.bind_device(Some(interface.as_bytes())).unwrap();
        socket.set_multicast_ttl_v4(255).unwrap();
        socket.set_multicast_if_v4(&source.parse::<Ipv4Addr>().unwrap()).unwrap();
        let group = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 18), 0);
        socket.send_to(&pdu, &group.into()).unwrap();
        for vip in vips.split(',') {
            addresses.remove(interface, vip.parse().unwrap()).unwrap();
        }
    }
    println!("executed");
    exit(0);
}

fn load(path: &str) -> Settings {
    let text = std::fs::read_to_string(path).unwrap();
    model::from_toml(&text, &Settings::default()).unwrap_or_else(|problems| {
        eprintln!("{problems:?}");
        exit(2)
    })
}

/// Does nothing unless started as described above.
pub(crate) fn main() {
    let (Ok(node), Ok(path)) = (std::env::var("BALANCER"), std::env::var("SETTINGS")) else {
        return;
    };
    println!();
    if std::env::var("GUARDED").is_ok() {
        guardian(&format!("{path}.{node}.will"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(balancer(&node, &path));
}

async fn balancer(node: &str, path: &str) {
    let node: NodeId = node.parse().unwrap();
    let mut revision = 1;
    let (publish, snapshots) = Snapshot::new(Revision(revision), load(path), &node).channel();
    let (tracked, works) = watch::channel(true);
    let board = StatusBoard::new(node.clone(), "test");
    let (_trigger, shutdown) = Shutdown::new();
    let will: Box<dyn LastWill> = match std::env::var("WILL") {
        Ok(file) => Box::new(WillFile(file)),
        Err(_) => Box::new(()),
    };
    let handle = vrrp::start(
        snapshots,
        works,
        Box::new(Netlink::new().unwrap()),
        will,
        board.reporter(Subsystem::Vrrp),
        shutdown,
    );
    println!("pid {}", std::process::id());
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    let (line, mut lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || std::io::stdin().lines().try_for_each(|l| line.send(l.unwrap())));
    let mut changes = board.changes();
    let mut open = true;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = changes.changed() => {
                let states: Vec<_> =
                    handle.status().iter().map(|s| s.state.keyword()).collect();
                println!("states {}", states.join(" "));
            }
            line = lines.recv(), if open => {
                let Some(line) = line else { open = false; continue };
                let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
                match verb {
                    "status" => {
                        println!("status {}", serde_json::to_string(&handle.status()).unwrap());
                        println!("report {:?}", board.own().subsystems);
                    }
                    "tracked" => { tracked.send_replace(rest == "true"); }
                    "reload" => {
                        revision += 1;
                        let next = Snapshot::new(Revision(revision), load(path), &node);
                        publish.send_replace(Arc::new(next));
                    }
                    "failover" => {
                        let name: Name = rest.parse().unwrap();
                        match handle.failover(&name).await {
                            Ok(report) => println!("moved {} {}", report.holder, report.gap_ms),
                            Err(error) => println!("refused {error}"),
                        }
                    }
                    other => panic!("unknown command {other}"),
                }
            }
        }
    }
    handle.stop().await;
    println!("stopped");
}
