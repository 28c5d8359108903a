//! What the file says, one piece for each thing that can be in use or not.

use crate::net::Cidr;
use crate::node::Role;
use crate::secret::Secret;
use crate::text::{Country, Hostname, Ssid};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// Which of the two links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Wire {
    Eth0,
    Wlan0,
}

/// What one piece says. Its form as JSON is what a board remembers it by: another form would
/// have every board take the file for changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) enum What {
    HostName(Hostname),
    Roles(BTreeSet<Role>),
    /// An address of None is "dhcp".
    Link {
        wire: Wire,
        address: Option<Option<Cidr>>,
        gateway: Option<Ipv4Addr>,
    },
    Dns(Vec<Ipv4Addr>),
    Country(Country),
    Network {
        ssid: Ssid,
        hidden: bool,
    },
    Password,
    PasswordHash(String),
    JoinToken,
    SetupSsid(Ssid),
    SetupPassphrase,
    /// One key of a table of the settings document, or one entry of a list in it.
    Section {
        section: &'static str,
        value: Map<String, Value>,
        /// The key that the piece's secret stands under.
        secret: Option<&'static str>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Piece {
    pub(super) line: u32,
    pub(super) what: What,
    /// Kept apart, so that nothing else has to be hidden. May be the stand-in of
    /// [`crate::MASK`], which says that it was taken out of the file.
    pub(super) secret: Secret,
}

impl Piece {
    pub(super) fn new(line: u32, what: What) -> Self {
        Self { line, what, secret: Secret::default() }
    }

    pub(super) fn with(line: u32, what: What, secret: Secret) -> Self {
        Self { line, what, secret }
    }

    /// What it is remembered by. Nothing of its secret is in it.
    fn fingerprint(&self) -> String {
        format!("{:016x}", hash(&serde_json::to_string(&self.what).unwrap_or_default()))
    }

    fn has_secret(&self) -> bool {
        !self.secret.is_empty() && !self.secret.is_mask()
    }
}

/// FNV-1a: the same on every board and in every version, unlike the standard library's.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// What the settings file says, as far as it is right. `Debug` shows no secret.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Provision {
    pub(super) pieces: Vec<Piece>,
}

impl Provision {
    /// Says nothing at all, like the file as the card is made with.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// What the board remembers of this file. What was refused is not remembered: it is tried
    /// again at the next start, and complained about again.
    pub fn digest(&self, refused: &Self) -> String {
        let refused: BTreeSet<String> = refused.pieces.iter().map(Piece::fingerprint).collect();
        let mut digest = String::with_capacity(self.pieces.len() * 17);
        for fingerprint in self.pieces.iter().map(Piece::fingerprint) {
            if !refused.contains(&fingerprint) {
                digest.extend([&fingerprint, "\n"]);
            }
        }
        digest
    }

    /// What is new since the board remembered `digest`: changed pieces only, or everything when
    /// nothing is remembered. A secret is taken out of the file once it is kept, so one that
    /// stands there was written anew.
    #[must_use]
    pub fn fresh(&self, digest: &str) -> Self {
        let known: BTreeSet<&str> = digest.lines().collect();
        // The hash in place of a password that was taken out is none that somebody wrote there:
        // it must not undo a password that was chosen on the page since.
        let hashed = known.contains(Piece::new(0, What::Password).fingerprint().as_str());
        let fresh = |piece: &&Piece| {
            let own_hash = hashed && matches!(piece.what, What::PasswordHash(_));
            // This one stays readable for the owner of the board.
            let stays = matches!(piece.what, What::SetupPassphrase);
            (piece.has_secret() && !stays)
                || !(own_hash || known.contains(piece.fingerprint().as_str()))
        };
        Self { pieces: self.pieces.iter().filter(fresh).cloned().collect() }
    }

    fn find(&self, wanted: impl Fn(&What) -> bool) -> Option<&Piece> {
        self.pieces.iter().find(|p| wanted(&p.what))
    }

    fn secret(&self, wanted: impl Fn(&What) -> bool) -> Option<&Secret> {
        let piece = self.find(wanted)?;
        piece.has_secret().then_some(&piece.secret)
    }

    /// The host name.
    pub fn host_name(&self) -> Option<&Hostname> {
        self.pieces.iter().find_map(|p| match &p.what {
            What::HostName(name) => Some(name),
            _ => None,
        })
    }

    /// The page's password, to be hashed and then replaced by its hash.
    pub fn password(&self) -> Option<&Secret> {
        self.secret(|w| matches!(w, What::Password))
    }

    /// The page's password as a hash in PHC form.
    pub fn password_hash(&self) -> Option<&str> {
        self.pieces.iter().find_map(|p| match &p.what {
            What::PasswordHash(hash) => Some(hash.as_str()),
            _ => None,
        })
    }

    /// The token by which this board joins others, as it stands there.
    pub fn join_token(&self) -> Option<&Secret> {
        self.secret(|w| matches!(w, What::JoinToken))
    }

    /// Name of the setup access point.
    pub fn setup_ssid(&self) -> Option<&Ssid> {
        self.pieces.iter().find_map(|p| match &p.what {
            What::SetupSsid(ssid) => Some(ssid),
            _ => None,
        })
    }

    /// Passphrase of the setup access point.
    pub fn setup_passphrase(&self) -> Option<&Secret> {
        self.secret(|w| matches!(w, What::SetupPassphrase))
    }
}
