//! Frontends, backends and servers.

use super::Problems;
use super::admin::SHORTEST_REFRESH;
use super::sites::reserved;
use crate::admin::{ADMIN_PORT, NODE_PORT};
use crate::balancing::{Backend, Frontend, Mode};
use crate::derive::{resolve, web_servers};
use crate::health_check::CheckMethod;
use crate::net::{Bind, BindAddress};
use crate::node::Role;
use crate::settings::Settings;
use crate::units::Millis;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Checks more often than this say more about the checker than about the server.
const SHORTEST_INTER: Millis = Millis(20);
const MAX_CONN: u32 = 100_000;

pub(super) fn check(all: &Settings, written: &Settings, problems: &mut Problems) {
    if written.cluster.maxconn.is_some_and(|most| !(1..=MAX_CONN).contains(&most)) {
        problems.add("cluster.maxconn", format!("maxconn is between 1 and {MAX_CONN}"));
    }
    let frontends = written.frontends.iter().enumerate();
    problems.unique(
        "frontend",
        frontends.map(|(i, f)| (format!("frontends[{i}].name"), f.name.as_str())),
    );
    let backends = written.backends.iter().enumerate();
    problems
        .unique("backend", backends.map(|(i, b)| (format!("backends[{i}].name"), b.name.as_str())));
    let mut taken: Vec<Taken<'_>> = Vec::new();
    // The default frontend, where it is only derived, is compared as well but has no path.
    for (i, frontend) in all.frontends.iter().enumerate() {
        let path = format!("frontends[{i}]");
        if i < written.frontends.len() {
            fields(all, frontend, &path, problems);
        }
        if frontend.enabled {
            listens(all, frontend, &path, &mut taken, problems);
        }
    }
    for (i, backend) in written.backends.iter().enumerate() {
        one_backend(all, backend, &format!("backends[{i}]"), problems);
    }
}

fn fields(all: &Settings, frontend: &Frontend, path: &str, problems: &mut Problems) {
    if frontend.default_backend.is_empty() {
        problems.add(format!("{path}.default_backend"), "say where this frontend's requests go");
    } else if let Some(backend) = all.backend(&frontend.default_backend) {
        if backend.mode != frontend.mode {
            problems.add(
                format!("{path}.mode"),
                format!(
                    "{} is in mode {}, so this frontend must be, too",
                    backend.name, backend.mode
                ),
            );
        }
    } else {
        problems.add(
            format!("{path}.default_backend"),
            format!("there is no backend named {}", frontend.default_backend),
        );
    }
    if frontend.enabled && frontend.bind.is_empty() {
        problems.add(
            format!("{path}.bind"),
            "say where this frontend listens, for example floating:80",
        );
    }
    if !(1..=MAX_CONN).contains(&frontend.maxconn) {
        problems.add(format!("{path}.maxconn"), format!("maxconn is between 1 and {MAX_CONN}"));
    }
    for (name, value) in [
        ("timeout_client", Some(frontend.timeout_client)),
        ("timeout_http_request", Some(frontend.timeout_http_request)),
        ("timeout_http_keep_alive", Some(frontend.timeout_http_keep_alive)),
        ("timeout_tarpit", Some(frontend.timeout_tarpit)),
        ("timeout_client_fin", frontend.timeout_client_fin),
    ] {
        if let Some(value) = value {
            positive(problems, format!("{path}.{name}"), value);
        }
    }
    statistics(frontend, path, problems);
}

/// The statistics page of a frontend.
fn statistics(frontend: &Frontend, path: &str, problems: &mut Problems) {
    let Some(uri) = &frontend.stats_uri else {
        if frontend.stats_refresh.is_some() {
            let problem = "there is no statistics page that could load itself; give its address as stats_uri, too";
            problems.add(format!("{path}.stats_refresh"), problem);
        }
        return;
    };
    if frontend.mode != Mode::Http {
        problems.add(
            format!("{path}.stats_uri"),
            "only a frontend in mode http can show the statistics",
        );
    }
    // What certificates are proved by must stay reachable (RFC 8615, RFC 8555 8.3).
    if uri.as_str().starts_with("/.well-known") {
        problems.add(
            format!("{path}.stats_uri"),
            "what is below /.well-known is asked for by programs of others; choose another path, such as /haproxy?stats",
        );
    }
    if frontend.stats_refresh.is_some_and(|every| every < SHORTEST_REFRESH) {
        let problem = format!("at least {SHORTEST_REFRESH}, or nothing");
        problems.add(format!("{path}.stats_refresh"), problem);
    }
}

