//! The edge: one task for each interface without an address in the settings.

use crate::dhcp::client::Output;
use crate::dhcp::machine::{Input, Machine, Source};
use crate::dhcp::message::{Kind, Message};
use crate::dhcp::sockets::{Received, Sockets};
use crate::uptime;
use model::Cidr;
use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// After the kernel would not open a socket.
const RETRY: Duration = Duration::from_secs(2);
/// Between two looks at the clock when nothing is due: a timer may not count time asleep.
const LOOK: Duration = Duration::from_secs(60);
/// Packets that make no sense are counted; beyond so many in a row a pause is made.
const FLOOD: u32 = 200;
const FLOOD_PAUSE: Duration = Duration::from_millis(100);

/// Remembers the address an interface was lent across power cuts, so that it asks for the same
/// one first. Called when it changes, never for a mere renewal.
pub trait LeaseMemory: Send + Sync {
    /// What was kept last for this interface.
    fn recall(&self, interface: &str) -> Option<Ipv4Addr>;
    /// Keeps it. May block for a moment.
    fn keep(&self, interface: &str, address: Ipv4Addr);
}

/// An interface as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) index: u32,
    pub(crate) mac: [u8; 6],
    pub(crate) carrier: bool,
    /// The name to give to the server.
    pub(crate) host_name: Option<String>,
}

/// The address and the router that a process before this one left on an interface.
pub(crate) type Found = Option<(Cidr, Option<Ipv4Addr>)>;

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

type Sources = Arc<Mutex<BTreeMap<String, Source>>>;

/// The clients of all interfaces.
pub(crate) struct Clients {
    tasks: BTreeMap<String, Task>,
    sources: Sources,
    news: Arc<Notify>,
    memory: Option<Arc<dyn LeaseMemory>>,
}

impl Clients {
    pub(crate) fn new(memory: Option<Arc<dyn LeaseMemory>>) -> Self {
        Self { tasks: BTreeMap::new(), sources: Sources::default(), news: Arc::default(), memory }
    }

    /// Wakes up when an interface has got or lost an address.
    pub(crate) fn news(&self) -> Arc<Notify> {
        self.news.clone()
    }

    pub(crate) fn sources(&self) -> BTreeMap<String, Source> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs a client for each of these, and for no other interface. `found` is asked when one is
    /// started.
    pub(crate) fn follow(&mut self, places: Vec<Place>, found: impl Fn(&Place) -> Found) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = |name: &str| places.iter().any(|p| p.name == name);
        self.tasks.retain(|name, _| wanted(name));
        sources.retain(|name, _| wanted(name));
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
                // Another adapter under the same name: nothing of the old one holds.
                sources.remove(&name);
            }
            let found = found(&place);
            let machine = self.machine(&place, found);
            sources.insert(name.clone(), machine.source());
            let (sender, receiver) = watch::channel(place);
            let edge = Edge {
                name: name.clone(),
                machine,
                sources: self.sources.clone(),
                news: self.news.clone(),
                memory: self.memory.clone(),
                said: String::new(),
            };
            let task = tokio::spawn(edge.run(receiver));
            self.tasks.insert(name, Task { place: sender, task });
        }
    }

    fn machine(&self, place: &Place, found: Found) -> Machine {
        let hint = self.memory.as_ref().and_then(|memory| memory.recall(&place.name));
        Machine::new(place.mac, found, hint, uptime::now())
    }
}

struct Edge {
    name: String,
    machine: Machine,
    sources: Sources,
    news: Arc<Notify>,
    memory: Option<Arc<dyn LeaseMemory>>,
    /// Why it last could not ask.
    said: String,
}

impl Edge {
    async fn run(mut self, mut place: watch::Receiver<Place>) {
        loop {
            let now = place.borrow_and_update().clone();
            self.machine.set_host_name(now.host_name.clone());
            let sockets =
                if now.carrier { Sockets::open(&now.name, now.index) } else { Err(off()) };
            let ended = match &sockets {
                Ok(sockets) => {
                    self.act(&Input::Carrier(true), Some(sockets));
                    self.connected(sockets, &mut place).await
                }
                Err(error) => {
                    let why = error.to_string();
                    if now.carrier && why != self.said {
                        tracing::warn!("{} cannot ask for an address: {why}", self.name);
                        self.said = why;
                    }
                    self.act(&Input::Carrier(false), None);
                    let retry = if now.carrier { RETRY } else { LOOK };
                    self.idle(retry, &mut place).await
                }
            };
            if ended.is_none() {
                return;
            }
        }
    }

