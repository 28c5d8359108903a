//! The edge: two sockets on one interface, and the access points that are wanted.

use crate::announce::{self, Place};
use crate::datagram::{self, Ends};
use crate::dhcp::message::{CLIENT_PORT, Message, SERVER_PORT};
use crate::handle::Handle;
use crate::kernel::Kernel;
use crate::packet::{EVERYBODY, Packets, Protocol, bpf, op};
use crate::setup::answers;
use crate::setup::leases::{Leases, To};
use crate::setup::limit::Limit;
use crate::uptime;
use control::Shutdown;
use model::Cidr;
use socket2::{Domain, SockAddr, Socket, Type};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

const DNS_PORT: u16 = 53;
/// Answers a second; a phone needs a few, and 30 of them that come back at once too.
const MOST: u32 = 200;
/// Between two attempts to serve an interface that is not ready.
const RETRY: Duration = Duration::from_secs(1);
/// How often an address is announced; the first time may be too early for a bridge or a radio.
const ANNOUNCED: u32 = 3;

/// Serves until it is dropped.
#[derive(Debug)]
pub struct Setup {
    task: JoinHandle<()>,
}

impl Setup {
    /// It ended by itself: the interface is gone.
    pub fn is_over(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Lends addresses and answers names on an interface that has this address already, for as long
/// as what is returned lives. `url` is the page that phones are told of. Needs a tokio runtime,
/// CAP_NET_RAW and CAP_NET_BIND_SERVICE.
///
/// # Errors
/// When there is no such interface, or one of the ports is in use on it.
pub fn serve(interface: &str, address: Cidr, url: &str) -> io::Result<Setup> {
    let gone = || io::Error::from_raw_os_error(libc::ENODEV);
    let index = Kernel::open()?.interface(interface)?.ok_or_else(gone)?.index;
    // Only for sending to hosts that do not know their address yet.
    let direct = Packets::open(index, Protocol::Ip, &[op(bpf::RETURN, 0, 0, 0)])?;
    let dhcp = bound(interface, SERVER_PORT)?;
    let dns = bound(interface, DNS_PORT)?;
    let url = url.to_owned();
    let name = interface.to_owned();
    let task = tokio::spawn(async move {
        let leases = Leases::new(address, url);
        let ended = tokio::select! {
            ended = lend(&dhcp, &direct, leases) => ended,
            ended = name_all(&dns, address) => ended,
        };
        if let Err(error) = ended {
            tracing::debug!("nothing is served on {name} any longer: {error}");
        }
    });
    Ok(Setup { task })
}

fn bound(interface: &str, port: u16) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_broadcast(true)?;
    // The one of a moment ago may not be closed yet; the newest one receives.
    socket.set_reuse_address(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.bind(&SockAddr::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)))?;
    UdpSocket::from_std(socket.into())
}

/// True for errors that end with the interface; others are of a single answer.
fn is_over(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENXIO | libc::EBADF))
}

