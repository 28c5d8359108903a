//! VRRP: which balancer holds the floating IPs.
//!
//! What it does: speaks VRRP version 2 and 3 over IPv4 multicast (RFC 3768, RFC 9568, keepalived
//! on the other node), elects a master, sets and removes the floating IPs, tells the network by
//! gratuitous ARP, leaves when the node's own load balancer does not work, hands over without a
//! gap when it can, and leaves a testament for the case that it cannot.
//!
//! What it does not do: IPv6, unicast peers, virtual MAC addresses, IPsec AH, sync groups,
//! tracking scripts.
//!
//! [`packet`] and [`Router`] are pure: bytes and time come in, things to do go out. [`start`]
//! drives them on a thread of its own with a real-time priority where the system allows one, so
//! that load cannot fake a failure; that thread never waits for a lock that anything slower holds
//! and leaves logging to others. Kernel addresses and the guardian are the traits [`Addresses`]
//! and [`LastWill`], because other crates own them.

mod announce;
mod error;
#[doc(hidden)]
pub mod fuzzing;
pub mod packet;
mod ports;
mod router;
mod runner;
mod socket;
mod thread;
mod time;

pub use error::FailoverError;
pub use ports::{Addresses, InterfaceState, LastWill, Testament};
pub use router::{Config, Input, Link, Note, Output, Router};
pub use runner::{Handle, start};
pub use time::Moment;
