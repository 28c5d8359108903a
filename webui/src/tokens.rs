//! Tokens of programs: random, shown once, kept as a hash.

use crate::csrf;
use model::token::Token;

/// How a token begins, so that one that got lost is recognised for what it is.
const PREFIX: &str = "bramble_";
/// Random bytes of a token.
const BYTES: usize = 32;

/// A new token.
pub(crate) fn make() -> Result<String, String> {
    let mut bytes = [0_u8; BYTES];
    getrandom::fill(&mut bytes).map_err(|e| format!("there are no random numbers: {e}"))?;
    let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    Ok(format!("{PREFIX}{digits}"))
}

/// What is kept of it.
pub(crate) fn hash(token: &str) -> String {
    blake3::derive_key("bramble 2026 token of a program", token.as_bytes())
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// The one this is.
pub(crate) fn find<'a>(tokens: &'a [Token], given: &str) -> Option<&'a Token> {
    if given.len() != PREFIX.len() + 2 * BYTES || !given.starts_with(PREFIX) {
        return None;
    }
    let hash = hash(given);
    tokens.iter().find(|t| csrf::equal(&t.hash, &hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::token::Scope;

    #[test]
    fn tokens_are_random_and_found_by_their_hash() {
        let (a, b) = (make().unwrap(), make().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.len(), 72);
        let token = |name: &str, text: &str| Token {
            name: name.parse().unwrap(),
            scope: Scope::Read,
            hash: hash(text),
            by: String::new(),
            at_ms: 0,
        };
        let list = [token("a", &a), token("b", &b)];
        assert_eq!(find(&list, &b).unwrap().name.as_str(), "b");
        let other = make().unwrap();
        for wrong in ["", "bramble_", &hash(&a), &a[..71], other.as_str()] {
            assert!(find(&list, wrong).is_none());
        }
    }
}
