//! Each rule broken once, with the place the operator is sent to.

use crate::tests::{REFERENCE, reference};
use crate::{Settings, check, from_json, from_toml, to_json};

fn broken(change: impl Fn(&mut Settings)) -> Vec<String> {
    let mut settings = reference();
    assert_eq!(check(&settings), []);
    change(&mut settings);
    check(&settings).into_iter().map(|p| p.path).collect()
}

#[test]
fn each_rule_names_its_place() {
    assert_eq!(
        broken(|s| s.nodes[1].eth0.address = s.nodes[0].eth0.address),
        ["nodes[1].eth0.address"]
    );
    assert_eq!(broken(|s| s.nodes[1].name = "web01".parse().unwrap()), ["nodes[1].name"]);
    assert_eq!(broken(|s| s.nodes[1].id = s.nodes[0].id.clone()), ["nodes[1].id"]);
    assert_eq!(
        broken(|s| s.nodes[0].eth0.address = "192.168.1.255/24".parse().ok()),
        ["nodes[0].eth0.address"]
    );
    assert_eq!(
        broken(|s| s.nodes[0].eth0.address = "192.168.1.1/24".parse().ok()),
        ["nodes[0].eth0.address"]
    );
    assert_eq!(
        broken(|s| s.nodes[0].wlan0.gateway = "10.0.0.1".parse().ok()),
        ["nodes[0].wlan0.gateway"]
    );
    assert_eq!(broken(|s| s.cluster.gateway = "10.0.0.1".parse().ok()), ["cluster.gateway"]);
    assert_eq!(
        broken(|s| s.cluster.floating_ip = "192.168.1.10/24".parse().ok()),
        ["cluster.floating_ip"]
    );
    let outside = broken(|s| s.cluster.floating_ip = "192.168.2.15/24".parse().ok());
    assert_eq!(outside, ["cluster.floating_ip"; 2], "once for each balancer");
    let servers = |count: u8| (1..=count).map(|n| std::net::Ipv4Addr::new(9, 9, 9, n)).collect();
    assert_eq!(broken(|s| s.cluster.dns = servers(4)), ["cluster.dns"]);
    assert_eq!(broken(|s| s.nodes[1].wlan0.dns = servers(4)), ["nodes[1].wlan0.dns"]);
    assert_eq!(
        broken(|s| s.nodes[0].eth0.dns = vec!["9.9.9.9".parse().unwrap(); 2]),
        ["nodes[0].eth0.dns[1]"]
    );
    let time = |list: &[&str]| list.iter().map(|t| t.parse().unwrap()).collect::<Vec<_>>();
    let five = ["a", "b", "c", "d", "e"];
    assert_eq!(broken(|s| s.cluster.ntp = time(&five)), ["cluster.ntp"]);
    assert_eq!(broken(|s| s.nodes[0].eth0.ntp = time(&["0.0.0.0"])), ["nodes[0].eth0.ntp[0]"]);
    assert_eq!(
        broken(|s| s.nodes[0].wlan0.ntp = time(&["ntp.example.org", "NTP.example.org"])),
        ["nodes[0].wlan0.ntp[1]"]
    );
    for bad in ["", "1.2.3", "300.1.1.1", "a..b", "-a.b", "time server", "a.b:123", "a/b"] {
        assert!(bad.parse::<crate::TimeServer>().is_err(), "{bad:?}");
    }
    assert_eq!(broken(|s| s.cluster.key = crate::Secret::new("short")), ["cluster.key"]);
    assert_eq!(
        broken(|s| s.wifi.networks[0].passphrase = crate::Secret::new("short")),
        ["wifi.networks[0].passphrase"]
    );
    assert_eq!(broken(|s| s.sites[0].port = crate::Port::constant(1936)), ["sites[0].port"]);
    assert_eq!(broken(|s| s.sites[0].index = vec!["a/b".into()]), ["sites[0].index[0]"]);
    assert_eq!(
        broken(|s| s.sites[0].mirror.origin = "lbmaster".parse().ok()),
        ["sites[0].mirror.origin"]
    );
    assert_eq!(broken(|s| s.admin.session_idle = crate::Millis(1)), ["admin.session_idle"]);
    assert_eq!(broken(|s| s.admin.stats_refresh = Some(crate::Millis(9))), ["admin.stats_refresh"]);
    let uri = |uri: &'static str| broken(|s| s.admin.stats_uri = uri.parse().ok());
    assert_eq!(uri("/balancing/x"), ["admin.stats_uri"]);
    assert_eq!(uri("/haproxy?stats"), [""; 0]);
    for bad in ["", "/", "stats", "//x", "/a;b", "/a?b?c", "/a b", "/<x>"] {
        assert!(bad.parse::<crate::StatsUri>().is_err(), "{bad:?}");
    }
}

