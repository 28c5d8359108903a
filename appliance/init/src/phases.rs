//! The start of the board, one file a phase. A phase that fails leaves a [`crate::Problem`] in
//! the facts and something to go on with; none of them stops the start.

pub(crate) mod boot_partition;
pub(crate) mod card;
pub(crate) mod clock;
pub(crate) mod data;
pub(crate) mod drivers;
pub(crate) mod entropy;
pub(crate) mod firmware;
pub(crate) mod last_words;
pub(crate) mod loopback;
pub(crate) mod mounts;
pub(crate) mod sysctls;
pub(crate) mod watchdog;

use crate::boot::Boot;

/// A phase, with its name for the log.
type Phase = (&'static str, fn(&mut Boot));

/// After [`mounts`] and the console, which come before there is a [`Boot`].
pub(crate) const ALL: &[Phase] = &[
    ("sysctls", sysctls::run),
    ("watchdog", watchdog::run),
    ("clock floor", clock::from_build),
    ("last words", last_words::run),
    ("drivers", drivers::run),
    ("loopback", loopback::run),
    ("card", card::run),
    ("boot partition", boot_partition::run),
    ("data partition", data::run),
    ("clock", clock::from_data),
    ("entropy", entropy::run),
    ("firmware", firmware::run),
];
