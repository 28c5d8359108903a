//! The edge: calls out on every interface, and listens.

use super::table::{Table, View};
use super::wire::{self, Hint, LONGEST};
use crate::adopt::Household;
use crate::channel::Channel;
use crate::counters::one_more;
use crate::proof::Token;
use control::Shutdown;
use model::DeviceId;
use model::status::FoundBoard;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::sync::Notify;

/// Calls go out so often while there is a reason to call.
const PACE: Duration = Duration::from_secs(5);
/// Whoever looks at the list asks for it again before this.
const LOOKING: Duration = Duration::from_secs(15);
/// Boards that ask get no more answers in a second: all of a cluster, and some.
const MOST_ANSWERS: u32 = 20;
/// Pause before the port is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// Where to listen and whom to call; different in tests.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) listen: SocketAddrV4,
    /// None: everybody on every interface.
    pub(crate) targets: Option<Vec<SocketAddrV4>>,
}

/// Who was found, as the rest of the crate sees it. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Finder(Arc<Inner>);

#[derive(Default)]
struct Inner {
    table: Mutex<Table>,
    looked: Mutex<Option<Instant>>,
    begun_to_look: Notify,
}

impl Finder {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The boards heard of lately. Asking keeps the search going for a while.
    pub(crate) fn found(&self, channel: &Channel) -> Vec<FoundBoard> {
        let now = Instant::now();
        let before = self.0.looked.lock().unwrap_or_else(PoisonError::into_inner).replace(now);
        if before.is_none_or(|at| now.duration_since(at) >= LOOKING) {
            self.0.begun_to_look.notify_one();
        }
        let token = token(channel.household());
        let members = channel.membership.now();
        let versions = channel.versions();
        self.table().found(&View { members: &members, token: token.as_ref(), versions }, now)
    }

    fn is_looking(&self, now: Instant) -> bool {
        let looked = self.0.looked.lock().unwrap_or_else(PoisonError::into_inner);
        looked.is_some_and(|at| now.duration_since(at) < LOOKING)
    }

    /// Keeps what was heard of a board; not of this one.
    pub(crate) fn heard(&self, channel: &Channel, hint: Hint, from: &[Ipv4Addr]) {
        if hint.device == channel.device {
            return;
        }
        let from: Vec<Ipv4Addr> = from.iter().copied().filter(|a| is_a_board(*a)).collect();
        if channel.membership.now().holder(&hint.device).is_some() {
            from.iter().for_each(|at| channel.heard(&hint.device, *at));
        }
        if !self.table().heard(hint.shown(), &from, Instant::now()) {
            one_more(&channel.counting.hints_dropped);
        }
    }

    /// Keeps what a board said over TLS when the operator gave its address.
    pub(crate) fn looked_at(&self, hint: Hint, at: Ipv4Addr) {
        self.table().looked_at(hint, at, Instant::now());
    }

    pub(crate) fn addresses(&self, device: &DeviceId) -> Option<(String, Vec<Ipv4Addr>)> {
        self.table().addresses(device)
    }

    pub(crate) fn forget(&self, device: &DeviceId) {
        self.table().forget(device);
    }
}

/// Can a board be at this address?
fn is_a_board(address: Ipv4Addr) -> bool {
    !address.is_unspecified() && !address.is_multicast() && !address.is_broadcast()
}

fn token(household: &dyn Household) -> Option<Token> {
    household.join_token().and_then(|secret| Token::derive(&secret))
}

/// What this board says of itself.
pub(crate) fn own_hint(channel: &Channel, ask: bool) -> Hint {
    let (household, members) = (channel.household(), channel.membership.now());
    let claimed = household.claimed();
    Hint {
        device: channel.device.clone(),
        name: members.name.clone(),
        model: household.model(),
        claimed,
        cluster: if claimed { members.cluster.clone() } else { String::new() },
        wired: household.wired(),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        versions: channel.versions(),
        batch: token(household).map(|token| token.batch(&channel.device)),
        ask,
    }
}