fn frontend(bind: &str) -> crate::Frontend {
    crate::Frontend {
        name: "more".parse().unwrap(),
        bind: vec![bind.parse().unwrap()],
        default_backend: "webservers".parse().unwrap(),
        ..crate::Frontend::default()
    }
}

#[test]
fn a_frontend_shows_statistics_where_nothing_else_is() {
    let with = |edit: &dyn Fn(&mut crate::Frontend)| {
        broken(|s| {
            let mut front = frontend("floating:8080");
            front.stats_uri = "/haproxy?stats".parse().ok();
            edit(&mut front);
            s.frontends.push(front);
        })
    };
    assert_eq!(with(&|_| {}), [""; 0]);
    assert_eq!(with(&|f| f.stats_refresh = Some(crate::Millis(5000))), [""; 0]);
    let (uri, refresh) = ("frontends[0].stats_uri", "frontends[0].stats_refresh");
    assert_eq!(with(&|f| f.stats_refresh = Some(crate::Millis(5))), [refresh]);
    assert_eq!(with(&|f| f.stats_uri = "/.well-known/x".parse().ok()), [uri]);
    let alone = |f: &mut crate::Frontend| {
        (f.stats_uri, f.stats_refresh) = (None, Some(crate::Millis(5000)));
    };
    assert_eq!(with(&alone), [refresh]);
    assert!(with(&|f| f.mode = crate::Mode::Tcp).contains(&uri.to_owned()));
}

#[test]
fn certificates_are_named_whole_and_there() {
    let block = |label| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
    let good = crate::Certificate {
        name: "main".parse().unwrap(),
        chain: include_str!("../certificate/test.pem").to_owned(),
        key: crate::Secret::new(block("PRIVATE KEY")),
    };
    let with = |edit: &dyn Fn(&mut crate::Frontend, &mut crate::Certificate)| {
        broken(|s| {
            let (mut front, mut certificate) = (frontend("floating:8443 ssl"), good.clone());
            front.certificates = vec![certificate.name.clone()];
            edit(&mut front, &mut certificate);
            s.frontends.push(front);
            s.certificates.push(certificate);
        })
    };
    assert_eq!(with(&|_, _| {}), [""; 0]);
    assert_eq!(with(&|f, _| f.certificates.clear()), ["frontends[0].certificates"]);
    let other = || "other".parse().unwrap();
    assert_eq!(with(&|f, _| f.certificates[0] = other()), ["frontends[0].certificates[0]"]);
    assert_eq!(with(&|f, c| f.certificates.push(c.name.clone())), ["frontends[0].certificates[1]"]);
    for chain in [String::new(), block("CERTIFICATE"), good.chain.clone() + &block("PRIVATE KEY")] {
        assert_eq!(with(&|_, c| c.chain.clone_from(&chain)), ["certificates[0].chain"], "{chain}");
    }
    for key in [String::new(), block("ENCRYPTED PRIVATE KEY"), crate::MASK.to_owned(), "x".into()] {
        let key = crate::Secret::new(key);
        assert_eq!(with(&|_, c| c.key = key.clone()), ["certificates[0].key"]);
    }
    assert_eq!(
        broken(|s| s.certificates.extend([good.clone(), good.clone()])),
        ["certificates[1].name"]
    );
}

