//! How the two connections of mode tcp end, beside a real HAProxy: with a farewell (FIN) or a reset
//! (RST), in which direction first, what may still be said then, and what the log says of it.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use common::haproxy::{Haproxy, Logs, server_line};
use common::{PATIENCE, Peer, Proxy, Scripted, free_port, server, settings, until};
use model::{Millis, Mode};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Between two things that are said late, and how many there are of them: whoever is closed
/// refuses one of these, soon or late.
const SOON: Duration = Duration::from_millis(100);
const LATE: usize = 12;
/// A time-out that does not come.
const NEVER: u32 = 60_000;

/// What a side does once both are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Nothing,
    /// Ends its direction.
    End,
    /// Says something.
    Speak,
    /// Closes the connection.
    Close,
    /// Resets it.
    Reset,
    /// Says more than anybody takes, and reads nothing.
    Flood,
}
use Act::{Close, End, Flood, Nothing, Reset, Speak};

/// Time-outs in milliseconds; None for one that is not set.
#[derive(Clone, Copy, Debug)]
struct Limits {
    client: u32,
    server: u32,
    client_fin: Option<u32>,
    server_fin: Option<u32>,
}

/// Does it, and says what comes of it: how many bytes came, how the other direction ended, and
/// whether anything could be said after that.
fn play(io: &TcpStream, act: Act) -> String {
    let mut io = io;
    io.set_read_timeout(Some(PATIENCE)).unwrap();
    match act {
        Nothing => {}
        End => io.shutdown(Shutdown::Write).unwrap(),
        Speak => io.write_all(b"hello").unwrap(),
        Close => return "closed".to_owned(),
        Reset => {
            let linger = Some(Duration::ZERO);
            socket2::SockRef::from(io).set_linger(linger).unwrap();
            return "reset".to_owned();
        }
        Flood => {
            io.set_write_timeout(Some(PATIENCE)).unwrap();
            let part = vec![b'.'; 65536];
            let failed = (0..2000).find_map(|_| io.write_all(&part).err());
            return format!("flood: {}", if failed.is_some() { "broken off" } else { "taken" });
        }
    }
    let (mut bytes, mut part) = (0, [0; 65536]);
    let ended = loop {
        match io.read(&mut part) {
            Ok(0) => break "FIN",
            Ok(n) => bytes += n,
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => break "RST",
            Err(_) => break "open",
        }
    };
    let late = (0..LATE).all(|_| {
        std::thread::sleep(SOON);
        io.write_all(b"late").is_ok()
    });
    format!("{bytes} bytes, {ended}, {}", if late { "late ones taken" } else { "no more taken" })
}

static SETUP: Mutex<()> = Mutex::new(());

/// What the server's side tells.
#[derive(Default)]
struct Told {
    /// It has read the visitor's first byte, and did what it does.
    there: bool,
    /// What came of it.
    what: Option<String>,
}

/// What happened at the visitor, at the server, and in the log.
fn run(port: u16, acts: (Act, Act), told: &Mutex<Told>, log: impl Fn(&str) -> String) -> String {
    *told.lock().unwrap() = Told::default();
    let mut io = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let name = format!("{} [", io.local_addr().unwrap());
    io.set_nodelay(true).unwrap();
    io.write_all(b"x").unwrap();
    until("the server is there", || told.lock().unwrap().there);
    let visitor = if acts.1 == Flood {
        // Takes nothing, until it is over.
        let line = log(&name);
        return format!("visitor takes nothing; {line}");
    } else {
        play(&io, acts.0)
    };
    drop(io);
    until("the server has seen it", || told.lock().unwrap().what.is_some());
    let server = told.lock().unwrap().what.take().unwrap();
    format!("visitor: {visitor}; server: {server}; {}", log(&name))
}

