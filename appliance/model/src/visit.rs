//! Where a visitor was sent, as one balancer tells another.

use crate::text::Name;
use serde::{Deserialize, Serialize};

/// An entry of a stick table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visit {
    /// The backend whose table it is.
    pub backend: Name,
    /// What the visitor is known by: an address or a cookie's value.
    pub key: String,
    /// The server it was sent to.
    pub server: Name,
    /// Milliseconds since the last visit.
    pub age_ms: u64,
}
