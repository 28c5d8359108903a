//! The real kernel: a node with eth0 and wlan0 in one subnet, and a peer that is also the
//! router, on a bridge, each in a network namespace of its own. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests are tests")]

use bench::{Lab, Running, cidr, eventually, inside, options};
use model::status::SubsystemState;
use network::Kernel;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

mod bench;
mod sniff;

#[test]
fn two_interfaces_in_one_subnet_keep_apart() {
    let lab = Lab::new();
    let (folder, options) = options();
    let node = Running::start(&lab, options);
    node.applied();
    assert_eq!(lab.addresses("eth0"), BTreeSet::from(["192.168.1.10/24".to_owned()]));
    assert_eq!(lab.addresses("wlan0"), BTreeSet::from(["192.168.1.20/24".to_owned()]));
    assert!(lab.on("node", "ip rule").contains("from 192.168.1.20 lookup 184"));

    let (wired, wireless) = (lab.mac("node", "eth0"), lab.mac("node", "wlan0"));
    for (address, mac) in [("192.168.1.10", &wired), ("192.168.1.20", &wireless)] {
        // ARP is answered by the interface that has the address, and by no other.
        let target = address.parse().unwrap();
        let who = inside(&lab.namespace("peer"), move || {
            sniff::arp("eth0", Ipv4Addr::new(192, 168, 1, 100), target)
        });
        assert_eq!(who.join().unwrap(), BTreeSet::from([mac.clone()]), "ARP for {address}");

        // And what answers from it leaves through it, on the subnet and beyond the router.
        for source in ["192.168.1.100", "10.9.9.9"] {
            let (ready, listening) = mpsc::channel();
            let from = inside(&lab.namespace("peer"), move || {
                sniff::source_of_packets("eth0", target, &ready)
            });
            listening.recv().unwrap();
            assert!(lab.ping("peer", &format!("-I {source} {address}")), "{source} to {address}");
            assert_eq!(from.join().unwrap(), *mac, "{address} to {source}");
        }
    }
    // Nothing asked for: the wire is preferred.
    assert!(lab.on("node", "ip route get 10.9.9.9").contains("dev eth0 src 192.168.1.10"));

    let links = node.board.own().links;
    assert_eq!(links.len(), 2);
    assert_eq!((links[0].name.as_str(), links[0].running), ("eth0", true));
    assert_eq!((&links[0].mac, &links[0].addresses), (&wired, &vec![cidr("192.168.1.10/24")]));

    let names = std::fs::read_to_string(folder.path().join("resolv.conf")).unwrap();
    assert!(names.contains("nameserver 192.168.1.1\nnameserver 9.9.9.9\n"));
    let own = nix::unistd::gethostname().unwrap();
    assert_eq!(node.stop(), "Web01");
    assert_eq!(nix::unistd::gethostname().unwrap(), own, "only the namespace was renamed");
}

#[test]
fn traffic_moves_to_wlan0_when_the_cable_is_pulled_and_back() {
    let lab = Lab::new();
    let (_folder, options) = options();
    let node = Running::start(&lab, options);
    node.applied();
    let through = |interface: &str| {
        lab.on("node", "ip route get 10.9.9.9").contains(&format!("dev {interface}"))
    };
    assert!(through("eth0"));
    eventually("beyond the router", || lab.ping("node", "10.9.9.9"));

    lab.on("switch", "ip link set node-eth0 down"); // the carrier goes, the interface stays on
    node.degraded("wlan0 works; eth0 has no link");
    assert!(through("wlan0"));
    eventually("beyond the router", || lab.ping("node", "10.9.9.9"));
    eventually("in the subnet", || lab.ping("node", "192.168.1.100"));
    lab.on("switch", "ip link set node-eth0 up");
    node.applied();
    eventually("back on the wire", || through("eth0"));

    lab.on("node", "ip link set eth0 down"); // switched off by hand: stays off
    node.degraded("wlan0 works; eth0 is switched off");
    assert!(through("wlan0"));
    eventually("beyond the router", || lab.ping("node", "10.9.9.9"));
    lab.on("node", "ip link set eth0 up");
    node.applied();
    eventually("back on the wire", || through("eth0") && lab.ping("node", "-I eth0 10.9.9.9"));
    assert!(lab.on("node", "ip route show table 183").contains("default via 192.168.1.1"));
}

