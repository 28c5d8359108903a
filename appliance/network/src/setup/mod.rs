//! What a phone needs on the setup access point: an address, and every name leading to the page.
//!
//! Its DHCP server (`leases.rs`, pure) lends .50 to .150 of the access point's network; its name
//! server (`answers.rs`, pure) has one answer for every name, so that the phone's search for a
//! way into the Internet ends on our page. Both are for this one link, are bounded in memory and
//! in answers a second, and remember nothing when they end.

pub(crate) mod answers;
mod leases;
mod limit;
pub(crate) mod runner;

pub use runner::{Setup, serve};
