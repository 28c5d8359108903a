//! The boards heard of lately. Pure.

use super::wire::Hint;
use crate::hello::Versions;
use crate::members::Members;
use crate::proof::Token;
use model::DeviceId;
use model::status::{BoardState, BoardTrust, FoundBoard};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// More boards are not listed.
const MOST: usize = 64;
/// More addresses of one board are not kept.
const MOST_ADDRESSES: usize = 4;
/// A board that was not heard of for so long is gone.
const FORGOTTEN: Duration = Duration::from_secs(20);
/// One that was looked at by its address has nobody who speaks of it.
const FORGOTTEN_LOOKED_AT: Duration = Duration::from_secs(300);
/// More hints in a second are not looked at.
const MOST_A_SECOND: u32 = 64;

#[derive(Debug)]
struct Entry {
    hint: Hint,
    addresses: Vec<Ipv4Addr>,
    heard: Instant,
    looked_at: Option<Instant>,
}

impl Entry {
    fn is_gone(&self, now: Instant) -> bool {
        let over = |since: Instant, span| now.saturating_duration_since(since) >= span;
        over(self.heard, FORGOTTEN) && self.looked_at.is_none_or(|at| over(at, FORGOTTEN_LOOKED_AT))
    }
}

/// The boards heard of lately.
#[derive(Debug, Default)]
pub(crate) struct Table {
    entries: BTreeMap<DeviceId, Entry>,
    second: Option<(Instant, u32)>,
}

/// What makes a board this cluster's, another's or nobody's.
pub(crate) struct View<'a> {
    pub(crate) members: &'a Members,
    pub(crate) token: Option<&'a Token>,
    pub(crate) versions: Versions,
}

impl Table {
    /// Keeps a hint that came from an address; false for one too many.
    pub(crate) fn heard(&mut self, hint: Hint, from: &[Ipv4Addr], now: Instant) -> bool {
        self.keep(hint, from, now, false)
    }

    /// Keeps what a board said that was looked at by its address.
    pub(crate) fn looked_at(&mut self, hint: Hint, at: Ipv4Addr, now: Instant) {
        self.keep(hint, &[at], now, true);
    }

    fn keep(&mut self, hint: Hint, from: &[Ipv4Addr], now: Instant, looked_at: bool) -> bool {
        let (since, count) = self.second.get_or_insert((now, 0));
        if now.saturating_duration_since(*since) >= Duration::from_secs(1) {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        if *count > MOST_A_SECOND && !looked_at {
            return false;
        }
        if !self.entries.contains_key(&hint.device) && self.entries.len() >= MOST {
            self.entries.retain(|_, entry| !entry.is_gone(now));
            if self.entries.len() >= MOST {
                return false;
            }
        }
        let entry = self.entries.entry(hint.device.clone()).or_insert_with(|| Entry {
            hint: hint.clone(),
            addresses: Vec::new(),
            heard: now,
            looked_at: None,
        });
        let batch = entry.hint.batch.take();
        entry.hint = hint;
        // Other means of discovery do not carry it.
        entry.hint.batch = entry.hint.batch.take().or(batch);
        entry.heard = now;
        if looked_at {
            entry.looked_at = Some(now);
        }
        for address in from {
            entry.addresses.retain(|known| known != address);
            entry.addresses.insert(0, *address);
        }
        entry.addresses.truncate(MOST_ADDRESSES);
        true
    }

    /// Where a board is reached.
    pub(crate) fn addresses(&self, device: &DeviceId) -> Option<(String, Vec<Ipv4Addr>)> {
        let entry = self.entries.get(device)?;
        Some((entry.hint.name.clone(), entry.addresses.clone()))
    }

    /// Forgets a board, so that what it was is not shown for what it is.
    pub(crate) fn forget(&mut self, device: &DeviceId) {
        self.entries.remove(device);
    }

    /// What the operator is shown.
    pub(crate) fn found(&mut self, view: &View<'_>, now: Instant) -> Vec<FoundBoard> {
        self.entries.retain(|_, entry| !entry.is_gone(now));
        let mut found: Vec<_> = self.entries.values().map(|e| board(e, view, now)).collect();
        found.sort_by(|a, b| (&a.name, &a.device).cmp(&(&b.name, &b.device)));
        found
    }
}

fn board(entry: &Entry, view: &View<'_>, now: Instant) -> FoundBoard {
    let hint = &entry.hint;
    let holder = view.members.holder(&hint.device);
    let state = match holder {
        _ if view.versions.common(hint.versions).is_none() => {
            BoardState::Unknown { version: hint.release.clone() }
        }
        // One of ours that says it is nobody's was reset: it can be adopted again.
        _ if !hint.claimed => BoardState::Unclaimed,
        Some(node) => BoardState::Ours { node: node.clone() },
        None => BoardState::Other { cluster: hint.cluster.clone() },
    };
    let age = now.saturating_duration_since(entry.heard).as_millis();
    FoundBoard {
        device: hint.device.clone(),
        name: hint.name.clone(),
        model: hint.model.clone(),
        addresses: entry.addresses.clone(),
        wired: hint.wired,
        state,
        trust: if hint.of_batch(view.token) { BoardTrust::Card } else { BoardTrust::Code },
        age_ms: u64::try_from(age).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::Peer;

    fn hint(number: u32, claimed: bool) -> Hint {
        let device = format!("{number:064x}").parse().unwrap();
        Hint::new(device, format!("pi-{number}"), claimed)
    }

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, last)
    }

