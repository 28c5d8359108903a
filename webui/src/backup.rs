//! Everything the operator has set, as one file under a passphrase of its own.
//!
//! ```text
//! magic 15 | version 1 | memory KiB 4 | passes 4 | lanes 1 | salt 16 | nonce 24 | sealed | sum 32
//! ```
//!
//! Numbers are big-endian. The key is Argon2id of the passphrase; `sealed` is XChaCha20-Poly1305 of
//! a JSON text, with everything before it as associated data; `sum` is the BLAKE3 hash of everything
//! before it. The sum proves nothing to anybody who means harm: it tells a file that was damaged on
//! its way from a wrong passphrase.

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use model::Settings;
use model::token::Token;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A larger file is none of ours, in bytes.
pub const LARGEST: usize = 1024 * 1024;
/// The shortest passphrase, in characters.
pub const SHORTEST: usize = 10;
/// The longest, in bytes.
const LONGEST: usize = 1024;

const MAGIC: &[u8; 15] = b"bramble backup\n";
const VERSION: u8 = 1;
const SALT: usize = 16;
const NONCE: usize = 24;
const SUM: usize = 32;
/// OWASP's second choice for Argon2id: a file may be tried for years, a Pi makes it in seconds.
const COST: Cost = Cost { memory: 47_104, passes: 3, lanes: 1 };
/// What a file may ask of the board that opens it.
const DEAREST: Cost = Cost { memory: 131_072, passes: 16, lanes: 4 };

/// What is in a backup.
#[derive(Clone, Debug, PartialEq)]
pub struct Contents {
    /// The settings, with every secret.
    pub settings: Settings,
    /// The hash of the admin password, in PHC form.
    pub password_hash: Option<String>,
    /// The tokens of programs, as hashes.
    pub tokens: Vec<Token>,
    /// Where it is from.
    pub made: Made,
}

/// Where a backup is from, for the operator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Made {
    /// The node it was made on.
    pub by: String,
    /// The name of its cluster.
    pub cluster: String,
    /// The software that made it.
    pub version: String,
    /// When, in milliseconds since 1970; None where the node's clock was not set.
    pub at_unix_ms: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct Document {
    settings: serde_json::Value,
    #[serde(default)]
    password_hash: Option<String>,
    #[serde(default)]
    tokens: Vec<Token>,
    #[serde(default)]
    made: Made,
}

/// Why a backup is not made or not opened, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The passphrase will not do.
    Passphrase(String),
    /// The file is something else.
    NoBackup,
    /// It was made by newer software.
    Newer,
    /// It is not as it was made.
    Damaged,
    /// It was sealed with another passphrase.
    WrongPassphrase,
    /// Its settings are no good here.
    Settings(Vec<String>),
    /// This machine cannot.
    Machine(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passphrase(text) => f.write_str(text),
            Self::NoBackup => f.write_str(
                "This file is no backup of Bramble. Choose the one whose name ends in .backup.",
            ),
            Self::Newer => f.write_str(
                "This backup was made by newer software than this board has. Install that firmware \
                 here first, then restore it.",
            ),
            Self::Damaged => f.write_str(
                "This backup is damaged: it is not as it was made. Copy it again from where it is \
                 kept, or take another one.",
            ),
            Self::WrongPassphrase => f.write_str(
                "The passphrase is not the one this backup was made with. Capital and small letters \
                 differ.",
            ),
            Self::Settings(problems) => write!(
                f,
                "The settings in this backup are not right for this software: {}.",
                problems.join("; ")
            ),
            Self::Machine(text) => write!(f, "This board cannot do it: {text}."),
        }
    }
}

/// How dear a guess is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cost {
    memory: u32,
    passes: u32,
    lanes: u8,
}

impl Cost {
    fn key(self, passphrase: &str, salt: &[u8]) -> Result<[u8; 32], Refused> {
        let failed = |e: argon2::Error| Refused::Machine(e.to_string());
        let params = Params::new(self.memory, self.passes, self.lanes.into(), Some(32));
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.map_err(failed)?);
        let mut key = [0; 32];
        argon2.hash_password_into(passphrase.as_bytes(), salt, &mut key).map_err(failed)?;
        Ok(key)
    }

    const fn is_bearable(self) -> bool {
        self.memory <= DEAREST.memory
            && self.passes <= DEAREST.passes
            && self.lanes <= DEAREST.lanes
            && self.lanes > 0
    }
}

/// Is this a passphrase for a file that may end up anywhere?
///
/// # Errors
/// Why not.
pub fn acceptable(passphrase: &str) -> Result<(), Refused> {
    let refused = |text: String| Err(Refused::Passphrase(text));
    if passphrase.chars().count() < SHORTEST {
        return refused(format!("Choose a passphrase of at least {SHORTEST} characters."));
    }
    if passphrase.len() > LONGEST {
        return refused(format!("Choose a passphrase of at most {LONGEST} characters."));
    }
    match crate::guessable::why(passphrase) {
        Some(why) => refused(why.to_owned()),
        None => Ok(()),
    }
}

