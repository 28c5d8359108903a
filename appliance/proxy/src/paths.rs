//! What is asked for most, counted in a bounded table.
//!
//! Space-saving (Metwally, Agrawal, El Abbadi 2005) in small sets: a path that is not in its set
//! takes the place of the least asked one there, and remembers how much of its count may be that
//! one's. What is told is the count without it, so that no path is said to be asked for more often
//! than it was. Each thread has a table of its own; a request costs a hash of its path and at most
//! eight comparisons, and no memory once its set is full.

use crate::live::lock;
use model::Name;
use model::charts::{PathCount, Paths};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Threads that count apart; more of them share.
const TABLES: usize = 8;
const SETS: usize = 32;
const WAYS: usize = 8;
/// So much of a path is kept.
const LENGTH: usize = 96;
/// So many are told.
const TOLD: usize = 20;

#[derive(Clone, Debug, Default)]
struct Entry {
    hash: u64,
    path: Vec<u8>,
    count: u64,
    errors: u64,
    /// How many of `count` may have been another path's.
    doubt: u64,
}

#[derive(Debug, Default)]
struct Table {
    total: u64,
    entries: Vec<Entry>,
}

/// See the file.
#[derive(Debug, Default)]
pub(crate) struct PathCounts([Mutex<Table>; TABLES]);

/// FNV-1a.
fn hash(path: &[u8]) -> u64 {
    path.iter()
        .fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

/// The path in a request line, without its query.
fn path(line: &[u8]) -> &[u8] {
    let start = memchr::memchr(b' ', line).map_or(line.len(), |at| at + 1);
    let rest = line.get(start..).unwrap_or_default();
    let rest = &rest[..memchr::memchr3(b' ', b'?', b'#', rest).unwrap_or(rest.len())];
    &rest[..rest.len().min(LENGTH)]
}

impl Table {
    fn count(&mut self, path: &[u8], error: bool) {
        if self.entries.is_empty() {
            self.entries.resize(SETS * WAYS, Entry::default());
        }
        self.total += 1;
        let hash = hash(path);
        // The upper half: FNV mixes into it.
        let set = usize::try_from(hash >> 33).unwrap_or(0) % SETS;
        let Some(set) = self.entries.get_mut(set * WAYS..(set + 1) * WAYS) else { return };
        let known = set.iter().position(|e| e.count > 0 && e.hash == hash && e.path == path);
        let at = known.or_else(|| (0..WAYS).min_by_key(|at| set.get(*at).map(|e| e.count)));
        let Some(entry) = at.and_then(|at| set.get_mut(at)) else { return };
        if known.is_none() {
            entry.hash = hash;
            entry.path.clear();
            entry.path.extend_from_slice(path);
            (entry.doubt, entry.errors) = (entry.count, 0);
        }
        entry.count += 1;
        entry.errors += u64::from(error);
    }
}

impl PathCounts {
    /// Counts a request of `thread` by its request line.
    pub(crate) fn count(&self, thread: usize, line: &[u8], status: Option<u16>) {
        if let Some(table) = self.0.get(thread % TABLES) {
            lock(table).count(path(line), status.is_none_or(|s| s >= 400));
        }
    }

    /// Forgets everything, and gives the memory back.
    pub(crate) fn clear(&self) {
        for table in &self.0 {
            *lock(table) = Table::default();
        }
    }

    /// What is asked for most, of all threads together.
    pub(crate) fn read(&self, frontend: &Name) -> Paths {
        let mut all: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        let mut total = 0;
        for table in &self.0 {
            let table = lock(table);
            total += table.total;
            for e in table.entries.iter().filter(|e| e.count > e.doubt) {
                let sum = all.entry(String::from_utf8_lossy(&e.path).into_owned()).or_default();
                sum.0 += e.count - e.doubt;
                sum.1 += e.errors;
            }
        }
        let mut top: Vec<PathCount> = all
            .into_iter()
            .map(|(path, (requests, errors))| PathCount { path, requests, errors })
            .collect();
        top.sort_by(|a, b| b.requests.cmp(&a.requests).then_with(|| a.path.cmp(&b.path)));
        top.truncate(TOLD);
        let told: u64 = top.iter().map(|p| p.requests).sum();
        Paths { frontend: frontend.clone(), other: total - told, top }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stand_in_request_lines() {
        for (line, want) in [
            (&b"GET /a/b?c=d HTTP/1.1"[..], &b"/a/b"[..]),
            (b"GET / HTTP/1.1", b"/"),
            (b"GET http://h/x HTTP/1.1", b"http://h/x"),
            (b"OPTIONS * HTTP/1.1", b"*"),
            (b"GET", b""),
            (b"", b""),
        ] {
            assert_eq!(path(line), want);
        }
        assert_eq!(path(format!("GET /{} HTTP/1.1", "x".repeat(500)).as_bytes()).len(), LENGTH);
    }

    /// Ten thousand different paths around a few busy ones: these are found, nothing is overstated,
    /// and everything is accounted for.
    #[test]
    fn the_busy_ones_are_found_and_nobody_is_overstated() {
        let counts = PathCounts::default();
        let mut truth: BTreeMap<String, u64> = BTreeMap::new();
        let mut total = 0;
        for i in 0..10_000_u64 {
            for path in [
                "/busy".to_owned(),
                format!("/often/{}", i % 3),
                format!("/once/{i}"),
                format!("/some/{}", i % 1000),
            ] {
                let line = format!("GET {path}?{i} HTTP/1.1");
                let thread = usize::try_from(i % 11).unwrap();
                counts.count(thread, line.as_bytes(), Some(if i % 10 == 0 { 404 } else { 200 }));
                *truth.entry(path).or_default() += 1;
                total += 1;
            }
        }
        let read = counts.read(&"f".parse().unwrap());
        assert_eq!(read.top[0].path, "/busy");
        assert!(read.top[0].requests > 9_500, "{:?}", read.top[0]);
        assert!(read.top[0].errors >= 900);
        for want in 0..3 {
            let path = format!("/often/{want}");
            assert!(read.top[..4].iter().any(|p| p.path == path && p.requests > 2_800));
        }
        for p in &read.top {
            assert!(p.requests <= truth[&p.path], "{p:?}");
        }
        assert_eq!(read.other + read.top.iter().map(|p| p.requests).sum::<u64>(), total);
        // Nothing has grown: the same paths again take no memory.
        let table = lock(&counts.0[0]);
        assert_eq!(table.entries.len(), SETS * WAYS);
        assert!(table.entries.iter().all(|e| e.path.capacity() <= LENGTH * 2));
    }
}
