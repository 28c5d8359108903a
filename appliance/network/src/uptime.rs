//! Time since the board started, which no correction of the clock touches.
//!
//! CLOCK_BOOTTIME goes on while the system sleeps, as a lease does; the date of a board without
//! a clock chip is anything until a time server was asked.

use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Now.
pub(crate) fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}
