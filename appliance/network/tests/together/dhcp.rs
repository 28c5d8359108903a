//! The DHCP client against servers in another network namespace. Needs root.

use crate::bench::{Lab, Running, bare, cidr, eventually, options};
use crate::dhcpd::{DECLINE, DISCOVER, Manners, REQUEST, Server};
use model::Settings;
use model::status::{DhcpStatus, SubsystemState};
use network::{LeaseMemory, Options};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longer than it takes until a board helps itself to an address.
const LONG: Duration = Duration::from_secs(30);

fn within(patience: Duration, what: &str, mut done: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < patience, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
    begun.elapsed()
}

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 1, last)
}

fn dhcp() -> (tempfile::TempDir, Options) {
    let (folder, options) = options();
    (folder, Options { dhcp: true, ..options })
}

/// A lab of which only eth0 is used.
fn wired() -> Lab {
    let lab = Lab::new();
    lab.on("node", "ip link del wlan0");
    lab
}

fn has(lab: &Lab, interface: &str, address: &str) -> bool {
    lab.addresses(interface) == BTreeSet::from([address.to_owned()])
}

fn eth0(node: &Running) -> Option<DhcpStatus> {
    node.board.own().links.into_iter().find(|l| l.name == "eth0")?.dhcp
}

fn leased(seconds: u32) -> Option<DhcpStatus> {
    Some(DhcpStatus::Leased { server: ip(1), seconds: Some(seconds) })
}

/// Whatever the server calls itself.
fn lent_for(node: &Running, wanted: u32) -> bool {
    matches!(eth0(node), Some(DhcpStatus::Leased { seconds: Some(s), .. }) if s == wanted)
}

#[test]
fn two_interfaces_get_leases_and_keep_apart() {
    let lab = Lab::new();
    let server = Server::start(&lab, Manners::default());
    let (folder, options) = dhcp();
    lab.on("node", "ip link set wlan0 up"); // as wpa_supplicant does
    let begun = Instant::now();
    let node = Running::with(&lab, options, bare());
    eventually("two leases", || {
        lab.addresses("eth0").len() == 1 && lab.addresses("wlan0").len() == 1
    });
    println!("two leases after {:?}", begun.elapsed());
    node.applied();
    assert_eq!(eth0(&node), leased(3600));
    assert!(server.heard().iter().all(|h| h.host_name.as_deref() == Some("Web01")));
    let own = lab.addresses("eth0").into_iter().chain(lab.addresses("wlan0"));
    let own: BTreeSet<String> = own.collect();
    assert_eq!(own, BTreeSet::from(["192.168.1.50/24", "192.168.1.51/24"].map(str::to_owned)));
    let routes = lab.on("node", "ip route show table main");
    assert!(routes.contains("default via 192.168.1.1 dev eth0") && routes.contains("metric 100"));
    assert!(routes.contains("default via 192.168.1.1 dev wlan0") && routes.contains("metric 110"));
    assert!(lab.on("node", "ip rule").contains("lookup 184"), "replies leave where they came in");
    eventually("beyond the router", || lab.ping("node", "10.9.9.9"));
    assert!(lab.on("node", "ip route get 10.9.9.9").contains("dev eth0"));
    eventually("the name servers", || {
        let names = std::fs::read_to_string(folder.path().join("resolv.conf")).unwrap();
        names.contains("nameserver 192.168.1.1\n") && names.contains("search example.lan\n")
    });

    lab.on("switch", "ip link set node-eth0 down");
    eventually("over the radio", || lab.on("node", "ip route get 10.9.9.9").contains("dev wlan0"));
    eventually("beyond the router", || lab.ping("node", "10.9.9.9"));
    node.applied();
}

#[test]
fn static_addresses_win_and_a_change_of_mind_is_followed() {
    let lab = wired();
    let _server = Server::start(&lab, Manners::default());
    let (folder, options) = dhcp();
    let mut node = Running::start(&lab, options);
    eventually("static", || has(&lab, "eth0", "192.168.1.10/24"));
    assert_eq!(eth0(&node), None);
    node.change(|s| *s = bare());
    eventually("leased", || has(&lab, "eth0", "192.168.1.50/24"));
    node.applied();
    node.change(|s| {
        s.nodes[0].eth0.address = Some(cidr("192.168.1.33/24"));
        s.cluster.dns = vec![ip(9)];
    });
    eventually("static again", || has(&lab, "eth0", "192.168.1.33/24"));
    node.applied();
    let routes = lab.on("node", "ip -4 route show table all");
    assert!(!routes.contains("192.168.1.50") && !routes.contains("metric 100"), "{routes}");
    eventually("the name servers", || {
        let names = std::fs::read_to_string(folder.path().join("resolv.conf")).unwrap();
        names.contains("nameserver 192.168.1.9\n") && !names.contains("192.168.1.1\n")
    });
}

