//! What the radios of this board can do, as their drivers say, and the access point's interface.

use super::genl::{Attributes, Family, Question, find, text, u16_at, u32_at};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

// linux/nl80211.h
const GET_WIPHY: u8 = 1;
const GET_INTERFACE: u8 = 5;
const NEW_INTERFACE: u8 = 7;
const DEL_INTERFACE: u8 = 8;
const CHANNEL_SWITCH: u32 = 102;
const WIPHY: u16 = 1;
const IFINDEX: u16 = 3;
const IFNAME: u16 = 4;
const IFTYPE: u16 = 5;
const MAC: u16 = 6;
const BANDS: u16 = 22;
const SUPPORTED_IFTYPES: u16 = 32;
const SUPPORTED_COMMANDS: u16 = 50;
const COMBINATIONS: u16 = 120;
const FEATURE_FLAGS: u16 = 143;
const SPLIT_WIPHY_DUMP: u16 = 174;
const MAX_AP_STATIONS: u16 = 202;
const EXT_FEATURES: u16 = 217;
const BAND_FREQS: u16 = 1;
const FREQ: u16 = 1;
const FREQ_DISABLED: u16 = 2;
const FREQ_NO_IR: u16 = 3;
const FREQ_RADAR: u16 = 5;
const COMB_LIMITS: u16 = 1;
const COMB_MAXNUM: u16 = 2;
const COMB_CHANNELS: u16 = 4;
const LIMIT_MAX: u16 = 1;
const LIMIT_TYPES: u16 = 2;
const TYPE_STATION: u32 = 2;
const TYPE_AP: u32 = 3;
const FEATURE_SAE: u32 = 1 << 5;
const EXT_HANDSHAKE_OFFLOAD: usize = 15;
const EXT_SAE_OFFLOAD: usize = 38;

/// A channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel {
    /// MHz.
    pub frequency: u32,
    /// The rules in force let this board speak first there, so that it can be an access point.
    pub may_start: bool,
}

/// One radio and its station interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adapter {
    /// The kernel's number of the radio.
    pub phy: u32,
    /// The station interface, such as `wlan0`.
    pub interface: String,
    /// The driver's name, such as `brcmfmac`.
    pub driver: String,
    /// Channels the hardware has and the rules do not forbid.
    pub channels: Vec<Channel>,
    /// It has 5 GHz, allowed or not.
    pub five_ghz: bool,
    /// It can be an access point.
    pub access_point: bool,
    /// It can be one while it is a station, on so many channels at once.
    pub both: Option<u32>,
    /// The access point can move to another channel and take its stations along.
    pub channel_switch: bool,
    /// It can do SAE, which WPA3 needs.
    pub sae: bool,
    /// The driver does the four-way handshake itself, so nobody says that a key was wrong.
    pub handshake_offload: bool,
    /// Phones its access point takes; None when the driver does not say.
    pub max_stations: Option<u16>,
}

impl Adapter {
    /// Whether an access point may be on this frequency.
    pub fn may_start_on(&self, frequency: u32) -> bool {
        self.channels.iter().any(|c| c.frequency == frequency && c.may_start)
    }
}

/// The radios; a trait because tests have none. Calls block for milliseconds, seconds with some
/// firmware.
pub trait Radios: Send + Sync {
    /// Every interface that is a station, or an access point at this moment, by name.
    ///
    /// # Errors
    /// When the kernel cannot be asked. That it knows no radios is no error.
    fn adapters(&self) -> io::Result<Vec<Adapter>>;
    /// Something that changes when a radio comes or goes. Cheap.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    fn fingerprint(&self) -> io::Result<Vec<(u32, String)>>;
    /// Creates an interface of type AP beside the station's.
    ///
    /// # Errors
    /// When the driver cannot.
    fn create_ap(&self, adapter: &Adapter, name: &str) -> io::Result<()>;
    /// Removes an interface; that there is none is no error.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// The kernel's nl80211. Needs CAP_NET_ADMIN to create and remove, nothing to look.
#[derive(Debug)]
pub struct Nl80211 {
    sys: PathBuf,
    family: Mutex<Option<FamilyBox>>,
}

struct FamilyBox(Family);

impl std::fmt::Debug for FamilyBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nl80211")
    }
}

impl Default for Nl80211 {
    fn default() -> Self {
        Self::new("/sys")
    }
}

impl Nl80211 {
    /// `sys` is where sysfs is mounted.
    pub fn new(sys: impl Into<PathBuf>) -> Self {
        Self { sys: sys.into(), family: Mutex::new(None) }
    }

