//! The reference cluster, and what follows from it.

use crate::*;

pub(crate) fn reference() -> Settings {
    from_toml(REFERENCE, &Settings::default()).unwrap()
}

pub(crate) const REFERENCE: &str = r#"
[cluster]
floating_ip = "192.168.1.15/24"
gateway = "192.168.1.1"
dns = ["192.168.1.1"]
key = "0123456789abcdef0123456789abcdef"

[[nodes]]
id = "web01"
name = "Web01"
roles = ["web"]
eth0 = { address = "192.168.1.10/24" }
wlan0 = { address = "192.168.1.20/24" }

[[nodes]]
id = "web02"
name = "Web02"
roles = ["web"]
eth0 = { address = "192.168.1.11/24" }
wlan0 = { address = "192.168.1.21/24" }

[[nodes]]
id = "lbmaster"
name = "LbMaster"
roles = ["balancer"]
eth0 = { address = "192.168.1.14/24" }
wlan0 = { address = "192.168.1.24/24" }

[[nodes]]
id = "lbslave"
name = "LbSlave"
roles = ["balancer"]
eth0 = { address = "192.168.1.12/24" }
wlan0 = { address = "192.168.1.22/24" }

[wifi]
country = "GB"
networks = [{ ssid = "CCNA - CCNP", passphrase = "18414819215" }]

[[sites]]
name = "default"
mirror = { exclude = ["**/stats", "**/error", "**/files/pictures"] }
"#;

fn id(text: &str) -> NodeId {
    text.parse().unwrap()
}

#[test]
fn the_reference_cluster_follows_from_its_roles() {
    let settings = reference();
    let slave = derive(&settings, &id("lbslave"));
    let servers: Vec<_> =
        slave.backends[0].servers.iter().map(|s| format!("{} {}", s.name, s.address)).collect();
    assert_eq!(
        servers,
        [
            "web01-eth 192.168.1.10:80",
            "web01-wlan 192.168.1.20:80",
            "web02-eth 192.168.1.11:80",
            "web02-wlan 192.168.1.21:80"
        ]
    );
    let check = &slave.backends[0].backend.check;
    assert_eq!((check.inter, check.fall, check.rise), (Millis(500), 3, 2));
    assert_eq!(slave.frontends[0].listen, ["192.168.1.15:80".parse().unwrap()]);
    let router = &slave.vrrp[0];
    assert_eq!(router.instance.virtual_router_id, Vrid::constant(77));
    assert_eq!(router.priority, Some(Priority::constant(100)));
    assert_eq!(router.peers, ["192.168.1.14".parse::<std::net::Ipv4Addr>().unwrap()]);
    assert_eq!(derive(&settings, &id("lbmaster")).vrrp[0].priority, Some(Priority::constant(101)));

    let origin = derive(&settings, &id("web01"));
    assert_eq!(origin.sites[0].duty, MirrorDuty::Origin { mirrors: vec![id("web02")] });
    assert_eq!(origin.sites[0].listen.len(), 2);
    assert_eq!(origin.vrrp[0].priority, None);
    let mirror = derive(&settings, &id("web02"));
    assert_eq!(mirror.sites[0].duty, MirrorDuty::Mirror { origin: id("web01") });
    assert_eq!(mirror.sites[0].directory, "site");
    assert_eq!(mirror.peers[0].1[0], "192.168.1.10:1937".parse().unwrap());
}

#[test]
fn two_boards_are_a_whole_cluster() {
    let mut settings = reference();
    settings.nodes.truncate(2);
    for node in &mut settings.nodes {
        node.roles.insert(Role::Balancer);
    }
    assert_eq!(check(&settings), []);
    let first = derive(&settings, &id("web01"));
    assert_eq!(first.backends[0].servers.len(), 4);
    assert_eq!(first.vrrp[0].priority, Some(Priority::constant(101)));
    assert!(first.is(Role::Web) && first.is(Role::Balancer));
}

#[test]
fn nothing_follows_from_nothing() {
    let settings = Settings::default();
    assert_eq!(check(&settings), []);
    let effective = derive(&settings, &id("x"));
    assert_eq!(effective, Effective { node: id("x"), ..Effective::default() });
}

