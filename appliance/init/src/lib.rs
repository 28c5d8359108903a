//! The process above the appliance.
//!
//! What must be done when the appliance process itself no longer can: today the [`guardian`],
//! which says the farewells of a process that was killed. Duties of process 1 (mounts, modules,
//! watchdog, reaping) come with the image. This crate knows no subsystem: a [`Deed`] is bytes to
//! send and addresses to remove.

pub mod channel;
pub mod facts;
pub mod guardian;
mod multicast;

pub use guardian::{Deed, Guardian};
