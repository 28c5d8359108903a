use super::*;

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn wanted() -> Wanted {
    let link = |name: &str, address, metric, table| WantedLink {
        name: name.to_owned(),
        address: cidr(address),
        gateway: Some(ip("192.168.1.1")),
        metric,
        table,
        floating: Vec::new(),
        learned: false,
    };
    let mut wired = link("eth0", "192.168.1.14/24", 50, 183);
    wired.floating.push(ip("192.168.1.15"));
    Wanted {
        links: vec![wired, link("wlan0", "192.168.1.24/24", 60, 184)],
        beside: Vec::new(),
        waiting: Vec::new(),
        floating: BTreeSet::from([ip("192.168.1.15")]),
    }
}

fn board() -> View {
    let interface = |name: &str, index| Interface {
        name: name.to_owned(),
        index,
        mac: [2, 0, 0, 0, 0, 1],
        up: false,
        running: false,
    };
    View { interfaces: vec![interface("eth0", 2), interface("wlan0", 3)], ..View::default() }
}

/// Does to the view what the kernel would do.
fn carry_out(view: &mut View, op: &Op) {
    match op {
        Op::SwitchOn(index) => {
            let interface = view.interfaces.iter_mut().find(|i| i.index == *index).unwrap();
            (interface.up, interface.running) = (true, true);
            prefix_routes(view);
        }
        Op::AddAddress { interface, address, metric } => {
            view.addresses.retain(|a| (a.interface, a.address) != (*interface, *address));
            let (interface, address, metric) = (*interface, *address, *metric);
            view.addresses.push(Address { interface, address, protocol: Some(MARK), metric });
            prefix_routes(view);
        }
        Op::RemoveAddress { interface, address } => {
            view.addresses.retain(|a| (a.interface, a.address) != (*interface, *address));
            view.routes.retain(|r| r.source != Some(address.addr()));
            prefix_routes(view);
        }
        Op::AddRoute { route, replace } => {
            assert!(view.interfaces.iter().any(|i| i.index == route.interface && i.up));
            assert!(view.addresses.iter().any(|a| Some(a.address.addr()) == route.source));
            let there = view.routes.iter().position(|r| r.same_place(route));
            match there {
                Some(at) if *replace => view.routes[at] = route.clone(),
                Some(_) => {} // EEXIST
                None => view.routes.push(route.clone()),
            }
        }
        Op::RemoveRoute(route) => view.routes.retain(|r| r != route),
        Op::AddRule(rule) => view.rules.push(rule.clone()),
        Op::RemoveRule(rule) => view.rules.retain(|r| r != rule),
    }
}

/// The routes the kernel adds for the first address of a subnet on an interface.
fn prefix_routes(view: &mut View) {
    for found in view.addresses.clone() {
        let route = Route {
            table: MAIN,
            to: Cidr::new(found.address.network(), found.address.prefix()).ok(),
            gateway: None,
            interface: found.interface,
            source: Some(found.address.addr()),
            metric: found.metric,
            protocol: 2,
        };
        let up = view.interfaces.iter().any(|i| i.index == found.interface && i.up);
        if up && !view.routes.iter().any(|r| r.same_place(&route)) {
            view.routes.push(route);
        }
    }
}

/// Plans and carries out until nothing is left; the ops of every round.
fn settle(wanted: &Wanted, view: &mut View) -> Vec<Op> {
    let mut taken = BTreeSet::new();
    let mut all = Vec::new();
    for _ in 0..4 {
        let ops = plan(wanted, view, &taken).ops;
        if ops.is_empty() {
            return all;
        }
        for op in ops {
            if let Op::SwitchOn(index) = op {
                taken.insert(index);
            }
            carry_out(view, &op);
            all.push(op);
        }
    }
    panic!("the plan never ends: {all:?}");
}

