//! Stick tables: which server a visitor was sent to, by address or by a cookie of the servers.
//!
//! A table is bounded: a full one forgets who has been away longest. Entries are known by the
//! server's name, so that they outlive changes of the settings. Every change has a number; what
//! has changed since a number is what another balancer is told, and it takes over what is newer
//! than its own. No clock is compared: ages are told.

use crate::live::lock;
use model::{Name, StickTable, Visit};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// A visit this soon after the one before changes nothing.
const SAME_MS: u64 = 1000;

/// Numbers the changes of all tables.
#[derive(Debug, Default)]
pub(crate) struct Changes(AtomicU64);

impl Changes {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Relaxed) + 1
    }

    /// The number of the last change.
    pub(crate) fn now(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A backend's table.
#[derive(Debug)]
pub(crate) struct Stick {
    inner: Mutex<Inner>,
    changes: Arc<Changes>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<Arc<str>, Entry>,
    /// By the number of their last change, which is also the order of their last visits.
    order: BTreeMap<u64, Arc<str>>,
}

#[derive(Debug)]
struct Entry {
    server: Name,
    seen_ms: u64,
    number: u64,
}

impl Inner {
    fn forget(&mut self, key: &str) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.number);
        }
    }

    /// Forgets who has been away too long, and, where there is no room, the longest away.
    fn make_room(&mut self, table: &StickTable, now_ms: u64) -> bool {
        let size = usize::try_from(table.size).unwrap_or(usize::MAX).max(1);
        while let Some((_, oldest)) = self.order.first_key_value() {
            let oldest = Arc::clone(oldest);
            let gone = self.entries.get(&oldest).is_none_or(|e| expired(e, table, now_ms));
            if !gone && self.entries.len() < size {
                break;
            }
            if !gone && table.nopurge {
                return false;
            }
            self.forget(&oldest);
        }
        true
    }
}

fn expired(entry: &Entry, table: &StickTable, now_ms: u64) -> bool {
    let limit = table.expire.map_or(u64::MAX, |e| u64::from(e.0));
    now_ms.saturating_sub(entry.seen_ms) > limit
}

impl Stick {
    pub(crate) fn new(changes: Arc<Changes>) -> Self {
        Self { inner: Mutex::default(), changes }
    }

    /// The server of this visitor.
    pub(crate) fn get(&self, table: &StickTable, key: &str, now_ms: u64) -> Option<Name> {
        let inner = lock(&self.inner);
        let entry = inner.entries.get(key).filter(|e| !expired(e, table, now_ms))?;
        Some(entry.server.clone())
    }

    /// This visitor was sent to this server.
    pub(crate) fn put(&self, table: &StickTable, key: &str, server: &Name, now_ms: u64) {
        let mut inner = lock(&self.inner);
        if let Some(entry) = inner.entries.get(key) {
            let recent = now_ms.saturating_sub(entry.seen_ms) < SAME_MS;
            if recent && entry.server == *server {
                return;
            }
        }
        self.write(&mut inner, table, key, server, now_ms, now_ms);
    }

    /// Another balancer tells where it has sent a visitor. Returns whether that was news.
    pub(crate) fn hear(&self, table: &StickTable, visit: &Visit, now_ms: u64) -> bool {
        let seen_ms = now_ms.saturating_sub(visit.age_ms);
        let mut inner = lock(&self.inner);
        if let Some(entry) = inner.entries.get(visit.key.as_str()) {
            let newer = seen_ms.saturating_sub(entry.seen_ms);
            let same = entry.server == visit.server;
            // Told back and forth, an age only grows.
            if newer == 0 || (same && newer < SAME_MS) {
                return false;
            }
        }
        self.write(&mut inner, table, &visit.key, &visit.server, seen_ms, now_ms)
    }

    fn write(
        &self,
        inner: &mut Inner,
        table: &StickTable,
        key: &str,
        server: &Name,
        seen_ms: u64,
        now_ms: u64,
    ) -> bool {
        inner.forget(key);
        if !inner.make_room(table, now_ms) {
            return false;
        }
        let key: Arc<str> = key.into();
        let number = self.changes.next();
        inner.order.insert(number, Arc::clone(&key));
        inner.entries.insert(key, Entry { server: server.clone(), seen_ms, number });
        true
    }

    /// What has changed after a number, the oldest first, at most so many.
    pub(crate) fn since(
        &self,
        backend: &Name,
        after: u64,
        most: usize,
        now_ms: u64,
    ) -> Vec<(u64, Visit)> {
        let inner = lock(&self.inner);
        let changed = inner.order.range(after.saturating_add(1)..).take(most);
        let visit = |(number, key): (&u64, &Arc<str>)| {
            let entry = inner.entries.get(key)?;
            let age_ms = now_ms.saturating_sub(entry.seen_ms);
            let (backend, server) = (backend.clone(), entry.server.clone());
            Some((*number, Visit { backend, key: key.to_string(), server, age_ms }))
        };
        changed.filter_map(visit).collect()
    }

