//! The settings as the workers use them: everything looked up, tied to what outlives them.

use crate::balance::Algorithm;
use crate::listen::{Kind, Place};
use crate::live::{BackendLive, FrontendLive, ServerLive, lock};
use crate::persist::stick::Changes;
use crate::rules::Rules;
use crate::standing::Verdict;
use crate::tls::Store;
use model::{
    DerivedServer, Effective, Name, SendProxy, ServerAgent, ServerHealth, ServerHost, ServerState,
    Weight,
};
use rustls::ServerConfig;
use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// What the workers run. Immutable; a change makes another one.
#[derive(Debug, Default)]
pub(crate) struct Config {
    /// Its number, growing with each change.
    pub(crate) generation: u64,
    pub(crate) frontends: Vec<Arc<Frontend>>,
    pub(crate) backends: Vec<Arc<Backend>>,
    /// What of the settings cannot be used, in sentences; the rest is.
    pub(crate) problems: Vec<String>,
    by_place: HashMap<Place, Arc<Frontend>>,
}

/// A frontend.
#[derive(Debug, Default)]
pub(crate) struct Frontend {
    pub(crate) settings: model::Frontend,
    pub(crate) listen: Vec<SocketAddrV4>,
    /// Those of them where TLS is spoken, and how; None where it cannot be.
    pub(crate) ssl: Vec<SocketAddrV4>,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) backend: Option<Arc<Backend>>,
    /// What it does with requests and responses; None for nothing.
    pub(crate) rules: Option<Arc<Rules>>,
    pub(crate) live: Arc<FrontendLive>,
}

/// A backend.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) generation: u64,
    pub(crate) settings: model::Backend,
    pub(crate) algorithm: Algorithm,
    /// So many requests are its full load.
    pub(crate) fullconn: u32,
    pub(crate) servers: Vec<Server>,
    pub(crate) live: Arc<BackendLive>,
}

/// A server.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) name: Name,
    pub(crate) address: SocketAddrV4,
    pub(crate) weight: Weight,
    pub(crate) state: ServerState,
    pub(crate) backup: bool,
    pub(crate) hostname: Option<ServerHost>,
    pub(crate) health: ServerHealth,
    pub(crate) agent: ServerAgent,
    pub(crate) maxconn: u32,
    pub(crate) minconn: u32,
    pub(crate) maxqueue: u32,
    pub(crate) send_proxy: SendProxy,
    /// Its name in the persistence cookie.
    pub(crate) cookie: String,
    pub(crate) live: Arc<ServerLive>,
}

impl Backend {
    /// The place of this server in `other`, a later state of the same backend.
    pub(crate) fn same_server(&self, index: usize, other: &Self) -> Option<usize> {
        let name = &self.servers.get(index)?.name;
        other.servers.iter().position(|s| s.name == *name)
    }

    /// Has the shares worked out anew while a server starts slowly, and once more when it is done.
    pub(crate) fn warm(&self) {
        let slowstart = self.settings.slowstart.duration();
        let starting =
            self.servers.iter().any(|s| s.live.sixteenths(slowstart) < crate::balance::SCALE);
        if self.live.warming.swap(starting, Relaxed) || starting {
            self.live.changed();
        }
    }
}

impl Server {
    /// What the operator and the agent want together.
    pub(crate) fn wanted(&self) -> ServerState {
        match (self.state, self.live.standing.wish().state) {
            (ServerState::Maint, _) | (_, ServerState::Maint) => ServerState::Maint,
            (ServerState::Drain, _) | (_, ServerState::Drain) => ServerState::Drain,
            _ => ServerState::Ready,
        }
    }

    /// How many requests it may have at this moment; 0 for any number. With `minconn` it grows with
    /// the backend's load, and with `slowstart` after a start (HAProxy `srv_dynamic_maxconn`).
    pub(crate) fn limit(&self, backend: &Backend) -> u64 {
        let most = u64::from(self.live.standing.maxconn(self.maxconn));
        if most == 0 {
            return 0;
        }
        let (least, full) = (u64::from(self.minconn), u64::from(backend.fullconn));
        let mut limit = most;
        if least > 0 && least < most {
            let load = backend.live.traffic.current.now();
            if load < full {
                limit = (load * most / full).max(least);
            }
        }
        match self.live.starting(backend.settings.slowstart.duration()) {
            Some((since, whole)) => (limit * (100 * since / whole) / 100).max(1),
            None => limit,
        }
    }

    /// May it be sent visitors who do not belong to it yet?
    pub(crate) fn takes_new(&self) -> bool {
        let standing = &self.live.standing;
        self.wanted() == ServerState::Ready
            && standing.weight(self.weight) > 0
            && matches!(standing.verdict(), Verdict::Up | Verdict::Unchecked)
            && standing.address().is_some()
    }

    /// Newer settings than those this is part of have it no more, or in maintenance.
    pub(crate) fn is_retired(&self) -> bool {
        self.live.retired.load(Relaxed)
    }
}

impl Config {
    /// Whose the connections to this address are.
    pub(crate) fn at(&self, address: &SocketAddrV4) -> Option<&Arc<Frontend>> {
        self.by_place.get(&Place { kind: Kind::Tcp, address: *address })
    }

