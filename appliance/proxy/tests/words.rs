//! The words of checks, agents and states, compared with a real HAProxy's while the same servers
//! behave in the same ways.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use common::{PATIENCE, Proxy, Scripted, free_port, haproxy, server, settings};
use model::status::stat::{FIELDS, csv};
use model::{Backend, Check, Millis, Server, ServerHealth, ServerState, Weight};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What is compared.
const COLUMNS: [&str; 17] = [
    "status",
    "weight",
    "uweight",
    "act",
    "check_status",
    "check_code",
    "check_desc",
    "last_chk",
    "check_rise",
    "check_fall",
    "check_health",
    "agent_status",
    "agent_code",
    "agent_desc",
    "last_agt",
    "agent_health",
    "throttle",
];

/// What differs on purpose: case, column, why.
const DIFFERENT: &[(&str, &str, &str)] =
    &[("closes", "last_chk", "an operator is told what is wrong with the response")];

/// How a server answers a check.
#[derive(Clone, Copy)]
enum Does {
    Says(&'static str),
    Closes,
    Nothing,
    /// Nobody is there.
    Gone,
    /// The first, and after a while the second.
    Turns(&'static str, &'static str),
}
use Does::{Closes, Gone, Nothing, Says, Turns};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
const MISSING: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

struct Case {
    name: &'static str,
    does: Does,
    /// What the agent says; empty without one.
    agent: &'static str,
    /// Lines of HAProxy's backend, and words of its server's line.
    theirs: &'static str,
    words: &'static str,
    /// The same for ours.
    check: Check,
    server: fn(&mut Server),
    /// What the runtime API is told about HAProxy's server.
    told: &'static str,
    /// The states they must both come to.
    status: &'static str,
    checked: &'static str,
    says: &'static str,
}

fn http() -> Check {
    Check { inter: Millis(100), fall: 3, rise: 2, http_path: "/".parse().ok(), ..Check::default() }
}

/// After the first change of mind nothing more is asked for a while.
fn once() -> Check {
    Check { fastinter: Some(Millis(4000)), ..http() }
}

fn cases() -> Vec<Case> {
    let case = |name, does, status, checked| Case {
        name,
        does,
        agent: "",
        theirs: "option httpchk GET /",
        words: "check inter 100 fall 3 rise 2",
        check: http(),
        server: |_| {},
        told: "",
        status,
        checked,
        says: "",
    };
    let agent = |name, agent, status, says| Case {
        agent,
        theirs: "",
        words: "agent-check agent-inter 100 weight 40",
        check: Check { enabled: false, ..http() },
        server: |s| s.weight = Weight::constant(40),
        says,
        ..case(name, Nothing, status, "")
    };
    vec![
        case("passes", Says(OK), "UP", "L7OK"),
        case("busy", Says(BUSY), "DOWN", "L7STS"),
        case("junk", Says("SSH-2.0-x\r\n\r\n"), "DOWN", "L7RSP"),
        case("closes", Closes, "DOWN", "L7RSP"),
        case("silent", Nothing, "DOWN", "L7TOUT"),
        case("gone", Gone, "DOWN", "L4CON"),
        Case {
            theirs: "",
            check: Check { http_path: None, ..http() },
            ..case("connects", Nothing, "UP", "L4OK")
        },
        Case {
            theirs: "option httpchk GET /\nhttp-check disable-on-404",
            check: Check { disable_on_404: true, ..http() },
            ..case("nolb", Says(MISSING), "NOLB", "L7OKC")
        },
        Case {
            theirs: "option httpchk GET /\nhttp-check expect status 200-299,503",
            check: Check { expect_status: "200-299,503".parse().ok(), ..http() },
            ..case("expected", Says(BUSY), "UP", "L7OK")
        },
        Case {
            words: "check inter 100 fastinter 4s fall 3 rise 2",
            check: once(),
            ..case("falls", Turns(OK, BUSY), "UP 2/3", "L7STS")
        },
        Case {
            words: "check inter 100 fastinter 4s downinter 100 fall 1 rise 2",
            check: Check { fall: 1, downinter: Some(Millis(100)), ..once() },
            ..case("rises", Turns(BUSY, OK), "DOWN 1/2", "L7OK")
        },
        Case {
            words: "check inter 100 fastinter 4s fall 3 rise 2",
            check: once(),
            server: |s| s.state = ServerState::Drain,
            told: "state drain",
            ..case("drainfalls", Turns(OK, BUSY), "DRAIN 2/3", "L7STS")
        },
        Case {
            server: |s| s.state = ServerState::Drain,
            told: "state drain",
            ..case("drains", Says(OK), "DRAIN", "L7OK")
        },
        Case {
            words: "check inter 100 fall 3 rise 2 weight 0",
            server: |s| s.weight = Weight::constant(0),
            ..case("weightless", Says(OK), "UP", "L7OK")
        },
        Case {
            server: |s| s.state = ServerState::Maint,
            told: "state maint",
            ..case("maint", Says(OK), "MAINT", "")
        },
        Case {
            theirs: "",
            words: "",
            check: Check { enabled: false, ..http() },
            ..case("unchecked", Says(OK), "no check", "")
        },
        Case {
            theirs: "",
            words: "",
            check: Check { enabled: false, ..http() },
            server: |s| s.state = ServerState::Drain,
            told: "state drain",
            ..case("uncheckeddrain", Says(OK), "DRAIN", "")
        },
        agent("agentup", "up\n", "no check", "L7OK"),
        agent("agentdown", "down #no disk\n", "DOWN (agent)", "L7STS"),
        agent("agentstopped", "stopped\n", "DOWN (agent)", "L7STS"),
        agent("agentfail", "fail\n", "DOWN (agent)", "L7STS"),
        agent("agentweight", "75%\n", "no check", "CHECKED"),
        agent("agentdrain", "drain\n", "DRAIN (agent)", "CHECKED"),
        agent("agentmaint", "maint\n", "MAINT", "CHECKED"),
        agent("agentjunk", "hello there\n", "no check", "CHECKED"),
        Case {
            theirs: "option httpchk GET /",
            words: "check inter 100 fall 3 rise 2 agent-check agent-inter 100 weight 40",
            check: http(),
            checked: "L7OK",
            ..agent("bothup", "up #all is well\n", "UP", "L7OK")
        },
    ]
    .into_iter()
    .map(|mut c: Case| {
        if matches!(c.does, Nothing) && !c.agent.is_empty() {
            c.does = Says(OK);
        }
        c
    })
    .collect()
}

/// Where a server of a case is, kept alive.
struct Place {
    address: SocketAddrV4,
    agent: Option<SocketAddrV4>,
    _server: Option<Scripted>,
    _agent: Option<Scripted>,
    _reserved: Option<socket2::Socket>,
}

fn place(case: &Case, turned: &Arc<AtomicBool>) -> Place {
    let does = case.does;
    let turned = Arc::clone(turned);
    let script = move |peer: &mut common::Peer| {
        while peer.request().is_some() {
            match does {
                Says(text) => peer.send(text),
                Turns(_, text) if turned.load(Ordering::SeqCst) => peer.send(text),
                Turns(text, _) => peer.send(text),
                Closes => return,
                Nothing | Gone => std::thread::sleep(Duration::from_secs(1)),
            }
        }
    };
    let agent = Some(case.agent).filter(|a| !a.is_empty());
    let agent = agent.map(|says| Scripted::new(move |peer| peer.send(says)));
    let (server, reserved, address) = if matches!(does, Gone) {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket_ipv4().unwrap();
        (None, Some(socket), address)
    } else {
        let server = Scripted::new(script);
        let address = server.address;
        (Some(server), None, address)
    };
    Place {
        address,
        agent: agent.as_ref().map(|a| a.address),
        _server: server,
        _agent: agent,
        _reserved: reserved,
    }
}

type Words = BTreeMap<String, Vec<String>>;

/// The compared columns of each case's server.
fn words(text: &str) -> Words {
    let at = |column: &str| FIELDS.iter().position(|f| f.name == column).unwrap();
    let mut all = Words::new();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let fields: Vec<&str> = line.split(',').collect();
        if fields.len() > FIELDS.len() - 1 && fields[1] == "s" {
            // Whether a check is under way just now is left to chance.
            let clean = |f: &str| f.trim_start_matches("* ").to_owned();
            let row = COLUMNS.iter().map(|c| clean(fields[at(c)])).collect();
            all.insert(fields[0].to_owned(), row);
        }
    }
    all
}

