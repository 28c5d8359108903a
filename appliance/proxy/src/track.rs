//! How much each visitor asks for (HAProxy `stick-table … store`, `track-sc0 src`).
//!
//! A frontend's table has as many places as its settings say. Where there is none left for a new
//! visitor, one makes room who has not been seen for long and has no connection; if everybody
//! has, the new one is not counted, and rules find nothing against it.

use crate::config::Frontend;
use crate::live::lock;
use model::{Counted, TrackTable};
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

/// How many are compared to find one who has been away for long.
const LOOK_AT: usize = 32;

/// A frontend's visitors.
#[derive(Debug, Default)]
pub(crate) struct Visitors(Mutex<Places>);

#[derive(Debug, Default)]
struct Places {
    by_address: HashMap<Ipv4Addr, usize>,
    all: Vec<Place>,
    /// Where the search for somebody to forget goes on.
    hand: usize,
}

#[derive(Debug)]
struct Place {
    address: Ipv4Addr,
    seen: u64,
    /// Connections and requests that count it.
    held: u32,
    connections: u32,
    requests: u32,
    errors: u32,
    connection_rate: Frequency,
    request_rate: Frequency,
    error_rate: Frequency,
}

/// Events over a span of time that moves on: those of this one, and as much of the one before as
/// it is not over for (HAProxy `freq_ctr`).
#[derive(Clone, Copy, Debug, Default)]
struct Frequency {
    since: u64,
    now: u32,
    before: u32,
}

impl Frequency {
    fn add(&mut self, period: u32, now: u64) {
        let period = u64::from(period);
        let age = now.saturating_sub(self.since);
        if age >= period {
            self.before = if age < 2 * period { self.now } else { 0 };
            self.since = if age < 2 * period { self.since + period } else { now };
            self.now = 0;
        }
        self.now = self.now.saturating_add(1);
    }

    fn read(&self, period: u32, now: u64) -> u32 {
        let period = u64::from(period);
        let age = now.saturating_sub(self.since);
        let (now, before, left) = match age {
            _ if age < period => (u64::from(self.now), u64::from(self.before), period - age),
            _ if age < 2 * period => (0, u64::from(self.now), 2 * period - age),
            _ => return 0,
        };
        if now == 0 && before <= 1 {
            // A single event counts until it is over, not in fractions.
            return u32::try_from(before).unwrap_or(0);
        }
        u32::try_from(now + before * left / period.max(1)).unwrap_or(u32::MAX)
    }
}

/// What was counted of a visitor, in the order of [`Counted::ALL`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts([u32; 7]);

impl Counts {
    /// Nothing.
    pub(crate) const NONE: Self = Self([0; 7]);

    pub(crate) fn of(&self, what: Counted) -> u32 {
        let at = Counted::ALL.iter().position(|c| *c == what);
        at.and_then(|at| self.0.get(at)).copied().unwrap_or(0)
    }
}

impl Places {
    /// The place of this visitor, a new one if need be.
    fn place(&mut self, table: &TrackTable, address: Ipv4Addr, now: u64) -> Option<&mut Place> {
        let size = usize::try_from(table.size).unwrap_or(usize::MAX).max(1);
        let expire = table.expire.map_or(u64::MAX, |e| u64::from(e.0));
        let at = match self.by_address.get(&address) {
            Some(at) => *at,
            None => {
                let at = if self.all.len() < size {
                    self.all.push(Place::new(address));
                    self.all.len() - 1
                } else {
                    let at = self.longest_away()?;
                    self.by_address.remove(&self.all[at].address);
                    self.all[at] = Place::new(address);
                    at
                };
                self.by_address.insert(address, at);
                at
            }
        };
        let place = self.all.get_mut(at)?;
        if place.held == 0 && now.saturating_sub(place.seen) > expire {
            *place = Place::new(address);
        }
        place.seen = now;
        Some(place)
    }

    /// Somebody without a connection who has been away longer than the others that are looked at.
    fn longest_away(&mut self) -> Option<usize> {
        let count = self.all.len();
        let from = self.hand;
        self.hand = (from + LOOK_AT) % count.max(1);
        let looked = (from..from + LOOK_AT.min(count)).map(|at| at % count);
        looked.filter(|at| self.all[*at].held == 0).min_by_key(|at| self.all[*at].seen)
    }

    fn known(&mut self, address: Ipv4Addr) -> Option<&mut Place> {
        self.by_address.get(&address).and_then(|at| self.all.get_mut(*at))
    }
}

impl Place {
    fn new(address: Ipv4Addr) -> Self {
        Self {
            address,
            seen: 0,
            held: 0,
            connections: 0,
            requests: 0,
            errors: 0,
            connection_rate: Frequency::default(),
            request_rate: Frequency::default(),
            error_rate: Frequency::default(),
        }
    }
}

impl Visitors {
    /// What was counted of this visitor; nothing of somebody unknown.
    pub(crate) fn counts(&self, table: &TrackTable, address: Ipv4Addr, now: u64) -> Counts {
        let mut places = lock(&self.0);
        let expire = table.expire.map_or(u64::MAX, |e| u64::from(e.0));
        let place = places.known(address);
        let Some(place) = place.filter(|p| p.held > 0 || now.saturating_sub(p.seen) <= expire)
        else {
            return Counts::default();
        };
        let rate = |frequency: &Frequency, what| match table.period(what) {
            0 => 0,
            period => frequency.read(period, now),
        };
        Counts([
            place.held,
            place.connections,
            rate(&place.connection_rate, Counted::ConnRate),
            place.requests,
            rate(&place.request_rate, Counted::HttpReqRate),
            place.errors,
            rate(&place.error_rate, Counted::HttpErrRate),
        ])
    }
}