    /// How many visitors it knows.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        lock(&self.inner).entries.len()
    }

    /// Forgets everything, where the settings have no table any more.
    pub(crate) fn clear(&self) {
        *lock(&self.inner) = Inner::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(line: &str) -> StickTable {
        line.parse().unwrap()
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn visit(key: &str, server: &str, age_ms: u64) -> Visit {
        Visit { backend: name("b"), key: key.to_owned(), server: name(server), age_ms }
    }

    #[test]
    fn visitors_are_known_until_they_expire() {
        let stick = Stick::new(Arc::default());
        let t = table("type ip size 10 expire 5s");
        stick.put(&t, "a", &name("s1"), 1000);
        assert_eq!(stick.get(&t, "a", 6000), Some(name("s1")));
        assert_eq!(stick.get(&t, "a", 6001), None);
        // A visit makes it last.
        stick.put(&t, "a", &name("s1"), 5000);
        assert_eq!(stick.get(&t, "a", 10_000), Some(name("s1")));
        stick.put(&t, "a", &name("s2"), 5001);
        assert_eq!(stick.get(&t, "a", 5001), Some(name("s2")));
    }

    #[test]
    fn a_full_table_forgets_who_was_away_longest() {
        let stick = Stick::new(Arc::default());
        let t = table("type ip size 3");
        for (now, key) in [(1, "a"), (2, "b"), (3, "c")] {
            stick.put(&t, key, &name("s"), now);
        }
        stick.put(&t, "a", &name("s"), 2000);
        stick.put(&t, "d", &name("s"), 2001);
        assert_eq!(stick.len(), 3);
        assert_eq!(stick.get(&t, "b", 2001), None);
        assert!(["a", "c", "d"].iter().all(|k| stick.get(&t, k, 2001).is_some()));
        let keeps = table("type ip size 3 nopurge");
        stick.put(&keeps, "e", &name("s"), 2002);
        assert_eq!((stick.get(&t, "e", 2002), stick.len()), (None, 3));
        for n in 0..10_000 {
            stick.put(&t, &n.to_string(), &name("s"), 3000 + n);
        }
        let inner = lock(&stick.inner);
        assert_eq!((inner.entries.len(), inner.order.len()), (3, 3));
    }

    #[test]
    fn two_balancers_agree_and_stop_talking() {
        let (one, two) = (Stick::new(Arc::default()), Stick::new(Arc::default()));
        let t = table("type ip size 100 expire 30m");
        let tell = |from: &Stick, to: &Stick, after: u64, now: u64| {
            let news = from.since(&name("b"), after, 100, now);
            news.iter().filter(|(_, v)| to.hear(&t, v, now)).count()
        };
        one.put(&t, "a", &name("s1"), 5000);
        two.put(&t, "b", &name("s2"), 5000);
        assert_eq!(tell(&one, &two, 0, 5100), 1);
        assert_eq!(tell(&two, &one, 0, 5200), 1);
        // Nothing is left to say, whoever tells whom.
        assert_eq!((tell(&one, &two, 0, 5300), tell(&two, &one, 0, 5400)), (0, 0));
        assert_eq!(two.get(&t, "a", 5400), Some(name("s1")));
        assert_eq!(one.get(&t, "b", 5400), Some(name("s2")));
        // The later visit wins.
        two.put(&t, "a", &name("s3"), 7000);
        assert_eq!(tell(&one, &two, 0, 7100), 0);
        assert_eq!(tell(&two, &one, 0, 7100), 1);
        assert_eq!(one.get(&t, "a", 7100), Some(name("s3")));
        // What is old already is not taken for news.
        assert!(!one.hear(&t, &visit("a", "s1", 60_000), 7200));
        assert!(one.hear(&t, &visit("c", "s1", 60_000), 7200));
    }

    #[test]
    fn changes_are_told_in_order_and_in_portions() {
        let stick = Stick::new(Arc::default());
        let t = table("type ip size 100");
        for n in 0..10_u64 {
            stick.put(&t, &n.to_string(), &name("s"), n);
        }
        let first = stick.since(&name("b"), 0, 4, 100);
        assert_eq!(first.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(first[0].1.age_ms, 100);
        assert_eq!(stick.since(&name("b"), 4, 100, 100).len(), 6);
        assert!(stick.since(&name("b"), 10, 100, 100).is_empty());
    }
}
