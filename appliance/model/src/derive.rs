//! From what the operator says to what the subsystems run.

use crate::admin::NODE_PORT;
use crate::balancing::{Backend, DEFAULT_BACKEND, DEFAULT_FRONTEND, Frontend};
use crate::certificate::Certificate;
use crate::net::{Bind, BindAddress, Cidr, Endpoint};
use crate::node::{Node, Role};
use crate::persistence::CookieValue;
use crate::rules::{Action, Rule};
use crate::server::{SendProxy, Server, ServerAgent, ServerHealth, ServerState};
use crate::settings::Settings;
use crate::site::{DEFAULT_SITE, Site};
use crate::text::{Hostname, Name, NodeId, ServerHost};
use crate::units::{Port, Priority, Weight};
use crate::virtual_router::{DEFAULT_INSTANCE, VrrpInstance};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Everything one node runs, with nothing left to look up.
///
/// Frontends, backends and virtual routers are listed on every node, because every page shows
/// them; only a node with the balancer role runs them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effective {
    /// This node.
    pub node: NodeId,
    /// Its roles; empty for a spare, and for a node the settings do not know.
    pub roles: BTreeSet<Role>,
    /// The sites.
    pub sites: Vec<DerivedSite>,
    /// The enabled frontends.
    pub frontends: Vec<DerivedFrontend>,
    /// The backends.
    pub backends: Vec<DerivedBackend>,
    /// Connections of visitors at once; None: as many as there may be files.
    pub maxconn: Option<u32>,
    /// The enabled virtual routers.
    pub vrrp: Vec<DerivedInstance>,
    /// The other nodes and where to reach them on port 1937, the wired address first.
    pub peers: Vec<(NodeId, Vec<SocketAddrV4>)>,
}

impl Effective {
    /// Does this node have the role?
    pub fn is(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

/// What this node does for a site's mirror.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MirrorDuty {
    /// Nothing.
    #[default]
    None,
    /// Serves its files to these nodes.
    Origin {
        /// The nodes that follow.
        mirrors: Vec<NodeId>,
    },
    /// Follows this node.
    Mirror {
        /// Where files are edited.
        origin: NodeId,
    },
}

/// A site as this node serves it.
#[derive(Clone, Debug, PartialEq)]
pub struct DerivedSite {
    /// What the settings say, or the default.
    pub site: Site,
    /// Its directory below the data directory.
    pub directory: String,
    /// Where this node's web server listens for it.
    pub listen: Vec<SocketAddrV4>,
    /// What this node does to keep it the same everywhere.
    pub duty: MirrorDuty,
}

/// A frontend with its addresses.
#[derive(Clone, Debug, PartialEq)]
pub struct DerivedFrontend {
    /// What the settings say, or the default.
    pub frontend: Frontend,
    /// Where it listens; `0.0.0.0` for every address.
    pub listen: Vec<SocketAddrV4>,
    /// Those of them where TLS is spoken.
    pub ssl: Vec<SocketAddrV4>,
    /// Its certificates, the default one first.
    pub certificates: Vec<Certificate>,
}

/// A backend with all its servers.
#[derive(Clone, Debug, PartialEq)]
pub struct DerivedBackend {
    /// What the settings say, or the default; its own `servers` are only the written part.
    pub backend: Backend,
    /// All its servers.
    pub servers: Vec<DerivedServer>,
    /// So many requests are its full load, at least 1.
    pub fullconn: u32,
}

/// A server of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DerivedServer {
    /// Its name, unique in the backend.
    pub name: Name,
    /// Where it listens.
    pub address: Endpoint,
    /// Its share.
    pub weight: Weight,
    /// What the operator wants of it.
    pub state: ServerState,
    /// Used only when no other is up.
    pub backup: bool,
    /// Its name in the DNS; `address` then has its port only.
    pub hostname: Option<ServerHost>,
    /// Whose word on its health counts.
    pub health: ServerHealth,
    /// Whose word counts in the place of its agent.
    pub agent: ServerAgent,
    /// Requests it gets at once; 0 for any number.
    pub maxconn: u32,
    /// What this goes down to while its backend has little to do; 0 for no such thing.
    pub minconn: u32,
    /// Requests that may wait for it; 0 for any number.
    pub maxqueue: u32,
    /// What tells it the visitor's address.
    pub send_proxy: SendProxy,
    /// Its name in the persistence cookie; none: its own name.
    pub cookie: Option<CookieValue>,
    /// The board it stands for, if it was derived from one.
    pub node: Option<NodeId>,
}

