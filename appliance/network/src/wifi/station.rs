//! From the networks of the settings to those wpa_supplicant has. Pure.
//!
//! Each network carries a mark made from all that was set. After this process was started again
//! the networks that are right already are left as they are, and the connection with them.

use super::command::{Field, is_key, mark_text};
use model::WifiNetwork;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A network and what makes it recognisable.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) network: WifiNetwork,
    pub(crate) mark: u64,
}

impl Entry {
    pub(crate) fn new(network: &WifiNetwork) -> Self {
        let mut hasher = DefaultHasher::new();
        network.ssid.as_str().hash(&mut hasher);
        network.passphrase.reveal().hash(&mut hasher);
        network.hidden.hash(&mut hasher);
        Self { network: network.clone(), mark: hasher.finish() }
    }
}

/// The networks to have, best first: those of the settings, and one that was joined and is not
/// there yet.
pub(crate) fn wanted(settings: &[WifiNetwork], tried: Option<&WifiNetwork>) -> Vec<Entry> {
    let mut list: Vec<Entry> = Vec::new();
    for network in settings.iter().chain(tried) {
        let twice = list.iter().any(|e| e.network.ssid == network.ssid);
        if !network.ssid.is_empty() && !twice {
            list.push(Entry::new(network));
        }
    }
    list
}

/// How a network is described to wpa_supplicant.
pub(crate) fn fields(entry: &Entry) -> Vec<Field> {
    let network = &entry.network;
    let passphrase = &network.passphrase;
    let mut fields = vec![Field::Name(network.ssid.as_str().as_bytes().to_vec())];
    if network.hidden {
        fields.push(Field::Hidden);
    }
    if passphrase.is_empty() {
        fields.push(Field::KeyManagement("NONE"));
    } else {
        // SAE needs the passphrase; a key made from it will not do (IEEE 802.11 12.4).
        let kinds = if is_key(passphrase.reveal()) {
            "WPA-PSK WPA-PSK-SHA256"
        } else {
            "WPA-PSK WPA-PSK-SHA256 SAE"
        };
        fields.extend([
            Field::KeyManagement(kinds),
            Field::Passphrase(passphrase.clone()),
            Field::ProtectFrames,
        ]);
    }
    fields.push(Field::Mark(entry.mark));
    fields
}

/// How the setup access point is described: WPA2 with CCMP, which every phone can.
pub(crate) fn access_point(entry: &Entry, frequency: u32) -> Vec<Field> {
    vec![
        Field::Name(entry.network.ssid.as_str().as_bytes().to_vec()),
        Field::AccessPoint,
        Field::Frequency(frequency),
        Field::KeyManagement("WPA-PSK"),
        Field::Wpa2Only,
        Field::Ccmp,
        Field::GroupCcmp,
        Field::Passphrase(entry.network.passphrase.clone()),
        Field::ProtectFrames,
        Field::Mark(entry.mark),
    ]
}

/// What to do about the networks wpa_supplicant has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// To remove.
    pub(crate) remove: Vec<u32>,
    /// The number of each wanted network, None for one to add.
    pub(crate) ids: Vec<Option<u32>>,
}

/// `existing` are the numbers and marks of what is there.
pub(crate) fn difference(wanted: &[Entry], existing: &[(u32, String)]) -> Difference {
    let mut left: Vec<&(u32, String)> = existing.iter().collect();
    let mut found = Difference::default();
    for entry in wanted {
        let mark = mark_text(entry.mark);
        let at = left.iter().position(|(_, m)| *m == mark);
        found.ids.push(at.map(|at| left.remove(at).0));
    }
    found.remove = left.into_iter().map(|(id, _)| *id).collect();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Secret;

    fn network(ssid: &str, passphrase: &str) -> WifiNetwork {
        WifiNetwork {
            ssid: ssid.parse().unwrap(),
            passphrase: Secret::new(passphrase),
            hidden: false,
        }
    }

    #[test]
    fn a_joined_network_stays_until_the_settings_have_it() {
        let (home, shop) = (network("home", "password1"), network("shop", "password2"));
        let names = |list: &[Entry]| -> Vec<String> {
            list.iter().map(|e| e.network.ssid.to_string()).collect()
        };
        assert_eq!(names(&wanted(std::slice::from_ref(&home), Some(&shop))), ["home", "shop"]);
        let list = wanted(&[shop.clone(), home], Some(&network("shop", "older one")));
        assert_eq!(names(&list), ["shop", "home"]);
        assert_eq!(list[0], Entry::new(&shop), "the settings have the last word");
        assert!(wanted(&[WifiNetwork::default()], None).is_empty());
    }

    #[test]
    fn what_is_right_already_is_left_alone() {
        let list = wanted(&[network("home", "password1"), network("shop", "password2")], None);
        let mark = |at: usize| mark_text(list[at].mark);
        let existing = [(4, "other".to_owned()), (7, mark(1)), (9, mark(1)), (11, String::new())];
        let found = difference(&list, &existing);
        assert_eq!(found.ids, [None, Some(7)]);
        assert_eq!(found.remove, [4, 9, 11]);
        assert_ne!(list[0].mark, Entry::new(&network("home", "password2")).mark);
    }

    #[test]
    fn sae_needs_the_passphrase_itself() {
        let kinds = |passphrase: &str| {
            fields(&Entry::new(&network("x", passphrase))).into_iter().find_map(|f| match f {
                Field::KeyManagement(kinds) => Some(kinds),
                _ => None,
            })
        };
        assert_eq!(kinds(""), Some("NONE"));
        assert_eq!(kinds("a passphrase"), Some("WPA-PSK WPA-PSK-SHA256 SAE"));
        assert_eq!(kinds(&"ab".repeat(32)), Some("WPA-PSK WPA-PSK-SHA256"));
    }
}
