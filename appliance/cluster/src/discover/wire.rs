//! What a board calls out to the segment. Pure.
//!
//! ```text
//! | "bramble " | JSON, at most 504 bytes |
//! ```
//!
//! Hints and nothing more: anybody can send them, nobody relies on them. What a reader does not
//! know it passes over.

use crate::hello::Versions;
use crate::proof::Token;
use model::DeviceId;
use serde::{Deserialize, Serialize};

/// The longest datagram, in bytes: it fits every link in one piece.
pub(crate) const LONGEST: usize = 512;
const MAGIC: &[u8] = b"bramble ";
/// Longer names and models are cut.
const LONGEST_TEXT: usize = 64;

/// What a board says of itself to whoever is near.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// The fingerprint of its key.
    pub device: DeviceId,
    /// Its host name.
    pub name: String,
    /// What board it is; empty where unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// Somebody's already.
    pub claimed: bool,
    /// Whose.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// It has a cable.
    #[serde(default)]
    pub wired: Option<bool>,
    /// The release it runs.
    #[serde(default)]
    pub release: String,
    /// The versions of the protocol it speaks.
    #[serde(flatten)]
    pub versions: Versions,
    /// By which boards with cards of one batch know each other (see [`Token::batch`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) batch: Option<String>,
    /// It wants to know who else is there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) ask: bool,
}

impl Hint {
    /// What other means of discovery say of a board.
    pub fn new(device: DeviceId, name: impl Into<String>, claimed: bool) -> Self {
        Self {
            device,
            name: name.into(),
            model: String::new(),
            claimed,
            cluster: String::new(),
            wired: None,
            release: String::new(),
            versions: Versions::OURS,
            batch: None,
            ask: false,
        }
    }

    /// Every text cut to what fits, and nothing in it that could not be shown.
    #[must_use]
    pub(crate) fn shown(mut self) -> Self {
        let texts = [&mut self.name, &mut self.model, &mut self.cluster, &mut self.release];
        for text in texts {
            *text = shown(text);
        }
        self
    }

    /// Was its card made in one batch with ours?
    pub(crate) fn of_batch(&self, token: Option<&Token>) -> bool {
        let ours = token.map(|token| token.batch(&self.device));
        ours.is_some() && ours == self.batch
    }
}

/// Another board's words, cut to what fits on a page.
pub(crate) fn shown(text: &str) -> String {
    let mut cut = String::new();
    for letter in text.chars().filter(|c| !c.is_control()) {
        if cut.len() + letter.len_utf8() > LONGEST_TEXT {
            break;
        }
        cut.push(letter);
    }
    cut
}

/// The datagram; None if it does not fit.
pub(crate) fn write(hint: &Hint) -> Option<Vec<u8>> {
    let mut datagram = MAGIC.to_vec();
    serde_json::to_writer(&mut datagram, &hint.clone().shown()).ok()?;
    (datagram.len() <= LONGEST).then_some(datagram)
}

/// Understands a datagram; None for what is none.
pub(crate) fn read(datagram: &[u8]) -> Option<Hint> {
    if datagram.len() > LONGEST {
        return None;
    }
    let hint: Hint = serde_json::from_slice(datagram.strip_prefix(MAGIC)?).ok()?;
    let hint = hint.shown();
    (!hint.name.is_empty()).then_some(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Secret;

    fn hint() -> Hint {
        Hint::new("a".repeat(64).parse().unwrap(), "bramble-1a2b", false)
    }

    #[test]
    fn what_is_written_is_read() {
        let token = Token::derive(&Secret::new("t".repeat(22))).unwrap();
        let mut said = hint();
        said.model = "Raspberry Pi 3 Model B Plus Rev 1.3".into();
        said.batch = Some(token.batch(&said.device));
        said.ask = true;
        let datagram = write(&said).unwrap();
        assert_eq!(read(&datagram), Some(said.clone()));
        assert!(said.of_batch(Some(&token)) && !said.of_batch(None));
        let other = Token::derive(&Secret::new("u".repeat(22)));
        assert!(!said.of_batch(other.as_ref()) && !hint().of_batch(Some(&token)));
    }

    #[test]
    fn everything_has_its_longest_and_still_fits() {
        let mut said = hint();
        let long = "\u{1F353}".repeat(40);
        (said.name, said.model) = ("x".repeat(63), long.clone());
        (said.cluster, said.release) = ("y".repeat(63), "1.2.3".into());
        (said.wired, said.batch) = (Some(true), Some("f".repeat(16)));
        let read = read(&write(&said).unwrap()).unwrap();
        assert_eq!(read.name, said.name);
        assert_eq!(read.model, "\u{1F353}".repeat(16));
    }

    #[test]
    fn a_newer_release_is_understood_and_garbage_is_not() {
        let newer = format!(
            "bramble {{\"device\":\"{}\",\"name\":\"pi\\u0007\",\"claimed\":false,\"min\":7,\
             \"max\":9,\"moon\":\"full\"}}",
            "b".repeat(64)
        );
        let hint = read(newer.as_bytes()).unwrap();
        assert_eq!((hint.name.as_str(), hint.versions.max), ("pi", 9));
        for bytes in [&b""[..], b"bramble ", b"bramble {}", b"{}", &[0xff; 600], &[b'x'; 512]] {
            assert_eq!(read(bytes), None);
        }
        let mut long = newer.into_bytes();
        long.resize(LONGEST + 1, b' ');
        assert_eq!(read(&long), None);
    }
}
