//! The edge: one task and one socket for each interface that has something to watch.

use crate::arp::{self, Arp};
use crate::dhcp::sockets::about;
use crate::neighbours::watch::{Finding, Presence, Targets, Watch};
use crate::packet::{EVERYBODY, Packets, Protocol};
use crate::uptime;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// After the kernel would not open a socket.
const RETRY: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_secs(60);
/// Packets in a row before a pause is made.
const FLOOD: u32 = 200;
const FLOOD_PAUSE: Duration = Duration::from_millis(100);

/// An interface and what is to be watched there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) index: u32,
    pub(crate) mac: [u8; 6],
    pub(crate) carrier: bool,
    /// The hardware addresses of all interfaces of this node.
    pub(crate) own: BTreeSet<[u8; 6]>,
    pub(crate) targets: Targets,
}

/// What was found on one interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) findings: BTreeMap<Ipv4Addr, Finding>,
    pub(crate) presences: BTreeMap<Ipv4Addr, Presence>,
    /// Nothing can be asked here: this process may not, or the kernel cannot.
    pub(crate) unable: bool,
}

type Shared = Arc<Mutex<BTreeMap<String, Found>>>;

#[derive(Debug)]
struct Task {
    place: watch::Sender<Place>,
    task: JoinHandle<()>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The watches of all interfaces.
#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    tasks: BTreeMap<String, Task>,
    found: Shared,
    news: Arc<Notify>,
}

impl Neighbours {
    /// Wakes up when something was found.
    pub(crate) fn news(&self) -> Arc<Notify> {
        self.news.clone()
    }

    pub(crate) fn found(&self) -> BTreeMap<String, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Watches these, and nothing else.
    pub(crate) fn follow(&mut self, places: Vec<Place>) {
        let wanted = |name: &str| places.iter().any(|p| p.name == name);
        self.tasks.retain(|name, _| wanted(name));
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.retain(|name, _| wanted(name));
        for place in places {
            let name = place.name.clone();
            if let Some(task) = self.tasks.get(&name).filter(|t| !t.task.is_finished()) {
                let same = {
                    let held = task.place.borrow();
                    (held.index, held.mac) == (place.index, place.mac)
                };
                if same {
                    task.place.send_if_modified(|held| {
                        let news = *held != place;
                        *held = place;
                        news
                    });
                    continue;
                }
            }
            found.remove(&name);
            let edge = Edge {
                name: name.clone(),
                watch: Watch::new(place.mac),
                found: self.found.clone(),
                news: self.news.clone(),
                unable: false,
            };
            let (sender, receiver) = watch::channel(place);
            self.tasks.insert(name, Task { place: sender, task: tokio::spawn(edge.run(receiver)) });
        }
    }
}

struct Edge {
    name: String,
    watch: Watch,
    found: Shared,
    news: Arc<Notify>,
    unable: bool,
}

impl Edge {
    async fn run(mut self, mut place: watch::Receiver<Place>) {
        loop {
            let now = place.borrow_and_update().clone();
            self.take(&now);
            let socket = if now.carrier {
                Packets::open(now.index, Protocol::Arp, &about(&self.watch.watched()))
            } else {
                Err(io::ErrorKind::NetworkDown.into())
            };
            let over = match &socket {
                Ok(socket) => {
                    self.unable = false;
                    self.watch.carrier(true, uptime::now());
                    self.publish();
                    self.listen(socket, &mut place).await
                }
                Err(error) => {
                    if now.carrier && !self.unable {
                        tracing::warn!(
                            "whether others use this board's addresses cannot be found out on {}: \
                             {error}",
                            self.name
                        );
                    }
                    self.unable = now.carrier;
                    self.watch.carrier(false, uptime::now());
                    self.publish();
                    let pause = if now.carrier { RETRY } else { LOOK };
                    tokio::select! {
                        changed = place.changed() => changed.is_err(),
                        () = tokio::time::sleep(pause) => false,
                    }
                }
            };
            if over {
                return;
            }
        }
    }

    fn take(&mut self, place: &Place) {
        self.watch.set_own(place.own.clone());
        self.watch.follow(place.targets.clone(), uptime::now());
    }

    /// Until the carrier goes or the socket fails; true: it is over.
    async fn listen(&mut self, socket: &Packets, place: &mut watch::Receiver<Place>) -> bool {
        let mut packets = 0_u32;
        let mut bytes = [0; arp::LENGTH];
        loop {
            for packet in self.watch.tick(uptime::now()) {
                self.send(socket, packet);
            }
            self.publish();
            let due = self.watch.due().map(|due| due.saturating_sub(uptime::now()));
            tokio::select! {
                changed = place.changed() => {
                    if changed.is_err() {
                        return true;
                    }
                    let now = place.borrow_and_update().clone();
                    if !now.carrier {
                        place.mark_changed();
                        return false;
                    }
                    let before = self.watch.watched();
                    self.take(&now);
                    if before != self.watch.watched() {
                        if let Err(error) = socket.filter(&about(&self.watch.watched())) {
                            tracing::debug!("{}: no filter: {error}", self.name);
                        }
                    }
                }
                received = socket.receive(&mut bytes) => match received {
                    Ok(length) => {
                        packets = packets.wrapping_add(1);
                        let heard = Arp::parse(bytes.get(..length).unwrap_or_default());
                        let answer = heard.and_then(|arp| self.watch.arp(&arp, uptime::now()));
                        if let Some(answer) = answer {
                            self.send(socket, answer);
                        }
                        if packets % FLOOD == 0 {
                            tokio::time::sleep(FLOOD_PAUSE).await;
                        }
                    }
                    Err(error) => {
                        tracing::debug!("{}: {error}", self.name);
                        self.watch.carrier(false, uptime::now());
                        tokio::time::sleep(FLOOD_PAUSE).await;
                        return false;
                    }
                },
                () = tokio::time::sleep(due.map_or(LOOK, |due| due.min(LOOK))) => {}
            }
        }
    }

    fn send(&self, socket: &Packets, packet: Arp) {
        if let Err(error) = socket.send(EVERYBODY, &packet.bytes()) {
            // The interface may be going down this very moment; it is asked again when it is up.
            tracing::debug!("{}: {packet:?} was not sent: {error}", self.name);
        }
    }

    fn publish(&self) {
        let new = Found {
            findings: self.watch.findings(),
            presences: self.watch.presences(),
            unable: self.unable,
        };
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let news = found.get(&self.name) != Some(&new);
        found.insert(self.name.clone(), new);
        drop(found);
        if news {
            self.news.notify_one();
        }
    }
}
