//! Mode udp and checks by DNS: what goes together.

use super::Problems;
use crate::balancing::{Backend, Mode};
use crate::dns::DnsType;
use crate::health_check::Check;
use crate::server::SendProxy;
use crate::settings::Settings;
use std::net::IpAddr;

/// Ports of datagrams that the appliance itself needs, and for what.
const OWN: [(u16, &str); 2] =
    [(68, "this board's DHCP client"), (5353, "the boards' names in the local network (mDNS)")];

pub(super) fn check(written: &Settings, problems: &mut Problems) {
    for (i, frontend) in written.frontends.iter().enumerate() {
        if frontend.mode != Mode::Udp {
            continue;
        }
        let path = format!("frontends[{i}]");
        if frontend.accept_proxy {
            problems.add(
                format!("{path}.accept_proxy"),
                "the PROXY protocol opens connections, and mode udp has none",
            );
        }
        for (k, bind) in frontend.bind.iter().enumerate() {
            if bind.ssl {
                problems.add(
                    format!("{path}.bind[{k}]"),
                    "TLS is spoken on connections, and mode udp has none; leave ssl out",
                );
            }
            if let Some((port, what)) = OWN.iter().find(|(port, _)| *port == bind.port.get()) {
                problems.add(
                    format!("{path}.bind[{k}]"),
                    format!("port {port} belongs to {what}; choose another"),
                );
            }
        }
    }
    for (i, backend) in written.backends.iter().enumerate() {
        let path = format!("backends[{i}]");
        asks_dns(&backend.check, &format!("{path}.check"), problems);
        if backend.mode == Mode::Udp {
            in_udp(backend, &path, problems);
        }
    }
}

fn in_udp(backend: &Backend, path: &str, problems: &mut Problems) {
    for (k, server) in backend.servers.iter().enumerate() {
        if server.send_proxy != SendProxy::Off {
            problems.add(
                format!("{path}.servers[{k}].send_proxy"),
                "the PROXY protocol opens connections, and mode udp has none",
            );
        }
        if server.maxqueue != 0 {
            problems.add(
                format!("{path}.servers[{k}].maxqueue"),
                "datagrams do not wait: over maxconn another server is chosen; leave this at 0",
            );
        }
    }
    let check = &backend.check;
    if check.enabled && check.port.is_none() && check.dns_name.is_none() {
        problems.add(
            format!("{path}.check.dns_name"),
            "datagrams do not show whether a server is there: ask DNS servers for a name, give a TCP port to check, or turn the checks off",
        );
    }
}

fn asks_dns(check: &Check, path: &str, problems: &mut Problems) {
    if check.dns_name.is_none() {
        for (name, set) in
            [("dns_codes", check.dns_codes.is_some()), ("dns_address", check.dns_address.is_some())]
        {
            if set {
                problems.add(
                    format!("{path}.{name}"),
                    "this is about a DNS check; give a name to ask for as well",
                );
            }
        }
        return;
    }
    if check.http_path.is_some() {
        problems.add(
            format!("{path}.dns_name"),
            "a server is asked either for a path or for a name; leave one of them out",
        );
    }
    let fits = match check.dns_address {
        None => true,
        Some(IpAddr::V4(_)) => check.dns_type == DnsType::A,
        Some(IpAddr::V6(_)) => check.dns_type == DnsType::Aaaa,
    };
    if !fits {
        problems.add(
            format!("{path}.dns_address"),
            "an address is the answer to type A, an IPv6 address that to type AAAA",
        );
    }
}
