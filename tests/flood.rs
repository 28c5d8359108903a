//! Somebody tries passwords on the admin page of the balancer that holds the floating IP, from many
//! addresses and as fast as they can. Nothing else may notice: adverts go out on time, visitors are
//! served, memory stays bounded, and the owner gets in.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test states what it expects")]

use lab::netns::Namespace;
use lab::{Api, Lab, Load, Options, Plan, Shape, site, wait};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const PASSWORD: &str = "correct horse battery";
const PATIENCE: Duration = Duration::from_secs(30);
const PAGE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 14), 1936);
/// The attacker's addresses, 192.168.1.100 and on, and sign-ins under way at once from all of them.
const ADDRESSES: u8 = 40;
const AT_ONCE: usize = 200;
const LASTS: Duration = Duration::from_secs(20);
/// The reference cluster's interval is a second, and a standby waits for three.
const LATE: Duration = Duration::from_millis(2000);
/// Growth of the appliance's memory that is allowed, in KiB.
const GROWTH: u64 = 30 * 1024;

/// One HTTP exchange from one of our addresses; the status and the whole answer.
fn exchange(from: Ipv4Addr, request: &str) -> std::io::Result<(u16, String)> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SockAddr::from(SocketAddrV4::new(from, 0)))?;
    socket.connect_timeout(&SockAddr::from(PAGE), Duration::from_secs(5))?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    Ok((status, answer))
}

/// Signs in as the page does it: the form first, then its token with the password.
fn sign_in(from: Ipv4Addr, password: &str) -> std::io::Result<u16> {
    let get = format!("GET /login HTTP/1.1\r\nHost: {PAGE}\r\nConnection: close\r\n\r\n");
    let (status, page) = exchange(from, &get)?;
    let token = page.split("name=\"csrf\" value=\"").nth(1).and_then(|t| t.split('"').next());
    let Some(token) = token else { return Ok(status) };
    let form = format!("csrf={token}&username=admin&password={}", password.replace(' ', "+"));
    let post = format!(
        "POST /login HTTP/1.1\r\nHost: {PAGE}\r\nOrigin: http://{PAGE}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    Ok(exchange(from, &post)?.0)
}

/// Wrong passwords from everywhere until `stop`; how often each status was answered, 0 for none.
fn flood(space: &Namespace, stop: &Arc<AtomicBool>) -> Arc<Mutex<BTreeMap<u16, u64>>> {
    let answers: Arc<Mutex<BTreeMap<u16, u64>>> = Arc::default();
    for n in 0..AT_ONCE {
        let (answers, stop) = (answers.clone(), stop.clone());
        let last = 100 + u8::try_from(n % usize::from(ADDRESSES)).unwrap();
        let attempts = move || {
            while !stop.load(Ordering::Relaxed) {
                let status = sign_in(Ipv4Addr::new(192, 168, 1, last), "not the password");
                *answers.lock().unwrap().entry(status.unwrap_or(0)).or_default() += 1;
            }
        };
        space.spawn(attempts).unwrap();
    }
    answers
}

/// Listens to the adverts on the network; the pauses between those of the holder.
fn adverts(space: &Namespace, stop: &Arc<AtomicBool>) -> Arc<Mutex<Vec<Duration>>> {
    let pauses: Arc<Mutex<Vec<Duration>>> = Arc::default();
    let (kept, stop) = (pauses.clone(), stop.clone());
    let socket = space
        .within(|| {
            // RFC 9568 5.1.1: protocol 112, to 224.0.0.18.
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(112))).unwrap();
            let group = Ipv4Addr::new(224, 0, 0, 18);
            socket.join_multicast_v4(&group, &Ipv4Addr::new(192, 168, 1, 50)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            socket
        })
        .unwrap();
    thread::spawn(move || {
        let mut last: Option<Instant> = None;
        let mut packet = [MaybeUninit::uninit(); 1500];
        while !stop.load(Ordering::Relaxed) {
            let Ok((_, from)) = socket.recv_from(&mut packet) else { continue };
            if from.as_socket_ipv4().map(|a| *a.ip()) != Some(*PAGE.ip()) {
                continue;
            }
            let now = Instant::now();
            kept.lock().unwrap().extend(last.map(|last| now - last));
            last = Some(now);
        }
    });
    pauses
}

