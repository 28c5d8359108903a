//! Where one subsystem's need meets another's handle. A few lines each, no decisions.

use control::StatusBoard;
use init::{Deed, Guardian};
use journal::Journal;
use model::audit::{Listed, Query, Record};
use model::session::Session;
use model::statistics::{Answer, Asked};
use model::status::FailoverReport;
use model::{Cidr, Name, NodeId};
use network::Kernel;
use std::future::Future;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::sync::Arc;
use store::{AuditLog, Local, Sessions};
use tokio::sync::watch;
use tokio::task::JoinSet;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// VRRP's floating IPs, over the network crate's netlink.
pub(crate) struct FloatingAddresses(pub(crate) Kernel);

impl vrrp::Addresses for FloatingAddresses {
    fn interface(&mut self, name: &str) -> io::Result<Option<vrrp::InterfaceState>> {
        let found = self.0.interface(name)?;
        Ok(found.map(|i| vrrp::InterfaceState {
            index: i.index,
            mac: i.mac,
            running: i.running,
            addresses: i.addresses,
        }))
    }
    fn add(&mut self, interface: &str, address: Cidr) -> io::Result<()> {
        self.0.add(interface, address)
    }
    fn remove(&mut self, interface: &str, address: Cidr) -> io::Result<()> {
        self.0.remove(interface, address)
    }
    fn events(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.events())
    }
    fn drain_events(&mut self) {
        // Nothing is read from the events: each one only says "look again", and so does an error.
        let _ = self.0.drain_events();
    }
}

/// VRRP's last will, in the guardian's hands.
pub(crate) struct Will(pub(crate) Guardian);

/// RFC 9568 5.1.1.2 and 5.1.1.4.
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const PROTOCOL: u8 = 112;

impl vrrp::LastWill for Will {
    fn write(&mut self, will: &[vrrp::Testament]) {
        let deeds: Vec<Deed> = will
            .iter()
            .map(|t| Deed {
                interface: t.interface.clone(),
                source: t.source,
                protocol: PROTOCOL,
                group: GROUP,
                packet: t.farewell.clone(),
                addresses: t.addresses.clone(),
            })
            .collect();
        if let Err(error) = self.0.write(&deeds) {
            tracing::warn!(
                "the guardian cannot be reached, a crash would be noticed late: {error}"
            );
        }
    }
}

/// The mirror's streams, over the node channel.
pub(crate) struct MirrorTransport(pub(crate) cluster::Handle);

impl mirror::Transport for MirrorTransport {
    fn open<'a>(&'a self, to: &'a NodeId) -> Boxed<'a, io::Result<Box<dyn mirror::Stream>>> {
        Box::pin(async move {
            let stream = self.0.open(to, cluster::Service::Mirror).await?;
            let boxed: Box<dyn mirror::Stream> = Box::new(stream);
            Ok(boxed)
        })
    }
}

/// Hands incoming mirror streams to the mirror.
pub(crate) fn serve_mirror(mirror: mirror::Handle) -> cluster::Handler {
    Arc::new(move |peer, stream| {
        let mirror = mirror.clone();
        Box::pin(async move { mirror.serve(peer, Box::new(stream)).await })
    })
}

/// What the network remembers, in the store.
pub(crate) struct ConfirmedNetwork(pub(crate) Local);

impl network::trial::Memory for ConfirmedNetwork {
    fn recall(&self) -> Option<String> {
        self.0.network().unwrap_or_else(|error| {
            tracing::warn!("the network settings in use are not remembered: {error}");
            None
        })
    }
    fn keep(&self, text: &str) -> Result<(), String> {
        self.0.set_network(text).map_err(|e| e.to_string())
    }
}

/// The network's witnesses: the nodes in reach, over the node channel.
pub(crate) struct BoardsAround {
    pub(crate) cluster: cluster::Handle,
    pub(crate) board: StatusBoard,
}

impl network::trial::Witness for BoardsAround {
    fn call<'a>(&'a self, call: network::trial::Call) -> Boxed<'a, ()> {
        Box::pin(async move {
            let mut asked = JoinSet::new();
            for node in self.board.nodes().into_iter().skip(1).filter(|node| node.reachable) {
                let cluster = self.cluster.clone();
                asked.spawn(async move {
                    let stream = cluster.open(&node.status.id, cluster::Service::Witness).await?;
                    network::trial::ask(stream, call).await
                });
            }
            while let Some(asked) = asked.join_next().await {
                if let Ok(Err(error)) = asked {
                    tracing::debug!("a node could not be asked: {error}");
                }
            }
        })
    }
}

