//! Mode udp: datagrams of one source stay together, and nothing a server refuses is lost.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use common::{Proxy, server, settings, until};
use model::{Check, Millis, Mode, ServerState, Settings};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A port nobody listens on, neither for connections nor for datagrams.
fn free_port() -> u16 {
    let free = |_: &u32| {
        let port = common::free_port();
        UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok().then_some(port)
    };
    (0..100).find_map(|n| free(&n)).unwrap()
}

fn udp(servers: Vec<model::Server>) -> Settings {
    let mut all = settings(free_port(), servers);
    all.frontends[0].mode = Mode::Udp;
    let back = &mut all.backends[0];
    back.mode = Mode::Udp;
    back.udp_responses = Some(1);
    back.timeout_server = Millis::seconds(5);
    all
}

/// A server that answers each datagram with its name and the datagram.
struct Echo {
    address: SocketAddrV4,
    seen: Arc<Mutex<Vec<SocketAddr>>>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Echo {
    fn new(name: &'static str) -> Self {
        Self::at(name, 0)
    }

    fn at(name: &'static str, port: u16) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let SocketAddr::V4(address) = socket.local_addr().unwrap() else { unreachable!() };
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let (seen, stop): (Arc<Mutex<Vec<_>>>, Arc<AtomicBool>) = Default::default();
        let own = (seen.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let (seen, stop) = own;
            let mut part = [0; 65536];
            while !stop.load(Ordering::SeqCst) {
                let Ok((n, from)) = socket.recv_from(&mut part) else { continue };
                seen.lock().unwrap().push(from);
                let _ = socket.send_to(&[name.as_bytes(), b" ", &part[..n]].concat(), from);
            }
        });
        Self { address, seen, stop, thread: Some(thread) }
    }

    fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Its port is closed when this returns.
    fn stop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().into_iter().for_each(|t| t.join().unwrap());
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A visitor with a source of his own.
struct Visitor(UdpSocket);

impl Visitor {
    fn new(port: u16) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Self(socket)
    }

    fn say(&self, text: &str) {
        self.0.send(text.as_bytes()).unwrap();
    }

    fn hear(&self, patience: Duration) -> Option<String> {
        self.0.set_read_timeout(Some(patience)).unwrap();
        let mut part = [0; 65536];
        let n = self.0.recv(&mut part).ok()?;
        Some(String::from_utf8_lossy(&part[..n]).into_owned())
    }

    fn ask(&self, text: &str) -> String {
        self.say(text);
        let answer = self.hear(Duration::from_secs(5));
        assert!(answer.is_some(), "no answer to {text}");
        answer.unwrap()
    }
}

/// Whom a new visitor of the proxy is led to.
fn led_to(proxy: &Proxy) -> String {
    let answer = Visitor::new(proxy.port).ask("q");
    answer.split(' ').next().unwrap().to_owned()
}

#[test]
fn a_source_stays_with_its_server_and_everything_is_counted() {
    let (a, b) = (Echo::new("a"), Echo::new("b"));
    let proxy = Proxy::start(udp(vec![server("a", a.address), server("b", b.address)]));
    let visitors: Vec<Visitor> = (0..4).map(|_| Visitor::new(proxy.port)).collect();
    for visitor in &visitors {
        let first = visitor.ask("hello");
        for _ in 0..5 {
            assert_eq!(visitor.ask("hello"), first);
        }
    }
    assert_eq!((a.count(), b.count()), (12, 12));
    // What is passed on is counted right after.
    until("all is counted", || proxy.status().frontends[0].traffic.bout == 24 * 7);
    // One socket each towards the servers.
    let sources: BTreeSet<_> = a.seen.lock().unwrap().iter().copied().collect();
    assert_eq!(sources.len(), 2);
    let status = proxy.status();
    let front = &status.frontends[0];
    assert_eq!((front.mode, front.open), (Mode::Udp, true));
    assert_eq!((front.traffic.scur, front.traffic.stot), (4, 4));
    assert_eq!((front.traffic.bin, front.traffic.bout), (24 * 5, 24 * 7));
    let one = &status.backends[0].servers[0];
    assert_eq!((one.traffic.stot, one.traffic.bin, one.lbtot), (2, 12 * 5, 2));
    // They have their answers, so they are forgotten after a second.
    until("all are forgotten", || proxy.status().frontends[0].traffic.scur == 0);
    assert_eq!(proxy.status().backends[0].servers[0].traffic.scur, 0);
    until("all are logged", || proxy.handle.recent_log().len() == 4);
    let log = proxy.handle.recent_log();
    let from = visitors[0].0.local_addr().unwrap().to_string();
    let line = log.iter().find(|l| l.starts_with(&from)).unwrap();
    assert!(line.contains("] front back/a 0/0/1") && line.contains(" 42 -- "), "{line}");
}

