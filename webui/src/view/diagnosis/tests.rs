use super::*;
use crate::demo;
use model::status::*;
use std::net::Ipv4Addr;

/// The reference cluster, asked about one node, with whatever goes wrong done to it.
struct Case {
    id: NodeId,
    settings: Settings,
    reports: Vec<NodeReport>,
    board: bool,
    check: Option<NetworkCheck>,
}

impl Case {
    fn of(id: &str) -> Self {
        let settings = demo::settings();
        let id: NodeId = id.parse().unwrap();
        let snapshot = control::Snapshot::new(model::Revision(3), settings.clone(), &id);
        let mut reports = demo::reports(&snapshot);
        for report in &mut reports {
            report.status.system.undervoltage_seen = false;
        }
        let check = Some(well(&settings, &id));
        Self { id, settings, reports, board: true, check }
    }

    fn status(&mut self) -> &mut NodeStatus {
        &mut self.reports[0].status
    }

    fn check(&mut self) -> &mut NetworkCheck {
        self.check.get_or_insert_default()
    }

    fn groups(&self) -> Vec<Group> {
        diagnose(&Facts {
            settings: &self.settings,
            reports: &self.reports,
            id: &self.id,
            status: &self.reports[0].status,
            board: self.board,
            check: self.check.as_ref(),
        })
    }

    fn all(&self) -> Vec<Finding> {
        self.groups().into_iter().flat_map(|g| g.findings).collect()
    }

    fn troubles(&self) -> Vec<Finding> {
        self.all().into_iter().filter(|f| f.tone >= Tone::Warn).collect()
    }
}

/// What trying out the network of a node comes to when all is well.
fn well(settings: &Settings, id: &NodeId) -> NetworkCheck {
    let router = Ipv4Addr::new(192, 168, 1, 1);
    let good = || Try::Answered { ms: 3 };
    let peer = |n: &Node| {
        let id = n.id.clone();
        let of = move |address| PeerTry { node: id.clone(), address, answer: good() };
        n.addresses().map(of).collect::<Vec<_>>()
    };
    NetworkCheck {
        age_ms: 0,
        gateways: ["eth0", "wlan0"]
            .map(|i| GatewayTry { interface: i.into(), address: router, answer: good() })
            .to_vec(),
        name_servers: vec![ServerTry { address: router, answer: good() }],
        internet: good(),
        time_servers: vec![TimeTry {
            server: "0.pool.ntp.org".into(),
            answer: good(),
            ahead_ms: Some(-20),
        }],
        peers: settings.nodes.iter().filter(|n| n.id != *id).flat_map(peer).collect(),
        duplicates: Vec::new(),
    }
}

#[test]
fn when_all_is_well_nothing_is_to_be_done() {
    for id in ["web01", "web02", "lbmaster", "lbslave"] {
        let case = Case::of(id);
        assert_eq!(case.troubles(), [], "{id}");
        let groups = case.groups();
        let unknown: Vec<_> = case.all().into_iter().filter(|f| f.tone == Tone::Quiet).collect();
        assert_eq!(unknown, [], "{id}: everything was looked at");
        assert_eq!(headline(&groups), (Tone::Good, "Nothing is wrong here".into()));
        assert!(groups.len() >= 9, "{id}: {}", groups.len());
    }
}

