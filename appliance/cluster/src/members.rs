//! Who belongs to the cluster now, and the connections that rest on it.

use crate::noise::{Key, SHORTEST_KEY};
use control::Snapshot;
use model::NodeId;
use socket2::Socket;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the settings say of this node's neighbours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Members {
    pub(crate) own: NodeId,
    /// None: this node talks to no other.
    pub(crate) key: Option<Key>,
    /// The other nodes, each with its addresses in the order they are tried.
    pub(crate) peers: BTreeMap<NodeId, Vec<SocketAddr>>,
}

impl Members {
    /// The error says what is wrong with the key, for the operator.
    pub(crate) fn of(snapshot: &Snapshot) -> Result<Self, String> {
        let secret = &snapshot.settings.cluster.key;
        let key = Key::derive(secret);
        if key.is_none() && !secret.is_empty() {
            return Err(format!(
                "the cluster key is shorter than {SHORTEST_KEY} characters, so this node talks \
                 to no other; set a longer one"
            ));
        }
        // A node that the settings do not know has no business with the others.
        let known = snapshot.settings.node(snapshot.node()).is_some();
        let peers = snapshot.effective.peers.iter().map(|(id, addresses)| {
            (id.clone(), addresses.iter().copied().map(SocketAddr::V4).collect())
        });
        Ok(Self {
            own: snapshot.node().clone(),
            key: key.filter(|_| known),
            peers: peers.collect(),
        })
    }

    /// Is this the address of a member?
    pub(crate) fn has_address(&self, address: IpAddr) -> bool {
        self.peers.values().flatten().any(|at| at.ip() == address)
    }
}

#[derive(Default)]
struct Held {
    members: Arc<Members>,
    next: u64,
    /// A second descriptor of each connection, to cut it by.
    connections: BTreeMap<u64, (NodeId, Socket)>,
}

/// The members of the moment. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Membership(Arc<Mutex<Held>>);

/// A connection's entry; leaving the scope, it ends.
pub(crate) struct Place {
    membership: Membership,
    number: u64,
}

impl Membership {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Arc<Members> {
        self.lock().members.clone()
    }

    /// Takes new members and cuts the connections that no longer have a ground: all of them after
    /// a change of key, those of a node that is no member any more.
    pub(crate) fn set(&self, members: Members) {
        let mut held = self.lock();
        let other_key = held.members.key != members.key;
        held.connections.retain(|_, (peer, socket)| {
            let stays = !other_key && members.peers.contains_key(peer);
            if !stays {
                // Its reader and its writer find out by themselves.
                let _ = socket.shutdown(Shutdown::Both);
            }
            stays
        });
        held.members = Arc::new(members);
    }

    /// Enters a connection that was made under `known`.
    ///
    /// # Errors
    /// When the settings have changed meanwhile and it has no ground any more.
    pub(crate) fn enter(
        &self,
        known: &Members,
        peer: &NodeId,
        socket: Socket,
    ) -> io::Result<Place> {
        let mut held = self.lock();
        let now = &held.members;
        if now.key.is_none() || now.key != known.key || !now.peers.contains_key(peer) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the cluster's settings have just changed",
            ));
        }
        let number = held.next;
        held.next += 1;
        held.connections.insert(number, (peer.clone(), socket));
        Ok(Place { membership: self.clone(), number })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.membership.lock().connections.remove(&self.number);
    }
}
