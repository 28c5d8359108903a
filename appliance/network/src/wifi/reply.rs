//! What wpa_supplicant answers. Pure; lines that make no sense are left out.

use model::status::{WifiSecurity, WifiSeen};
use std::collections::BTreeMap;

/// An access point in reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bss {
    /// Its number in wpa_supplicant's list.
    pub(crate) id: u32,
    pub(crate) ssid: Vec<u8>,
    /// MHz.
    pub(crate) frequency: u32,
    /// dBm.
    pub(crate) level: i32,
    pub(crate) flags: String,
}

/// What an interface is on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Association {
    pub(crate) completed: bool,
    pub(crate) ssid: Vec<u8>,
    pub(crate) frequency: u32,
    /// It is an access point.
    pub(crate) access_point: bool,
}

/// A part of the list of access points, and whether it is the last one.
pub(crate) fn seen(text: &str) -> (Vec<Bss>, bool) {
    let mut list = Vec::new();
    let mut bss = Bss::default();
    let mut id = None;
    let mut last = false;
    for line in text.lines() {
        match line.split_once('=') {
            // "====" after each, "####" after the very last.
            Some(("", _)) => {
                if let Some(id) = id.take() {
                    list.push(Bss { id, ..std::mem::take(&mut bss) });
                }
            }
            Some(("id", value)) => id = value.parse().ok(),
            Some(("freq", value)) => bss.frequency = value.parse().unwrap_or(0),
            Some(("level", value)) => bss.level = value.parse().unwrap_or(0),
            Some(("flags", value)) => value.clone_into(&mut bss.flags),
            Some(("ssid", value)) => bss.ssid = unescape(value),
            _ if line.starts_with("####") => {
                last = true;
                if let Some(id) = id.take() {
                    list.push(Bss { id, ..std::mem::take(&mut bss) });
                }
            }
            _ => {}
        }
    }
    (list, last)
}

/// The answer to STATUS.
pub(crate) fn association(text: &str) -> Association {
    let mut found = Association::default();
    for line in text.lines() {
        match line.split_once('=') {
            Some(("wpa_state", value)) => found.completed = value == "COMPLETED",
            Some(("ssid", value)) => found.ssid = unescape(value),
            Some(("freq", value)) => found.frequency = value.parse().unwrap_or(0),
            Some(("mode", value)) => found.access_point = value == "AP",
            _ => {}
        }
    }
    found
}

/// Signal strength in dBm out of the answer to SIGNAL_POLL.
pub(crate) fn signal(text: &str) -> Option<i32> {
    text.lines().find_map(|l| l.strip_prefix("RSSI=")?.parse().ok())
}

/// The numbers of the networks in the answer to LIST_NETWORKS.
pub(crate) fn networks(text: &str) -> Vec<u32> {
    text.lines().skip(1).filter_map(|l| l.split('\t').next()?.parse().ok()).collect()
}

/// `STA-FIRST` and `STA-NEXT` answer with the station's address on a line of its own, then its
/// properties; with nothing or FAIL after the last.
pub(crate) fn station(text: &str) -> Option<String> {
    let mac = text.lines().next()?;
    let good = mac.len() == 17 && mac.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
    good.then(|| mac.to_owned())
}

/// Undoes wpa_supplicant's `printf_encode`.
pub(crate) fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'\\' {
            bytes.push(first);
            continue;
        }
        let Some((&kind, after)) = rest.split_first() else {
            bytes.push(b'\\');
            break;
        };
        rest = after;
        match kind {
            b'n' => bytes.push(b'\n'),
            b'r' => bytes.push(b'\r'),
            b't' => bytes.push(b'\t'),
            b'e' => bytes.push(0x1b),
            b'x' => {
                let digits = rest.get(..2).and_then(|d| std::str::from_utf8(d).ok());
                if let Some(byte) = digits.and_then(|d| u8::from_str_radix(d, 16).ok()) {
                    bytes.push(byte);
                    rest = rest.get(2..).unwrap_or_default();
                }
            }
            other => bytes.push(other), // \\ and \"
        }
    }
    bytes
}

/// What a network asks for, from flags such as `[WPA2-PSK+SAE-CCMP][ESS]`.
pub(crate) fn security(flags: &str) -> WifiSecurity {
    let (mut psk, mut sae, mut enterprise, mut outdated) = (false, false, false, false);
    for flag in flags.split(['[', ']']) {
        if let Some(rest) = flag.strip_prefix("WPA2-").or_else(|| flag.strip_prefix("RSN-")) {
            // Key managements come before the ciphers; "FT/PSK" is fast transition with PSK.
            psk |= rest.contains("PSK");
            sae |= rest.contains("SAE");
            enterprise |= rest.contains("EAP");
        } else if flag.starts_with("WPA-") || flag == "WEP" {
            outdated = true;
        }
    }
    match (psk, sae) {
        (true, true) => WifiSecurity::Wpa2Wpa3,
        (true, false) => WifiSecurity::Wpa2,
        (false, true) => WifiSecurity::Wpa3,
        (false, false) if enterprise => WifiSecurity::Enterprise,
        (false, false) if outdated => WifiSecurity::Outdated,
        (false, false) => WifiSecurity::Open,
    }
}

