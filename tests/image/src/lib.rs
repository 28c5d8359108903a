//! Boots the card image in QEMU, for `make emulate` and for the tests of the image.
//!
//! Two machines. [`raspi2b`] goes the way of a real board, on a copy of the card ([`Card`]):
//! U-Boot, boot script, slot. [`virt`] starts the same kernel and root directly, with a disk and a
//! network card that cost the emulator little, alone or several on one [`Segment`]. Either gives a
//! [`Machine`], whose plug can be pulled, and whose page a [`Client`] uses.
//!
//! What it is not: a Pi. There is no start.elf, no radio and no undervoltage, and memory and
//! processors are as fast as this machine.

mod card;
mod client;
mod dhcp;
mod figures;
mod image;
mod machine;
mod monitor;
pub mod raspi2b;
mod segment;
mod state;
mod tools;
pub mod virt;
mod writes;

pub use card::{Card, Partition};
pub use client::Client;
pub use figures::Figures;
pub use image::Image;
pub use lab::{Doing, Error, Result, http, wait};
pub use machine::Machine;
pub use monitor::Monitor;
pub use segment::{ROUTER, Segment};
pub use state::{BootState, Slot};
pub use writes::Writes;
