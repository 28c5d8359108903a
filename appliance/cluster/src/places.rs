//! Where boards were met or heard of lately: for nodes whose address the settings do not have,
//! because a DHCP server lends it. Pure.
//!
//! An address from here is worth a try and nothing more: who answers there shows a key.

use model::DeviceId;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// More addresses of one board are not kept.
const MOST_ADDRESSES: usize = 4;
/// More boards are not kept: the nodes of a cluster, and some that are about to be.
const MOST: usize = 32;

#[derive(Debug, Default)]
struct Known {
    /// Where it has shown its key.
    met: Vec<Ipv4Addr>,
    /// Where somebody says it is.
    heard: Vec<Ipv4Addr>,
}

/// The addresses of boards.
#[derive(Debug, Default)]
pub(crate) struct Places(BTreeMap<DeviceId, Known>);

impl Places {
    fn known(&mut self, device: &DeviceId) -> Option<&mut Known> {
        if !self.0.contains_key(device) && self.0.len() >= MOST {
            return None;
        }
        Some(self.0.entry(device.clone()).or_default())
    }

    /// The board has shown its key there.
    pub(crate) fn met(&mut self, device: &DeviceId, at: Ipv4Addr) {
        // Another board had that address before.
        self.0.values_mut().for_each(|known| known.met.retain(|address| *address != at));
        if let Some(known) = self.known(device) {
            put_first(&mut known.met, at);
        }
    }

    /// Somebody says that the board is there. That pushes out nothing that is better known.
    pub(crate) fn heard(&mut self, device: &DeviceId, at: Ipv4Addr) {
        if let Some(known) = self.known(device) {
            put_first(&mut known.heard, at);
        }
    }

    /// The board is not there.
    pub(crate) fn unlearn(&mut self, device: &DeviceId, at: Ipv4Addr) {
        if let Some(known) = self.0.get_mut(device) {
            known.met.retain(|address| *address != at);
            known.heard.retain(|address| *address != at);
        }
    }

    /// Keeps what is known of some boards.
    pub(crate) fn retain(&mut self, wanted: impl Fn(&DeviceId) -> bool) {
        self.0.retain(|device, _| wanted(device));
    }

    /// Where to try, the best first.
    pub(crate) fn of(&self, device: &DeviceId) -> Vec<Ipv4Addr> {
        let Some(known) = self.0.get(device) else {
            return Vec::new();
        };
        let rest = known.heard.iter().filter(|at| !known.met.contains(at));
        known.met.iter().chain(rest).copied().collect()
    }

    /// Has anybody shown a key there?
    pub(crate) fn has(&self, at: Ipv4Addr) -> bool {
        self.0.values().flat_map(|known| &known.met).any(|address| *address == at)
    }
}

fn put_first(addresses: &mut Vec<Ipv4Addr>, at: Ipv4Addr) {
    addresses.retain(|address| *address != at);
    addresses.insert(0, at);
    addresses.truncate(MOST_ADDRESSES);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_met_comes_first_and_few_are_kept() {
        let device = |letter: &str| -> DeviceId { letter.repeat(64).parse().unwrap() };
        let at = |last| Ipv4Addr::new(10, 0, 0, last);
        let mut places = Places::default();
        for last in [1, 2, 1, 3, 4, 5] {
            places.met(&device("a"), at(last));
        }
        assert_eq!(places.of(&device("a")), [at(5), at(4), at(3), at(1)]);
        places.met(&device("b"), at(4));
        assert_eq!(places.of(&device("a")), [at(5), at(3), at(1)], "lent to another one");
        // Whatever anybody says, what was met stays.
        for last in 100..200 {
            places.heard(&device("a"), at(last));
        }
        places.heard(&device("a"), at(4));
        places.heard(&device("a"), at(3));
        let expected = [5, 3, 1, 4, 199, 198].map(at);
        assert_eq!(places.of(&device("a")), expected);
        assert!(places.has(at(4)) && places.has(at(3)) && !places.has(at(199)));
        places.unlearn(&device("a"), at(5));
        assert!(!places.has(at(5)));
        places.retain(|known| *known == device("b"));
        assert!(places.of(&device("a")).is_empty());
        for number in 0..100 {
            places.heard(&format!("{number:064x}").parse().unwrap(), at(200));
        }
        assert_eq!(places.0.len(), MOST);
    }
}
