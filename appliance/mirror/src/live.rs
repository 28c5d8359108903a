//! What a site's mirror is doing, for whoever asks.

use control::StatusBoard;
use model::status::{MirrorPhase, MirrorStatus};
use model::{Name, NodeId};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many lines of what is skipped are shown.
const LINES: usize = 20;

/// Counters and phase of one site. Survives a change of its settings.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// What it is doing.
    pub(crate) phase: MirrorPhase,
    /// Where its files come from.
    pub(crate) origin: NodeId,
    /// When this node's copy was last known to be equal.
    pub(crate) equal_at: Option<Instant>,
    /// When the last full compare ended.
    pub(crate) compared_at: Option<Instant>,
    /// Entries of the tree.
    pub(crate) entries: u64,
    /// Files created or replaced.
    pub(crate) copied: u64,
    /// Entries deleted.
    pub(crate) deleted: u64,
    /// Bytes of content received or sent.
    pub(crate) bytes: u64,
    /// Mirrors connected.
    pub(crate) followers: u32,
    /// What cannot be mirrored.
    pub(crate) skipped: Vec<String>,
}

/// [`Facts`] that several threads share.
pub(crate) struct Live {
    site: Name,
    board: StatusBoard,
    facts: Mutex<Facts>,
}

impl Live {
    /// Nothing is known yet.
    pub(crate) fn new(site: Name, board: StatusBoard) -> Self {
        Self { site, board, facts: Mutex::default() }
    }

    /// Access to the facts; held briefly.
    pub(crate) fn facts(&self) -> MutexGuard<'_, Facts> {
        // Valid after any panic: single assignments only.
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a phase, and shows it at once when it is another one.
    pub(crate) fn phase(&self, phase: MirrorPhase) {
        let mut facts = self.facts();
        if facts.phase == MirrorPhase::Following {
            facts.equal_at = Some(Instant::now());
        }
        let changed = facts.phase != phase;
        facts.phase = phase;
        drop(facts);
        if changed {
            self.board.touch();
        }
    }

    /// The connection broke; until `heard` the copy was equal if it was at all.
    pub(crate) fn lost(&self, heard: Instant) {
        let mut facts = self.facts();
        if facts.phase == MirrorPhase::Following {
            facts.equal_at = Some(heard);
            facts.phase = MirrorPhase::Connecting;
            drop(facts);
            self.board.touch();
        }
    }

    /// Says what is skipped.
    pub(crate) fn skipped(&self, mut lines: Vec<String>) {
        lines.truncate(LINES);
        self.facts().skipped = lines;
    }

    /// The status at this moment.
    pub(crate) fn status(&self) -> MirrorStatus {
        let facts = self.facts();
        let ago = |at: Option<Instant>| at.map(|at| millis(at.elapsed()));
        let equal = match facts.phase {
            MirrorPhase::Following | MirrorPhase::Origin => Some(0),
            _ => ago(facts.equal_at),
        };
        MirrorStatus {
            site: self.site.clone(),
            origin: facts.origin.clone(),
            phase: facts.phase.clone(),
            lag_ms: equal,
            synced_ago_ms: equal,
            compared_ago_ms: ago(facts.compared_at),
            entries: facts.entries,
            copied: facts.copied,
            deleted: facts.deleted,
            bytes: facts.bytes,
            followers: facts.followers,
            skipped: facts.skipped.clone(),
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
