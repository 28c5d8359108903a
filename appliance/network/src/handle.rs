//! What the rest of the appliance may ask of this crate.

use crate::plan::{Learned, Wanted};
use crate::view::View;
use model::status::LinkStatus;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What others may ask. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Handle {
    links: Arc<Mutex<Vec<LinkStatus>>>,
    reserved: Arc<Mutex<BTreeSet<String>>>,
    news: Arc<Notify>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is held is valid after any panic: single assignments only.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Handle {
    /// This node's network interfaces as the kernel has them now.
    pub fn links(&self) -> Vec<LinkStatus> {
        lock(&self.links).clone()
    }

    /// Leaves an interface to somebody else, the setup access point for instance: what this crate
    /// has set on it is removed, and neither the settings nor a DHCP server give it an address
    /// until [`Self::give_back`]. Names are answered on it with the addresses it has.
    pub fn reserve(&self, interface: &str) {
        if lock(&self.reserved).insert(interface.to_owned()) {
            self.news.notify_one();
        }
    }

    /// The interface is this crate's again.
    pub fn give_back(&self, interface: &str) {
        if lock(&self.reserved).remove(interface) {
            self.news.notify_one();
        }
    }

    pub(crate) fn reserved(&self) -> BTreeSet<String> {
        lock(&self.reserved).clone()
    }

    pub(crate) fn news(&self) -> Arc<Notify> {
        self.news.clone()
    }

    /// True if this is news.
    pub(crate) fn set(&self, wanted: &Wanted, known: &Learned, view: &View) -> bool {
        let links = links(wanted, known, view);
        let mut held = lock(&self.links);
        let news = *held != links;
        *held = links;
        news
    }
}

/// The interfaces the page shows: those of a board, and those of the settings.
fn links(wanted: &Wanted, known: &Learned, view: &View) -> Vec<LinkStatus> {
    let mut names: Vec<&str> = wanted.links.iter().map(|l| l.name.as_str()).collect();
    for (name, _) in model::Node::default().links() {
        if !names.contains(&name) && view.interface(name).is_some() {
            names.push(name);
        }
    }
    let dhcp = |name: &str| known.sources.get(name).map(|source| source.status());
    let status = |name| LinkStatus { dhcp: dhcp(name), ..link_status(name, view) };
    names.into_iter().map(status).collect()
}

fn link_status(name: &str, view: &View) -> LinkStatus {
    let Some(interface) = view.interface(name) else {
        return LinkStatus { name: name.to_owned(), ..LinkStatus::default() };
    };
    let addresses = view.addresses.iter().filter(|a| a.interface == interface.index);
    let mac: Vec<String> = interface.mac.iter().map(|b| format!("{b:02x}")).collect();
    LinkStatus {
        name: name.to_owned(),
        running: interface.up && interface.running,
        mac: mac.join(":"),
        addresses: addresses.map(|a| a.address).collect(),
        dhcp: None,
    }
}
