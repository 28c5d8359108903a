//! What two boards that do not know each other show to their operators to be compared. Pure.
//!
//! Somebody in the middle has two connections, each with a binding of its own, and would have to
//! make both show the same six digits. The called board therefore commits itself to its number
//! before it hears the caller's, and shows it afterwards: nobody can choose a number knowing
//! the other one. What is left is one guess in a million for each attempt, and attempts are few
//! (see [`super::rules`]).

use crate::identity::hex;
use crate::proof::unhex;
use model::DeviceId;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac};

/// A number that one side makes up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nonce([u8; 32]);

impl Nonce {
    /// None when the system has no random numbers.
    pub(crate) fn new() -> Option<Self> {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }

    pub(crate) fn read(text: &str) -> Option<Self> {
        unhex(text)?.try_into().ok().map(Self)
    }

    pub(crate) fn text(self) -> String {
        hex(&self.0)
    }

    /// What gives nothing away of it and fits no other.
    pub(crate) fn commitment(self) -> String {
        let text = [b"bramble adoption commitment".as_slice(), &self.0].concat();
        hex(digest::digest(&digest::SHA256, &text).as_ref())
    }
}

/// A connection between the node that adopts and a board.
pub(crate) struct Meeting<'a> {
    pub(crate) binding: &'a [u8; 32],
    pub(crate) node: &'a DeviceId,
    pub(crate) board: &'a DeviceId,
}

/// What both sides show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Code {
    /// Six of them.
    pub(crate) digits: String,
    /// 2 to 6 flashes in a row.
    pub(crate) blinks: u8,
}

impl Meeting<'_> {
    /// What a proof of the join token is about.
    pub(crate) fn claim(&self) -> Vec<u8> {
        let devices = format!("adoption {} {} ", self.node, self.board);
        [devices.as_bytes(), self.binding].concat()
    }

    pub(crate) fn code(&self, node: Nonce, board: Nonce) -> Code {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.binding);
        let text = [self.claim().as_slice(), &node.0, &board.0].concat();
        let tag = hmac::sign(&key, &text);
        let (number, rest) = tag.as_ref().split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        let digits = format!("{:06}", u64::from_be_bytes(*number) % 1_000_000);
        Code { digits, blinks: 2 + rest.first().copied().unwrap_or_default() % 5 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_see_the_same_and_nobody_else() {
        let device = |letter: &str| -> DeviceId { letter.repeat(64).parse().unwrap() };
        let (node, board) = (device("a"), device("b"));
        let meeting = Meeting { binding: &[7; 32], node: &node, board: &board };
        let (one, two) = (Nonce::new().unwrap(), Nonce::new().unwrap());
        let code = meeting.code(one, two);
        assert_eq!(code, meeting.code(one, two));
        assert!(code.digits.len() == 6 && code.digits.bytes().all(|b| b.is_ascii_digit()));
        assert!((2..=6).contains(&code.blinks));
        let between = Meeting { binding: &[8; 32], node: &node, board: &board };
        let other = [meeting.code(two, one), between.code(one, two)];
        assert!(other.iter().any(|o| o.digits != code.digits), "once in 10^12 by chance");
        assert_ne!(meeting.claim(), between.claim());
        assert_eq!(Nonce::read(&one.text()).map(Nonce::commitment), Some(one.commitment()));
        assert_ne!(one.commitment(), two.commitment());
        for wrong in ["", "00", &"g".repeat(64), &"0".repeat(66)] {
            assert!(Nonce::read(wrong).is_none());
        }
    }
}
