//! Wi-Fi in plain words.

use super::Tone;
use crate::tries::Stand;
use model::status::{WifiAdapter, WifiSecurity, WifiSeen, WifiVerdict};

/// Signal strength as a word; the figure stands beside it.
pub(crate) const fn strength(dbm: i32) -> &'static str {
    match dbm {
        -55.. => "very strong",
        -67..=-56 => "strong",
        -75..=-68 => "fair",
        _ => "weak",
    }
}

/// How many of the four bars.
pub(crate) const fn bars(dbm: i32) -> u8 {
    match dbm {
        -55.. => 4,
        -67..=-56 => 3,
        -75..=-68 => 2,
        _ => 1,
    }
}

pub(crate) const fn band(mhz: u32) -> &'static str {
    match mhz {
        0..3000 => "2.4 GHz",
        3000..5925 => "5 GHz",
        _ => "6 GHz",
    }
}

const fn security(s: WifiSecurity) -> &'static str {
    match s {
        WifiSecurity::Open => "open: no passphrase, everybody can listen",
        WifiSecurity::Wpa2 => "passphrase (WPA2)",
        WifiSecurity::Wpa2Wpa3 => "passphrase (WPA2 or WPA3)",
        WifiSecurity::Wpa3 => "passphrase (WPA3)",
        WifiSecurity::Enterprise => "user name and password (802.1X)",
        WifiSecurity::Outdated => "outdated (WEP or the first WPA)",
    }
}

/// A network in reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeenView {
    pub(crate) ssid: String,
    pub(crate) bars: u8,
    pub(crate) strength: &'static str,
    pub(crate) dbm: i32,
    pub(crate) band: &'static str,
    pub(crate) security: &'static str,
    /// Why it cannot be joined; empty when it can.
    pub(crate) obstacle: &'static str,
    /// Where the form to join it is; empty when there is none.
    pub(crate) join: String,
    pub(crate) known: bool,
}

/// A network as the list shows it.
pub(crate) fn seen(s: &WifiSeen, adapters: &[WifiAdapter], known: bool) -> SeenView {
    let deaf = is_deaf(adapters);
    let obstacle = match s.security {
        WifiSecurity::Enterprise => {
            "It asks for a user name, which Bramble cannot do. Use another network, or a cable."
        }
        WifiSecurity::Outdated => {
            "Its protection was broken long ago and is not spoken here. Set the router to WPA2."
        }
        _ if s.frequency >= 3000 && deaf => {
            "It is on 5 GHz only, which this adapter does not have. Switch the router's 2.4 GHz on."
        }
        _ if s.ssid.is_empty() => "It hides its name: choose \"Another network\" and type it.",
        _ => "",
    };
    let open = if s.security == WifiSecurity::Open { "&open=on" } else { "" };
    let join = format!("/wifi/join?ssid={}{open}", crate::gate::encode(&s.ssid));
    SeenView {
        ssid: s.ssid.clone(),
        bars: bars(s.signal_dbm),
        strength: strength(s.signal_dbm),
        dbm: s.signal_dbm,
        band: band(s.frequency),
        security: security(s.security),
        join: if obstacle.is_empty() { join } else { String::new() },
        obstacle,
        known,
    }
}

/// What became of joining a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrialView {
    pub(crate) tone: Tone,
    pub(crate) headline: String,
    pub(crate) detail: String,
    /// Where the page is from now on.
    pub(crate) links: Vec<String>,
    pub(crate) trying: bool,
}

/// What keeps a board from seeing a network that is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Blind {
    /// None of its adapters has 5 GHz.
    pub(crate) to_five_ghz: bool,
    /// No country is set: only the channels allowed everywhere are listened to.
    pub(crate) to_channels: bool,
}

impl Blind {
    pub(crate) fn of(adapters: &[WifiAdapter], country: Option<&model::Country>) -> Self {
        Self { to_five_ghz: is_deaf(adapters), to_channels: country.is_none() }
    }

    fn hints(self) -> String {
        let mut hints = String::new();
        if self.to_five_ghz {
            hints.push_str(
                " This adapter has 2.4 GHz only: if the router offers this name on 5 GHz alone, \
                 the board cannot see it; switch the router's 2.4 GHz on.",
            );
        }
        if self.to_channels {
            hints.push_str(
                " No country is set, so channels 12 and 13 and most of 5 GHz are not looked at; \
                 set it under Wi-Fi.",
            );
        }
        hints
    }
}

/// Without any 5 GHz, as far as anything is known of the adapters.
fn is_deaf(adapters: &[WifiAdapter]) -> bool {
    !adapters.is_empty() && adapters.iter().all(|a| !a.five_ghz)
}