#[test]
fn a_bare_board_gets_everything_in_an_order_the_kernel_accepts() {
    let mut view = board();
    settle(&wanted(), &mut view);
    let line = |r: &Route| {
        let to = r.to.map_or("default".into(), |t| t.to_string());
        let via = r.gateway.map_or(String::new(), |g| format!(" via {g}"));
        let (table, metric, source) = (r.table, r.metric, r.source.unwrap());
        format!("{table}: {to}{via} dev {} src {source} metric {metric}", r.interface)
    };
    let mut routes: Vec<String> = view.routes.iter().map(line).collect();
    routes.sort();
    assert_eq!(
        routes,
        [
            "183: 192.168.1.0/24 dev 2 src 192.168.1.14 metric 0",
            "183: default via 192.168.1.1 dev 2 src 192.168.1.14 metric 0",
            "184: 192.168.1.0/24 dev 3 src 192.168.1.24 metric 0",
            "184: default via 192.168.1.1 dev 3 src 192.168.1.24 metric 0",
            "254: 192.168.1.0/24 dev 2 src 192.168.1.14 metric 50",
            "254: 192.168.1.0/24 dev 3 src 192.168.1.24 metric 60",
            "254: default via 192.168.1.1 dev 2 src 192.168.1.14 metric 50",
            "254: default via 192.168.1.1 dev 3 src 192.168.1.24 metric 60",
        ]
    );
    let rules: Vec<_> = view.rules.iter().map(|r| (r.from.unwrap(), r.table)).collect();
    let floating = (ip("192.168.1.15"), 183);
    assert_eq!(rules, [(ip("192.168.1.14"), 183), floating, (ip("192.168.1.24"), 184)]);
    let done = plan(&wanted(), &view, &BTreeSet::new());
    assert_eq!(done.working, ["eth0", "wlan0"]);
    assert_eq!((done.ops, done.problems), (vec![], vec![]));
}

#[test]
fn a_new_address_comes_before_the_old_one_goes() {
    let mut view = board();
    settle(&wanted(), &mut view);
    let mut next = wanted();
    next.links[0].address = cidr("192.168.1.44/24");
    let ops = settle(&next, &mut view);
    let add = ops.iter().position(|op| matches!(op, Op::AddAddress { .. })).unwrap();
    let remove = ops.iter().position(|op| matches!(op, Op::RemoveAddress { .. })).unwrap();
    assert!(add < remove, "{ops:?}");
    // The routes change their source in place: at no moment is there none.
    assert!(!ops.iter().any(|op| matches!(op, Op::RemoveRoute(_))), "{ops:?}");
    let old = Some(ip("192.168.1.14"));
    assert!(
        view.routes.iter().all(|r| r.source != old) && view.rules.iter().all(|r| r.from != old)
    );
}

#[test]
fn what_others_set_is_left_alone_and_floating_addresses_are_not_ours() {
    let mut view = board();
    settle(&wanted(), &mut view);
    let foreign =
        |text, protocol| Address { interface: 2, address: cidr(text), protocol, metric: 0 };
    view.addresses.push(foreign("10.0.0.1/8", None));
    view.addresses.push(foreign("192.168.1.15/32", Some(MARK)));
    view.addresses.push(foreign("192.168.1.9/32", Some(MARK)));
    let route = Route { protocol: 3, metric: 0, source: None, ..view.routes[0].clone() };
    view.routes.push(route.clone());
    let rule = Rule { priority: 5, from: Some(ip("10.0.0.1")), table: 7, protocol: 3 };
    view.rules.push(rule.clone());
    let left = cidr("192.168.1.9/32");
    assert_eq!(
        plan(&wanted(), &view, &BTreeSet::new()).ops,
        [Op::RemoveAddress { interface: 2, address: left }],
        "only what carries our mark and is wanted by nobody"
    );
    let ops = settle(&Wanted { floating: wanted().floating, ..Wanted::default() }, &mut view);
    assert!(!ops.is_empty());
    let kept: Vec<_> = view.addresses.iter().map(|a| a.address).collect();
    assert_eq!(kept, [cidr("10.0.0.1/8"), cidr("192.168.1.15/32")]);
    assert!(view.routes.contains(&route) && view.rules.contains(&rule));
}

#[test]
fn the_same_address_set_by_somebody_else_is_taken_over() {
    let mut view = board();
    let address = cidr("192.168.1.24/24");
    view.addresses.push(Address { interface: 3, address, protocol: None, metric: 0 });
    let ops = plan(&wanted(), &view, &BTreeSet::new()).ops;
    assert!(ops.contains(&Op::AddAddress { interface: 3, address, metric: 60 }), "{ops:?}");
    // A kernel without IFA_PROTO: the metric is enough, or this would never end.
    view.addresses[0].metric = 60;
    let ops = plan(&wanted(), &view, &BTreeSet::new()).ops;
    assert!(!ops.contains(&Op::AddAddress { interface: 3, address, metric: 60 }), "{ops:?}");
}

