//! The visitors one socket remembers: found by where their datagrams come from, and in the order in
//! which they make room for others.

use super::tally::Rank;
use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Who asks, and which of our addresses he asks.
pub(super) type Key = (SocketAddrV4, Ipv4Addr);

/// One that goes on after an answer is forgotten for others only after so much silence.
const ASSURED_MS: u64 = 5000;

#[derive(Debug)]
struct Entry<T> {
    value: T,
    key: Key,
    rank: Rank,
    order: u64,
}

/// See the file.
#[derive(Debug)]
pub(super) struct Table<T> {
    all: HashMap<u64, Entry<T>>,
    by_key: HashMap<Key, u64>,
    /// By rank, and in it those first of whom nothing was heard for longest.
    order: BTreeMap<(Rank, u64), u64>,
    next: u64,
}

impl<T: Clone> Table<T> {
    pub(super) fn new() -> Self {
        Self { all: HashMap::new(), by_key: HashMap::new(), order: BTreeMap::new(), next: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn get(&self, key: &Key) -> Option<T> {
        let entry = self.all.get(self.by_key.get(key)?)?;
        Some(entry.value.clone())
    }

    /// Takes in a visitor, in place of the one who asked from there before; that one is remembered
    /// for the answers he still gets. `make` is told the number he is known by.
    pub(super) fn put(&mut self, key: Key, make: impl FnOnce(u64) -> T) -> T {
        self.next += 1;
        let (id, order) = (self.next, self.next);
        let value = make(id);
        let rank = Rank::Fresh;
        self.order.insert((rank, order), id);
        self.by_key.insert(key, id);
        self.all.insert(id, Entry { value: value.clone(), key, rank, order });
        value
    }

    /// Something came from him or for him.
    pub(super) fn touch(&mut self, id: u64, rank: Rank) {
        let Some(entry) = self.all.get_mut(&id) else { return };
        self.next += 1;
        self.order.remove(&(entry.rank, entry.order));
        (entry.rank, entry.order) = (rank, self.next);
        self.order.insert((rank, self.next), id);
    }

    pub(super) fn remove(&mut self, id: u64) {
        let Some(entry) = self.all.remove(&id) else { return };
        self.order.remove(&(entry.rank, entry.order));
        if self.by_key.get(&entry.key) == Some(&id) {
            self.by_key.remove(&entry.key);
        }
    }

    /// Who has to make room, if anybody; `silence` tells for how many milliseconds nothing was
    /// heard of somebody.
    pub(super) fn least(&self, silence: impl Fn(&T) -> u64) -> Option<(u64, T)> {
        let ((rank, _), id) = self.order.first_key_value()?;
        let value = &self.all.get(id)?.value;
        let stays = *rank == Rank::Assured && silence(value) < ASSURED_MS;
        (!stays).then(|| (*id, value.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(port: u16) -> Key {
        (SocketAddrV4::new(Ipv4Addr::LOCALHOST, port), Ipv4Addr::LOCALHOST)
    }

    #[test]
    fn who_has_his_answers_goes_first_and_who_goes_on_last() {
        let mut t = Table::new();
        let ids: Vec<u64> = (1..=4).map(|p| t.put(key(p), |id| id)).collect();
        t.touch(ids[0], Rank::Assured);
        t.touch(ids[3], Rank::Done);
        let least = |t: &Table<u64>, silence| t.least(|_| silence).map(|(id, _)| id);
        for expected in [ids[3], ids[1], ids[2]] {
            assert_eq!(least(&t, 0), Some(expected));
            t.remove(expected);
        }
        assert_eq!(least(&t, 0), None);
        assert_eq!(least(&t, ASSURED_MS), Some(ids[0]));
        t.remove(ids[0]);
        assert!(t.is_empty() && t.order.is_empty() && t.by_key.is_empty());
    }

    #[test]
    fn one_who_starts_anew_takes_the_place() {
        let mut t = Table::new();
        let old = t.put(key(1), |id| id);
        let new = t.put(key(1), |id| id);
        assert_eq!(t.get(&key(1)), Some(new));
        t.touch(old, Rank::Done);
        t.remove(old);
        assert_eq!(t.get(&key(1)), Some(new));
        t.remove(new);
        assert_eq!(t.get(&key(1)), None);
    }
}