fn listens<'a>(
    all: &Settings,
    frontend: &'a Frontend,
    path: &str,
    taken: &mut Vec<Taken<'a>>,
    problems: &mut Problems,
) {
    for (k, bind) in frontend.bind.iter().enumerate() {
        let path = format!("{path}.bind[{k}]");
        let port = bind.port.get();
        if [ADMIN_PORT, NODE_PORT].contains(&port) {
            problems.add(&path, reserved(port));
            continue;
        }
        let addresses = resolve(all, std::slice::from_ref(bind));
        if addresses.is_empty() {
            problems.add(
                &path,
                "there is no floating IP to listen on; set one in the cluster's settings",
            );
        }
        known_address(all, *bind, &path, problems);
        for address in addresses {
            let own =
                Taken { address, udp: frontend.mode == Mode::Udp, by: frontend.name.as_str() };
            match taken.iter().find(|other| other.overlaps(&own)) {
                Some(Taken { address, by, .. }) => problems.add(
                    &path,
                    format!("{by} already listens on {address}; choose another address or port"),
                ),
                None => taken.push(own),
            }
            if frontend.mode != Mode::Udp {
                web_server_there(all, address, &path, problems);
            }
        }
    }
}

/// Where a frontend listens already. The ports of TCP and UDP are not the same ports: DNS uses both.
struct Taken<'a> {
    address: SocketAddrV4,
    udp: bool,
    by: &'a str,
}

impl Taken<'_> {
    fn overlaps(&self, other: &Self) -> bool {
        let (a, b, any) = (self.address, other.address, Ipv4Addr::UNSPECIFIED);
        self.udp == other.udp
            && a.port() == b.port()
            && (a.ip() == b.ip() || *a.ip() == any || *b.ip() == any)
    }
}

/// An address that no node has and no virtual router brings is a slip of the pen.
fn known_address(all: &Settings, bind: Bind, path: &str, problems: &mut Problems) {
    if let BindAddress::Ip(ip) = bind.address {
        let floating = all.floating_ips().into_iter().any(|f| f.addr() == ip);
        let own = all.nodes.iter().any(|n| n.addresses().any(|a| a == ip));
        if !floating && !own && !ip.is_loopback() {
            problems.add(path, format!("{ip} is neither a floating IP nor an address of a node"));
        }
    }
}

/// On a node that is web server and balancer, both want their ports.
fn web_server_there(all: &Settings, address: SocketAddrV4, path: &str, problems: &mut Problems) {
    let both = all.with_role(Role::Web).filter(|n| n.is(Role::Balancer));
    for node in both {
        for site in all.sites.iter().filter(|s| s.port.get() == address.port()) {
            let everywhere = *address.ip() == Ipv4Addr::UNSPECIFIED;
            let unset = node.addresses().next().is_none();
            if everywhere || unset || node.addresses().any(|a| a == *address.ip()) {
                problems.add(
                    path,
                    format!(
                        "{} is also a web server and serves {} there on port {}; let the frontend listen on the floating IP, or move the site to another port{}",
                        node.name,
                        site.name,
                        address.port(),
                        if unset { ", and give the node an address" } else { "" },
                    ),
                );
            }
        }
    }
}

