//! Servers and visitors that speak in datagrams.

use crate::common::{Proxy, free_udp_port, settings};
use model::{Check, Millis, Mode, Settings};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) fn udp(servers: Vec<model::Server>) -> Settings {
    let mut all = settings(free_udp_port(), servers);
    all.frontends[0].mode = Mode::Udp;
    let back = &mut all.backends[0];
    back.mode = Mode::Udp;
    back.udp_responses = Some(1);
    back.timeout_server = Millis::seconds(5);
    all
}

pub(crate) fn checked(all: &mut Settings) {
    all.backends[0].check = Check {
        inter: Millis(100),
        fall: 2,
        rise: 1,
        dns_name: "example.org".parse().ok(),
        ..Check::default()
    };
}

/// A server that answers each datagram with its name and the datagram.
pub(crate) struct Echo {
    pub(crate) address: SocketAddrV4,
    pub(crate) seen: Arc<Mutex<Vec<SocketAddr>>>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Echo {
    pub(crate) fn new(name: &'static str) -> Self {
        Self::at(name, 0)
    }

    pub(crate) fn at(name: &'static str, port: u16) -> Self {
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

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Its port is closed when this returns.
    pub(crate) fn stop(&mut self) {
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
pub(crate) struct Visitor(pub(crate) UdpSocket);

impl Visitor {
    pub(crate) fn new(port: u16) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Self(socket)
    }

    pub(crate) fn say(&self, text: &str) {
        self.0.send(text.as_bytes()).unwrap();
    }

    pub(crate) fn hear(&self, patience: Duration) -> Option<String> {
        self.0.set_read_timeout(Some(patience)).unwrap();
        let mut part = [0; 65536];
        let n = self.0.recv(&mut part).ok()?;
        Some(String::from_utf8_lossy(&part[..n]).into_owned())
    }

    pub(crate) fn ask(&self, text: &str) -> String {
        self.say(text);
        let answer = self.hear(Duration::from_secs(5));
        assert!(answer.is_some(), "no answer to {text}");
        answer.unwrap()
    }
}

/// Whom a new visitor of the proxy is led to.
pub(crate) fn led_to(proxy: &Proxy) -> String {
    let answer = Visitor::new(proxy.port).ask("q");
    answer.split(' ').next().unwrap().to_owned()
}
