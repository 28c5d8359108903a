//! A plausible cluster for tests and for the demo: the reference cluster, running.

use control::Snapshot;
use model::status::*;
use model::{Certificate, NodeId, Role, Secret, ServerState, Settings};

const SETTINGS: &str = r#"{
  "cluster": {"name": "Reference", "floating_ip": "192.168.1.15/24", "gateway": "192.168.1.1",
    "dns": ["192.168.1.1"], "key": "0123456789abcdef0123456789abcdef"},
  "nodes": [
    {"id": "web01", "name": "Web01", "roles": ["web"], "eth0": {"address": "192.168.1.10/24"}, "wlan0": {"address": "192.168.1.20/24"}},
    {"id": "web02", "name": "Web02", "roles": ["web"], "eth0": {"address": "192.168.1.11/24"}, "wlan0": {"address": "192.168.1.21/24"}},
    {"id": "lbmaster", "name": "LbMaster", "roles": ["balancer"], "eth0": {"address": "192.168.1.14/24"}, "wlan0": {"address": "192.168.1.24/24"}},
    {"id": "lbslave", "name": "LbSlave", "roles": ["balancer"], "eth0": {"address": "192.168.1.12/24"}, "wlan0": {"address": "192.168.1.22/24"}}
  ],
  "wifi": {"country": "AT", "networks": [
    {"ssid": "home", "passphrase": "a good passphrase"}, {"ssid": "Caf\u00e9 & bar", "passphrase": ""}
  ]},
  "sites": [{"name": "default", "mirror": {"exclude": ["**/stats", "**/error", "**/files/pictures"]}}]
}"#;

/// A certificate, and what looks like its key; nobody has the real one.
const CHAIN: &str = include_str!("../../appliance/model/src/certificate/test.pem");
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nbm9uZQ==\n-----END PRIVATE KEY-----\n";

/// A board that is well.
pub(crate) fn system(id: &NodeId) -> SystemStatus {
    SystemStatus {
        board: Some("Raspberry Pi 2 Model B Rev 1.1".to_owned()),
        serial: Some(format!("00000000{:08x}", 0x5eed_0000 + id.as_str().len())),
        uptime_ms: 3 * 86_400_000 + 4 * 3_600_000,
        clock_unix_ms: Some(1_795_371_120_000),
        temperature_millic: Some(48_312),
        undervoltage: Some(false),
        undervoltage_seen: true,
        throttled: Some(false),
        memory_total: 969_932_800,
        memory_available: 821_211_136,
        process_memory: Some(14 * 1024 * 1024),
        init_memory: Some(4 * 1024 * 1024),
        card: Some(CardStatus {
            name: "SC32G".to_owned(),
            made: "08/2021".to_owned(),
            size: 31_914_983_424,
            written: 4_194_304,
            errors: 0,
            wear_percent: None,
        }),
        data: Some(DataStatus::Kept { size: 31_600_000_000, free: 30_100_000_000, mended: None }),
        firmware: Some(FirmwareStatus {
            slot: "a".to_owned(),
            version: "0.1.0 (2026-11-20)".to_owned(),
            other_version: Some("0.0.9 (2026-10-02)".to_owned()),
            on_trial: false,
            last_update: Some("0.1.0 was installed and kept".to_owned()),
            progress: None,
        }),
        watchdog: Watchdog::Hardware,
        restarts: 0,
        setup: Some(SetupStatus {
            ssid: "Bramble-5EED".to_owned(),
            url: "http://192.168.19.36:1936/".to_owned(),
            reason: Some("this board is on a network".to_owned()),
            ..SetupStatus::default()
        }),
        wifi: Some(WifiStatus {
            adapters: vec![WifiAdapter {
                interface: "wlan0".to_owned(),
                driver: "rtl8192cu".to_owned(),
                five_ghz: false,
                access_point: true,
                both: false,
            }],
            connected: Some(WifiConnection {
                interface: "wlan0".to_owned(),
                ssid: "home".to_owned(),
                frequency: 2437,
                signal_dbm: -61,
            }),
            trial: None,
        }),
    }
}

fn links(node: &model::Node, at: u8) -> Vec<LinkStatus> {
    let lent = node.addresses().next().is_none();
    let links = node.links().into_iter().zip(0_u8..);
    links
        .map(|((name, link), n)| LinkStatus {
            name: name.to_owned(),
            running: !lent || n == 0,
            mac: format!("b8:27:eb:5e:{at:02x}:{n:02x}"),
            addresses: match (link.address, lent && n == 0) {
                (None, true) => format!("192.168.1.{}/24", 70 + at).parse().into_iter().collect(),
                (address, _) => address.into_iter().collect(),
            },
            dhcp: (lent && n == 0).then_some(DhcpStatus::Leased {
                server: [192, 168, 1, 1].into(),
                seconds: Some(86_400),
            }),
            ..LinkStatus::default()
        })
        .collect()
}

