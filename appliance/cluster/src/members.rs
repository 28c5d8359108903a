//! Who belongs to the cluster now, by which right, and the connections that rest on it.
//!
//! A board is a member's if the settings pin its key to that node. Where they pin none yet, the
//! first board that knows the cluster's key and says it is that node is taken for it, and its key
//! pinned. Everything else is a stranger's.

use crate::hello::{Refusal, Why};
use crate::proof::{Key, SHORTEST_KEY};
use control::Snapshot;
use model::{DeviceId, Node, NodeId};
use socket2::Socket;
use std::collections::BTreeMap;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A connection over which something came so recently has somebody at its other end.
const ALIVE: Duration = Duration::from_secs(3);
/// A pin that did not come to be is asked for again after this.
const ASK_AGAIN: Duration = Duration::from_secs(3);

/// What the settings say of this node and its neighbours.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Members {
    pub(crate) own: NodeId,
    /// What the operator calls it.
    pub(crate) name: String,
    /// What the operator calls the whole; empty where it has no name.
    pub(crate) cluster: String,
    /// This node's entry.
    pub(crate) entry: Option<Node>,
    /// Whose key the settings pin to this node. The outer is None where they do not have it.
    pub(crate) pinned: Option<Option<DeviceId>>,
    /// None: boards that are not pinned stay strangers.
    pub(crate) key: Option<Key>,
    /// The other nodes.
    pub(crate) peers: BTreeMap<NodeId, Peer>,
}

/// What the settings say of another node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peer {
    /// What the operator calls it.
    pub(crate) name: String,
    pub(crate) device: Option<DeviceId>,
    /// In the order they are tried.
    pub(crate) addresses: Vec<SocketAddr>,
}

/// What a board is that says it is a certain node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is that node.
    Pinned,
    /// Nobody was that node so far: it is, if it knows this key.
    IfItKnows(Key),
    /// Nobody was that node so far, and there is no key to know.
    Unmet,
    /// Another board is that node, of this name.
    NewKey(String),
    /// It is this node.
    Other(NodeId),
    /// There is no such node.
    Unknown,
}