    /// Without a carrier; None: it is over.
    async fn idle(&mut self, retry: Duration, place: &mut watch::Receiver<Place>) -> Option<()> {
        tokio::select! {
            changed = place.changed() => changed.ok(),
            () = tokio::time::sleep(retry.min(self.pause())) => Some(()),
        }
    }

    /// Until the carrier goes or the sockets fail; None: it is over.
    async fn connected(
        &mut self,
        sockets: &Sockets,
        place: &mut watch::Receiver<Place>,
    ) -> Option<()> {
        let mut garbage = 0;
        let mut watched = None;
        loop {
            let watch = self.machine.watched();
            if watched.as_ref() != Some(&watch) {
                if let Err(error) = sockets.watch(&watch) {
                    tracing::debug!("{}: no filter: {error}", self.name);
                }
                watched = Some(watch);
            }
            tokio::select! {
                changed = place.changed() => {
                    changed.ok()?;
                    let now = place.borrow_and_update().clone();
                    self.machine.set_host_name(now.host_name.clone());
                    if !now.carrier {
                        place.mark_changed();
                        return Some(());
                    }
                }
                received = sockets.receive() => match received {
                    Ok(Received::Message(message)) => {
                        self.act(&Input::Message(&message), Some(sockets));
                    }
                    Ok(Received::Arp(arp)) => self.act(&Input::Arp(&arp), Some(sockets)),
                    Ok(Received::Garbage) => {
                        garbage += 1;
                        if garbage % FLOOD == 0 {
                            tokio::time::sleep(FLOOD_PAUSE).await;
                        }
                    }
                    Err(error) => {
                        tracing::debug!("{}: {error}", self.name);
                        self.act(&Input::Carrier(false), None);
                        return self.idle(RETRY, place).await;
                    }
                },
                () = tokio::time::sleep(self.pause()) => self.act(&Input::Time, Some(sockets)),
            }
        }
    }

    fn pause(&self) -> Duration {
        let due = self.machine.due().map(|due| due.saturating_sub(uptime::now()));
        due.map_or(LOOK, |due| due.min(LOOK))
    }

    fn act(&mut self, input: &Input<'_>, sockets: Option<&Sockets>) {
        for output in self.machine.handle(input, uptime::now()) {
            let Some(sockets) = sockets else { continue };
            if let Output::Broadcast(Message {
                kind: Kind::Decline, requested: Some(taken), ..
            }) = &output
            {
                let name = &self.name;
                tracing::warn!(
                    "{name} was lent {taken}, but another host uses that address already; it asks \
                     for another one"
                );
            }
            if let Err(error) = sockets.send(&output) {
                // Asked again later: the interface may be going down this very moment.
                tracing::debug!("{}: {output:?} was not sent: {error}", self.name);
            }
        }
        self.publish();
    }

    fn publish(&self) {
        let source = self.machine.source();
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let before = sources.insert(self.name.clone(), source.clone());
        drop(sources);
        if before.as_ref() == Some(&source) {
            return;
        }
        let address = |s: &Source| s.lease.as_ref().map(|l| l.address);
        let (old, new) = (before.as_ref().and_then(address), address(&source));
        if old != new {
            self.say(old, &source);
        }
        self.news.notify_one();
    }

    fn say(&self, old: Option<Cidr>, source: &Source) {
        let name = &self.name;
        match (&source.lease, old) {
            (Some(lease), _) => {
                tracing::info!(
                    "{name} has {} from the DHCP server {}",
                    lease.address,
                    lease.server
                );
                let granted = lease.seconds.is_some() || lease.over.is_none();
                if let (Some(memory), true) = (&self.memory, granted) {
                    let (memory, address) = (memory.clone(), lease.address.addr());
                    let name = name.clone();
                    tokio::task::spawn_blocking(move || memory.keep(&name, address));
                }
            }
            (None, Some(old)) => tracing::warn!("{name} may no longer use {old}"),
            (None, None) => {}
        }
    }
}

fn off() -> io::Error {
    io::Error::from_raw_os_error(libc::ENETDOWN)
}
