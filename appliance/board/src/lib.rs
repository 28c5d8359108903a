//! What board this is and how it feels.
//!
//! [`Sensors`] reads the few files in which the kernel tells: model and serial number, memory,
//! temperature, the supply's voltage, throttling, the SD card. It reads at most every other
//! second, however often it is asked, and what the kernel does not tell stays unknown. [`Watch`]
//! turns what was read into notices for the operator and takes them down again; [`run`] does both
//! for as long as the process lives. [`setup_ssid`] and [`setup_passphrase`] are the name and the
//! lock of the access point by which a board without a cable is set up.
//!
//! Nothing is changed on the board from here, and nothing is decided.

mod card;
mod error;
mod kernel;
mod runner;
mod setup;
mod usb;
mod watch;

pub use error::Error;
pub use runner::{Identity, Sensors, run};
pub use setup::{setup_passphrase, setup_ssid};
pub use watch::{Change, Watch};
