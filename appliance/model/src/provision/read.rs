//! The file's keys and what they mean.

use super::piece::{Piece, Provision, What, Wire};
use super::syntax::{line_of, usable};
use super::{MAX_FILE, Mistake, sections};
use crate::check::wpa_passphrase;
use crate::node::Role;
use crate::secret::Secret;
use crate::text::Ssid;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::Ipv4Addr;
use std::str::FromStr;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

const KEYS: [&str; 9] = [
    "host_name",
    "roles",
    "password",
    "password_hash",
    "join_token",
    "eth0",
    "wlan0",
    "wifi",
    "setup",
];
/// Shortest and longest password, in characters and in bytes, as the page asks for them.
const PASSWORD: (usize, usize) = (10, 128);
const MAX_TOKEN: usize = 1024;
const MAX_NAME_SERVERS: usize = 3;

/// The file's text, whatever editor saved it: UTF-8 or UTF-16 with a mark. Anything else comes
/// out with U+FFFD in it, which [`read()`] complains about at its line.
pub fn text_of(bytes: &[u8]) -> String {
    let wide = |pair: fn([u8; 2]) -> u16, rest: &[u8]| {
        let units = rest.chunks_exact(2).map(|c| match c {
            [a, b] => pair([*a, *b]),
            _ => 0,
        });
        char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => wide(u16::from_le_bytes, rest),
        [0xfe, 0xff, rest @ ..] => wide(u16::from_be_bytes, rest),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// What the file says, and every mistake in it, in the order of its lines.
pub fn read(text: &str) -> (Provision, Vec<Mistake>) {
    if text.len() > MAX_FILE {
        let words = format!(
            "the file has {} bytes; at most {MAX_FILE} are read. Nothing of it is used",
            text.len()
        );
        return (Provision::default(), vec![Mistake::new(0, words)]);
    }
    let (usable, mistakes) = usable(text);
    let (table, _) = DeTable::parse_recoverable(&usable);
    let mut reader = Reader { text: &usable, pieces: Vec::new(), mistakes };
    reader.top(table.get_ref());
    let Reader { mut pieces, mut mistakes, .. } = reader;
    mistakes.sort();
    mistakes.dedup();
    pieces.sort_by_key(|p| p.line);
    (Provision { pieces }, mistakes)
}

type Value<'t> = Spanned<DeValue<'t>>;

struct Reader<'t> {
    text: &'t str,
    pieces: Vec<Piece>,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn top(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            let line = self.line(key);
            match key.get_ref().as_ref() {
                "host_name" => self.parsed(line, "host_name", value, What::HostName),
                "roles" => self.roles(line, value),
                "password" => self.password(line, value),
                "password_hash" => self.password_hash(line, value),
                "join_token" => self.join_token(line, value),
                "eth0" => self.link(line, Wire::Eth0, "eth0", value),
                "wlan0" => self.link(line, Wire::Wlan0, "wlan0", value),
                "wifi" => self.wifi(line, value),
                "setup" => self.setup(line, value),
                other => match sections::known(other) {
                    Some(section) => sections::read(
                        self.text,
                        section,
                        value,
                        &mut self.pieces,
                        &mut self.mistakes,
                    ),
                    None => {
                        let keys: Vec<&str> = KEYS.into_iter().chain(sections::names()).collect();
                        self.unknown(line, other, &keys);
                    }
                },
            }
        }
    }

    fn line<T>(&self, at: &Spanned<T>) -> u32 {
        line_of(self.text, at.span().start)
    }

    fn wrong(&mut self, line: u32, words: impl Into<String>) {
        self.mistakes.push(Mistake::new(line, words));
    }

    fn unknown(&mut self, line: u32, key: &str, known: &[&str]) {
        // A line that was a mistake may hold a secret; its beginning is enough to find it.
        let key: String = key.chars().take(24).collect();
        let folded = key.to_ascii_lowercase().replace(['-', '_'], "");
        let near = known.iter().find(|k| k.replace('_', "") == folded);
        let words = match near {
            Some(near) => format!("there is no setting {key:?}; did you mean {near}?"),
            None => format!("there is no setting {key:?} here; known here: {}", known.join(", ")),
        };
        self.wrong(line, words);
    }

    fn text<'v>(&mut self, line: u32, key: &str, value: &'v Value<'_>) -> Option<&'v str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong(line, format!("{key} is a text; write it between quotation marks"));
        }
        text
    }

    fn table<'v, 't>(
        &mut self,
        line: u32,
        key: &str,
        value: &'v Value<'t>,
    ) -> Option<&'v DeTable<'t>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong(
                line,
                format!("{key} is a section; write [{key}] on a line of its own and its settings under it"),
            );
        }
        table
    }

    fn parse<T: FromStr<Err: Display>>(
        &mut self,
        line: u32,
        key: &str,
        value: &Value<'_>,
    ) -> Option<T> {
        let text = self.text(line, key, value)?;
        match text.trim().parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.wrong(line, format!("{key}: {error}"));
                None
            }
        }
    }

    fn parsed<T: FromStr<Err: Display>>(
        &mut self,
        line: u32,
        key: &str,
        value: &Value<'_>,
        what: impl Fn(T) -> What,
    ) {
        if let Some(parsed) = self.parse(line, key, value) {
            self.pieces.push(Piece::new(line, what(parsed)));
        }
    }

    fn address(&mut self, line: u32, key: &str, value: &Value<'_>) -> Option<Ipv4Addr> {
        let text = self.text(line, key, value)?;
        let parsed = text.trim().parse().ok();
        if parsed.is_none() {
            self.wrong(
                line,
                format!("{key}: {text:?} is no address; write for example 192.168.1.1"),
            );
        }
        parsed
    }

    fn roles(&mut self, line: u32, value: &Value<'_>) {
        let entries: Vec<&Value<'_>> = match value.get_ref() {
            DeValue::Array(list) => list.iter().collect(),
            DeValue::String(_) => vec![value],
            _ => {
                self.wrong(line, "roles is a list; write for example [\"web\"]");
                return;
            }
        };
        let mut roles = BTreeSet::new();
        let mut good = true;
        for entry in entries {
            match entry.get_ref().as_str().map(str::trim) {
                Some("web") => {
                    roles.insert(Role::Web);
                }
                Some("balancer") => {
                    roles.insert(Role::Balancer);
                }
                _ => {
                    good = false;
                    let line = self.line(entry);
                    self.wrong(line, "a role is \"web\" or \"balancer\"");
                }
            }
        }
        if good {
            self.pieces.push(Piece::new(line, What::Roles(roles)));
        }
    }

    fn password(&mut self, line: u32, value: &Value<'_>) {
        let Some(text) = self.text(line, "password", value) else { return };
        let (shortest, longest) = PASSWORD;
        let first = text.chars().next();
        if text.is_empty() {
            return;
        }
        if text.contains(char::is_control) {
            self.wrong(line, "the password stands on one line and has no tabulators");
        } else if text.chars().count() < shortest {
            self.wrong(line, format!("the password needs at least {shortest} characters"));
        } else if text.len() > longest {
            self.wrong(line, format!("the password has at most {longest} characters"));
        } else if text.chars().all(|c| Some(c) == first) {
            self.wrong(line, "one character repeated is guessed at once; choose another password");
        } else {
            self.pieces.push(Piece::with(line, What::Password, Secret::new(text)));
        }
    }

    fn password_hash(&mut self, line: u32, value: &Value<'_>) {
        let Some(text) = self.text(line, "password_hash", value) else { return };
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"$=,+/.-".contains(&b));
        if text.len() <= 256 && plain && affordable(text) {
            self.pieces.push(Piece::new(line, What::PasswordHash(text.to_owned())));
        } else {
            self.wrong(
                line,
                "this is no hash of a password as Bramble makes them; write password = \"...\" with the password itself instead",
            );
        }
    }

    fn join_token(&mut self, line: u32, value: &Value<'_>) {
        let Some(text) = self.text(line, "join_token", value) else { return };
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        if text.len() > MAX_TOKEN || text.contains(char::is_control) {
            self.wrong(line, "this is no join token; copy it from the page of the board to join");
        } else {
            self.pieces.push(Piece::with(line, What::JoinToken, Secret::new(text)));
        }
    }

    fn link(&mut self, line: u32, wire: Wire, name: &str, value: &Value<'_>) {
        let Some(table) = self.table(line, name, value) else { return };
        let (mut address, mut gateway, mut dns) = (None, None, None);
        let mut at = line;
        let mut given = false;
        for (key, value) in table {
            let line = self.line(key);
            match key.get_ref().as_ref() {
                "address" => {
                    (at, given) = (line, true);
                    address = match value.get_ref().as_str().map(str::trim) {
                        Some(text) if text.eq_ignore_ascii_case("dhcp") => Some(None),
                        _ => self.parse(line, "address", value).map(Some),
                    };
                }
                "gateway" => gateway = self.address(line, "gateway", value).map(|g| (line, g)),
                "dns" if wire == Wire::Eth0 => dns = self.dns(line, value).map(|d| (line, d)),
                "dns" => self.wrong(line, "write dns under [eth0]; it is the same for all links"),
                other => self.unknown(line, other, &["address", "gateway", "dns"]),
            }
        }
        if let (Some((line, _)), Some(None)) = (gateway, address) {
            self.wrong(
                line,
                "with \"dhcp\" the router comes along with the address; leave the gateway out",
            );
            gateway = None;
        }
        // Without the address it was meant for, a gateway is of no use.
        if given && address.is_none() {
            gateway = None;
        }
        if let Some((line, _)) = gateway {
            at = if given { at } else { line };
        }
        if address.is_some() || gateway.is_some() {
            let gateway = gateway.map(|(_, g)| g);
            self.pieces.push(Piece::new(at, What::Link { wire, address, gateway }));
        }
        if let Some((line, servers)) = dns {
            self.pieces.push(Piece::new(line, What::Dns(servers)));
        }
    }

    fn dns(&mut self, line: u32, value: &Value<'_>) -> Option<Vec<Ipv4Addr>> {
        let entries: Vec<&Value<'_>> = match value.get_ref() {
            DeValue::Array(list) => list.iter().collect(),
            DeValue::String(_) => vec![value],
            _ => {
                self.wrong(line, "dns is a list; write for example [\"192.168.1.1\"]");
                return None;
            }
        };
        if entries.len() > MAX_NAME_SERVERS {
            self.wrong(line, format!("dns: at most {MAX_NAME_SERVERS} name servers are used"));
            return None;
        }
        let mut servers = Vec::new();
        for entry in entries {
            let line = self.line(entry);
            servers.push(self.address(line, "dns", entry)?);
        }
        Some(servers)
    }

    fn wifi(&mut self, line: u32, value: &Value<'_>) {
        let Some(table) = self.table(line, "wifi", value) else { return };
        let mut single = false;
        for (key, value) in table {
            let line = self.line(key);
            match key.get_ref().as_ref() {
                "country" => self.parsed(line, "country", value, What::Country),
                "networks" => match value.get_ref() {
                    DeValue::Array(list) => {
                        for entry in list.iter() {
                            let line = self.line(entry);
                            match entry.get_ref().as_table() {
                                Some(table) => self.network(line, table, true),
                                None => self.wrong(line, "write [[wifi.networks]] on a line of its own and ssid and passphrase under it"),
                            }
                        }
                    }
                    _ => self.wrong(line, "networks are a list: write [[wifi.networks]], with two brackets at each end"),
                },
                "ssid" | "passphrase" | "hidden" => single = true,
                other => self.unknown(
                    line,
                    other,
                    &["country", "ssid", "passphrase", "hidden", "networks"],
                ),
            }
        }
        if single {
            self.network(line, table, false);
        }
    }

    /// A network in a table of its own, or written straight into the section.
    fn network(&mut self, line: u32, table: &DeTable<'_>, own: bool) {
        let (mut ssid, mut passphrase, mut hidden) = (None, Secret::default(), false);
        let (mut at, mut named, mut good) = (line, false, true);
        for (key, value) in table {
            let line = self.line(key);
            match key.get_ref().as_ref() {
                "ssid" => {
                    (at, named) = (line, true);
                    ssid = self.ssid(line, value);
                }
                "passphrase" => match self.passphrase(line, value) {
                    Some(secret) => passphrase = secret,
                    None => good = false,
                },
                "hidden" => match value.get_ref().as_bool() {
                    Some(yes) => hidden = yes,
                    None => self.wrong(line, "hidden is true or false, without quotation marks"),
                },
                other if own => self.unknown(line, other, &["ssid", "passphrase", "hidden"]),
                // The section's other keys were looked at already.
                _ => {}
            }
        }
        match ssid {
            Some(ssid) if good => {
                self.pieces.push(Piece::with(at, What::Network { ssid, hidden }, passphrase));
            }
            None if !named => self.wrong(line, "this Wi-Fi network needs its name: ssid = \"...\""),
            _ => {}
        }
    }

    /// Without trimming: a network's name may begin with a space.
    fn ssid(&mut self, line: u32, value: &Value<'_>) -> Option<Ssid> {
        match self.text(line, "ssid", value)?.parse() {
            Ok(ssid) => Some(ssid),
            Err(error) => {
                self.wrong(line, format!("ssid: {error}"));
                None
            }
        }
    }

    fn passphrase(&mut self, line: u32, value: &Value<'_>) -> Option<Secret> {
        let secret = Secret::new(self.text(line, "passphrase", value)?);
        if secret.is_empty() || secret.is_mask() || wpa_passphrase(secret.reveal()) {
            return Some(secret);
        }
        let words =
            "a WPA passphrase has 8 to 63 plain characters, or is a key of 64 hexadecimal digits";
        self.wrong(line, words);
        None
    }

    fn setup(&mut self, line: u32, value: &Value<'_>) {
        let Some(table) = self.table(line, "setup", value) else { return };
        for (key, value) in table {
            let line = self.line(key);
            match key.get_ref().as_ref() {
                "ssid" => {
                    if let Some(ssid) = self.ssid(line, value) {
                        self.pieces.push(Piece::new(line, What::SetupSsid(ssid)));
                    }
                }
                "passphrase" => match self.passphrase(line, value) {
                    Some(secret) if !secret.is_empty() && !secret.is_mask() => {
                        self.pieces.push(Piece::with(line, What::SetupPassphrase, secret));
                    }
                    Some(_) => self.wrong(
                        line,
                        "the setup network is never open; write a passphrase of 8 to 63 characters, or leave the line out for one of the board's own",
                    ),
                    None => {}
                },
                other => self.unknown(line, other, &["ssid", "passphrase"]),
            }
        }
    }
}

/// A PHC string of argon2id that a board with little memory can check: at most 64 MiB, a few
/// rounds.
fn affordable(hash: &str) -> bool {
    let Some(rest) = hash.strip_prefix("$argon2id$v=19$") else { return false };
    let Some((costs, rest)) = rest.split_once('$') else { return false };
    let cost = |name: &str, most: u32| {
        let mut all = costs.split(',').filter_map(|c| c.split_once('='));
        let value = all.find(|(n, _)| *n == name).and_then(|(_, v)| v.parse::<u32>().ok());
        value.is_some_and(|v| (1..=most).contains(&v))
    };
    let parts = rest.split('$');
    cost("m", 64 * 1024)
        && cost("t", 16)
        && cost("p", 16)
        && parts.clone().count() == 2
        && parts.into_iter().all(|p| p.len() >= 8)
}
