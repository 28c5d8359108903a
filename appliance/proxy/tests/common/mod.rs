//! A proxy on loopback, a scripted server behind it, and raw sockets in front.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod h2;
pub mod haproxy;
pub mod tls;

use control::{Shutdown, ShutdownTrigger, Snapshot, StatusBoard};
use model::status::{ProxyStatus, Subsystem, SubsystemState};
use model::{
    Backend, Bind, Check, Endpoint, Frontend, Name, Node, NodeId, Revision, Role, Server, Settings,
};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;

pub const PATIENCE: Duration = Duration::from_secs(10);

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A port nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A port nobody listens on, neither for connections nor for datagrams.
pub fn free_udp_port() -> u16 {
    let free = |_| {
        let port = free_port();
        UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok().then_some(port)
    };
    (0..100).find_map(free).unwrap()
}

/// A server that sends back each datagram and remembers nothing, as long as this process lives.
pub fn datagram_echo() -> SocketAddrV4 {
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

pub fn server(n: &str, address: SocketAddrV4) -> Server {
    Server { name: name(n), address: Some(Endpoint(address)), ..Server::default() }
}

/// One balancer with one frontend on `port` and these servers, unchecked.
pub fn settings(port: u16, servers: Vec<Server>) -> Settings {
    Settings {
        nodes: vec![Node {
            id: "lb".parse().unwrap(),
            name: "Lb".parse().unwrap(),
            roles: [Role::Balancer].into(),
            ..Node::default()
        }],
        frontends: vec![frontend("front", port)],
        backends: vec![Backend {
            name: name("back"),
            servers,
            check: Check { enabled: false, ..Check::default() },
            ..Backend::default()
        }],
        ..Settings::default()
    }
}

pub fn frontend(n: &str, port: u16) -> Frontend {
    let bind: Bind = format!("127.0.0.1:{port}").parse().unwrap();
    Frontend {
        name: name(n),
        bind: vec![bind],
        default_backend: name("back"),
        forwardfor: false,
        ..Frontend::default()
    }
}

pub struct Proxy {
    pub port: u16,
    pub handle: proxy::Handle,
    pub board: StatusBoard,
    pub settings: Settings,
    snapshots: watch::Sender<Arc<Snapshot>>,
    revision: u64,
    _trigger: ShutdownTrigger,
}

impl Proxy {
    pub fn start(settings: Settings) -> Self {
        Self::with(settings, 2, None)
    }

    pub fn with(settings: Settings, threads: usize, log: Option<Box<dyn Write + Send>>) -> Self {
        let id: NodeId = "lb".parse().unwrap();
        let port = settings.frontends[0].bind[0].port.get();
        let board = StatusBoard::new(id.clone(), "test");
        let snapshot = Snapshot::new(Revision(1), settings.clone(), &id);
        let (snapshots, receiver) = snapshot.channel();
        let (trigger, shutdown) = Shutdown::new();
        let options = proxy::Options { threads: Some(threads), access_log: log };
        let handle =
            proxy::start(receiver, board.reporter(Subsystem::Proxy), shutdown, options).unwrap();
        let proxy =
            Self { port, handle, board, settings, snapshots, revision: 1, _trigger: trigger };
        proxy.settled();
        proxy
    }

    /// Publishes changed settings and waits until they run.
    pub fn change(&mut self, edit: impl FnOnce(&mut Settings)) {
        edit(&mut self.settings);
        self.revision += 1;
        let id: NodeId = "lb".parse().unwrap();
        let next = Snapshot::new(Revision(self.revision), self.settings.clone(), &id);
        self.snapshots.send_replace(Arc::new(next));
        self.settled();
    }

    fn settled(&self) {
        until("the settings run", || {
            let own = self.board.own();
            own.subsystems.get(&Subsystem::Proxy).is_some_and(|s| s.revision.0 == self.revision)
        });
    }

    pub fn state(&self) -> SubsystemState {
        self.board.own().subsystems[&Subsystem::Proxy].state.clone()
    }

    pub fn status(&self) -> ProxyStatus {
        self.handle.status().unwrap()
    }

    pub fn connect(&self) -> Conn {
        Conn::to(self.port)
    }

    /// Sends all bytes on a new connection and reads until it is closed or silent.
    pub fn raw(&self, bytes: &[u8]) -> String {
        let mut conn = self.connect();
        conn.send(bytes);
        conn.rest(Duration::from_millis(700))
    }
}

pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "gave up waiting until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The times of a log line, -1 for what it never came to: `TR/Tw/Tc/Tr/Ta`, in mode tcp `Tw/Tc/Tt`.
pub fn times(line: &str) -> Vec<i64> {
    let word = line.split(' ').nth(4).unwrap();
    word.split('/').map(|t| t.parse().unwrap()).collect()
}

/// A visitor's connection.
pub struct Conn {
    pub io: TcpStream,
    buffer: Vec<u8>,
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Conn {
    pub fn to(port: u16) -> Self {
        let io = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        io.set_read_timeout(Some(PATIENCE)).unwrap();
        io.set_nodelay(true).unwrap();
        Self { io, buffer: Vec::new() }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        // The proxy may have refused and closed already; what it said is what counts.
        let _ = self.io.write_all(bytes);
    }

    fn more(&mut self) -> std::io::Result<usize> {
        let mut part = [0_u8; 65536];
        let n = self.io.read(&mut part)?;
        self.buffer.extend_from_slice(&part[..n]);
        Ok(n)
    }

    /// Everything until the connection is closed, or silent for `patience`; ends in "[closed]" or
    /// "[open]".
    pub fn rest(&mut self, patience: Duration) -> String {
        self.io.set_read_timeout(Some(patience)).unwrap();
        let mut stalls = 0;
        let end = loop {
            let begun = Instant::now();
            match self.more() {
                Ok(0) => break "[closed]",
                Ok(_) => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    // The machine stood still: the other side had no time to say anything.
                    if stalls < 5 && begun.elapsed() > patience + Duration::from_millis(100) {
                        stalls += 1;
                        continue;
                    }
                    break "[open]";
                }
                Err(_) => break "[reset]",
            }
        };
        let text = String::from_utf8_lossy(&self.buffer).into_owned() + end;
        self.buffer.clear();
        text
    }

    /// One whole response.
    pub fn answer(&mut self, is_head: bool) -> std::io::Result<Answer> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if self.more()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end);
        let status = head[9..12].parse().unwrap();
        let lower = head.to_ascii_lowercase();
        let field = |n: &str| {
            lower.lines().find_map(|l| l.strip_prefix(&format!("{n}: ")).map(str::to_owned))
        };
        let mut body = Vec::new();
        if is_head || status < 200 || status == 204 || status == 304 {
        } else if field("transfer-encoding").is_some() {
            loop {
                while !self.buffer.windows(2).any(|w| w == b"\r\n") {
                    if self.more()? == 0 {
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                }
                let at = self.buffer.windows(2).position(|w| w == b"\r\n").unwrap();
                let size = std::str::from_utf8(&self.buffer[..at]).unwrap();
                let size = usize::from_str_radix(size, 16).unwrap();
                while self.buffer.len() < at + 2 + size + 2 {
                    if self.more()? == 0 {
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                }
                body.extend_from_slice(&self.buffer[at + 2..at + 2 + size]);
                self.buffer.drain(..at + 2 + size + 2);
                if size == 0 {
                    break;
                }
            }
        } else if let Some(length) = field("content-length") {
            let length: usize = length.parse().unwrap();
            while self.buffer.len() < length {
                if self.more()? == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
            }
            body = self.buffer.drain(..length).collect();
        } else {
            while self.more()? > 0 {}
            body = std::mem::take(&mut self.buffer);
        }
        Ok(Answer { status, head, body })
    }

    pub fn get(&mut self, path: &str) -> std::io::Result<Answer> {
        self.io.write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes())?;
        self.answer(false)
    }
}

