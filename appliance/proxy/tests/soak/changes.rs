//! The settings, and what changes in them.

use crate::common::tls::certificate;
use crate::common::{Scripted, free_port, free_udp_port, frontend, name, server, settings};
use crate::secure::HOST;
use model::{
    Backend, Balance, Bind, Certificate, Check, Frontend, Millis, Mode, RetryOn, Server,
    ServerState, Settings, TlsVersion, Weight,
};
use noise::Noise;
use std::net::SocketAddrV4;

/// Who is behind the frontends.
pub(crate) struct Servers {
    pub(crate) web: Vec<Scripted>,
    pub(crate) repeater: Scripted,
    pub(crate) datagrams: [SocketAddrV4; 3],
}

/// Where visitors go.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) http: u16,
    pub(crate) tcp: u16,
    pub(crate) tls: u16,
    pub(crate) udp: u16,
}

impl Ports {
    pub(crate) fn new() -> Self {
        Self { http: free_port(), tcp: free_port(), tls: free_port(), udp: free_udp_port() }
    }
}

/// Places in the lists of the settings; what stands behind them comes and goes.
const HTTP: usize = 0;
const TCP: usize = 1;
pub(crate) const TLS: usize = 2;
pub(crate) const UDP: usize = 3;
const FRONTENDS: usize = 4;
pub(crate) const DATAGRAMS: usize = 2;
const BACKENDS: usize = 3;

/// What must be so once a change runs.
pub(crate) enum Must {
    /// A new port answers.
    Answer(u16),
    /// This certificate is shown to whoever comes.
    Show(Certificate),
}

/// The settings at the start: HTTP in front of four servers, without TLS and with it, a port of
/// mode tcp and one of mode udp.
pub(crate) fn start(servers: &Servers, ports: Ports, first: &Certificate) -> Settings {
    let named = |prefix: &str, all: &mut dyn Iterator<Item = SocketAddrV4>| -> Vec<Server> {
        all.enumerate().map(|(i, address)| server(&format!("{prefix}{i}"), address)).collect()
    };
    let unchecked = || Check { enabled: false, ..Check::default() };
    let mut all = settings(ports.http, named("s", &mut servers.web.iter().map(|s| s.address)));
    all.backends.push(Backend {
        name: name("raw"),
        mode: Mode::Tcp,
        servers: vec![server("r0", servers.repeater.address)],
        check: unchecked(),
        ..Backend::default()
    });
    all.backends.push(Backend {
        name: name("names"),
        mode: Mode::Udp,
        servers: named("n", &mut servers.datagrams.into_iter()),
        check: unchecked(),
        udp_responses: Some(1),
        ..Backend::default()
    });
    all.frontends.push(Frontend {
        mode: Mode::Tcp,
        default_backend: name("raw"),
        ..frontend("raw", ports.tcp)
    });
    all.frontends.push(Frontend {
        bind: vec![format!("127.0.0.1:{} ssl", ports.tls).parse().unwrap()],
        certificates: vec![first.name.clone()],
        ..frontend("secure", ports.tls)
    });
    all.frontends.push(Frontend {
        mode: Mode::Udp,
        default_backend: name("names"),
        ..frontend("names", ports.udp)
    });
    all.certificates = vec![first.clone()];
    all
}

fn millis(noise: &mut Noise, low: usize, high: usize) -> Millis {
    Millis(u32::try_from(low + noise.below(high - low)).unwrap())
}

/// Something else.
pub(crate) fn change(s: &mut Settings, noise: &mut Noise, servers: &Servers) -> Option<Must> {
    match noise.below(28) {
        0..20 => http(s, noise, &servers.web),
        20..25 => certificates(s, noise),
        _ => {
            datagrams(s, noise);
            None
        }
    }
}

