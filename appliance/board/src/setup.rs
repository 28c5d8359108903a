//! Name and passphrase of the setup access point.

use crate::error::Error;
use model::{Secret, Ssid};

/// Letters and digits that nobody takes for one another on a screen: no i, l, o, 0 and 1.
const ALPHABET: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";
/// 12 of 31 are 59 bits, far more than anybody can try over the air.
const LENGTH: usize = 12;

/// `Bramble-` and the last four digits of a hardware address, as it is printed on the board.
///
/// # Errors
/// Never for a hardware address; a text much too long makes no name.
pub fn setup_ssid(mac: &str) -> Result<Ssid, Error> {
    let digits: Vec<char> = mac.chars().filter(char::is_ascii_hexdigit).collect();
    let last = digits.iter().skip(digits.len().saturating_sub(4));
    let last: String = last.map(char::to_ascii_uppercase).collect();
    let name = if last.is_empty() { "Bramble".to_owned() } else { format!("Bramble-{last}") };
    Ok(name.parse()?)
}

/// A new passphrase. The board keeps it, so that a phone finds the same one again.
///
/// # Errors
/// When the kernel has no random numbers.
pub fn setup_passphrase() -> Result<Secret, Error> {
    let mut text = String::with_capacity(LENGTH);
    let mut bytes = [0; 32];
    while text.len() < LENGTH {
        getrandom::fill(&mut bytes).map_err(Error::Random)?;
        text.extend(bytes.iter().filter_map(|b| letter(*b)).take(LENGTH - text.len()));
    }
    Ok(Secret::new(text))
}

/// A byte's letter. Bytes beyond the last full round of the alphabet have none, or its first
/// letters would come more often.
fn letter(byte: u8) -> Option<char> {
    let full = 256 / ALPHABET.len() * ALPHABET.len();
    let byte = usize::from(byte);
    (byte < full).then(|| ALPHABET.get(byte % ALPHABET.len()).copied().map(char::from)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_name_ends_like_the_hardware_address() {
        assert_eq!(setup_ssid("b8:27:eb:4c:7f:3a").unwrap().as_str(), "Bramble-7F3A");
        assert_eq!(setup_ssid("10000000a94c7f3a").unwrap().as_str(), "Bramble-7F3A");
        assert_eq!(setup_ssid("").unwrap().as_str(), "Bramble");
    }

    #[test]
    fn every_letter_is_as_likely() {
        let mut counts = BTreeMap::new();
        for byte in 0..=255 {
            if let Some(letter) = letter(byte) {
                *counts.entry(letter).or_insert(0) += 1;
            }
        }
        assert_eq!(counts.len(), ALPHABET.len());
        assert!(counts.values().all(|n| *n == 8), "{counts:?}");
    }

    #[test]
    fn passphrases_are_fit_for_wpa_and_differ() {
        let (a, b) = (setup_passphrase().unwrap(), setup_passphrase().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.reveal().len(), LENGTH);
        assert!(a.reveal().bytes().all(|c| ALPHABET.contains(&c)));
        assert!(!format!("{a:?}").contains(a.reveal()));
    }
}
