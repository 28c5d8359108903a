//! A session of the admin page, as nodes keep it and send it to each other.

use crate::text::NodeId;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Sessions a node keeps at once; the one unused for longest makes room.
pub const MOST: usize = 256;
/// Longest text of a session, in bytes: what a page has put there for itself.
pub const LONGEST: usize = 4096;

/// One session. It holds no times, only ages: each node counts on from there by its own clock, so
/// that clocks that differ or jump neither end a session nor bring one back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The id in the browser's cookie. Whoever knows it is signed in.
    pub id: String,
    /// Which sign-out everywhere it came after: those of a lower number are over.
    #[serde(default)]
    pub generation: u64,
    /// From where it was opened.
    pub address: IpAddr,
    /// On which node.
    pub node: NodeId,
    /// The token its forms carry.
    pub csrf: String,
    /// A fingerprint of the password it was opened with: another password ends it.
    pub credential: String,
    /// Milliseconds since it was opened.
    pub age_ms: u64,
    /// Milliseconds since its last use that was written down.
    pub unused_ms: u64,
    /// Milliseconds since the password was last typed in it.
    pub proven_ms: u64,
    /// Milliseconds until it ends if it is not used.
    pub left_ms: u64,
    /// What pages have put there for themselves, JSON. It stays on the node.
    #[serde(skip)]
    pub more: String,
}

impl Session {
    /// Could a node have made it? Checked in what another node sends.
    pub fn is_plausible(&self) -> bool {
        let short = |t: &str, most| !t.is_empty() && t.len() <= most && t.is_ascii();
        short(&self.id, 64)
            && short(&self.csrf, 128)
            && short(&self.credential, 128)
            && !self.node.is_empty()
            && self.unused_ms <= self.age_ms
    }

    /// The name it goes by where its id must not be shown.
    pub fn name(&self) -> String {
        short(&self.id)
    }
}

/// What a node tells the others of sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct News {
    /// The number of the last sign-out everywhere.
    pub generation: u64,
    /// Sessions as they are now.
    pub sessions: Vec<Session>,
    /// Ids of sessions that were ended.
    pub ended: Vec<String>,
}

/// The name a session goes by where its id must not be shown: tells sessions from each other, and
/// lets nobody in (64-bit FNV-1a folded to 32 bits, of 128 random ones).
pub fn short(id: &str) -> String {
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let folded = (hash >> 32) ^ (hash & 0xffff_ffff);
    format!("{folded:08x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_sessions_apart() {
        assert_eq!(short("AAAAAAAAAAAAAAAAAAAAAA").len(), 8);
        assert_ne!(short("AAAAAAAAAAAAAAAAAAAAAA"), short("AAAAAAAAAAAAAAAAAAAAAB"));
    }
}
