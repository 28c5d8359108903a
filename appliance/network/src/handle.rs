//! What the rest of the appliance may ask of this crate.

use crate::check::{self, Reach};
use crate::neighbours::runner::Found;
use crate::neighbours::watch::Finding;
use crate::plan::{Learned, Wanted};
use crate::trial::trials::Command;
use crate::trial::words;
use crate::view::View;
use model::status::{AddressConflict, LinkStatus, NetworkCheck, NetworkTrial, TrialState};
use model::{ADMIN_PORT, Cidr};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What others may ask. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Handle {
    links: Arc<Mutex<Vec<LinkStatus>>>,
    commands: Arc<Mutex<Vec<Command>>>,
    reach: Arc<Mutex<Reach>>,
    addresses: Arc<Mutex<BTreeMap<String, Ipv4Addr>>>,
    reserved: Arc<Mutex<BTreeSet<String>>>,
    setups: Arc<Mutex<Setups>>,
    news: Arc<Notify>,
    setup_news: Arc<Notify>,
    browse: Arc<Notify>,
}

/// Address and page of each setup access point.
type Setups = BTreeMap<String, (Cidr, String)>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is held is valid after any panic: single assignments only.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Handle {
    /// This node's network interfaces as the kernel has them now.
    pub fn links(&self) -> Vec<LinkStatus> {
        lock(&self.links).clone()
    }

    /// The address by which this node is reached over an interface that carries traffic: from the
    /// settings or from a DHCP server, neither floating nor link-local.
    pub fn address(&self, interface: &str) -> Option<Ipv4Addr> {
        lock(&self.addresses).get(interface).copied()
    }

    /// Makes an interface the network of a setup access point: reserves it, gives it this address
    /// and serves phones on it ([`serve`](crate::setup::serve)) as soon as it is there, until
    /// [`Self::close_setup`]. `url` is the page they are told of. Never blocks.
    pub fn open_setup(&self, interface: &str, address: Cidr, url: &str) {
        self.reserve(interface);
        lock(&self.setups).insert(interface.to_owned(), (address, url.to_owned()));
        self.setup_news.notify_one();
    }

    /// Ends that, takes the address away and gives the interface back. Never blocks.
    pub fn close_setup(&self, interface: &str) {
        lock(&self.setups).remove(interface);
        self.setup_news.notify_one();
        self.give_back(interface);
    }

    pub(crate) fn setups(&self) -> Setups {
        lock(&self.setups).clone()
    }

    pub(crate) fn setup_news(&self) -> Arc<Notify> {
        self.setup_news.clone()
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

    /// The operator has opened the page at this address of this node and says that the change of
    /// addresses that is tried may stay.
    ///
    /// # Errors
    /// When nothing is tried, or the page was opened where it will be gone: what to do.
    pub fn keep(&self, through: Ipv4Addr) -> Result<(), String> {
        let links = self.links();
        let mut tried = links.iter().filter_map(|link| {
            let trial = link.trial.as_ref()?;
            matches!(trial.state, TrialState::Trying { .. }).then_some((link, trial))
        });
        let Some((link, trial)) = tried.next() else {
            return Err("no change of addresses is being tried on this node".to_owned());
        };
        let Some(address) = trial.address else {
            return Err(format!("{} has no new address yet; try again in a moment", link.name));
        };
        let here = link.addresses.iter().any(|a| a.addr() == through);
        if here && through != address {
            return Err(format!(
                "this page was opened at {through}, the address before the change; open it at                  http://{address}:{ADMIN_PORT}/ and keep the change there"
            ));
        }
        self.command(Command::Keep);
        Ok(())
    }

    /// Tries out this node's network, once. Takes about two seconds, and up to five when names
    /// have to be found first.
    pub fn check(&self) -> impl Future<Output = NetworkCheck> + Send + 'static {
        let reach = lock(&self.reach).clone();
        check::check(reach)
    }

    /// The hardware address of who has this address (RFC 5227); None: nobody answers.
    ///
    /// # Errors
    /// Why nobody can be asked, for the operator.
    pub async fn who_has(&self, address: Ipv4Addr) -> Result<Option<String>, String> {
        let reach = lock(&self.reach).clone();
        check::who_has(&reach, address).await
    }

    pub(crate) fn set_reach(&self, reach: Reach) {
        *lock(&self.reach) = reach;
    }

    /// Somebody looks for boards: they are asked for, for a while. What they say goes to
    /// [`Options::found`](crate::Options::found). Never blocks.
    pub fn browse(&self) {
        self.browse.notify_one();
    }

    pub(crate) fn browsing(&self) -> Arc<Notify> {
        self.browse.clone()
    }

    /// What the settings say at this moment is right, because it was said at the board itself.
    /// Never blocks.
    pub fn vouch(&self) {
        self.command(Command::Vouch);
    }

    fn command(&self, command: Command) {
        lock(&self.commands).push(command);
        self.news.notify_one();
    }

    pub(crate) fn commands(&self) -> Vec<Command> {
        std::mem::take(&mut *lock(&self.commands))
    }

    pub(crate) fn reserved(&self) -> BTreeSet<String> {
        lock(&self.reserved).clone()
    }

    pub(crate) fn news(&self) -> Arc<Notify> {
        self.news.clone()
    }

    /// True if this is news.
    pub(crate) fn set(&self, wanted: &Wanted, known: &Learned, seen: &Seen<'_>) -> bool {
        let view = seen.view;
        let reached = wanted.links.iter().filter(|link| {
            let running = view.interface(&link.name).is_some_and(|i| i.up && i.running);
            running && !link.address.addr().is_link_local()
        });
        let reached = reached.map(|link| (link.name.clone(), link.address.addr())).collect();
        *lock(&self.addresses) = reached;
        let links = links(wanted, known, seen);
        let mut held = lock(&self.links);
        let news = held.len() != links.len()
            || held
                .iter()
                .zip(&links)
                .any(|(old, new)| without_seconds(old) != without_seconds(new));
        *held = links;
        news
    }
}