/// One thing goes wrong, one thing is found, at the right place, with what to do.
#[test]
fn each_failure_is_found_where_it_is() {
    type Break = fn(&mut Case);
    let cases: &[(&str, Break, Tone, &str, &str, &str)] = &[
        // What went wrong in the project the reference cluster comes from.
        (
            "no name server was set",
            |c| {
                c.settings.cluster.dns.clear();
                c.check().name_servers.clear();
            },
            Tone::Bad,
            "Name server",
            "none is set",
            "look unrelated",
        ),
        (
            "the new router has the SSID on 5 GHz only",
            |c| radio(c, WifiVerdict::OnlyFiveGhz),
            Tone::Warn,
            "wlan0",
            "\"home\" is there on 5 GHz only",
            "Switch 2.4 GHz on",
        ),
        (
            "the adapter cannot see the SSID at all",
            |c| radio(c, WifiVerdict::NotFound),
            Tone::Warn,
            "wlan0",
            "\"home\" is not in reach",
            "5 GHz only, which this adapter cannot see",
        ),
        (
            "one link per node",
            |c| c.status().links.truncate(1),
            Tone::Warn,
            "Network link",
            "eth0 only",
            "Add a second way",
        ),
        (
            "one content origin is named",
            |c| {
                c.settings.nodes.retain(|n| n.id.as_str() != "web02");
                c.reports.retain(|r| r.status.id.as_str() != "web02");
            },
            Tone::Warn,
            "Web server",
            "one only",
            "Give a second board that role",
        ),
        // Links.
        (
            "a cable is out",
            |c| {
                let l = &mut c.status().links[0];
                l.running = false;
                l.addresses.clear();
            },
            Tone::Warn,
            "eth0",
            "no signal on the cable",
            "at both ends",
        ),
        (
            "the passphrase is wrong",
            |c| radio(c, WifiVerdict::WrongPassphrase),
            Tone::Warn,
            "wlan0",
            "refuses the passphrase",
            "Type it again",
        ),
        (
            "the network refuses",
            |c| radio(c, WifiVerdict::Refused { why: "too many stations".into() }),
            Tone::Warn,
            "wlan0",
            "does not let this board in",
            "Too many stations. Look for a list",
        ),
        (
            "Wi-Fi without DHCP",
            |c| radio(c, WifiVerdict::NoAddress),
            Tone::Warn,
            "wlan0",
            "without an address",
            "no DHCP server answers there",
        ),
        (
            "no adapter",
            |c| {
                radio(c, WifiVerdict::NotFound);
                c.status().system.wifi.as_mut().unwrap().adapters.clear();
            },
            Tone::Warn,
            "wlan0",
            "no Wi-Fi adapter",
            "Plug one in",
        ),
        (
            "an adapter without firmware",
            |c| {
                radio(
                    c,
                    WifiVerdict::NoAdapter { why: "its firmware rtl8192.bin is missing".into() },
                );
                c.status().system.wifi.as_mut().unwrap().adapters.clear();
            },
            Tone::Warn,
            "wlan0",
            "no adapter that works",
            "rtl8192.bin is missing.",
        ),
        (
            "no country",
            |c| c.settings.wifi.country = None,
            Tone::Warn,
            "Country",
            "not set",
            "channel 12 or 13",
        ),
        (
            "a weak signal",
            |c| connection(c).signal_dbm = -84,
            Tone::Warn,
            "wlan0",
            "-84 dBm at 2437 MHz, which is weak",
            "drops out",
        ),
        // Addresses.
        (
            "the address could not be set",
            |c| c.status().links[0].addresses.clear(),
            Tone::Bad,
            "eth0",
            "192.168.1.10/24 is not there",
            "Services and ports",
        ),
        (
            "two machines have it",
            |c| {
                let mac = "02:00:00:00:00:99".into();
                let address = Ipv4Addr::new(192, 168, 1, 10);
                c.check().duplicates = vec![Duplicate { interface: "eth0".into(), address, mac }];
            },
            Tone::Bad,
            "eth0",
            "192.168.1.10 is another machine's as well",
            "02:00:00:00:00:99",
        ),
        (
            "no DHCP server",
            |c| {
                c.settings.nodes[0].eth0.address = None;
                c.status().links[0].addresses = vec!["169.254.3.4/16".parse().unwrap()];
                c.status().links[0].dhcp = Some(DhcpStatus::LinkLocal);
            },
            Tone::Bad,
            "eth0",
            "169.254.3.4/16, which it chose itself",
            "No DHCP server answers",
        ),
        (
            "still asking",
            |c| {
                c.settings.nodes[0].eth0.address = None;
                c.status().links[0].addresses.clear();
                c.status().links[0].dhcp = Some(DhcpStatus::Asking);
            },
            Tone::Warn,
            "eth0",
            "waits for a DHCP server",
            "longer than a minute",
        ),
        // Routers.
        (
            "no router is set",
            |c| {
                c.settings.cluster.gateway = None;
                c.check().gateways.clear();
            },
            Tone::Warn,
            "Router",
            "none is set",
            "as the gateway",
        ),
        (
            "the router is in another network",
            |c| c.settings.nodes[0].eth0.gateway = "192.168.2.1".parse().ok(),
            Tone::Bad,
            "eth0",
            "192.168.2.1 is in another network",
            "in one network",
        ),
        (
            "the router is this node",
            |c| c.settings.nodes[0].eth0.gateway = "192.168.1.10".parse().ok(),
            Tone::Bad,
            "eth0",
            "192.168.1.10 is no router",
            "address of your router",
        ),
        (
            "the router is the floating IP",
            |c| c.settings.nodes[0].eth0.gateway = "192.168.1.15".parse().ok(),
            Tone::Bad,
            "eth0",
            "192.168.1.15 is no router",
            "address of your router",
        ),
        (
            "one router does not answer",
            |c| c.check().gateways[0].answer = Try::Silent,
            Tone::Bad,
            "eth0",
            "192.168.1.1 does not answer",
            "The router is off",
        ),
        // Names, internet, time.
        (
            "the name server is silent",
            |c| c.check().name_servers[0].answer = Try::Silent,
            Tone::Bad,
            "192.168.1.1",
            "does not answer",
            "Set another name server",
        ),
        (
            "the name server is none",
            |c| {
                c.check().name_servers[0].answer =
                    Try::Failed { why: "it refuses to answer".into() }
            },
            Tone::Bad,
            "192.168.1.1",
            "is no use",
            "It refuses to answer.",
        ),
        (
            "the first of two is silent",
            |c| {
                let address = Ipv4Addr::new(9, 9, 9, 9);
                c.check().name_servers.insert(0, ServerTry { address, answer: Try::Silent });
            },
            Tone::Warn,
            "9.9.9.9",
            "does not answer",
            "waits before the next one",
        ),
        (
            "the internet is down",
            |c| c.check().internet = Try::Silent,
            Tone::Warn,
            "Internet",
            "not reached",
            "nothing beyond it does",
        ),
        (
            "the clock was never set",
            |c| c.status().system.clock_unix_ms = None,
            Tone::Warn,
            "Clock",
            "not set since the start",
            "no clock chip",
        ),
        (
            "the clock is wrong",
            |c| c.check().time_servers[0].ahead_ms = Some(-90_000),
            Tone::Warn,
            "0.pool.ntp.org",
            "this node is 1 min behind it",
            "by itself",
        ),
        (
            "NTP is dropped",
            |c| c.check().time_servers[0].answer = Try::Silent,
            Tone::Warn,
            "0.pool.ntp.org",
            "does not answer",
            "UDP port 123",
        ),
        // Other nodes.
        (
            "a node is off",
            |c| {
                away(c, "lbslave");
                tries(c, "lbslave", |_| Try::Silent);
            },
            Tone::Bad,
            "LbSlave",
            "not reached for 1 min",
            "green LED",
        ),
        (
            "a node says nothing",
            |c| away(c, "lbslave"),
            Tone::Bad,
            "LbSlave",
            "is there, and says nothing",
            "port 1937",
        ),
        (
            "one of a node's ways is down",
            |c| {
                tries(c, "lbslave", |a| {
                    if a == Ipv4Addr::new(192, 168, 1, 22) {
                        Try::Silent
                    } else {
                        Try::Answered { ms: 1 }
                    }
                })
            },
            Tone::Warn,
            "LbSlave",
            "reached, but not at 192.168.1.22",
            "One of its ways",
        ),
        (
            "a node is older",
            |c| report(c, "lbslave").version = "0.0.9".into(),
            Tone::Warn,
            "LbSlave",
            "runs version 0.0.9",
            "install the same",
        ),
        // Services.
        (
            "a port is taken",
            |c| {
                let reason = "port 80 is taken by another program".into();
                degrade(c, Subsystem::Server, SubsystemState::Degraded { reason });
            },
            Tone::Bad,
            "Web server",
            "not all of it works",
            "Port 80 is taken by another program.",
        ),
        (
            "a part crashed",
            |c| {
                degrade(
                    c,
                    Subsystem::Mirror,
                    SubsystemState::Failed { reason: "it panicked".into() },
                );
            },
            Tone::Bad,
            "Mirror",
            "ended",
            "It panicked.",
        ),
        // The board.
        (
            "a weak supply",
            |c| c.status().system.undervoltage = Some(true),
            Tone::Bad,
            "Supply",
            "too weak at this moment",
            "4.63 V",
        ),
        (
            "a supply that was weak",
            |c| c.status().system.undervoltage_seen = true,
            Tone::Warn,
            "Supply",
            "was too weak since the start",
            "official supply",
        ),
        (
            "a failing card",
            |c| c.status().system.card.as_mut().unwrap().errors = 4,
            Tone::Bad,
            "Errors of the card",
            "4",
            "replace it",
        ),
        (
            "a worn card",
            |c| c.status().system.card.as_mut().unwrap().wear_percent = Some(95),
            Tone::Warn,
            "Wear of the card",
            "95 %",
            "Replace it soon",
        ),
        (
            "nothing is kept",
            |c| {
                c.status().system.data =
                    Some(DataStatus::Memory { reason: "there is no data partition".into() })
            },
            Tone::Bad,
            "Data partition",
            "not in use",
            "There is no data partition.",
        ),
        (
            "too hot",
            |c| c.status().system.temperature_millic = Some(83_000),
            Tone::Warn,
            "Temperature",
            "83.0",
            "heat sink",
        ),
    ];
    for (name, break_it, tone, subject, found, advice) in cases {
        let mut case = Case::of("web01");
        break_it(&mut case);
        let troubles = case.troubles();
        let right = |f: &Finding| {
            f.tone == *tone
                && f.subject == *subject
                && f.found.contains(found)
                && f.advice.contains(advice)
        };
        assert!(troubles.iter().any(right), "{name}: {troubles:#?}");
        assert!(troubles.iter().all(|f| !f.advice.is_empty()), "{name}: each says what to do");
        // A broken link is also one way less; nothing else is found beside it.
        let beside = troubles.iter().filter(|f| !right(f) && f.subject != "Network link").count();
        assert_eq!(beside, 0, "{name}: {troubles:#?}");
    }
}

