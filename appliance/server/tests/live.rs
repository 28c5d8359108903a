//! The server while it runs: settings that change under load, addresses that come and go,
//! visitors who are slow, many or gone.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::as_conversions,
    reason = "a test"
)]

mod common;

use common::{PATIENCE, Visitor, Web, node_id, own_address, put, settings, site};
use control::Snapshot;
use model::status::SubsystemState;
use model::{Cidr, Revision, Role, Settings};
use std::io::Read;
use std::net::{SocketAddrV4, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < until, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

fn refused(address: SocketAddrV4) -> bool {
    TcpStream::connect(address).is_err()
}

#[test]
fn settings_change_under_load_and_no_request_fails() {
    let web = Web::start();
    web.file("index.html", "default");
    put(&web.dir.path().join("sites/other/index.html"), b"other");
    let (done, ok) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut visitor = web.connect();
                while !done.load(Ordering::Relaxed) {
                    let got = visitor.ask("GET", "/", &[]);
                    assert_eq!(got.status, 200);
                    assert!(["default", "other"].contains(&got.text()));
                    ok.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // One that comes anew each time.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(web.get("/", &["Connection: close"]).status, 200);
            }
        });
        let (mut round, mut seen) = (0_u32, [0; 2]);
        while ok.load(Ordering::Relaxed) < 50_000 {
            round += 1;
            let swapped = usize::from(round % 2 == 1);
            let mut next = settings(
                web.ip,
                if swapped == 1 {
                    vec![site("other", &[], web.port), site("default", &["x.org"], web.port)]
                } else {
                    vec![site("default", &[], web.port)]
                },
            );
            if round % 3 == 0 {
                next.sites.push(site("third", &["third.org"], web.port + 1));
            }
            assert_eq!(web.publish(next), SubsystemState::Applied);
            // In force with the next request.
            let got = web.get("/", &[]);
            assert_eq!(got.text(), ["default", "other"][swapped]);
            seen[swapped] += 1;
        }
        done.store(true, Ordering::Relaxed);
        assert!(seen[0] > 5 && seen[1] > 5, "{seen:?}");
    });
    assert_eq!(web.handle.counters().faults, 0);
}

#[test]
fn an_address_that_goes_lets_its_visitors_finish() {
    let web = Web::start();
    web.file("a.txt", "a");
    web.file("big.bin", vec![b'x'; 60_000_000]);
    let mut idle = web.connect();
    assert_eq!(idle.ask("GET", "/a.txt", &[]).status, 200);
    let mut fresh = web.connect();
    let mut late = web.connect();
    assert_eq!(late.ask("GET", "/a.txt", &[]).status, 200);
    let mut loading = web.connect();
    loading.send(b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    loading.head().unwrap();
    wait("all are accepted", || web.handle.counters().open == 4);

    let elsewhere = own_address();
    let next = settings(elsewhere, vec![site("default", &[], web.port)]);
    assert_eq!(web.publish(next), SubsystemState::Applied);
    let new = SocketAddrV4::new(elsewhere, web.port);
    assert_eq!(Visitor::to(new).ask("GET", "/a.txt", &[]).text(), "a");
    wait("the old address is closed", || refused(web.address()));
    // Asked after the change: answered, and told that this was the last.
    let last = late.ask("GET", "/a.txt", &[]);
    assert_eq!((last.text(), last.get("connection")), ("a", "close"));
    assert!(late.is_closed());
    let last = fresh.ask("GET", "/a.txt", &[]);
    assert_eq!((last.text(), last.get("connection")), ("a", "close"));
    // Said nothing: ends in peace.
    assert!(idle.is_closed());
    assert_eq!(loading.rest_of(60_000_000), 60_000_000);
    assert!(loading.is_closed());
    wait("nobody is left", || web.handle.counters().open == 0);
}

#[test]
fn roles_come_and_go() {
    let web = Web::start();
    web.file("a.txt", "a");
    let with = settings(web.ip, vec![site("default", &[], web.port)]);
    let mut without = with.clone();
    without.nodes[0].roles = [Role::Balancer].into();
    for _ in 0..5 {
        assert_eq!(web.publish(without.clone()), SubsystemState::Idle);
        wait("closed", || refused(web.address()));
        assert_eq!(web.publish(with.clone()), SubsystemState::Applied);
        assert_eq!(web.get("/a.txt", &[]).status, 200);
        // Said twice is as good as once.
        assert_eq!(web.publish(with.clone()), SubsystemState::Applied);
    }
}

#[test]
fn an_address_this_node_does_not_have_yet_can_be_opened() {
    let web = Web::start();
    let mut next = settings(web.ip, vec![site("default", &[], web.port)]);
    next.nodes[0].wlan0.address = Some(Cidr::new("192.0.2.77".parse().unwrap(), 24).unwrap());
    assert_eq!(web.publish(next), SubsystemState::Applied);
    assert_eq!(web.get("/", &[]).status, 404);
}

#[test]
fn from_one_address_to_all_and_back() {
    let web = Web::start();
    web.file("a.txt", "a");
    // A port of its own, for "all" is everybody's.
    let port = 20_000 + (std::process::id() % 10_000) as u16;
    let one = settings(web.ip, vec![site("default", &[], port)]);
    let mut all = one.clone();
    all.nodes[0].eth0.address = None;
    let at = SocketAddrV4::new(web.ip, port);
    for _ in 0..3 {
        for next in [&one, &all] {
            assert_eq!(web.publish(next.clone()), SubsystemState::Applied);
            assert_eq!(Visitor::to(at).ask("GET", "/a.txt", &[]).text(), "a");
        }
    }
}

fn prepare(web: &Web, next: Settings) -> Result<(), String> {
    let current = web.snapshot();
    let next = Snapshot::new(Revision(99), next, &node_id());
    let prepared =
        web.runtime().block_on(async { web.handle.preflight().prepare(&current, &next).await });
    prepared.map_err(|obstacle| obstacle.to_string())
}

/// Another program, which listens somewhere until it is dropped.
struct Elsewhere(Child);

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn elsewhere(ip: std::net::Ipv4Addr, port: u16) -> Elsewhere {
    let program = format!(
        "import socket, time\ns = socket.create_server(('{ip}', {port}))\nprint('up', flush=True)\ntime.sleep(60)"
    );
    let mut child =
        Command::new("python3").args(["-c", &program]).stdout(Stdio::piped()).spawn().unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 2]).unwrap();
    Elsewhere(child)
}

