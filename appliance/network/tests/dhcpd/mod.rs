//! A DHCP server that does as it is told, with a codec of its own.
#![allow(dead_code, reason = "no test file needs all of it")]

use crate::bench::{Lab, inside};
use socket2::{Domain, Socket, Type};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

pub(crate) const DISCOVER: u8 = 1;
pub(crate) const OFFER: u8 = 2;
pub(crate) const REQUEST: u8 = 3;
pub(crate) const DECLINE: u8 = 4;
pub(crate) const ACK: u8 = 5;
pub(crate) const NAK: u8 = 6;

/// What it does.
#[derive(Clone, Debug)]
pub(crate) struct Manners {
    pub(crate) silent: bool,
    /// Refuses every request.
    pub(crate) refuses: bool,
    /// The first address lent; each hardware address gets one of its own.
    pub(crate) first: Ipv4Addr,
    pub(crate) seconds: u32,
    pub(crate) dns: Ipv4Addr,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            silent: false,
            refuses: false,
            first: Ipv4Addr::new(192, 168, 1, 50),
            seconds: 3600,
            dns: Ipv4Addr::new(192, 168, 1, 1),
        }
    }
}

/// One message of a client.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) kind: u8,
    pub(crate) ciaddr: Ipv4Addr,
    pub(crate) requested: Option<Ipv4Addr>,
    pub(crate) host_name: Option<String>,
    pub(crate) mac: [u8; 6],
}

#[derive(Default)]
struct State {
    manners: Manners,
    heard: Vec<Heard>,
    lent: BTreeMap<[u8; 6], Ipv4Addr>,
}

/// The server in the peer's namespace, gone when dropped.
pub(crate) struct Server {
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(lab: &Lab, manners: Manners) -> Self {
        let state = Arc::new(Mutex::new(State { manners, ..State::default() }));
        let stop = Arc::new(AtomicBool::new(false));
        let (held, flag) = (state.clone(), stop.clone());
        let (ready, wait) = mpsc::channel();
        let thread = inside(&lab.namespace("peer"), move || {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
            socket.set_broadcast(true).unwrap();
            socket.bind_device(Some(b"eth0")).unwrap();
            socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 67).into()).unwrap();
            let socket = UdpSocket::from(socket);
            socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            ready.send(()).unwrap();
            let mut bytes = [0; 2048];
            while !flag.load(Ordering::Relaxed) {
                let Ok((length, _)) = socket.recv_from(&mut bytes) else { continue };
                let answer = held.lock().unwrap().answer(&bytes[..length]);
                if let Some((to, answer)) = answer {
                    socket.send_to(&answer, (to, 68)).unwrap();
                }
            }
        });
        wait.recv().unwrap();
        Self { state, stop, thread: Some(thread) }
    }

    pub(crate) fn behave(&self, edit: impl FnOnce(&mut Manners)) {
        edit(&mut self.state.lock().unwrap().manners);
    }

    /// Forgets what it has lent.
    pub(crate) fn forget(&self) {
        self.state.lock().unwrap().lent.clear();
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.state.lock().unwrap().heard.clone()
    }

    pub(crate) fn count(&self, kind: u8) -> usize {
        self.heard().iter().filter(|h| h.kind == kind).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

fn option(bytes: &[u8], code: u8) -> Option<&[u8]> {
    let mut rest = bytes.get(240..)?;
    while let [found, length, tail @ ..] = rest {
        match found {
            0 => rest = &rest[1..],
            255 => return None,
            _ => {
                let (value, next) = tail.split_at(usize::from(*length));
                if *found == code {
                    return Some(value);
                }
                rest = next;
            }
        }
    }
    None
}

fn address(bytes: &[u8]) -> Ipv4Addr {
    Ipv4Addr::from(<[u8; 4]>::try_from(bytes).unwrap())
}

impl State {
    fn answer(&mut self, bytes: &[u8]) -> Option<(Ipv4Addr, Vec<u8>)> {
        assert!(bytes.len() >= 300, "a BOOTP relay would drop it");
        let heard = Heard {
            kind: option(bytes, 53).unwrap()[0],
            ciaddr: address(&bytes[12..16]),
            requested: option(bytes, 50).map(address),
            host_name: option(bytes, 12).map(|b| String::from_utf8(b.to_vec()).unwrap()),
            mac: bytes[28..34].try_into().unwrap(),
        };
        self.heard.push(heard.clone());
        let manners = self.manners.clone();
        if manners.silent {
            return None;
        }
        let next = self.lent.len();
        let next = u32::from(manners.first) + u32::try_from(next).unwrap();
        let mine = *self.lent.entry(heard.mac).or_insert(Ipv4Addr::from(next));
        let kind = match heard.kind {
            DISCOVER => OFFER,
            REQUEST => {
                let asked = heard.requested.unwrap_or(heard.ciaddr);
                if manners.refuses || asked != mine { NAK } else { ACK }
            }
            DECLINE => {
                let bad = self.lent.remove(&heard.mac).unwrap();
                self.manners.first = Ipv4Addr::from(u32::from(bad) + 1);
                return None;
            }
            _ => return None,
        };
        let server = Ipv4Addr::new(192, 168, 1, 1);
        let mut reply = vec![2, 1, 6, 0];
        reply.extend(&bytes[4..8]);
        reply.extend([0; 8]); // secs, flags, ciaddr
        reply.extend(if kind == NAK { [0; 4] } else { mine.octets() });
        reply.extend([0; 8]);
        reply.extend(&bytes[28..44]);
        reply.resize(236, 0);
        reply.extend([99, 130, 83, 99, 53, 1, kind, 54, 4]);
        reply.extend(server.octets());
        if kind != NAK {
            let seconds = manners.seconds.to_be_bytes();
            let dns = manners.dns.octets();
            for (code, value) in [
                (51, &seconds[..]),
                (1, &[255, 255, 255, 0]),
                (3, &server.octets()),
                (6, &dns),
                (15, b"example.lan"),
                (42, &server.octets()),
            ] {
                reply.extend([code, u8::try_from(value.len()).unwrap()]);
                reply.extend(value);
            }
        }
        reply.push(255);
        let to = if heard.ciaddr.is_unspecified() { Ipv4Addr::BROADCAST } else { heard.ciaddr };
        Some((to, reply))
    }
}
