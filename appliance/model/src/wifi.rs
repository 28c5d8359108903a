//! Wi-Fi networks the nodes may join.

use crate::secret::Secret;
use crate::text::{Country, Ssid};
use serde::{Deserialize, Serialize};

/// The `wifi` section.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wifi {
    /// Whose radio rules apply. Without it only the channels allowed everywhere are used.
    pub country: Option<Country>,
    /// Networks, in the order they are tried.
    pub networks: Vec<WifiNetwork>,
}

/// One Wi-Fi network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WifiNetwork {
    /// Its name.
    pub ssid: Ssid,
    /// WPA passphrase of 8 to 63 characters; empty for an open network.
    pub passphrase: Secret,
    /// The network does not announce its name.
    pub hidden: bool,
}