/// On a balancer.
#[test]
fn failover_that_goes_wrong_is_told_apart() {
    type Break = fn(&mut VrrpStatus);
    let cases: &[(&str, Break, Tone, &str, &str)] = &[
        (
            "another router's number",
            |v| {
                v.master = "192.168.1.77".parse().ok();
                v.master_priority = Some(200);
            },
            Tone::Bad,
            "192.168.1.77, which is no node of this cluster, is master",
            "a number of its own",
        ),
        (
            "the owner of the address",
            |v| {
                v.master = "192.168.1.1".parse().ok();
                v.master_priority = Some(255);
            },
            Tone::Bad,
            "192.168.1.1, which",
            "as the owner of its address",
        ),
        (
            "a fault",
            |v| v.fault = Some("eth0 is down".into()),
            Tone::Bad,
            "cannot take part",
            "Eth0 is down.",
        ),
        (
            "passwords",
            |v| v.counters.bad_auth = 12,
            Tone::Warn,
            "12 adverts of router 77 with another password",
            "authentication",
        ),
        (
            "versions",
            |v| v.counters.bad_version = 1,
            Tone::Warn,
            "1 advert of router 77 with another version",
            "Keepalived",
        ),
        (
            "intervals",
            |v| v.counters.bad_interval = 1,
            Tone::Warn,
            "another interval",
            "equally often",
        ),
        (
            "addresses",
            |v| v.counters.address_mismatch = 1,
            Tone::Warn,
            "other floating IPs",
            "Compare",
        ),
        ("forged", |v| v.counters.bad_ttl = 1, Tone::Warn, "TTL", "forging"),
        ("damaged", |v| v.counters.bad_checksum = 1, Tone::Warn, "wrong checksum", "cable"),
        ("nonsense", |v| v.counters.bad_packet = 1, Tone::Warn, "no sense", "no VRRP"),
    ];
    for (name, break_it, tone, found, advice) in cases {
        let mut case = Case::of("lbslave");
        break_it(&mut case.status().vrrp[0]);
        let troubles = case.troubles();
        assert_eq!(troubles.len(), 1, "{name}: {troubles:#?}");
        assert_eq!((troubles[0].subject.as_str(), troubles[0].tone), ("VI_1", *tone), "{name}");
        assert!(troubles[0].found.contains(found), "{name}: {troubles:#?}");
        assert!(troubles[0].advice.contains(advice), "{name}: {troubles:#?}");
    }
    let mut both = Case::of("lbslave");
    both.status().vrrp[0].state = VrrpState::Master;
    let found = both.troubles();
    assert!(found[0].found.contains("LbSlave and LbMaster hold it at once"), "{found:#?}");
    assert!(found[0].advice.contains("IGMP snooping"));
    let mut alone = Case::of("lbmaster");
    alone.settings.nodes.retain(|n| n.id.as_str() != "lbslave");
    let found = alone.troubles();
    assert_eq!((found.len(), found[0].subject.as_str()), (1, "Load balancer"), "{found:#?}");
}

