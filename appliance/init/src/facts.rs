//! What process 1 found when the board started, for the appliance process to show.

use model::status::{DataStatus, FirmwareStatus, Watchdog};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where process 1 leaves the facts, as JSON. Written anew whenever one changes.
pub const FACTS: &str = "/run/bramble/facts.json";
/// Uploads are written below this directory, in memory; process 1 reads bundles only from here.
pub const UPLOADS: &str = "/run/bramble/uploads";

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// How the data partition was found; None before it was looked at.
    pub data: Option<DataStatus>,
    /// The directory that holds the appliance's data, on the card or in memory.
    pub data_dir: PathBuf,
    /// The firmware that runs.
    pub firmware: Option<FirmwareStatus>,
    /// What watches over a hang.
    pub watchdog: Watchdog,
    /// How often the appliance process was started again.
    pub restarts: u32,
    /// The settings file of the boot partition, if there is one.
    pub boot_file: Option<String>,
    /// The order `reset-admin` was on the boot partition: the admin password is to be chosen anew,
    /// and everything else stays.
    pub new_password: bool,
    /// The last lines of the log of the run before, if it ended in a crash.
    pub last_words: Option<String>,
    /// Whatever went wrong at the start: what happened, what it means, what to do.
    pub problems: Vec<String>,
    /// The board runs inside the emulator.
    pub emulated: bool,
    /// The clock was set since the board started; before, it shows at best when it was last off.
    pub clock_set: bool,
    /// How the appliance process ended the last time, with its last lines.
    pub last_exit: Option<String>,
}
