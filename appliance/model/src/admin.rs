//! The admin page on port 1936.

use crate::text::StatsUri;
use crate::units::Millis;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// The port of the admin page on every node.
pub const ADMIN_PORT: u16 = 1936;
/// The only account, of the admin page and wherever its password is asked for.
pub const ADMIN_USER: &str = "admin";
/// How its password is asked for (RFC 7617 2).
pub const ADMIN_CHALLENGE: &str = "Basic realm=\"Bramble\", charset=\"UTF-8\"";
/// The cookie of a session on the admin page. Browsers know no ports for cookies: every site on an
/// address of this cluster would be sent it, were it not taken out on the way.
pub const SESSION_COOKIE: &str = "bramble_sid";
/// The port nodes talk to each other on.
pub const NODE_PORT: u16 = 1937;

/// A board on its setup access point, a network of 256 addresses.
pub const SETUP_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 19, 36);
/// The length of that network's prefix.
pub const SETUP_PREFIX: u8 = 24;

/// The `admin` section. The password is not here: it is kept as a hash in the node's own store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// A session ends after so long without a request.
    pub session_idle: Millis,
    /// A session ends after so long in any case.
    pub session_max: Millis,
    /// Where `/stats` is besides (HAProxy `stats uri`).
    pub stats_uri: Option<StatsUri>,
    /// `/stats` loads itself again after so long (HAProxy `stats refresh`); never by default.
    pub stats_refresh: Option<Millis>,
    /// More names the page may be opened under, besides the nodes' own names and addresses.
    pub hosts: Vec<String>,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            session_idle: Millis::seconds(30 * 60),
            session_max: Millis::seconds(12 * 3600),
            stats_uri: None,
            stats_refresh: None,
            hosts: Vec::new(),
        }
    }
}
