//! Mode tcp beside a real HAProxy: who gets which server, and whose silence ends a connection.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use common::haproxy::{Haproxy, Logs, server_line};
use common::{Proxy, Scripted, free_port, server, settings, until};
use model::{Millis, Mode, Settings};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

const NAMES: [&str; 4] = ["s1", "s2", "s3", "s4"];

/// Four servers that say their name once they have got something.
fn servers() -> Vec<Scripted> {
    let named = |name: &'static str| {
        Scripted::new(move |peer| {
            let mut part = [0; 4096];
            if peer.io.read(&mut part).is_ok_and(|n| n > 0) {
                peer.send(name);
            }
        })
    };
    NAMES.into_iter().map(named).collect()
}

fn tcp(list: &[Scripted]) -> Settings {
    let own = list.iter().zip(NAMES).map(|(s, name)| server(name, s.address));
    let mut all = settings(free_port(), own.collect());
    all.frontends[0].mode = Mode::Tcp;
    all.backends[0].mode = Mode::Tcp;
    all
}

fn haproxy(list: &[Scripted], front: &[&str], back: &[&str]) -> Haproxy {
    let front: Vec<&str> = ["mode tcp"].iter().chain(front).copied().collect();
    let mut lines = vec!["mode tcp".to_owned()];
    lines.extend(back.iter().map(ToString::to_string));
    lines.extend(list.iter().zip(NAMES).map(|(s, name)| server_line(name, s.address, "")));
    Haproxy::start(&front, &lines)
}

/// A connection from an address of loopback.
fn connect(from: Ipv4Addr, port: u16) -> TcpStream {
    let kind = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    kind.bind(&SocketAddrV4::new(from, 0).into()).unwrap();
    kind.connect(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into()).unwrap();
    let io: TcpStream = kind.into();
    io.set_nodelay(true).unwrap();
    io.set_read_timeout(Some(common::PATIENCE)).unwrap();
    io
}

/// Who answers to these pieces, each sent a little later than the one before.
fn who(from: Ipv4Addr, port: u16, pieces: &[&[u8]]) -> String {
    let mut io = connect(from, port);
    for (n, piece) in pieces.iter().enumerate() {
        if n > 0 {
            std::thread::sleep(Duration::from_millis(15));
        }
        io.write_all(piece).unwrap();
    }
    let mut part = [0; 16];
    let n = io.read(&mut part).unwrap();
    String::from_utf8_lossy(&part[..n]).into_owned()
}

/// The first packet of a remote desktop client.
fn rdp(line: &str) -> Vec<u8> {
    let whole = u8::try_from(11 + line.len()).unwrap();
    let mut all = vec![3, 0, 0, whole, whole - 5, 0xe0, 0, 0, 0, 0, 0];
    all.extend_from_slice(line.as_bytes());
    all
}