/// Certificates come, go, change their order and are made anew, also under the same name.
fn certificates(s: &mut Settings, noise: &mut Noise) -> Option<Must> {
    match noise.below(6) {
        0 | 1 => {
            let at = noise.below(s.certificates.len());
            let called = s.certificates[at].name.as_str().to_owned();
            s.certificates[at] = certificate(&called, &[HOST]);
        }
        2 => {
            if s.certificates.len() < 4 {
                let called = (0..).map(|n| format!("c{n}"));
                let free = |n: &String| s.certificates.iter().all(|c| c.name.as_str() != n);
                let new =
                    certificate(&called.into_iter().find(free).unwrap(), &[HOST, "b.example"]);
                let place = noise.below(s.frontends[TLS].certificates.len() + 1);
                s.frontends[TLS].certificates.insert(place, new.name.clone());
                s.certificates.push(new);
            }
        }
        3 => {
            if s.certificates.len() > 1 {
                let gone = s.certificates.remove(noise.below(s.certificates.len()));
                s.frontends[TLS].certificates.retain(|n| *n != gone.name);
            }
        }
        4 => s.frontends[TLS].certificates.reverse(),
        _ => {
            s.frontends[TLS].strict_sni = noise.one_in(2);
            s.frontends[TLS].ssl_min_ver = *noise.pick(&[TlsVersion::Tls12, TlsVersion::Tls13]);
        }
    }
    // All of them are for the name that is asked for: the first one is shown.
    let first = &s.frontends[TLS].certificates[0];
    s.certificates.iter().find(|c| c.name == *first).cloned().map(Must::Show)
}

/// Servers of mode udp come and go, and their turns change.
fn datagrams(s: &mut Settings, noise: &mut Noise) {
    let back = &mut s.backends[DATAGRAMS];
    match noise.below(5) {
        0 | 1 => {
            let states = [ServerState::Ready, ServerState::Drain, ServerState::Maint];
            let at = noise.below(back.servers.len());
            back.servers[at].state = *noise.pick(&states);
            if back.servers.iter().all(|s| s.state != ServerState::Ready) {
                back.servers[0].state = ServerState::Ready;
            }
        }
        2 => {
            let words = ["roundrobin", "static-rr", "leastconn", "first", "source", "random"];
            back.balance = noise.pick(&words).parse().unwrap();
        }
        3 => back.udp_requests = *noise.pick(&[0, 1, 3]),
        _ => {
            s.frontends[UDP].bind.truncate(1);
            if noise.one_in(2) {
                let more = format!("127.0.0.1:{}", free_udp_port()).parse().unwrap();
                s.frontends[UDP].bind.push(more);
            }
        }
    }
}

