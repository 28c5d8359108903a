//! What was served. The balancer writes the access log; here are only counts.

use http::StatusCode;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Responses 2xx.
    pub status_2xx: u64,
    /// Responses 3xx.
    pub status_3xx: u64,
    /// Responses 4xx.
    pub status_4xx: u64,
    /// Responses 5xx.
    pub status_5xx: u64,
    /// Bytes sent, heads included.
    pub bytes_sent: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Connections open now.
    pub open: u64,
    /// Connections that ended because what came in was not HTTP.
    pub malformed: u64,
    /// Connections that ended because the visitor was too slow.
    pub timed_out: u64,
    /// Times every connection was in use and a visitor had to wait.
    pub full: u64,
    /// Requests that met a fault of this server; each is a bug.
    pub faults: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    classes: [AtomicU64; 4],
    bytes_sent: AtomicU64,
    connections: AtomicU64,
    open: AtomicU64,
    malformed: AtomicU64,
    timed_out: AtomicU64,
    full: AtomicU64,
    faults: AtomicU64,
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

impl Tally {
    pub(crate) fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100);
        if let Some(counter) = class.checked_sub(2).and_then(|c| self.classes.get(c)) {
            add(counter, 1);
        }
    }

    pub(crate) fn sent(&self, bytes: usize) {
        add(&self.bytes_sent, u64::try_from(bytes).unwrap_or(0));
    }

    pub(crate) fn opened(&self) {
        add(&self.connections, 1);
        add(&self.open, 1);
    }

    pub(crate) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn malformed(&self) {
        add(&self.malformed, 1);
    }

    pub(crate) fn timed_out(&self) {
        add(&self.timed_out, 1);
    }

    pub(crate) fn full(&self) {
        add(&self.full, 1);
    }

    pub(crate) fn fault(&self) {
        add(&self.faults, 1);
    }

    pub(crate) fn read(&self) -> Counters {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let [c2, c3, c4, c5] = &self.classes;
        Counters {
            status_2xx: get(c2),
            status_3xx: get(c3),
            status_4xx: get(c4),
            status_5xx: get(c5),
            bytes_sent: get(&self.bytes_sent),
            connections: get(&self.connections),
            open: get(&self.open),
            malformed: get(&self.malformed),
            timed_out: get(&self.timed_out),
            full: get(&self.full),
            faults: get(&self.faults),
        }
    }
}