    /// None where cfg80211 is not loaded. A connection that failed is opened anew next time.
    fn with<T>(&self, ask: impl FnOnce(&mut Family) -> io::Result<T>) -> io::Result<Option<T>> {
        let mut held = self.family.lock().unwrap_or_else(PoisonError::into_inner);
        let mut family = match held.take() {
            Some(family) => family,
            None => match Family::open("nl80211")? {
                Some(family) => FamilyBox(family),
                None => return Ok(None),
            },
        };
        let answer = ask(&mut family.0);
        // A refusal leaves the connection in order; a time-out leaves answers in it.
        let broken = matches!(&answer, Err(e) if e.kind() == io::ErrorKind::WouldBlock
            || e.raw_os_error() == Some(libc::ENOBUFS));
        if !broken {
            *held = Some(family);
        }
        answer.map(Some)
    }

    fn driver(&self, interface: &str) -> String {
        driver(&self.sys, interface).unwrap_or_default()
    }
}

fn driver(sys: &Path, interface: &str) -> Option<String> {
    let link = sys.join("class/net").join(interface).join("device/driver");
    Some(std::fs::read_link(link).ok()?.file_name()?.to_string_lossy().into_owned())
}

impl Radios for Nl80211 {
    fn adapters(&self) -> io::Result<Vec<Adapter>> {
        let answers = self.with(|family| {
            let question = Question::new(GET_WIPHY).bytes(SPLIT_WIPHY_DUMP, &[]);
            let phys = family.dump(&question)?;
            Ok((phys, family.dump(&Question::new(GET_INTERFACE))?))
        })?;
        let Some((phys, answered)) = answers else { return Ok(Vec::new()) };
        let phys = radios(&phys);
        let mut adapters: Vec<Adapter> = interfaces(&answered)
            .into_iter()
            .filter_map(|(phy, name)| {
                let found = phys.get(&phy)?.clone();
                Some(Adapter { phy, driver: self.driver(&name), interface: name, ..found })
            })
            .collect();
        adapters.sort_by(|a, b| a.interface.cmp(&b.interface));
        Ok(adapters)
    }

    fn fingerprint(&self) -> io::Result<Vec<(u32, String)>> {
        let answered = self.with(|family| family.dump(&Question::new(GET_INTERFACE)))?;
        Ok(interfaces(&answered.unwrap_or_default()))
    }

