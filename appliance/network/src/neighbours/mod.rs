//! Asks by ARP whether an address is free before it is used (RFC 5227), goes on listening for
//! somebody else who uses it, and asks whether a router is there.
//!
//! RFC 5227 2.1.1 takes 4 to 7 seconds before an address is used. A board that has lost its power
//! would be out of reach for as long at every start, so the questions follow each other faster
//! here: neighbours answer within milliseconds, over a radio that sleeps within a few hundred.
//!
//! `watch.rs` is pure; `runner.rs` has the sockets.

pub(crate) mod runner;
pub(crate) mod watch;