#[test]
fn frontends_keep_off_each_other_and_off_the_admin_page() {
    for (bind, paths) in [
        ("floating:8080", &[][..]),
        ("192.168.1.15:8080", &[]),
        ("*:1936", &["frontends[0].bind[0]"]),
        ("floating:1937", &["frontends[0].bind[0]"]),
        ("192.168.1.99:8080", &["frontends[0].bind[0]"]),
        // The derived http-in comes after the written ones, so it is the one that is in the way.
        ("floating:80", &["frontends[1].bind[0]"]),
        ("*:80", &["frontends[1].bind[0]"]),
    ] {
        assert_eq!(broken(|s| s.frontends.push(frontend(bind))), paths, "{bind}");
    }
    assert_eq!(
        broken(|s| {
            s.frontends.push(frontend("floating:8080"));
            s.frontends[0].default_backend = "nowhere".parse().unwrap();
            s.frontends[0].maxconn = 0;
        }),
        ["frontends[0].default_backend", "frontends[0].maxconn"]
    );
    assert_eq!(
        broken(|s| {
            s.cluster.maxconn = Some(0);
            s.frontends.push(frontend("floating:8080"));
            s.frontends[0].timeout_client_fin = Some(crate::Millis(0));
            let mut backend = crate::derive::default_backend();
            backend.fullconn = Some(100_001);
            backend.timeout_server_fin = Some(crate::Millis(0));
            // This one may be: the time-outs of both sides count in its place.
            backend.timeout_tunnel = crate::Millis(0);
            backend.servers = vec![crate::Server {
                name: "web01-eth".parse().unwrap(),
                maxconn: 2,
                minconn: 3,
                ..crate::Server::default()
            }];
            s.backends.push(backend);
        }),
        [
            "cluster.maxconn",
            "frontends[0].timeout_client_fin",
            "backends[0].fullconn",
            "backends[0].servers[0].minconn",
            "backends[0].timeout_server_fin"
        ]
    );
    let both = broken(|s| {
        s.nodes[0].roles.insert(crate::Role::Balancer);
        s.sites[0].port = crate::Port::constant(8080);
        s.frontends.push(frontend("*:8080"));
    });
    assert_eq!(both, ["frontends[0].bind[0]"]);
}

fn instance() -> crate::VrrpInstance {
    crate::VrrpInstance {
        name: "VI_2".parse().unwrap(),
        virtual_router_id: crate::Vrid::constant(78),
        addresses: vec!["192.168.1.16/24".parse().unwrap()],
        ..crate::VrrpInstance::default()
    }
}

#[test]
fn virtual_routers_fit_together() {
    let with = |change: fn(&mut crate::VrrpInstance)| {
        broken(move |s| {
            let mut i = instance();
            change(&mut i);
            s.vrrp.push(i);
        })
    };
    assert!(with(|_| ()).is_empty());
    assert_eq!(
        with(|i| i.advert_interval = crate::Centiseconds::constant(50)),
        ["vrrp[0].advert_interval"]
    );
    assert!(
        with(|i| {
            i.advert_interval = crate::Centiseconds::constant(1);
            i.version = crate::VrrpVersion::V3;
        })
        .is_empty()
    );
    assert_eq!(with(|i| i.primary = "web01".parse().ok()), ["vrrp[0].primary"]);
    assert_eq!(with(|i| i.interface = "br0".parse().unwrap()), ["vrrp[0].interface"]);
    assert_eq!(with(|i| i.auth_pass = crate::Secret::new("123456789")), ["vrrp[0].auth_pass"]);
    assert_eq!(
        with(|i| i.addresses[0] = "10.0.0.9/24".parse().unwrap()),
        ["vrrp[0].addresses[0]"; 2]
    );
    assert_eq!(
        with(|i| i.addresses[0] = "192.168.1.10/24".parse().unwrap()),
        ["vrrp[0].addresses[0]"]
    );
    // The derived VI_1 is told apart from the written one that took its id.
    assert_eq!(with(|i| i.virtual_router_id = crate::Vrid::constant(77)), ["cluster.floating_ip"]);
}

#[test]
fn every_mistake_of_a_document_is_listed_at_once() {
    let text = r#"{
        "cluster": {"floating_ip": "192.168.9.15/24", "gatway": "192.168.1.1", "dns": ["x"]},
        "nodes": [
            {"id": "a", "name": "A", "roles": ["balancer"], "eth0": {"address": "192.168.1.14/24"}},
            {"id": "b", "name": "-b-", "roles": ["king"], "eth0": {"address": 7}},
            "not a node"
        ],
        "frontends": [{"name": "f", "bind": ["*:1936"], "default_backend": "g", "maxconn": "many"}],
        "surprise": true
    }"#;
    let problems = from_json(text.as_bytes(), &Settings::default()).unwrap_err();
    let paths: Vec<_> = problems.iter().map(|p| p.path.as_str()).collect();
    for expected in [
        "cluster.gatway",
        "cluster.dns[0]",
        "nodes[1].name",
        "nodes[1].roles[0]",
        "nodes[1].eth0.address",
        "nodes[2]",
        "surprise",
        "frontends[0].maxconn",
        "frontends[0].bind[0]",
        "frontends[0].default_backend",
        "cluster.floating_ip",
    ] {
        assert!(paths.contains(&expected), "{expected} is missing in {problems:#?}");
    }
    assert!(problems.iter().all(|p| !p.problem.is_empty() && !p.problem.contains('`')));
}

