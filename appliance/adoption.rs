//! What discovery and adoption need of the rest of a node, and what the page needs of them.

use crate::aboard::Aboard;
use cluster::{Answer, NewBoard, Verified};
use control::{Author, Change, Control, Gift, StatusBoard};
use model::status::{Asked, FoundBoard, Joining, Offer};
use model::{DeviceId, Edit, Hostname, Node, NodeId, Secret, Settings};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::Local;
use tokio::sync::Notify;

/// The answer to the node that adopts has to be sent before this one starts again.
const FAREWELL: Duration = Duration::from_secs(1);
/// Under which name every node knows the hash of the admin password.
const PASSWORD: &str = "admin.password";

/// This board, for those who look for boards and for the node that takes it in.
pub(crate) struct Household {
    pub(crate) node: NodeId,
    pub(crate) control: Control,
    pub(crate) board: StatusBoard,
    pub(crate) local: Local,
    pub(crate) aboard: Option<Aboard>,
    /// This board is another node now and has to start again.
    pub(crate) again: Arc<Notify>,
    /// The entries that boards being taken in have replaced.
    pub(crate) replaced: Mutex<BTreeMap<NodeId, Node>>,
}

impl Household {
    async fn change(&self, edit: Edit) -> Result<(), String> {
        let change = Change { base: None, author: Author::Local, edits: vec![edit] };
        self.control.submit(change).await.map(|_| ()).map_err(|error| error.to_string())
    }

    fn replaced<T>(&self, change: impl FnOnce(&mut BTreeMap<NodeId, Node>) -> T) -> T {
        change(&mut self.replaced.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn take_in(&self, board: NewBoard) -> Result<Vec<u8>, String> {
        let settings = &self.control.snapshot().settings;
        if let Some(before) = settings.node(&board.node) {
            self.replaced(|replaced| replaced.insert(board.node.clone(), before.clone()));
        }
        let name = free_name(settings, &board);
        self.change(Edit::Adopt {
            node: Node { name, ..board.entry },
            replaces: board.replaces,
            compared: board.verified != Verified::Skipped,
        })
        .await?;
        let gift = self.control.gift().await.map_err(|error| error.to_string())?;
        Ok(pack(&gift))
    }

    async fn give_back(&self, board: NewBoard) -> Result<(), String> {
        match self.replaced(|replaced| replaced.remove(&board.node)) {
            Some(before) => self.change(Edit::PutNode(before)).await,
            None => self.change(Edit::RemoveNode(board.node)).await,
        }
    }

    async fn become_node(&self, node: NodeId, gift: Vec<u8>) -> Result<(), String> {
        let gift = unpack(&gift).ok_or("what it was given makes no sense to it")?;
        // From here on the settings say which node this board is, by its key.
        self.control.join(gift, Author::Local).await.map_err(|error| error.to_string())?;
        if node != self.node {
            tracing::info!("this board is node {node} now and starts again");
            let again = self.again.clone();
            tokio::spawn(async move {
                tokio::time::sleep(FAREWELL).await;
                again.notify_one();
            });
        }
        Ok(())
    }
}

impl cluster::Household for Household {
    fn claimed(&self) -> bool {
        // What cannot be read may be anything: nobody else's to take.
        let password = self.local.password_hash().map_or(true, |hash| hash.is_some());
        let member = self.control.snapshot().settings.nodes.len() > 1;
        password || member || self.control.shared(PASSWORD).is_some()
    }
    fn powered_for(&self) -> Duration {
        let own = self.board.own();
        let up = if self.aboard.is_some() { own.system.uptime_ms } else { own.uptime_ms };
        Duration::from_millis(up)
    }
    fn model(&self) -> String {
        self.board.own().system.board.unwrap_or_default()
    }
    fn wired(&self) -> Option<bool> {
        let links = self.board.own().links;
        links.iter().find(|link| link.name == "eth0").map(|link| link.running)
    }
    fn join_token(&self) -> Option<Secret> {
        self.local.join_token().ok().flatten().map(Secret::new)
    }
    fn was_removed(&self, device: &DeviceId) -> bool {
        self.control.replication().borrow().removed.contains(device)
    }
    fn blink(&self, flashes: Option<u8>) -> Answer<'_, ()> {
        Box::pin(async move {
            match &self.aboard {
                Some(aboard) => aboard.flash(flashes).await,
                None => Err("it has no LED of ours: Bramble runs there as a program".to_owned()),
            }
        })
    }
}

impl cluster::Gift for Household {
    fn invite(&self, board: NewBoard) -> Answer<'_, Vec<u8>> {
        Box::pin(self.take_in(board))
    }
    fn withdraw(&self, board: NewBoard) -> Answer<'_, ()> {
        Box::pin(self.give_back(board))
    }
    fn accept(&self, node: NodeId, gift: Vec<u8>) -> Answer<'_, ()> {
        Box::pin(self.become_node(node, gift))
    }
}