#[test]
fn an_address_changes_under_running_pings() {
    let lab = Lab::new();
    let (_folder, options) = options();
    let mut node = Running::start(&lab, options);
    node.applied();
    // From the outside to the address that stays, and from the node without a source.
    let pings = [lab.pinging("peer", "192.168.1.20"), lab.pinging("node", "10.9.9.9")];
    for last in (11..=30).chain([10]) {
        node.change(|s| s.nodes[0].eth0.address = Some(cidr(&format!("192.168.1.{last}/24"))));
        node.applied();
        assert_eq!(lab.addresses("eth0"), BTreeSet::from([format!("192.168.1.{last}/24")]));
        let route = lab.on("node", "ip route get 10.9.9.9");
        assert!(route.contains(&format!("dev eth0 src 192.168.1.{last}")), "{route}");
        assert!(lab.ping("peer", &format!("192.168.1.{last}")));
    }
    let rules = lab.on("node", "ip rule");
    assert_eq!(rules.matches("lookup 183").count(), 1, "{rules}");
    let routes = lab.on("node", "ip route show table all");
    assert!(!routes.contains("192.168.1.30"), "{routes}");
    for ping in pings {
        let (sent, received) = ping.stop();
        // An answer on its way to an address that has just gone is lost; there is no route and no
        // moment in which more than that is.
        assert!(sent >= 10 && received + 2 >= sent, "{received} of {sent}");
    }
}

#[test]
fn what_is_deleted_comes_back_and_what_is_foreign_stays() {
    let lab = Lab::new();
    let (_folder, options) = options();
    lab.on("node", "ip addr add 10.1.1.1/24 dev eth0");
    lab.on("node", "ip addr add 192.168.1.20/24 dev wlan0"); // ours, set by somebody else
    lab.on("node", "ip rule add from 10.1.1.1 lookup 77 prio 500");
    let node = Running::start(&lab, options);
    node.applied();
    let routes = lab.on("node", "ip route show 192.168.1.0/24 dev wlan0");
    assert!(routes.lines().count() == 1 && routes.contains("metric 60"), "{routes}");
    assert!(lab.on("node", "ip route get 192.168.1.100").contains("dev eth0"), "taken over");

    let begun = Instant::now();
    lab.on("node", "ip addr del 192.168.1.10/24 dev eth0");
    let present = || lab.addresses("eth0").contains("192.168.1.10/24");
    eventually("the address is back", present);
    println!("an address deleted by hand was back after {:?} at most", begun.elapsed());
    for (gone, back) in [
        ("ip route del default metric 50", "ip route show default metric 50"),
        ("ip route del 192.168.1.0/24 metric 60", "ip route show 192.168.1.0/24 metric 60"),
        ("ip route flush table 184", "ip route show table 184"),
        ("ip rule del from 192.168.1.20", "ip rule show from 192.168.1.20"),
    ] {
        lab.on("node", gone);
        eventually(gone, || !lab.on("node", back).trim().is_empty());
    }
    assert!(lab.addresses("eth0").contains("10.1.1.1/24"));
    assert!(lab.on("node", "ip rule").contains("from 10.1.1.1 lookup 77"));
    node.applied();
    let rules = lab.on("node", "ip rule");
    assert_eq!(rules.matches("lookup 184").count(), 1, "{rules}");
}

#[test]
fn what_a_killed_process_left_is_recognised() {
    let lab = Lab::new();
    let (_folder, options) = options();
    let node = Running::start(&lab, options.clone());
    node.applied();
    lab.on("node", "ip addr add 10.1.1.1/24 dev wlan0");
    node.stop();
    assert!(lab.addresses("eth0").contains("192.168.1.10/24"), "a restart cuts nobody off");
    // IPv6 is the kernel's own affair, which it sees to in its own time.
    let routes = lab.on("node", "ip -4 route show table all");
    let mut node = Running::start(&lab, options);
    node.applied();
    assert_eq!(lab.on("node", "ip -4 route show table all"), routes, "nothing was touched");
    node.change(|s| {
        s.nodes[0].eth0.address = Some(cidr("192.168.1.33/24"));
        s.nodes[0].wlan0.address = None;
    });
    node.applied();
    assert_eq!(lab.addresses("eth0"), BTreeSet::from(["192.168.1.33/24".to_owned()]));
    assert_eq!(lab.addresses("wlan0"), BTreeSet::from(["10.1.1.1/24".to_owned()]));
    assert!(!lab.on("node", "ip rule").contains("lookup 184"));
    assert!(lab.on("node", "ip route show table all").contains("10.1.1.0/24 dev wlan0"));
    node.change(|s| s.nodes.clear());
    eventually("idle", || node.state() == Some(SubsystemState::Idle));
    assert_eq!(lab.addresses("eth0"), BTreeSet::new());
}

#[test]
fn an_interface_that_appears_later_is_set_up() {
    let lab = Lab::new();
    lab.on("node", "ip link del wlan0");
    let (_folder, options) = options();
    let node = Running::start(&lab, options);
    node.degraded("eth0 works; this board has no wlan0");
    eventually("eth0 answers", || lab.ping("peer", "192.168.1.10"));
    assert!(!node.board.own().links[1].running);
    lab.plug("node", "wlan0");
    node.applied();
    eventually("wlan0 answers", || lab.ping("peer", "192.168.1.20"));
}

