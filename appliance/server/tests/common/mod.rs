//! A web server on a loopback address of its own, and a visitor who sees every byte.
#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::as_conversions,
    reason = "shared by several test binaries, each using its part"
)]

use control::{Shutdown, ShutdownTrigger, Snapshot, StatusBoard};
use model::status::{Subsystem, SubsystemState};
use model::{Cidr, Link, Node, NodeId, Port, Revision, Role, Settings, Site};
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, SystemTime};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

/// Nothing in these tests takes longer.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// An address nobody else on this machine uses: all of 127/8 is ours, one per server and process.
pub fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let pid = std::process::id();
    let [_, _, high, low] = pid.to_be_bytes();
    Ipv4Addr::new(127, 100 | (high & 31), low, NEXT.fetch_add(1, Ordering::Relaxed))
}

pub fn node_id() -> NodeId {
    "web01".parse().unwrap()
}

pub fn site(name: &str, hosts: &[&str], port: u16) -> Site {
    Site {
        name: name.parse().unwrap(),
        hosts: hosts.iter().map(|h| h.parse().unwrap()).collect(),
        port: Port::new(u64::from(port)).unwrap(),
        ..Site::default()
    }
}

pub fn settings(address: Ipv4Addr, sites: Vec<Site>) -> Settings {
    let link = Link { address: Some(Cidr::new(address, 8).unwrap()), ..Link::default() };
    let node = Node {
        id: node_id(),
        name: "Web01".parse().unwrap(),
        roles: [Role::Web].into(),
        eth0: link,
        ..Node::default()
    };
    Settings { nodes: vec![node], sites, ..Settings::default() }
}

/// A running web server.
pub struct Web {
    pub runtime: Option<Runtime>,
    pub dir: tempfile::TempDir,
    pub ip: Ipv4Addr,
    pub port: u16,
    pub handle: server::Handle,
    pub board: StatusBoard,
    pub stop: ShutdownTrigger,
    publish: watch::Sender<Arc<Snapshot>>,
}

impl Web {
    pub fn start() -> Self {
        Self::with(|port| vec![site("default", &[], port)])
    }

    pub fn with(sites: impl FnOnce(u16) -> Vec<Site>) -> Self {
        let (ip, port) = (own_address(), 8080);
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let board = StatusBoard::new(node_id(), "test");
        let (stop, shutdown) = Shutdown::new();
        let first = Snapshot::new(Revision(1), settings(ip, sites(port)), &node_id());
        let (publish, snapshots) = first.channel();
        let guard = runtime.enter();
        let handle = server::start(
            snapshots,
            board.reporter(Subsystem::Server),
            shutdown,
            server::Options { data_dir: dir.path().to_owned() },
        );
        drop(guard);
        let web = Self { runtime: Some(runtime), dir, ip, port, handle, board, stop, publish };
        assert_eq!(web.state(Revision(1)), SubsystemState::Applied);
        web
    }

