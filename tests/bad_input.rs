//! What should never have been sent: settings that make no sense, and garbage on every socket.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::as_conversions,
    reason = "a test states what it expects"
)]

use lab::netns::Namespace;
use lab::{Api, Lab, Load, Options, Plan, Shape, http, site, wait, wired};
use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

const PASSWORD: &str = "correct horse battery";
const PATIENCE: Duration = Duration::from_secs(30);

fn start() -> Lab {
    let options = Options::new(env!("CARGO_BIN_EXE_bramble")).password(PASSWORD);
    let lab = Lab::start(&options).unwrap();
    lab.wait_ready(PATIENCE).unwrap();
    lab.wait_holder("lbmaster", PATIENCE).unwrap();
    lab
}

fn visitors(lab: &Lab) -> Load {
    let shape = Shape::Rate(50);
    Load::start(&lab.client(), Plan { shape, ..Plan::steady(site()) }).unwrap()
}

/// The places of the problems an answer lists.
fn paths(answer: &http::Response) -> Vec<String> {
    let body = answer.json().unwrap();
    let list = body.as_array().or_else(|| body["problems"].as_array());
    let list = list.unwrap_or_else(|| panic!("no list of problems: {body}"));
    list.iter()
        .map(|p| {
            let problem = p["problem"].as_str().unwrap();
            assert!(problem.len() > 10 && !problem.contains('\n'), "no plain words: {problem:?}");
            p["path"].as_str().unwrap().to_owned()
        })
        .collect()
}

/// What is done to the document, and the place of the problem it makes.
type Mistake = (&'static str, &'static str, fn(&mut Value));

const MISTAKES: [Mistake; 9] = [
    ("one address for two nodes", "nodes[1].eth0.address", |d| {
        d["nodes"][1]["eth0"]["address"] = json!("192.168.1.10/24");
    }),
    ("floating IP outside the subnet", "floating_ip", |d| {
        d["cluster"]["floating_ip"] = json!("10.0.0.15/24");
    }),
    ("the admin port as a frontend", "frontends[0].bind", |d| {
        d["frontends"] = json!([
            { "name": "admin", "bind": ["floating:1936"], "default_backend": "webservers" }
        ]);
    }),
    ("a frontend without a backend", "frontends[0].default_backend", |d| {
        d["frontends"] =
            json!([{ "name": "lost", "bind": ["floating:81"], "default_backend": "nowhere" }]);
    }),
    ("an unknown key", "nodes[2].colour", |d| d["nodes"][2]["colour"] = json!("red")),
    ("an unknown section", "weather", |d| d["weather"] = json!({ "rain": true })),
    ("a number where a text belongs", "cluster.name", |d| d["cluster"]["name"] = json!(7)),
    ("a text where a list belongs", "wifi.networks", |d| d["wifi"]["networks"] = json!("home")),
    ("two nodes of one name", "nodes[3].name", |d| d["nodes"][3]["name"] = json!("Web01")),
];