#[test]
fn a_missing_or_dead_interface_is_said_and_the_other_works() {
    let mut view = board();
    settle(&wanted(), &mut view);
    view.interfaces[1].running = false;
    let found = plan(&wanted(), &view, &BTreeSet::from([2, 3]));
    assert_eq!(found.problems, ["wlan0 is not connected to a Wi-Fi network"]);
    assert!(found.ops.is_empty(), "the kernel keeps routes without carrier: {:?}", found.ops);

    view.interfaces[1].up = false;
    view.routes.retain(|r| r.interface != 3);
    let found = plan(&wanted(), &view, &BTreeSet::from([2, 3]));
    assert_eq!(found.problems, ["wlan0 is switched off"]);
    assert!(found.ops.is_empty(), "who switched it off meant it: {:?}", found.ops);

    view.interfaces.pop();
    view.addresses.retain(|a| a.interface != 3);
    let found = plan(&wanted(), &view, &BTreeSet::from([2]));
    assert_eq!(found.working, ["eth0"]);
    let missing = "this board has no wlan0: 192.168.1.24/24 is set when it appears";
    assert_eq!(found.problems, [missing]);
}

#[test]
fn a_router_out_of_reach_is_said_and_gets_no_route() {
    let mut view = board();
    let mut odd = wanted();
    odd.links[0].gateway = Some(ip("10.0.0.1"));
    settle(&odd, &mut view);
    assert!(!view.routes.iter().any(|r| r.gateway == Some(ip("10.0.0.1"))));
    let found = plan(&odd, &view, &BTreeSet::new());
    assert!(found.problems[0].starts_with("the router 10.0.0.1 is not in eth0's network"));
    assert_eq!(found.working, ["wlan0"]);
    // The node is the router itself.
    odd.links[0].gateway = Some(ip("192.168.1.14"));
    assert!(plan(&odd, &view, &BTreeSet::new()).problems.is_empty());
}

#[test]
fn a_route_that_somebody_took_away_comes_back() {
    let mut view = board();
    settle(&wanted(), &mut view);
    let whole = view.routes.len();
    while let Some(gone) = view.routes.iter().position(|r| r.interface == 2) {
        view.routes.remove(gone);
    }
    settle(&wanted(), &mut view);
    assert_eq!(view.routes.len(), whole);
}

#[test]
fn the_settings_of_the_reference_cluster() {
    let settings = |floating: bool| {
        let node = |id: &str, eth: &str, wlan: &str, role| Node {
            id: id.parse().unwrap(),
            device: None,
            name: id.parse().unwrap(),
            roles: BTreeSet::from([role]),
            eth0: model::Link { address: Some(cidr(eth)), ..model::Link::default() },
            wlan0: model::Link { address: Some(cidr(wlan)), ..model::Link::default() },
        };
        let mut all = model::Settings::default();
        all.cluster.gateway = Some(ip("192.168.1.1"));
        all.cluster.floating_ip = floating.then(|| cidr("192.168.1.15/24"));
        let (web, balancer) = (model::Role::Web, model::Role::Balancer);
        all.nodes = vec![
            node("web01", "192.168.1.10/24", "192.168.1.20/24", web),
            node("lbmaster", "192.168.1.14/24", "192.168.1.24/24", balancer),
        ];
        all
    };
    let of = |node: &str, floating| {
        let id = node.parse().unwrap();
        Wanted::of(&Snapshot::new(model::Revision(1), settings(floating), &id), &Learned::default())
    };
    assert_eq!(of("lbmaster", true), wanted());
    assert!(of("web01", true).links.iter().all(|l| l.floating.is_empty()));
    assert!(of("lbmaster", false).floating.is_empty());
    assert_eq!(of("stranger", true), Wanted::default());
}

/// What a DHCP server lent eth0.
fn lease(address: &str, router: &str) -> Source {
    let lease = crate::dhcp::lease::Lease {
        address: cidr(address),
        router: Some(ip(router)),
        dns: Vec::new(),
        domain: None,
        ntp: Vec::new(),
        server: ip(router),
        seconds: Some(60),
        renew: None,
        rebind: None,
        over: None,
    };
    Source { carrier: true, lease: Some(lease), local: None }
}

fn known(sources: &[(&str, Source)]) -> Learned {
    let sources = sources.iter().map(|(name, source)| ((*name).to_owned(), source.clone()));
    Learned { dhcp: true, sources: sources.collect(), ..Learned::default() }
}

