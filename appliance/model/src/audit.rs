//! The audit log: who did what, on which node, and what came of it.
//!
//! A node writes its own log and keeps copies of the others'. Entries are numbered and each one
//! holds a hash of itself and the one before, so that a log that was changed does not fit what
//! others know of it. No clock decides anything: within one log numbers are the order; the wall
//! time is shown, with a word on whether the clock was set.

use crate::text::NodeId;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Longest text of an entry, in bytes; what is longer is cut.
pub const LONGEST_TEXT: usize = 2048;
/// Entries each node keeps of each log.
pub const KEPT: u64 = 5000;

macro_rules! deeds {
    ($($(#[$doc:meta])* $name:ident, $key:literal, $words:literal;)*) => {
        /// What was done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Deed {
            $($(#[$doc])* $name,)*
        }

        impl Deed {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// How an entry names it.
            pub const fn key(self) -> &'static str {
                match self { $(Self::$name => $key,)* }
            }

            /// What it is, for the operator.
            pub const fn words(self) -> &'static str {
                match self { $(Self::$name => $words,)* }
            }
        }
    };
}

deeds! {
    /// The settings have a new revision.
    Settings, "settings", "settings changed";
    /// The first password of a board.
    Claimed, "claimed", "board claimed";
    /// A sign-in on the page.
    SignIn, "sign-in", "signed in";
    /// Sign-ins that failed, counted.
    SignInFailed, "sign-in-failed", "failed sign-in";
    /// One session ended by its operator.
    SignOut, "sign-out", "signed out";
    /// Sessions ended by somebody.
    SessionsEnded, "sessions-ended", "sessions ended";
    /// Another password.
    Password, "password", "password changed";
    /// A token for programs made.
    TokenMade, "token-made", "token made";
    /// A token for programs removed.
    TokenRemoved, "token-removed", "token removed";
    /// A board taken into the cluster.
    Adopted, "adopted", "board adopted";
    /// A board taken out of it.
    Removed, "removed", "board removed";
    /// The floating IP handed over on request.
    Failover, "failover", "failover";
    /// A restart on request.
    Reboot, "reboot", "restart";
    /// Switched off on request.
    PowerOff, "power-off", "switched off";
    /// The LED of a board blinked.
    Blink, "blink", "LED blinked";
    /// A held deletion let pass.
    DeletionApproved, "deletion-approved", "deletion approved";
    /// A firmware installed.
    Firmware, "firmware", "firmware update";
    /// A backup of the settings made.
    BackupMade, "backup-made", "backup made";
    /// A backup of the settings restored.
    BackupRestored, "backup-restored", "backup restored";
    /// Everything on a board forgotten.
    FactoryReset, "factory-reset", "factory reset";
    /// A file on the boot partition let somebody in again.
    RecoveredByFile, "recovered-by-file", "recovery by file";
    /// Secrets shown to somebody who typed the password again.
    SecretShown, "secret-shown", "secret shown";
    /// Keys of the cluster replaced.
    KeysReplaced, "keys-replaced", "keys replaced";
}

impl Deed {
    /// The deed of this key; None for one a newer release knows.
    pub fn of(key: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|d| d.key() == key)
    }
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The operator, on the page.
    Session {
        /// Which session, by [`crate::session::short`] of its id.
        session: String,
        /// From where.
        address: IpAddr,
    },
    /// The operator, where only the address is known.
    Operator {
        /// From where.
        address: String,
    },
    /// A program with a token.
    Token {
        /// The token's name.
        name: String,
        /// From where.
        address: IpAddr,
    },
    /// A program with the password.
    Password {
        /// From where.
        address: IpAddr,
    },
    /// Somebody who is not signed in.
    Visitor {
        /// From where.
        address: IpAddr,
    },
    /// Somebody who asked another node, which asked this one.
    Through {
        /// The other node.
        node: NodeId,
        /// What it says of who asked.
        author: String,
    },
    /// The node itself, or its command line.
    Node,
}

impl Actor {
    /// How an entry keeps it: kind, name, address.
    pub fn parts(&self) -> (&'static str, String, String) {
        match self {
            Self::Session { session, address } => ("session", session.clone(), address.to_string()),
            Self::Operator { address } => ("operator", String::new(), address.clone()),
            Self::Token { name, address } => ("token", name.clone(), address.to_string()),
            Self::Password { address } => ("password", String::new(), address.to_string()),
            Self::Visitor { address } => ("visitor", String::new(), address.to_string()),
            Self::Through { node, author } => ("through", node.to_string(), author.clone()),
            Self::Node => ("node", String::new(), String::new()),
        }
    }
}

