//! A server of a backend, and what the operator wants of it.

use crate::error::BadValue;
use crate::keyword::keywords;
use crate::net::Endpoint;
use crate::persistence::CookieValue;
use crate::text::{Name, ServerHost};
use crate::units::Weight;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

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
    type Err = BadValue;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "ready" => Ok(Self::Ready),
            "drain" => Ok(Self::Drain),
            "maint" => Ok(Self::Maint),
            _ => Err(BadValue::new(format!(
                "{text:?} is no state of a server; choose ready, drain or maint"
            ))),
        }
    }
}

keywords! {
    /// Whose word on a server's health counts (HAProxy `enable health`, `disable health`,
    /// `set server … health`).
    ServerHealth, "health of a server",
    /// The checks'.
    #[default]
    Checked => "checked",
    /// The operator's: it is up. Checks stop.
    Up => "up",
    /// The operator's: it finishes what it has. Checks stop.
    Stopping => "stopping",
    /// The operator's: it is down. Checks stop.
    Down => "down",
}

keywords! {
    /// Whose word counts in the place of a server's agent (HAProxy `enable agent`, `disable agent`,
    /// `set server … agent`).
    ServerAgent, "way with an agent",
    /// The agent's.
    #[default]
    Asked => "asked",
    /// Nobody's: it is not asked, and what it said last stays.
    Off => "off",
    /// The operator's: it says up. The rest of what the agent says still counts.
    Up => "up",
    /// The operator's: it says down.
    Down => "down",
}

keywords! {
    /// What tells a server the visitor's address before anything else (HAProxy `send-proxy`).
    SendProxy, "version of the PROXY protocol",
    /// Nothing.
    #[default]
    Off => "off",
    /// PROXY protocol version 1, a line of text.
    V1 => "v1",
    /// PROXY protocol version 2, binary.
    V2 => "v2",
}

/// A server of a backend. An entry with the name of a server that `web_nodes` brings and no
/// address changes that one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Its name.
    pub name: Name,
    /// Where it listens; none for a server that `web_nodes` brings, and for one that is known by
    /// its name in the DNS.
    pub address: Option<Endpoint>,
    /// Its name in the DNS and its port, asked for again and again (HAProxy `server … resolvers`).
    pub hostname: Option<ServerHost>,
    /// Its share.
    pub weight: Weight,
    /// What the operator wants of it.
    pub state: ServerState,
    /// Whose word on its health counts.
    pub health: ServerHealth,
    /// Whose word counts in the place of its agent, where it has one.
    pub agent: ServerAgent,
    /// Used only when no other server is up (HAProxy `backup`).
    pub backup: bool,
    /// Requests it gets at once; more wait (HAProxy `maxconn`). 0: as many as there are.
    pub maxconn: u32,
    /// How far `maxconn` goes down while the backend has little to do: it grows with the backend's
    /// requests and is reached at its `fullconn` (HAProxy `minconn`). 0: it is always `maxconn`.
    pub minconn: u32,
    /// Requests that may wait for this very server (HAProxy `maxqueue`). 0: any number.
    pub maxqueue: u32,
    /// What tells it the visitor's address.
    pub send_proxy: SendProxy,
    /// Its name in the persistence cookie; none: its own name (HAProxy `cookie`).
    pub cookie: Option<CookieValue>,
}