#[test]
fn bad_settings_are_refused_with_every_problem_and_nothing_changes() {
    let lab = start();
    let api = Api::new(&lab, "lbmaster", PASSWORD);
    let (good, tag) = api.settings().unwrap();
    let load = visitors(&lab);

    for (what, place, spoil) in MISTAKES {
        let mut bad = good.clone();
        spoil(&mut bad);
        let answer = api.put_settings(&bad, &tag).unwrap();
        assert_eq!(answer.status, 422, "{what}: {}", answer.text());
        let found = paths(&answer);
        assert!(found.iter().any(|p| p.contains(place)), "{what}: {found:?}");
    }

    // All at once: all are listed.
    let mut bad = good.clone();
    for (_, _, spoil) in MISTAKES {
        spoil(&mut bad);
    }
    bad["frontends"] = json!([
        { "name": "admin", "bind": ["floating:1936"], "default_backend": "nowhere" }
    ]);
    let answer = api.put_settings(&bad, &tag).unwrap();
    assert_eq!(answer.status, 422);
    let found = paths(&answer);
    for (what, place, _) in MISTAKES {
        assert!(found.iter().any(|p| p.contains(place)), "{what} is missing from {found:?}");
    }

    let put = |body: Vec<u8>, tag: &str| {
        let put = http::Request::new("PUT", "/api/v1/settings").header("If-Match", tag);
        api.send(&put.body("application/json", body).timeout(Duration::from_secs(30))).unwrap()
    };
    let large = format!("{{\"cluster\":{{\"name\":\"{}\"}}}}", "x".repeat(10_000_000));
    let status = put(large.into_bytes(), &tag).status;
    assert!(status == 413 || status == 422, "10 MB: {status}");
    let deep = ["[".repeat(100_000), "]".repeat(100_000)].concat();
    for body in ["", "{", "null", "[]", "\"text\"", "\u{0}\u{1}", "{\"nodes\":[[[", deep.as_str()] {
        let status = put(body.as_bytes().to_vec(), &tag).status;
        assert!(status == 400 || status == 422, "{:?}: {status}", body.get(..20));
    }
    let status = put(vec![0xff; 1000], &tag).status;
    assert!(status == 400 || status == 422, "no UTF-8: {status}");
    // From a revision that is not the newest, and from none at all.
    let text = good.to_string().into_bytes();
    assert_eq!(put(text.clone(), "\"999999\"").status, 412);
    let without = http::Request::new("PUT", "/api/v1/settings").body("application/json", text);
    let status = api.send(&without).unwrap().status;
    assert!((400..500).contains(&status), "without If-Match: {status}");
    // Without a password, and with a wrong one.
    let nobody = http::Request::new("PUT", "/api/v1/settings").header("If-Match", &tag);
    let at = lab::admin("lbmaster");
    let answer = http::request(&lab.client(), at, &nobody.body("application/json", "{}")).unwrap();
    assert_eq!(answer.status, 401);
    assert!(answer.text().len() < 300, "a stranger is told too much: {}", answer.text());
    let wrong = Api::new(&lab, "lbmaster", "wrong");
    assert_eq!(wrong.put_settings(&good, &tag).unwrap().status, 401);

    assert_eq!(api.settings().unwrap(), (good, tag), "the settings have changed");
    assert_eq!(lab.holders("192.168.1.15"), ["lbmaster"]);
    let report = load.finish().unwrap();
    assert_eq!(report.failed, 0, "{report:?}");
}

/// The same bytes for everyone who runs this test.
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut next = || {
            // Xorshift: any sequence without a pattern does.
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0.to_le_bytes()[3]
        };
        (0..length).map(|_| next()).collect()
    }
}

/// Everything there is to send to a TCP port that expects something else.
fn tcp_garbage(noise: &mut Noise) -> Vec<Vec<u8>> {
    let mut all = vec![
        b"\r\n\r\n\r\n\r\n".to_vec(),
        b"GET".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_vec(),
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nzzz"
            .to_vec(),
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"
            .to_vec(),
        b"GET http://[::1 HTTP/1.1\r\nHost: [\r\n\r\n".to_vec(),
        // The beginning of TLS.
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        // SSH's greeting.
        b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
        vec![0; 70_000],
        vec![0xff; 70_000],
    ];
    let mut long = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
    long.resize(1_000_000, b'a');
    all.push(long);
    let mut many = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
    (0..20_000).for_each(|i| many.extend_from_slice(format!("X-{i}: y\r\n").as_bytes()));
    all.push(many);
    all.extend([1, 7, 100, 4096, 100_000].map(|n| noise.bytes(n)));
    all
}

/// Sends it and goes away, politely or not.
fn throw(at: SocketAddr, bytes: &[u8], wait_for_answer: bool) {
    let Ok(mut stream) = TcpStream::connect_timeout(&at, Duration::from_secs(5)) else {
        panic!("nobody listens on {at}");
    };
    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    // It may close on us in the middle: that is an answer.
    let _ = stream.write_all(bytes);
    if wait_for_answer {
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = [0; 1024];
        if let Ok(n) = stream.read(&mut answer) {
            let line = String::from_utf8_lossy(&answer[..n]).into_owned();
            let line = line.lines().next().unwrap_or_default().to_owned();
            assert!(!line.contains(" 200 "), "{at} answers garbage with {line}");
            assert!(!line.contains(" 500 "), "{at} answers garbage with {line}");
        }
    }
}

const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// Sends VRRP packets from the client's address.
fn vrrp(space: &Namespace, packets: &[(u32, Vec<u8>)]) {
    space
        .within(|| {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(112))).unwrap();
            let own = lab::network::CLIENT_ADDRESS.parse().unwrap();
            socket.set_multicast_if_v4(&own).unwrap();
            for (ttl, packet) in packets {
                socket.set_multicast_ttl_v4(*ttl).unwrap();
                socket.send_to(packet, &SocketAddrV4::new(GROUP, 0).into()).unwrap();
            }
        })
        .unwrap();
}

