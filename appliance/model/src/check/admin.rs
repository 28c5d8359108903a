//! The admin page.

use super::Problems;
use crate::settings::Settings;
use crate::units::Millis;

const SHORTEST_SESSION: Millis = Millis::seconds(60);
const MAX_HOSTS: usize = 16;

pub(super) fn check(settings: &Settings, problems: &mut Problems) {
    let admin = &settings.admin;
    if admin.session_idle < SHORTEST_SESSION {
        problems.add("admin.session_idle", format!("a session lasts at least {SHORTEST_SESSION}"));
    }
    if admin.session_max < admin.session_idle {
        problems.add("admin.session_max", "a session cannot end sooner than an idle one would");
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