/// Seals a backup. Takes seconds and 46 MiB on a small board.
///
/// # Errors
/// When the passphrase will not do, or the machine has no random numbers.
pub fn seal(contents: &Contents, passphrase: &str) -> Result<Vec<u8>, Refused> {
    acceptable(passphrase)?;
    let document = Document {
        settings: serde_json::to_value(&contents.settings).unwrap_or_default(),
        password_hash: contents.password_hash.clone(),
        tokens: contents.tokens.clone(),
        made: contents.made.clone(),
    };
    let failed = |e: serde_json::Error| Refused::Machine(e.to_string());
    let text = serde_json::to_vec(&document).map_err(failed)?;
    let mut random = [0; SALT + NONCE];
    getrandom::fill(&mut random)
        .map_err(|e| Refused::Machine(format!("there are no random numbers: {e}")))?;
    let (salt, nonce) = random.split_at(SALT);
    let mut file = MAGIC.to_vec();
    file.push(VERSION);
    file.extend(COST.memory.to_be_bytes());
    file.extend(COST.passes.to_be_bytes());
    file.push(COST.lanes);
    file.extend(random);
    let key = COST.key(passphrase, salt)?;
    let payload = Payload { msg: &text, aad: &file };
    let sealed = XChaCha20Poly1305::new(&key.into())
        .encrypt(XNonce::from_slice(nonce), payload)
        .map_err(|e| Refused::Machine(e.to_string()))?;
    file.extend(sealed);
    let sum = blake3::hash(&file);
    file.extend(sum.as_bytes());
    if file.len() > LARGEST {
        return Err(Refused::Machine(format!("the backup would have {} bytes", file.len())));
    }
    Ok(file)
}

/// Opens a backup. Takes as long as making it.
///
/// # Errors
/// Why it cannot be opened.
pub fn open(file: &[u8], passphrase: &str) -> Result<Contents, Refused> {
    let Some(rest) = file.strip_prefix(MAGIC) else { return Err(Refused::NoBackup) };
    let (version, rest) = rest.split_first().ok_or(Refused::Damaged)?;
    // Of a newer file nothing else is known, not even its sum.
    if *version > VERSION {
        return Err(Refused::Newer);
    }
    let whole = file.len().checked_sub(SUM).and_then(|at| file.split_at_checked(at));
    let (body, sum) = whole.ok_or(Refused::Damaged)?;
    if blake3::hash(body).as_bytes() != sum {
        return Err(Refused::Damaged);
    }
    let (memory, rest) = number(rest)?;
    let (passes, rest) = number(rest)?;
    let (lanes, rest) = rest.split_first().ok_or(Refused::Damaged)?;
    let (salt, rest) = rest.split_at_checked(SALT).ok_or(Refused::Damaged)?;
    let (nonce, rest) = rest.split_at_checked(NONCE).ok_or(Refused::Damaged)?;
    let head = body.get(..file.len() - rest.len()).ok_or(Refused::Damaged)?;
    let sealed = body.get(head.len()..).ok_or(Refused::Damaged)?;
    let cost = Cost { memory, passes, lanes: *lanes };
    if !cost.is_bearable() {
        return Err(Refused::Damaged);
    }
    if passphrase.len() > LONGEST {
        return Err(Refused::WrongPassphrase);
    }
    let key = cost.key(passphrase, salt)?;
    let payload = Payload { msg: sealed, aad: head };
    let text = XChaCha20Poly1305::new(&key.into())
        .decrypt(XNonce::from_slice(nonce), payload)
        .map_err(|_| Refused::WrongPassphrase)?;
    let document: Document = serde_json::from_slice(&text).map_err(|_| Refused::Damaged)?;
    // A password nobody could ever type would lock everybody out.
    if document.password_hash.as_deref().is_some_and(|h| !crate::password::is_hash(h)) {
        return Err(Refused::Damaged);
    }
    let settings = serde_json::to_vec(&document.settings).map_err(|_| Refused::Damaged)?;
    let settings = model::from_json(&settings, &Settings::default())
        .map_err(|all| Refused::Settings(all.iter().map(ToString::to_string).collect()))?;
    Ok(Contents {
        settings,
        password_hash: document.password_hash,
        tokens: document.tokens,
        made: document.made,
    })
}

fn number(bytes: &[u8]) -> Result<(u32, &[u8]), Refused> {
    let (number, rest) = bytes.split_first_chunk::<4>().ok_or(Refused::Damaged)?;
    Ok((u32::from_be_bytes(*number), rest))
}

