//! Cables, radios and the addresses on them.

use super::{Facts, Finding};
use crate::view::Tone;
use model::status::{DhcpStatus, LinkStatus, WifiStatus, WifiVerdict};

/// Weaker than this, a network drops out now and then (in dBm).
const WEAK: i32 = -75;

pub(super) fn links(facts: &Facts<'_>) -> Vec<Finding> {
    let status = facts.status;
    let wanted = |name: &str| {
        let node = facts.node();
        node.is_some_and(|n| n.links().iter().any(|(l, link)| *l == name && link.address.is_some()))
    };
    let mut all: Vec<Finding> = Vec::new();
    let others_run =
        |name: &str| status.links.iter().any(|l| l.name != name && l.name != "lo" && l.running);
    for link in status.links.iter().filter(|l| l.name != "lo" && !is_radio(&l.name)) {
        all.push(if link.running {
            Finding::good(&link.name, "connected")
        } else if wanted(&link.name) || !others_run(&link.name) {
            let tone = if others_run(&link.name) { Tone::Warn } else { Tone::Bad };
            Finding::new(&link.name, tone, "no signal on the cable").so(
                "Plug the cable in until it clicks, at both ends. If the lights beside the plug stay \
                 dark, try another cable, then another port of the switch.",
            )
        } else {
            Finding::quiet(&link.name, "not connected").so("Nothing asks for it.")
        });
    }
    let radio = status.links.iter().find(|l| is_radio(&l.name));
    all.extend(wifi(facts, radio, radio.is_some_and(|l| wanted(&l.name))));
    if status.links.is_empty() {
        all.push(Finding::quiet("Interfaces", "this node does not say what it has"));
    }
    all
}

fn is_radio(name: &str) -> bool {
    name.starts_with("wlan")
}

/// Why there is no Wi-Fi, as exactly as the adapter lets on.
fn wifi(facts: &Facts<'_>, link: Option<&LinkStatus>, wanted: bool) -> Vec<Finding> {
    let networks = &facts.settings.wifi.networks;
    let subject = link.map_or("wlan0", |l| l.name.as_str());
    let Some(radio) = &facts.status.system.wifi else {
        // Somebody else's Linux: all that is known is the interface.
        return link
            .map(|l| match (l.running, wanted) {
                (true, _) => Finding::good(subject, "connected"),
                (false, true) => Finding::warn(subject, "not connected").so(
                    "The settings give it an address, but it is on no network. On this machine \
                     Wi-Fi is set up outside Bramble.",
                ),
                (false, false) => Finding::quiet(subject, "not connected"),
            })
            .into_iter()
            .collect();
    };
    let mut all = Vec::new();
    if let Some(on) = &radio.connected {
        let found = format!("on {:?}, {} dBm at {} MHz", on.ssid, on.signal_dbm, on.frequency);
        all.push(if on.signal_dbm < WEAK {
            Finding::warn(subject, format!("{found}, which is weak")).so(
                "It drops out now and then. Move the board or the access point, keep metal and USB 3 \
                 cables away from the antenna, or use a cable.",
            )
        } else {
            Finding::good(subject, found)
        });
    } else if networks.is_empty() && !wanted {
        all.push(
            Finding::quiet(subject, "no Wi-Fi network is set")
                .so("That is fine with a cable. To join one, open Wi-Fi."),
        );
    } else {
        all.push(no_wifi(facts, radio, subject, networks.is_empty()));
    }
    if facts.settings.wifi.country.is_none() && !networks.is_empty() {
        all.push(Finding::warn("Country", "not set").so(
            "Only channels that are allowed everywhere are used, so a network on channel 12 or 13 or \
             on 5 GHz may never be seen. Set the country on the page Wi-Fi.",
        ));
    }
    all
}