/// For the page: strongest first, one entry a name, without our own access point.
pub(crate) fn summary(list: &[Bss], own: &str) -> Vec<WifiSeen> {
    let mut best: BTreeMap<String, &Bss> = BTreeMap::new();
    for bss in list {
        let name = if bss.ssid.iter().all(|b| *b == 0) {
            String::new() // hidden: zero bytes, or as many as the name is long
        } else {
            String::from_utf8_lossy(&bss.ssid).into_owned()
        };
        if name == own {
            continue;
        }
        let held = best.entry(name).or_insert(bss);
        if bss.level > held.level {
            *held = bss;
        }
    }
    let mut seen: Vec<WifiSeen> = best
        .into_iter()
        .map(|(ssid, bss)| WifiSeen {
            ssid,
            frequency: bss.frequency,
            signal_dbm: bss.level,
            security: security(&bss.flags),
        })
        .collect();
    seen.sort_by_key(|s| std::cmp::Reverse(s.signal_dbm));
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: &str = "id=0\nbssid=02:00:00:00:01:00\nfreq=2412\nlevel=-40\nage=1\n\
        flags=[WPA2-PSK-CCMP][ESS]\nssid=home\n====\n\
        id=3\nbssid=02:00:00:00:02:00\nfreq=5180\nlevel=-60\nage=1\n\
        flags=[WPA2-PSK+SAE-CCMP][ESS]\nssid=home\n====\n\
        id=4\nbssid=02:00:00:00:03:00\nfreq=2437\nlevel=-70\nage=0\nflags=[ESS]\n\
        ssid=caf\\xc3\\xa9 \\\"x\\\\y=z\\\"\n####\n";

    #[test]
    fn access_points_in_reach() {
        let (list, last) = seen(SEEN);
        assert!(last);
        assert_eq!(list.len(), 3);
        assert_eq!(
            list[1],
            Bss {
                id: 3,
                ssid: b"home".to_vec(),
                frequency: 5180,
                level: -60,
                flags: "[WPA2-PSK+SAE-CCMP][ESS]".to_owned(),
            }
        );
        assert_eq!(String::from_utf8_lossy(&list[2].ssid), "café \"x\\y=z\"");
        let (list, last) = seen(&SEEN[..SEEN.find("id=4").unwrap()]);
        assert!(!last && list.len() == 2, "the first part of a long list");
        assert_eq!(seen(""), (Vec::new(), false));
    }

    #[test]
    fn one_line_a_name_for_the_page() {
        let (mut list, _) = seen(SEEN);
        for ssid in [&b"Bramble-0001"[..], b"", b"\0\0\0"] {
            list.push(Bss { ssid: ssid.to_vec(), level: -20, ..Bss::default() });
        }
        let names = |own| summary(&list, own).into_iter().map(|s| s.ssid).collect::<Vec<_>>();
        assert_eq!(names("Bramble-0001"), ["", "home", "café \"x\\y=z\""]);
        let home = &summary(&list, "Bramble-0001")[1];
        assert_eq!((home.frequency, home.security), (2412, WifiSecurity::Wpa2));
    }

    #[test]
    fn what_a_network_asks_for() {
        for (flags, expected) in [
            ("[ESS]", WifiSecurity::Open),
            ("", WifiSecurity::Open),
            ("[WEP][ESS]", WifiSecurity::Outdated),
            ("[WPA-PSK-TKIP][ESS]", WifiSecurity::Outdated),
            ("[WPA-PSK-CCMP+TKIP][WPA2-PSK-CCMP+TKIP][WPS][ESS]", WifiSecurity::Wpa2),
            ("[WPA2-PSK+FT/PSK-CCMP][ESS]", WifiSecurity::Wpa2),
            ("[WPA2-PSK+PSK-SHA256+SAE-CCMP][ESS]", WifiSecurity::Wpa2Wpa3),
            ("[WPA2-SAE-CCMP][SAE-H2E][ESS]", WifiSecurity::Wpa3),
            ("[WPA2-EAP-CCMP][ESS]", WifiSecurity::Enterprise),
            ("[WPA2-EAP+EAP-SHA256-CCMP-preauth][ESS]", WifiSecurity::Enterprise),
            ("[WPA-EAP-TKIP][WPA2-EAP-CCMP][ESS]", WifiSecurity::Enterprise),
        ] {
            assert_eq!(security(flags), expected, "{flags}");
        }
    }

    #[test]
    fn state_signal_lists() {
        let text = "bssid=02:00:00:00:01:00\nfreq=2462\nssid=h\\x00me\nid=0\nmode=station\n\
                    pairwise_cipher=CCMP\nwpa_state=COMPLETED\naddress=02:00:00:00:00:00\n";
        let found = association(text);
        assert!(found.completed && !found.access_point);
        assert_eq!((&found.ssid[..], found.frequency), (&b"h\0me"[..], 2462));
        assert!(!association("wpa_state=4WAY_HANDSHAKE\n").completed);
        assert_eq!(signal("RSSI=-47\nLINKSPEED=65\n"), Some(-47));
        assert_eq!(signal("FAIL\n"), None);
        let list = "network id / ssid / bssid / flags\n0\thome\tany\t[CURRENT]\n2\tx\tany\t\n";
        assert_eq!(networks(list), [0, 2]);
        assert_eq!(station("02:00:00:00:02:00\nflags=[AUTH]\n").unwrap(), "02:00:00:00:02:00");
        assert_eq!(station("FAIL\n"), None);
        assert_eq!(station(""), None);
    }

    #[test]
    fn noise_is_never_a_panic() {
        let mut chance = noise::Noise::new(7);
        for length in 0..400 {
            let alphabet = b"id=ssflagreq\\x09\n#=\"-\t \xc3\xa9";
            let noise: Vec<u8> = (0..length).map(|_| *chance.pick(alphabet)).collect();
            let text = String::from_utf8_lossy(&noise);
            let _ = (seen(&text), association(&text), signal(&text), networks(&text));
            let _ = (station(&text), unescape(&text), security(&text));
        }
        assert_eq!(unescape("\\"), b"\\");
        assert_eq!(unescape("\\xZZ"), b"ZZ");
        assert_eq!(unescape("\\x4"), b"4");
    }
}