/// What was found out about the interfaces.
pub(crate) struct Seen<'a> {
    pub(crate) view: &'a View,
    pub(crate) found: &'a BTreeMap<String, Found>,
    pub(crate) trials: &'a BTreeMap<String, NetworkTrial>,
}

/// That a second has passed is no news.
fn without_seconds(link: &LinkStatus) -> LinkStatus {
    let mut link = link.clone();
    if let Some(NetworkTrial { state: TrialState::Trying { seconds_left, .. }, .. }) =
        &mut link.trial
    {
        *seconds_left = 0;
    }
    link
}

/// The interfaces the page shows: those of a board, and those of the settings.
fn links(wanted: &Wanted, known: &Learned, seen: &Seen<'_>) -> Vec<LinkStatus> {
    let mut names: Vec<&str> = wanted.links.iter().map(|l| l.name.as_str()).collect();
    for (name, _) in model::Node::default().links() {
        if !names.contains(&name) && seen.view.interface(name).is_some() {
            names.push(name);
        }
    }
    let status = |name: &str| LinkStatus {
        dhcp: known.sources.get(name).map(|source| source.status()),
        conflict: conflict(name, seen),
        trial: seen.trials.get(name).cloned(),
        ..link_status(name, seen.view)
    };
    names.into_iter().map(status).collect()
}

/// Somebody else with an address that this node has, or wants.
pub(crate) fn conflict(name: &str, seen: &Seen<'_>) -> Option<AddressConflict> {
    let index = seen.view.interface(name)?.index;
    let findings = &seen.found.get(name)?.findings;
    findings.iter().find_map(|(address, finding)| match finding {
        Finding::Taken(mac) => Some(AddressConflict {
            address: *address,
            mac: words(*mac),
            used: seen
                .view
                .addresses
                .iter()
                .any(|a| a.interface == index && a.address.addr() == *address),
        }),
        Finding::Asking | Finding::Free => None,
    })
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
        ..LinkStatus::default()
    }
}