#[test]
fn without_the_option_nothing_is_asked() {
    let lab = wired();
    let server = Server::start(&lab, Manners::default());
    let (_folder, options) = options();
    let node = Running::with(&lab, options, bare());
    node.applied();
    lab.on("node", "ip link set eth0 up");
    std::thread::sleep(Duration::from_secs(2)); // what is counted is how little happens in it
    assert_eq!((server.heard().len(), eth0(&node)), (0, None));
    assert!(lab.addresses("eth0").is_empty());
}

#[test]
fn a_short_lease_is_renewed_and_lost_when_the_server_vanishes() {
    let lab = wired();
    let server = Server::start(&lab, Manners { seconds: 12, ..Manners::default() });
    let (_folder, options) = dhcp();
    let node = Running::with(&lab, options, bare());
    eventually("leased", || has(&lab, "eth0", "192.168.1.50/24"));
    // Renewals go to the server alone and name the address in ciaddr.
    let renewals = || {
        let all = server.heard();
        all.iter().filter(|h| h.kind == REQUEST && h.ciaddr == ip(50)).count()
    };
    within(LONG, "three renewals", || renewals() >= 3);
    assert_eq!(server.count(DISCOVER), 1);
    assert!(has(&lab, "eth0", "192.168.1.50/24"));
    server.behave(|m| m.silent = true);
    let gone = within(LONG, "gone", || lab.addresses("eth0").is_empty());
    assert!(gone < Duration::from_secs(14), "{gone:?}");
    node.degraded("no DHCP server has answered on eth0 yet");
    assert!(!lab.on("node", "ip -4 route show table all").contains("default"));
    // It is back, and so is the address.
    server.behave(|m| m.silent = false);
    within(LONG, "leased again", || has(&lab, "eth0", "192.168.1.50/24"));
    node.applied();
}

#[test]
fn a_server_that_refuses_gives_another_address() {
    let lab = wired();
    let server = Server::start(&lab, Manners { seconds: 10, ..Manners::default() });
    let (_folder, options) = dhcp();
    let node = Running::with(&lab, options, bare());
    eventually("leased", || has(&lab, "eth0", "192.168.1.50/24"));
    node.applied();
    // Its database is lost, and the network is numbered anew.
    server.behave(|m| m.first = ip(80));
    server.forget();
    within(LONG, "another address", || has(&lab, "eth0", "192.168.1.80/24"));
    eventually("it works", || lab.ping("peer", "192.168.1.80"));
    // And one that refuses everything is asked ever less often.
    server.behave(|m| m.refuses = true);
    within(LONG, "refused", || lab.addresses("eth0").is_empty());
    let before = server.count(DISCOVER);
    std::thread::sleep(Duration::from_secs(5));
    let more = server.count(DISCOVER) - before;
    assert!(more <= 8, "{more} questions in 5 s");
}

#[test]
fn a_cable_that_is_pulled_and_back_keeps_the_address() {
    let lab = wired();
    let server = Server::start(&lab, Manners::default());
    let (_folder, options) = dhcp();
    let node = Running::with(&lab, options, bare());
    eventually("leased", || has(&lab, "eth0", "192.168.1.50/24"));
    node.applied();
    lab.on("switch", "ip link set node-eth0 down");
    eventually("it is said", || eth0(&node) == leased(3600) && !node.board.own().links[0].running);
    node.degraded("eth0 has no cable");
    assert!(has(&lab, "eth0", "192.168.1.50/24"));
    let asked = server.heard().len();
    lab.on("switch", "ip link set node-eth0 up");
    eventually("asked for again", || server.heard().len() > asked);
    let question = server.heard()[asked].clone();
    assert_eq!((question.kind, question.requested), (REQUEST, Some(ip(50))));
    node.applied();
    eventually("it works", || lab.ping("peer", "192.168.1.50"));

    // Into another network: the old address is refused, and a new one is there soon.
    lab.on("switch", "ip link set node-eth0 down");
    eventually("no cable", || !node.board.own().links[0].running);
    server.behave(|m| m.first = ip(90));
    server.forget();
    lab.on("switch", "ip link set node-eth0 up");
    within(LONG, "another address", || has(&lab, "eth0", "192.168.1.90/24"));
}

