//! Typed changes to the settings, each with the sentence the history shows.

use crate::admin::Admin;
use crate::balancing::{Backend, DEFAULT_BACKEND, Frontend};
use crate::certificate::Certificate;
use crate::cluster::Cluster;
use crate::derive::{default_backend, web_servers};
use crate::net::Cidr;
use crate::node::Node;
use crate::server::{Server, ServerAgent, ServerHealth, ServerState};
use crate::settings::Settings;
use crate::site::Site;
use crate::text::{DeviceId, InterfaceName, Name, NodeId};
use crate::units::Weight;
use crate::virtual_router::VrrpInstance;
use crate::wifi::Wifi;
use std::net::Ipv4Addr;

/// One change. `Put…` adds an entry or replaces the one of the same name.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// The whole document.
    Replace(Box<Settings>),
    /// The `cluster` section.
    PutCluster(Cluster),
    /// A board.
    PutNode(Node),
    /// A board that was taken in, as a new node or as another board for one: then the node stays
    /// what it is but for the key.
    Adopt {
        /// Its entry.
        node: Node,
        /// It takes the place of another board.
        replaces: bool,
        /// It was made sure that it is the board that is meant.
        compared: bool,
    },
    /// The key of a board that had none so far; a key that is there stays.
    PinNode {
        /// Its identity.
        node: NodeId,
        /// Its key's fingerprint.
        device: DeviceId,
    },
    /// A board that is gone.
    RemoveNode(NodeId),
    /// The `wifi` section.
    PutWifi(Wifi),
    /// A site.
    PutSite(Site),
    /// A site's entry; its files stay.
    RemoveSite(Name),
    /// A certificate.
    PutCertificate(Certificate),
    /// A certificate's entry.
    RemoveCertificate(Name),
    /// A frontend.
    PutFrontend(Frontend),
    /// A frontend's entry.
    RemoveFrontend(Name),
    /// A backend.
    PutBackend(Backend),
    /// A backend's entry.
    RemoveBackend(Name),
    /// Weight or state of one server, derived or written.
    SetServer {
        /// Its backend.
        backend: Name,
        /// Its name.
        server: Name,
        /// A new weight.
        weight: Option<Weight>,
        /// A new state.
        state: Option<ServerState>,
        /// Whose word on its health counts from now on.
        health: Option<ServerHealth>,
        /// Whose word counts in the place of its agent from now on.
        agent: Option<ServerAgent>,
    },
    /// A virtual router.
    PutVrrp(VrrpInstance),
    /// A virtual router's entry.
    RemoveVrrp(Name),
    /// The `admin` section.
    PutAdmin(Admin),
    /// A change of a board's address or router that nobody confirmed goes back.
    TakeBack(TakeBack),
}

/// What one interface had before a change that could have locked everybody out.
#[derive(Clone, Debug, PartialEq)]
pub struct TakeBack {
    /// The board.
    pub node: NodeId,
    /// Its interface, `eth0` or `wlan0`.
    pub interface: InterfaceName,
    /// The static address it had.
    pub address: Option<Cidr>,
    /// The router it had of its own.
    pub gateway: Option<Ipv4Addr>,
    /// The cluster's router, where it was that which had changed.
    pub cluster_gateway: Option<Option<Ipv4Addr>>,
    /// What happened, for the history: a whole sentence without its full stop.
    pub why: String,
}

/// An edit that names something the settings do not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no {kind} named {name:?}; reload the page to see what there is now")]
pub struct EditError {
    kind: &'static str,
    name: String,
}

impl Edit {
    /// Makes the change, or leaves the settings alone.
    ///
    /// # Errors
    /// When the edit names an entry that does not exist.
    pub fn apply(&self, settings: &mut Settings) -> Result<(), EditError> {
        match self {
            Self::Replace(next) => {
                let mut next = (**next).clone();
                next.keep_devices(settings);
                *settings = next;
            }
            Self::PutCluster(c) => settings.cluster = c.clone(),
            Self::PutNode(n) => put(&mut settings.nodes, n, |e| e.id == n.id),
            Self::Adopt { node, .. } => match settings.nodes.iter_mut().find(|n| n.id == node.id) {
                Some(old) => old.device.clone_from(&node.device),
                None => settings.nodes.push(node.clone()),
            },
            Self::PinNode { node, device } => {
                let missing = || EditError { kind: "node", name: node.to_string() };
                let entry = settings.nodes.iter_mut().find(|n| n.id == *node);
                entry.ok_or_else(missing)?.device.get_or_insert_with(|| device.clone());
            }
            Self::RemoveNode(id) => {
                remove(&mut settings.nodes, "node", id.as_str(), |e| &e.id == id)?
            }
            Self::PutWifi(w) => settings.wifi = w.clone(),
            Self::PutSite(s) => put(&mut settings.sites, s, |e| e.name == s.name),
            Self::RemoveSite(n) => {
                remove(&mut settings.sites, "site", n.as_str(), |e| &e.name == n)?
            }
            Self::PutCertificate(c) => put(&mut settings.certificates, c, |e| e.name == c.name),
            Self::RemoveCertificate(n) => {
                remove(&mut settings.certificates, "certificate", n.as_str(), |e| &e.name == n)?;
            }
            Self::PutFrontend(f) => put(&mut settings.frontends, f, |e| e.name == f.name),
            Self::RemoveFrontend(n) => {
                remove(&mut settings.frontends, "frontend", n.as_str(), |e| &e.name == n)?;
            }
            Self::PutBackend(b) => put(&mut settings.backends, b, |e| e.name == b.name),
            Self::RemoveBackend(n) => {
                remove(&mut settings.backends, "backend", n.as_str(), |e| &e.name == n)?;
            }
            Self::SetServer { backend, server, weight, state, health, agent } => {
                let entry = written_server(settings, backend, server)?;
                entry.weight = weight.unwrap_or(entry.weight);
                entry.health = health.unwrap_or(entry.health);
                entry.agent = agent.unwrap_or(entry.agent);
                entry.state = state.unwrap_or(entry.state);
            }
            Self::PutVrrp(v) => put(&mut settings.vrrp, v, |e| e.name == v.name),
            Self::RemoveVrrp(n) => {
                remove(&mut settings.vrrp, "virtual router", n.as_str(), |e| &e.name == n)?
            }
            Self::PutAdmin(a) => settings.admin = a.clone(),
            Self::TakeBack(before) => {
                let missing = || EditError { kind: "node", name: before.node.to_string() };
                let mut nodes = settings.nodes.iter_mut();
                let node = nodes.find(|n| n.id == before.node).ok_or_else(missing)?;
                let link = match before.interface.as_str() {
                    "eth0" => &mut node.eth0,
                    "wlan0" => &mut node.wlan0,
                    other => {
                        return Err(EditError { kind: "interface", name: other.to_owned() });
                    }
                };
                link.address = before.address;
                link.gateway = before.gateway;
                if let Some(gateway) = before.cluster_gateway {
                    settings.cluster.gateway = gateway;
                }
            }
        }
        Ok(())
    }

