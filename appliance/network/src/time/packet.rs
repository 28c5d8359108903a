//! A question to a time server and its answer (RFC 4330 4). Pure.
//!
//! ```text
//! |LI|VN |mode| stratum |  poll  | precision |
//! |  root delay  |  root dispersion  |  reference identifier  |
//! | reference (8) | originate (8) | receive (8) | transmit (8) |
//! ```

use std::time::Duration;

pub(crate) const LENGTH: usize = 48;

/// Seconds from 1900 to 1970.
const EPOCH: i64 = 2_208_988_800;
/// Version 4, mode 3 (client).
const QUESTION: u8 = 4 << 3 | 3;
/// RFC 4330 5: what is farther than this from a clock of the first rank is of no use.
const MOST_STRATUM: u8 = 15;
/// An answer that was under way for longer says little.
const LONGEST: Duration = Duration::from_secs(2);
/// 2025-01-01: no board of ours has lived earlier, in milliseconds since 1970.
const EARLIEST: i64 = 1_735_689_600_000;
/// In the fixed-point format of 16 bits for seconds: 4 s.
const MOST_DISPERSION: u32 = 4 << 16;

/// Why an answer is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Useless {
    /// Not an answer to this question.
    NotOurs,
    /// The server itself does not know the time, or not well.
    Unsynchronised,
    /// It does not want to be asked (RFC 4330 8, kiss of death).
    Refused,
    /// Its time cannot be right.
    Absurd,
}

impl Useless {
    /// For the operator.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::NotOurs => "it answered something else",
            Self::Unsynchronised => "it does not know the time itself",
            Self::Refused => "it does not want to be asked",
            Self::Absurd => "its time cannot be right",
        }
    }
}

/// The question. `cookie` comes back in the answer; it is no time, because a time would tell
/// everybody on the way how wrong this clock is (RFC 4330 5 lets the client choose).
pub(crate) fn question(cookie: [u8; 8]) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    if let Some(first) = bytes.first_mut() {
        *first = QUESTION;
    }
    for (byte, value) in bytes.iter_mut().skip(40).zip(cookie) {
        *byte = value;
    }
    bytes
}

/// The time at the moment the answer arrived, in milliseconds since 1970. `trip` is how long
/// question and answer took together.
pub(crate) fn answer(bytes: &[u8], cookie: [u8; 8], trip: Duration) -> Result<i64, Useless> {
    let packet: &[u8; LENGTH] = bytes.first_chunk().ok_or(Useless::NotOurs)?;
    let [flags, stratum, ..] = *packet;
    let (leap, version, mode) = (flags >> 6, flags >> 3 & 7, flags & 7);
    let part = |at: usize| packet.get(at..at + 8).unwrap_or_default();
    if mode != 4 || !(3..=4).contains(&version) || part(24) != cookie {
        return Err(Useless::NotOurs);
    }
    if stratum == 0 {
        return Err(Useless::Refused);
    }
    let dispersion = packet.get(8..12).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
    if leap == 3 || stratum > MOST_STRATUM || dispersion.is_none_or(|d| d > MOST_DISPERSION) {
        return Err(Useless::Unsynchronised);
    }
    let received = time(part(32)).ok_or(Useless::Absurd)?;
    let sent = time(part(40)).ok_or(Useless::Absurd)?;
    // The server held it for so long; the rest of the trip is taken to be the same both ways.
    let held = Duration::from_millis(u64::try_from(sent - received).map_err(|_| Useless::Absurd)?);
    let under_way = trip.checked_sub(held).unwrap_or_default();
    if under_way > LONGEST || sent < EARLIEST {
        return Err(Useless::Absurd);
    }
    let half = i64::try_from(under_way.as_millis() / 2).map_err(|_| Useless::Absurd)?;
    Ok(sent + half)
}