    pub fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().unwrap()
    }

    pub fn address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.ip, self.port)
    }

    /// Publishes settings and waits until the server says what became of them.
    pub fn publish(&self, settings: Settings) -> SubsystemState {
        let revision = Revision(self.publish.borrow().revision.0 + 1);
        self.publish.send_replace(Arc::new(Snapshot::new(revision, settings, &node_id())));
        self.state(revision)
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.publish.borrow().clone()
    }

    pub fn state(&self, revision: Revision) -> SubsystemState {
        let mut changes = self.board.changes();
        self.runtime().block_on(async {
            tokio::time::timeout(PATIENCE, async {
                loop {
                    let own = self.board.own();
                    if let Some(s) = own.subsystems.get(&Subsystem::Server) {
                        if s.revision == revision && s.state != SubsystemState::Starting {
                            return s.state.clone();
                        }
                    }
                    changes.changed().await.unwrap();
                }
            })
            .await
            .expect("the server reports")
        })
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("site")
    }

    /// Puts a file into the default site, an hour old.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.root().join(name);
        put(&path, content.as_ref());
        path
    }

    pub fn connect(&self) -> Visitor {
        Visitor::to(self.address())
    }

    /// Sends bytes as they are, closes the sending half, and returns all that comes back.
    pub fn raw(&self, request: &[u8]) -> Vec<u8> {
        let mut visitor = self.connect();
        visitor.send(request);
        visitor.0.shutdown(std::net::Shutdown::Write).unwrap();
        visitor.rest()
    }

    /// One request on a connection of its own. `headers` are whole lines without line ends.
    pub fn ask(&self, method: &str, target: &str, headers: &[&str]) -> Reply {
        let mut visitor = self.connect();
        visitor.ask(method, target, headers)
    }

    pub fn get(&self, target: &str, headers: &[&str]) -> Reply {
        self.ask("GET", target, headers)
    }

    /// The status of a request written by hand.
    pub fn status(&self, request: &str) -> u16 {
        let answer = self.raw(request.as_bytes());
        let text = String::from_utf8_lossy(&answer);
        let code = text.strip_prefix("HTTP/1.1 ").or_else(|| text.strip_prefix("HTTP/1.0 "));
        code.unwrap_or_else(|| panic!("no answer to {request:?}: {text:?}"))[..3].parse().unwrap()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.stop.trigger();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

pub fn hour_ago() -> SystemTime {
    SystemTime::now() - Duration::from_secs(3600)
}

pub fn put(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    set_time(path, hour_ago());
}

pub fn set_time(path: &Path, at: SystemTime) {
    fs::File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
}

/// A connection.
pub struct Visitor(pub TcpStream);

impl Visitor {
    pub fn to(address: SocketAddrV4) -> Self {
        let tcp = TcpStream::connect(address).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.set_nodelay(true).unwrap();
        Self(tcp)
    }

    pub fn send(&mut self, bytes: &[u8]) {
        // The server may answer and close before it has read everything.
        let _ = self.0.write_all(bytes);
    }

    pub fn ask(&mut self, method: &str, target: &str, headers: &[&str]) -> Reply {
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n");
        for line in headers {
            request.push_str(line);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        self.send(request.as_bytes());
        self.reply(method == "HEAD")
    }

    /// Everything until the server closes. A reset after data counts as the end.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut chunk = [0; 65536];
        loop {
            match self.0.read(&mut chunk) {
                Ok(0) => return all,
                Ok(n) => all.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return all,
                Err(e) => panic!("{e} after {} bytes", all.len()),
            }
        }
    }

    /// Takes this many bytes, or what there is until the server closes; returns how many.
    pub fn rest_of(&mut self, length: usize) -> usize {
        let mut chunk = vec![0; 65536];
        let mut got = 0;
        while got < length {
            let want = chunk.len().min(length - got);
            match self.0.read(&mut chunk[..want]) {
                Ok(n) if n > 0 => got += n,
                _ => break,
            }
        }
        got
    }

    /// The head of a response, byte by byte so that nothing of the body is taken.
    pub fn head(&mut self) -> Option<Reply> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match self.0.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => return None,
            }
        }
        let text = String::from_utf8(head).unwrap();
        let mut lines = text.split("\r\n").filter(|l| !l.is_empty());
        let status = lines.next().unwrap()[9..12].parse().unwrap();
        let headers = lines
            .map(|l| {
                let (name, value) = l.split_once(':').unwrap();
                (name.to_ascii_lowercase(), value.trim().to_owned())
            })
            .collect();
        Some(Reply { status, headers, body: Vec::new() })
    }

    pub fn reply(&mut self, to_head: bool) -> Reply {
        let mut reply = self.head().expect("a response");
        let empty = to_head || reply.status == 204 || reply.status == 304;
        if !empty {
            let length = reply.header("content-length").expect("a length").parse().unwrap();
            reply.body = vec![0; length];
            self.0.read_exact(&mut reply.body).unwrap();
        }
        reply
    }

    /// True when the server has closed this connection.
    pub fn is_closed(&mut self) -> bool {
        !matches!(self.0.read(&mut [0]), Ok(1))
    }
}

/// A response.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str());
        let first = found.next();
        assert!(found.next().is_none(), "{name} comes twice");
        first
    }

    pub fn get(&self, name: &str) -> &str {
        self.header(name).unwrap_or_else(|| panic!("{name} in {self:?}"))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}
