//! What a router wants the log to say, no more than now and then.

use crate::time::Moment;
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

/// The same kind of note is not repeated before this time is over.
const PAUSE: Duration = Duration::from_secs(60);

/// Something an operator may want to know; never a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// Rule: version 2 routers of one group must use the same interval (RFC 3768 7.1).
    OtherInterval(Ipv4Addr, Duration),
    /// The floating IPs listed differ from ours.
    OtherAddresses(Ipv4Addr),
    /// The authentication differs.
    OtherAuth(Ipv4Addr),
    /// The version differs.
    OtherVersion(Ipv4Addr),
    /// The checksum is wrong.
    BadChecksum(Ipv4Addr),
    /// Somebody sends adverts from our own address.
    OwnAddress(Ipv4Addr),
    /// Two nodes have priority 255.
    TwoOwners(Ipv4Addr),
    /// Another master with less priority; it was told off.
    Rival(Ipv4Addr, u8),
    /// This node did not run for so long.
    Stalled(Duration),
    /// Somebody took a floating IP off the interface; it is back.
    Restored,
}

/// How many kinds of [`Note`] there are.
const KINDS: usize = 10;

impl Note {
    const fn kind(self) -> usize {
        match self {
            Self::OtherInterval(..) => 0,
            Self::OtherAddresses(_) => 1,
            Self::OtherAuth(_) => 2,
            Self::OtherVersion(_) => 3,
            Self::BadChecksum(_) => 4,
            Self::OwnAddress(_) => 5,
            Self::TwoOwners(_) => 6,
            Self::Rival(..) => 7,
            Self::Stalled(_) => 8,
            Self::Restored => 9,
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherInterval(from, theirs) => write!(
                f,
                "{from} advertises every {theirs:?}, this node is set to another interval; set both to the same"
            ),
            Self::OtherAddresses(from) => write!(
                f,
                "{from} advertises other floating IPs than this node is set to; set both to the same"
            ),
            Self::OtherAuth(from) => write!(
                f,
                "an advert from {from} has another password or none; it is ignored, so both nodes may hold the floating IP"
            ),
            Self::OtherVersion(from) => write!(
                f,
                "{from} speaks another version of VRRP; it is ignored, so both nodes may hold the floating IP"
            ),
            Self::BadChecksum(from) => write!(f, "adverts from {from} arrive damaged"),
            Self::OwnAddress(from) => write!(
                f,
                "another machine sends adverts from {from}, which is this node's own address; change one of them"
            ),
            Self::TwoOwners(from) => write!(
                f,
                "{from} has priority 255 too; only one node may own the floating IP, the higher address wins"
            ),
            Self::Rival(from, priority) => write!(
                f,
                "{from} (priority {priority}) acted as master too; this node keeps the floating IP"
            ),
            Self::Stalled(late) => write!(
                f,
                "this node was late by {} ms; another may have taken its floating IP meanwhile",
                late.as_millis()
            ),
            Self::Restored => write!(
                f,
                "a floating IP was taken off its interface by another program; it is set again"
            ),
        }
    }
}

/// Lets one note of each kind through per [`PAUSE`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Throttle([Option<Moment>; KINDS]);

impl Throttle {
    pub(crate) fn passes(&mut self, note: Note, now: Moment) -> bool {
        let Some(last) = self.0.get_mut(note.kind()) else { return false };
        let due = last.is_none_or(|at| now.since(at) >= PAUSE);
        if due {
            *last = Some(now);
        }
        due
    }
}