/// This node as a witness for others.
pub(crate) fn bear_witness(board: StatusBoard) -> cluster::Handler {
    Arc::new(move |peer, stream| {
        let name = board.own().name;
        Box::pin(async move {
            if let Err(error) = network::trial::answer(stream, &name).await {
                tracing::debug!("{peer} asked for a witness: {error}");
            }
        })
    })
}

/// The page's sessions, in the store.
pub(crate) struct PageSessions(pub(crate) Sessions);

impl webui::SessionRows for PageSessions {
    fn load(&self, id: &str) -> Result<Option<Session>, String> {
        Ok(self.0.load(id))
    }
    fn save(&self, session: &Session) -> Result<(), String> {
        self.0.save(session).map_err(|e| e.to_string())
    }
    fn list(&self) -> Result<Vec<Session>, String> {
        Ok(self.0.list())
    }
    fn end(&self, id: &str) -> Result<(), String> {
        self.0.end(id).map_err(|e| e.to_string())
    }
    fn end_all_except(&self, id: Option<&str>) -> Result<(), String> {
        self.0.end_all_except(id).map_err(|e| e.to_string())
    }
    fn tidy(&self) -> Result<(), String> {
        self.0.tidy().map_err(|e| e.to_string())
    }
    fn endings(&self) -> watch::Receiver<u64> {
        self.0.endings()
    }
}

/// The page's audit log, in the store.
pub(crate) struct PageAudit(pub(crate) AuditLog);

impl webui::Audit for PageAudit {
    fn record(&self, record: &Record) -> Result<(), String> {
        self.0.record(record).map_err(|e| e.to_string())
    }
    fn list(&self, query: &Query) -> Result<Listed, String> {
        self.0.list(query).map_err(|e| e.to_string())
    }
}

/// The page's failover button, on VRRP.
pub(crate) struct PageFailover(pub(crate) vrrp::Handle);

impl webui::Failover for PageFailover {
    fn failover<'a>(&'a self, name: &'a Name) -> Boxed<'a, Result<FailoverReport, String>> {
        Box::pin(async move { self.0.failover(name).await.map_err(|e| e.to_string()) })
    }
}

/// The page's word on a held deletion, to the mirror.
pub(crate) struct PageApproval(pub(crate) mirror::Handle);

impl webui::MirrorApproval for PageApproval {
    fn approve<'a>(&'a self, site: &'a Name) -> Boxed<'a, ()> {
        Box::pin(self.0.approve(site))
    }
}

/// The page's question who has an address, to the network.
pub(crate) struct PageProbe(pub(crate) network::Handle);

impl webui::AddressProbe for PageProbe {
    fn who_has(&self, address: Ipv4Addr) -> Boxed<'_, Result<Option<String>, String>> {
        Box::pin(self.0.who_has(address))
    }
}

/// The page's word on a network change that is tried out.
pub(crate) struct PageTrials(pub(crate) network::Handle);

impl webui::NetworkTrials for PageTrials {
    fn keep(&self, through: Ipv4Addr) -> Result<(), String> {
        self.0.keep(through)
    }
}

/// The page's view of the access log, in the proxy.
pub(crate) struct PageLog(pub(crate) proxy::Handle);

impl webui::AccessLog for PageLog {
    fn recent(&self) -> Vec<String> {
        self.0.recent_log()
    }
    fn charts(&self) -> Vec<model::charts::Series> {
        self.0.charts()
    }
    fn paths(&self) -> Vec<model::charts::Paths> {
        self.0.paths()
    }
    fn shut_down_sessions(&self, backend: &Name, server: &Name) -> bool {
        self.0.shut_down_sessions(backend, server)
    }
}

/// The statistics page of frontends, drawn on the admin page's thread: those of the balancer carry
/// traffic.
pub(crate) struct FrontendStatistics {
    pub(crate) page: webui::Statistics,
    pub(crate) runtime: tokio::runtime::Handle,
}

impl proxy::Statistics for FrontendStatistics {
    fn answer(&self, asked: Asked) -> Boxed<'static, Answer> {
        let page = self.page.clone();
        let drawn = self.runtime.spawn(async move { page.answer(asked).await });
        Box::pin(async move {
            drawn.await.unwrap_or_else(|_| Answer { status: 500, ..Answer::default() })
        })
    }
}

/// The page's view of the log.
pub(crate) struct PageJournal {
    pub(crate) journal: Journal,
    pub(crate) last_words: Option<String>,
}

/// As much as fits a page.
const LINES: usize = 2000;

impl webui::Journal for PageJournal {
    fn recent(&self) -> Vec<String> {
        self.journal.recent(LINES)
    }
    fn last_words(&self) -> Option<String> {
        self.last_words.clone()
    }
}
