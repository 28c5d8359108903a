//! What the file says, merged into the settings.

use super::Mistake;
use super::piece::{Piece, Provision, What, Wire};
use super::sections::naming;
use crate::check::check;
use crate::net::Cidr;
use crate::node::{Link, Node};
use crate::problem::Problem;
use crate::settings::Settings;
use crate::text::{Hostname, NodeId};
use crate::wifi::WifiNetwork;
use serde_json::{Map, Value};
use std::net::Ipv4Addr;

/// Pieces that need each other find together in so many rounds.
const ROUNDS: usize = 4;

/// The settings with the file in them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Merged {
    /// The settings, which pass the check if those before did.
    pub settings: Settings,
    /// What would have made them unusable and was left out.
    pub refused: Provision,
    /// Why, one or more for each.
    pub mistakes: Vec<Mistake>,
}

impl Provision {
    /// Merges this into the settings for the board with this identity. What the file does not
    /// mention stays as it is; what the settings cannot take is left out alone.
    pub fn edits(&self, settings: &Settings, id: &NodeId) -> Merged {
        let known = check(settings);
        let mut whole = settings.clone();
        let smooth = self.pieces.iter().all(|p| apply(p, &mut whole, id).is_ok());
        if smooth && news(&whole, &known).is_empty() {
            return Merged { settings: whole, ..Merged::default() };
        }
        let mut now = settings.clone();
        let mut waiting: Vec<&Piece> = self.pieces.iter().collect();
        let mut mistakes = Vec::new();
        for _ in 0..ROUNDS {
            let before = waiting.len();
            mistakes.clear();
            waiting.retain(|piece| {
                let mut next = now.clone();
                let found = match apply(piece, &mut next, id) {
                    Ok(()) => news(&next, &known).into_iter().map(|p| piece.says(p)).collect(),
                    Err(error) => vec![error],
                };
                if found.is_empty() {
                    now = next;
                    return false;
                }
                mistakes.extend(found.into_iter().map(|text| Mistake::new(piece.line, text)));
                true
            });
            if waiting.is_empty() || waiting.len() == before {
                break;
            }
        }
        let refused = Self { pieces: waiting.into_iter().cloned().collect() };
        Merged { settings: now, refused, mistakes }
    }
}

impl Piece {
    /// The path of a problem says where in the settings it is. In the file it stands like that
    /// only in sections of the settings; elsewhere the line is enough.
    fn says(&self, problem: Problem) -> String {
        match self.what {
            What::Section { .. } => problem.to_string(),
            _ => problem.problem,
        }
    }
}

/// Problems that were not there before.
fn news(settings: &Settings, known: &[Problem]) -> Vec<Problem> {
    check(settings).into_iter().filter(|p| !known.contains(p)).collect()
}

fn apply(piece: &Piece, settings: &mut Settings, id: &NodeId) -> Result<(), String> {
    match &piece.what {
        What::HostName(name) => own(settings, id).name = name.clone(),
        What::Roles(roles) => own(settings, id).roles = roles.clone(),
        What::Link { wire, address, gateway } => {
            let node = own(settings, id);
            let link = match wire {
                Wire::Eth0 => &mut node.eth0,
                Wire::Wlan0 => &mut node.wlan0,
            };
            put_link(link, *address, *gateway);
        }
        What::Dns(servers) => settings.cluster.dns = servers.clone(),
        What::Country(country) => settings.wifi.country = Some(country.clone()),
        What::Network { ssid, hidden } => {
            let networks = &mut settings.wifi.networks;
            match networks.iter_mut().find(|n| &n.ssid == ssid) {
                Some(network) => {
                    network.hidden = *hidden;
                    if !piece.secret.is_mask() {
                        network.passphrase = piece.secret.clone();
                    }
                }
                None => networks.push(WifiNetwork {
                    ssid: ssid.clone(),
                    passphrase: piece.secret.clone(),
                    hidden: *hidden,
                }),
            }
        }
        What::Section { section, value, secret } => {
            let mut value = value.clone();
            if let Some(key) = secret {
                let secret = Value::String(piece.secret.reveal().to_owned());
                value.insert((*key).to_owned(), secret);
            }
            put_section(settings, section, value)?;
        }
        What::Password
        | What::PasswordHash(_)
        | What::JoinToken
        | What::SetupSsid(_)
        | What::SetupPassphrase => {}
    }
    Ok(())
}

/// This board's entry, made first where there is none.
fn own<'s>(settings: &'s mut Settings, id: &NodeId) -> &'s mut Node {
    let at = settings.nodes.iter().position(|n| &n.id == id).unwrap_or_else(|| {
        let name: Option<Hostname> = id.as_str().parse().ok();
        let name = name.or_else(|| "bramble".parse().ok()).unwrap_or_default();
        settings.nodes.push(Node { id: id.clone(), name, ..Node::default() });
        settings.nodes.len() - 1
    });
    &mut settings.nodes[at]
}

fn put_link(link: &mut Link, address: Option<Option<Cidr>>, gateway: Option<Ipv4Addr>) {
    if let Some(address) = address {
        link.address = address;
        // The router of the network it was in before.
        link.gateway = link.gateway.filter(|g| address.is_some_and(|a| a.contains(*g)));
    }
    if gateway.is_some() {
        link.gateway = gateway;
    }
}

fn put_section(
    settings: &mut Settings,
    section: &str,
    value: Map<String, Value>,
) -> Result<(), String> {
    let cannot = |e: serde_json::Error| format!("{section}: this cannot be used: {e}");
    let mut document = serde_json::to_value(&*settings).map_err(cannot)?;
    if let Some(place) = document.get_mut(section) {
        match (place, naming(section)) {
            (Value::Array(entries), Some(key)) => {
                let old = entries.iter_mut().find(|e| e.get(key) == value.get(key));
                match old {
                    Some(old) => overlay(old, Value::Object(value)),
                    None => entries.push(Value::Object(value)),
                }
            }
            (place, _) => overlay(place, Value::Object(value)),
        }
    }
    let mut next: Settings = serde_json::from_value(document).map_err(cannot)?;
    next.unmask(settings);
    *settings = next;
    Ok(())
}

/// Tables key by key; anything else is replaced.
fn overlay(old: &mut Value, new: Value) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in new {
                overlay(old.entry(key).or_insert(Value::Null), value);
            }
        }
        (old, new) => *old = new,
    }
}
