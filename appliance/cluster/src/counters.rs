//! What happened on the channel since the start.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What happened on the channel since the start of the process.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The same, being counted.
        #[derive(Debug, Default)]
        pub(crate) struct Counting {
            $(pub(crate) $name: AtomicU64,)*
        }

        impl Counting {
            pub(crate) fn read(&self) -> Counters {
                Counters { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Connections that came in.
    incoming,
    /// Of these: nodes that were let in.
    admitted,
    /// Of these: senders of what is no handshake.
    garbage,
    /// Of these: handshakes with another cluster key.
    wrong_key,
    /// Of these: boards that are no members, or asked for something unknown.
    refused,
    /// Of these: too slow, or gone before the end of the handshake.
    unfinished,
    /// Of these: sent away because too many came at once.
    busy,
    /// Connections made to other nodes.
    outgoing,
    /// Reports from other nodes that were too long, broken, or in another node's name.
    bad_reports,
    /// Connections about adoption, of boards that need be no members.
    guests,
    /// Datagrams of other boards that made no sense.
    hints_garbage,
    /// Hints about other boards that were too many.
    hints_dropped,
    /// Bytes sent in streams, encryption and framing included.
    bytes_sent,
    /// Bytes received in streams, encryption and framing included.
    bytes_received,
}

/// Counts one more.
pub(crate) fn one_more(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Counts so many bytes more.
pub(crate) fn more(counter: &AtomicU64, bytes: usize) {
    counter.fetch_add(u64::try_from(bytes).unwrap_or_default(), Ordering::Relaxed);
}