    /// What the history says of it.
    pub fn sentence(&self) -> String {
        match self {
            Self::Replace(_) => "replaced the whole settings document".to_owned(),
            Self::PutCluster(_) => "changed the cluster's settings".to_owned(),
            Self::PutNode(n) => format!("changed node {}", n.name),
            Self::Adopt { node, replaces, compared } => {
                let what = if *replaces { "another board for node" } else { "a board as node" };
                let how = if *compared { "" } else { ", without comparing its code" };
                format!("took in {what} {}{how}", node.id)
            }
            Self::PinNode { node, .. } => format!("met node {node} and pinned its key"),
            Self::RemoveNode(id) => format!("removed node {id}"),
            Self::PutWifi(_) => "changed the Wi-Fi settings".to_owned(),
            Self::PutSite(s) => format!("changed site {}", s.name),
            Self::RemoveSite(n) => format!("removed site {n}"),
            Self::PutCertificate(c) => format!("changed certificate {}", c.name),
            Self::RemoveCertificate(n) => format!("removed certificate {n}"),
            Self::PutFrontend(f) => format!("changed frontend {}", f.name),
            Self::RemoveFrontend(n) => format!("removed frontend {n}"),
            Self::PutBackend(b) => format!("changed backend {}", b.name),
            Self::RemoveBackend(n) => format!("removed backend {n}"),
            Self::SetServer { backend, server, weight, state, health, agent } => {
                let mut what = Vec::new();
                what.extend(weight.map(|w| format!("weight {w}")));
                what.extend(state.map(|s| s.keyword().to_owned()));
                what.extend(health.map(|h| format!("health {h}")));
                what.extend(agent.map(|a| format!("agent {a}")));
                format!("set {backend}/{server} to {}", what.join(" and "))
            }
            Self::PutVrrp(v) => format!("changed virtual router {}", v.name),
            Self::RemoveVrrp(n) => format!("removed virtual router {n}"),
            Self::PutAdmin(_) => "changed the admin page's settings".to_owned(),
            Self::TakeBack(before) => before.why.clone(),
        }
    }
}

fn put<T: Clone>(list: &mut Vec<T>, entry: &T, same: impl Fn(&T) -> bool) {
    match list.iter_mut().find(|e| same(e)) {
        Some(old) => *old = entry.clone(),
        None => list.push(entry.clone()),
    }
}

fn remove<T>(
    list: &mut Vec<T>,
    kind: &'static str,
    name: &str,
    same: impl Fn(&T) -> bool,
) -> Result<(), EditError> {
    let before = list.len();
    list.retain(|e| !same(e));
    if list.len() == before {
        return Err(EditError { kind, name: name.to_owned() });
    }
    Ok(())
}

/// The written entry of a server, made first where the server was only derived so far.
fn written_server<'a>(
    settings: &'a mut Settings,
    backend: &Name,
    server: &Name,
) -> Result<&'a mut Server, EditError> {
    let all = settings.completed();
    let missing = |kind, name: &Name| EditError { kind, name: name.as_str().to_owned() };
    let whole = all.backend(backend).ok_or_else(|| missing("backend", backend))?;
    let brought = whole.web_nodes && web_servers(&all).iter().any(|(name, ..)| name == server);
    if !brought && !whole.servers.iter().any(|s| &s.name == server) {
        return Err(missing("server", server));
    }
    if settings.backend(backend).is_none() {
        debug_assert_eq!(backend.as_str(), DEFAULT_BACKEND);
        settings.backends.push(default_backend());
    }
    let entry = settings
        .backends
        .iter_mut()
        .find(|b| &b.name == backend)
        .ok_or_else(|| missing("backend", backend))?;
    let at = match entry.servers.iter().position(|s| &s.name == server) {
        Some(at) => at,
        None => {
            entry.servers.push(Server { name: server.clone(), ..Server::default() });
            entry.servers.len() - 1
        }
    };
    entry.servers.get_mut(at).ok_or_else(|| missing("server", server))
}