fn compare(limits: Limits, acts: (Act, Act)) -> [String; 2] {
    let told: Arc<Mutex<Told>> = Arc::default();
    let tell = Arc::clone(&told);
    let site = Scripted::new(move |peer: &mut Peer| {
        let mut part = [0; 1];
        // One that says nothing only wants to know whether anybody is there.
        if peer.io.read_exact(&mut part).is_err() {
            return;
        }
        tell.lock().unwrap().there = true;
        // The visitor acts first.
        std::thread::sleep(SOON);
        let what = play(&peer.io, acts.1);
        tell.lock().unwrap().what = Some(what);
    });
    // A port that is free is free until somebody listens there: one after the other.
    let alone = SETUP.lock().unwrap_or_else(PoisonError::into_inner);
    let mut all = settings(free_port(), vec![server("s", site.address)]);
    let ms = |limit: Option<u32>| limit.map(Millis);
    let (front, back) = (&mut all.frontends[0], &mut all.backends[0]);
    (front.mode, back.mode) = (Mode::Tcp, Mode::Tcp);
    (front.timeout_client, front.timeout_client_fin) =
        (Millis(limits.client), ms(limits.client_fin));
    (back.timeout_server, back.timeout_server_fin) = (Millis(limits.server), ms(limits.server_fin));
    back.timeout_tunnel = Millis(0);
    assert_eq!(model::check(&all), []);
    let proxy = Proxy::start(all);
    let logs = Logs::new();
    let line = |keyword: &str, limit| format!("timeout {keyword} {limit}ms");
    let mut front =
        vec!["mode tcp".to_owned(), "option tcplog".to_owned(), "option dontlognull".to_owned()];
    front.extend([logs.directive(), line("client", limits.client)]);
    front.extend(limits.client_fin.map(|l| line("client-fin", l)));
    let mut back = vec!["mode tcp".to_owned(), line("server", limits.server)];
    back.extend(limits.server_fin.map(|l| line("server-fin", l)));
    back.push(server_line("s", site.address, ""));
    let front: Vec<&str> = front.iter().map(String::as_str).collect();
    let theirs = Haproxy::start(&front, &back);
    drop(alone);
    // Two characters: who ended it, and in which phase.
    let word = |line: &str| line.trim().split(' ').rev().nth(2).unwrap().to_owned();
    let ours = run(proxy.port, acts, &told, |name| {
        let found = || proxy.handle.recent_log().into_iter().find(|l| l.contains(name));
        until("it is logged", || found().is_some());
        word(&found().unwrap())
    });
    let real = run(theirs.port, acts, &told, |name| {
        word(&std::iter::repeat_with(|| logs.next()).find(|l| l.contains(name)).unwrap())
    });
    [ours, real]
}

#[test]
fn both_connections_end_as_with_haproxy() {
    let none = Limits { client: NEVER, server: NEVER, client_fin: None, server_fin: None };
    let client = Limits { client: 500, ..none };
    let server = Limits { server: 500, ..none };
    // What is said late keeps a connection for about a second.
    let fin = Some(5000);
    let cases = [
        // Whose silence ends it: the other side is told, and may go on.
        (client, (Nothing, Nothing)),
        (server, (Nothing, Nothing)),
        (Limits { server: 5000, ..client }, (Nothing, Nothing)),
        (Limits { client: 5000, ..server }, (Nothing, Nothing)),
        (Limits { server_fin: fin, ..client }, (Nothing, Nothing)),
        (Limits { client_fin: fin, ..server }, (Nothing, Nothing)),
        // One direction has ended.
        (Limits { server_fin: fin, ..none }, (End, Nothing)),
        (Limits { client_fin: fin, ..none }, (Nothing, End)),
        (Limits { client_fin: fin, ..none }, (Speak, End)),
        (Limits { server_fin: fin, ..none }, (End, Speak)),
        (none, (End, Nothing)),
        (none, (Nothing, End)),
        (none, (End, End)),
        // Somebody breaks off.
        (none, (Reset, Nothing)),
        (none, (Nothing, Reset)),
        (none, (Nothing, Close)),
        (client, (Nothing, Flood)),
    ];
    // All at once: each is mostly waiting.
    let running: Vec<_> = cases
        .into_iter()
        .map(|(limits, acts)| (limits, acts, std::thread::spawn(move || compare(limits, acts))))
        .collect();
    let (mut wrong, mut told) = (Vec::new(), Vec::new());
    for (limits, acts, thread) in running {
        let [ours, theirs] = thread.join().unwrap();
        told.push(ours.clone());
        if ours != theirs {
            wrong.push(format!("{acts:?} {limits:?}\n  ours    {ours}\n  HAProxy {theirs}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The silent one still hears what the other has to say, and a reset is no farewell.
    for (at, part) in [
        (0, "visitor: 48 bytes, FIN, no more taken; server: 0 bytes, FIN, late ones taken; cD"),
        (1, "visitor: 0 bytes, FIN, late ones taken; server: 48 bytes, FIN, no more taken; sD"),
        (13, "visitor: reset; server: 0 bytes, RST, no more taken; CD"),
        (14, "visitor: 0 bytes, FIN, no more taken; server: reset; SD"),
    ] {
        assert_eq!(told[at], part);
    }
}
