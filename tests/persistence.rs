//! A failover keeps visitors on their servers: by a cookie, by their address and by a cookie of
//! the servers, also those who came in the last second before the balancer died.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test states what it expects")]

use lab::{Api, Lab, Options, Stalls, wait, wired, wireless};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const PASSWORD: &str = "correct horse battery";
const PATIENCE: Duration = Duration::from_secs(30);
/// Where the application listens on the web servers.
const APPLICATION: u16 = 8081;
/// What balancers gather before they tell each other (cluster/visits.rs), and some time to tell.
const TOLD: Duration = Duration::from_millis(600);
/// Between two of those who come late, so that they fill the last second.
const BETWEEN: Duration = Duration::from_millis(25);
/// The visitors' addresses; each has one of its own.
const FIRST: u8 = 100;
const VISITORS: u8 = 24;

/// Says at which of its addresses it was asked, and begins a session with whoever has none.
const SERVER: &str = "
import http.server, secrets, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        who = self.connection.getsockname()[0].encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(who)))
        if 'APP=' not in self.headers.get('Cookie', ''):
            self.send_header('Set-Cookie', 'APP=' + secrets.token_hex(16))
        self.end_headers()
        self.wfile.write(who)
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(('', int(sys.argv[1])), Handler)
server.daemon_threads = True
server.serve_forever()
";

/// A way to keep visitors, at a port of its own.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    port: u16,
    settings: &'static [(&'static str, &'static str)],
    /// The balancer has to tell the other.
    shared: bool,
}

const WAYS: [Way; 3] = [
    Way {
        name: "by-cookie",
        port: 8091,
        settings: &[("cookie", "SRV insert indirect nocache")],
        shared: false,
    },
    Way {
        name: "by-address",
        port: 8092,
        settings: &[("stick_table", "type ip size 10k expire 30m"), ("stick_on", "src")],
        shared: true,
    },
    Way {
        name: "by-session",
        port: 8093,
        settings: &[
            ("stick_table", "type string len 52 size 10k expire 30m"),
            ("stick_on", "cookie(APP)"),
        ],
        shared: true,
    },
];

impl Way {
    fn at(self) -> SocketAddr {
        SocketAddr::from(([192, 168, 1, 15], self.port))
    }
}

/// Somebody with an address and a cookie jar.
struct Visitor {
    way: Way,
    from: Ipv4Addr,
    cookies: Vec<String>,
    /// The server's address at the first visit.
    server: String,
    since: Instant,
}

impl Visitor {
    fn new(lab: &Lab, way: Way, n: u8) -> Self {
        let from = Ipv4Addr::new(192, 168, 1, FIRST + n);
        let mut new =
            Self { way, from, cookies: Vec::new(), server: String::new(), since: Instant::now() };
        new.server = new.visit(lab).unwrap();
        new.since = Instant::now();
        new
    }

    /// The address of the server that answers.
    fn visit(&mut self, lab: &Lab) -> Result<String, String> {
        let mut request = "GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n".to_owned();
        if !self.cookies.is_empty() {
            request += &format!("Cookie: {}\r\n", self.cookies.join("; "));
        }
        request += "\r\n";
        let (from, to) = (self.from, self.way.at());
        let answer = lab.client().within(|| ask(from, to, &request)).unwrap();
        let answer = answer.map_err(|e| e.to_string())?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
        if !head.starts_with("HTTP/1.1 200 ") || body.is_empty() {
            return Err(answer);
        }
        for line in head.lines() {
            let cookie =
                line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case("set-cookie"));
            if let Some((_, cookie)) = cookie {
                self.cookies.push(cookie.split(';').next().unwrap().to_owned());
            }
        }
        Ok(body.to_owned())
    }
}

fn ask(from: Ipv4Addr, to: SocketAddr, request: &str) -> std::io::Result<String> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect_timeout(&to.into(), Duration::from_secs(2))?;
    let mut stream = std::net::TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The application on both web servers. The lab ends it with everything else.