/// A board with everything there is to complain about.
#[allow(dead_code, reason = "for the demo and the tests of the pages")]
pub(crate) fn trouble(system: &mut SystemStatus) {
    system.temperature_millic = Some(82_650);
    system.undervoltage = Some(true);
    system.throttled = Some(true);
    system.clock_unix_ms = None;
    system.watchdog = Watchdog::None;
    system.restarts = 2;
    system.card.iter_mut().for_each(|c| (c.errors, c.wear_percent) = (17, Some(93)));
    let reason = "the data partition is damaged and could not be repaired. Replace the card";
    system.data = Some(DataStatus::Memory { reason: reason.to_owned() });
    let failed = "its signature is not ours: this file was not made by Bramble, or was altered";
    if let Some(firmware) = &mut system.firmware {
        firmware.on_trial = true;
        firmware.other_version = None;
        firmware.last_update = Some("0.2.0 did not prove itself; 0.1.0 is back".to_owned());
        firmware.progress = Some(FirmwareProgress::Failed { reason: failed.to_owned() });
    }
}

/// The reference cluster's settings.
pub(crate) fn settings() -> Settings {
    let mut settings =
        model::from_json(SETTINGS.as_bytes(), &Settings::default()).unwrap_or_default();
    let name = "main".parse().unwrap_or_default();
    let (chain, key) = (CHAIN.to_owned(), Secret::new(KEY));
    settings.certificates.push(Certificate { name, chain, key });
    settings
}

/// What its nodes report while all is well, the snapshot's own node first.
pub(crate) fn reports(snapshot: &Snapshot) -> Vec<NodeReport> {
    let own = snapshot.node().clone();
    let mut all: Vec<_> = snapshot
        .settings
        .nodes
        .iter()
        .map(|n| NodeReport {
            age_ms: if n.id == own { 0 } else { 400 },
            reachable: true,
            status: status(snapshot, &n.id),
        })
        .collect();
    all.sort_by_key(|r| r.status.id != own);
    all
}

/// What one of its nodes reports.
pub(crate) fn status(snapshot: &Snapshot, id: &NodeId) -> NodeStatus {
    let effective = model::derive(&snapshot.settings, id);
    let node = snapshot.settings.node(id).cloned().unwrap_or_default();
    let at = snapshot.settings.nodes.iter().position(|n| n.id == *id).unwrap_or(0);
    let at = u8::try_from(at).unwrap_or(0);
    let applied = SubsystemStatus { revision: snapshot.revision, state: SubsystemState::Applied };
    let runs: &[Subsystem] = if effective.is(Role::Balancer) {
        &[Subsystem::Network, Subsystem::Vrrp, Subsystem::Proxy]
    } else {
        &[Subsystem::Network, Subsystem::Server, Subsystem::Mirror]
    };
    let mut status = NodeStatus {
        id: id.clone(),
        name: node.name.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: 412,
        uptime_ms: 3 * 86_400_000 + 4 * 3_600_000,
        revision: snapshot.revision,
        heads: "5eed5eed".to_owned(),
        system: system(id),
        links: links(&node, at),
        subsystems: runs.iter().map(|s| (*s, applied.clone())).collect(),
        ..NodeStatus::default()
    };
    for derived in &effective.vrrp {
        let Some(priority) = derived.priority else { continue };
        let best = derived.members.iter().map(|(_, p)| *p).max();
        let first = derived.members.iter().find(|(_, p)| Some(*p) == best).map(|(id, _)| id);
        let first = first.and_then(|id| snapshot.settings.node(id));
        status.vrrp.push(VrrpStatus {
            name: derived.instance.name.clone(),
            virtual_router_id: derived.instance.virtual_router_id,
            interface: derived.instance.interface.to_string(),
            state: if Some(priority) == best { VrrpState::Master } else { VrrpState::Backup },
            fault: None,
            since_ms: 11_520_000,
            priority,
            effective_priority: priority,
            held_back: false,
            addresses: derived.addresses.clone(),
            master: first.and_then(|n| n.addresses().next()),
            master_priority: best.map(|p| p.get()),
            counters: VrrpCounters {
                sent: 11_520,
                received: 3,
                became_master: 1,
                ..Default::default()
            },
        });
    }
    if effective.is(Role::Balancer) {
        status.proxy = Some(proxy(&effective));
    }
    for site in effective.sites.iter().filter(|_| effective.is(Role::Web)) {
        let origin = match &site.duty {
            model::MirrorDuty::Mirror { origin } => origin.clone(),
            _ => id.clone(),
        };
        let is_origin = origin == *id;
        status.mirror.push(MirrorStatus {
            site: site.site.name.clone(),
            origin,
            phase: if is_origin { MirrorPhase::Origin } else { MirrorPhase::Following },
            lag_ms: Some(0),
            synced_ago_ms: (!is_origin).then_some(300),
            compared_ago_ms: Some(42_000),
            entries: 1284,
            copied: 96,
            bytes: 8_412_333,
            followers: u32::from(is_origin),
            ..MirrorStatus::default()
        });
    }
    status
}

