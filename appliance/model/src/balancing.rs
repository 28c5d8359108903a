//! Frontends, backends and servers, under HAProxy's names.

use crate::net::{Bind, Endpoint};
use crate::text::{CheckPath, Name};
use crate::units::{Millis, Weight};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The frontend that exists as soon as there is a floating IP and a balancer.
pub const DEFAULT_FRONTEND: &str = "http-in";
/// The backend that exists as soon as there is a web server.
pub const DEFAULT_BACKEND: &str = "webservers";

/// Where visitors arrive (HAProxy `frontend`, mode http).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Frontend {
    /// Its name.
    pub name: Name,
    /// Off: it is kept in the settings and does not listen.
    pub enabled: bool,
    /// Where it listens.
    pub bind: Vec<Bind>,
    /// Where its requests go.
    pub default_backend: Name,
    /// Concurrent connections; more wait in the kernel (HAProxy `maxconn`).
    pub maxconn: u32,
    /// Add `X-Forwarded-For` with the visitor's address (HAProxy `option forwardfor`).
    pub forwardfor: bool,
    /// Write an access log (HAProxy `option httplog`).
    pub httplog: bool,
    /// Longest silence of a visitor (HAProxy `timeout client`).
    pub timeout_client: Millis,
    /// Longest time for a whole request head (HAProxy `timeout http-request`).
    pub timeout_http_request: Millis,
    /// Longest silence between two requests (HAProxy `timeout http-keep-alive`).
    pub timeout_http_keep_alive: Millis,
}

impl Default for Frontend {
    fn default() -> Self {
        Self {
            name: Name::default(),
            enabled: true,
            bind: Vec::new(),
            default_backend: Name::default(),
            maxconn: 2000,
            forwardfor: true,
            httplog: true,
            timeout_client: Millis::seconds(50),
            timeout_http_request: Millis::seconds(10),
            timeout_http_keep_alive: Millis::seconds(10),
        }
    }
}

/// How a server is chosen (HAProxy `balance`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// In turn, by weight; weights change while running.
    #[default]
    Roundrobin,
    /// In turn, by weight; the whole turn begins anew when the set of servers changes.
    StaticRr,
    /// The server with the fewest requests under way, relative to its weight.
    Leastconn,
}

impl Balance {
    /// All of them, in the order they are offered.
    pub const ALL: [Self; 3] = [Self::Roundrobin, Self::StaticRr, Self::Leastconn];

    /// HAProxy's keyword.
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::Roundrobin => "roundrobin",
            Self::StaticRr => "static-rr",
            Self::Leastconn => "leastconn",
        }
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.keyword())
    }
}

impl FromStr for Balance {
    type Err = crate::BadValue;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|b| b.keyword() == text).ok_or_else(|| {
            crate::BadValue::new(format!(
                "{text:?} is no balancing algorithm; choose roundrobin, static-rr or leastconn"
            ))
        })
    }
}

/// A group of servers (HAProxy `backend`, mode http).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Backend {
    /// Its name.
    pub name: Name,
    /// How a server is chosen.
    pub balance: Balance,
    /// Also every address of every web server, under names such as `web01-eth`.
    pub web_nodes: bool,
    /// Servers of its own, and what differs for those that `web_nodes` brings.
    pub servers: Vec<Server>,
    /// How servers are checked.
    pub check: Check,
    /// Attempts after a failed connection (HAProxy `retries`).
    pub retries: u8,
    /// Longest time for a connection to a server (HAProxy `timeout connect`).
    pub timeout_connect: Millis,
    /// Longest silence of a server (HAProxy `timeout server`).
    pub timeout_server: Millis,
}

impl Default for Backend {
    fn default() -> Self {
        Self {
            name: Name::default(),
            balance: Balance::default(),
            web_nodes: false,
            servers: Vec::new(),
            check: Check::default(),
            retries: 3,
            timeout_connect: Millis::seconds(5),
            timeout_server: Millis::seconds(50),
        }
    }
}

/// A health check (HAProxy `server … check inter fall rise`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Check {
    /// Off: servers count as up.
    pub enabled: bool,
    /// Time between checks, and the time a check may take.
    pub inter: Millis,
    /// Failures in a row until a server is down.
    pub fall: u8,
    /// Successes in a row until it is up again.
    pub rise: u8,
    /// Ask for this path and expect 2xx or 3xx (HAProxy `option httpchk GET`). None: a TCP
    /// connection is enough.
    pub http_path: Option<CheckPath>,
}

impl Default for Check {
    fn default() -> Self {
        Self { enabled: true, inter: Millis(500), fall: 3, rise: 2, http_path: None }
    }
}

/// What the operator wants of a server (HAProxy's administrative state).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerState {
    /// Takes its share.
    #[default]
    Ready,
    /// Finishes what it has, gets nothing new; checks go on.
    Drain,
    /// Out of service; checks stop.
    Maint,
}

impl ServerState {
    /// HAProxy's keyword.
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maint => "maint",
        }
    }
}

impl FromStr for ServerState {
    type Err = crate::BadValue;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "ready" => Ok(Self::Ready),
            "drain" => Ok(Self::Drain),
            "maint" => Ok(Self::Maint),
            _ => Err(crate::BadValue::new(format!(
                "{text:?} is no state of a server; choose ready, drain or maint"
            ))),
        }
    }
}

/// A server of a backend. An entry with the name of a server that `web_nodes` brings and no
/// address changes that one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Its name.
    pub name: Name,
    /// Where it listens; none only for a server that `web_nodes` brings.
    pub address: Option<Endpoint>,
    /// Its share.
    pub weight: Weight,
    /// What the operator wants of it.
    pub state: ServerState,
    /// Used only when no other server is up (HAProxy `backup`).
    pub backup: bool,
}