#[test]
fn any_number_of_answers_and_large_ones_pass() {
    let many = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let SocketAddr::V4(address) = many.local_addr().unwrap() else { unreachable!() };
    std::thread::spawn(move || {
        let mut part = [0; 65536];
        while let Ok((n, from)) = many.recv_from(&mut part) {
            for _ in 0..if n > 100 { 2 } else { 50 } {
                many.send_to(&part[..n], from).unwrap();
            }
        }
    });
    let mut all = udp(vec![server("s", address)]);
    all.backends[0].udp_responses = None;
    all.frontends[0].timeout_client = Millis(400);
    let proxy = Proxy::start(all);
    let visitor = Visitor::new(proxy.port);
    // As large as a datagram can be, and an empty one.
    for (text, answers) in [("x".repeat(65_507), 2), (String::new(), 50)] {
        visitor.say(&text);
        for _ in 0..answers {
            assert_eq!(visitor.hear(Duration::from_secs(5)).unwrap(), text);
        }
    }
    assert_eq!(proxy.status().frontends[0].traffic.stot, 1);
    until("silence ends it", || proxy.status().frontends[0].traffic.scur == 0);
}

#[test]
fn an_answer_leaves_from_the_address_that_was_asked() {
    let echo = Echo::new("s");
    let mut all = udp(vec![server("s", echo.address)]);
    let port = all.frontends[0].bind[0].port;
    all.frontends[0].bind = vec![format!("*:{port}").parse().unwrap()];
    let proxy = Proxy::start(all);
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    for last in [1, 7, 200] {
        let at = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), proxy.port));
        client.send_to(b"q", at).unwrap();
        let mut part = [0; 10];
        assert_eq!(client.recv_from(&mut part).unwrap(), (3, at));
    }
    // Three addresses of ours are three conversations.
    assert_eq!(proxy.status().frontends[0].traffic.stot, 3);
}

#[test]
fn algorithms() {
    let echoes = [Echo::new("a"), Echo::new("b"), Echo::new("c")];
    let names = ["a", "b", "c"];
    let servers = || -> Vec<model::Server> {
        names.iter().zip(&echoes).map(|(n, e)| server(n, e.address)).collect()
    };
    let mut all = udp(servers());
    // One thread, so that turns are exact.
    all.backends[0].servers[2].weight = model::Weight::constant(2);
    let mut proxy = Proxy::with(all, 1, None);
    let mut run = |balance: &str, hash: &str| -> Vec<String> {
        until("all are forgotten", || proxy.status().frontends[0].traffic.scur == 0);
        proxy.change(|s| {
            s.backends[0].balance = balance.parse().unwrap();
            s.backends[0].hash_type = hash.parse().unwrap();
        });
        (0..8).map(|_| led_to(&proxy)).collect()
    };
    let counts = |led: &[String]| names.map(|n| led.iter().filter(|l| *l == n).count());
    assert_eq!(counts(&run("roundrobin", "map-based")), [2, 2, 4]);
    assert_eq!(counts(&run("static-rr", "map-based")), [2, 2, 4]);
    assert_eq!(counts(&run("first", "map-based")), [8, 0, 0]);
    for hash in ["map-based", "consistent"] {
        let led = run("source", hash);
        assert!(led.iter().all(|l| *l == led[0]), "{led:?}");
    }
    assert!(counts(&run("random", "map-based")).iter().all(|n| *n < 8));
    // All answered conversations last a second still: leastconn goes where there are fewest.
    let led = run("leastconn", "map-based");
    assert!(counts(&led).iter().all(|n| *n >= 2), "{led:?}");
}

