//! Hot reload under load, for as long as one likes: every fifth of a second something else of the
//! settings changes, at random, and no request fails, no connection breaks and no memory is lost.
//! `make soak-reload` runs it for ten minutes.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use common::{Conn, Proxy, Scripted, free_port, frontend, name, server, settings, until};
use model::{
    Backend, Balance, Bind, Check, Frontend, Millis, Mode, RetryOn, Server, ServerState, Settings,
    Weight,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What may be in use more at the end of the run (its last tenth) than at its start (its second and
/// third tenth: of ten minutes, minutes two and three), in KiB. Bodies that are on their way at
/// both ends of a connection are part of it.
const GROWTH: f64 = 1024.0;
/// The same for less than a minute, of which the last tenth is a few samples only.
const GROWTH_OF_SHORT: f64 = 4096.0;

/// Counts what is in use: what the process keeps from the system also depends on what the clients'
/// threads have torn it into.
struct Counted;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTED: Counted = Counted;

/// xorshift64*: the same changes for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let n = u64::try_from(n).unwrap();
        usize::try_from((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n).unwrap()
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    fn millis(&mut self, low: usize, high: usize) -> Millis {
        Millis(u32::try_from(low + self.below(high - low)).unwrap())
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |n| n.parse().unwrap())
}

/// Answers `/N` with N bytes, anything with content with its length, and speaks a protocol of
/// echoes where it is asked to change.
fn origin() -> Scripted {
    Scripted::new(|peer| {
        while let Some(request) = peer.request() {
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            if head.contains("websocket") {
                peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n");
                return repeat(&mut peer.io);
            }
            let answer = if head.starts_with("POST") {
                // Framing of chunks does not count.
                body.bytes().filter(|b| *b == b'x').count().to_string()
            } else {
                let path = head.split(' ').nth(1).unwrap();
                "x".repeat(path[1..].parse().unwrap_or(2))
            };
            let length = answer.len();
            peer.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{answer}"));
        }
    })
}

fn repeat(io: &mut TcpStream) {
    let mut part = [0_u8; 4096];
    while let Ok(n @ 1..) = io.read(&mut part) {
        if io.write_all(&part[..n]).is_err() {
            return;
        }
    }
}

/// What all clients share.
#[derive(Clone, Default)]
struct Run {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    echoes: Arc<AtomicUsize>,
    /// How many changes there have been.
    changes: Arc<AtomicUsize>,
}

impl Run {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }
}

/// What failed, and after how many changes.
type Failure = (usize, String);

#[derive(Clone, Copy, Debug)]
enum Asks {
    /// Pages up to this size.
    Pages(usize),
    /// Sends up to so much, with its length or in chunks.
    Sends(usize, bool),
}

/// One request after the other, on a kept connection or on one of its own; says what failed.
fn visitor(port: u16, asks: Asks, keep: bool, seed: u64, run: &Run) -> Vec<Failure> {
    let mut dice = Dice(seed);
    let mut failures = Vec::new();
    let mut kept: Option<Conn> = None;
    while run.goes_on() && failures.len() < 10 {
        let mut conn = kept.take().unwrap_or_else(|| Conn::to(port));
        let end = if keep { "" } else { "Connection: close\r\n" };
        let (request, wanted) = match asks {
            Asks::Pages(most) => {
                let size = dice.below(most);
                (format!("GET /{size} HTTP/1.1\r\nHost: soak\r\n{end}\r\n").into_bytes(), size)
            }
            Asks::Sends(most, chunked) => {
                let size = 1 + dice.below(most);
                let body = "x".repeat(size);
                let text = if chunked {
                    let (first, rest) = body.split_at(size / 2);
                    let chunk = |c: &str| match c.len() {
                        0 => String::new(),
                        n => format!("{n:x}\r\n{c}\r\n"),
                    };
                    format!(
                        "POST /form HTTP/1.1\r\nHost: soak\r\nTransfer-Encoding: chunked\r\n{end}\r\n{}{}0\r\n\r\n",
                        chunk(first),
                        chunk(rest)
                    )
                } else {
                    format!(
                        "POST /form HTTP/1.1\r\nHost: soak\r\nContent-Length: {size}\r\n{end}\r\n{body}"
                    )
                };
                (text.into_bytes(), size)
            }
        };
        conn.send(&request);
        let good = match conn.answer(false) {
            Ok(answer) if answer.status == 200 => {
                let right = match asks {
                    Asks::Pages(_) => answer.body.len() == wanted,
                    Asks::Sends(..) => answer.body == wanted.to_string().as_bytes(),
                };
                if keep && !answer.head.contains("Connection: close") {
                    kept = Some(conn);
                }
                if right { Ok(()) } else { Err(format!("{wanted}: {}", answer.head)) }
            }
            other => Err(format!("{other:?}")),
        };
        match good {
            Ok(()) => drop(run.done.fetch_add(1, Ordering::SeqCst)),
            Err(text) => {
                let changes = run.changes.load(Ordering::SeqCst);
                failures.push((changes, format!("{asks:?}, kept: {keep}: {text}")));
            }
        }
    }
    failures
}

/// One connection for the whole run, over which something comes back every tenth of a second.
fn held(port: u16, upgrade: bool, run: &Run) -> Vec<Failure> {
    let failed = |text: String| vec![(run.changes.load(Ordering::SeqCst), text)];
    let what = if upgrade { "the tunnel" } else { "the connection of mode tcp" };
    let mut conn = Conn::to(port);
    if upgrade {
        conn.send(b"GET /1 HTTP/1.1\r\nHost: soak\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
        let answer = conn.answer(true).unwrap();
        if answer.status != 101 {
            return failed(format!("{what}: {}", answer.head));
        }
    }
    while run.goes_on() {
        let mut back = [0_u8; 4];
        let there = conn.io.write_all(b"ping").and_then(|()| conn.io.read_exact(&mut back));
        if there.is_err() || back != *b"ping" {
            return failed(format!("{what}: {there:?} {back:?}"));
        }
        run.echoes.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(100));
    }
    Vec::new()
}

/// The settings at the start: HTTP in front of four servers, and a port of mode tcp.
fn start(servers: &[Scripted], repeater: &Scripted, http: u16, tcp: u16) -> Settings {
    let list = servers.iter().enumerate().map(|(i, s)| server(&format!("s{i}"), s.address));
    let mut all = settings(http, list.collect());
    all.backends.push(Backend {
        name: name("raw"),
        mode: Mode::Tcp,
        servers: vec![server("r0", repeater.address)],
        check: Check { enabled: false, ..Check::default() },
        ..Backend::default()
    });
    all.frontends.push(Frontend {
        mode: Mode::Tcp,
        default_backend: name("raw"),
        ..frontend("raw", tcp)
    });
    all
}

/// Something else; returns a port that must answer now.
fn change(s: &mut Settings, dice: &mut Dice, servers: &[Scripted]) -> Option<u16> {
    match dice.below(20) {
        0 => s.backends[0].balance = dice.of(&Balance::examples()),
        1 => {
            let at = dice.below(s.backends[0].servers.len());
            let weight = u64::try_from(dice.below(257)).unwrap();
            s.backends[0].servers[at].weight = Weight::new(weight).unwrap();
        }
        2 | 3 => {
            let at = dice.below(s.backends[0].servers.len());
            let states = [ServerState::Ready, ServerState::Drain, ServerState::Maint];
            s.backends[0].servers[at].state = dice.of(&states);
        }
        4 => {
            let at = dice.below(s.backends[0].servers.len());
            s.backends[0].servers.remove(at);
        }
        5 => {
            let missing = (0..servers.len()).map(|i| (i, format!("s{i}")));
            let mut missing =
                missing.filter(|(_, n)| s.backends[0].servers.iter().all(|s| s.name.as_str() != n));
            if let Some((i, n)) = missing.next() {
                s.backends[0].servers.push(server(&n, servers[i].address));
            }
        }
        6 => {
            let lines = ["SRV insert indirect nocache", "SRV prefix", "SRV rewrite", "SRV insert"];
            s.backends[0].cookie = dice.coin().then(|| dice.of(&lines).parse().unwrap());
        }
        7 => {
            let on = dice.coin();
            let tables = ["type ip size 100k expire 30m", "type ip size 10"];
            s.backends[0].stick_table = on.then(|| dice.of(&tables).parse().unwrap());
            s.backends[0].stick_on = on.then(|| "src".parse().unwrap());
        }
        8 => {
            let lines = [
                "http-request set-header X-Soak yes",
                "http-response del-header Server",
                "http-request add-header X-Soak %[src]",
                "http-request deny if { path_beg /forbidden }",
            ];
            let n = dice.below(4);
            s.frontends[0].rules = (0..n).map(|_| dice.of(&lines).parse().unwrap()).collect();
        }
        9 => {
            s.frontends[0].timeout_client = dice.millis(20_000, 60_000);
            s.frontends[0].timeout_http_request = dice.millis(10_000, 20_000);
            s.frontends[0].timeout_http_keep_alive = dice.millis(10_000, 20_000);
            s.backends[0].timeout_server = dice.millis(20_000, 60_000);
            s.backends[0].timeout_connect = dice.millis(5_000, 9_000);
            s.backends[1].timeout_server = dice.millis(20_000, 60_000);
        }
        10 => {
            let check = &mut s.backends[0].check;
            check.enabled = dice.coin();
            check.inter = dice.millis(200, 2_000);
            check.http_path = dice.coin().then(|| "/1".parse().unwrap());
            check.observe = dice.coin();
            check.fall = 10;
        }
        11 => {
            let at = dice.below(s.backends[0].servers.len());
            s.backends[0].servers[at].maxconn = dice.of(&[0, 4, 10]);
        }
        12 => s.frontends[0].maxconn = dice.of(&[100, 1000, 2000]),
        13 => {
            s.frontends[0].httplog = dice.coin();
            s.frontends[1].httplog = dice.coin();
        }
        14 => s.frontends[0].forwardfor = dice.coin(),
        15 => {
            s.backends[0].retries = dice.of(&[2, 3, 5]);
            s.backends[0].redispatch = dice.coin();
            let reasons = [RetryOn::EmptyResponse, RetryOn::JunkResponse, RetryOn::Unavailable];
            s.backends[0].retry_on = dice.coin().then(|| dice.of(&reasons)).into_iter().collect();
        }
        16 => {
            let at = dice.below(s.backends[0].servers.len());
            s.backends[0].servers[at].backup = !s.backends[0].servers[at].backup;
            s.backends[0].allbackups = dice.coin();
            s.backends[0].slowstart = dice.of(&[Millis(0), Millis(1000)]);
        }
        // A port more at the frontend, or none.
        17 => {
            s.frontends[0].bind.truncate(1);
            let port = free_port();
            let bind: Bind = format!("127.0.0.1:{port}").parse().unwrap();
            s.frontends[0].bind.push(bind);
            return Some(port);
        }
        // A frontend and a backend of its own, or none.
        18 => {
            let port = free_port();
            s.frontends.truncate(2);
            s.backends.truncate(2);
            s.backends.push(Backend {
                name: name("more"),
                servers: vec![server("m0", servers[0].address)],
                ..Backend::default()
            });
            s.frontends.push(Frontend { default_backend: name("more"), ..frontend("more", port) });
            return Some(port);
        }
        _ => {
            s.frontends.truncate(2);
            s.backends.truncate(2);
            s.frontends[0].bind.truncate(1);
        }
    }
    keep_one(&mut s.backends[0].servers, servers);
    None
}

/// One server takes visitors, whatever was changed.
fn keep_one(list: &mut Vec<Server>, servers: &[Scripted]) {
    if list.is_empty() {
        list.push(server("s0", servers[0].address));
    }
    let takes = |s: &Server| s.state == ServerState::Ready && s.weight != Weight::new(0).unwrap();
    if !list.iter().any(takes) {
        list[0].state = ServerState::Ready;
        list[0].weight = Weight::new(100).unwrap();
    }
}

/// Memory in use, and kept by the process, in KiB.
fn memory() -> [f64; 2] {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    let used = u32::try_from(IN_USE.load(Ordering::Relaxed) / 1024).unwrap();
    [f64::from(used), line.split_whitespace().next().unwrap().parse().unwrap()]
}

/// The mean of what was sampled between these tenths of the run.
fn mean(samples: &[[f64; 2]], which: usize, from: usize, to: usize) -> f64 {
    let part = &samples[samples.len() * from / 10..samples.len() * to / 10];
    part.iter().map(|s| s[which]).sum::<f64>() / f64::from(u32::try_from(part.len()).unwrap())
}

#[test]
fn no_request_fails_and_no_memory_is_lost_while_everything_changes() {
    let length = Duration::from_secs(number("SOAK_SECONDS", 15));
    let seed = number("SOAK_SEED", 20_261_129);
    let pause = Duration::from_millis(number("SOAK_PAUSE_MS", 200));
    let mut dice = Dice(seed);
    let servers: Vec<Scripted> = (0..4).map(|_| origin()).collect();
    let repeater = Scripted::new(|peer| repeat(&mut peer.io));
    let (http, tcp) = (free_port(), free_port());
    let mut proxy = Proxy::start(start(&servers, &repeater, http, tcp));

    let run = Run::default();
    let kinds = [
        (Asks::Pages(200), true),
        (Asks::Pages(200), true),
        (Asks::Pages(2_000), false),
        (Asks::Pages(300_000), true),
        (Asks::Pages(300_000), false),
        (Asks::Sends(100_000, false), true),
        (Asks::Sends(100_000, true), true),
        (Asks::Sends(3_000, false), false),
    ];
    let mut clients: Vec<JoinHandle<Vec<Failure>>> = Vec::new();
    for (seed, (asks, keep)) in (1..).zip(kinds) {
        let run = run.clone();
        clients.push(std::thread::spawn(move || visitor(http, asks, keep, seed, &run)));
    }
    for (port, upgrade) in [(http, true), (tcp, false)] {
        let run = run.clone();
        clients.push(std::thread::spawn(move || held(port, upgrade, &run)));
    }

    let begun = Instant::now();
    let (mut changes, mut more, mut samples) = (0_usize, 0_usize, Vec::new());
    while begun.elapsed() < length {
        let next = begun + pause * u32::try_from(changes + 1).unwrap();
        let mut wanted = proxy.settings.clone();
        let new = change(&mut wanted, &mut dice, &servers);
        assert_eq!(model::check(&wanted), [], "change {changes} of seed {seed}");
        proxy.change(|s| *s = wanted);
        changes += 1;
        run.changes.store(changes, Ordering::SeqCst);
        if let Some(port) = new {
            let answer = Conn::to(port).get("/3").unwrap();
            assert_eq!(answer.status, 200, "a new port after change {changes} of seed {seed}");
            more +=
                usize::from(proxy.settings.frontends[0].bind.iter().any(|b| b.port.get() == port));
        }
        // What the servers have seen is nobody's business here.
        servers.iter().for_each(|s| s.seen.lock().unwrap().clear());
        samples.push(memory());
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    run.stop.store(true, Ordering::SeqCst);
    let failures: Vec<Failure> = clients.into_iter().flat_map(|c| c.join().unwrap()).collect();
    let (done, echoes) = (run.done.load(Ordering::SeqCst), run.echoes.load(Ordering::SeqCst));
    let [(early, late), (kept, kept_late)] =
        [0, 1].map(|which| (mean(&samples, which, 1, 3), mean(&samples, which, 9, 10)));
    println!(
        "seed {seed}: {changes} changes in {:?}, {done} requests and {echoes} echoes, {} failures, \
         memory in use {early:.0} KiB early and {late:.0} KiB at the end, kept by the process \
         {kept:.0} and {kept_late:.0} KiB",
        begun.elapsed(),
        failures.len()
    );
    if let Some((at, text)) = failures.iter().min() {
        // The same dice, the same changes.
        let (mut dice, mut then) = (Dice(seed), start(&servers, &repeater, http, tcp));
        for _ in 0..*at {
            change(&mut then, &mut dice, &servers);
        }
        let (front, back) = (&then.frontends[0], &then.backends[0]);
        panic!(
            "{} failures of seed {seed}, the first after change {at}: {text}\n{front:?}\n{back:?}",
            failures.len()
        );
    }
    assert!(done > changes * 5, "{done} requests beside {changes} changes are no load");
    assert!(u64::try_from(echoes).unwrap() > length.as_secs(), "{echoes}");
    let most = if length < Duration::from_secs(60) { GROWTH_OF_SHORT } else { GROWTH };
    assert!(late - early < most, "memory in use has grown by {:.0} KiB", late - early);
    until("all are counted", || proxy.status().backends.iter().all(|b| b.traffic.scur == 0));
    // Counters have survived all of it; the tunnel was a request, too.
    let status = proxy.status();
    let counted = status.frontends[0].req_tot;
    assert_eq!(counted, u64::try_from(done + more + 1).unwrap());
}
