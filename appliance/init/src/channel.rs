//! What process 1 does for the appliance process, which runs without its privileges.
//!
//! A `SOCK_SEQPACKET` socket pair, one JSON message a packet: a [`Request`] up, a [`Reply`] down,
//! in order. The appliance process finds its end under the number in [`FD_VARIABLE`]; without
//! that variable there is no process 1 of ours and nothing to ask.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The environment variable that holds the number of the appliance process's end.
pub const FD_VARIABLE: &str = "BRAMBLE_INIT_FD";
/// A message is at most so long; a settings file from the boot partition fits.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// What the appliance process may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "ask")]
pub enum Request {
    /// Every runtime has moved since the last one. Sent each second; the watchdog is fed only
    /// while they come. Not answered.
    Heartbeat,
    /// What stands on the screen besides what process 1 knows. Not answered.
    Screen {
        /// Lines of at most 80 characters.
        lines: Vec<String>,
    },
    /// Sets the host name.
    HostName {
        /// Checked again by process 1.
        name: String,
    },
    /// Sets the clock, and remembers the time for the next start.
    Clock {
        /// Milliseconds since 1970.
        unix_ms: u64,
    },
    /// Stops everything in order and starts the board again.
    Reboot,
    /// Stops everything in order and switches the board off.
    PowerOff,
    /// Verifies a firmware bundle and writes it to the other slot. Answered with
    /// [`Reply::Progress`] until it is done or refused. The board is not restarted by it.
    InstallFirmware {
        /// A file below the directory for uploads.
        path: PathBuf,
    },
    /// This firmware is good: the trial is over.
    ConfirmFirmware,
    /// Replaces the settings file on the boot partition, which is writable only meanwhile.
    RewriteBootFile {
        /// The whole new text.
        text: String,
    },
    /// Starts wpa_supplicant, or stops it.
    Supplicant {
        /// Wanted or not.
        run: bool,
    },
    /// Lets the green LED blink, so that somebody can find the board.
    Blink {
        /// For so long; at most 600.
        seconds: u16,
    },
    /// Empties the data partition at the next start, which follows at once.
    FactoryReset,
    /// Fails on purpose; refused unless the kernel was started with `bramble.test`.
    Fail {
        /// How.
        how: TestFailure,
    },
}

/// Ways of failing on purpose, for tests of the nets below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TestFailure {
    /// Process 1 panics.
    Panic,
    /// Process 1 stops doing anything.
    Hang,
}

/// What process 1 answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Reply {
    /// Done.
    Done,
    /// Not done; nothing has changed.
    Refused {
        /// Why, and what to do, for the operator.
        why: String,
    },
    /// Still at it; more replies follow.
    Progress {
        /// How far.
        progress: model::status::FirmwareProgress,
    },
}