/// A time in 32 bits of seconds since 1900 and 32 bits of fraction; None for "unknown". RFC 4330
/// 3: with the highest bit clear it counts from 2036 on.
fn time(bytes: &[u8]) -> Option<i64> {
    let word: u64 = u64::from_be_bytes(bytes.try_into().ok()?);
    if word == 0 {
        return None;
    }
    let era = if word >> 63 == 0 { 1_i64 << 32 } else { 0 };
    let seconds = i64::try_from(word >> 32).ok()? + era - EPOCH;
    let millis = i64::try_from(((word & 0xffff_ffff) * 1000) >> 32).ok()?;
    Some(seconds * 1000 + millis)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::chance::Chance;

    /// A server's answer at this time.
    pub(crate) fn reply(question: &[u8], unix_ms: i64) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..4].copy_from_slice(&[4 << 3 | 4, 2, 6, 0xec]);
        bytes[24..32].copy_from_slice(&question[40..48]);
        let seconds = u64::try_from(unix_ms.div_euclid(1000) + EPOCH).unwrap() & 0xffff_ffff;
        let fraction = (u64::try_from(unix_ms.rem_euclid(1000)).unwrap() << 32).div_ceil(1000);
        let stamp = (seconds << 32 | fraction).to_be_bytes();
        bytes[32..40].copy_from_slice(&stamp);
        bytes[40..48].copy_from_slice(&stamp);
        bytes
    }

    const COOKIE: [u8; 8] = *b"biscuits";
    const NOW: i64 = 1_790_000_000_123;

    #[test]
    fn half_of_the_way_is_added() {
        let good = reply(&question(COOKIE), NOW);
        assert_eq!(question(COOKIE)[0], 0x23);
        assert_eq!(answer(&good, COOKIE, Duration::from_millis(40)), Ok(NOW + 20));
        let mut slow = good;
        // Received a second before it was answered.
        slow[32..40].copy_from_slice(&reply(&question(COOKIE), NOW - 1000)[32..40]);
        assert_eq!(answer(&slow, COOKIE, Duration::from_millis(1040)), Ok(NOW + 20));
        assert_eq!(answer(&good, COOKIE, Duration::from_secs(5)), Err(Useless::Absurd));
    }

    #[test]
    fn after_2036_the_count_begins_anew() {
        let later = 2_100_000_000_500;
        let bytes = reply(&question(COOKIE), later);
        assert_eq!(bytes[40] >> 7, 0);
        assert_eq!(answer(&bytes, COOKIE, Duration::ZERO), Ok(later));
    }

    #[test]
    fn what_is_not_a_good_answer_is_refused() {
        let good = reply(&question(COOKIE), NOW);
        let with = |at: usize, value: u8| {
            let mut bytes = good;
            bytes[at] = value;
            answer(&bytes, COOKIE, Duration::ZERO).unwrap_err()
        };
        assert_eq!(with(0, 4 << 3 | 3), Useless::NotOurs, "a question");
        assert_eq!(with(0, 1 << 3 | 4), Useless::NotOurs, "version 1");
        assert_eq!(with(24, 0), Useless::NotOurs, "another question's");
        assert_eq!(with(1, 0), Useless::Refused);
        assert_eq!(with(0, 0xe4), Useless::Unsynchronised);
        assert_eq!(with(1, 16), Useless::Unsynchronised);
        assert_eq!(with(8, 1), Useless::Unsynchronised);
        assert_eq!(with(35, 0xff), Useless::Absurd, "sent before it was received");
        assert_eq!(answer(&good[..47], COOKIE, Duration::ZERO), Err(Useless::NotOurs));
        let old = reply(&question(COOKIE), 1_000_000_000_000);
        assert_eq!(answer(&old, COOKIE, Duration::ZERO), Err(Useless::Absurd));
        let mut unknown = good;
        unknown[40..48].fill(0);
        assert_eq!(answer(&unknown, COOKIE, Duration::ZERO), Err(Useless::Absurd));
    }

    #[test]
    fn noise_is_no_panic() {
        let mut chance = Chance::seeded(9);
        for _ in 0..20_000 {
            let mut bytes = reply(&question(COOKIE), NOW);
            for _ in 0..chance.below(6) {
                let at = usize::try_from(chance.below(48)).unwrap();
                bytes[at] = chance.number().to_be_bytes()[0];
            }
            if let Ok(found) = answer(&bytes, COOKIE, Duration::from_millis(10)) {
                assert!(found >= EARLIEST);
            }
        }
    }
}