#[test]
fn an_address_somebody_uses_is_declined() {
    let lab = wired();
    lab.on("peer", "ip addr add 192.168.1.50/24 dev eth0");
    let server = Server::start(&lab, Manners::default());
    let (_folder, options) = dhcp();
    let _node = Running::with(&lab, options, bare());
    eventually("declined", || server.count(DECLINE) == 1);
    assert_eq!(server.heard().last().unwrap().requested, Some(ip(50)));
    assert!(lab.addresses("eth0").is_empty());
    within(LONG, "another address", || has(&lab, "eth0", "192.168.1.51/24"));
}

#[test]
fn a_cable_to_a_notebook_is_enough() {
    let lab = wired();
    lab.on("peer", "ip addr add 169.254.7.7/16 dev eth0");
    let (_folder, options) = dhcp();
    let begun = Instant::now();
    let node = Running::with(&lab, options, bare());
    node.degraded("no DHCP server has answered on eth0 yet");
    within(LONG, "link-local", || eth0(&node) == Some(DhcpStatus::LinkLocal));
    let took = begun.elapsed();
    println!("link-local after {took:?}");
    assert!(took > Duration::from_secs(9) && took < Duration::from_secs(16), "{took:?}");
    eventually("it is set", || lab.addresses("eth0").len() == 1);
    let address = lab.addresses("eth0").pop_first().unwrap();
    assert!(address.starts_with("169.254.") && address.ends_with("/16"), "{address}");
    node.degraded("reaches only what is on the same cable");
    let address = address.strip_suffix("/16").unwrap().to_owned();
    eventually("it works", || lab.ping("peer", &address));
    // A server appears after all.
    let _server = Server::start(&lab, Manners::default());
    within(LONG + LONG, "leased", || has(&lab, "eth0", "192.168.1.50/24"));
    node.applied();
}

#[test]
fn a_killed_process_finds_its_lease_again() {
    let lab = wired();
    let server = Server::start(&lab, Manners::default());
    let (_folder, options) = dhcp();
    let node = Running::with(&lab, options.clone(), bare());
    eventually("leased", || has(&lab, "eth0", "192.168.1.50/24"));
    node.applied();
    let routes = lab.on("node", "ip -4 route show table all");
    node.stop();
    let asked = server.heard().len();
    let node = Running::with(&lab, options, bare());
    for _ in 0..150 {
        assert!(has(&lab, "eth0", "192.168.1.50/24"), "not for a moment is it gone");
        std::thread::sleep(Duration::from_millis(10));
    }
    node.applied();
    assert_eq!(eth0(&node), leased(3600));
    assert_eq!(lab.on("node", "ip -4 route show table all"), routes);
    let question = server.heard()[asked].clone();
    assert_eq!((question.kind, question.requested), (REQUEST, Some(ip(50))));
}

#[derive(Default)]
struct Memory(Mutex<Vec<(String, Ipv4Addr)>>);

impl LeaseMemory for Memory {
    fn recall(&self, interface: &str) -> Option<Ipv4Addr> {
        let kept = self.0.lock().unwrap();
        kept.iter().rev().find(|(name, _)| name == interface).map(|(_, address)| *address)
    }

    fn keep(&self, interface: &str, address: Ipv4Addr) {
        self.0.lock().unwrap().push((interface.to_owned(), address));
    }
}

#[test]
fn a_lease_is_remembered_and_seldom_written() {
    let lab = wired();
    let server = Server::start(&lab, Manners { seconds: 10, ..Manners::default() });
    let memory = Arc::new(Memory::default());
    let (_folder, options) = dhcp();
    let options = Options { lease_memory: Some(memory.clone()), ..options };
    let node = Running::with(&lab, options.clone(), bare());
    eventually("leased", || has(&lab, "eth0", "192.168.1.50/24"));
    within(LONG, "renewed", || server.heard().iter().any(|h| h.ciaddr == ip(50)));
    assert_eq!(*memory.0.lock().unwrap(), [("eth0".to_owned(), ip(50))], "once, not each time");
    node.stop();
    lab.on("node", "ip addr flush dev eth0"); // as after a power cut
    let asked = server.heard().len();
    let _node = Running::with(&lab, options, bare());
    eventually("leased", || has(&lab, "eth0", "192.168.1.50/24"));
    let question = server.heard()[asked].clone();
    assert_eq!((question.kind, question.requested), (REQUEST, Some(ip(50))));
    assert_eq!(server.count(DISCOVER), 1);
}