    /// Whose the datagrams to this address are.
    pub(crate) fn at_udp(&self, address: &SocketAddrV4) -> Option<&Arc<Frontend>> {
        self.by_place.get(&Place { kind: Kind::Udp, address: *address })
    }

    /// The frontend of this name.
    pub(crate) fn named(&self, name: &Name) -> Option<&Arc<Frontend>> {
        self.frontends.iter().find(|f| f.settings.name == *name)
    }

    /// Every place to listen at.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> + '_ {
        self.by_place.keys().copied()
    }
}

/// Backend, server, and where it is, by address or by name.
type ServerKey = (Name, Name, SocketAddrV4, Option<ServerHost>);

/// What is known by name from one set of settings to the next.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    known: Mutex<Known>,
    certificates: Store,
    /// Numbers the changes of the stick tables.
    pub(crate) changes: Arc<Changes>,
}

#[derive(Debug, Default)]
struct Known {
    generation: u64,
    next_id: u64,
    frontends: HashMap<Name, Arc<FrontendLive>>,
    backends: HashMap<Name, Arc<BackendLive>>,
    servers: HashMap<ServerKey, Arc<ServerLive>>,
}

impl Registry {
    /// The next config. What is no longer in it is forgotten here, and lives on for as long as
    /// requests use it.
    pub(crate) fn build(&self, effective: &Effective, now: Instant) -> Config {
        let mut known = lock(&self.known);
        known.generation += 1;
        let generation = known.generation;
        let mut next = Known { generation, next_id: known.next_id, ..Known::default() };
        let mut config = Config { generation, ..Config::default() };
        for b in &effective.backends {
            let name = &b.backend.name;
            let live = known.backends.get(name).cloned();
            let changes = || Arc::clone(&self.changes);
            let live = live.unwrap_or_else(|| Arc::new(BackendLive::new(now, changes())));
            if b.backend.stick_table.is_none() {
                live.stick.clear();
            }
            let mut servers: Vec<Server> = Vec::new();
            for s in &b.servers {
                let key = (name.clone(), s.name.clone(), s.address.0, s.hostname.clone());
                let old = known.servers.get(&key).cloned();
                let server_live = old.unwrap_or_else(|| {
                    next.next_id += 1;
                    Arc::new(ServerLive::new(next.next_id, s.address.0, &b.backend.check, now))
                });
                servers.push(server(s, Arc::clone(&server_live)));
                next.servers.insert(key, server_live);
            }
            next.backends.insert(name.clone(), Arc::clone(&live));
            config.backends.push(Arc::new(Backend {
                generation,
                settings: b.backend.clone(),
                algorithm: Algorithm {
                    balance: b.backend.balance.clone(),
                    hash_type: b.backend.hash_type,
                    factor: b.backend.hash_balance_factor,
                },
                fullconn: b.fullconn,
                servers,
                live,
            }));
        }
        for f in &effective.frontends {
            let name = &f.frontend.name;
            let live = known.frontends.get(name).cloned().unwrap_or_default();
            if !f.frontend.count_paths {
                live.paths.clear();
            }
            next.frontends.insert(name.clone(), Arc::clone(&live));
            let to = &f.frontend.default_backend;
            let mut tls =
                || self.certificates.frontend(&f.frontend, &f.certificates, &mut config.problems);
            let tls = if f.ssl.is_empty() { None } else { tls() };
            let frontend = Arc::new(Frontend {
                settings: f.frontend.clone(),
                listen: f.listen.clone(),
                ssl: f.ssl.clone(),
                tls,
                backend: config.backends.iter().find(|b| b.settings.name == *to).cloned(),
                rules: Some(Rules::new(&f.frontend.rules, &config.backends))
                    .filter(|r| !r.is_empty())
                    .map(Arc::new),
                live,
            });
            for address in &f.listen {
                let place = Place::new(f.frontend.mode, *address);
                config.by_place.entry(place).or_insert_with(|| Arc::clone(&frontend));
            }
            config.frontends.push(frontend);
        }
        let used: Vec<_> = effective.frontends.iter().flat_map(|f| &f.certificates).collect();
        self.certificates.retain(&used);
        for (key, old) in &known.servers {
            if !next.servers.contains_key(key) {
                old.retired.store(true, Relaxed);
            }
        }
        *known = next;
        config
    }
}

fn server(derived: &DerivedServer, live: Arc<ServerLive>) -> Server {
    live.retired.store(derived.state == ServerState::Maint, Relaxed);
    Server {
        name: derived.name.clone(),
        address: derived.address.0,
        weight: derived.weight,
        state: derived.state,
        backup: derived.backup,
        hostname: derived.hostname.clone(),
        health: derived.health,
        agent: derived.agent,
        maxconn: derived.maxconn,
        minconn: derived.minconn,
        maxqueue: derived.maxqueue,
        send_proxy: derived.send_proxy,
        cookie: derived
            .cookie
            .as_ref()
            .map_or_else(|| derived.name.to_string(), ToString::to_string),
        live,
    }
}