/// What a scripted server does with one connection.
pub type Script = Arc<dyn Fn(&mut Peer) + Send + Sync>;

/// One connection of a scripted server.
pub struct Peer {
    pub io: TcpStream,
    pub buffer: Vec<u8>,
    pub number: usize,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    /// Reads one request: its head, and its body as it came. None at the end.
    pub fn request(&mut self) -> Option<String> {
        let mut part = [0_u8; 65536];
        loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.buffer[..at + 4]).into_owned();
                let lower = head.to_ascii_lowercase();
                let length = lower
                    .lines()
                    .find_map(|l| l.strip_prefix("content-length: "))
                    .map_or(0, |l| l.parse().unwrap());
                let end = if lower.contains("transfer-encoding: chunked") {
                    let body = &self.buffer[at + 4..];
                    let last = if body.starts_with(b"0\r\n") {
                        Some(0)
                    } else {
                        body.windows(4).position(|w| w == b"\n0\r\n").map(|l| l + 1)
                    };
                    last.and_then(|l| {
                        let end = body[l..].windows(4).position(|w| w == b"\r\n\r\n")?;
                        Some(at + 4 + l + end + 4)
                    })
                } else {
                    Some(at + 4 + length).filter(|end| *end <= self.buffer.len())
                };
                if let Some(end) = end {
                    let all: Vec<u8> = self.buffer.drain(..end).collect();
                    let text = String::from_utf8_lossy(&all).into_owned();
                    self.seen.lock().unwrap().push(text.clone());
                    return Some(text);
                }
            }
            match self.io.read(&mut part) {
                Ok(n) if n > 0 => self.buffer.extend_from_slice(&part[..n]),
                _ => return None,
            }
        }
    }

    pub fn send(&mut self, text: &str) {
        let _ = self.io.write_all(text.as_bytes());
    }

    /// Closes with a reset instead of a farewell.
    pub fn reset(&self) {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let len = libc::socklen_t::try_from(size_of::<libc::linger>()).unwrap();
        // SAFETY: the descriptor is open and the option is a libc::linger of that size.
        unsafe {
            use std::os::fd::AsRawFd;
            let p = std::ptr::from_ref(&linger).cast();
            libc::setsockopt(self.io.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, p, len);
        }
    }
}