    fn create_ap(&self, adapter: &Adapter, name: &str) -> io::Result<()> {
        let mut question = Question::new(NEW_INTERFACE)
            .number(WIPHY, adapter.phy)
            .text(IFNAME, name)
            .number(IFTYPE, TYPE_AP);
        if let Some(mac) = mac(&self.sys, &adapter.interface) {
            question = question.bytes(MAC, &beside(mac));
        }
        let done = self.with(|family| family.act(&question))?;
        done.map(|_| ()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let Ok(index) = nix::net::if_::if_nametoindex(name) else { return Ok(()) };
        let question = Question::new(DEL_INTERFACE).number(IFINDEX, index);
        match self.with(|family| family.act(&question)) {
            Err(e) if e.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            other => other.map(|_| ()),
        }
    }
}

fn mac(sys: &Path, interface: &str) -> Option<[u8; 6]> {
    let text = std::fs::read_to_string(sys.join("class/net").join(interface).join("address"));
    let text = text.ok()?;
    let bytes: Result<Vec<u8>, _> =
        text.trim().split(':').map(|b| u8::from_str_radix(b, 16)).collect();
    bytes.ok()?.try_into().ok()
}

/// An address for the access point: mac80211 refuses to switch on two interfaces with the same
/// one (`ieee80211_check_concurrent_iface`), and gives out others only where the hardware has
/// some. Locally administered (IEEE 802 8.2.2), and stable.
fn beside([first, rest @ ..]: [u8; 6]) -> [u8; 6] {
    let first = (first | 0x02) ^ 0x04;
    let [a, b, c, d, e] = rest;
    [first, a, b, c, d, e]
}

/// The radio and the name of each interface that is a station or an access point.
fn interfaces(parts: &[Vec<u8>]) -> Vec<(u32, String)> {
    let mut list: Vec<(u32, String)> = parts
        .iter()
        .filter_map(|part| {
            let phy = u32_at(find(part, WIPHY)?, 0)?;
            let kind = u32_at(find(part, IFTYPE)?, 0)?;
            let name = text(find(part, IFNAME)?);
            // wpa_supplicant makes the station's interface one of type AP while it is that.
            let ours = kind == TYPE_STATION || kind == TYPE_AP;
            (ours && !name.is_empty()).then_some((phy, name))
        })
        .collect();
    list.sort();
    list
}

/// A split dump tells of one radio in many messages.
fn radios(parts: &[Vec<u8>]) -> BTreeMap<u32, Adapter> {
    let mut radios: BTreeMap<u32, Adapter> = BTreeMap::new();
    for part in parts {
        let Some(phy) = find(part, WIPHY).and_then(|v| u32_at(v, 0)) else { continue };
        let radio = radios.entry(phy).or_default();
        for (kind, value) in Attributes(part) {
            match kind {
                BANDS => bands(value, radio),
                SUPPORTED_IFTYPES => {
                    radio.access_point |=
                        Attributes(value).any(|(kind, _)| u32::from(kind) == TYPE_AP);
                }
                SUPPORTED_COMMANDS => {
                    radio.channel_switch |=
                        Attributes(value).any(|(_, v)| u32_at(v, 0) == Some(CHANNEL_SWITCH));
                }
                COMBINATIONS => {
                    for (_, combination) in Attributes(value) {
                        radio.both = radio.both.max(both(combination));
                    }
                }
                FEATURE_FLAGS => {
                    radio.sae |= u32_at(value, 0).is_some_and(|f| f & FEATURE_SAE != 0);
                }
                EXT_FEATURES => {
                    radio.sae |= bit(value, EXT_SAE_OFFLOAD);
                    radio.handshake_offload |= bit(value, EXT_HANDSHAKE_OFFLOAD);
                }
                MAX_AP_STATIONS => radio.max_stations = u16_at(value, 0),
                _ => {}
            }
        }
    }
    radios
}

fn bit(bytes: &[u8], number: usize) -> bool {
    bytes.get(number / 8).is_some_and(|byte| byte & (1 << (number % 8)) != 0)
}

fn bands(value: &[u8], radio: &mut Adapter) {
    for (_, band) in Attributes(value) {
        for (_, channel) in Attributes(find(band, BAND_FREQS).unwrap_or_default()) {
            let Some(frequency) = find(channel, FREQ).and_then(|v| u32_at(v, 0)) else { continue };
            radio.five_ghz |= (4900..5925).contains(&frequency);
            let has = |kind| find(channel, kind).is_some();
            if !has(FREQ_DISABLED) {
                let may_start = !has(FREQ_NO_IR) && !has(FREQ_RADAR);
                radio.channels.retain(|c| c.frequency != frequency);
                radio.channels.push(Channel { frequency, may_start });
            }
        }
    }
}

/// On how many channels at once this combination of interfaces has a station and an access point;
/// None when it has not both.
fn both(combination: &[u8]) -> Option<u32> {
    let most = u32_at(find(combination, COMB_MAXNUM)?, 0)?;
    let channels = u32_at(find(combination, COMB_CHANNELS)?, 0)?;
    let limits = find(combination, COMB_LIMITS)?;
    let limits: Vec<(u32, bool, bool)> = Attributes(limits)
        .filter_map(|(_, limit)| {
            let max = u32_at(find(limit, LIMIT_MAX)?, 0)?;
            let types = find(limit, LIMIT_TYPES)?;
            let has = |t: u32| Attributes(types).any(|(kind, _)| u32::from(kind) == t);
            Some((max, has(TYPE_STATION), has(TYPE_AP)))
        })
        .collect();
    let fits = limits.iter().enumerate().any(|(i, (max, station, _))| {
        *station
            && *max >= 1
            && limits
                .iter()
                .enumerate()
                .any(|(j, (ap_max, _, ap))| *ap && *ap_max >= 1 && (i != j || *max >= 2))
    });
    (fits && most >= 2 && channels >= 1).then_some(channels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(value.len() + 4).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn number(kind: u16, value: u32) -> Vec<u8> {
        attribute(kind, &value.to_ne_bytes())
    }

    fn types(list: &[u32]) -> Vec<u8> {
        list.iter().flat_map(|t| attribute(u16::try_from(*t).unwrap(), &[])).collect()
    }

    fn combination(limits: &[(u32, &[u32])], most: u32, channels: u32) -> Vec<u8> {
        let limits: Vec<u8> = limits
            .iter()
            .flat_map(|(max, list)| {
                let inner = [number(LIMIT_MAX, *max), attribute(LIMIT_TYPES, &types(list))];
                attribute(1, &inner.concat())
            })
            .collect();
        let parts = [
            attribute(COMB_LIMITS, &limits),
            number(COMB_MAXNUM, most),
            number(COMB_CHANNELS, channels),
        ];
        parts.concat()
    }

    #[test]
    fn a_station_and_an_access_point_at_once() {
        // brcmfmac: one station, one of AP or P2P, on one channel.
        let c = combination(&[(1, &[2]), (1, &[3, 9])], 2, 1);
        assert_eq!(both(&c), Some(1));
        // ath9k_htc: two of either kind in one group.
        assert_eq!(both(&combination(&[(2, &[2, 8]), (2, &[3, 9])], 2, 1)), Some(1));
        assert_eq!(both(&combination(&[(2, &[2, 3])], 2, 2)), Some(2));
        // One interface only, of either kind.
        assert_eq!(both(&combination(&[(1, &[2, 3])], 2, 1)), None);
        assert_eq!(both(&combination(&[(2, &[2]), (1, &[3])], 1, 1)), None);
        assert_eq!(both(&combination(&[(4, &[3])], 4, 1)), None);
        assert_eq!(both(&[]), None);
    }

    fn channel(frequency: u32, flags: &[u16]) -> Vec<u8> {
        let mut inner = number(FREQ, frequency);
        for flag in flags {
            inner.extend(attribute(*flag, &[]));
        }
        attribute(1, &inner)
    }

    #[test]
    fn a_radio_told_in_many_messages() {
        let freqs =
            [channel(2437, &[]), channel(2467, &[FREQ_NO_IR]), channel(2484, &[FREQ_DISABLED])];
        let five = [channel(5180, &[FREQ_NO_IR]), channel(5260, &[FREQ_RADAR])];
        let band = |list: &[Vec<u8>]| attribute(1, &attribute(BAND_FREQS, &list.concat()));
        let phy = number(WIPHY, 4);
        let part = |more: Vec<u8>| [phy.clone(), more].concat();
        let mut commands = number(1, 7);
        commands.extend(number(2, CHANNEL_SWITCH));
        let combos = attribute(1, &combination(&[(1, &[2]), (1, &[3])], 2, 1));
        let parts = [
            part(attribute(SUPPORTED_IFTYPES, &types(&[2, 3]))),
            part(attribute(BANDS, &band(&freqs))),
            part(attribute(BANDS, &band(&five))),
            part(attribute(SUPPORTED_COMMANDS, &commands)),
            part(attribute(COMBINATIONS | 0x8000, &combos)),
            part(number(FEATURE_FLAGS, FEATURE_SAE)),
            part(attribute(EXT_FEATURES, &[0, 0x80])),
            part(attribute(MAX_AP_STATIONS, &8_u16.to_ne_bytes())),
            number(WIPHY, 5),
            vec![1, 2, 3],
        ];
        let radios = radios(&parts);
        let radio = &radios[&4];
        assert!(radio.access_point && radio.five_ghz && radio.channel_switch && radio.sae);
        assert!(radio.handshake_offload);
        assert_eq!((radio.both, radio.max_stations), (Some(1), Some(8)));
        assert!(radio.may_start_on(2437));
        assert!(!radio.may_start_on(2467) && !radio.may_start_on(5180));
        assert!(!radio.may_start_on(5260) && !radio.may_start_on(2484));
        assert_eq!(radio.channels.len(), 4, "a disabled channel is none");
        assert_eq!(radios[&5], Adapter::default());
    }

    #[test]
    fn an_interface_counts_while_it_is_the_access_point() {
        let part = |phy, kind, name: &str| {
            let name = format!("{name}\0");
            [number(WIPHY, phy), number(IFTYPE, kind), attribute(IFNAME, name.as_bytes())].concat()
        };
        let parts = [part(1, 3, "wlan1"), part(0, 10, "p2p0"), part(0, 2, "wlan0"), Vec::new()];
        let found = interfaces(&parts);
        assert_eq!(found, [(0, "wlan0".to_owned()), (1, "wlan1".to_owned())]);
    }

    #[test]
    fn the_access_points_address_differs_and_is_local() {
        assert_eq!(beside([0xb8, 0x27, 0xeb, 1, 2, 3]), [0xbe, 0x27, 0xeb, 1, 2, 3]);
        assert_eq!(beside([2, 0, 0, 0, 0, 0]), [6, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn facts_of_an_interface() {
        let sys = tempfile::tempdir().unwrap();
        let place = sys.path().join("class/net/wlan0");
        std::fs::create_dir_all(place.join("device")).unwrap();
        std::os::unix::fs::symlink("../../bus/brcmfmac", place.join("device/driver")).unwrap();
        std::fs::write(place.join("address"), "b8:27:eb:01:02:03\n").unwrap();
        assert_eq!(driver(sys.path(), "wlan0").unwrap(), "brcmfmac");
        assert_eq!(mac(sys.path(), "wlan0"), Some([0xb8, 0x27, 0xeb, 1, 2, 3]));
        assert_eq!(driver(sys.path(), "wlan1"), None);
        assert_eq!(mac(sys.path(), "wlan1"), None);
    }

    #[test]
    fn a_kernel_without_radios_has_none() {
        // Wherever this runs: no error, with radios or without.
        let radios = Nl80211::default();
        let adapters = radios.adapters().unwrap();
        assert_eq!(adapters.len(), radios.fingerprint().unwrap().len());
        radios.remove("no-such-if").unwrap();
    }
}