/// What fails because of something above it points there, so that nobody mends the wrong end.
#[test]
fn a_dead_router_is_the_one_thing_to_mend() {
    let mut case = Case::of("web01");
    for t in &mut case.check().gateways {
        t.answer = Try::Silent;
    }
    case.check().name_servers[0].answer = Try::Silent;
    case.check().internet = Try::Silent;
    case.check().time_servers[0].answer = Try::Silent;
    let troubles = case.troubles();
    let of = |subject: &str| troubles.iter().find(|f| f.subject == subject).unwrap();
    assert!(of("192.168.1.1").advice.contains("mend that first"));
    assert!(of("Internet").advice.contains("mend that first"));
    assert!(of("0.pool.ntp.org").advice.contains("mend that first"));
    assert_eq!(headline(&case.groups()), (Tone::Bad, "3 things to mend, 2 to look at".into()));
}

/// When nobody says anything, it is this node that is not listened to.
#[test]
fn when_all_others_are_silent_this_node_is_looked_at_first() {
    let mut case = Case::of("web01");
    for id in ["web02", "lbmaster", "lbslave"] {
        away(&mut case, id);
    }
    let troubles = case.troubles();
    assert_eq!(
        (troubles.len(), troubles[0].subject.as_str()),
        (1, "All 3 of them"),
        "{troubles:#?}"
    );
    assert!(troubles[0].found.contains("there, and say nothing"));
    for id in ["web02", "lbmaster", "lbslave"] {
        tries(&mut case, id, |_| Try::Silent);
    }
    let troubles = case.troubles();
    assert_eq!((troubles.len(), troubles[0].found.as_str()), (1, "not reached"), "{troubles:#?}");
    assert!(troubles[0].advice.contains("the cable of this node"));
}