fn no_wifi(facts: &Facts<'_>, radio: &WifiStatus, subject: &str, none_set: bool) -> Finding {
    // What costs a node its only way is worse than what costs it its second one.
    let wired =
        facts.status.links.iter().any(|l| l.running && !is_radio(&l.name) && l.name != "lo");
    let tone = if wired { Tone::Warn } else { Tone::Bad };
    let finding = |found: String, advice: &str| Finding::new(subject, tone, found).so(advice);
    if radio.adapters.is_empty() {
        return match &radio.trial {
            Some(trial) => match &trial.verdict {
                WifiVerdict::NoAdapter { why } => {
                    finding("no adapter that works".to_owned(), &crate::words::sentence(why))
                }
                _ => no_adapter(tone, subject),
            },
            None => no_adapter(tone, subject),
        };
    }
    if none_set {
        return finding(
            "on no network".to_owned(),
            "The settings give this link an address but no Wi-Fi network. Add one on the page Wi-Fi, \
             or take the address away.",
        );
    }
    let five = radio.adapters.iter().any(|a| a.five_ghz);
    let Some(trial) = &radio.trial else {
        return finding(
            "on no network".to_owned(),
            "No network of the list was tried yet. Look at the page Wi-Fi.",
        );
    };
    let ssid = &trial.ssid;
    match &trial.verdict {
        WifiVerdict::OnlyFiveGhz => finding(
            format!("{ssid:?} is there on 5 GHz only"),
            "This adapter has 2.4 GHz and can never join it, however near it is. Switch 2.4 GHz on \
             at the router (often a tick named \"2.4 GHz\", \"legacy\" or \"both bands under one \
             name\"), or use an adapter that has 5 GHz, or a cable.",
        ),
        WifiVerdict::NotFound if five => finding(
            format!("{ssid:?} is not in reach"),
            "The router is off, too far away, or gave its network another name. Compare the name \
             letter by letter with the list on the page Wi-Fi; capital and small letters differ.",
        ),
        WifiVerdict::NotFound => finding(
            format!("{ssid:?} is not in reach"),
            "The router is off, too far away, gave its network another name, or has it on 5 GHz only, \
             which this adapter cannot see at all. Compare the name with the list on the page Wi-Fi.",
        ),
        WifiVerdict::WrongPassphrase => finding(
            format!("{ssid:?} refuses the passphrase"),
            "Type it again on the page Wi-Fi, with \"Show what I type\". Capital and small letters \
             differ.",
        ),
        WifiVerdict::Refused { why } => finding(
            format!("{ssid:?} does not let this board in"),
            &format!(
                "{} Look for a list of allowed devices, or a limit on their number, at the router.",
                crate::words::sentence(why)
            ),
        ),
        WifiVerdict::NoAddress => finding(
            format!("on {ssid:?}, without an address"),
            "The network let the board in, and no DHCP server answers there. Give it an address \
             under Nodes, or switch DHCP on at the router.",
        ),
        WifiVerdict::NoAdapter { why } => {
            finding("no adapter that works".to_owned(), &crate::words::sentence(why))
        }
        WifiVerdict::Trying => Finding::quiet(subject, format!("joining {ssid:?}")),
        WifiVerdict::Connected { .. } => finding(
            format!("lost {ssid:?}"),
            "It was on that network a while ago. It is tried again by itself.",
        ),
    }
}

fn no_adapter(tone: Tone, subject: &str) -> Finding {
    Finding::new(subject, tone, "there is no Wi-Fi adapter").so(
        "Plug one in whose chip Linux knows (the page Log says what became of it), or use a cable.",
    )
}

pub(super) fn addresses(facts: &Facts<'_>) -> Vec<Finding> {
    let mut all = Vec::new();
    let links = || facts.status.links.iter().filter(|l| l.name != "lo");
    for link in links() {
        let set = facts.node().and_then(|n| {
            n.links().into_iter().find(|(name, _)| *name == link.name).and_then(|(_, l)| l.address)
        });
        all.extend(address(link, set));
    }
    if links().next().is_some() && links().all(|l| l.addresses.is_empty()) {
        all.push(Finding::bad("Addresses", "this node has none").so(
            "Nobody reaches it over the network. Mend its cable or Wi-Fi first, then look here again.",
        ));
    }
    let duplicates = facts.check.map(|c| c.duplicates.as_slice()).unwrap_or_default();
    for d in duplicates {
        let found = format!("{} is another machine's as well", d.address);
        all.push(Finding::bad(&d.interface, found).so(format!(
            "The machine with the hardware address {} answers for it, so traffic for this node goes \
             astray. Give one of the two another address, outside of what the router hands out by \
             DHCP.",
            d.mac
        )));
    }
    all
}

fn address(link: &LinkStatus, set: Option<model::Cidr>) -> Option<Finding> {
    let list = || link.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if let Some(set) = set {
        return Some(match (link.addresses.contains(&set), link.running) {
            (true, _) => Finding::good(&link.name, list()),
            (false, false) => Finding::quiet(&link.name, format!("{set} once it is connected")),
            (false, true) => Finding::bad(&link.name, format!("{set} is not there")).so(
                "The settings give this interface that address, and it could not be set. What is \
                 under Services and ports says why.",
            ),
        });
    }
    match &link.dhcp {
        None if link.addresses.is_empty() => None,
        None => Some(Finding::good(&link.name, list())),
        Some(DhcpStatus::NoCarrier) => None,
        Some(DhcpStatus::Asking) => {
            Some(Finding::warn(&link.name, "waits for a DHCP server").so(
                "If this lasts longer than a minute, nothing on this network hands out addresses: \
                 switch DHCP on at the router, or give this node an address under Nodes.",
            ))
        }
        Some(DhcpStatus::LinkLocal) => Some(
            Finding::bad(&link.name, format!("{}, which it chose itself", list())).so(
                "No DHCP server answers, so it reaches only what is on the same cable. Plug it into \
                 the router's network, or give it an address under Nodes.",
            ),
        ),
        Some(DhcpStatus::Leased { server, .. }) => {
            Some(Finding::good(&link.name, format!("{}, by DHCP from {server}", list())))
        }
    }
}
