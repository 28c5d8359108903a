//! What is said to wpa_supplicant, as types. Names go as hexadecimal digits and a passphrase is
//! checked before it is quoted, so that no text of an operator can become a command.

use super::error::Error;
use model::Secret;
use std::fmt::Write;

/// `print_bss_info` masks of wpa_supplicant 2.10: id, bssid, frequency, level, age, flags, ssid
/// and a line that ends each entry.
const BSS_MASK: &str = "0x21987";

/// A question to the global control socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Ping,
    Attach,
    /// Takes an interface under control, without a configuration file or a socket of its own.
    InterfaceAdd {
        interface: String,
        driver: &'static str,
    },
    InterfaceRemove {
        interface: String,
    },
    /// To one interface.
    To(String, Ask),
}

/// A question to one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Ping,
    /// Looks around, for these hidden names too.
    Scan(Vec<Vec<u8>>),
    /// Access points in reach from this entry on; as many as fit into an answer.
    Seen {
        from: u32,
    },
    Status,
    Signal,
    Networks,
    AddNetwork,
    Set(u32, Field),
    /// The mark of a network, see [`Field::Mark`].
    MarkOf(u32),
    Enable(u32),
    /// Enables this one and disables all others.
    Select(u32),
    Disable(u32),
    DisableAll,
    Remove(u32),
    RemoveAll,
    Reconnect,
    /// 1: as stations do; 2: an access point starts without scanning first, which an interface
    /// of type AP cannot do with every driver.
    ApScan(u8),
    Country(String),
    /// Accept both ways of deriving SAE's password element (hunting-and-pecking, and
    /// hash-to-element as some WPA3 networks insist).
    SaeBothWays,
    /// Announces the move for five beacons, then moves: phones follow (IEEE 802.11 11.8.8.2).
    ChannelSwitch {
        frequency: u32,
    },
    FirstStation,
    NextStation(String),
}

/// A property of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Name(Vec<u8>),
    /// It hides its name: ask for it by name.
    Hidden,
    AccessPoint,
    Frequency(u32),
    /// A station looks for it on this frequency only.
    OnlyOn(Option<u32>),
    KeyManagement(&'static str),
    Wpa2Only,
    Ccmp,
    GroupCcmp,
    Passphrase(Secret),
    /// Protected management frames where the other side can (802.11w): SAE needs them.
    ProtectFrames,
    Priority(u32),
    /// Tells whose network this is after this process was started again.
    Mark(u64),
}

impl Command {
    /// The text on the wire. It may hold a passphrase: never log it.
    pub(crate) fn line(&self) -> Result<String, Error> {
        Ok(match self {
            Self::Ping => "PING".to_owned(),
            Self::Attach => "ATTACH".to_owned(),
            Self::InterfaceAdd { interface, driver } => {
                format!("INTERFACE_ADD {}\t\t{driver}", checked(interface)?)
            }
            Self::InterfaceRemove { interface } => {
                format!("INTERFACE_REMOVE {}", checked(interface)?)
            }
            Self::To(interface, ask) => format!("IFNAME={} {}", checked(interface)?, ask.line()?),
        })
    }
}

impl Command {
    /// What was asked for, without any value.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Ping | Self::Attach => "to talk",
            Self::InterfaceAdd { .. } => "to take an adapter",
            Self::InterfaceRemove { .. } => "to give an adapter back",
            Self::To(_, ask) => match ask {
                Ask::Scan(_) | Ask::Seen { .. } => "to look for networks",
                Ask::Set(_, Field::Name(_)) => "a network's name",
                Ask::Set(_, Field::Passphrase(_)) => "a passphrase",
                Ask::Set(..) => "a property of a network",
                Ask::Country(_) => "the country",
                Ask::ChannelSwitch { .. } => "to move the access point to another channel",
                Ask::AddNetwork | Ask::Enable(_) | Ask::Select(_) => "a network",
                _ => "a question",
            },
        }
    }
}

impl Ask {
    fn line(&self) -> Result<String, Error> {
        Ok(match self {
            Self::Ping => "PING".to_owned(),
            Self::Scan(names) => {
                let mut line = "SCAN".to_owned();
                for name in names {
                    line.push_str(" ssid ");
                    line.push_str(&hex(name)?);
                }
                // The empty name asks for all others.
                if !names.is_empty() {
                    line.push_str(" ssid ");
                }
                line
            }
            Self::Seen { from } => format!("BSS RANGE={from}- MASK={BSS_MASK}"),
            Self::Status => "STATUS".to_owned(),
            Self::Signal => "SIGNAL_POLL".to_owned(),
            Self::Networks => "LIST_NETWORKS".to_owned(),
            Self::AddNetwork => "ADD_NETWORK".to_owned(),
            Self::Set(id, field) => format!("SET_NETWORK {id} {}", field.line()?),
            Self::MarkOf(id) => format!("GET_NETWORK {id} id_str"),
            Self::Enable(id) => format!("ENABLE_NETWORK {id}"),
            Self::Select(id) => format!("SELECT_NETWORK {id}"),
            Self::Disable(id) => format!("DISABLE_NETWORK {id}"),
            Self::DisableAll => "DISABLE_NETWORK all".to_owned(),
            Self::Remove(id) => format!("REMOVE_NETWORK {id}"),
            Self::RemoveAll => "REMOVE_NETWORK all".to_owned(),
            Self::Reconnect => "RECONNECT".to_owned(),
            Self::ApScan(how) => format!("AP_SCAN {how}"),
            Self::Country(code) => {
                let good = code.len() == 2 && code.bytes().all(|b| b.is_ascii_alphanumeric());
                if !good {
                    return Err(Error::Value("country"));
                }
                format!("SET country {code}")
            }
            Self::SaeBothWays => "SET sae_pwe 2".to_owned(),
            Self::ChannelSwitch { frequency } => format!("CHAN_SWITCH 5 {frequency} ht"),
            Self::FirstStation => "STA-FIRST".to_owned(),
            Self::NextStation(mac) => {
                if !mac.bytes().all(|b| b.is_ascii_hexdigit() || b == b':') {
                    return Err(Error::Value("station"));
                }
                format!("STA-NEXT {mac}")
            }
        })
    }
}

