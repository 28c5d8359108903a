//! Tries out this node's network: routers, name servers, the internet, time servers, the other
//! nodes, and whether anybody else has its addresses. All at once, each bounded, for a page that
//! somebody looks at.
//!
//! ARP takes CAP_NET_RAW; what cannot be tried says why.

use crate::arp::{self, Arp};
use crate::chance::Chance;
use crate::dhcp::sockets::about;
use crate::dns::{A, IN, Message, Name, Question};
use crate::packet::{EVERYBODY, Packets, Protocol};
use crate::time::runner::{ask_one, look_up};
use crate::trial::words;
use model::status::{Duplicate, GatewayTry, NetworkCheck, PeerTry, ServerTry, TimeTry, Try};
use model::{NODE_PORT, NodeId};
use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// One try.
const PATIENCE: Duration = Duration::from_secs(2);
/// An ARP question or a datagram may be lost.
const AGAIN: Duration = Duration::from_millis(500);
/// No more of one kind are tried: a cluster has at most 16 nodes with two addresses each.
const MOST: usize = 32;
/// DNS messages over UDP are not longer (RFC 1035 4.2.1).
const LONGEST: usize = 512;
/// Bits of a DNS message's flags: recursion desired, and what became of the question.
const RECURSION: u16 = 0x0100;
const OUTCOME: u16 = 0x000f;

/// An interface as the kernel has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) index: u32,
    pub(crate) mac: [u8; 6],
    pub(crate) running: bool,
    pub(crate) addresses: Vec<model::Cidr>,
}

/// What there is to try.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) ports: Vec<Port>,
    /// The hardware addresses of this node.
    pub(crate) own: BTreeSet<[u8; 6]>,
    /// Interface, router, and the address to ask from.
    pub(crate) routers: Vec<(String, Ipv4Addr, Ipv4Addr)>,
    pub(crate) name_servers: Vec<Ipv4Addr>,
    /// Only where this node keeps the time.
    pub(crate) time_servers: Vec<String>,
    /// Where something on the internet answers.
    pub(crate) internet: Vec<SocketAddrV4>,
    /// A name that every name server can find.
    pub(crate) name: String,
    pub(crate) peers: Vec<(NodeId, Ipv4Addr)>,
}

impl Reach {
    fn port(&self, name: &str) -> Option<&Port> {
        self.ports.iter().find(|port| port.name == name)
    }
}

/// One round.
pub(crate) async fn check(reach: Reach) -> NetworkCheck {
    let begun = Instant::now();
    let (gateways, name_servers, internet, time_servers, peers, duplicates) = tokio::join!(
        gateways(&reach),
        name_servers(&reach),
        internet(&reach.internet),
        time_servers(reach.time_servers.clone()),
        peers(&reach.peers),
        duplicates(&reach),
    );
    tracing::debug!("the network was tried out in {:?}", begun.elapsed());
    NetworkCheck { age_ms: 0, gateways, name_servers, internet, time_servers, peers, duplicates }
}

/// Who has this address, asked on the interface in whose network it is.
///
/// # Errors
/// Why nobody can be asked, for the operator.
pub(crate) async fn who_has(reach: &Reach, address: Ipv4Addr) -> Result<Option<String>, String> {
    let near = |port: &&Port| port.running && port.addresses.iter().any(|a| a.contains(address));
    let port = reach.ports.iter().find(near).ok_or_else(|| {
        format!("this node is not in the network of {address} and cannot ask there who has it")
    })?;
    if reach.ports.iter().flat_map(|p| &p.addresses).any(|a| a.addr() == address) {
        return Ok(Some(words(port.mac)));
    }
    let own = reach.own.clone();
    let asked = ask(port.index, port.mac, own, Ipv4Addr::UNSPECIFIED, address, PATIENCE / 2).await;
    let found = asked.map_err(|error| format!("ARP cannot be spoken on {}: {error}", port.name))?;
    Ok(found.map(|(mac, _)| words(mac)))
}