#[test]
fn a_board_is_taken_in_as_a_new_node_or_for_one_that_is_there() {
    let mut settings = reference();
    let before = settings.clone();
    let device = |letter: &str| letter.repeat(64).parse().unwrap();
    let adopt = |node: &str, letter: &str, replaces| Edit::Adopt {
        node: Node {
            id: id(node),
            name: "Fresh".parse().unwrap(),
            device: Some(device(letter)),
            ..Node::default()
        },
        replaces,
        compared: !replaces,
    };
    let new = adopt("pi-1", "a", false);
    new.apply(&mut settings).unwrap();
    assert_eq!(new.sentence(), "took in a board as node pi-1");
    assert_eq!(settings.nodes.len(), before.nodes.len() + 1);
    let other = adopt("web01", "b", true);
    other.apply(&mut settings).unwrap();
    let sentence = "took in another board for node web01, without comparing its code";
    assert_eq!(other.sentence(), sentence);
    let web01 = settings.node(&id("web01")).unwrap();
    let expected = Node { device: Some(device("b")), ..before.node(&id("web01")).unwrap().clone() };
    assert_eq!(*web01, expected);
    assert_eq!(check(&settings), []);
}

#[test]
fn a_pin_is_set_once() {
    let mut settings = reference();
    let pin = |node: &str, letter: &str| Edit::PinNode {
        node: id(node),
        device: letter.repeat(64).parse().unwrap(),
    };
    assert_eq!(pin("web01", "a").sentence(), "met node web01 and pinned its key");
    pin("web01", "a").apply(&mut settings).unwrap();
    pin("web01", "b").apply(&mut settings).unwrap();
    let pinned = settings.node(&id("web01")).unwrap().device.clone();
    assert_eq!(pinned.unwrap().as_str(), "a".repeat(64));
    assert!(pin("nobody", "a").apply(&mut settings).is_err());
    assert_eq!(check(&settings), []);
    pin("web02", "a").apply(&mut settings).unwrap();
    assert_eq!(check(&settings)[0].path, "nodes[1].device");
}

#[test]
fn a_written_server_changes_the_derived_one() {
    let mut settings = reference();
    let edit = Edit::SetServer {
        backend: "webservers".parse().unwrap(),
        server: "web01-eth".parse().unwrap(),
        weight: Some(Weight::constant(7)),
        state: Some(ServerState::Drain),
        health: None,
        agent: None,
    };
    edit.apply(&mut settings).unwrap();
    assert_eq!(edit.sentence(), "set webservers/web01-eth to weight 7 and drain");
    assert_eq!(check(&settings), []);
    let servers = derive(&settings, &id("lbmaster")).backends.remove(0).servers;
    assert_eq!(servers.len(), 4);
    assert_eq!(servers[0].weight, Weight::constant(7));
    assert_eq!(servers[0].state, ServerState::Drain);
    assert_eq!(servers[1].weight, Weight::constant(1));

    let nobody = Edit::SetServer {
        backend: "webservers".parse().unwrap(),
        server: "web09-eth".parse().unwrap(),
        weight: None,
        state: None,
        health: None,
        agent: None,
    };
    let before = settings.clone();
    assert!(nobody.apply(&mut settings).is_err());
    assert_eq!(settings, before);
}

#[test]
fn a_full_load_is_a_tenth_of_what_may_come() {
    let mut settings = reference();
    let full = |s: &Settings| derive(s, &id("lbmaster")).backends[0].fullconn;
    assert_eq!(full(&settings), 200, "the default frontend alone");
    let more = |maxconn, to: &str, rules: &[&str]| Frontend {
        name: format!("f{maxconn}").parse().unwrap(),
        maxconn,
        default_backend: to.parse().unwrap(),
        rules: rules.iter().map(|r| r.parse().unwrap()).collect(),
        ..Frontend::default()
    };
    settings.frontends.push(more(31, "webservers", &[]));
    assert_eq!(full(&settings), 204, "rounded up");
    settings.frontends.push(more(100, "other", &["use_backend webservers if { path_beg /a }"]));
    settings.frontends.push(more(1000, "other", &[]));
    assert_eq!(full(&settings), 214);
    let mut written = derive::default_backend();
    written.fullconn = Some(7);
    settings.backends.push(written);
    assert_eq!(full(&settings), 7);
}