    fn show(table: &mut Table, members: &Members, now: Instant) -> Vec<FoundBoard> {
        table.found(&View { members, token: None, versions: Versions::OURS }, now)
    }

    #[test]
    fn boards_come_age_and_go() {
        let (mut table, now) = (Table::default(), Instant::now());
        assert!(table.heard(hint(1, false), &[address(1)], now));
        assert!(table.heard(hint(1, false), &[address(2)], now + Duration::from_secs(5)));
        let none = Members::default();
        let found = show(&mut table, &none, now + Duration::from_secs(7));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].addresses, [address(2), address(1)], "the newest first");
        assert_eq!((found[0].age_ms, &found[0].state), (2000, &BoardState::Unclaimed));
        assert_eq!(show(&mut table, &none, now + Duration::from_secs(25)), []);
        table.looked_at(hint(1, false), address(1), now);
        assert_eq!(show(&mut table, &none, now + Duration::from_secs(60)).len(), 1);
        assert_eq!(show(&mut table, &none, now + Duration::from_secs(300)), []);
    }

    #[test]
    fn whose_is_it() {
        let (mut table, now) = (Table::default(), Instant::now());
        let mut other = hint(2, true);
        other.cluster = "theirs".into();
        let mut newer = hint(4, false);
        (newer.versions, newer.release) = (Versions { min: 8, max: 9 }, "9.0".into());
        for hint in [hint(1, true), other, hint(3, false), newer] {
            table.heard(hint, &[address(1)], now);
        }
        let peer = |number| Peer { device: Some(hint(number, true).device), ..Peer::default() };
        let members = Members {
            peers: [("web01", peer(1)), ("web03", peer(3))]
                .map(|(id, peer)| (id.parse().unwrap(), peer))
                .into(),
            ..Members::default()
        };
        let states: Vec<_> =
            show(&mut table, &members, now).into_iter().map(|board| board.state).collect();
        assert_eq!(
            states,
            [
                BoardState::Ours { node: "web01".parse().unwrap() },
                BoardState::Other { cluster: "theirs".into() },
                BoardState::Unclaimed, // ours once, and reset since
                BoardState::Unknown { version: "9.0".into() },
            ]
        );
    }

    #[test]
    fn a_flood_has_a_limit_and_pushes_nobody_out() {
        let (mut table, now) = (Table::default(), Instant::now());
        assert!(table.heard(hint(0, false), &[address(1)], now));
        let kept = (1..1000).filter(|n| table.heard(hint(*n, false), &[address(2)], now)).count();
        assert_eq!(kept, 63);
        let later = now + Duration::from_secs(2);
        assert!(!table.heard(hint(2000, false), &[address(3)], later), "no room");
        assert!(table.heard(hint(0, false), &[address(1)], later), "who is there stays");
        let none = Members::default();
        assert_eq!(show(&mut table, &none, later).len(), 64);
        let later = now + Duration::from_secs(21);
        assert!(table.heard(hint(2000, false), &[address(3)], later));
        for last in 0..9 {
            table.heard(hint(0, false), &[address(last)], later);
        }
        let found = show(&mut table, &none, later);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].addresses.len(), 4);
    }
}