#[test]
fn other_things_than_settings_are_refused() {
    assert_eq!(from_json(b"[]", &Settings::default()).unwrap_err().len(), 1);
    let lists = br#"{"cluster": [], "nodes": [["a"]]}"#;
    let paths: Vec<_> =
        from_json(lists, &Settings::default()).unwrap_err().into_iter().map(|p| p.path).collect();
    assert_eq!(paths, ["cluster", "nodes[0]", "nodes[0].name"]);
    assert_eq!(from_json(b"7", &Settings::default()).unwrap_err().len(), 1);
    assert_eq!(from_json(b"{", &Settings::default()).unwrap_err().len(), 1);
    assert_eq!(
        from_json("[".repeat(200_000).as_bytes(), &Settings::default()).unwrap_err().len(),
        1
    );
    assert_eq!(from_toml("= =", &Settings::default()).unwrap_err().len(), 1);
    let large = format!("{{\"cluster\": {{\"name\": \"{}\"}}}}", "x".repeat(10_000_000));
    let problems = from_json(large.as_bytes(), &Settings::default()).unwrap_err();
    assert!(problems[0].problem.contains("at most 1048576"), "{problems:?}");
}

#[test]
fn documents_come_back_as_they_went() {
    let settings = reference();
    assert_eq!(
        from_json(to_json(&settings).as_bytes(), &Settings::default()),
        Ok(settings.clone())
    );
    assert_eq!(from_toml(&crate::to_toml(&settings), &Settings::default()), Ok(settings));
}

#[test]
fn rules_and_persistence_name_their_places() {
    fn with(change: impl Fn(&mut crate::Frontend, &mut crate::Backend)) -> Vec<String> {
        broken(|s| {
            let mut all = s.completed();
            let (mut frontend, mut backend) = (all.frontends.remove(0), all.backends.remove(0));
            change(&mut frontend, &mut backend);
            (s.frontends, s.backends) = (vec![frontend], vec![backend]);
        })
    }
    assert_eq!(with(|_, _| {}), [""; 0]);
    let rules = |lines: &[&str]| {
        let lines: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
        with(move |f, _| f.rules = lines.iter().map(|l| l.parse().unwrap()).collect())
    };
    assert_eq!(rules(&["acl a path /x", "use_backend webservers if a"]), [""; 0]);
    assert_eq!(rules(&["deny", "use_backend nobody"]), ["frontends[0].rules[1]"]);
    assert_eq!(rules(&["use_backend webservers if a", "acl a path /x"]), ["frontends[0].rules[0]"]);
    assert_eq!(rules(&["acl a status 200"]), ["frontends[0].rules[0]"]);
    assert_eq!(rules(&["deny"; 300]), ["frontends[0].rules"]);
    assert_eq!(with(|_, b| b.hash_balance_factor = 100), ["backends[0].hash_balance_factor"]);
    let unhashed = with(|_, b| {
        (b.hash_balance_factor, b.balance) = (150, crate::Balance::Source);
    });
    assert_eq!(unhashed, ["backends[0].hash_balance_factor"]);
    assert_eq!(with(|_, b| b.slowstart = crate::Millis(10)), ["backends[0].slowstart"]);
    assert_eq!(with(|_, b| b.stick_on = "src".parse().ok()), ["backends[0].stick_table"]);
    let table = |line: &'static str, on: &'static str| {
        with(move |_, b| (b.stick_table, b.stick_on) = (line.parse().ok(), on.parse().ok()))
    };
    assert_eq!(table("type ip size 1k", "src"), [""; 0]);
    assert_eq!(table("type ip size 1k", "cookie(A)"), ["backends[0].stick_table"]);
    assert_eq!(table("type ip size 1k", "nonsense"), ["backends[0].stick_on"]);
    let twice = with(|_, b| {
        b.cookie = "S insert".parse().ok();
        b.servers = ["a", "b"]
            .map(|n| crate::Server {
                name: n.parse().unwrap(),
                address: "192.168.1.9:80".parse().ok(),
                cookie: "same".parse().ok(),
                ..crate::Server::default()
            })
            .to_vec();
    });
    assert_eq!(twice, ["backends[0].servers[1].cookie"]);
}

/// DNS as it is usually balanced: two servers behind the floating IP, by datagram and by connection.
fn two_resolvers(s: &mut Settings) {
    let lines = include_str!("../../../../docs/dns.md");
    let block = lines.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    // As a reader of the recipe does: below what is there.
    *s = from_toml(&format!("{REFERENCE}\n{block}"), &Settings::default()).unwrap();
}