/// What a process has in memory of its own, in KiB. Pages of the program itself, which are read in
/// as they are first used and can be dropped at any time, are not counted.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The most it has until `stop`; a hash takes its 19 MiB for a fraction of a second.
fn highest(pid: u32, stop: &Arc<AtomicBool>) -> thread::JoinHandle<u64> {
    let stop = stop.clone();
    thread::spawn(move || {
        let mut most = 0;
        while !stop.load(Ordering::Relaxed) {
            most = most.max(resident(pid));
            thread::sleep(Duration::from_millis(5));
        }
        most
    })
}

#[test]
fn a_flood_of_sign_ins_costs_nobody_anything() {
    let options = Options::new(env!("CARGO_BIN_EXE_bramble")).password(PASSWORD);
    let lab = Lab::start(&options).unwrap();
    lab.wait_ready(PATIENCE).unwrap();
    lab.wait_holder("lbmaster", PATIENCE).unwrap();
    let api = Api::new(&lab, "lbmaster", PASSWORD);
    api.wait_servers(4, PATIENCE).unwrap();
    let client = lab.client();
    for n in 0..ADDRESSES {
        client.ip(&["addr", "add", &format!("192.168.1.{}/24", 100 + n), "dev", "eth0"]).unwrap();
    }
    // The owner has signed in before, which also brings the hasher's memory into the base line.
    let owner = Ipv4Addr::new(192, 168, 1, 50);
    assert_eq!(client.within(|| sign_in(owner, PASSWORD)).unwrap().unwrap(), 303);
    let pid = lab.node("lbmaster").pid().unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let plan =
        Plan { shape: Shape::Rate(50), timeout: Duration::from_secs(5), ..Plan::steady(site()) };
    let visitors = Load::start(&client, plan).unwrap();
    visitors.reach(100, PATIENCE).unwrap();
    let before = resident(pid);
    let pauses = adverts(&client, &stop);
    let answers = flood(&client, &stop);

    let most = highest(pid, &stop);
    let began = Instant::now();
    let mut owner_waited = Vec::new();
    while began.elapsed() < LASTS {
        let asked = Instant::now();
        // Every place may be taken at this very moment; the owner tries again.
        if let Ok(303) = client.within(|| sign_in(owner, PASSWORD)).unwrap() {
            owner_waited.push(asked.elapsed());
        }
        thread::sleep(Duration::from_millis(250));
    }
    let visitors = visitors.finish().unwrap();
    stop.store(true, Ordering::Relaxed);
    let (pauses, answers) = (pauses.lock().unwrap().clone(), answers.lock().unwrap().clone());
    let most = most.join().unwrap();
    let longest = pauses.iter().max().copied().unwrap();
    println!(
        "sign-ins {answers:?}; {} adverts, longest pause {longest:?}; {} requests, {} failed, \
         slowest {:.0} ms; memory {before} KiB, at most {most} KiB; the owner got in {} times",
        pauses.len(),
        visitors.total,
        visitors.failed,
        visitors.slowest_ms,
        owner_waited.len(),
    );
    let sent: u64 = answers.values().sum();
    assert!(sent >= 500, "this was no flood: {answers:?}");
    let looked_at = answers.get(&401).copied().unwrap_or(0);
    assert!((1..=40).contains(&looked_at), "at most 30 a minute are looked at: {answers:?}");
    assert!(!answers.contains_key(&303), "nobody got in: {answers:?}");
    assert!(!owner_waited.is_empty(), "the owner was kept out");
    assert!(pauses.len() >= 15 && longest < LATE, "{pauses:?}");
    assert_eq!(lab.holders("192.168.1.15"), ["lbmaster"]);
    // The last of the flood still holds its places.
    let routers = wait::until(PATIENCE, "the page", || api.status()).unwrap();
    let own = &routers["nodes"][0]["status"]["vrrp"][0]["counters"];
    assert_eq!(own["became_master"], 1, "no failover: {own}");
    assert_eq!(visitors.failed, 0, "{visitors:?}");
    assert!(most < before + GROWTH, "{before} KiB became {most} KiB");
}