/// Calls and listens until the node stops.
pub(crate) async fn run(channel: Arc<Channel>, finder: Finder, place: Place, shutdown: Shutdown) {
    let mut complained = false;
    loop {
        match socket(place.listen) {
            Ok(socket) => {
                complained = false;
                tokio::select! {
                    error = serve(&channel, &finder, &place, &socket) => {
                        tracing::debug!("looking for other boards: {error}");
                    }
                    () = shutdown.requested() => return,
                }
            }
            Err(error) => {
                if !complained {
                    tracing::warn!("other boards do not find this one: {}: {error}", place.listen);
                }
                complained = true;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = shutdown.requested() => return,
        }
    }
}

async fn serve(channel: &Channel, finder: &Finder, place: &Place, socket: &UdpSocket) -> io::Error {
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut datagram = [0; LONGEST + 1];
    let mut answers = (Instant::now(), 0);
    loop {
        let called = tokio::select! {
            _ = pace.tick() => true,
            () = finder.0.begun_to_look.notified() => {
                pace.reset();
                true
            }
            received = socket.recv_from(&mut datagram) => match received {
                Ok((length, from)) => {
                    let datagram = datagram.get(..length).unwrap_or_default();
                    take(channel, finder, socket, datagram, from, &mut answers).await;
                    false
                }
                // What the network says of an earlier datagram of ours.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => false,
                Err(error) => return error,
            },
        };
        let looking = finder.is_looking(Instant::now()) || channel.membership.misses_somebody();
        if called && (looking || !channel.household().claimed()) {
            if let Some(datagram) = wire::write(&own_hint(channel, looking)) {
                call(place, socket, &datagram).await;
            }
        }
    }
}

async fn take(
    channel: &Channel,
    finder: &Finder,
    socket: &UdpSocket,
    datagram: &[u8],
    from: SocketAddr,
    answers: &mut (Instant, u32),
) {
    let (Some(hint), IpAddr::V4(at)) = (wire::read(datagram), from.ip()) else {
        one_more(&channel.counting.hints_garbage);
        return;
    };
    if hint.device == channel.device {
        return;
    }
    let asks = hint.ask;
    finder.heard(channel, hint, &[at]);
    if asks && may_answer(answers) {
        if let Some(datagram) = wire::write(&own_hint(channel, false)) {
            // To the port everybody listens on: the question came from one of its own.
            let port = socket.local_addr().map_or(model::NODE_PORT, |own| own.port());
            let _ = socket.send_to(&datagram, (at, port)).await; // asked again anyway
        }
    }
}

fn may_answer((since, count): &mut (Instant, u32)) -> bool {
    if since.elapsed() >= Duration::from_secs(1) {
        (*since, *count) = (Instant::now(), 0);
    }
    *count += 1;
    *count <= MOST_ANSWERS
}

fn socket(at: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket =
        Socket::new(Domain::IPV4, Type::DGRAM.cloexec().nonblocking(), Some(Protocol::UDP))?;
    socket.bind(&SocketAddr::V4(at).into())?;
    UdpSocket::from_std(socket.into())
}

async fn call(place: &Place, socket: &UdpSocket, datagram: &[u8]) {
    if let Some(targets) = &place.targets {
        for target in targets {
            let _ = socket.send_to(datagram, target).await;
        }
        return;
    }
    for interface in interfaces() {
        if let Err(error) = call_on(&interface, place.listen.port(), datagram) {
            tracing::debug!("calling other boards on {interface}: {error}");
        }
    }
}

/// The interfaces on which everybody can be called: those with an IPv4 address that are up.
fn interfaces() -> BTreeSet<String> {
    let Ok(all) = getifaddrs() else {
        return BTreeSet::new();
    };
    let wanted = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_BROADCAST;
    all.filter(|entry| entry.flags.contains(wanted))
        .filter(|entry| entry.address.is_some_and(|a| a.as_sockaddr_in().is_some()))
        .map(|entry| entry.interface_name)
        .collect()
}

/// To everybody behind one interface, in whatever subnet they think they are.
fn call_on(interface: &str, port: u16, datagram: &[u8]) -> io::Result<()> {
    let socket =
        Socket::new(Domain::IPV4, Type::DGRAM.cloexec().nonblocking(), Some(Protocol::UDP))?;
    socket.set_broadcast(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    let everybody = SocketAddrV4::new(Ipv4Addr::BROADCAST, port);
    socket.send_to(datagram, &SocketAddr::V4(everybody).into())?;
    Ok(())
}