#[test]
fn secrets_leave_masked_and_come_back() {
    let settings = reference();
    let masked = settings.masked();
    let text = to_json(&masked);
    assert!(!text.contains("18414819215") && !text.contains("0123456789abcdef"), "{text}");
    assert!(!format!("{settings:?}").contains("18414819215"));
    assert_eq!(from_json(text.as_bytes(), &settings), Ok(settings.clone()));
    assert_eq!(from_json(text.as_bytes(), &Settings::default()).unwrap_err().len(), 2);
    // A mask for something that was never set does not become a password.
    let mut other = masked;
    other.wifi.networks[0].ssid = "another".parse().unwrap();
    other.unmask(&settings);
    assert_eq!(check(&other)[0].path, "wifi.networks[0].passphrase");
}

#[test]
fn spans_of_time_are_haproxys() {
    for (text, ms) in
        [("500", 500), ("500ms", 500), ("5s", 5000), ("2m", 120_000), ("1d", 86_400_000)]
    {
        assert_eq!(text.parse(), Ok(Millis(ms)));
    }
    for text in ["", "s", "-1s", "1.5s", "5 weeks", "50d"] {
        assert!(text.parse::<Millis>().is_err(), "{text}");
    }
    for ms in [0, 1, 500, 1500, 60_000, 90_000, 86_400_000] {
        assert_eq!(Millis(ms).to_string().parse(), Ok(Millis(ms)));
    }
}

#[test]
fn a_change_of_the_network_is_taken_back_and_nothing_else() {
    let before = reference();
    let mut settings = before.clone();
    settings.nodes[1].eth0.address = "192.168.9.9/24".parse().ok();
    settings.nodes[1].eth0.gateway = "192.168.9.1".parse().ok();
    settings.nodes[1].eth0.dns = vec!["9.9.9.9".parse().unwrap()];
    settings.cluster.gateway = "192.168.1.254".parse().ok();
    let mut edit = TakeBack {
        node: "web02".parse().unwrap(),
        interface: "eth0".parse().unwrap(),
        address: before.nodes[1].eth0.address,
        gateway: before.nodes[1].eth0.gateway,
        cluster_gateway: None,
        why: "Web02's address change was taken back".to_owned(),
    };
    Edit::TakeBack(edit.clone()).apply(&mut settings).unwrap();
    let mut expected = before.clone();
    expected.nodes[1].eth0.dns = vec!["9.9.9.9".parse().unwrap()];
    expected.cluster.gateway = "192.168.1.254".parse().ok();
    assert_eq!(settings, expected);
    edit.cluster_gateway = Some(before.cluster.gateway);
    Edit::TakeBack(edit.clone()).apply(&mut settings).unwrap();
    assert_eq!(settings.cluster.gateway, before.cluster.gateway);
    assert_eq!(Edit::TakeBack(edit.clone()).sentence(), edit.why);
    edit.node = "gone".parse().unwrap();
    assert!(Edit::TakeBack(edit).apply(&mut settings).is_err());
}

#[test]
fn binds_are_haproxys() {
    for text in ["floating:80", "*:8080", "192.168.1.15:80", "floating:443 ssl", "*:8443 ssl"] {
        assert_eq!(text.parse::<Bind>().unwrap().to_string(), text);
    }
    assert_eq!(":80".parse::<Bind>().unwrap().to_string(), "*:80");
    for text in ["", "80", "floating", "*:0", "*:65536", "host:80", "192.168.1.300:80", "ssl"] {
        assert!(text.parse::<Bind>().is_err(), "{text}");
    }
    assert_eq!("  floating:443   ssl ".parse::<Bind>().unwrap().to_string(), "floating:443 ssl");
    for text in ["*:443 ssl ssl", "*:443 ssl crt /etc/x.pem", "*:443 alpn h2"] {
        let error = text.parse::<Bind>().unwrap_err().to_string();
        assert!(error.contains("only ssl can stand"), "{error}");
    }
}

#[test]
fn the_defaults_of_every_entry_can_be_written_and_read() {
    let mut settings = reference().completed();
    let name = |text: &str| text.parse().unwrap();
    settings.vrrp.push(VrrpInstance {
        name: name("VI_2"),
        virtual_router_id: Vrid::constant(78),
        addresses: vec!["192.168.1.16/24".parse().unwrap()],
        ..VrrpInstance::default()
    });
    settings.sites.push(Site {
        name: name("more"),
        hosts: vec!["www.example.org".parse().unwrap()],
        ..Site::default()
    });
    settings.backends.push(Backend { name: name("b"), web_nodes: true, ..Backend::default() });
    assert_eq!(from_json(to_json(&settings).as_bytes(), &settings), Ok(settings.clone()));
    assert_eq!(from_toml(&to_toml(&settings), &settings), Ok(settings));
}
