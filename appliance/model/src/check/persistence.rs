//! Hashes, cookies and stick tables: what they say together.

use super::Problems;
use crate::balance::{Balance, HashMethod};
use crate::balancing::Mode;
use crate::derive::web_servers;
use crate::persistence::{StickOn, StickType};
use crate::settings::Settings;
use crate::units::Millis;

pub(super) fn check(all: &Settings, written: &Settings, problems: &mut Problems) {
    for (i, backend) in written.backends.iter().enumerate() {
        let path = format!("backends[{i}]");
        if (1..=100).contains(&backend.hash_balance_factor) {
            problems.add(
                format!("{path}.hash_balance_factor"),
                "give more than 100 percent, such as 150, or 0 for no limit",
            );
        }
        let consistent = backend.hash_type.method == HashMethod::Consistent;
        if backend.hash_balance_factor > 0 && backend.balance.hashes() && !consistent {
            problems.add(format!("{path}.hash_balance_factor"), "this needs hash_type consistent");
        }
        if backend.slowstart != Millis(0) && backend.slowstart < Millis::seconds(1) {
            problems.add(format!("{path}.slowstart"), "give at least 1s, or 0 for none");
        }
        match (&backend.stick_table, &backend.stick_on) {
            (Some(table), Some(on)) => {
                let fits = matches!(
                    (table.kind, on),
                    (StickType::Ip, StickOn::Src) | (StickType::Text(_), StickOn::Cookie(_))
                );
                if !fits {
                    problems.add(
                        format!("{path}.stick_table"),
                        "type ip goes with stick_on src, and type string with stick_on cookie(NAME)",
                    );
                }
            }
            (None, Some(_)) => problems.add(
                format!("{path}.stick_table"),
                "stick_on needs a table, for example: type ip size 100k expire 30m",
            ),
            (Some(_), None) => problems.add(
                format!("{path}.stick_on"),
                "say what visitors are remembered by: src or cookie(NAME)",
            ),
            (None, None) => {}
        }
        if backend.mode != Mode::Http {
            let mode = backend.mode;
            let seen = match backend.balance {
                Balance::Uri(_) | Balance::UrlParam { .. } | Balance::Hdr { .. } => true,
                Balance::RdpCookie { .. } => mode == Mode::Udp,
                _ => false,
            };
            if seen {
                let keyword = backend.balance.keyword();
                problems.add(
                    format!("{path}.balance"),
                    format!("{keyword} reads requests, which mode {mode} does not; choose source or leastconn"),
                );
            }
            if backend.cookie.is_some() || matches!(backend.stick_on, Some(StickOn::Cookie(_))) {
                problems.add(
                    format!("{path}.cookie"),
                    format!("mode {mode} reads no cookies; keep visitors by stick_on src"),
                );
            }
        }
        if backend.cookie.is_none() {
            continue;
        }
        // Two servers of one name in the cookie would be one to every visitor.
        let brought = if backend.web_nodes { web_servers(all) } else { Vec::new() };
        let mut seen: Vec<String> = brought
            .iter()
            .filter(|(name, ..)| !backend.servers.iter().any(|s| s.name == *name))
            .map(|(name, ..)| name.to_string())
            .collect();
        for (k, server) in backend.servers.iter().enumerate() {
            let value = server.cookie.as_ref().map_or(server.name.as_str(), |c| c.as_str());
            if seen.iter().any(|s| s == value) {
                problems.add(
                    format!("{path}.servers[{k}].cookie"),
                    format!("another server is called {value} in the cookie; choose another value"),
                );
            }
            seen.push(value.to_owned());
        }
    }
}
