//! Process 1, and the process above the appliance.
//!
//! On a board this binary is process 1. [`run`] goes through the phases of the start (mounts,
//! drivers, clock, card, data partition ...), each of which degrades and none of which stops the
//! start; then it watches over the appliance process, which it starts with a user of its own and
//! four capabilities, starts again when it ends, and does for it the few things that take more
//! rights ([`channel`]). It feeds the watchdog, reaps every process, and has one way out. It parses
//! nothing that came from the network: bundles are looked at by a process of their own
//! ([`install`]).
//!
//! What must be done when the appliance process is killed is the [`guardian`]'s, which says its
//! farewells. The other end of the channel is [`Client`].
//!
//! This crate knows no subsystem: a [`Deed`] is bytes to send and addresses to remove, and the
//! card's state sectors are behind a port ([`BootState`]).

mod backoff;
mod boot;
pub mod channel;
mod children;
pub mod client;
pub mod cmdline;
mod console;
mod disk;
mod error;
mod ext4;
pub mod facts;
pub mod guardian;
pub mod install;
mod jobs;
mod keep;
mod led;
mod mbr;
mod modules;
mod multicast;
mod paths;
mod phases;
mod pid1;
pub mod ports;
mod privileges;
mod runner;
mod screen;
mod system;
mod validate;
mod vigil;
mod watchdog;

pub use client::{Client, read_facts};
pub use cmdline::{Cmdline, Slot};
pub use error::Problem;
pub use guardian::{Deed, Guardian};
pub use modules::modprobe;
pub use paths::Paths;
pub use pid1::{INSTALLER, run};
pub use ports::{BootState, Installer, Target};
pub use privileges::USER;
pub use runner::{Outcome, Supervisor, Terms};
pub use screen::Screen;