fn application(lab: &Lab) -> Vec<Child> {
    let port = APPLICATION.to_string();
    let begin = |node: &&str| {
        let mut command = lab.command(node, "python3", &["-c", SERVER, &port]).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let all = ["web01", "web02"].iter().map(begin).collect();
    for node in ["web01", "web02"] {
        lab.wait_ok(SocketAddr::from((wired(node), APPLICATION)), "/", PATIENCE).unwrap();
    }
    all
}

/// Adds a frontend and a backend for each way.
fn configure(document: &mut Value) {
    let addresses = ["web01", "web02"].map(|n| [wired(n), wireless(n)]).concat();
    let servers = addresses.iter().enumerate().map(|(i, address)| {
        json!({ "name": format!("app{i}"), "address": format!("{address}:{APPLICATION}") })
    });
    let servers: Vec<Value> = servers.collect();
    for way in WAYS {
        let mut backend = json!({ "name": way.name, "servers": servers });
        for (key, value) in way.settings {
            backend[*key] = json!(value);
        }
        document["backends"].as_array_mut().unwrap().push(backend);
        document["frontends"].as_array_mut().unwrap().push(json!({
            "name": way.name, "bind": [format!("floating:{}", way.port)],
            "default_backend": way.name,
        }));
    }
}

/// Asks once more for everybody; who was led to another server.
fn moved<'a>(lab: &Lab, visitors: &'a mut [Visitor]) -> Vec<&'a Visitor> {
    let mut lost = Vec::new();
    for visitor in visitors {
        let now = wait::until(PATIENCE, "an answer", || visitor.visit(lab)).unwrap();
        if now != visitor.server {
            lost.push(&*visitor);
        }
    }
    lost
}

#[test]
fn a_failover_keeps_visitors_on_their_servers() {
    let lab = Lab::start(&Options::new(env!("CARGO_BIN_EXE_bramble")).password(PASSWORD)).unwrap();
    lab.wait_ready(PATIENCE).unwrap();
    lab.wait_holder("lbmaster", PATIENCE).unwrap();
    let mut application = application(&lab);
    let balancers = ["lbmaster", "lbslave"].map(|node| Api::new(&lab, node, PASSWORD));
    balancers[0].change(configure).unwrap();
    for api in &balancers {
        for way in WAYS {
            wait::until(PATIENCE, &format!("the servers of {}", way.name), || {
                let up = api.servers_up(way.name).map_err(|e| e.to_string())?;
                if up == 4 { Ok(()) } else { Err(format!("{up} are up")) }
            })
            .unwrap();
        }
    }
    for n in 0..VISITORS * 2 {
        let address = format!("192.168.1.{}/24", FIRST + n);
        lab.client().ip(&["address", "add", &address, "dev", "eth0"]).unwrap();
    }
    for way in WAYS {
        lab.wait_ok(way.at(), "/", PATIENCE).unwrap();
    }

    let mut settled: Vec<Visitor> = WAYS
        .into_iter()
        .flat_map(|way| (0..VISITORS).map(move |n| (way, n)))
        .map(|(way, n)| Visitor::new(&lab, way, n))
        .collect();
    let used: std::collections::BTreeSet<&String> = settled.iter().map(|v| &v.server).collect();
    assert_eq!(used.len(), 4, "{used:?}");
    assert!(moved(&lab, &mut settled).is_empty(), "without any failover");

    // More keep coming until the moment it dies.
    let stalls = Stalls::start();
    let begun = Instant::now();
    let mut late = Vec::new();
    for n in VISITORS..VISITORS * 2 {
        for way in WAYS {
            late.push(Visitor::new(&lab, way, n));
        }
        std::thread::sleep(BETWEEN);
    }
    let died = Instant::now();
    lab.node("lbmaster").kill().unwrap();
    // Nobody told anybody anything while the machine stood still.
    let told = TOLD + stalls.longest();
    drop(stalls);
    let stayed = |all: &[Visitor], lost: usize| format!("{} of {}", all.len() - lost, all.len());
    let lost = moved(&lab, &mut settled).len();
    println!("settled visitors on the same server after the failover: {}", stayed(&settled, lost));
    assert_eq!(lab.holders("192.168.1.15"), ["lbslave"]);
    assert_eq!(lost, 0);
    for way in WAYS {
        let (mut own, rest): (Vec<_>, Vec<_>) =
            late.into_iter().partition(|v| v.way.name == way.name);
        late = rest;
        let count = own.len();
        let lost = moved(&lab, &mut own);
        let ages: Vec<Duration> = lost.iter().map(|v| died - v.since).collect();
        println!(
            "{}, came within {:?} before: {} of {count} on the same server; ages of the others: {ages:?}",
            way.name,
            died - begun,
            count - lost.len(),
        );
        if way.shared {
            assert!(ages.iter().all(|age| *age < told), "{}: {ages:?}, not {told:?}", way.name);
        } else {
            assert!(ages.is_empty(), "{}: {ages:?}", way.name);
        }
    }

    // The first one comes back, empty, and takes the address again.
    lab.node("lbmaster").start().unwrap();
    lab.wait_holder("lbmaster", PATIENCE).unwrap();
    let lost = moved(&lab, &mut settled).len();
    println!("and after the way back: {}", stayed(&settled, lost));
    assert_eq!(lost, 0);
    for child in &mut application {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