impl Field {
    fn line(&self) -> Result<String, Error> {
        Ok(match self {
            Self::Name(bytes) => format!("ssid {}", hex(bytes)?),
            Self::Hidden => "scan_ssid 1".to_owned(),
            Self::AccessPoint => "mode 2".to_owned(),
            // 0 lifts the restriction.
            Self::OnlyOn(mhz) => format!("freq_list {}", mhz.unwrap_or(0)),
            Self::Frequency(mhz) => format!("frequency {mhz}"),
            Self::KeyManagement(kinds) => format!("key_mgmt {kinds}"),
            Self::Wpa2Only => "proto RSN".to_owned(),
            Self::Ccmp => "pairwise CCMP".to_owned(),
            Self::GroupCcmp => "group CCMP".to_owned(),
            Self::Passphrase(secret) => passphrase(secret.reveal())?,
            Self::ProtectFrames => "ieee80211w 1".to_owned(),
            Self::Priority(number) => format!("priority {number}"),
            Self::Mark(mark) => format!("id_str \"{}\"", mark_text(*mark)),
        })
    }
}

/// A network's name, 1 to 32 bytes.
fn hex(bytes: &[u8]) -> Result<String, Error> {
    if bytes.is_empty() || bytes.len() > 32 {
        return Err(Error::Value("name"));
    }
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}"); // a String takes everything
    }
    Ok(text)
}

/// How a mark is written.
pub(crate) fn mark_text(mark: u64) -> String {
    format!("bramble-{mark:016x}")
}

/// Whether this is the 256-bit key itself instead of a passphrase.
pub(crate) fn is_key(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// wpa_supplicant takes a quoted value up to the last quotation mark, so one inside needs no
/// escape; it refuses control characters, and so do we.
fn passphrase(text: &str) -> Result<String, Error> {
    if is_key(text) {
        return Ok(format!("psk {text}"));
    }
    let printable = text.bytes().all(|b| (32..=126).contains(&b));
    if !printable || !(8..=63).contains(&text.len()) {
        return Err(Error::Value("passphrase"));
    }
    Ok(format!("psk \"{text}\""))
}

/// An interface name as the kernel takes it (`dev_valid_name`), and nothing that would end the
/// word here.
fn checked(interface: &str) -> Result<&str, Error> {
    let good = (1..=15).contains(&interface.len())
        && interface.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b':');
    if good { Ok(interface) } else { Err(Error::Value("interface")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(ask: Ask) -> Result<String, Error> {
        Command::To("wlan0".into(), ask).line()
    }

    fn set(field: Field) -> Result<String, Error> {
        to(Ask::Set(3, field))
    }

    #[test]
    fn a_name_is_never_text() {
        let line = set(Field::Name(b"a\" \n\xff".to_vec())).unwrap();
        assert_eq!(line, "IFNAME=wlan0 SET_NETWORK 3 ssid 6122200aff");
        assert!(set(Field::Name(Vec::new())).is_err());
        assert!(set(Field::Name(vec![b'a'; 33])).is_err());
    }

    #[test]
    fn a_passphrase_is_quoted_a_key_is_not() {
        let psk = |text: &str| set(Field::Passphrase(Secret::new(text)));
        assert_eq!(
            psk("it's \"here\"").unwrap(),
            "IFNAME=wlan0 SET_NETWORK 3 psk \"it's \"here\"\""
        );
        let key = "0123456789abcdefABCDEF".repeat(3)[..64].to_owned();
        assert_eq!(psk(&key).unwrap(), format!("IFNAME=wlan0 SET_NETWORK 3 psk {key}"));
        for bad in ["", "seven77", "with\nnewline", "umlaut äöü", "nul\0 inside", &"x".repeat(64)]
        {
            let error = psk(bad).unwrap_err();
            assert!(bad.is_empty() || !error.to_string().contains(bad), "{error}");
        }
    }

    #[test]
    fn no_value_ends_a_word_early() {
        for bad in ["", "wlan0 SCAN", "wlan0\tx", "wlan0\n", "a/b", "sixteen-letters-"] {
            assert!(Command::InterfaceRemove { interface: bad.into() }.line().is_err(), "{bad:?}");
            assert!(Command::To(bad.into(), Ask::Scan(Vec::new())).line().is_err(), "{bad:?}");
        }
        let scan = to(Ask::Scan(vec![b"a b".to_vec()])).unwrap();
        assert_eq!(scan, "IFNAME=wlan0 SCAN ssid 612062 ssid ");
        assert!(to(Ask::Country("D E".into())).is_err());
        assert!(to(Ask::Country("".into())).is_err());
        assert!(to(Ask::NextStation("02:00 x".into())).is_err());
        assert_eq!(to(Ask::Country("00".into())).unwrap(), "IFNAME=wlan0 SET country 00");
    }

    #[test]
    fn a_secret_stays_out_of_debug_output() {
        let ask = Ask::Set(0, Field::Passphrase(Secret::new("correct horse")));
        let command = Command::To("wlan0".into(), ask);
        assert!(!format!("{command:?}").contains("horse"));
    }
}
