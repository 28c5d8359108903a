//! The board itself: hardware, firmware, card, power, and what the start of it found.

use serde::{Deserialize, Serialize};

/// What this board is and how it feels. Fields are None where the kernel does not tell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SystemStatus {
    /// What board it is, such as `Raspberry Pi 3 Model B Plus Rev 1.3`.
    pub board: Option<String>,
    /// The board's serial number.
    pub serial: Option<String>,
    /// Milliseconds since the kernel started.
    pub uptime_ms: u64,
    /// Milliseconds since 1970; None while the clock was never set and shows only the time of
    /// the firmware's making.
    pub clock_unix_ms: Option<u64>,
    /// Temperature of the processor in thousandths of a degree Celsius.
    pub temperature_millic: Option<i32>,
    /// The supply is below 4.63 V at this moment.
    pub undervoltage: Option<bool>,
    /// It has been, since the start.
    pub undervoltage_seen: bool,
    /// The processor is slowed down, for heat or for lack of power.
    pub throttled: Option<bool>,
    /// Main memory in bytes.
    pub memory_total: u64,
    /// Of it free or freeable.
    pub memory_available: u64,
    /// What the appliance process has of it.
    pub process_memory: Option<u64>,
    /// What process 1 has of it, where that is ours.
    pub init_memory: Option<u64>,
    /// The SD card.
    pub card: Option<CardStatus>,
    /// The partition that keeps settings and sites; None where this process runs on somebody
    /// else's Linux.
    pub data: Option<DataStatus>,
    /// The two copies of the firmware; None where there are none.
    pub firmware: Option<FirmwareStatus>,
    /// What watches over a hang.
    pub watchdog: Watchdog,
    /// How often process 1 had to start the appliance process again since the board started.
    pub restarts: u32,
    /// The way into a board that has no cable.
    pub setup: Option<SetupStatus>,
    /// Radios, and what became of joining a network.
    pub wifi: Option<WifiStatus>,
}

/// An SD card as the kernel sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CardStatus {
    /// The product name the card reports.
    pub name: String,
    /// Month and year of manufacture as the card says, `08/2021`.
    pub made: String,
    /// Size in bytes.
    pub size: u64,
    /// Bytes written since the board started.
    pub written: u64,
    /// Input and output errors the kernel has counted since the board started.
    pub errors: u64,
    /// Wear in percent, for cards and eMMC that tell (eMMC 5 life time estimate).
    pub wear_percent: Option<u8>,
}

/// How the data partition was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "is")]
pub enum DataStatus {
    /// In use.
    Kept {
        /// Size in bytes.
        size: u64,
        /// Free bytes.
        free: u64,
        /// What was mended at the start, for the operator.
        mended: Option<String>,
    },
    /// It could not be used: settings live in memory and are lost when the power goes.
    Memory {
        /// Why, and what to do.
        reason: String,
    },
}

/// The firmware that runs and the one beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FirmwareStatus {
    /// The slot that runs, `a` or `b`.
    pub slot: String,
    /// Version of what runs.
    pub version: String,
    /// Version of what is in the other slot, if anything whole is.
    pub other_version: Option<String>,
    /// It runs on trial: unless it is confirmed, the next start takes the other slot.
    pub on_trial: bool,
    /// What became of the last update, for the operator.
    pub last_update: Option<String>,
    /// What an update is doing at this moment.
    pub progress: Option<FirmwareProgress>,
}

/// How far an update is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "step")]
pub enum FirmwareProgress {
    /// Checking the signature.
    Verifying,
    /// Writing to the other slot.
    Writing {
        /// Bytes written.
        done: u64,
        /// Of so many.
        total: u64,
    },
    /// Reading back what was written.
    Checking,
    /// All there; the board restarts into it.
    Restarting,
    /// Not installed; nothing has changed.
    Failed {
        /// Why, and what to do.
        reason: String,
    },
}

/// What watches over a hang of the whole board.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Watchdog {
    /// The board's own timer.
    Hardware,
    /// The kernel's.
    Software,
    /// Nothing.
    #[default]
    None,
}

/// The setup access point.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SetupStatus {
    /// Whether it can be joined now.
    pub up: bool,
    /// Its name.
    pub ssid: String,
    /// The page's address for those who joined it.
    pub url: String,
    /// Phones on it.
    pub stations: u32,
    /// Why it is not up, for the operator.
    pub reason: Option<String>,
}

/// Radios and networks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WifiStatus {
    /// Adapters; none on a board without.
    pub adapters: Vec<WifiAdapter>,
    /// The network it is on.
    pub connected: Option<WifiConnection>,
    /// The last attempt to join, successful or not.
    pub trial: Option<WifiTrial>,
}

/// A Wi-Fi adapter and what it can do, as its driver says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WifiAdapter {
    /// Its interface, such as `wlan0`.
    pub interface: String,
    /// The kernel's driver, such as `brcmfmac`.
    pub driver: String,
    /// It has 5 GHz.
    pub five_ghz: bool,
    /// It can be an access point.
    pub access_point: bool,
    /// It can be one while it is on a network.
    pub both: bool,
}

/// A network this board is on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WifiConnection {
    /// The adapter's interface.
    pub interface: String,
    /// The network's name.
    pub ssid: String,
    /// Frequency in MHz.
    pub frequency: u32,
    /// Signal strength in dBm.
    pub signal_dbm: i32,
}

/// A network in reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WifiSeen {
    /// Its name; empty for one that hides it.
    pub ssid: String,
    /// Frequency in MHz of its strongest access point.
    pub frequency: u32,
    /// Its signal strength in dBm.
    pub signal_dbm: i32,
    /// What it asks for.
    pub security: WifiSecurity,
}

/// What a network asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WifiSecurity {
    /// Nothing.
    Open,
    /// A passphrase, WPA2.
    #[default]
    Wpa2,
    /// A passphrase, WPA2 or WPA3.
    Wpa2Wpa3,
    /// A passphrase, WPA3.
    Wpa3,
    /// A user name and more (802.1X), which Bramble cannot do.
    Enterprise,
    /// Long broken (WEP), or the first WPA.
    Outdated,
}

/// An attempt to join a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WifiTrial {
    /// The network.
    pub ssid: String,
    /// Where the attempt stands.
    pub verdict: WifiVerdict,
}

/// What became of an attempt to join a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum WifiVerdict {
    /// Not known yet.
    #[default]
    Trying,
    /// The passphrase is wrong.
    WrongPassphrase,
    /// No such network in reach.
    NotFound,
    /// It is in reach only on 5 GHz, which this adapter has not.
    OnlyFiveGhz,
    /// The network does not let this board in, for a reason of its own.
    Refused {
        /// What the network said.
        why: String,
    },
    /// Joined, but the network gave no address.
    NoAddress,
    /// There is no adapter, or none that works.
    NoAdapter {
        /// Why, and what to do.
        why: String,
    },
    /// On the network.
    Connected {
        /// This board's address there.
        address: std::net::Ipv4Addr,
    },
}