/// Something to be written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who.
    pub actor: Actor,
    /// What.
    pub deed: Deed,
    /// To what: a name, an address, a revision. May be empty.
    pub object: String,
    /// What it was before, secrets masked; empty where that says nothing.
    pub before: String,
    /// What it is now.
    pub after: String,
    /// Why it came to nothing; None: it was done.
    pub failure: Option<String>,
}

impl Record {
    /// Something that was done.
    pub fn done(actor: Actor, deed: Deed, object: impl Into<String>) -> Self {
        let (before, after) = (String::new(), String::new());
        Self { actor, deed, object: object.into(), before, after, failure: None }
    }

    /// The same with what it was and what it is.
    #[must_use]
    pub fn change(mut self, before: impl Into<String>, after: impl Into<String>) -> Self {
        (self.before, self.after) = (before.into(), after.into());
        self
    }

    /// The same with what came of it.
    #[must_use]
    pub fn result<T, E: ToString>(mut self, result: &Result<T, E>) -> Self {
        self.failure = result.as_ref().err().map(ToString::to_string);
        self
    }
}

/// One entry of a log, as it is kept and as nodes send it to each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// The node that wrote it.
    pub node: NodeId,
    /// Which log of that node: one that lost its data begins another.
    pub log: String,
    /// Its number in that log, from 1.
    pub seq: u64,
    /// Tells one start of that board from another.
    pub boot: String,
    /// Milliseconds since that start.
    pub uptime_ms: u64,
    /// Milliseconds since 1970 by that board's clock.
    pub at_ms: i64,
    /// Was that clock set? If not, the time says nothing.
    pub clock_set: bool,
    /// Who: the kind of [`Actor`].
    pub actor: String,
    /// Who, by name.
    pub name: String,
    /// Who, from where.
    pub address: String,
    /// What: a key of [`Deed`], or one that a newer release knows.
    pub deed: String,
    /// To what.
    pub object: String,
    /// What it was before.
    pub before: String,
    /// What it is now.
    pub after: String,
    /// Why it came to nothing; empty: it was done.
    pub failure: String,
    /// Hash of the entry before and this one, in hexadecimal.
    pub chain: String,
}

impl Entry {
    /// What [`Self::chain`] is the hash of, after an entry whose chain is `previous` (empty for
    /// the first one). Every text with its length, so that none can pass for part of another.
    pub fn material(&self, previous: &str) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512);
        let mut text = |t: &str| {
            bytes.extend(u64::try_from(t.len()).unwrap_or(u64::MAX).to_be_bytes());
            bytes.extend(t.as_bytes());
        };
        text("bramble audit 1");
        text(previous);
        for t in [self.node.as_str(), &self.log, &self.boot, &self.actor, &self.name] {
            text(t);
        }
        for t in [&self.address, &self.deed, &self.object, &self.before, &self.after] {
            text(t);
        }
        text(&self.failure);
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.uptime_ms.to_be_bytes());
        bytes.extend(self.at_ms.to_be_bytes());
        bytes.push(u8::from(self.clock_set));
        bytes
    }

    /// The texts somebody may have chosen.
    fn texts(&self) -> [&String; 11] {
        [
            &self.log,
            &self.boot,
            &self.actor,
            &self.name,
            &self.address,
            &self.deed,
            &self.object,
            &self.before,
            &self.after,
            &self.failure,
            &self.chain,
        ]
    }

    /// Could [`clean`] have let it pass? Checked in what another node sends.
    pub fn is_clean(&self) -> bool {
        let plain = |t: &&String| t.len() <= LONGEST_TEXT && !t.chars().any(hidden);
        !self.node.is_empty() && self.seq > 0 && self.texts().iter().all(plain)
    }

    /// What was done, for the operator.
    pub fn deed_words(&self) -> &str {
        Deed::of(&self.deed).map_or(self.deed.as_str(), |deed| deed.words())
    }

    /// Who did it, for the operator.
    pub fn who(&self) -> String {
        match self.actor.as_str() {
            "session" => format!("operator at {} (session {})", self.address, self.name),
            "operator" => format!("operator at {}", self.address),
            "token" => format!("program with token {} at {}", self.name, self.address),
            "password" => format!("program with the password at {}", self.address),
            "visitor" => format!("somebody at {}", self.address),
            "through" => format!("{} through node {}", self.address, self.name),
            "node" => "the node itself".to_owned(),
            other => format!("{other} {} {}", self.name, self.address),
        }
    }
}