impl Members {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let settings = &snapshot.settings;
        let own = settings.node(snapshot.node());
        // A node that the settings do not know has no business with the others.
        let known = own.is_some();
        let peers = snapshot.effective.peers.iter().filter(|_| known).map(|(id, addresses)| {
            let node = settings.node(id);
            let peer = Peer {
                name: node.map_or_else(|| id.to_string(), |n| n.name.to_string()),
                device: node.and_then(|n| n.device.clone()),
                addresses: addresses.iter().copied().map(SocketAddr::V4).collect(),
            };
            (id.clone(), peer)
        });
        Self {
            own: snapshot.node().clone(),
            name: own.map_or_else(|| snapshot.node().to_string(), |n| n.name.to_string()),
            cluster: settings.cluster.name.as_ref().map(ToString::to_string).unwrap_or_default(),
            entry: own.cloned(),
            pinned: own.map(|n| n.device.clone()),
            key: Key::derive(&settings.cluster.key).filter(|_| known),
            peers: peers.collect(),
        }
    }

    /// What is wrong with the cluster's key, for the operator.
    pub(crate) fn complaint(snapshot: &Snapshot) -> Option<String> {
        let secret = &snapshot.settings.cluster.key;
        (!secret.is_empty() && Key::derive(secret).is_none()).then(|| {
            format!(
                "the cluster key is shorter than {SHORTEST_KEY} characters, so boards that this \
                 node has not met stay strangers; set a longer one"
            )
        })
    }

    /// Is this the address of a member?
    pub(crate) fn has_address(&self, address: IpAddr) -> bool {
        self.peers.values().flat_map(|p| &p.addresses).any(|at| at.ip() == address)
    }

    /// What the operator calls a node.
    pub(crate) fn name<'a>(&'a self, node: &'a NodeId) -> &'a str {
        self.peers.get(node).map_or(node.as_str(), |peer| &peer.name)
    }

    /// The other node this board is.
    pub(crate) fn holder(&self, device: &DeviceId) -> Option<&NodeId> {
        let pinned = |peer: &Peer| peer.device.as_ref() == Some(device);
        self.peers.iter().find(|(_, peer)| pinned(peer)).map(|(id, _)| id)
    }

    /// What the board is, if it says it is `node`.
    pub(crate) fn standing(&self, node: &NodeId, device: &DeviceId) -> Standing {
        match (self.holder(device), self.peers.get(node), &self.key) {
            (Some(holder), ..) if holder == node => Standing::Pinned,
            (Some(holder), ..) => Standing::Other(holder.clone()),
            (None, None, _) => Standing::Unknown,
            (None, Some(Peer { device: Some(_), name, .. }), _) => Standing::NewKey(name.clone()),
            (None, Some(_), Some(key)) => Standing::IfItKnows(key.clone()),
            (None, Some(_), None) => Standing::Unmet,
        }
    }

    /// Can anything make a board this node?
    pub(crate) fn reaches(&self, peer: &Peer) -> bool {
        peer.device.is_some() || self.key.is_some()
    }

    fn grants(&self, node: &NodeId, device: &DeviceId, proved: Option<&Key>) -> bool {
        match self.standing(node, device) {
            Standing::Pinned => true,
            Standing::IfItKnows(key) => proved == Some(&key),
            _ => false,
        }
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Entrant {
    pub(crate) node: NodeId,
    pub(crate) device: DeviceId,
    pub(crate) boot: String,
    /// The key it proved to know, if that is its ground.
    pub(crate) proved: Option<Key>,
}

struct Connection {
    entrant: Entrant,
    heard: Arc<AtomicU64>,
    /// A second descriptor, to cut it by.
    socket: Socket,
}

impl Connection {
    /// Its reader and its writer find out by themselves.
    fn cut(&self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

struct Held {
    members: Arc<Members>,
    next: u64,
    connections: BTreeMap<u64, Connection>,
    /// Newcomers with the key of a board that was there, and when they came first.
    doubles: BTreeMap<DeviceId, (String, Instant)>,
    /// Keys of nodes that were members since the start and no longer are.
    removed: BTreeMap<DeviceId, NodeId>,
    /// Pins that were asked for, and when.
    asked: BTreeMap<NodeId, Instant>,
}

/// The members of the moment. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Membership {
    held: Arc<Mutex<Held>>,
    begun: Instant,
}

impl Default for Membership {
    fn default() -> Self {
        let held = Held {
            members: Arc::default(),
            next: 0,
            connections: BTreeMap::new(),
            doubles: BTreeMap::new(),
            removed: BTreeMap::new(),
            asked: BTreeMap::new(),
        };
        Self { held: Arc::new(Mutex::new(held)), begun: Instant::now() }
    }
}

/// A connection's entry; leaving the scope, it ends.
pub(crate) struct Place {
    membership: Membership,
    number: u64,
    heard: Arc<AtomicU64>,
}

impl Place {
    /// Something came.
    pub(crate) fn heard(&self) {
        self.heard.store(self.membership.millis(Instant::now()), Ordering::Relaxed);
    }
}

impl Membership {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.begun).as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn now(&self) -> Arc<Members> {
        self.lock().members.clone()
    }

    /// Takes new members and cuts the connections that no longer have a ground.
    pub(crate) fn set(&self, members: Members) {
        let mut held = self.lock();
        held.connections.retain(|_, connection| {
            let Entrant { node, device, proved, .. } = &connection.entrant;
            let stays = members.grants(node, device, proved.as_ref());
            if !stays {
                connection.cut();
            }
            stays
        });
        let before = held.members.clone();
        let gone = before.peers.iter().filter(|(id, _)| !members.peers.contains_key(*id));
        held.removed.extend(gone.filter_map(|(id, peer)| Some((peer.device.clone()?, id.clone()))));
        let pins: Vec<_> = members.peers.values().filter_map(|p| p.device.as_ref()).collect();
        held.removed.retain(|device, _| !pins.contains(&device));
        held.doubles.retain(|device, _| pins.contains(&device));
        held.asked.retain(|id, _| {
            members.peers.get(id).is_some_and(|p| p.device.is_none()) || *id == members.own
        });
        held.members = Arc::new(members);
    }

    /// Boards that have proved to be nodes, and whose keys are not pinned yet.
    pub(crate) fn unpinned(&self) -> Vec<(NodeId, DeviceId)> {
        let held = self.lock();
        let open = |node| held.members.peers.get(node).is_some_and(|peer| peer.device.is_none());
        let all = held.connections.values().map(|connection| &connection.entrant);
        all.filter(|entrant| open(&entrant.node))
            .map(|entrant| (entrant.node.clone(), entrant.device.clone()))
            .collect()
    }

    /// Is there a node without any connection, whose board is known?
    pub(crate) fn misses_somebody(&self) -> bool {
        let held = self.lock();
        let there: Vec<_> = held.connections.values().map(|c| &c.entrant.node).collect();
        let mut peers = held.members.peers.iter();
        peers.any(|(node, peer)| peer.device.is_some() && !there.contains(&node))
    }

    /// Was this board a member's?
    pub(crate) fn was_removed(&self, device: &DeviceId) -> bool {
        self.lock().removed.contains_key(device)
    }

    /// Is this node to be pinned, and is it time to ask for that?
    pub(crate) fn may_ask(&self, node: &NodeId) -> bool {
        let now = Instant::now();
        let mut held = self.lock();
        let open = match held.members.peers.get(node) {
            Some(peer) => peer.device.is_none(),
            None => *node == held.members.own && held.members.pinned == Some(None),
        };
        if !open {
            return false;
        }
        let again = held.asked.get(node).is_none_or(|at| now.duration_since(*at) >= ASK_AGAIN);
        if again {
            held.asked.insert(node.clone(), now);
        }
        again
    }

    /// Enters a connection.
    ///
    /// # Errors
    /// When the settings have changed meanwhile and it has no ground any more, and when another
    /// board with the same key is there already: a card that was copied.
    pub(crate) fn enter(&self, entrant: Entrant, socket: Socket) -> Result<Place, Refusal> {
        self.enter_at(entrant, socket, Instant::now())
    }

    fn enter_at(&self, entrant: Entrant, socket: Socket, now: Instant) -> Result<Place, Refusal> {
        let mut held = self.lock();
        let Entrant { node, device, proved, boot } = &entrant;
        if !held.members.grants(node, device, proved.as_ref()) {
            return Err(Refusal::new(Why::Stranger, "the cluster's settings have just changed"));
        }
        let name = held.members.name(node).to_owned();
        let double = |c: &&Connection| c.entrant.device == *device && c.entrant.boot != *boot;
        // A node that starts again leaves connections behind over which nothing comes any more.
        let newest =
            held.connections.values().filter(double).map(|c| c.heard.load(Ordering::Relaxed));
        let now_ms = self.millis(now);
        let alive = u64::try_from(ALIVE.as_millis()).unwrap_or(u64::MAX);
        if let Some(newest) = newest.max().filter(|heard| now_ms.saturating_sub(*heard) < alive) {
            let first = match held.doubles.get(device) {
                Some((double, first)) if double == boot => *first,
                _ => {
                    held.doubles.insert(device.clone(), (boot.clone(), now));
                    now
                }
            };
            // Heard since the double came: there are two of them.
            return Err(if newest > self.millis(first) {
                Refusal::new(
                    Why::Copied,
                    format!(
                        "the card of {name} was copied: two boards have the same key; reset one \
                         of them and adopt it again"
                    ),
                )
            } else {
                let text = format!("another board with the key of {name} was there a moment ago");
                Refusal::new(Why::Twice, text)
            });
        }
        held.connections.retain(|_, connection| {
            let stale = double(&&*connection);
            if stale {
                connection.cut();
            }
            !stale
        });
        held.doubles.remove(device);
        let number = held.next;
        held.next += 1;
        let heard = Arc::new(AtomicU64::new(now_ms));
        held.connections.insert(number, Connection { entrant, heard: heard.clone(), socket });
        Ok(Place { membership: self.clone(), number, heard })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.membership.lock().connections.remove(&self.number);
    }
}

#[cfg(test)]
#[path = "members_tests.rs"]
mod tests;