#[test]
fn a_stick_table_keeps_an_address_on_its_server() {
    let (a, b) = (Echo::new("a"), Echo::new("b"));
    let mut all = udp(vec![server("a", a.address), server("b", b.address)]);
    all.backends[0].stick_table = "type ip size 100 expire 1m".parse().ok();
    all.backends[0].stick_on = "src".parse().ok();
    let proxy = Proxy::start(all);
    let first = led_to(&proxy);
    assert!((0..6).all(|_| led_to(&proxy) == first));
    let (visits, _) = proxy.handle.visits_since(0);
    assert_eq!((visits[0].key.as_str(), visits[0].server.as_str()), ("127.0.0.1", first.as_str()));
}

#[test]
fn what_a_server_refuses_is_asked_at_the_other() {
    let mut a = Echo::new("a");
    let b = Echo::new("b");
    let proxy = Proxy::start(udp(vec![server("a", a.address), server("b", b.address)]));
    let visitors: Vec<Visitor> = (0..20).map(|_| Visitor::new(proxy.port)).collect();
    visitors.iter().for_each(|v| drop(v.ask("1")));
    a.stop();
    // Nobody checks: the ICMP error alone tells, to those who are there and to new ones.
    for visitor in &visitors {
        assert_eq!(visitor.ask("2"), "b 2");
    }
    for n in 0..100 {
        assert_eq!(Visitor::new(proxy.port).ask(&n.to_string()), format!("b {n}"));
    }
    let status = proxy.status();
    let back = &status.backends[0];
    assert!(back.servers[0].econ >= 10, "{}", back.servers[0].econ);
    assert_eq!(back.servers[0].econ, back.servers[0].wredis);
    assert_eq!(back.econ, 0);
    until("it is logged", || {
        proxy.handle.recent_log().iter().any(|l| l.contains(" back/b ") && l.contains("/+1 0/0"))
    });
}

#[test]
fn with_no_server_left_it_is_counted() {
    let nowhere = SocketAddrV4::new(Ipv4Addr::LOCALHOST, free_port());
    let proxy = Proxy::start(udp(vec![server("gone", nowhere)]));
    let visitor = Visitor::new(proxy.port);
    visitor.say("q");
    assert_eq!(visitor.hear(Duration::from_millis(300)), None);
    until("it is logged", || proxy.handle.recent_log().len() == 1);
    let line = &proxy.handle.recent_log()[0];
    assert!(line.contains(" back/gone ") && line.contains(" SC "), "{line}");
    let status = proxy.status();
    assert!(status.backends[0].econ > 0 && status.backends[0].servers[0].econ > 0);
    assert_eq!(status.frontends[0].traffic.scur, 0);
}

/// A question of a check is answered as a DNS server would; all else goes back as it came.
fn resolver(mute: &Arc<AtomicBool>) -> (SocketAddrV4, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let SocketAddr::V4(address) = socket.local_addr().unwrap() else { unreachable!() };
    let (mute, asked) = (mute.clone(), Arc::<AtomicUsize>::default());
    let count = asked.clone();
    std::thread::spawn(move || {
        let mut part = [0; 65536];
        while let Ok((n, from)) = socket.recv_from(&mut part) {
            if mute.load(Ordering::SeqCst) {
                continue;
            }
            // A header of 12 bytes, and behind it a name that starts with a label.
            if n > 16 && part[12] != b'q' {
                count.fetch_add(1, Ordering::SeqCst);
                part[2] |= 0x80;
            }
            let _ = socket.send_to(&part[..n], from);
        }
    });
    (address, asked)
}

