//! Wi-Fi networks.

use super::Problems;
use crate::settings::Settings;

pub(super) fn check(settings: &Settings, problems: &mut Problems) {
    for (i, network) in settings.wifi.networks.iter().enumerate() {
        let path = format!("wifi.networks[{i}]");
        if network.ssid.is_empty() {
            problems.add(format!("{path}.ssid"), "every Wi-Fi network needs a name");
        }
        let earlier = settings.wifi.networks.iter().take(i);
        if earlier.into_iter().any(|n| n.ssid == network.ssid) {
            problems.add(format!("{path}.ssid"), format!("{} is listed twice", network.ssid));
        }
        let passphrase = network.passphrase.reveal();
        let path = format!("{path}.passphrase");
        if network.passphrase.is_mask() {
            problems.add(path, "there is no passphrase here yet that could be kept; type it");
        } else if !passphrase.is_empty() && !wpa_passphrase(passphrase) {
            // The text itself stays out of the message.
            problems.add(path, "a WPA passphrase has 8 to 63 plain characters, or is a key of 64 hexadecimal digits");
        }
    }
}

/// IEEE 802.11 J.4.1: 8 to 63 printable ASCII characters, or the 256-bit key itself.
pub(crate) fn wpa_passphrase(text: &str) -> bool {
    let printable = text.bytes().all(|b| (32..=126).contains(&b));
    let key = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    key || (printable && (8..=63).contains(&text.len()))
}