/// A verdict in words; `names` are those this board answers to on that network.
pub(crate) fn trial(stand: &Stand, names: &[String], blind: Blind) -> TrialView {
    let bad = |headline: String, detail: &str| TrialView {
        tone: Tone::Bad,
        headline,
        detail: detail.to_owned(),
        links: Vec::new(),
        trying: false,
    };
    let trial = match stand {
        Stand::Failed { ssid, why } => return bad(format!("{ssid} was not tried."), why),
        Stand::Verdict(trial) => trial,
    };
    let ssid = &trial.ssid;
    match &trial.verdict {
        WifiVerdict::Trying => TrialView {
            tone: Tone::Info,
            headline: format!("Joining {ssid}…"),
            detail: "This takes up to half a minute. Your phone may lose the setup network for a \
                     moment: stay on this page, it goes on by itself."
                .to_owned(),
            links: Vec::new(),
            trying: true,
        },
        WifiVerdict::WrongPassphrase => bad(
            format!("The passphrase of {ssid} is wrong."),
            "Nothing was saved. Type it again; capital and small letters differ.",
        ),
        WifiVerdict::NotFound => bad(
            format!("{ssid} is not in reach."),
            &format!(
                "Nothing was saved. Look at the spelling, tick \"hidden\" if it hides its name, or \
                 bring the board closer to the router.{}",
                blind.hints()
            ),
        ),
        WifiVerdict::OnlyFiveGhz => bad(
            format!("{ssid} is on 5 GHz only, which this adapter does not have."),
            "Nothing was saved. Switch the router's 2.4 GHz on, or use another adapter.",
        ),
        WifiVerdict::Refused { why } => bad(
            format!("{ssid} does not let this board in."),
            &format!("{} Nothing was saved.", crate::words::sentence(why)),
        ),
        WifiVerdict::NoAddress => bad(
            format!("{ssid} let this board in but gave it no address."),
            "Nothing was saved. See whether the router's DHCP server is on and has addresses \
             left, or give the board a static address under Nodes.",
        ),
        WifiVerdict::NoAdapter { why } => {
            bad("There is no Wi-Fi adapter that works.".to_owned(), &crate::words::sentence(why))
        }
        WifiVerdict::Connected { address } => {
            let page = |host: &str| format!("http://{host}:{}/", model::ADMIN_PORT);
            let mut links = vec![page(&address.to_string())];
            links.extend(names.iter().map(|n| page(n)));
            TrialView {
                tone: Tone::Good,
                headline: format!("On {ssid}, with the address {address}."),
                detail: "It is saved. Put your phone on the same network, then go on at one of \
                         these addresses; you sign in there once more."
                    .to_owned(),
                links,
                trying: false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::status::WifiTrial;

    fn network(ssid: &str, frequency: u32, security: WifiSecurity) -> WifiSeen {
        WifiSeen { ssid: ssid.to_owned(), frequency, signal_dbm: -60, security }
    }

    #[test]
    fn unreachable_networks_are_explained() {
        let old = [WifiAdapter { interface: "wlan0".into(), ..WifiAdapter::default() }];
        let new = [WifiAdapter { five_ghz: true, ..old[0].clone() }];
        let home = seen(&network("My & home", 2412, WifiSecurity::Wpa2), &old, true);
        assert_eq!((home.obstacle, home.join.as_str()), ("", "/wifi/join?ssid=My%20%26%20home"));
        assert_eq!((home.strength, home.bars, home.band), ("strong", 3, "2.4 GHz"));
        let cafe = seen(&network("Cafe", 2412, WifiSecurity::Open), &old, false);
        assert!(cafe.join.ends_with("&open=on"));
        let fast = network("Fast", 5180, WifiSecurity::Wpa3);
        assert!(seen(&fast, &old, false).obstacle.contains("5 GHz only"));
        assert_eq!(seen(&fast, &new, false).obstacle, "");
        assert_eq!(seen(&fast, &[], false).obstacle, "", "nothing is known of the adapter");
        for s in [WifiSecurity::Enterprise, WifiSecurity::Outdated] {
            let view = seen(&network("x", 2412, s), &new, false);
            assert!(!view.obstacle.is_empty() && view.join.is_empty());
        }
        assert!(!seen(&network("", 2412, WifiSecurity::Wpa2), &new, false).obstacle.is_empty());
    }

    #[test]
    fn every_verdict_says_what_to_do() {
        let why = "deauthenticated".to_owned();
        let all = [
            WifiVerdict::Trying,
            WifiVerdict::WrongPassphrase,
            WifiVerdict::NotFound,
            WifiVerdict::OnlyFiveGhz,
            WifiVerdict::Refused { why: why.clone() },
            WifiVerdict::NoAddress,
            WifiVerdict::NoAdapter { why },
            WifiVerdict::Connected { address: "192.168.1.77".parse().unwrap() },
        ];
        let names = ["web01.local".to_owned()];
        let views: Vec<TrialView> = all
            .into_iter()
            .map(|verdict| {
                let stand = Stand::Verdict(WifiTrial { ssid: "home".into(), verdict });
                trial(&stand, &names, Blind::default())
            })
            .collect();
        assert!(views.iter().all(|v| !v.headline.is_empty() && v.detail.ends_with('.')));
        assert_eq!(views.iter().filter(|v| v.trying).count(), 1);
        let last = views.last().unwrap();
        assert_eq!(last.links, ["http://192.168.1.77:1936/", "http://web01.local:1936/"]);
    }

    #[test]
    fn what_is_not_found_may_be_where_this_board_cannot_look() {
        let told = |five_ghz: bool, country: Option<&str>| {
            let adapter = WifiAdapter { five_ghz, ..WifiAdapter::default() };
            let country = country.map(|c| c.parse().unwrap());
            let blind = Blind::of(&[adapter], country.as_ref());
            let verdict = WifiVerdict::NotFound;
            let stand = Stand::Verdict(WifiTrial { ssid: "home".into(), verdict });
            trial(&stand, &[], blind).detail
        };
        assert!(told(false, Some("GB")).contains("2.4 GHz only"));
        assert!(!told(true, Some("GB")).contains("2.4 GHz only"));
        assert!(told(true, None).contains("No country is set"));
        assert!(!told(true, Some("GB")).contains("No country"));
    }
}