/// Does all of these at once; the answers in the order of the questions.
async fn all<T: Send + 'static>(
    tries: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let mut tasks = JoinSet::new();
    for (place, question) in tries.into_iter().take(MOST).enumerate() {
        tasks.spawn(async move { (place, question.await) });
    }
    let mut answers = Vec::new();
    while let Some(done) = tasks.join_next().await {
        answers.extend(done.ok());
    }
    answers.sort_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

fn millis(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

/// What became of something that took this long, if it did not fail or take too long.
async fn tried(attempt: impl Future<Output = io::Result<()>>) -> Try {
    let begun = Instant::now();
    match timeout(PATIENCE, attempt).await {
        Ok(Ok(())) => Try::Answered { ms: millis(begun.elapsed()) },
        Ok(Err(error)) => Try::Failed { why: error.to_string() },
        Err(_) => Try::Silent,
    }
}

async fn gateways(reach: &Reach) -> Vec<GatewayTry> {
    let tries = reach.routers.iter().filter_map(|(name, router, from)| {
        let port = reach.port(name)?.clone();
        let (router, from, own) = (*router, *from, reach.own.clone());
        Some(async move {
            let answer = if port.running {
                match ask(port.index, port.mac, own, from, router, PATIENCE).await {
                    Ok(Some((_, after))) => Try::Answered { ms: millis(after) },
                    Ok(None) => Try::Silent,
                    Err(error) => Try::Failed { why: error.to_string() },
                }
            } else {
                Try::Untried
            };
            GatewayTry { interface: port.name, address: router, answer }
        })
    });
    all(tries).await
}

async fn duplicates(reach: &Reach) -> Vec<Duplicate> {
    let mut places = Vec::new();
    for port in reach.ports.iter().filter(|port| port.running) {
        places.extend(port.addresses.iter().map(|address| (port.clone(), address.addr())));
    }
    let own = reach.own.clone();
    let tries = places.into_iter().map(move |(port, address)| {
        let own = own.clone();
        async move {
            let nobody = Ipv4Addr::UNSPECIFIED;
            let asked = ask(port.index, port.mac, own, nobody, address, PATIENCE / 2).await;
            let (mac, _) = asked.ok().flatten()?;
            Some(Duplicate { interface: port.name, address, mac: words(mac) })
        }
    });
    all(tries).await.into_iter().flatten().collect()
}

/// The first other machine that answers for an address, and after how long.
async fn ask(
    interface: u32,
    mac: [u8; 6],
    own: BTreeSet<[u8; 6]>,
    sender: Ipv4Addr,
    target: Ipv4Addr,
    patience: Duration,
) -> io::Result<Option<([u8; 6], Duration)>> {
    let socket = Packets::open(interface, Protocol::Arp, &about(&[target]))?;
    let question = Arp { reply: false, mac, sender, target }.bytes();
    let begun = Instant::now();
    let mut bytes = [0; arp::LENGTH];
    while begun.elapsed() < patience {
        socket.send(EVERYBODY, &question)?;
        let until = tokio::time::Instant::now() + AGAIN.min(patience);
        while let Ok(received) = tokio::time::timeout_at(until, socket.receive(&mut bytes)).await {
            let heard = Arp::parse(bytes.get(..received?).unwrap_or_default());
            let other = heard.filter(|a| a.sender == target && !own.contains(&a.mac));
            if let Some(arp) = other {
                return Ok(Some((arp.mac, begun.elapsed())));
            }
        }
    }
    Ok(None)
}

async fn name_servers(reach: &Reach) -> Vec<ServerTry> {
    let tries = reach.name_servers.iter().map(|address| {
        let (address, name) = (*address, reach.name.clone());
        async move { ServerTry { address, answer: resolve(address, &name).await } }
    });
    all(tries).await
}

async fn resolve(server: Ipv4Addr, name: &str) -> Try {
    let [high, low, ..] = Chance::new().number().to_be_bytes();
    let id = u16::from_be_bytes([high, low]);
    let question = Question { name: Name::of(name.split('.')), kind: A, class: IN };
    let questions = vec![question.clone()];
    let message = Message { id, flags: RECURSION, questions, ..Message::default() }.bytes();
    tried(async {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        socket.connect((server, 53)).await?;
        let mut bytes = [0; LONGEST];
        loop {
            socket.send(&message).await?;
            let until = tokio::time::Instant::now() + AGAIN;
            while let Ok(received) = tokio::time::timeout_at(until, socket.recv(&mut bytes)).await {
                let answer = Message::parse(bytes.get(..received?).unwrap_or_default());
                let ours = |m: &Message| {
                    m.id == id && m.is_response() && m.questions.first() == Some(&question)
                };
                let Some(answer) = answer.filter(ours) else { continue };
                // RFC 1035 4.1.1: 3, there is no such name, is an answer too.
                return match answer.flags & OUTCOME {
                    0 | 3 => Ok(()),
                    2 => Err(io::Error::other("it cannot find names itself (server failure)")),
                    5 => Err(io::Error::other("it refuses to answer this node")),
                    other => Err(io::Error::other(format!("it answered with error {other}"))),
                };
            }
        }
    })
    .await
}

/// The first of them that answers.
async fn internet(targets: &[SocketAddrV4]) -> Try {
    if targets.is_empty() {
        return Try::Untried;
    }
    let connect = |target: SocketAddrV4| async move {
        tried(async { TcpStream::connect(SocketAddr::V4(target)).await.map(drop) }).await
    };
    let answers = all(targets.iter().copied().map(connect)).await;
    let good = answers.iter().filter(|answer| answer.is_good());
    let fastest = good.min_by_key(|answer| match answer {
        Try::Answered { ms } => *ms,
        _ => u32::MAX,
    });
    let silent = answers.iter().find(|answer| **answer == Try::Silent);
    fastest.or(silent).or(answers.first()).cloned().unwrap_or_default()
}

async fn time_servers(servers: Vec<String>) -> Vec<TimeTry> {
    let ask = |server: String| async move {
        let begun = Instant::now();
        let names = [server.clone()];
        let found = timeout(PATIENCE, look_up(&names)).await.unwrap_or_default();
        let Some(address) = found.first().copied() else {
            let why = "its name is not known".to_owned();
            return TimeTry { server, answer: Try::Failed { why }, ahead_ms: None };
        };
        let (mut chance, mut cookie) = (Chance::new(), [0; 8]);
        for (byte, value) in cookie
            .iter_mut()
            .zip(chance.number().to_be_bytes().into_iter().chain(chance.number().to_be_bytes()))
        {
            *byte = value;
        }
        match timeout(PATIENCE, ask_one(address, cookie)).await {
            Ok((_, Ok(behind))) => TimeTry {
                server,
                answer: Try::Answered { ms: millis(begun.elapsed()) },
                ahead_ms: Some(-behind),
            },
            Ok((_, Err(Some(useless)))) => {
                let why = useless.words().to_owned();
                TimeTry { server, answer: Try::Failed { why }, ahead_ms: None }
            }
            Ok((_, Err(None))) | Err(_) => TimeTry { server, answer: Try::Silent, ahead_ms: None },
        }
    };
    all(servers.into_iter().map(ask)).await
}

async fn peers(peers: &[(NodeId, Ipv4Addr)]) -> Vec<PeerTry> {
    let tries = peers.iter().cloned().map(|(node, address)| async move {
        let at = SocketAddr::new(IpAddr::V4(address), NODE_PORT);
        let answer = tried(async { TcpStream::connect(at).await.map(drop) }).await;
        PeerTry { node, address, answer }
    });
    all(tries).await
}