#[test]
fn the_recipe_for_dns_is_a_good_one() {
    assert_eq!(broken(two_resolvers), [""; 0]);
    let mut all = reference();
    two_resolvers(&mut all);
    let node = all.nodes[2].id.clone();
    let effective = crate::derive(&all, &node);
    let at = |mode| effective.frontends.iter().find(|f| f.frontend.mode == mode).unwrap();
    assert_eq!(at(crate::Mode::Udp).listen, at(crate::Mode::Tcp).listen);
    let udp = effective.backends.iter().find(|b| b.backend.mode == crate::Mode::Udp).unwrap();
    assert_eq!((udp.servers.len(), udp.backend.udp_responses), (2, Some(1)));
}

#[test]
fn mode_udp_has_rules_of_its_own() {
    let with = |change: &dyn Fn(&mut crate::Frontend, &mut crate::Backend)| {
        broken(|s| {
            two_resolvers(s);
            let udp = |mode: crate::Mode| mode == crate::Mode::Udp;
            let front = s.frontends.iter_mut().find(|f| udp(f.mode)).unwrap();
            let back = s.backends.iter_mut().find(|b| udp(b.mode)).unwrap();
            let (mut f, mut b) = (front.clone(), back.clone());
            change(&mut f, &mut b);
            (*front, *back) = (f, b);
            // First in their lists, so that the paths below are known.
            s.frontends.sort_by_key(|f| !udp(f.mode));
            s.backends.sort_by_key(|b| !udp(b.mode));
        })
    };
    assert_eq!(with(&|_, _| ()), [""; 0]);
    assert_eq!(with(&|f, _| f.accept_proxy = true), ["frontends[0].accept_proxy"]);
    assert_eq!(
        with(&|f, _| f.rules.push("http-request deny".parse().unwrap())),
        ["frontends[0].rules"]
    );
    assert_eq!(with(&|f, _| f.mode = crate::Mode::Tcp).first().unwrap(), "frontends[0].mode");
    for taken in ["*:5353", "floating:1937"] {
        assert_eq!(with(&|f, _| f.bind = vec![taken.parse().unwrap()]), ["frontends[0].bind[0]"]);
    }
    let ssl = with(&|f, _| f.bind = vec!["floating:853 ssl".parse().unwrap()]);
    assert!(ssl.contains(&"frontends[0].bind[0]".to_owned()), "{ssl:?}");
    for balance in ["uri", "hdr(host)", "rdp-cookie"] {
        assert_eq!(
            with(&|_, b| b.balance = balance.parse().unwrap()),
            ["backends[0].balance"],
            "{balance}"
        );
    }
    assert_eq!(with(&|_, b| b.cookie = "SRV insert".parse().ok()), ["backends[0].cookie"]);
    assert_eq!(with(&|_, b| b.check.observe = true), ["backends[0].check.observe"]);
    assert_eq!(
        with(&|_, b| b.servers[1].send_proxy = crate::SendProxy::V2),
        ["backends[0].servers[1].send_proxy"]
    );
    assert_eq!(with(&|_, b| b.servers[1].maxqueue = 1), ["backends[0].servers[1].maxqueue"]);
    assert_eq!(
        with(&|_, b| b.check.dns_name = None),
        ["backends[0].check.dns_codes", "backends[0].check.dns_name"]
    );
    let port = crate::Check { port: "53".parse().ok(), ..crate::Check::default() };
    assert_eq!(with(&|_, b| b.check = port.clone()), [""; 0]);
    assert_eq!(with(&|_, b| b.check.http_path = "/".parse().ok()), ["backends[0].check.dns_name"]);
    assert_eq!(
        with(&|_, b| b.check.dns_address = "2001:db8::1".parse().ok()),
        ["backends[0].check.dns_address"]
    );
    // Two frontends of datagrams at one place are one too many; datagrams and connections are not.
    let twice = broken(|s| {
        two_resolvers(s);
        let at = s.frontends.iter().position(|f| f.mode == crate::Mode::Udp).unwrap();
        let mut more = s.frontends[at].clone();
        more.name = "more".parse().unwrap();
        s.frontends.insert(0, more);
    });
    assert_eq!(twice.len(), 1, "{twice:?}");
    assert!(twice[0].ends_with(".bind[0]"), "{twice:?}");
}
