//! The edge: a socket for each link.

use crate::chance::Chance;
use crate::dns::Message;
use crate::facts::{Facts, LiveLink};
use crate::mdns::browse::{Browser, ServiceSeen, seen};
use crate::mdns::names::About;
use crate::mdns::responder::{GROUP, Output, PORT, Responder};
use crate::uptime;
use control::Shutdown;
use socket2::{Domain, InterfaceIndexOrAddress, SockAddr, Socket, Type};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

/// RFC 6762 17: no message is longer than a packet.
const LONGEST: usize = 9000;
/// Messages waiting to be looked at; what comes when there are so many is dropped.
const QUEUE: usize = 64;
/// After a socket could not be opened.
const RETRY: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_secs(60);

type Arrival = (u32, SocketAddrV4, Vec<u8>);

/// A link's socket and the task that reads it.
struct Ear {
    link: LiveLink,
    socket: Arc<UdpSocket>,
    reader: JoinHandle<()>,
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// What is said of this board, and who wants to know of others.
pub(crate) struct Words {
    pub(crate) about: Option<Arc<dyn Fn() -> About + Send + Sync>>,
    pub(crate) found: Option<Arc<dyn Fn(ServiceSeen) + Send + Sync>>,
    /// Somebody looks for boards.
    pub(crate) wanted: Arc<Notify>,
}

/// Answers until shutdown.
pub(crate) async fn run(mut facts: watch::Receiver<Facts>, words: Words, shutdown: Shutdown) {
    let mut responder = Responder::new(Chance::new());
    let mut browser = Browser::default();
    let mut ears: BTreeMap<u32, Ear> = BTreeMap::new();
    let (sender, mut arrivals) = mpsc::channel::<Arrival>(QUEUE);
    let mut garbage: u64 = 0;
    loop {
        let known = facts.borrow_and_update().clone();
        // What is to be said about the old name goes out on the old links.
        let farewell = responder.follow(&known.name, &known.links, uptime::now());
        send(&ears, &farewell).await;
        let deaf = listen(&mut ears, responder.links(), &sender);
        let news = loop {
            responder.describe(words.about.as_ref().map(|about| about()), uptime::now());
            let out = responder.tick(uptime::now());
            send(&ears, &out).await;
            if let Some(question) = browser.tick(uptime::now()) {
                let ask = |link: &LiveLink| Output {
                    link: link.index,
                    to: None,
                    message: question.clone(),
                };
                let out: Vec<Output> = responder.links().iter().map(ask).collect();
                send(&ears, &out).await;
            }
            let due = responder.due().into_iter().chain(browser.due()).min();
            let due = due.map(|due| due.saturating_sub(uptime::now()));
            let look = if deaf || words.about.is_some() { RETRY } else { LOOK };
            let pause = due.map_or(look, |due| due.min(look));
            tokio::select! {
                changed = facts.changed() => break changed.is_ok(),
                () = shutdown.requested() => break false,
                () = words.wanted.notified() => browser.ask(uptime::now()),
                arrival = arrivals.recv() => {
                    let Some((link, from, bytes)) = arrival else { break false };
                    let Some(message) = Message::parse(&bytes) else {
                        garbage = garbage.saturating_add(1);
                        tracing::trace!("{garbage} messages made no sense, the last from {from}");
                        continue;
                    };
                    if let Some(found) = &words.found {
                        // RFC 6762 11: only neighbours, and not this node itself.
                        let heard = message.is_response()
                            && from.port() == PORT
                            && near(&ears, link, *from.ip());
                        let boards =
                            if heard { seen(&message, *from.ip()) } else { Vec::new() };
                        boards.into_iter().for_each(|board| found(board));
                    }
                    let out = responder.message(link, from, &message, uptime::now());
                    send(&ears, &out).await;
                }
                () = tokio::time::sleep(pause) => if deaf {
                    break true;
                },
            }
        };
        if !news {
            send(&ears, &responder.goodbye()).await;
            return;
        }
    }
}

/// Somebody else on the same link.
fn near(ears: &BTreeMap<u32, Ear>, link: u32, from: Ipv4Addr) -> bool {
    let own = ears.values().any(|ear| ear.link.address.addr() == from);
    let link = ears.get(&link).map(|ear| ear.link.address);
    !own && link.is_some_and(|address| address.contains(from) || from.is_link_local())
}

/// Opens and closes sockets; true when one could not be opened.
fn listen(
    ears: &mut BTreeMap<u32, Ear>,
    links: &[LiveLink],
    sender: &mpsc::Sender<Arrival>,
) -> bool {
    ears.retain(|_, ear| links.contains(&ear.link) && !ear.reader.is_finished());
    let mut deaf = false;
    for link in links {
        if ears.contains_key(&link.index) {
            continue;
        }
        match open(link) {
            Ok(socket) => {
                let socket = Arc::new(socket);
                let reader = tokio::spawn(read(link.index, socket.clone(), sender.clone()));
                ears.insert(link.index, Ear { link: link.clone(), socket, reader });
            }
            Err(error) => {
                tracing::debug!("names are not answered on {}: {error}", link.name);
                deaf = true;
            }
        }
    }
    deaf
}

fn open(link: &LiveLink) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    // RFC 6762 15.1: another responder on the same machine may have the port as well.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind_device(Some(link.name.as_bytes()))?;
    socket.bind(&SockAddr::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PORT)))?;
    socket.join_multicast_v4_n(&GROUP, &InterfaceIndexOrAddress::Index(link.index))?;
    // Also the source of what is sent: never a floating IP.
    socket.set_multicast_if_v4(&link.address.addr())?;
    socket.set_multicast_loop_v4(true)?;
    // RFC 6762 11.
    socket.set_multicast_ttl_v4(255)?;
    socket.set_ttl_v4(255)?;
    UdpSocket::from_std(socket.into())
}

async fn read(link: u32, socket: Arc<UdpSocket>, sender: mpsc::Sender<Arrival>) {
    let mut bytes = vec![0; LONGEST];
    loop {
        match socket.recv_from(&mut bytes).await {
            Ok((length, SocketAddr::V4(from))) => {
                let received = bytes.get(..length).unwrap_or_default().to_vec();
                let _ = sender.try_send((link, from, received));
            }
            Ok(_) => {}
            // An answer that could not be delivered; a pause against errors without end.
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return,
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn send(ears: &BTreeMap<u32, Ear>, outputs: &[Output]) {
    for output in outputs {
        let Some(ear) = ears.get(&output.link) else { continue };
        let to = output.to.unwrap_or(SocketAddrV4::new(GROUP, PORT));
        if let Err(error) = ear.socket.send_to(&output.message.bytes(), to).await {
            tracing::debug!("{}: {to} was not answered: {error}", ear.link.name);
        }
    }
}