/// A server that follows a script on each connection.
pub struct Scripted {
    pub address: SocketAddrV4,
    pub seen: Arc<Mutex<Vec<String>>>,
    pub connections: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Scripted {
    pub fn new(script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        Self::at(0, script)
    }

    pub fn at(port: u16, script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { unreachable!() };
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let connections: Arc<AtomicUsize> = Arc::default();
        let stop: Arc<AtomicBool> = Arc::default();
        let script: Script = Arc::new(script);
        let own = (seen.clone(), connections.clone(), stop.clone());
        std::thread::spawn(move || {
            let (seen, connections, stop) = own;
            while let Ok((io, _)) = listener.accept() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let number = connections.fetch_add(1, Ordering::SeqCst);
                let (script, seen) = (script.clone(), seen.clone());
                std::thread::spawn(move || {
                    let _ = io.set_nodelay(true);
                    let _ = io.set_read_timeout(Some(PATIENCE));
                    script(&mut Peer { io, buffer: Vec::new(), number, seen });
                });
            }
        });
        Self { address, seen, connections, stop }
    }

    /// Answers each request with its own request line.
    pub fn echo() -> Self {
        Self::new(echo)
    }

    /// Says its name.
    pub fn named(text: &'static str) -> Self {
        Self::new(move |peer| {
            while peer.request().is_some() {
                let length = text.len();
                peer.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{text}"));
            }
        })
    }

    pub fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// Takes no connections any more.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.stop();
    }
}

pub fn echo(peer: &mut Peer) {
    while let Some(request) = peer.request() {
        let line = request.lines().next().unwrap_or_default().to_owned();
        let length = line.len();
        let body = if line.starts_with("HEAD") { "" } else { &line };
        peer.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"));
    }
}

/// Runs `work` on a thread and hands its result over, for tests that must not wait for ever.
pub fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver): (_, Receiver<T>) = channel();
    std::thread::spawn(move || sender.send(work()));
    receiver.recv_timeout(limit).ok()
}