#[test]
fn the_same_words_in_the_same_states() {
    let cases = cases();
    let turned: Arc<AtomicBool> = Arc::default();
    let places: Vec<Place> = cases.iter().map(|c| place(c, &turned)).collect();
    let mut all = settings(free_port(), vec![server("none", places[0].address)]);
    let mut lines = vec![haproxy::server_line("none", places[0].address, "")];
    for (case, place) in cases.iter().zip(&places) {
        let mut entry = server("s", place.address);
        (case.server)(&mut entry);
        let mut check = case.check.clone();
        check.agent_port = place.agent.and_then(|a| a.port().to_string().parse().ok());
        check.agent_inter = Millis(100);
        all.backends.push(Backend {
            name: case.name.parse().unwrap(),
            check,
            servers: vec![entry],
            ..Backend::default()
        });
        lines.push(format!("backend {}", case.name));
        lines.extend(case.theirs.lines().map(str::to_owned));
        let port = place.agent.map(|a| format!("agent-port {}", a.port())).unwrap_or_default();
        lines.push(haproxy::server_line("s", place.address, &format!("{} {port}", case.words)));
    }
    let proxy = Proxy::start(all);
    let theirs = haproxy::Haproxy::start(&[], &lines);
    for case in cases.iter().filter(|c| !c.told.is_empty()) {
        theirs.ask(&format!("set server {}/s {}", case.name, case.told));
    }
    // Those that change their mind have said the first long enough to be up or down.
    let status = |all: &Words, name: &str| all[name][0].clone();
    let began = Instant::now();
    let settled = |all: Words| {
        status(&all, "falls") == "UP"
            && status(&all, "rises") == "DOWN"
            && status(&all, "drainfalls") == "DRAIN"
    };
    while !(settled(words(&csv(&proxy.status()))) && settled(words(&theirs.ask("show stat")))) {
        assert!(
            began.elapsed() < PATIENCE,
            "they never began: {:?} {:?}",
            words(&csv(&proxy.status())),
            words(&theirs.ask("show stat"))
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    turned.store(true, Ordering::SeqCst);

    let end = Instant::now() + PATIENCE;
    // Some states last only a while: each case is left alone once both agree.
    let mut left: Vec<&Case> = cases.iter().collect();
    let mut wrong;
    loop {
        let (ours, real) = (words(&csv(&proxy.status())), words(&theirs.ask("show stat")));
        wrong = Vec::new();
        left.retain(|case| {
            let before = wrong.len();
            let (own, their) = (&ours[case.name], &real[case.name]);
            let there = [&their[0], &their[4], &their[11]];
            if there != [case.status, case.checked, case.says] {
                wrong.push(format!("{}: HAProxy is in {there:?}", case.name));
            }
            for (column, (own, their)) in COLUMNS.iter().zip(own.iter().zip(their)) {
                let same = !DIFFERENT.iter().any(|d| (d.0, d.1) == (case.name, *column));
                if (own == their) != same {
                    wrong.push(format!("{} {column}: {own:?}, HAProxy {their:?}", case.name));
                }
            }
            wrong.len() > before
        });
        if wrong.is_empty() || Instant::now() > end {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// While the first check is under way, and after each of the operator's words.
#[test]
fn before_the_first_check_and_by_force() {
    let silent = Scripted::new(|peer| while peer.request().is_some() {});
    let mut all = settings(free_port(), vec![server("s", silent.address)]);
    all.backends[0].check = Check { inter: Millis(60_000), ..http() };
    let mut proxy = Proxy::start(all);
    let line = "check inter 60s fall 3 rise 2";
    let theirs = haproxy::Haproxy::start(
        &[],
        &["option httpchk GET /".to_owned(), haproxy::server_line("s", silent.address, line)],
    );
    let word = |text: &str| {
        let line = text.lines().find(|l| l.starts_with("back,s,")).unwrap().to_owned();
        let fields: Vec<&str> = line.split(',').collect();
        (fields[17].to_owned(), fields[36].to_owned())
    };
    let both = |proxy: &Proxy| (word(&csv(&proxy.status())), word(&theirs.ask("show stat")));
    common::until("a check is under way", || {
        let (ours, real) = both(&proxy);
        ours == real && real.1 == "* INI"
    });
    assert_eq!(both(&proxy).1.0, "UP 1/3");
    for (health, told, want) in [
        (ServerHealth::Down, "down", "DOWN"),
        (ServerHealth::Stopping, "stopping", "NOLB"),
        (ServerHealth::Up, "up", "UP"),
    ] {
        proxy.change(|s| s.backends[0].servers[0].health = health);
        theirs.ask(&format!("set server back/s health {told}"));
        let (ours, real) = both(&proxy);
        assert_eq!((ours.0.as_str(), real.0.as_str()), (want, want));
    }
}
