//! Signed bundles, the two slots and which of them starts.
//!
//! A card has two slots, each with a whole firmware ([`slot`]). Two sectors say which of them
//! starts ([`state`]); U-Boot reads them, counts down the tries of a slot on trial, and takes the
//! other slot when one is not whole. An update ([`bundle`]) goes to the slot that does not run and
//! is then tried.
//!
//! Nothing here decides when to restart, and nothing here is reachable by the appliance process:
//! process 1 calls it.

pub mod board;
pub mod bundle;
mod bytes;
mod crc;
mod device;
mod error;
pub mod health;
mod install;
mod mbr;
pub mod runner;
pub mod slot;
pub mod state;
mod status;

pub use bytes::SECTOR;
pub use crc::Crc32;
pub use error::{Error, SlotFault};
pub use status::Present;