#[test]
fn a_node_is_not_in_its_own_way_when_it_has_only_just_started() {
    // Whatever part of this process listens there: it opens what the settings say at this moment,
    // or lets go of what they no longer say.
    let web = Web::start();
    let own = TcpListener::bind((web.ip, 8092)).unwrap();
    let next = settings(web.ip, vec![site("default", &[], 8092)]);
    assert_eq!(prepare(&web, next), Ok(()));
    drop(own);
}

#[test]
fn a_taken_port_is_refused_beforehand_and_retried_afterwards() {
    let web = Web::start();
    web.file("a.txt", "a");
    let taken = elsewhere(web.ip, 8090);
    let next = settings(web.ip, vec![site("default", &[], 8090)]);
    let refusal = prepare(&web, next.clone()).unwrap_err();
    assert!(refusal.contains("already listens on") && refusal.contains("8090"), "{refusal}");
    assert!(refusal.contains(&format!("python3 (process {})", taken.0.id())), "{refusal}");
    // What runs now is in nobody's way, and a free one is free.
    assert_eq!(prepare(&web, web.snapshot().settings.clone()), Ok(()));
    assert_eq!(prepare(&web, settings(web.ip, vec![site("default", &[], 8091)])), Ok(()));
    assert!(refused(SocketAddrV4::new(web.ip, 8091)));

    // Taken all the same (say, at boot): the rest runs, and this as soon as it can.
    let mut both = next;
    both.sites.push(site("more", &[], web.port));
    let state = web.publish(both);
    let SubsystemState::Degraded { reason } = state else { panic!("{state:?}") };
    assert!(reason.contains("8090") && reason.contains("again"), "{reason}");
    assert_eq!(web.get("/a.txt", &[]).status, 404);
    drop(taken);
    wait("retried", || {
        web.board.own().subsystems.values().any(|s| s.state == SubsystemState::Applied)
    });
    let at = SocketAddrV4::new(web.ip, 8090);
    assert_eq!(Visitor::to(at).ask("GET", "/a.txt", &[]).text(), "a");
}

#[test]
fn a_site_cannot_be_the_data_directory() {
    let web = Web::start();
    std::fs::write(web.dir.path().join("secrets.db"), "secret").unwrap();
    let state = web.publish(settings(web.ip, vec![site("..", &[], web.port)]));
    assert!(matches!(state, SubsystemState::Degraded { .. }), "{state:?}");
    wait("not served", || refused(web.address()) || web.get("/secrets.db", &[]).status == 404);
}

#[test]
fn a_thousand_idle_connections_are_in_nobodys_way() {
    let web = Web::start();
    web.file("a.txt", "a");
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let room = limit.current.unwrap_or(u64::MAX).saturating_sub(200) / 2;
    let many = usize::try_from(room.min(1000)).unwrap();
    let idle: Vec<Visitor> = (0..many)
        .map(|i| {
            let mut visitor = web.connect();
            if i % 2 == 0 {
                assert_eq!(visitor.ask("GET", "/a.txt", &[]).status, 200);
            }
            visitor
        })
        .collect();
    let begun = Instant::now();
    for _ in 0..100 {
        assert_eq!(web.get("/a.txt", &[]).status, 200);
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
    let open = usize::try_from(web.handle.counters().open).unwrap();
    assert!(open >= idle.len().min(500), "{open}");
    drop(idle);
    wait("all are gone", || web.handle.counters().open == 0);
}

#[test]
fn drain_answers_what_is_under_way_and_returns() {
    let web = Web::start();
    web.file("a.txt", "a");
    let mut idle = web.connect();
    assert_eq!(idle.ask("GET", "/a.txt", &[]).status, 200);
    let begun = Instant::now();
    web.runtime().block_on(web.handle.drain(Duration::from_secs(10)));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(idle.is_closed() && refused(web.address()));
    // And for good, whatever settings come.
    web.publish(settings(web.ip, vec![site("default", &[], web.port)]));
    assert!(refused(web.address()));
}

#[test]
fn shutdown_closes() {
    let web = Web::start();
    assert_eq!(web.get("/", &[]).status, 404);
    web.stop.trigger();
    wait("closed", || refused(web.address()));
}

#[test]
fn counters_count() {
    let web = Web::start();
    web.file("a.txt", vec![b'x'; 100_000]);
    web.get("/a.txt", &[]);
    web.get("/none", &[]);
    web.get("/a.txt", &["If-None-Match: *"]);
    let got = web.handle.counters();
    assert_eq!((got.status_2xx, got.status_3xx, got.status_4xx, got.status_5xx), (1, 1, 1, 0));
    assert!(got.bytes_sent > 100_000 && got.bytes_sent < 102_000);
    assert_eq!(got.connections, 3);
}
