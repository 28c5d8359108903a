//! Where things are on a board; elsewhere in tests.

use std::path::PathBuf;

/// The places process 1 works with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// What lives as long as the board is on and belongs to the appliance process.
    pub run: PathBuf,
    /// The directory below it from which bundles are taken.
    pub uploads: PathBuf,
    /// The facts.
    pub facts: PathBuf,
    /// Where the data partition is mounted.
    pub data: PathBuf,
    /// Where the boot partition is mounted while it is needed.
    pub boot: PathBuf,
    /// The LEDs.
    pub leds: PathBuf,
    /// Sockets of wpa_supplicant.
    pub radio: PathBuf,
    /// wpa_supplicant itself.
    pub supplicant: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            run: "/run/bramble".into(),
            uploads: crate::facts::UPLOADS.into(),
            facts: crate::facts::FACTS.into(),
            data: "/data".into(),
            boot: "/boot".into(),
            leds: "/sys/class/leds".into(),
            radio: "/run/wpa".into(),
            supplicant: "/usr/sbin/wpa_supplicant".into(),
        }
    }
}
