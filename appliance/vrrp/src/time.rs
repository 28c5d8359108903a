//! Moments on the clock that never jumps, and VRRP's timers computed from the settings.

use model::{Priority, VrrpVersion};
use std::ops::Add;
use std::time::Duration;

/// A moment, as time since the machine was started, sleep included (`CLOCK_BOOTTIME`): a board
/// that was suspended must notice that it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Duration);

impl Moment {
    /// The time from `earlier` to this moment; nothing when it is the other way round.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }
}

/// Skew_Time: the higher the priority, the sooner a backup steps in.
///
/// Version 2 (RFC 3768 6.1): `(256 - Priority) / 256` seconds, whatever the interval.
/// Version 3 (RFC 9568 6.1): `((256 - Priority) * Active_Adver_Interval) / 256`.
pub(crate) fn skew(version: VrrpVersion, priority: u8, interval: Duration) -> Duration {
    let unit = match version {
        VrrpVersion::V2 => Duration::from_secs(1),
        VrrpVersion::V3 => interval,
    };
    unit * (256 - u32::from(priority)) / 256
}

/// Active_Down_Interval: how long a backup waits for an advert (RFC 9568 6.1, RFC 3768 6.1).
pub(crate) fn down_interval(version: VrrpVersion, priority: u8, interval: Duration) -> Duration {
    interval * 3 + skew(version, priority, interval)
}

/// The longest time a backup of one of these priorities needs to answer a farewell; of the
/// lowest possible priority when nobody is known.
pub(crate) fn worst_skew(
    version: VrrpVersion,
    lowest: Option<Priority>,
    interval: Duration,
) -> Duration {
    skew(version, lowest.map_or(1, Priority::get), interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timers_are_exact_to_the_nanosecond() {
        let s = Duration::from_secs(1);
        let ns = Duration::from_nanos;
        assert_eq!(down_interval(VrrpVersion::V2, 100, s), ns(3_609_375_000));
        assert_eq!(down_interval(VrrpVersion::V3, 100, s / 10), ns(360_937_500));
        assert_eq!(down_interval(VrrpVersion::V3, 100, s / 100), ns(36_093_750));
        assert_eq!(down_interval(VrrpVersion::V2, 254, s), ns(3_007_812_500));
        assert_eq!(down_interval(VrrpVersion::V3, 254, s / 100), ns(30_078_125));
        // Version 2's skew does not grow with the interval (RFC 3768 6.1).
        assert_eq!(skew(VrrpVersion::V2, 100, s * 5), ns(609_375_000));
        assert_eq!(worst_skew(VrrpVersion::V2, None, s), ns(996_093_750));
    }
}
