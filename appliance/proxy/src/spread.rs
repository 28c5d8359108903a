//! How connections are spread over the threads.
//!
//! The kernel gives a new connection to a thread by a hash of its addresses, whatever that thread
//! has to do already: of sixty connections on two threads one often has half as many again as the
//! other, and of four on four threads two mostly meet on one. So whoever lets a visitor in has the
//! thread serve it that serves the fewest (HAProxy `tune.listener.multi-queue`).

use crate::client::Slot;
use crate::live::lock;
use crate::worker::Order;
use std::net::{SocketAddrV4, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::sync::mpsc::UnboundedSender;

/// A difference of less than one part in so many of what a thread serves is let be: handing over
/// costs some system calls.
const PART: usize = 8;
/// So many at one thread in a moment allow for a difference of one more: visitors who come in
/// such numbers do not stay, and chance spreads them well enough.
const CROWD: usize = 32;

/// A visitor let in by one thread for another.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddrV4,
    pub(crate) local: SocketAddrV4,
    pub(crate) slot: Slot,
    /// That of the settings its frontend is from.
    pub(crate) generation: u64,
}

/// All threads.
#[derive(Debug)]
pub(crate) struct Spread(Vec<Seat>);

/// One of them, in a cache line of its own: its counter changes with every connection.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Seat {
    connections: AtomicUsize,
    door: Mutex<Option<UnboundedSender<Order>>>,
}

impl Spread {
    pub(crate) fn new(threads: usize) -> Self {
        Self((0..threads).map(|_| Seat::default()).collect())
    }

    /// From now on a thread takes visitors through this door.
    pub(crate) fn open(&self, thread: usize, door: UnboundedSender<Order>) {
        if let Some(seat) = self.0.get(thread) {
            *lock(&seat.door) = Some(door);
        }
    }

    pub(crate) fn enter(&self, thread: usize) {
        if let Some(seat) = self.0.get(thread) {
            seat.connections.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn leave(&self, thread: usize) {
        if let Some(seat) = self.0.get(thread) {
            seat.connections.fetch_sub(1, Relaxed);
        }
    }

    /// How many connections each thread serves.
    pub(crate) fn connections(&self) -> impl Iterator<Item = usize> {
        self.0.iter().map(|seat| seat.connections.load(Relaxed))
    }

    /// Who should serve the next visitor instead of this thread, if anybody; `arrivals` have come
    /// to this one in the last moment.
    pub(crate) fn lighter(&self, thread: usize, arrivals: usize) -> Option<usize> {
        let own = self.0.get(thread)?.connections.load(Relaxed);
        let (least, at) = self.connections().zip(0..).min()?;
        (own.saturating_sub(least) > own / PART + arrivals / CROWD).then_some(at)
    }

    /// Gives a visitor to another thread; it comes back where there is nobody.
    pub(crate) fn hand_over(&self, thread: usize, guest: Guest) -> Option<Guest> {
        let Some(seat) = self.0.get(thread) else { return Some(guest) };
        let door = lock(&seat.door);
        let Some(door) = &*door else { return Some(guest) };
        match door.send(Order::Take(guest)) {
            Err(tokio::sync::mpsc::error::SendError(Order::Take(guest))) => Some(guest),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(counts: &[usize]) -> Spread {
        let all = Spread::new(counts.len());
        for (thread, count) in counts.iter().enumerate() {
            (0..*count).for_each(|_| all.enter(thread));
        }
        all
    }

    #[test]
    fn the_thread_with_the_fewest_serves_unless_the_difference_is_small() {
        for (counts, thread, arrivals, want) in [
            (&[0][..], 0, 0, None),
            (&[9], 0, 0, None),
            (&[1, 0], 0, 31, Some(1)),
            (&[1, 0], 0, 32, None),
            (&[2, 0], 0, 32, Some(1)),
            (&[1, 0], 1, 0, None),
            (&[1, 1], 0, 0, None),
            (&[3, 2, 1], 0, 0, Some(2)),
            (&[3, 2, 1], 2, 0, None),
            (&[80, 71], 0, 0, None),
            (&[80, 69], 0, 0, Some(1)),
            (&[80, 69], 0, 40, None),
            (&[1, 0], 7, 0, None),
        ] {
            let found = spread(counts).lighter(thread, arrivals);
            assert_eq!(found, want, "{counts:?} at {thread}, {arrivals} arrivals");
        }
    }

    #[test]
    fn however_the_kernel_spreads_them_all_serve_about_as_many() {
        let all = Spread::new(4);
        for n in 1..=1000 {
            // Most arrive at one thread.
            let at = if n % 10 < 7 { 0 } else { n % 4 };
            all.enter(all.lighter(at, 0).unwrap_or(at));
            let (least, most) = (all.connections().min(), all.connections().max());
            let (least, most) = (least.unwrap(), most.unwrap());
            assert!(most - least <= 1 + most / PART, "after {n}: {least} to {most}");
        }
    }
}