/// The settings of a backup, as they would be here: boards that are members now keep the keys they
/// have now, because a board that was replaced since has another one.
#[must_use]
pub fn here(backup: &Settings, now: &Settings) -> Settings {
    let mut next = backup.clone();
    for node in &mut next.nodes {
        if let Some(member) = now.node(&node.id) {
            node.device.clone_from(&member.device);
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2Fs$\
                        dGhpcyBpcyBubyBoYXNoIG9mIGFueXRoaW5nIGF0IGE";

    fn contents() -> Contents {
        let made = Made {
            by: "LbMaster".into(),
            cluster: "Reference".into(),
            version: "0.1.0".into(),
            at_unix_ms: Some(1_795_371_120_000),
        };
        let tokens = vec![Token {
            name: "monitor".parse().unwrap(),
            scope: model::token::Scope::Read,
            hash: "ab".repeat(32),
            by: String::new(),
            at_ms: 0,
        }];
        let settings = crate::demo::settings();
        Contents { settings, password_hash: Some(HASH.into()), tokens, made }
    }

    const PASSPHRASE: &str = "seven wet boots";

    #[test]
    fn what_was_sealed_comes_out_with_every_secret() {
        let file = seal(&contents(), PASSPHRASE).unwrap();
        let text = String::from_utf8_lossy(&file);
        assert!(text.starts_with("bramble backup\n"));
        for secret in ["Web01", "a good passphrase", "0123456789abcdef"] {
            assert!(!text.contains(secret), "{secret}");
        }
        let opened = open(&file, PASSPHRASE).unwrap();
        assert_eq!(opened, contents());
        assert_eq!(opened.settings.cluster.key.reveal(), "0123456789abcdef0123456789abcdef");
        assert_ne!(file, seal(&contents(), PASSPHRASE).unwrap(), "fresh salt and nonce");
    }

    #[test]
    fn each_failure_has_its_own_sentence() {
        let file = seal(&contents(), PASSPHRASE).unwrap();
        assert_eq!(open(&file, "seven wet boot"), Err(Refused::WrongPassphrase));
        assert_eq!(open(&file, &"x".repeat(5000)), Err(Refused::WrongPassphrase));
        for other in [&b""[..], b"[cluster]\nname = \"x\"\n", b"bramble backup"] {
            assert_eq!(open(other, PASSPHRASE), Err(Refused::NoBackup));
        }
        let mut newer = file.clone();
        newer[MAGIC.len()] = 2;
        assert_eq!(open(&newer, PASSPHRASE), Err(Refused::Newer));
        for cut in [MAGIC.len(), MAGIC.len() + 1, 40, 80, 120, file.len() - 33, file.len() - 1] {
            assert_eq!(open(&file[..cut], PASSPHRASE), Err(Refused::Damaged), "{cut}");
        }
        for at in (MAGIC.len() + 1..file.len()).step_by(97) {
            let mut bent = file.clone();
            bent[at] ^= 1;
            assert_eq!(open(&bent, PASSPHRASE), Err(Refused::Damaged), "{at}");
        }
        let sentences: Vec<String> =
            [Refused::NoBackup, Refused::Newer, Refused::Damaged, Refused::WrongPassphrase]
                .iter()
                .map(ToString::to_string)
                .collect();
        for (i, a) in sentences.iter().enumerate() {
            assert!(a.ends_with('.') && !sentences[i + 1..].contains(a));
        }
    }

    /// A file that is made to cost the board its memory is refused before anything is computed.
    #[test]
    fn what_a_file_may_ask_of_the_board_is_bounded() {
        for (memory, passes, lanes) in
            [(u32::MAX, 1, 1), (19_456, u32::MAX, 1), (19_456, 2, 255), (19_456, 2, 0)]
        {
            let mut file = MAGIC.to_vec();
            file.push(VERSION);
            file.extend(memory.to_be_bytes());
            file.extend(passes.to_be_bytes());
            file.push(lanes);
            file.extend([7; SALT + NONCE + 64]);
            let sum = blake3::hash(&file);
            file.extend(sum.as_bytes());
            assert_eq!(open(&file, PASSPHRASE), Err(Refused::Damaged));
        }
    }

    #[test]
    fn settings_that_are_wrong_here_are_told() {
        let mut bad = contents();
        bad.settings.nodes[1].name = bad.settings.nodes[0].name.clone();
        let file = seal(&bad, PASSPHRASE).unwrap();
        let Err(Refused::Settings(problems)) = open(&file, PASSPHRASE) else { panic!() };
        assert!(!problems.is_empty());
    }

    #[test]
    fn weak_passphrases_are_refused() {
        for bad in ["", "short", "aaaaaaaaaaaa", "password123", &"x y".repeat(400)] {
            assert!(matches!(seal(&contents(), bad), Err(Refused::Passphrase(_))), "{bad}");
        }
    }

    #[test]
    fn members_keep_the_keys_they_have_now() {
        let (mut now, mut backup) = (crate::demo::settings(), crate::demo::settings());
        let key = |digit: &str| digit.repeat(64).parse().ok();
        now.nodes[0].device = key("a");
        backup.nodes[0].device = key("b");
        backup.nodes[1].device = key("c");
        now.nodes.remove(1);
        let next = here(&backup, &now);
        assert_eq!((&next.nodes[0].device, &next.nodes[1].device), (&key("a"), &key("c")));
    }
}
