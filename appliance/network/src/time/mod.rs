//! The time from a time server (SNTP, RFC 4330). Boards without a clock chip start in the past.
//!
//! A few servers are asked and have to agree, so that one with a wrong clock does no harm. Only
//! [`Clock`] is told; nothing in this crate depends on the date, and nothing waits for it.

pub(crate) mod packet;
pub(crate) mod runner;
pub(crate) mod vote;

/// Takes the time.
pub trait Clock: Send + Sync {
    /// Sets the clock to so many milliseconds since 1970. Called when the clock is off by more
    /// than a few hundredths of a second, and once after the start in any case. May block for a
    /// moment.
    ///
    /// # Errors
    /// When it was not set: why, for the operator.
    fn set(&self, unix_ms: u64) -> Result<(), String>;
}
