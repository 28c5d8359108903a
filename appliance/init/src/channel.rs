//! What process 1 does for the appliance process, which runs without its privileges.
//!
//! A `SOCK_SEQPACKET` socket pair, one JSON message a packet: a [`Request`] up, a [`Reply`] down.
//! Each is [`Numbered`]: replies carry the number of their request and come in any order, since
//! writing a firmware takes a minute and setting the clock does not wait for it. The appliance
//! process finds its end under the number in [`FD_VARIABLE`]; without that variable there is no
//! process 1 of ours and nothing to ask.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The environment variable that holds the number of the appliance process's end.
pub const FD_VARIABLE: &str = "BRAMBLE_INIT_FD";
/// A message is at most so long; a settings file from the boot partition fits.
pub const MAX_MESSAGE: usize = 128 * 1024;
/// The settings file of the boot partition is at most so long.
pub const MAX_BOOT_FILE: usize = 64 * 1024;

/// A message with the number of the request it is or answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered<T> {
    /// Chosen by who asks.
    pub number: u32,
    /// The message.
    #[serde(flatten)]
    pub message: T,
}

/// What the appliance process may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "ask")]
pub enum Request {
    /// Every runtime has moved since the last one. Sent each second; a process that stops sending
    /// them is ended and started again. Not answered.
    Heartbeat,
    /// What stands on the screen besides what process 1 knows. Not answered.
    Screen {
        /// Lines of at most 80 characters.
        lines: Vec<String>,
        /// The setup access point while it is up; drawn with a code for phones.
        #[serde(default)]
        setup: Option<Setup>,
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
    /// This firmware is no good: the trial is over, and the board starts into the one before.
    GiveUpFirmware,
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
    /// Lets the green LED flash in rows for half a minute, so that somebody can count.
    Flash {
        /// In a row; at most 9.
        flashes: u8,
    },
    /// Empties the data partition at the next start, which follows at once.
    FactoryReset,
    /// Fails on purpose; refused unless the kernel was started with `bramble.test`.
    Fail {
        /// How.
        how: TestFailure,
    },
}

/// The setup access point, for the screen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// Its name.
    pub ssid: String,
    /// Its passphrase. It stands on the screen of the board, which is where it belongs.
    pub passphrase: String,
    /// The page's address for those who joined it.
    pub url: String,
}

/// Ways of failing on purpose, for tests of the nets below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TestFailure {
    /// Process 1 panics.
    Panic,
    /// Process 1 stops doing anything.
    Hang,
    /// The appliance process is killed.
    Kill,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_look_like_this() {
        let line = |request| {
            serde_json::to_string(&Numbered::<Request> { number: 7, message: request }).unwrap()
        };
        assert_eq!(line(Request::Heartbeat), r#"{"number":7,"ask":"heartbeat"}"#);
        assert_eq!(
            line(Request::InstallFirmware { path: "/run/x".into() }),
            r#"{"number":7,"ask":"install_firmware","path":"/run/x"}"#
        );
        for request in [
            Request::Clock { unix_ms: u64::MAX },
            Request::Blink { seconds: 600 },
            Request::Flash { flashes: 3 },
            Request::Screen { lines: vec!["a".into()], setup: None },
            Request::Fail { how: TestFailure::Hang },
            Request::Supplicant { run: true },
        ] {
            let text = line(request.clone());
            let read: Numbered<Request> = serde_json::from_str(&text).unwrap();
            assert_eq!(read, Numbered { number: 7, message: request });
        }
        let screen = r#"{"number":1,"ask":"screen","lines":[]}"#;
        assert!(serde_json::from_str::<Numbered<Request>>(screen).is_ok());
        let progress = Reply::Progress {
            progress: model::status::FirmwareProgress::Writing { done: 1, total: 2 },
        };
        let text =
            serde_json::to_string(&Numbered { number: 1, message: progress.clone() }).unwrap();
        assert_eq!(serde_json::from_str::<Numbered<Reply>>(&text).unwrap().message, progress);
    }
}