#[test]
fn a_reserved_interface_is_left_alone() {
    let lab = wired();
    let _server = Server::start(&lab, Manners::default());
    let (_folder, options) = dhcp();
    let node = Running::with(&lab, options, bare());
    eventually("leased", || has(&lab, "eth0", "192.168.1.50/24"));
    node.handle.reserve("eth0");
    eventually("gone", || lab.addresses("eth0").is_empty() && eth0(&node).is_none());
    node.handle.give_back("eth0");
    eventually("leased", || has(&lab, "eth0", "192.168.1.50/24"));
}

#[test]
fn a_board_that_is_in_no_settings_gets_an_address() {
    let lab = wired();
    let server = Server::start(&lab, Manners::default());
    let (_folder, options) = dhcp();
    let node = Running::with(&lab, options, Settings::default());
    eventually("leased", || has(&lab, "eth0", "192.168.1.50/24"));
    eventually("applied", || {
        let all = node.board.own().subsystems;
        all.values().any(|s| s.state == SubsystemState::Applied)
    });
    assert_eq!(server.heard()[0].host_name.as_deref(), Some("web01"));
}

/// A foreign server in the peer's namespace, killed when dropped.
struct Foreign(Child);

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn foreign(lab: &Lab, program: &str, arguments: &[&str]) -> Option<Foreign> {
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(program).exists())
    });
    if !found {
        println!("{program} is not installed: not tried");
        return None;
    }
    let mut ip = Command::new("ip");
    ip.args(["netns", "exec", &lab.namespace("peer"), program]).args(arguments);
    Some(Foreign(ip.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()))
}

#[test]
fn dnsmasq_lends_and_renews() {
    let lab = wired();
    let folder = tempfile::tempdir().unwrap();
    let leases = folder.path().join("leases");
    let file = format!("--dhcp-leasefile={}", leases.display());
    let arguments = [
        "--keep-in-foreground",
        "--port=0",
        "--conf-file=/dev/null",
        "--user=root",
        "--interface=eth0",
        "--bind-interfaces",
        "--dhcp-range=192.168.1.60,192.168.1.69,255.255.255.0,2m",
        "--dhcp-option=option:T1,4",
        "--dhcp-option=option:T2,60",
        "--dhcp-option=option:ntp-server,192.168.1.1",
        "--dhcp-authoritative",
        &file,
    ];
    let Some(server) = foreign(&lab, "dnsmasq", &arguments) else { return };
    let (_folder, options) = dhcp();
    let node = Running::with(&lab, options.clone(), bare());
    eventually("leased", || lab.addresses("eth0").len() == 1);
    node.applied();
    assert!(lent_for(&node, 120));
    let address = lab.addresses("eth0").pop_first().unwrap();
    let first = std::fs::read_to_string(&leases).unwrap();
    assert!(first.contains(address.trim_end_matches("/24")) && first.contains("Web01"), "{first}");
    within(LONG, "renewed", || std::fs::read_to_string(&leases).unwrap() != first);
    assert!(has(&lab, "eth0", &address));
    // Restarted without its memory, it refuses what it does not know (authoritative).
    drop((server, node));
    std::fs::write(&leases, "").unwrap();
    lab.on("node", "ip addr flush dev eth0");
    let memory = Arc::new(Memory::default());
    memory.keep("eth0", Ipv4Addr::new(10, 1, 2, 3));
    let _server = foreign(&lab, "dnsmasq", &arguments).unwrap();
    let options = Options { lease_memory: Some(memory), ..options };
    let _node = Running::with(&lab, options, bare());
    eventually("leased", || lab.addresses("eth0").iter().any(|a| a.starts_with("192.168.1.6")));
}

#[test]
fn udhcpd_lends() {
    let lab = wired();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let settings = format!(
        "start 192.168.1.60\nend 192.168.1.69\ninterface eth0\nlease_file {}\npidfile {}\n\
         option subnet 255.255.255.0\noption router 192.168.1.1\noption dns 192.168.1.1\n\
         option lease 600\n",
        path("leases"),
        path("pid")
    );
    std::fs::write(folder.path().join("leases"), "").unwrap();
    std::fs::write(folder.path().join("udhcpd.conf"), settings).unwrap();
    let Some(_server) = foreign(&lab, "udhcpd", &["-f", &path("udhcpd.conf")]) else { return };
    let (_folder, options) = dhcp();
    let node = Running::with(&lab, options, bare());
    within(LONG, "leased", || lent_for(&node, 600) && lab.addresses("eth0").len() == 1);
    eventually("it works", || lab.ping("node", "10.9.9.9"));
}