/// RFC 1071, over a packet whose checksum field is zero.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let mut sum: u32 =
        bytes.chunks(2).map(|c| u32::from(c[0]) << 8 | c.get(1).map_or(0, |b| u32::from(*b))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// A version 2 advert (RFC 3768 5.1) for the floating IP.
fn advert(vrid: u8, priority: u8, interval: u8) -> Vec<u8> {
    let mut packet = vec![0x21, vrid, priority, 1, 0, interval, 0, 0, 192, 168, 1, 15];
    packet.extend([0; 8]);
    let sum = checksum(&packet);
    packet[6..8].copy_from_slice(&sum);
    packet
}

fn edited(edit: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut packet = advert(77, 255, 1);
    edit(&mut packet);
    packet
}

/// Kilobytes of memory a process uses.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The sum of VRRP's counters of what was dropped.
fn dropped(api: &Api) -> u64 {
    let status = api.status().unwrap();
    let mut sum = 0;
    visit(&status, &mut |key, value| {
        if key.starts_with("bad_") {
            sum += value.as_u64().unwrap_or(0);
        }
    });
    sum
}

fn visit(value: &Value, seen: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            seen(key, value);
            visit(value, seen);
        }),
        Value::Array(list) => list.iter().for_each(|value| visit(value, seen)),
        _ => {}
    }
}

#[test]
fn garbage_on_every_socket_is_counted_and_ignored() {
    let lab = start();
    let api = Api::new(&lab, "lbmaster", PASSWORD);
    api.wait_servers(4, PATIENCE).unwrap();
    let nodes = lab::network::NODES;
    let pids = || nodes.map(|n| lab.node(n).pid());
    let (before, memory_before) = (pids(), nodes.map(|n| memory(lab.node(n).pid().unwrap())));
    let load = visitors(&lab);
    let mut noise = Noise(0x0123_4567_89ab_cdef);

    let mut doors = vec![(site(), "the floating IP")];
    doors.extend(["web01", "web02"].map(|n| (SocketAddr::from((wired(n), 80)), n)));
    doors.extend(nodes.map(|n| (lab::admin(n), n)));
    doors.extend(nodes.map(|n| (SocketAddr::from((wired(n), 1937)), n)));
    let garbage = tcp_garbage(&mut noise);
    lab.client()
        .within(|| {
            for (at, whose) in &doors {
                for (i, bytes) in garbage.iter().enumerate() {
                    eprintln!("{whose} {at}: {i}");
                    throw(*at, bytes, true);
                    throw(*at, bytes, false);
                }
            }
        })
        .unwrap();
    let refused: u64 = api.stat("http-in", "FRONTEND", "ereq").unwrap().parse().unwrap();
    assert!(refused >= 5, "only {refused} bad requests were counted");

    let dropped_before = dropped(&api);
    let mut packets: Vec<(u32, Vec<u8>)> = vec![
        // Not from this link (RFC 9568 5.1.1.3), although everything else would be right.
        (1, advert(77, 255, 1)),
        (254, advert(77, 255, 1)),
        (255, vec![]),
        (255, vec![0x21]),
        (255, edited(|p| p[6] ^= 0x55)),
        (255, edited(|p| p.truncate(9))),
        // More addresses than there are bytes.
        (255, edited(|p| p[3] = 255)),
        // Not a version there is, and not an advert.
        (255, edited(|p| p[0] = 0xf1)),
        (255, edited(|p| p[0] = 0x22)),
    ];
    let bad = packets.len() as u64;
    packets.extend((0..200).map(|n| (255, noise.bytes(n * 7))));
    vrrp(&lab.client(), &packets);
    let counted = wait::until(PATIENCE, "the packets to be counted", || {
        let now = dropped(&api) - dropped_before;
        if now >= bad { Ok(now) } else { Err(now) }
    })
    .unwrap();

    assert_eq!(lab.holders("192.168.1.15"), ["lbmaster"], "garbage has moved the floating IP");
    assert_eq!(pids(), before, "a process has ended");
    for (node, before) in nodes.iter().zip(memory_before) {
        let now = memory(lab.node(node).pid().unwrap());
        // A board has 1 GB; what a stranger sent must not stay.
        assert!(now < before + 60_000, "{node} grew from {before} to {now} kB");
    }
    for node in nodes {
        let log = lab.node(node).log();
        assert!(!log.contains("panicked"), "{node}:\n{}", lab.node(node).log_end());
        assert!(log.len() < 1_000_000, "{node} wrote {} bytes of log", log.len());
    }
    lab.wait_site(PATIENCE).unwrap();
    let report = load.finish().unwrap();
    assert_eq!(report.failed, 0, "{report:?}");
    let text = format!(
        "\ngarbage: {refused} bad requests and {counted} bad VRRP packets counted on lbmaster\n"
    );
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}
