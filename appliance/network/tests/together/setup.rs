//! The setup access point's services and a phone, in namespaces of their own. Needs root.

use crate::bench::{Lab, Running, bare, cidr, eventually, inside, options};
use model::status::DhcpStatus;
use network::Options;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

const OWN: Ipv4Addr = Ipv4Addr::new(192, 168, 19, 36);
const URL: &str = "http://192.168.19.36:1936/";

/// The node's wlan0 is the access point, the peer's eth0 the phone.
fn lab() -> Lab {
    let lab = Lab::new();
    lab.on("node", "ip link del eth0");
    lab.on("peer", "ip addr flush dev eth0");
    lab
}

/// Asks the name server for a name and returns flags and the answer section.
fn resolve(lab: &Lab, kind: u8) -> Option<(u16, Vec<u8>)> {
    let ask = move || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let mut question = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        question.extend(b"\x07captive\x05apple\x03com\x00");
        question.extend([0, kind, 0, 1]);
        socket.send_to(&question, (OWN, 53)).ok()?;
        let mut bytes = [0; 512];
        let (length, from) = socket.recv_from(&mut bytes).ok()?;
        assert_eq!(from.ip(), OWN);
        assert_eq!(bytes[..2], question[..2]);
        let flags = u16::from_be_bytes([bytes[2], bytes[3]]);
        Some((flags, bytes[question.len()..length].to_vec()))
    };
    inside(&lab.namespace("peer"), ask).join().unwrap()
}

#[test]
fn a_phone_gets_an_address_and_is_led_to_the_page() {
    let lab = lab();
    let (_folder, options) = options();
    let node = Running::with(&lab, Options { dhcp: true, ..options }, bare());
    node.handle.open_setup("wlan0", cidr("192.168.19.36/24"), URL);
    eventually("the address", || lab.addresses("wlan0").contains("192.168.19.36/24"));

    let (folder, options) = crate::bench::options();
    let options = Options { dhcp: true, host_name: None, ..options };
    let phone = Running::at(&lab, "peer", options, bare(), || {});
    let status = || phone.board.own().links.into_iter().find(|l| l.name == "eth0");
    eventually("a lease", || {
        let lent = DhcpStatus::Leased { server: OWN, seconds: Some(3600) };
        status().is_some_and(|s| s.dhcp == Some(lent) && !s.addresses.is_empty())
    });
    assert_eq!(status().unwrap().addresses, [cidr("192.168.19.50/24")]);
    eventually("the page's address", || lab.ping("peer", "192.168.19.36"));
    eventually("names", || resolve(&lab, 1).is_some());
    let (flags, answer) = resolve(&lab, 1).unwrap();
    assert_eq!((flags & 0x800f, &answer[answer.len() - 4..]), (0x8000, &OWN.octets()[..]));
    for kind in [28, 65] {
        assert_eq!(resolve(&lab, kind).unwrap(), (0x8580, vec![]), "no error and nothing in it");
    }
    eventually("its name server", || {
        let names = std::fs::read_to_string(folder.path().join("resolv.conf"));
        names.is_ok_and(|names| names.contains("nameserver 192.168.19.36\n"))
    });
    // The interface goes away and comes back, as when the radio is reset.
    lab.on("node", "ip link del wlan0");
    lab.plug("node", "wlan0");
    eventually("the address again", || lab.addresses("wlan0").contains("192.168.19.36/24"));
    eventually("names again", || resolve(&lab, 1).is_some());

    node.handle.close_setup("wlan0");
    eventually("gone", || lab.addresses("wlan0").is_empty());
    assert_eq!(resolve(&lab, 1), None);
}

#[test]
fn another_make_of_client_gets_one_too() {
    if !std::path::Path::new("/usr/bin/busybox").exists()
        && !std::path::Path::new("/bin/busybox").exists()
    {
        println!("busybox is not installed: not tried");
        return;
    }
    let lab = lab();
    let (folder, options) = options();
    let node = Running::with(&lab, options, bare());
    node.handle.open_setup("wlan0", cidr("192.168.19.36/24"), URL);
    eventually("the address", || lab.addresses("wlan0").contains("192.168.19.36/24"));
    lab.on("peer", "ip link set eth0 up");
    // It runs a script with what it was told in the environment.
    let (script, told) = (folder.path().join("script"), folder.path().join("told"));
    let text = format!("#!/bin/sh\n[ \"$1\" = bound ] && env > {}\nexit 0\n", told.display());
    std::fs::write(&script, text).unwrap();
    Command::new("chmod").arg("+x").arg(&script).status().unwrap();
    // -B asks for broadcast answers; without it they come to its hardware address.
    for broadcast in [&[][..], &["-B"]] {
        let _ = std::fs::remove_file(&told);
        let client = ["busybox", "udhcpc", "-i", "eth0", "-q", "-n", "-f", "-t", "5", "-T", "1"];
        let mut ip = Command::new("ip");
        ip.args(["netns", "exec", &lab.namespace("peer")]).args(client).args(["-O", "114", "-s"]);
        ip.arg(&script).args(broadcast).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(ip.status().unwrap().success(), "{broadcast:?}");
        let told = std::fs::read_to_string(&told).unwrap();
        let line = |key: &str| {
            let found = told.lines().find_map(|l| l.strip_prefix(&format!("{key}=")));
            found.unwrap_or_default().to_owned()
        };
        assert_eq!((line("ip"), line("mask")), ("192.168.19.50".to_owned(), "24".to_owned()));
        assert_eq!((line("router"), line("dns")), (OWN.to_string(), OWN.to_string()));
        assert_eq!(line("lease"), "3600");
        let hex: String = URL.bytes().map(|b| format!("{b:02x}")).collect();
        assert_eq!(line("opt114"), hex);
    }
}

#[test]
fn it_is_opened_again_at_once() {
    let lab = lab();
    let (_folder, options) = options();
    let node = Running::with(&lab, options, bare());
    let mut times = Vec::new();
    while !times.iter().any(|took| *took < Duration::from_secs(2)) {
        // The machine may stand still during some of them.
        assert!(times.len() < 4, "{times:?}");
        let begun = std::time::Instant::now();
        for last in [36, 37, 36, 38] {
            let address = format!("192.168.19.{last}/24");
            node.handle.open_setup("wlan0", cidr(&address), URL);
            eventually("the address", || {
                lab.addresses("wlan0") == BTreeSet::from([address.clone()])
            });
            node.handle.close_setup("wlan0");
        }
        times.push(begun.elapsed());
    }
    eventually("gone", || lab.addresses("wlan0").is_empty());
}

#[test]
fn a_network_of_the_settings_is_back_after_the_setup() {
    let lab = Lab::new();
    let (_folder, options) = options();
    let node = Running::start(&lab, options);
    node.applied();
    node.handle.open_setup("wlan0", cidr("192.168.19.36/24"), URL);
    let only = |address: &str| BTreeSet::from([address.to_owned()]);
    eventually("setup alone", || lab.addresses("wlan0") == only("192.168.19.36/24"));
    assert_eq!(node.handle.address("eth0"), Some(Ipv4Addr::new(192, 168, 1, 10)));
    eventually("none of its own", || node.handle.address("wlan0").is_none());
    eventually("the rest goes on", || lab.ping("peer", "192.168.1.10"));
    node.handle.close_setup("wlan0");
    eventually("as before", || lab.addresses("wlan0") == only("192.168.1.20/24"));
    node.applied();
    assert_eq!(node.handle.address("wlan0"), Some(Ipv4Addr::new(192, 168, 1, 20)));
}