/// A virtual router as this node takes part in it.
#[derive(Clone, Debug, PartialEq)]
pub struct DerivedInstance {
    /// What the settings say, or the default.
    pub instance: VrrpInstance,
    /// The floating IPs.
    pub addresses: Vec<Cidr>,
    /// This node's priority; None when it is no member.
    pub priority: Option<Priority>,
    /// All members with their priorities, in the operator's order.
    pub members: Vec<(NodeId, Priority)>,
    /// The addresses of the other members on the instance's interface.
    pub peers: Vec<Ipv4Addr>,
}

impl Settings {
    /// The document with the entries that exist without being written: the default site and
    /// backend once there is a web server, the default frontend and virtual router once there
    /// are a floating IP and a balancer.
    #[must_use]
    pub fn completed(&self) -> Self {
        let mut all = self.clone();
        let web = self.with_role(Role::Web).next().is_some();
        let balancer = self.with_role(Role::Balancer).next().is_some();
        let balanced = balancer && self.cluster.floating_ip.is_some();
        if web && !all.sites.iter().any(|s| s.name.as_str() == DEFAULT_SITE) {
            all.sites.push(default_site());
        }
        if web && !all.backends.iter().any(|b| b.name.as_str() == DEFAULT_BACKEND) {
            all.backends.push(default_backend());
        }
        let has_backend = all.backends.iter().any(|b| b.name.as_str() == DEFAULT_BACKEND);
        if balanced
            && has_backend
            && !all.frontends.iter().any(|f| f.name.as_str() == DEFAULT_FRONTEND)
        {
            all.frontends.push(default_frontend());
        }
        if balanced && !all.vrrp.iter().any(|v| v.name.as_str() == DEFAULT_INSTANCE) {
            all.vrrp.push(default_instance());
        }
        all
    }

    /// The floating IPs of every enabled virtual router.
    pub fn floating_ips(&self) -> BTreeSet<Cidr> {
        self.completed()
            .vrrp
            .iter()
            .filter(|v| v.enabled)
            .flat_map(|v| self.addresses_of(v))
            .collect()
    }

    pub(crate) fn addresses_of(&self, instance: &VrrpInstance) -> Vec<Cidr> {
        if instance.addresses.is_empty() {
            self.cluster.floating_ip.into_iter().collect()
        } else {
            instance.addresses.clone()
        }
    }
}

fn known<T: std::str::FromStr<Err = crate::BadValue> + Default>(text: &str) -> T {
    debug_assert!(text.parse::<T>().is_ok());
    text.parse().unwrap_or_default()
}

pub(crate) fn default_site() -> Site {
    Site { name: known(DEFAULT_SITE), ..Site::default() }
}

pub(crate) fn default_backend() -> Backend {
    Backend { name: known(DEFAULT_BACKEND), web_nodes: true, ..Backend::default() }
}

pub(crate) fn default_frontend() -> Frontend {
    Frontend {
        name: known(DEFAULT_FRONTEND),
        bind: vec![Bind { address: BindAddress::Floating, port: Port::constant(80), ssl: false }],
        default_backend: known(DEFAULT_BACKEND),
        ..Frontend::default()
    }
}

pub(crate) fn default_instance() -> VrrpInstance {
    VrrpInstance { name: known(DEFAULT_INSTANCE), ..VrrpInstance::default() }
}

