//! Telling the neighbours where an address is now.
//!
//! A neighbour keeps what it knows of an address for half a minute and more. A board that was
//! replaced, or whose address moved to another interface, would be out of reach for as long.
//! RFC 5227 2.3: an announcement when the address is ready for use, and another 2 seconds later,
//! because the switch port may not forward the first one yet.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// RFC 5227 1.1, ANNOUNCE_INTERVAL.
const AGAIN: Duration = Duration::from_secs(2);
/// Ethernet header and ARP packet.
const LENGTH: usize = 42;

/// An address that can be used: on a running interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) interface: u32,
    pub(crate) mac: [u8; 6],
    pub(crate) address: Ipv4Addr,
}

/// What has been announced, and what will be once more.
#[derive(Debug, Default)]
pub(crate) struct Announcer {
    again: BTreeMap<Place, Option<Instant>>,
}

impl Announcer {
    /// What to announce now. A place that went away and comes back is news.
    pub(crate) fn due(&mut self, places: &BTreeSet<Place>, now: Instant) -> Vec<Place> {
        self.again.retain(|place, _| places.contains(place));
        let mut due = Vec::new();
        for place in places {
            let again = self.again.get_mut(place);
            match again {
                None => {
                    self.again.insert(*place, Some(now + AGAIN));
                    due.push(*place);
                }
                Some(at) => {
                    if at.is_some_and(|at| at <= now) {
                        *at = None;
                        due.push(*place);
                    }
                }
            }
        }
        due
    }

    /// How long until something is due.
    pub(crate) fn pause(&self, now: Instant) -> Option<Duration> {
        self.again.values().flatten().min().map(|at| at.saturating_duration_since(now))
    }
}

/// Sends one announcement: an ARP request for the own address (RFC 5227 2.3).
pub(crate) fn send(place: &Place) -> io::Result<()> {
    let frame = frame(place);
    // SAFETY: plain system calls; the descriptor is owned right away, and frame and address live
    // through the call with the lengths given.
    unsafe {
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = OwnedFd::from_raw_fd(fd);
        let mut to: libc::sockaddr_ll = std::mem::zeroed();
        to.sll_family = libc::sa_family_t::try_from(libc::AF_PACKET).unwrap_or_default();
        to.sll_ifindex = libc::c_int::try_from(place.interface).unwrap_or_default();
        to.sll_halen = 6;
        to.sll_addr = [0xff; 8];
        let sent = libc::sendto(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const to).cast(),
            libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or_default(),
        );
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

fn frame(place: &Place) -> [u8; LENGTH] {
    let address = place.address.octets();
    let parts: [&[u8]; 8] = [
        &[0xff; 6],
        &place.mac,
        &[0x08, 0x06],                // ARP
        &[0, 1, 0x08, 0, 6, 4, 0, 1], // Ethernet, IPv4, request
        &place.mac,
        &address,
        &[0; 6],
        &address,
    ];
    let mut frame = [0; LENGTH];
    for (byte, value) in frame.iter_mut().zip(parts.into_iter().flatten()) {
        *byte = *value;
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(last: u8) -> Place {
        Place { interface: 2, mac: [2, 0, 0, 0, 0, 7], address: Ipv4Addr::new(10, 0, 0, last) }
    }

    #[test]
    fn twice_and_again_when_it_comes_back() {
        let mut announcer = Announcer::default();
        let start = Instant::now();
        let (both, one) = (BTreeSet::from([place(1), place(2)]), BTreeSet::from([place(2)]));
        assert_eq!(announcer.due(&both, start), [place(1), place(2)]);
        assert_eq!(announcer.due(&both, start), []);
        assert_eq!(announcer.pause(start), Some(AGAIN));
        assert_eq!(announcer.due(&one, start + AGAIN), [place(2)]);
        assert_eq!(announcer.pause(start + AGAIN), None);
        assert_eq!(announcer.due(&one, start + AGAIN * 9), []);
        assert_eq!(announcer.due(&both, start + AGAIN * 9), [place(1)]);
    }

    #[test]
    fn the_frame_is_an_arp_announcement() {
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 7, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2,
            0, 0, 0, 0, 7, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1,
        ];
        assert_eq!(frame(&place(1)), expected);
    }
}
