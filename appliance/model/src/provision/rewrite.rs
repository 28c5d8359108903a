//! The file after it was read: secrets taken out, a report on top, everything else untouched.

use super::syntax::{self, usable};
use super::{MAX_FILE, Mistake, read};
use crate::secret::{MASK, Secret};
use crate::settings::Settings;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What a line of the report begins with.
pub(super) const MARK: &str = "#|";
/// Mistakes listed in the report; the page shows all.
const LISTED: usize = 30;

/// What has become of the file's contents. A secret is taken out only if it is kept.
#[derive(Clone, Copy, Debug)]
pub struct Wipe<'a> {
    /// The settings as they are kept now.
    pub settings: &'a Settings,
    /// The hash of the page's password as it is kept now.
    pub password_hash: Option<&'a str>,
    /// The join token is kept, or was used.
    pub token_kept: bool,
    /// Everything that is wrong, from [`read()`] and [`super::Provision::edits`].
    pub mistakes: &'a [Mistake],
}

/// The file's new text, the same as before if there is nothing to change.
pub fn wiped(text: &str, done: &Wipe<'_>) -> String {
    if text.len() > MAX_FILE || text.contains('\0') {
        return text.to_owned();
    }
    let (provision, _) = read(text);
    let (readable, _) = usable(text);
    let (table, _) = DeTable::parse_recoverable(&readable);
    let mut changes = Changes { list: Vec::new() };
    let table = table.get_ref();
    let hash = done
        .password_hash
        .filter(|h| h.chars().all(|c| c.is_ascii_graphic() && !"\"\\".contains(c)));
    if let (Some(hash), true) = (hash, provision.password().is_some()) {
        changes.password(table, hash);
    }
    if let (true, true, Some(value)) =
        (done.token_kept, provision.join_token().is_some(), table.get("join_token"))
    {
        changes.mask(value);
    }
    changes.networks(table, done.settings);
    changes.key(table, done.settings);
    changes.certificates(table, done.settings);
    changes.instances(table, done.settings);
    let body = changes.made(text);
    report(&body, provision.is_empty(), done.mistakes)
}

struct Changes {
    list: Vec<(Range<usize>, String)>,
}

type Value<'t> = Spanned<DeValue<'t>>;

impl Changes {
    fn mask(&mut self, value: &Value<'_>) {
        self.list.push((value.span(), format!("\"{MASK}\"")));
    }

    fn password(&mut self, table: &DeTable<'_>, hash: &str) {
        let Some((key, value)) = table.get_key_value("password") else { return };
        let whole = key.span().start..value.span().end;
        match table.get("password_hash") {
            Some(old) => {
                self.list.push((old.span(), format!("\"{hash}\"")));
                self.list.push((whole, "# password = \"\"".to_owned()));
            }
            None => self.list.push((whole, format!("password_hash = \"{hash}\""))),
        }
    }

    fn networks(&mut self, table: &DeTable<'_>, settings: &Settings) {
        let Some(wifi) = table.get("wifi").and_then(|w| w.get_ref().as_table()) else { return };
        self.network(wifi, settings);
        let list = wifi.get("networks").and_then(|n| n.get_ref().as_array());
        for entry in list.into_iter().flat_map(|l| l.iter()) {
            if let Some(entry) = entry.get_ref().as_table() {
                self.network(entry, settings);
            }
        }
    }

    fn network(&mut self, table: &DeTable<'_>, settings: &Settings) {
        let ssid = table.get("ssid").and_then(|v| v.get_ref().as_str());
        let mut kept = settings.wifi.networks.iter().filter(|n| ssid == Some(n.ssid.as_str()));
        self.if_kept(table, "passphrase", kept.next().map(|n| &n.passphrase));
    }

    fn key(&mut self, table: &DeTable<'_>, settings: &Settings) {
        if let Some(cluster) = table.get("cluster").and_then(|c| c.get_ref().as_table()) {
            self.if_kept(cluster, "key", Some(&settings.cluster.key));
        }
    }