/// What `node` runs under these settings. Meant for settings that pass [`crate::check()`]; for
/// others it leaves out what makes no sense rather than failing.
pub fn derive(settings: &Settings, node: &NodeId) -> Effective {
    let all = settings.completed();
    let own = all.node(node);
    Effective {
        node: node.clone(),
        roles: own.map(|n| n.roles.clone()).unwrap_or_default(),
        sites: all.sites.iter().map(|s| derive_site(&all, own, s)).collect(),
        frontends: all
            .frontends
            .iter()
            .filter(|f| f.enabled)
            .map(|f| derive_frontend(&all, f))
            .collect(),
        backends: all
            .backends
            .iter()
            .map(|b| DerivedBackend {
                backend: b.clone(),
                servers: servers_of(&all, b),
                fullconn: fullconn(&all, b),
            })
            .collect(),
        maxconn: all.cluster.maxconn,
        vrrp: all
            .vrrp
            .iter()
            .filter(|v| v.enabled)
            .map(|v| derive_instance(&all, own, v))
            .collect(),
        peers: all
            .nodes
            .iter()
            .filter(|n| &n.id != node)
            .map(|n| {
                let at = n.addresses().map(|a| SocketAddrV4::new(a, NODE_PORT)).collect();
                (n.id.clone(), at)
            })
            .collect(),
    }
}

fn derive_frontend(all: &Settings, frontend: &Frontend) -> DerivedFrontend {
    let ssl: Vec<Bind> = frontend.bind.iter().filter(|b| b.ssl).copied().collect();
    let named = frontend.certificates.iter().filter_map(|name| all.certificate(name));
    DerivedFrontend {
        frontend: frontend.clone(),
        listen: resolve(all, &frontend.bind),
        ssl: resolve(all, &ssl),
        certificates: named.cloned().collect(),
    }
}

/// A backend's full load, as HAProxy works it out where nobody says: a tenth of what the frontends
/// take that may lead to it.
fn fullconn(all: &Settings, backend: &Backend) -> u32 {
    let leads_here = |f: &&Frontend| {
        let by_rule =
            |r: &Rule| matches!(&r.parsed().action, Action::UseBackend(to) if *to == backend.name);
        f.default_backend == backend.name || f.rules.iter().any(by_rule)
    };
    let frontends = all.frontends.iter().filter(|f| f.enabled).filter(leads_here);
    let sum = frontends.fold(0_u32, |sum, f| sum.saturating_add(f.maxconn));
    backend.fullconn.unwrap_or_else(|| sum.div_ceil(10)).max(1)
}

fn derive_site(all: &Settings, own: Option<&Node>, site: &Site) -> DerivedSite {
    let web = own.filter(|n| n.is(Role::Web));
    let mut listen: Vec<_> = web
        .into_iter()
        .flat_map(Node::addresses)
        .map(|a| SocketAddrV4::new(a, site.port.get()))
        .collect();
    if web.is_some() && listen.is_empty() {
        listen.push(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, site.port.get()));
    }
    let origin = site
        .mirror
        .origin
        .clone()
        .or_else(|| all.with_role(Role::Web).next().map(|n| n.id.clone()));
    let duty = match (web, origin) {
        (Some(web), Some(origin)) if site.mirror.enabled => {
            if web.id == origin {
                let mirrors = all.with_role(Role::Web).map(|n| n.id.clone());
                MirrorDuty::Origin { mirrors: mirrors.filter(|id| *id != origin).collect() }
            } else {
                MirrorDuty::Mirror { origin }
            }
        }
        _ => MirrorDuty::None,
    };
    let directory = if site.name.as_str() == DEFAULT_SITE {
        "site".to_owned()
    } else {
        format!("sites/{}", site.name)
    };
    DerivedSite { site: site.clone(), directory, listen, duty }
}

/// Where a list of binds listens; without duplicates, in order.
pub(crate) fn resolve(all: &Settings, binds: &[Bind]) -> Vec<SocketAddrV4> {
    let mut listen = Vec::new();
    for bind in binds {
        let port = bind.port.get();
        let at: Vec<Ipv4Addr> = match bind.address {
            BindAddress::Any => vec![Ipv4Addr::UNSPECIFIED],
            BindAddress::Ip(ip) => vec![ip],
            BindAddress::Floating => all.floating_ips().into_iter().map(Cidr::addr).collect(),
        };
        for address in at.into_iter().map(|a| SocketAddrV4::new(a, port)) {
            if !listen.contains(&address) {
                listen.push(address);
            }
        }
    }
    listen
}