/// Characters that would let an entry look like something else.
fn hidden(c: char) -> bool {
    let invisible = matches!(c,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}');
    c.is_control() || invisible
}

/// A text as an entry takes it: what could hide or forge something is written out, and what is
/// too long is cut.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(LONGEST_TEXT));
    for c in text.chars() {
        let before = out.len();
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if hidden(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
        // Room for the mark of a cut.
        if out.len() > LONGEST_TEXT - '…'.len_utf8() {
            out.truncate(before);
            out.push('…');
            break;
        }
    }
    out
}

/// How far somebody knows a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Head {
    /// The node that writes it.
    pub node: NodeId,
    /// Which of its logs.
    pub log: String,
    /// The number of the last entry known.
    pub seq: u64,
    /// That entry's chain.
    pub chain: String,
}

/// Which entries somebody wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Only of this node.
    pub node: Option<NodeId>,
    /// Only of this deed, by its key.
    pub deed: Option<String>,
    /// Only those with all of these words, capital or small.
    pub words: String,
    /// Only those after this place: [`Listed::next`] of the page before.
    pub after: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// Entries, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Where older ones begin; None when these are the oldest.
    pub next: Option<String>,
    /// Logs that do not fit what is known of them, a sentence each.
    pub complaints: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deeds_have_keys_of_their_own() {
        for deed in Deed::ALL {
            assert_eq!(Deed::of(deed.key()), Some(*deed));
            assert!(deed.key().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
        }
        assert_eq!(Deed::of("flown to the moon"), None);
    }

    #[test]
    fn texts_cannot_forge_lines_or_hide() {
        assert_eq!(clean("a\nb\r\u{1b}[2J\u{202e}x"), "a\\nb\\r\\u{1b}[2J\\u{202e}x");
        let long = clean(&"ä".repeat(5000));
        assert!(long.len() <= LONGEST_TEXT && long.ends_with('…'));
        let just = "x".repeat(LONGEST_TEXT - 3);
        assert_eq!(clean(&just), just);
        assert!(clean(&"\n".repeat(4000)).len() <= LONGEST_TEXT);
    }

    #[test]
    fn every_field_counts_for_the_chain() {
        let node: NodeId = "web01".parse().unwrap();
        let entry = Entry { node, seq: 7, object: "ab".into(), ..Entry::default() };
        let shifted = Entry { object: "a".into(), before: "b".into(), ..entry.clone() };
        let fields: [fn(&mut Entry); 16] = [
            |e| e.node = "web02".parse().unwrap(),
            |e| e.log = "x".into(),
            |e| e.seq += 1,
            |e| e.boot = "x".into(),
            |e| e.uptime_ms += 1,
            |e| e.at_ms += 1,
            |e| e.clock_set = true,
            |e| e.actor = "x".into(),
            |e| e.name = "x".into(),
            |e| e.address = "x".into(),
            |e| e.deed = "x".into(),
            |e| e.object = "x".into(),
            |e| e.before = "x".into(),
            |e| e.after = "x".into(),
            |e| e.failure = "x".into(),
            |e| *e = Entry { object: "a".into(), before: "b".into(), ..e.clone() },
        ];
        for (i, change) in fields.iter().enumerate() {
            let mut other = entry.clone();
            change(&mut other);
            assert_ne!(other.material("p"), entry.material("p"), "field {i}");
        }
        assert_ne!(shifted.material("p"), entry.material("p"));
        assert_ne!(entry.material("p"), entry.material("q"));
        let chained = Entry { chain: "x".into(), ..entry.clone() };
        assert_eq!(chained.material("p"), entry.material("p"), "the hash is not its own material");
    }

    #[test]
    fn what_another_node_sends_is_looked_at() {
        let node: NodeId = "web01".parse().unwrap();
        let good = Entry { node, seq: 1, ..Entry::default() };
        assert!(good.is_clean());
        assert!(!Entry { seq: 0, ..good.clone() }.is_clean());
        assert!(!Entry { object: "two\nlines".into(), ..good.clone() }.is_clean());
        assert!(!Entry { failure: "x".repeat(LONGEST_TEXT + 1), ..good }.is_clean());
    }
}
