//! Addresses from a DHCP server (RFC 2131), for interfaces without one in the settings.
//!
//! `client.rs` is the state machine of the RFC, `link_local.rs` the way out when nobody answers
//! (RFC 3927), `machine.rs` both of them together; these three are pure. What they come to is a
//! second source for the same plan that sets up static addresses, so a lease gets the same
//! routing table and rule of its own. A lease is counted in time since the board started: what
//! the clock says does not matter. Nothing is released at the end: a restart must not change the
//! address.
//!
//! Messages come and go through packet(7) sockets, because an interface without an address
//! receives nothing else; a filter in the kernel keeps everything but DHCP away from us. Classless
//! routes (RFC 3442) and other options of large networks are not asked for.

pub(crate) mod client;
pub(crate) mod lease;
pub(crate) mod link_local;
pub(crate) mod machine;
pub(crate) mod message;
pub(crate) mod runner;
pub(crate) mod sockets;