/// The name of the server that stands for one link of a web node: `web01-eth`, `web01-wlan`.
fn server_name(host: &Hostname, interface: &str) -> Name {
    let short = interface.trim_end_matches(|c: char| c.is_ascii_digit());
    known(&format!("{}-{short}", host.as_str().to_ascii_lowercase()))
}

/// The servers that `web_nodes` brings, with the board each stands for.
pub(crate) fn web_servers(all: &Settings) -> Vec<(Name, Endpoint, NodeId)> {
    let port =
        all.sites.iter().find(|s| s.name.as_str() == DEFAULT_SITE).map_or(80, |s| s.port.get());
    let mut found = Vec::new();
    for node in all.with_role(Role::Web) {
        for (interface, link) in node.links() {
            if let Some(address) = link.address {
                let endpoint = Endpoint(SocketAddrV4::new(address.addr(), port));
                found.push((server_name(&node.name, interface), endpoint, node.id.clone()));
            }
        }
    }
    found
}

fn servers_of(all: &Settings, backend: &Backend) -> Vec<DerivedServer> {
    let brought = if backend.web_nodes { web_servers(all) } else { Vec::new() };
    let mut servers: Vec<DerivedServer> = brought
        .into_iter()
        .map(|(name, address, node)| {
            let written = backend.servers.iter().find(|s| s.name == name);
            let plain = Server::default();
            let s = written.unwrap_or(&plain);
            derive_server(s, name, s.address.unwrap_or(address), Some(node))
        })
        .collect();
    for written in &backend.servers {
        // A server known by name has no address yet, only a port.
        let named = written
            .hostname
            .as_ref()
            .map(|host| Endpoint(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, host.port())));
        if let (Some(address), false) =
            (written.address.or(named), servers.iter().any(|s| s.name == written.name))
        {
            servers.push(derive_server(written, written.name.clone(), address, None));
        }
    }
    servers
}

fn derive_server(s: &Server, name: Name, address: Endpoint, node: Option<NodeId>) -> DerivedServer {
    DerivedServer {
        name,
        address,
        weight: s.weight,
        state: s.state,
        backup: s.backup,
        hostname: s.hostname.clone().filter(|_| s.address.is_none()),
        health: s.health,
        agent: s.agent,
        maxconn: s.maxconn,
        minconn: s.minconn,
        maxqueue: s.maxqueue,
        send_proxy: s.send_proxy,
        cookie: s.cookie.clone(),
        node,
    }
}

fn derive_instance(all: &Settings, own: Option<&Node>, instance: &VrrpInstance) -> DerivedInstance {
    let members = members_of(all, instance);
    let link = |n: &Node| {
        n.links()
            .into_iter()
            .find(|(name, _)| *name == instance.interface.as_str())
            .and_then(|(_, link)| Some(link.address?.addr()))
    };
    let own_id = own.map(|n| &n.id);
    DerivedInstance {
        addresses: all.addresses_of(instance),
        priority: members.iter().find(|(id, _)| Some(id) == own_id).map(|(_, p)| *p),
        peers: all
            .with_role(Role::Balancer)
            .filter(|n| Some(&n.id) != own_id)
            .filter_map(link)
            .collect(),
        members,
        instance: instance.clone(),
    }
}

/// The members of a virtual router: the primary gets 101, the others 100, 99 and so on, except
/// where the settings give a priority.
fn members_of(all: &Settings, instance: &VrrpInstance) -> Vec<(NodeId, Priority)> {
    let balancers: Vec<&NodeId> = all.with_role(Role::Balancer).map(|n| &n.id).collect();
    let primary = instance.primary.as_ref().or_else(|| balancers.first().copied());
    let mut next = 100_u64;
    balancers
        .iter()
        .map(|id| {
            let usual = if Some(*id) == primary {
                101
            } else {
                next = next.saturating_sub(1).max(1);
                next + 1
            };
            let priority = instance.priorities.get(*id).copied();
            let usual = Priority::new(usual).unwrap_or(Priority::constant(1));
            ((*id).clone(), priority.unwrap_or(usual))
        })
        .collect()
}