/// A visitor who is being counted, by a connection or by one request.
#[derive(Debug)]
pub(crate) struct Tracked {
    frontend: Arc<Frontend>,
    address: Ipv4Addr,
}

impl Tracked {
    /// Counts a visitor's connection from here on; None where nobody is counted, or nobody more.
    pub(crate) fn begin(frontend: &Arc<Frontend>, address: Ipv4Addr, now: u64) -> Option<Self> {
        let table = frontend.settings.stick_table.as_ref()?;
        let mut places = lock(&frontend.live.visitors.0);
        let place = places.place(table, address, now)?;
        place.held += 1;
        place.connections = place.connections.saturating_add(1);
        if let period @ 1.. = table.period(Counted::ConnRate) {
            place.connection_rate.add(period, now);
        }
        Some(Self { frontend: Arc::clone(frontend), address })
    }

    /// Counts a request.
    pub(crate) fn request(&self, now: u64) {
        self.change(now, |place, table| {
            place.requests = place.requests.saturating_add(1);
            if let period @ 1.. = table.period(Counted::HttpReqRate) {
                place.request_rate.add(period, now);
            }
        });
    }

    /// Counts an answer of 400 to 499.
    pub(crate) fn error(&self, now: u64) {
        self.change(now, |place, table| {
            place.errors = place.errors.saturating_add(1);
            if let period @ 1.. = table.period(Counted::HttpErrRate) {
                place.error_rate.add(period, now);
            }
        });
    }

    fn change(&self, now: u64, change: impl FnOnce(&mut Place, &TrackTable)) {
        let Some(table) = &self.frontend.settings.stick_table else { return };
        let mut places = lock(&self.frontend.live.visitors.0);
        if let Some(place) = places.known(self.address) {
            place.seen = now;
            change(place, table);
        }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        let mut places = lock(&self.frontend.live.visitors.0);
        if let Some(place) = places.known(self.address) {
            place.held = place.held.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frontend(table: &str) -> Arc<Frontend> {
        let settings =
            model::Frontend { stick_table: Some(table.parse().unwrap()), ..Default::default() };
        Arc::new(Frontend { settings, ..Default::default() })
    }

    fn counts(frontend: &Frontend, address: [u8; 4], now: u64) -> Counts {
        let table = frontend.settings.stick_table.as_ref().unwrap();
        frontend.live.visitors.counts(table, address.into(), now)
    }

    #[test]
    fn a_frequency_fades() {
        let mut f = Frequency::default();
        for _ in 0..10 {
            f.add(1000, 5000);
        }
        assert_eq!(f.read(1000, 5000), 10);
        assert_eq!(f.read(1000, 5999), 10);
        assert_eq!(f.read(1000, 6500), 5);
        f.add(1000, 6500);
        assert_eq!(f.read(1000, 6500), 6);
        assert_eq!(f.read(1000, 9000), 0);
        let mut single = Frequency::default();
        single.add(1000, 5000);
        assert_eq!(single.read(1000, 6999), 1);
        assert_eq!(single.read(1000, 7000), 0);
    }

    #[test]
    fn visitors_are_counted_and_forgotten() {
        let frontend = frontend("type ip size 2 expire 10s store conn_cur,http_req_rate(1s)");
        let a = Tracked::begin(&frontend, [1; 4].into(), 1).unwrap();
        a.request(1);
        a.request(2);
        assert_eq!(counts(&frontend, [1; 4], 3).of(Counted::HttpReqRate), 2);
        assert_eq!(counts(&frontend, [1; 4], 3).of(Counted::ConnCur), 1);
        let b = Tracked::begin(&frontend, [2; 4].into(), 4).unwrap();
        // Both places are held by connections: nobody else is counted.
        assert!(Tracked::begin(&frontend, [3; 4].into(), 5).is_none());
        assert_eq!(counts(&frontend, [3; 4], 5).of(Counted::ConnCnt), 0);
        drop(b);
        let c = Tracked::begin(&frontend, [3; 4].into(), 6).unwrap();
        assert_eq!(counts(&frontend, [2; 4], 6).of(Counted::ConnCnt), 0);
        drop(c);
        assert_eq!(counts(&frontend, [3; 4], 10_006).of(Counted::ConnCnt), 1);
        assert_eq!(counts(&frontend, [3; 4], 10_007).of(Counted::ConnCnt), 0);
        // Who has a connection does not expire.
        assert_eq!(counts(&frontend, [1; 4], 99_000).of(Counted::HttpReqCnt), 2);
    }

    #[test]
    fn a_full_table_forgets_who_is_away_for_long() {
        let frontend = frontend("type ip size 100 store conn_cnt");
        for n in 0..=255u8 {
            for m in 0..8 {
                drop(Tracked::begin(&frontend, [10, 0, m, n].into(), u64::from(n) * 10));
            }
        }
        let places = lock(&frontend.live.visitors.0);
        assert_eq!((places.all.len(), places.by_address.len()), (100, 100));
        // Nobody of the first half is left.
        assert!(places.all.iter().all(|p| p.address.octets()[3] > 127));
    }
}