/// A node with these static addresses, and the cluster's router.
fn snapshot(eth0: Option<&str>, wlan0: Option<&str>) -> Snapshot {
    let mut settings = model::Settings::default();
    settings.cluster.gateway = Some(ip("192.168.1.1"));
    let id: model::NodeId = "web01".parse().unwrap();
    let link = |address: Option<&str>| model::Link {
        address: address.map(cidr),
        ..model::Link::default()
    };
    let node = Node { id: id.clone(), eth0: link(eth0), wlan0: link(wlan0), ..Node::default() };
    settings.nodes.push(node);
    Snapshot::new(model::Revision(1), settings, &id)
}

#[test]
fn a_lease_stands_in_where_the_settings_say_nothing() {
    let both = known(&[
        ("eth0", lease("192.168.1.50/24", "192.168.1.254")),
        ("wlan0", lease("192.168.1.51/24", "192.168.1.254")),
    ]);
    let wanted = Wanted::of(&snapshot(None, Some("192.168.1.20/24")), &both);
    let line = |l: &WantedLink| (l.address.to_string(), l.gateway, l.metric, l.table, l.learned);
    let lines: Vec<_> = wanted.links.iter().map(line).collect();
    let lent = ("192.168.1.50/24".to_owned(), Some(ip("192.168.1.254")), 100, 183, true);
    let set = ("192.168.1.20/24".to_owned(), Some(ip("192.168.1.1")), 60, 184, false);
    assert_eq!(lines, [lent, set]);
    let off = Learned { dhcp: false, ..both.clone() };
    assert_eq!(Wanted::of(&snapshot(None, None), &off), Wanted::default());
    let lent = Learned { reserved: BTreeSet::from(["eth0".to_owned()]), ..both };
    let rest = Wanted::of(&snapshot(Some("192.168.1.10/24"), None), &lent);
    assert_eq!(rest.links.iter().map(|l| l.name.as_str()).collect::<Vec<_>>(), ["wlan0"]);

    let alone = Source { carrier: true, lease: None, local: Some(cidr("169.254.7.7/16")) };
    let wanted = Wanted::of(&snapshot(None, None), &known(&[("eth0", alone)]));
    let line = line(&wanted.links[0]);
    assert_eq!(line, ("169.254.7.7/16".to_owned(), None, 300, 183, true));
}

#[test]
fn an_interface_that_waits_for_an_address_is_switched_on_once() {
    let wanted = Wanted::of(&snapshot(None, None), &known(&[]));
    assert_eq!((wanted.links.len(), &wanted.waiting), (0, &vec!["eth0".to_owned()]));
    let mut view = board();
    assert_eq!(settle(&wanted, &mut view), [Op::SwitchOn(2)]);
    let again = plan(&wanted, &board(), &BTreeSet::from([2]));
    assert_eq!((again.ops, again.problems), (vec![], vec![]), "somebody switched it off");
}

#[test]
fn a_lease_is_found_again_and_an_address_of_the_settings_is_none() {
    let source = lease("192.168.1.50/24", "192.168.1.254");
    let mut view = board();
    settle(&Wanted::of(&snapshot(None, None), &known(&[("eth0", source)])), &mut view);
    let found = Some((cidr("192.168.1.50/24"), Some(ip("192.168.1.254"))));
    assert_eq!((left_behind(2, &view), left_behind(3, &view)), (found, None));
    let mut view = board();
    settle(&wanted(), &mut view);
    assert_eq!(left_behind(2, &view), None);
}

#[test]
fn a_missing_radio_is_no_problem_where_nobody_asked_for_one() {
    let source = lease("192.168.1.50/24", "192.168.1.254");
    let wanted =
        Wanted::of(&snapshot(None, None), &known(&[("eth0", source.clone()), ("wlan0", source)]));
    let mut view = board();
    view.interfaces.truncate(1);
    settle(&wanted, &mut view);
    let found = plan(&wanted, &view, &BTreeSet::from([2]));
    assert_eq!((found.working, found.problems), (vec!["eth0".to_owned()], vec![]));
    view.interfaces[0].running = false;
    let found = plan(&wanted, &view, &BTreeSet::from([2]));
    assert_eq!((found.working, found.problems), (vec![], vec![]));
}