#[test]
fn remote_desktops_are_led_by_their_cookie() {
    let list = servers();
    let mut all = tcp(&list);
    all.backends[0].balance = "rdp-cookie".parse().unwrap();
    let proxy = Proxy::start(all);
    let front = ["tcp-request inspect-delay 5s", "tcp-request content accept if RDP_COOKIE"];
    let haproxy = haproxy(&list, &front, &["balance rdp-cookie"]);
    let mut seen: Vec<String> = Vec::new();
    for user in 0..24 {
        let packet = rdp(&format!("Cookie: mstshash=user{user}\r\n"));
        // In one piece or in two: it is waited for.
        let cut = user * packet.len() / 24;
        let pieces = [&packet[..cut], &packet[cut..]];
        let pieces = if cut == 0 { &pieces[1..] } else { &pieces[..] };
        let ours = who(Ipv4Addr::LOCALHOST, proxy.port, pieces);
        let theirs = who(Ipv4Addr::LOCALHOST, haproxy.port, pieces);
        assert_eq!(ours, theirs, "user{user}, cut at {cut}");
        seen.push(ours);
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 4, "{seen:?}");
    // What cannot become a cookie is not waited for.
    let begun = Instant::now();
    assert!(NAMES.contains(&&*who(Ipv4Addr::LOCALHOST, proxy.port, &[b"SSH-2.0-x\r\n"])));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn whoever_says_nothing_is_waited_for_only_so_long() {
    // A server that speaks first.
    let list: Vec<Scripted> = NAMES.into_iter().map(|n| Scripted::new(|p| p.send(n))).collect();
    let mut all = tcp(&list);
    all.backends[0].balance = "rdp-cookie".parse().unwrap();
    all.frontends[0].inspect_delay = Millis(300);
    let proxy = Proxy::start(all);
    let front = ["tcp-request inspect-delay 300ms", "tcp-request content accept if RDP_COOKIE"];
    let haproxy = haproxy(&list, &front, &["balance rdp-cookie"]);
    for port in [proxy.port, haproxy.port] {
        let begun = Instant::now();
        assert!(NAMES.contains(&&*who(Ipv4Addr::LOCALHOST, port, &[])));
        assert!(begun.elapsed() >= Duration::from_millis(280), "{:?}", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    }
}

#[test]
fn visitors_stick_to_their_server() {
    let list = servers();
    let mut all = tcp(&list);
    all.backends[0].stick_table = Some("type ip size 1k expire 10m".parse().unwrap());
    all.backends[0].stick_on = Some("src".parse().unwrap());
    let proxy = Proxy::with(all, 1, None);
    let table = ["balance roundrobin", "stick-table type ip size 1k expire 10m", "stick on src"];
    let haproxy = haproxy(&list, &[], &table);
    let visitors: Vec<Ipv4Addr> = (1..=6).map(|n| Ipv4Addr::new(127, 0, 0, n)).collect();
    for port in [proxy.port, haproxy.port] {
        let first: Vec<String> = visitors.iter().map(|v| who(*v, port, &[b"x"])).collect();
        // New ones take turns, known ones stay.
        assert_eq!(first[..4].iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
        for _ in 0..3 {
            let again: Vec<String> = visitors.iter().map(|v| who(*v, port, &[b"x"])).collect();
            assert_eq!(again, first, "{}", port == proxy.port);
        }
    }
}

/// Time-outs of the frontend and the backend, in milliseconds; 0 for none.
#[derive(Clone, Copy, Debug)]
struct Limits {
    client: u32,
    server: u32,
    tunnel: u32,
    client_fin: u32,
    server_fin: u32,
}

/// Who ends its direction at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Nobody,
    Visitor,
    Server,
}

/// After how long it is over for a visitor who says no more than one byte, and what the log says
/// about it. HAProxy takes silence for the end of that direction; the visitor ends the other one.
fn lasts(port: u16, half: Half, log: impl Fn(&str) -> String) -> (Duration, String) {
    let mut io = connect(Ipv4Addr::LOCALHOST, port);
    let name = format!("{} [", io.local_addr().unwrap());
    io.write_all(b"x").unwrap();
    if half == Half::Visitor {
        io.shutdown(Shutdown::Write).unwrap();
    }
    let begun = Instant::now();
    if half == Half::Server {
        let line = log(&name);
        return (begun.elapsed(), line);
    }
    let _ = io.read(&mut [0; 16]);
    let lasted = begun.elapsed();
    drop(io);
    (lasted, log(&name))
}

#[test]
fn whose_silence_ends_a_connection() {
    let none = Limits { client: 6000, server: 6000, tunnel: 0, client_fin: 0, server_fin: 0 };
    for (limits, half) in [
        (Limits { client: 400, ..none }, Half::Nobody),
        (Limits { server: 400, ..none }, Half::Nobody),
        (Limits { client: 200, server: 200, tunnel: 500, ..none }, Half::Nobody),
        (Limits { server_fin: 400, ..none }, Half::Visitor),
        (Limits { client: 300, server: 600, ..none }, Half::Visitor),
        (Limits { tunnel: 6000, server_fin: 400, ..none }, Half::Visitor),
        (Limits { client_fin: 400, ..none }, Half::Server),
        (Limits { client: 600, server: 300, ..none }, Half::Server),
        (Limits { tunnel: 6000, client_fin: 400, ..none }, Half::Server),
    ] {
        let list = vec![Scripted::new(move |peer| {
            if half == Half::Server {
                peer.io.shutdown(Shutdown::Write).unwrap();
            }
            // Says nothing, and waits for the end.
            let mut part = [0; 64];
            while peer.io.read(&mut part).is_ok_and(|n| n > 0) {}
            if half == Half::Visitor {
                std::thread::sleep(Duration::from_secs(2));
            }
        })];
        let mut all = tcp(&list);
        let (front, back) = (&mut all.frontends[0], &mut all.backends[0]);
        front.timeout_client = Millis(limits.client);
        front.timeout_client_fin = Some(Millis(limits.client_fin)).filter(|t| t.0 > 0);
        back.timeout_server = Millis(limits.server);
        back.timeout_tunnel = Millis(limits.tunnel);
        back.timeout_server_fin = Some(Millis(limits.server_fin)).filter(|t| t.0 > 0);
        let proxy = Proxy::start(all);
        let line = |keyword: &str, ms: u32| {
            let set = (ms > 0).then(|| format!("timeout {keyword} {ms}ms"));
            set.unwrap_or_else(|| "retries 3".to_owned())
        };
        let logs = Logs::new();
        let front = [
            logs.directive(),
            "option tcplog".to_owned(),
            line("client", limits.client),
            line("client-fin", limits.client_fin),
        ];
        let front: Vec<&str> =
            front.iter().map(String::as_str).filter(|l| !l.starts_with("retries")).collect();
        let back = [
            line("server", limits.server),
            line("tunnel", limits.tunnel),
            line("server-fin", limits.server_fin),
        ];
        let haproxy = haproxy(&list, &front, &back.each_ref().map(String::as_str));
        // Two characters: who ended it, and in which phase.
        let word = |line: &str| line.trim().split(' ').rev().nth(2).unwrap().to_owned();
        let (ours, ours_word) = lasts(proxy.port, half, |name| {
            let found = || proxy.handle.recent_log().into_iter().find(|l| l.contains(name));
            until("it is logged", || found().is_some());
            word(&found().unwrap())
        });
        let (theirs, theirs_word) = lasts(haproxy.port, half, |name| {
            word(&std::iter::repeat_with(|| logs.next()).find(|l| l.contains(name)).unwrap())
        });
        assert_eq!(ours_word, theirs_word, "{limits:?} {half:?}");
        let near = ours.abs_diff(theirs) < Duration::from_millis(250);
        assert!(near, "{limits:?} {half:?}: ours {ours:?}, HAProxy's {theirs:?}");
    }
}
