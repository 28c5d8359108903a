//! Hot reload under load, for as long as one likes: every fifth of a second something else of the
//! settings changes, at random, and no request, no handshake and no question fails, no connection
//! breaks and no memory is lost. `make soak-reload` runs it for ten minutes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod changes;
#[path = "../common/mod.rs"]
mod common;
mod datagrams;
mod memory;
mod plain;
mod run;
mod secure;

use changes::{DATAGRAMS, Must, Ports, Servers, TLS, UDP, change, start};
use common::tls::{Tls, certificate, modern};
use common::{Conn, Proxy, Scripted, until};
use noise::Noise;
use plain::Asks;
use run::{Failure, Run, of};
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What may be in use more at the end of the run (its last tenth) than at its start (its second and
/// third tenth: of ten minutes, minutes two and three), in KiB. Bodies that are on their way at
/// both ends of a connection are part of it.
const GROWTH: f64 = 1024.0;
/// The same for less than a minute, of which the last tenth is a few samples only.
const GROWTH_OF_SHORT: f64 = 4096.0;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |n| n.parse().unwrap())
}

/// Everybody who visits.
fn visitors(ports: Ports, run: &Run) -> Vec<JoinHandle<Vec<Failure>>> {
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
    let mut all: Vec<_> = (1..)
        .zip(kinds)
        .map(|(seed, (asks, keep))| {
            run.spawn(move |run| plain::visitor(ports.http, asks, keep, seed, run))
        })
        .collect();
    for (port, upgrade) in [(ports.http, true), (ports.tcp, false)] {
        all.push(run.spawn(move |run| plain::held(port, upgrade, run)));
    }
    for (requests, resume) in [(30, false), (1, false), (1, true)] {
        all.push(run.spawn(move |run| secure::visitor(ports.tls, requests, resume, run)));
    }
    all.push(run.spawn(move |run| secure::streams(ports.tls, run)));
    for questions in [1, 50] {
        all.push(run.spawn(move |run| datagrams::asker(ports.udp, questions, run)));
    }
    all
}

#[test]
fn nothing_fails_and_no_memory_is_lost_while_everything_changes() {
    let length = Duration::from_secs(number("SOAK_SECONDS", 15));
    let seed = number("SOAK_SEED", 20_261_129);
    let pause = Duration::from_millis(number("SOAK_PAUSE_MS", 200));
    let mut noise = Noise::new(seed);
    let servers = Servers {
        web: (0..4).map(|_| plain::origin()).collect(),
        repeater: Scripted::new(|peer| plain::repeat(&mut peer.io)),
        datagrams: std::array::from_fn(|_| common::datagram_echo()),
    };
    let ports = Ports::new();
    let first = certificate("c0", &[secure::HOST]);
    let begin = || start(&servers, ports, &first);
    let mut proxy = Proxy::start(begin());
    let run = Run::default();
    let visitors = visitors(ports, &run);

    let begun = Instant::now();
    let (mut changes, mut more, mut shown, mut samples) = (0_usize, 0_usize, 0_usize, Vec::new());
    while begun.elapsed() < length {
        let next = begun + pause * u32::try_from(changes + 1).unwrap();
        let mut wanted = proxy.settings.clone();
        let must = change(&mut wanted, &mut noise, &servers);
        assert_eq!(model::check(&wanted), [], "change {changes} of seed {seed}");
        proxy.change(|s| *s = wanted);
        changes += 1;
        run.changes.store(changes, Ordering::SeqCst);
        match must {
            None => {}
            Some(Must::Answer(port)) => {
                let answer = Conn::to(port).get("/3").unwrap();
                assert_eq!(answer.status, 200, "a new port after change {changes} of seed {seed}");
                let binds = &proxy.settings.frontends[0].bind;
                more += usize::from(binds.iter().any(|b| b.port.get() == port));
            }
            Some(Must::Show(certificate)) => {
                let mut tls = Tls::to(ports.tls, secure::HOST, &modern()).unwrap();
                assert!(tls.was_shown(&certificate), "after change {changes} of seed {seed}");
                assert!(tls.get("/3").unwrap().0.starts_with("HTTP/1.1 200"));
                shown += 1;
            }
        }
        // What the servers have seen is nobody's business here.
        servers.web.iter().for_each(|s| s.seen.lock().unwrap().clear());
        samples.push(memory::sample());
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    run.end();
    let failures: Vec<Failure> = visitors.into_iter().flat_map(|c| c.join().unwrap()).collect();
    let [(early, late), (kept, kept_late)] = [0, 1]
        .map(|which| (memory::mean(&samples, which, 1, 3), memory::mean(&samples, which, 9, 10)));
    let [plain, secure, handshakes, echoes, datagrams] =
        [&run.plain, &run.secure, &run.handshakes, &run.echoes, &run.datagrams].map(|c| of(c));
    println!(
        "seed {seed}: {changes} changes in {:?}, {plain} requests, {secure} over TLS with \
         {handshakes} handshakes, {echoes} echoes and {datagrams} datagrams, {} failures, memory \
         in use {early:.0} KiB early and {late:.0} KiB at the end, kept by the process {kept:.0} \
         and {kept_late:.0} KiB",
        begun.elapsed(),
        failures.len()
    );
    println!("{} farewells, {} refused", of(&run.farewells), of(&run.refused));
    if let Some((at, text)) = failures.iter().min() {
        // The same seed, the same changes.
        let (mut noise, mut then) = (Noise::new(seed), begin());
        for _ in 0..*at {
            change(&mut then, &mut noise, &servers);
        }
        let (fronts, backs) = (&then.frontends, &then.backends);
        panic!(
            "{} failures of seed {seed}, the first after change {at}: {text}\n{fronts:?}\n{backs:?}",
            failures.len()
        );
    }
    for (what, count) in [("plain", plain), ("secure", secure), ("datagrams", datagrams)] {
        assert!(count > changes * 5, "{count} {what} beside {changes} changes are no load");
    }
    assert!(handshakes > changes, "{handshakes}");
    assert!(u64::try_from(echoes).unwrap() > length.as_secs(), "{echoes}");
    let most = if length < Duration::from_secs(60) { GROWTH_OF_SHORT } else { GROWTH };
    assert!(late - early < most, "memory in use has grown by {:.0} KiB", late - early);
    until("all are counted", || proxy.status().backends.iter().all(|b| b.traffic.scur == 0));
    // Counters have survived all of it; the tunnel was a request, too.
    let status = proxy.status();
    let counted = |front: usize| usize::try_from(status.frontends[front].req_tot).unwrap();
    assert_eq!((counted(0), counted(TLS)), (plain + more + 1, secure + shown));
    // No handshake went wrong, and no datagram was refused.
    assert_eq!((status.frontends[TLS].ereq, status.frontends[UDP].dreq), (0, 0));
    assert_eq!(status.backends[DATAGRAMS].econ, 0);
}
