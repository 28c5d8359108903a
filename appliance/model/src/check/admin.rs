//! The admin page.

use super::Problems;
use crate::settings::Settings;
use crate::units::Millis;

const SHORTEST_SESSION: Millis = Millis::seconds(60);
const MAX_HOSTS: usize = 16;
pub(super) const SHORTEST_REFRESH: Millis = Millis::seconds(1);
/// Where pages and resources begin: the statistics cannot be there as well.
const PAGES: [&str; 41] = [
    "",
    "admin",
    "again",
    "api",
    "audit",
    "backup",
    "balancing",
    "board",
    "claim",
    "cluster",
    "conflicts",
    "diagnostics",
    "events",
    "failover",
    "favicon.ico",
    "firmware",
    "found",
    "healthz",
    "history",
    "log",
    "log.txt",
    "login",
    "logout",
    "metrics",
    "more",
    "network",
    "nodes",
    "notices",
    "password",
    "roles",
    "sessions",
    "sites",
    "static",
    "stats",
    "tokens",
    "wifi",
    "balancers",
    "charts",
    "certificates",
    "acme",
    "dns",
];

pub(super) fn check(settings: &Settings, problems: &mut Problems) {
    let admin = &settings.admin;
    if admin.session_idle < SHORTEST_SESSION {
        problems.add("admin.session_idle", format!("a session lasts at least {SHORTEST_SESSION}"));
    }
    if admin.session_max < admin.session_idle {
        problems.add("admin.session_max", "a session cannot end sooner than an idle one would");
    }
    if let Some(uri) = &admin.stats_uri {
        let first = uri.as_str().trim_start_matches('/').split(['/', '?']).next();
        if first.is_none_or(|first| PAGES.contains(&first)) {
            let text =
                format!("{uri} is a page already; choose another path, such as /haproxy?stats");
            problems.add("admin.stats_uri", text);
        }
    }
    if admin.stats_refresh.is_some_and(|every| every < SHORTEST_REFRESH) {
        problems.add("admin.stats_refresh", format!("at least {SHORTEST_REFRESH}, or nothing"));
    }
    if admin.hosts.len() > MAX_HOSTS {
        problems.add("admin.hosts", format!("at most {MAX_HOSTS} names"));
    }
    for (i, host) in admin.hosts.iter().enumerate() {
        let plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
        if host.is_empty() || host.len() > 253 || !plain {
            problems.add(
                format!("admin.hosts[{i}]"),
                format!("{host:?} is no host name; write for example pi.example.org"),
            );
        }
    }
}