/// A new node's name; its own with a number behind it where another node has that.
fn free_name(settings: &Settings, board: &NewBoard) -> Hostname {
    let taken = |name: &Hostname| {
        let other = |node: &&Node| node.id != board.node;
        settings.nodes.iter().filter(other).any(|node| node.name == *name)
    };
    let own = &board.entry.name;
    let numbered = (2..100).filter_map(|number| format!("{own}-{number}").parse().ok());
    std::iter::once(own.clone()).chain(numbered).find(|name| !taken(name)).unwrap_or_default()
}

/// The length of the keys (4 bytes, network order), the keys, the document.
fn pack(gift: &Gift) -> Vec<u8> {
    let length = u32::try_from(gift.keys.len()).unwrap_or(u32::MAX).to_be_bytes();
    [length.as_slice(), gift.keys.as_bytes(), &gift.document].concat()
}

fn unpack(bytes: &[u8]) -> Option<Gift> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (keys, document) = rest.split_at_checked(length)?;
    Some(Gift { keys: String::from_utf8(keys.to_vec()).ok()?, document: document.to_vec() })
}

/// What this board says over mDNS.
pub(crate) fn about(
    device: DeviceId,
    household: Arc<Household>,
) -> Arc<dyn Fn() -> network::About + Send + Sync> {
    use cluster::Household;
    Arc::new(move || network::About {
        device: device.clone(),
        claimed: household.claimed(),
        model: household.model(),
        release: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

/// What others say over mDNS, told to whoever looks for boards.
pub(crate) fn found(cluster: cluster::Handle) -> Arc<dyn Fn(network::ServiceSeen) + Send + Sync> {
    Arc::new(move |seen| {
        let mut hint = cluster::Hint::new(seen.device, seen.name, seen.claimed);
        (hint.model, hint.release) = (seen.model, seen.release);
        cluster.hint(hint, &seen.addresses);
    })
}

/// The page's list of boards, on the channel and over mDNS.
pub(crate) struct PageAdoption {
    pub(crate) cluster: cluster::Handle,
    pub(crate) network: network::Handle,
}

impl webui::Adoption for PageAdoption {
    fn found(&self) -> Vec<FoundBoard> {
        self.network.browse();
        self.cluster.found()
    }
    fn look_at(&self, address: Ipv4Addr) -> webui::Answer<'_, FoundBoard> {
        Box::pin(async move { self.cluster.look_at(address).await.map_err(|e| e.to_string()) })
    }
    fn begin(&self, device: &DeviceId, as_node: Option<&NodeId>) -> webui::Answer<'_, Offer> {
        let (device, node) = (device.clone(), as_node.cloned());
        Box::pin(async move {
            self.cluster.begin(&device, node.as_ref()).await.map_err(|e| e.to_string())
        })
    }
    fn blink(&self, device: &DeviceId) -> webui::Answer<'_, ()> {
        let device = device.clone();
        Box::pin(async move { self.cluster.blink(&device).await.map_err(|e| e.to_string()) })
    }
    fn confirm(&self, device: &DeviceId) -> webui::Answer<'_, NodeId> {
        let device = device.clone();
        Box::pin(async move {
            self.cluster.confirm(&device, Verified::Code).await.map_err(|e| e.to_string())
        })
    }
    fn cancel(&self, device: &DeviceId) {
        self.cluster.cancel(device);
    }
    fn progress(&self) -> Vec<Joining> {
        self.cluster.progress()
    }
    fn asked(&self) -> Option<Asked> {
        self.cluster.asked()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gift_is_unpacked_as_it_was_packed() {
        let gift = Gift { document: vec![7; 9], keys: "{\"keys\":1}".into() };
        let bytes = pack(&gift);
        let again = unpack(&bytes).unwrap();
        assert_eq!((again.document, again.keys), (gift.document, gift.keys));
        for bytes in [&b""[..], &[0, 0], &[0, 0, 0, 5, 1], &[0xff; 8], &[0, 0, 0, 1, 0xff]] {
            assert!(unpack(bytes).is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn no_two_nodes_have_one_name() {
        let node = |id: &str, name: &str| Node {
            id: id.parse().unwrap(),
            name: name.parse().unwrap(),
            ..Node::default()
        };
        let settings = Settings {
            nodes: vec![node("a", "bramble"), node("b", "bramble-2")],
            ..Settings::default()
        };
        let board = |id: &str, name: &str| NewBoard {
            device: "a".repeat(64).parse().unwrap(),
            node: id.parse().unwrap(),
            replaces: false,
            entry: node(id, name),
            model: String::new(),
            verified: Verified::Code,
        };
        assert_eq!(free_name(&settings, &board("c", "bramble")).as_str(), "bramble-3");
        assert_eq!(free_name(&settings, &board("c", "other")).as_str(), "other");
        assert_eq!(free_name(&settings, &board("a", "bramble")).as_str(), "bramble");
    }
}