/// In force and tried on eth0, the settings saying what is tried.
fn trying(in_force: Option<&str>, beside: Option<&str>) -> Wanted {
    let way = |address: Option<&str>, router: &str| Way {
        address: address.map(cidr),
        gateway: address.map(|_| ip(router)),
        cluster: None,
    };
    let ways =
        Ways { in_force: way(in_force, "192.168.1.1"), beside: Some(way(beside, "192.168.9.1")) };
    let ways = [("eth0".to_owned(), ways)].into();
    let source = lease("192.168.1.50/24", "192.168.1.1");
    let known = Learned { ways, ..known(&[("eth0", source)]) };
    Wanted::of(&snapshot(beside, None), &known)
}

#[test]
fn what_is_tried_stands_beside_what_is_in_force() {
    let wanted = trying(Some("192.168.1.11/24"), Some("192.168.9.9/24"));
    let mut view = board();
    settle(&wanted, &mut view);
    let set: Vec<String> = view.addresses.iter().map(|a| a.address.to_string()).collect();
    assert_eq!(set, ["192.168.1.11/24", "192.168.9.9/24"]);
    let default = |table| {
        let mut routes = view.routes.iter().filter(|r| r.table == table && r.to.is_none());
        let found = routes.next().map(|r| (r.gateway, r.source));
        assert!(routes.next().is_none());
        found
    };
    let (old, new) = (Some(ip("192.168.1.11")), Some(ip("192.168.9.9")));
    assert_eq!(default(MAIN), Some((Some(ip("192.168.1.1")), old)), "traffic stays where it was");
    assert_eq!(default(183), Some((Some(ip("192.168.1.1")), old)));
    assert_eq!(default(193), Some((Some(ip("192.168.9.1")), new)), "answers find their way");
    let rule = |from: &str| view.rules.iter().find(|r| r.from == Some(ip(from))).map(|r| r.table);
    assert_eq!((rule("192.168.1.11"), rule("192.168.9.9")), (Some(183), Some(193)));

    // Taken back.
    let known = Learned::default();
    settle(&Wanted::of(&snapshot(Some("192.168.1.11/24"), None), &known), &mut view);
    assert_eq!(view.addresses.len(), 1);
    assert!(!view.routes.iter().any(|r| r.table == 193 || r.source == new));
    // Or kept.
    settle(&trying(Some("192.168.1.11/24"), Some("192.168.9.9/24")), &mut view);
    settle(&Wanted::of(&snapshot(Some("192.168.9.9/24"), None), &known), &mut view);
    let set: Vec<String> = view.addresses.iter().map(|a| a.address.to_string()).collect();
    assert_eq!(set, ["192.168.9.9/24"]);
    assert!(!view.routes.iter().any(|r| r.table == 193 || r.source == old));
}

#[test]
fn a_lease_stays_beside_an_address_that_is_tried_and_the_other_way_round() {
    let places = |wanted: &Wanted| {
        let line = |l: &WantedLink| (l.address.to_string(), l.table, l.metric, l.learned);
        let of = |links: &[WantedLink]| links.iter().map(line).collect::<Vec<_>>();
        (of(&wanted.links), of(&wanted.beside))
    };
    let lent = |table| ("192.168.1.50/24".to_owned(), table, 100, true);
    let set = |table| ("192.168.1.60/24".to_owned(), table, 50, false);
    let wanted = trying(None, Some("192.168.1.60/24"));
    assert_eq!(places(&wanted), (vec![lent(183)], vec![set(193)]));
    let wanted = trying(Some("192.168.1.60/24"), None);
    assert_eq!(places(&wanted), (vec![set(183)], vec![lent(193)]));
    // A router alone is no second address.
    let wanted = trying(Some("192.168.1.60/24"), Some("192.168.1.60/24"));
    assert_eq!(places(&wanted), (vec![set(183)], vec![]));
    assert_eq!(wanted.links[0].gateway, Some(ip("192.168.1.1")));
}

#[test]
fn an_address_that_may_be_somebody_elses_is_not_set() {
    let held = BTreeSet::from([("eth0".to_owned(), cidr("192.168.1.10/24"))]);
    let known = Learned { held, ..Learned::default() };
    let wanted = Wanted::of(&snapshot(Some("192.168.1.10/24"), Some("192.168.1.20/24")), &known);
    let names: Vec<&str> = wanted.links.iter().map(|l| l.name.as_str()).collect();
    assert_eq!((names, &wanted.waiting), (vec!["wlan0"], &vec!["eth0".to_owned()]));
    let mut view = board();
    settle(&wanted, &mut view);
    assert!(view.interfaces[0].up, "to be able to ask");
}