fn one_backend(all: &Settings, backend: &Backend, path: &str, problems: &mut Problems) {
    let names = backend.servers.iter().enumerate();
    problems.unique(
        "server",
        names.map(|(k, s)| (format!("{path}.servers[{k}].name"), s.name.as_str())),
    );
    let brought = if backend.web_nodes { web_servers(all) } else { Vec::new() };
    if brought.is_empty() && backend.servers.is_empty() && !backend.web_nodes {
        problems.add(
            format!("{path}.servers"),
            "a backend needs at least one server, or web_nodes = true",
        );
    }
    for (k, server) in backend.servers.iter().enumerate() {
        // Where `web_nodes` is on, a server without an address may wait for its node to return.
        let nowhere = server.address.is_none() && server.hostname.is_none();
        if nowhere && !backend.web_nodes && !server.name.is_empty() {
            problems.add(
                format!("{path}.servers[{k}].address"),
                "say where this server listens, for example 192.168.1.10:80",
            );
        }
        if server.address.is_some() && server.hostname.is_some() {
            problems.add(
                format!("{path}.servers[{k}].hostname"),
                "give either an address or a name in the DNS, not both",
            );
        }
        for (name, value) in [("maxconn", server.maxconn), ("maxqueue", server.maxqueue)] {
            if value > MAX_CONN {
                let problem = format!("{name} is at most {MAX_CONN}; 0 stands for no limit");
                problems.add(format!("{path}.servers[{k}].{name}"), problem);
            }
        }
    }
    loads(backend, path, problems);
    checks(backend, path, problems);
    for (name, value) in [
        ("timeout_connect", Some(backend.timeout_connect)),
        ("timeout_server", Some(backend.timeout_server)),
        ("timeout_queue", backend.timeout_queue),
        ("timeout_server_fin", backend.timeout_server_fin),
    ] {
        if let Some(value) = value {
            positive(problems, format!("{path}.{name}"), value);
        }
    }
}

/// Limits that move with the load.
fn loads(backend: &Backend, path: &str, problems: &mut Problems) {
    if backend.fullconn.is_some_and(|full| !(1..=MAX_CONN).contains(&full)) {
        let problem = format!("fullconn is between 1 and {MAX_CONN}");
        problems.add(format!("{path}.fullconn"), problem);
    }
    for (k, server) in backend.servers.iter().enumerate() {
        if server.minconn > server.maxconn {
            problems.add(
                format!("{path}.servers[{k}].minconn"),
                "minconn is what maxconn goes down to: give a maxconn of at least as many",
            );
        }
    }
}

fn checks(backend: &Backend, path: &str, problems: &mut Problems) {
    let check = &backend.check;
    for (name, value) in [
        ("inter", Some(check.inter)),
        ("fastinter", check.fastinter),
        ("downinter", check.downinter),
        ("agent_inter", Some(check.agent_inter)),
    ] {
        if value.is_some_and(|v| v < SHORTEST_INTER) {
            problems.add(
                format!("{path}.check.{name}"),
                format!("the shortest interval is {SHORTEST_INTER}"),
            );
        }
    }
    if let Some(timeout) = check.timeout {
        positive(problems, format!("{path}.check.timeout"), timeout);
    }
    for (name, value) in [
        ("fall", u32::from(check.fall)),
        ("rise", u32::from(check.rise)),
        ("error_limit", check.error_limit),
    ] {
        if value == 0 {
            problems.add(format!("{path}.check.{name}"), format!("{name} is at least 1"));
        }
    }
    if check.http_path.is_none() {
        for (name, set) in [
            ("http_host", check.http_host.is_some()),
            ("expect_status", check.expect_status.is_some()),
            ("expect_string", check.expect_string.is_some()),
            ("disable_on_404", check.disable_on_404),
        ] {
            if set {
                problems.add(
                    format!("{path}.check.{name}"),
                    "this is about an HTTP check; give a path to ask for as well",
                );
            }
        }
    }
    if check.expect_string.is_some() && check.http_method == CheckMethod::Head {
        problems.add(
            format!("{path}.check.http_method"),
            "the answer to HEAD has no content a text could be looked for in; choose GET",
        );
    }
    if check.observe && backend.mode != Mode::Http {
        problems.add(format!("{path}.check.observe"), "answers can be watched in mode http only");
    }
}

fn positive(problems: &mut Problems, path: String, value: Millis) {
    if value == Millis(0) {
        problems.add(path, "a time-out of 0 would end every request; give a time such as 50s");
    }
}