    fn certificates(&mut self, table: &DeTable<'_>, settings: &Settings) {
        let list = table.get("certificates").and_then(|v| v.get_ref().as_array());
        for entry in list.into_iter().flat_map(|l| l.iter()) {
            let Some(entry) = entry.get_ref().as_table() else { continue };
            let name = entry.get("name").and_then(|v| v.get_ref().as_str());
            let mut kept = settings.certificates.iter().filter(|c| name == Some(c.name.as_str()));
            self.if_kept(entry, "key", kept.next().map(|c| &c.key));
        }
    }

    fn instances(&mut self, table: &DeTable<'_>, settings: &Settings) {
        let list = table.get("vrrp").and_then(|v| v.get_ref().as_array());
        for entry in list.into_iter().flat_map(|l| l.iter()) {
            let Some(entry) = entry.get_ref().as_table() else { continue };
            let name = entry.get("name").and_then(|v| v.get_ref().as_str());
            let mut kept = settings.vrrp.iter().filter(|v| name == Some(v.name.as_str()));
            self.if_kept(entry, "auth_pass", kept.next().map(|v| &v.auth_pass));
        }
    }

    fn if_kept(&mut self, table: &DeTable<'_>, key: &str, kept: Option<&Secret>) {
        let value = table.get(key);
        if let (Some(value), Some(kept)) = (value, kept) {
            let same = value.get_ref().as_str() == Some(kept.reveal());
            if same && !kept.is_empty() && !kept.is_mask() {
                self.mask(value);
            }
        }
    }

    /// Spans are those of the readable text, in which every byte stands where it stood.
    fn made(mut self, original: &str) -> String {
        self.list.sort_by_key(|(range, _)| range.start);
        let mut out = String::with_capacity(original.len() + 128);
        let mut at = 0;
        for (range, new) in self.list {
            if range.start < at {
                continue;
            }
            out.push_str(original.get(at..range.start).unwrap_or_default());
            out.push_str(&new);
            at = range.end;
        }
        out.push_str(original.get(at..).unwrap_or_default());
        out
    }
}

fn report(text: &str, empty: bool, mistakes: &[Mistake]) -> String {
    let (mark, reported) = syntax::report(text);
    let (bom, body) = text.split_at(mark);
    let (old, rest) = body.split_at(reported);
    let old = u32::try_from(old.lines().count()).unwrap_or(0);
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut lines: Vec<String> = Vec::new();
    if !empty || !mistakes.is_empty() {
        lines.push("Bramble has read this file.".to_owned());
        if mistakes.is_empty() {
            lines.push("Everything in it was taken over.".to_owned());
        } else {
            lines.push("Not in use until it is mended:".to_owned());
        }
        let head = u32::try_from(lines.len() + mistakes.len().min(LISTED)).unwrap_or(0);
        let more = mistakes.len().saturating_sub(LISTED);
        let tail = tail(rest, more, !empty && !mistakes.is_empty());
        let new = head.saturating_add(u32::try_from(tail.len()).unwrap_or(0));
        for mistake in mistakes.iter().take(LISTED) {
            let words = mistake.text.replace(['\n', '\r'], " ");
            lines.push(match mistake.line {
                0 => format!("  {words}"),
                line => format!("  line {}: {words}", line.saturating_sub(old).saturating_add(new)),
            });
        }
        lines.extend(tail);
    }
    let mut out = String::with_capacity(text.len() + 256);
    out.push_str(bom);
    for line in lines {
        out.extend([MARK, " ", &line, end]);
    }
    out.push_str(rest);
    out
}

fn tail(body: &str, more: usize, others: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if more > 0 {
        lines.push(format!("  and {more} more, which the page lists"));
    }
    if others {
        lines.push("Everything else was taken over.".to_owned());
    }
    lines.push(
        "What was changed on the page since then stays; a line that is changed here counts again."
            .to_owned(),
    );
    if body.contains(&format!("\"{MASK}\"")) {
        lines.push(format!("\"{MASK}\" stands for a secret that the board has; to change it, write a new one over it."));
    }
    lines
}