#[test]
fn a_neighbour_learns_that_an_address_moved() {
    let lab = Lab::new();
    let (_dir, options) = options();
    let node = Running::start(&lab, options);
    node.applied();
    let knows = |address: &str, mac: &str| {
        lab.on("peer", &format!("ip neigh show {address}")).contains(mac)
    };
    assert!(lab.ping("peer", "192.168.1.10"));
    let old = lab.mac("node", "eth0");
    assert!(knows("192.168.1.10", &old));
    // Another board with the same settings: the neighbour's entry is fresh and wrong.
    drop(node);
    let new = "02:00:00:00:be:ef";
    lab.on("node", &format!("ip link set eth0 address {new}"));
    lab.on("node", "ip addr flush dev eth0");
    let (_dir, options) = self::options();
    let _node = Running::start(&lab, options);
    eventually("the neighbour's entry", || knows("192.168.1.10", new));
    assert!(lab.ping("peer", "192.168.1.10"));
}

#[test]
fn a_system_that_refuses_is_said() {
    let lab = Lab::new();
    let (folder, mut options) = options();
    // A read-only /proc/sys, and a resolv.conf that cannot be written.
    let fake = folder.path().join("net/ipv4/conf/eth0");
    std::fs::create_dir_all(fake.join("arp_ignore")).unwrap();
    options.proc_sys = folder.path().to_owned();
    options.resolv_conf = "/proc/version".into();
    let node = Running::start(&lab, options);
    node.degraded("ARP and routing rules of eth0 could not be set");
    node.degraded("the name servers could not be set: /proc/version");
    assert!(lab.addresses("eth0").contains("192.168.1.10/24"), "all the same");
}

#[test]
fn a_program_that_fights_for_the_addresses_is_said_and_costs_little() {
    let lab = Lab::new();
    let (_folder, options) = options();
    let node = Running::start(&lab, options);
    node.applied();
    let (enough, removals) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let (stop, count) = (enough.clone(), removals.clone());
    let enemy = inside(&lab.namespace("node"), move || {
        let kernel = Kernel::open().unwrap();
        while !stop.load(Ordering::Relaxed) {
            for address in kernel.interface("eth0").unwrap().unwrap().addresses {
                kernel.remove("eth0", address).unwrap();
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    node.degraded("another program keeps changing this node's addresses");
    let before = removals.load(Ordering::Relaxed);
    std::thread::sleep(Duration::from_secs(2)); // what is counted is how little happens in it
    let more = removals.load(Ordering::Relaxed) - before;
    enough.store(true, Ordering::Relaxed);
    enemy.join().unwrap();
    // One look a second, each of at most four rounds.
    assert!((1..=12).contains(&more), "{more} corrections in 2 s");
    eventually("the address is back", || lab.addresses("eth0").contains("192.168.1.10/24"));
}

#[test]
fn the_kernel_as_the_virtual_router_uses_it() {
    let lab = Lab::new();
    let (_folder, options) = options();
    let mut node = Running::start(&lab, options);
    node.applied();
    let mac = lab.mac("node", "eth0");
    inside(&lab.namespace("node"), move || {
        let kernel = Kernel::open().unwrap();
        assert!(kernel.interface("eth7").unwrap().is_none());
        assert!(kernel.add("eth7", cidr("192.168.1.15/32")).is_err());
        let before = kernel.interface("eth0").unwrap().unwrap();
        assert!(before.running);
        let octets: Vec<String> = before.mac.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(octets.join(":"), mac);
        kernel.drain_events().unwrap();
        let floating = cidr("192.168.1.15/32");
        let mut times = Vec::new();
        for _ in 0..200 {
            let begun = Instant::now();
            kernel.add("eth0", floating).unwrap();
            kernel.add("eth0", floating).unwrap();
            assert!(kernel.interface("eth0").unwrap().unwrap().addresses.contains(&floating));
            kernel.remove("eth0", floating).unwrap();
            kernel.remove("eth0", floating).unwrap();
            times.push(begun.elapsed() / 5);
        }
        times.sort();
        let usual = times[times.len() / 2];
        println!("a request to the kernel takes {usual:?}, at most {:?}", times[times.len() - 1]);
        // The other tests keep the kernel busy: some calls wait for theirs.
        assert!(times[times.len() / 10] < Duration::from_millis(1), "{times:?}");
        assert!(kernel.drain_events().unwrap(), "there were events");
        assert!(!kernel.drain_events().unwrap(), "and no more of them");
        assert_eq!(kernel.interface("eth0").unwrap().unwrap(), before);
        kernel.add("eth0", floating).unwrap();
        assert_eq!(kernel.garbage(), 0);
    })
    .join()
    .unwrap();
    // The floating address is none of the crate's business, whatever the settings say.
    assert!(lab.ping("peer", "192.168.1.15"));
    node.change(|s| s.nodes[0].eth0.address = Some(cidr("192.168.1.16/24")));
    node.applied();
    let expected = ["192.168.1.15/32", "192.168.1.16/24"].map(str::to_owned);
    assert_eq!(lab.addresses("eth0"), BTreeSet::from(expected));
}