/// Where this appliance is a guest, what the machine does by itself is not called a fault.
#[test]
fn on_somebody_elses_linux_less_is_ours() {
    let mut case = Case::of("web01");
    case.board = false;
    case.settings.cluster.dns.clear();
    case.settings.cluster.gateway = None;
    case.status().system = SystemStatus::default();
    case.check = None;
    assert_eq!(case.troubles(), []);
    assert!(case.all().iter().any(|f| f.found == "left to this machine"));
}

#[test]
fn a_node_nothing_is_known_of_is_no_emergency() {
    let settings = Settings::default();
    let status = NodeStatus::default();
    let facts = Facts {
        settings: &settings,
        reports: &[],
        id: &status.id,
        status: &status,
        board: true,
        check: None,
    };
    for finding in diagnose(&facts).into_iter().flat_map(|g| g.findings) {
        assert!(!finding.found.is_empty() && finding.word() != "", "{finding:?}");
    }
}

fn radio(case: &mut Case, verdict: WifiVerdict) {
    let link = &mut case.status().links[1];
    (link.running, link.addresses) = (false, Vec::new());
    let wifi = case.status().system.wifi.as_mut().unwrap();
    wifi.connected = None;
    wifi.trial = Some(WifiTrial { ssid: "home".into(), verdict });
}

fn connection(case: &mut Case) -> &mut WifiConnection {
    case.status().system.wifi.as_mut().unwrap().connected.as_mut().unwrap()
}

fn report<'a>(case: &'a mut Case, id: &str) -> &'a mut NodeStatus {
    &mut case.reports.iter_mut().find(|r| r.status.id.as_str() == id).unwrap().status
}

fn away(case: &mut Case, id: &str) {
    let report = case.reports.iter_mut().find(|r| r.status.id.as_str() == id).unwrap();
    (report.reachable, report.age_ms) = (false, 61_000);
}

fn tries(case: &mut Case, id: &str, answer: fn(Ipv4Addr) -> Try) {
    for t in case.check().peers.iter_mut().filter(|t| t.node.as_str() == id) {
        t.answer = answer(t.address);
    }
}

fn degrade(case: &mut Case, subsystem: Subsystem, state: SubsystemState) {
    case.status().subsystems.get_mut(&subsystem).unwrap().state = state;
}

#[test]
fn fewer_visitors_than_wanted_are_said() {
    let mut case = Case::of("lbmaster");
    let found = |case: &Case| case.all().into_iter().find(|f| f.subject == "Visitors at once");
    assert_eq!(found(&case).unwrap().tone, Tone::Good);
    case.settings.cluster.maxconn = Some(50_000);
    let warned = found(&case).unwrap();
    assert_eq!((warned.tone, warned.found.as_str()), (Tone::Warn, "10,000 at most, not 50,000"));
    assert!(warned.advice.contains("a board allows no more"), "{}", warned.advice);
    case.board = false;
    assert!(found(&case).unwrap().advice.contains("LimitNOFILE"));
    case.settings.cluster.maxconn = Some(10_000);
    assert_eq!(found(&case).unwrap().tone, Tone::Good);
    case.status().proxy.as_mut().unwrap().curr_conns = 10_000;
    assert!(found(&case).unwrap().found.contains("all places are taken"));
    case.status().proxy = None;
    assert_eq!(found(&case), None);
}