fn proxy(effective: &model::Effective) -> ProxyStatus {
    let http = HttpCounters { hrsp_2xx: 18_240, hrsp_3xx: 912, hrsp_4xx: 31, ..Default::default() };
    let traffic = TrafficCounters {
        scur: 3,
        smax: 41,
        stot: 19_183,
        bin: 5_812_003,
        bout: 412_883_120,
        rate: 7,
        rate_max: 120,
    };
    let frontends: Vec<_> = (1..)
        .zip(&effective.frontends)
        .map(|(iid, f)| FrontendStatus {
            name: f.frontend.name.clone(),
            iid,
            mode: f.frontend.mode,
            bind: f.frontend.bind.clone(),
            open: true,
            slim: f.frontend.maxconn,
            traffic,
            http,
            dreq: 0,
            ereq: 2,
            req_tot: 19_183,
            req_rate: 7,
            req_rate_max: 120,
            dcon: 0,
            intercepted: 0,
            eint: 0,
            wrew: 0,
        })
        .collect();
    let next = u32::try_from(frontends.len()).unwrap_or(0) + 1;
    let backends = (next..)
        .zip(&effective.backends)
        .map(|(iid, b)| BackendStatus {
            name: b.backend.name.clone(),
            iid,
            mode: b.backend.mode,
            queue: QueueCounters::default(),
            balance: b.backend.balance.clone(),
            traffic,
            http,
            slim: 200,
            cookie: None,
            econ: 0,
            eint: 0,
            wrew: 0,
            lastchg: 11_520,
            downtime: 0,
            chkdown: 0,
            servers: (1..)
                .zip(&b.servers)
                .map(|(sid, s)| server(sid, s, &b.backend.check))
                .collect(),
        })
        .collect();
    ProxyStatus {
        frontends,
        backends,
        curr_conns: 3,
        maxconn: 10_000,
        threads: 4,
        conn_rate: 7,
        conn_rate_max: 120,
        ..ProxyStatus::default()
    }
}

fn server(sid: u32, s: &model::DerivedServer, check: &model::Check) -> ServerStatus {
    let share = u64::from(sid);
    ServerStatus {
        name: s.name.clone(),
        sid,
        addr: s.address,
        state: s.state,
        health: Health::Up,
        forced: s.health,
        hostname: None,
        weight: s.weight,
        user_weight: s.weight.get().into(),
        effective_weight: s.weight.get().into(),
        maxconn: s.maxconn,
        maxqueue: s.maxqueue,
        queue: QueueCounters::default(),
        agent: None,
        checked: true,
        observed: false,
        throttle: None,
        cookie: None,
        backup: s.backup,
        check_fall: check.fall,
        check_rise: check.rise,
        check: CheckStatus {
            check_status: "L4OK".to_owned(),
            check_duration: Some(1),
            last_chk: "Layer4 check passed".to_owned(),
            check_health: u32::from(check.rise) + u32::from(check.fall) - 1,
            ..CheckStatus::default()
        },
        lastchg: 11_520,
        downtime: 0,
        lastsess: Some(1),
        traffic: TrafficCounters {
            scur: u64::from(s.state == ServerState::Ready) * u64::from(sid % 2),
            smax: 12,
            stot: 4_800 - share,
            bin: 1_400_000,
            bout: 103_000_000 + share,
            rate: 2,
            rate_max: 31,
        },
        http: HttpCounters { hrsp_2xx: 4_560, hrsp_3xx: 228, hrsp_4xx: 8, ..Default::default() },
        econ: 0,
        eint: 0,
        wrew: 0,
        eresp: 0,
        wretr: 0,
        wredis: 0,
        lbtot: 4_800 - share,
        connect: 310,
        reuse: 4_490 - share,
        srv_icur: 2,
        cli_abrt: 1,
        srv_abrt: 0,
        ctime: 1,
        rtime: 4,
        ttime: 9,
        ctime_max: 12,
        rtime_max: 310,
        ttime_max: 1_250,
    }
}