/// The frontend without TLS, and the servers of both that speak HTTP.
fn http(s: &mut Settings, noise: &mut Noise, servers: &[Scripted]) -> Option<Must> {
    match noise.below(20) {
        0 => s.backends[HTTP].balance = noise.pick(&Balance::examples()).clone(),
        1 => {
            let at = noise.below(s.backends[HTTP].servers.len());
            let weight = u64::try_from(noise.below(257)).unwrap();
            s.backends[HTTP].servers[at].weight = Weight::new(weight).unwrap();
        }
        2 | 3 => {
            let at = noise.below(s.backends[HTTP].servers.len());
            let states = [ServerState::Ready, ServerState::Drain, ServerState::Maint];
            s.backends[HTTP].servers[at].state = *noise.pick(&states);
        }
        4 => {
            let at = noise.below(s.backends[HTTP].servers.len());
            s.backends[HTTP].servers.remove(at);
        }
        5 => {
            let missing = (0..servers.len()).map(|i| (i, format!("s{i}")));
            let mut missing = missing
                .filter(|(_, n)| s.backends[HTTP].servers.iter().all(|s| s.name.as_str() != n));
            if let Some((i, n)) = missing.next() {
                s.backends[HTTP].servers.push(server(&n, servers[i].address));
            }
        }
        6 => {
            let lines = ["SRV insert indirect nocache", "SRV prefix", "SRV rewrite", "SRV insert"];
            s.backends[HTTP].cookie = noise.one_in(2).then(|| noise.pick(&lines).parse().unwrap());
        }
        7 => {
            let on = noise.one_in(2);
            let tables = ["type ip size 100k expire 30m", "type ip size 10"];
            s.backends[HTTP].stick_table = on.then(|| noise.pick(&tables).parse().unwrap());
            s.backends[HTTP].stick_on = on.then(|| "src".parse().unwrap());
        }
        8 => {
            let lines = [
                "http-request set-header X-Soak yes",
                "http-response del-header Server",
                "http-request add-header X-Soak %[src]",
                "http-request deny if { path_beg /forbidden }",
            ];
            let n = noise.below(4);
            s.frontends[HTTP].rules = (0..n).map(|_| noise.pick(&lines).parse().unwrap()).collect();
        }
        9 => {
            s.frontends[HTTP].timeout_client = millis(noise, 20_000, 60_000);
            s.frontends[HTTP].timeout_http_request = millis(noise, 10_000, 20_000);
            s.frontends[HTTP].timeout_http_keep_alive = millis(noise, 10_000, 20_000);
            s.backends[HTTP].timeout_server = millis(noise, 20_000, 60_000);
            s.backends[HTTP].timeout_connect = millis(noise, 5_000, 9_000);
            s.backends[TCP].timeout_server = millis(noise, 20_000, 60_000);
        }
        10 => {
            let check = &mut s.backends[HTTP].check;
            check.enabled = noise.one_in(2);
            check.inter = millis(noise, 200, 2_000);
            check.http_path = noise.one_in(2).then(|| "/1".parse().unwrap());
            check.observe = noise.one_in(2);
            check.fall = 10;
        }
        11 => {
            let at = noise.below(s.backends[HTTP].servers.len());
            s.backends[HTTP].servers[at].maxconn = *noise.pick(&[0, 4, 10]);
        }
        12 => s.frontends[HTTP].maxconn = *noise.pick(&[100, 1000, 2000]),
        13 => {
            s.frontends[HTTP].httplog = noise.one_in(2);
            s.frontends[TCP].httplog = noise.one_in(2);
        }
        14 => s.frontends[HTTP].forwardfor = noise.one_in(2),
        15 => {
            s.backends[HTTP].retries = *noise.pick(&[2, 3, 5]);
            s.backends[HTTP].redispatch = noise.one_in(2);
            let reasons = [RetryOn::EmptyResponse, RetryOn::JunkResponse, RetryOn::Unavailable];
            s.backends[HTTP].retry_on =
                noise.one_in(2).then(|| *noise.pick(&reasons)).into_iter().collect();
        }
        16 => {
            let at = noise.below(s.backends[HTTP].servers.len());
            s.backends[HTTP].servers[at].backup = !s.backends[HTTP].servers[at].backup;
            s.backends[HTTP].allbackups = noise.one_in(2);
            s.backends[HTTP].slowstart = *noise.pick(&[Millis(0), Millis(1000)]);
        }
        // A port more at the frontend, or none.
        17 => {
            s.frontends[HTTP].bind.truncate(1);
            let port = free_port();
            let bind: Bind = format!("127.0.0.1:{port}").parse().unwrap();
            s.frontends[HTTP].bind.push(bind);
            return Some(Must::Answer(port));
        }
        // A frontend and a backend of its own, or none.
        18 => {
            let port = free_port();
            s.frontends.truncate(FRONTENDS);
            s.backends.truncate(BACKENDS);
            s.backends.push(Backend {
                name: name("more"),
                servers: vec![server("m0", servers[0].address)],
                ..Backend::default()
            });
            s.frontends.push(Frontend { default_backend: name("more"), ..frontend("more", port) });
            return Some(Must::Answer(port));
        }
        _ => {
            s.frontends.truncate(FRONTENDS);
            s.backends.truncate(BACKENDS);
            s.frontends[HTTP].bind.truncate(1);
        }
    }
    keep_one(&mut s.backends[HTTP].servers, servers);
    None
}

/// One server takes visitors, whatever was changed.
fn keep_one(list: &mut Vec<Server>, servers: &[Scripted]) {
    if list.is_empty() {
        list.push(server("s0", servers[0].address));
    }
    let takes = |s: &Server| s.state == ServerState::Ready && s.weight != Weight::new(0).unwrap();
    if !list.iter().any(takes) {
        list[0].state = ServerState::Ready;
        list[0].weight = Weight::new(100).unwrap();
    }
}