async fn lend(socket: &UdpSocket, direct: &Packets, mut leases: Leases) -> io::Result<()> {
    let mut bytes = [0; 1500];
    let mut limit = Limit::new(MOST);
    loop {
        let length = match socket.recv_from(&mut bytes).await {
            Ok((length, _)) => length,
            Err(error) if is_over(&error) => return Err(error),
            Err(_) => {
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        let now = uptime::now();
        let message = bytes.get(..length).and_then(Message::parse);
        let Some((answer, to)) =
            message.filter(|_| limit.pass(now)).and_then(|message| leases.answer(&message, now))
        else {
            continue;
        };
        let server = answer.server.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let payload = answer.bytes();
        let frame = |to| {
            let ends = Ends { source: (server, SERVER_PORT), destination: (to, CLIENT_PORT) };
            datagram::packet(ends, &payload).unwrap_or_default()
        };
        let sent = match to {
            To::Everybody => direct.send(EVERYBODY, &frame(Ipv4Addr::BROADCAST)),
            To::NewHost(address) => direct.send(answer.mac, &frame(address)),
            To::Host(address) => socket.send_to(&payload, (address, CLIENT_PORT)).await.map(|_| ()),
        };
        if let Err(error) = sent {
            tracing::debug!("a phone was not answered: {error}");
        }
    }
}

async fn name_all(socket: &UdpSocket, own: Cidr) -> io::Result<()> {
    let mut bytes = [0; 1500];
    let mut limit = Limit::new(MOST);
    loop {
        let (length, from) = match socket.recv_from(&mut bytes).await {
            Ok(received) => received,
            Err(error) if is_over(&error) => return Err(error),
            Err(_) => {
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        let near = matches!(from, SocketAddr::V4(from) if own.contains(*from.ip()));
        if !near || !limit.pass(uptime::now()) {
            continue;
        }
        if let Some(answer) = bytes.get(..length).and_then(|b| answers::answer(b, own.addr())) {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

/// A served interface.
struct Running {
    address: Cidr,
    url: String,
    place: Place,
    /// How often the neighbours were told.
    announced: u32,
    setup: Setup,
}

impl Running {
    fn start(interface: &str, address: Cidr, url: &str) -> io::Result<Self> {
        let kernel = Kernel::open()?;
        kernel.add_with_network(interface, address)?;
        let setup = serve(interface, address, url)?;
        let gone = || io::Error::from_raw_os_error(libc::ENODEV);
        let found = kernel.interface(interface)?.ok_or_else(gone)?;
        let place = Place { interface: found.index, mac: found.mac, address: address.addr() };
        Ok(Self { address, url: url.to_owned(), place, announced: 0, setup })
    }

    /// Phones that were here before may remember another hardware address.
    fn announce(&mut self) {
        if self.announced < ANNOUNCED {
            self.announced += 1;
            if let Err(error) = announce::send(&self.place) {
                tracing::debug!("{} was not announced: {error}", self.address);
            }
        }
    }

    /// Is it still what is wanted, on the same interface, with its address?
    fn holds(&self, interface: &str, wanted: Option<&(Cidr, String)>) -> bool {
        let same = wanted.is_some_and(|(a, url)| *a == self.address && *url == self.url);
        same && !self.setup.is_over()
            && Kernel::open().and_then(|kernel| kernel.interface(interface)).is_ok_and(|found| {
                found.is_some_and(|i| {
                    i.index == self.place.interface && i.addresses.contains(&self.address)
                })
            })
    }

    /// The interface may be gone by now, and its address with it.
    fn stop(self, interface: &str) {
        let address = self.address;
        if let Err(error) = Kernel::open().and_then(|kernel| kernel.remove(interface, address)) {
            tracing::debug!("{address} was not removed from {interface}: {error}");
        }
    }
}

/// Follows what [`Handle::open_setup`] and [`Handle::close_setup`] say.
pub(crate) async fn run(handle: Handle, shutdown: Shutdown) {
    let mut running: BTreeMap<String, Running> = BTreeMap::new();
    let news = handle.setup_news();
    loop {
        let wanted = handle.setups();
        for (name, mut one) in std::mem::take(&mut running) {
            if one.holds(&name, wanted.get(&name)) {
                one.announce();
                running.insert(name, one);
            } else {
                one.stop(&name);
            }
        }
        for (name, (address, url)) in &wanted {
            if let Entry::Vacant(place) = running.entry(name.clone()) {
                match Running::start(name, *address, url) {
                    Ok(one) => {
                        tracing::info!("setup on {name}: the page is {url}");
                        place.insert(one);
                    }
                    Err(error) => tracing::debug!("setup on {name} has to wait: {error}"),
                }
            }
        }
        tokio::select! {
            () = news.notified() => {}
            // An access point's interface may go away and come back by itself.
            () = tokio::time::sleep(RETRY), if !wanted.is_empty() => {}
            () = shutdown.requested() => break,
        }
    }
    for (name, one) in running {
        one.stop(&name);
    }
}
