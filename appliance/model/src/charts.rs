//! What the charts of the balancing pages show: the last minutes and hours of each frontend,
//! backend and server, and what is asked for most.

use crate::text::Name;
use serde::{Deserialize, Serialize};

/// A second or a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sample {
    /// Requests that began; connections in mode tcp.
    pub requests: u32,
    /// The most requests (frontends: connections) under way.
    pub sessions: u32,
    /// Average milliseconds to the response's head, of servers and backends.
    pub rtime: u32,
    /// Responses: 2xx.
    pub hrsp_2xx: u32,
    /// 3xx.
    pub hrsp_3xx: u32,
    /// 4xx.
    pub hrsp_4xx: u32,
    /// 5xx.
    pub hrsp_5xx: u32,
}

/// The history of a frontend, a backend or a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Series {
    /// The frontend or backend.
    pub proxy: Name,
    /// The server; None for the whole.
    pub server: Option<Name>,
    /// It is a frontend.
    pub frontend: bool,
    /// How many seconds have been counted altogether.
    pub counted: u64,
    /// The last seconds, the oldest first.
    pub seconds: Vec<Sample>,
    /// The last whole minutes, the oldest first.
    pub minutes: Vec<Sample>,
}

/// A path that is asked for often, without its query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PathCount {
    /// The path, or its first bytes.
    pub path: String,
    /// Requests for it, at least; what may be another path's is not counted.
    pub requests: u64,
    /// Of these, answered with 4xx or 5xx; at least.
    pub errors: u64,
}

/// What is asked for most at a frontend since it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Paths {
    /// The frontend.
    pub frontend: Name,
    /// Most requests first.
    pub top: Vec<PathCount>,
    /// All other requests, those that could not be told apart included.
    pub other: u64,
}
