//! Addresses that others have, and what a round of tries finds, in network namespaces. Needs root.

use crate::bench::{Lab, Running, eventually, inside, options};
use model::status::{AddressConflict, SubsystemState, Try};
use network::Options;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

fn conflict(node: &Running) -> Option<AddressConflict> {
    let links = node.handle.links();
    links.into_iter().find(|l| l.name == "eth0")?.conflict
}

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 1, last)
}

#[test]
fn a_board_keeps_off_an_address_that_somebody_has() {
    let lab = Lab::new();
    lab.on("peer", "ip addr add 192.168.1.10/24 dev eth0");
    let (_folder, options) = options();
    let mut node = Running::start(&lab, options);
    let mac = lab.mac("peer", "eth0");
    let expected = AddressConflict { address: ip(10), mac: mac.clone(), used: false };
    eventually("the conflict", || conflict(&node) == Some(expected.clone()));
    eventually("the radio's address", || lab.addresses("wlan0").contains("192.168.1.20/24"));
    assert!(lab.addresses("eth0").is_empty());
    let Some(SubsystemState::Degraded { reason }) = node.state() else {
        panic!("{:?}", node.state())
    };
    assert!(reason.contains("192.168.1.10") && reason.contains(&mac), "{reason}");
    // Another address is tried at once.
    node.change(|s| s.nodes[0].eth0.address = Some("192.168.1.13/24".parse().unwrap()));
    eventually("the other address", || lab.addresses("eth0").contains("192.168.1.13/24"));
    node.applied();
    assert_eq!(conflict(&node), None);
    // A taken one in its place: the one before stays.
    node.change(|s| s.nodes[0].eth0.address = Some("192.168.1.10/24".parse().unwrap()));
    eventually("the conflict again", || conflict(&node) == Some(expected.clone()));
    assert!(lab.addresses("eth0").contains("192.168.1.13/24"));
    assert!(!lab.addresses("eth0").contains("192.168.1.10/24"));
    node.stop();
}

#[test]
fn somebody_who_takes_an_address_later_is_named() {
    let lab = Lab::new();
    let (_folder, options) = options();
    let node = Running::start(&lab, options);
    node.applied();
    assert_eq!(conflict(&node), None);
    lab.on("peer", "ip addr add 192.168.1.10/32 dev eth0");
    // It says so itself when it asks for anybody from there.
    let asks = "ping -c 1 -W 1 -I 192.168.1.10 192.168.1.77";
    let namespace = lab.namespace("peer");
    let _ = std::process::Command::new("ip")
        .args(format!("netns exec {namespace} {asks}").split_whitespace())
        .output();
    let mac = lab.mac("peer", "eth0");
    let expected = AddressConflict { address: ip(10), mac, used: true };
    eventually("the conflict", || conflict(&node) == Some(expected.clone()));
    assert!(lab.addresses("eth0").contains("192.168.1.10/24"), "it is not given up");
    node.stop();
}

/// Answers every question with "no such name", or refuses.
fn name_server(lab: &Lab, at: Ipv4Addr, outcome: u8) {
    let (ready, wait) = std::sync::mpsc::channel();
    inside(&lab.namespace("peer"), move || {
        let socket = UdpSocket::bind((at, 53)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        ready.send(()).unwrap();
        let mut bytes = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut bytes) {
            (bytes[2], bytes[3]) = (0x80, outcome);
            socket.send_to(&bytes[..length], from).unwrap();
        }
    });
    wait.recv().unwrap();
}

#[test]
fn a_round_of_tries_finds_what_is_there() {
    let lab = Lab::new();
    lab.on("peer", "ip addr add 9.9.9.9/32 dev lo");
    let (ready, wait) = std::sync::mpsc::channel();
    inside(&lab.namespace("peer"), move || {
        let listener = TcpListener::bind("10.9.9.9:4711").unwrap();
        ready.send(()).unwrap();
        let accepted = listener.accept();
        std::thread::sleep(Duration::from_secs(5));
        drop(accepted);
    });
    wait.recv().unwrap();
    name_server(&lab, ip(1), 3);
    name_server(&lab, Ipv4Addr::new(9, 9, 9, 9), 5);
    let (_folder, options) = options();
    let internet = vec![
        SocketAddrV4::new(Ipv4Addr::new(10, 9, 9, 9), 4711),
        SocketAddrV4::new(ip(77), 4711), // nobody
    ];
    let mut node = Running::start(&lab, Options { internet, ..options });
    node.change(|s| {
        let mut other = s.nodes[0].clone();
        (other.id, other.name) = ("web02".parse().unwrap(), "Web02".parse().unwrap());
        other.eth0.address = Some("192.168.1.100/24".parse().unwrap());
        other.wlan0.address = None;
        s.nodes.push(other);
    });
    node.applied();
    let begun = Instant::now();
    let handle = node.handle.clone();
    let found = node.block(async move { handle.check().await });
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());

    let gateways: Vec<_> =
        found.gateways.iter().map(|g| (g.interface.as_str(), g.answer.is_good())).collect();
    assert_eq!(gateways, [("eth0", true), ("wlan0", true)], "{found:?}");
    assert_eq!(found.name_servers.len(), 2);
    assert!(found.name_servers[0].answer.is_good(), "{found:?}");
    let refused = "it refuses to answer this node".to_owned();
    assert_eq!(found.name_servers[1].answer, Try::Failed { why: refused });
    assert!(found.internet.is_good(), "{found:?}");
    assert_eq!(found.time_servers, [], "this node keeps no time");
    // The port is closed there, which is an answer all the same.
    assert_eq!(found.peers.len(), 1);
    assert!(matches!(&found.peers[0].answer, Try::Failed { why } if why.contains("refused")));
    assert_eq!(found.duplicates, []);
    lab.on("peer", "ip addr add 192.168.1.20/32 dev eth0");
    let handle = node.handle.clone();
    let found = node.block(async move { handle.check().await });
    let doubles: Vec<_> = found.duplicates.iter().map(|d| (d.address, d.mac.clone())).collect();
    assert_eq!(doubles, [(ip(20), lab.mac("peer", "eth0"))]);

    let handle = node.handle.clone();
    let who =
        node.block(async move { [handle.who_has(ip(100)).await, handle.who_has(ip(99)).await] });
    assert_eq!(who, [Ok(Some(lab.mac("peer", "eth0"))), Ok(None)]);
    let handle = node.handle.clone();
    let far = node.block(async move { handle.who_has(Ipv4Addr::new(172, 16, 0, 1)).await });
    assert!(far.unwrap_err().contains("172.16.0.1"));
    node.stop();
}