fn checked(all: &mut Settings) {
    all.backends[0].check = Check {
        inter: Millis(100),
        fall: 2,
        rise: 1,
        dns_name: "example.org".parse().ok(),
        ..Check::default()
    };
}

#[test]
fn a_silent_server_is_found_by_its_dns_check_and_its_questions_are_asked_again() {
    let (dead, alive) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let ((a, asked), (b, _)) = (resolver(&dead), resolver(&alive));
    let mut all = udp(vec![server("a", a), server("b", b)]);
    checked(&mut all);
    let proxy = Proxy::start(all);
    let word = |i: usize| proxy.status().backends[0].servers[i].check.check_status.clone();
    until("both are checked", || word(0) == "L7OK" && word(1) == "L7OK");
    assert!(asked.load(Ordering::SeqCst) > 0);
    let visitors: Vec<Visitor> = (0..20).map(|_| Visitor::new(proxy.port)).collect();
    let question = |n: usize| format!("qqqqqqqqqqqqqqqq{n}");
    for (n, visitor) in visitors.iter().enumerate() {
        assert_eq!(visitor.ask(&question(n)), question(n));
    }
    dead.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    visitors.iter().enumerate().for_each(|(n, v)| v.say(&question(n)));
    for (n, visitor) in visitors.iter().enumerate() {
        assert_eq!(visitor.hear(Duration::from_secs(5)), Some(question(n)));
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(word(0), "L7TOUT");
    // It comes back and gets new visitors; those who have moved stay where they are.
    dead.store(false, Ordering::SeqCst);
    until("it is up", || word(0) == "L7OK");
    let before = proxy.status().backends[0].servers[0].traffic.stot;
    (0..4).for_each(|_| drop(Visitor::new(proxy.port).ask(&question(0))));
    assert!(proxy.status().backends[0].servers[0].traffic.stot > before);
}

#[test]
fn drain_keeps_who_is_there_and_maint_moves_him() {
    let (a, b) = (Echo::new("a"), Echo::new("b"));
    let mut all = udp(vec![server("a", a.address), server("b", b.address)]);
    all.backends[0].udp_responses = None;
    let mut proxy = Proxy::start(all);
    let visitors = [Visitor::new(proxy.port), Visitor::new(proxy.port)];
    let first: Vec<_> = visitors.iter().map(|v| v.ask("1")).collect();
    assert_ne!(first[0], first[1]);
    proxy.change(|s| s.backends[0].servers[0].state = ServerState::Drain);
    assert!((0..4).all(|_| led_to(&proxy) == "b"));
    assert_eq!(visitors.each_ref().map(|v| v.ask("1")).to_vec(), first);
    proxy.change(|s| s.backends[0].servers[0].state = ServerState::Maint);
    assert!(visitors.iter().all(|v| v.ask("2") == "b 2"));
    assert_eq!(proxy.status().backends[0].servers[0].traffic.scur, 0);
    proxy.change(|s| s.backends[0].servers[0].state = ServerState::Ready);
    assert!((0..4).any(|_| led_to(&proxy) == "a"));
}

#[test]
fn a_busy_visitor_is_balanced_anew_where_wanted() {
    let (a, b) = (Echo::new("a"), Echo::new("b"));
    let mut all = udp(vec![server("a", a.address), server("b", b.address)]);
    all.backends[0].udp_requests = 1;
    let proxy = Proxy::start(all);
    let router = Visitor::new(proxy.port);
    for _ in 0..10 {
        router.ask("q");
    }
    assert_eq!((a.count(), b.count()), (5, 5));
    // Answers to what was asked before still come.
    (0..10).for_each(|_| router.say("q"));
    assert!((0..10).all(|_| router.hear(Duration::from_secs(5)).is_some()));
}

#[test]
fn limits_of_servers_and_frontends() {
    let (a, b) = (Echo::new("a"), Echo::new("b"));
    let mut all = udp(vec![server("a", a.address), server("b", b.address)]);
    all.backends[0].udp_responses = None;
    all.backends[0].balance = "source".parse().unwrap();
    all.backends[0].servers.iter_mut().for_each(|s| s.maxconn = 2);
    let mut proxy = Proxy::with(all, 1, None);
    let visitors: Vec<Visitor> = (0..4).map(|_| Visitor::new(proxy.port)).collect();
    for visitor in &visitors {
        visitor.ask("1");
        visitor.ask("2");
    }
    // The one all are led to is full after two, the other then takes over.
    assert_eq!((a.count(), b.count()), (4, 4));
    let fifth = Visitor::new(proxy.port);
    fifth.say("q");
    assert_eq!(fifth.hear(Duration::from_millis(200)), None);
    assert_eq!(proxy.status().frontends[0].dreq, 1);
    until("it is logged", || proxy.handle.recent_log().iter().any(|l| l.contains(" RC ")));
    // The frontend is full of visitors who go on: nobody makes room.
    proxy.change(|s| {
        s.frontends[0].maxconn = 4;
        s.backends[0].servers.iter_mut().for_each(|s| s.maxconn = 0);
    });
    visitors.iter().for_each(|v| drop(v.ask("3")));
    fifth.say("q");
    assert_eq!(fifth.hear(Duration::from_millis(200)), None);
    assert_eq!(proxy.status().frontends[0].dreq, 2);
    // Whoever has his answer makes room at once.
    proxy.change(|s| s.backends[0].udp_responses = Some(1));
    std::thread::sleep(Duration::from_millis(5100));
    (0..8).for_each(|_| drop(Visitor::new(proxy.port).ask("q")));
    assert_eq!(proxy.status().frontends[0].dreq, 2);
    assert!(proxy.status().frontends[0].traffic.scur <= 4);
}

#[test]
fn nothing_is_lost_while_the_settings_change() {
    const QUESTIONS: usize = 10_000;
    let (a, b) = (Echo::new("a"), Echo::new("b"));
    let mut proxy = Proxy::start(udp(vec![server("a", a.address), server("b", b.address)]));
    let port = proxy.port;
    let done = Arc::new(AtomicUsize::new(0));
    let askers: Vec<_> = (0..4)
        .map(|_| {
            let done = done.clone();
            std::thread::spawn(move || {
                let mut lost = 0;
                for n in 0..QUESTIONS / 4 {
                    let text = n.to_string();
                    let visitor = Visitor::new(port);
                    visitor.say(&text);
                    let answer = visitor.hear(Duration::from_secs(2));
                    lost += usize::from(!answer.is_some_and(|a| a.ends_with(&text)));
                    done.fetch_add(1, Ordering::SeqCst);
                }
                lost
            })
        })
        .collect();
    let other = free_port();
    let mut changes = 0;
    let end = Instant::now() + Duration::from_secs(120);
    while done.load(Ordering::SeqCst) < QUESTIONS && Instant::now() < end {
        changes += 1;
        proxy.change(|s| match changes % 5 {
            0 => s.backends[0].balance = "leastconn".parse().unwrap(),
            1 => s.frontends[0].name = format!("f{changes}").parse().unwrap(),
            // Another address comes and goes beside the one that is asked.
            2 => s.frontends[0].bind.push(format!("127.0.0.1:{other}").parse().unwrap()),
            3 => s.backends[0].servers[0].state = ServerState::Maint,
            _ => {
                s.backends[0].servers[0].state = ServerState::Ready;
                s.frontends[0].bind.truncate(1);
            }
        });
        std::thread::sleep(Duration::from_millis(20));
    }
    let lost: usize = askers.into_iter().map(|t| t.join().unwrap()).sum();
    println!("{QUESTIONS} questions, {changes} changes, {lost} lost");
    assert_eq!(lost, 0);
    assert!(changes > 10, "{changes}");
}

#[test]
fn a_place_can_go_and_come_back() {
    let echo = Echo::new("s");
    let mut all = udp(vec![server("s", echo.address)]);
    all.backends[0].udp_responses = None;
    let mut proxy = Proxy::start(all);
    let old = Visitor::new(proxy.port);
    old.ask("1");
    proxy.change(|s| s.frontends[0].enabled = false);
    // Who is there is served on, new ones are not.
    assert_eq!(old.ask("2"), "s 2");
    std::thread::sleep(Duration::from_millis(400));
    let new = Visitor::new(proxy.port);
    new.say("q");
    assert_eq!(new.hear(Duration::from_millis(200)), None);
    proxy.change(|s| s.frontends[0].enabled = true);
    assert!((0..20).all(|_| led_to(&proxy) == "s"));
    assert_eq!(old.ask("3"), "s 3");
}

/// A real DNS server that knows one name.
struct Dnsmasq(std::process::Child, SocketAddrV4);

impl Dnsmasq {
    fn start() -> Self {
        let port = free_port();
        let child = std::process::Command::new("dnsmasq")
            .args(["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--no-hosts"])
            .args(["--user=root", "--listen-address=127.0.0.1", "--bind-interfaces"])
            .args(["--no-resolv", "--local=/hole/", "--address=/pi.hole/192.0.2.7"])
            .arg(format!("--port={port}"))
            .stdin(std::process::Stdio::null())
            .spawn()
            .unwrap();
        Self(child, SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
    }

    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The query for pi.hole under a number.
fn query(id: u16) -> Vec<u8> {
    let mut out = id.to_be_bytes().to_vec();
    out.extend_from_slice(b"\x01\0\0\x01\0\0\0\0\0\0\x02pi\x04hole\0\0\x01\0\x01");
    out
}

#[test]
fn two_real_dns_servers_of_which_one_dies() {
    const QUESTIONS: u16 = 1000;
    let (mut a, b) = (Dnsmasq::start(), Dnsmasq::start());
    let mut all = udp(vec![server("a", a.1), server("b", b.1)]);
    checked(&mut all);
    all.backends[0].check.dns_name = "pi.hole".parse().ok();
    all.backends[0].check.dns_address = "192.0.2.7".parse().ok();
    // The same servers by connection, as DNS needs it.
    let mut more = settings(free_port(), all.backends[0].servers.clone());
    (more.frontends[0].name, more.backends[0].name) = (common::name("f"), common::name("tcp"));
    (more.frontends[0].mode, more.backends[0].mode) = (Mode::Tcp, Mode::Tcp);
    more.frontends[0].default_backend = common::name("tcp");
    more.frontends[0].bind = all.frontends[0].bind.clone();
    more.backends[0].check = all.backends[0].check.clone();
    all.frontends.append(&mut more.frontends);
    all.backends.append(&mut more.backends);
    let mut proxy = Proxy::start(all);
    let words = |proxy: &Proxy, word: &str| -> usize {
        let status = proxy.status();
        let all = status.backends.iter().flat_map(|b| &b.servers);
        all.filter(|s| s.check.check_status == word).count()
    };
    until("all are checked", || words(&proxy, "L7OK") == 4);
    let mut lost = 0;
    for id in 0..QUESTIONS {
        if id == QUESTIONS / 2 {
            a.kill();
        }
        let visitor = Visitor::new(proxy.port);
        visitor.0.send(&query(id)).unwrap();
        visitor.0.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let mut part = [0; 512];
        let good = visitor
            .0
            .recv(&mut part)
            .is_ok_and(|n| part[..2] == id.to_be_bytes() && part[..n].ends_with(&[192, 0, 2, 7]));
        lost += usize::from(!good);
    }
    println!("{QUESTIONS} questions, one of two servers killed, {lost} lost");
    assert_eq!(lost, 0);
    until("its death is seen", || words(&proxy, "L4CON") == 2 && words(&proxy, "L7OK") == 2);
    let mut by_connection =
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).unwrap();
    std::io::Write::write_all(&mut by_connection, &[&[0, 25][..], &query(7)].concat()).unwrap();
    let mut length = [0; 2];
    std::io::Read::read_exact(&mut by_connection, &mut length).unwrap();
    assert!(u16::from_be_bytes(length) > 25);
    // A name that is not there, where that is the good answer and where it is not.
    proxy.change(|s| {
        let check = &mut s.backends[0].check;
        (check.dns_name, check.dns_address) = ("nothing.hole".parse().ok(), None);
        check.dns_codes = "NXDOMAIN".parse().ok();
        s.backends[1].check.dns_name = "nothing.hole".parse().ok();
        s.backends[1].check.dns_address = None;
    });
    until("codes count", || {
        let status = proxy.status();
        let check = |i: usize| status.backends[i].servers[1].check.clone();
        let (good, bad) = (check(0), check(1));
        (good.check_status.as_str(), good.check_code) == ("L7OK", Some(3))
            && (bad.check_status.as_str(), bad.check_code) == ("L7STS", Some(3))
    });
}

/// Kilobytes of this process that are in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Answers, and remembers nothing.
fn plain_echo() -> SocketAddrV4 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let SocketAddr::V4(address) = socket.local_addr().unwrap() else { unreachable!() };
    std::thread::spawn(move || {
        let mut part = [0; 2048];
        while let Ok((n, from)) = socket.recv_from(&mut part) {
            let _ = socket.send_to(&part[..n], from);
        }
    });
    address
}

#[test]
fn a_flood_of_forged_sources_keeps_nobody_from_being_served() {
    const FLOOD: u64 = 200_000;
    let mut all = udp(vec![server("s", plain_echo())]);
    all.frontends[0].maxconn = 500;
    let proxy = Proxy::start(all);
    let port = proxy.port;
    let handle = proxy.handle.clone();
    let came = move || handle.status().unwrap().frontends[0].traffic.stot;
    // Every datagram from another address or port, as a forger would write them; as many as can be
    // taken, for what the kernel drops before is nobody's doing.
    let flood = std::thread::spawn(move || {
        let mut sent = 0;
        while sent < FLOOD {
            let host = u8::try_from(2 + sent / 100 % 250).unwrap();
            let bind = |_| UdpSocket::bind((Ipv4Addr::new(127, 9, 9, host), 0)).ok();
            let sources: Vec<UdpSocket> = (0..100).filter_map(bind).collect();
            for source in &sources {
                sent += u64::from(source.send_to(b"flood", (Ipv4Addr::LOCALHOST, port)).is_ok());
            }
            let patience = Instant::now() + Duration::from_millis(100);
            while came() + 200 < sent && Instant::now() < patience {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        sent
    });
    until("it has begun", || proxy.status().frontends[0].traffic.stot > 5000);
    let before = resident();
    let (mut asked, mut answered) = (0, 0);
    while !flood.is_finished() {
        let visitor = Visitor::new(port);
        visitor.say("honest");
        asked += 1;
        answered += usize::from(visitor.hear(Duration::from_secs(1)).is_some());
        std::thread::sleep(Duration::from_millis(2));
    }
    let sent = flood.join().unwrap();
    let front = proxy.status().frontends[0].clone();
    let grown = resident().saturating_sub(before);
    println!(
        "{} visitors of {sent}, {} at once, {} dropped, {grown} kB more, {answered} of {asked} served",
        front.traffic.stot, front.traffic.smax, front.dreq
    );
    assert!(front.traffic.smax <= 502, "{}", front.traffic.smax);
    assert!(front.traffic.stot * 10 > sent * 9, "{}", front.traffic.stot);
    // Other tests of this process grow, too; the forged visitors would be some hundred megabytes.
    assert!(grown < 24 * 1024, "{grown} kB");
    assert!(answered * 100 >= asked * 95, "{answered} of {asked}");
    until("all are forgotten", || proxy.status().frontends[0].traffic.scur == 0);
    assert_eq!(Visitor::new(port).ask("after"), "after");
}
