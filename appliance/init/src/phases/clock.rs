//! Boards without a clock chip wake up in 1970. The time can only be later than when the firmware
//! was made, and than when the board was last on.

use crate::boot::Boot;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A saved time this much later than the firmware is not believed.
const BELIEVED: u64 = 20 * 365 * 86_400;

pub(crate) fn from_build(boot: &mut Boot) {
    raise(boot, boot.build.built_unix);
}

pub(crate) fn from_data(boot: &mut Boot) {
    let built = boot.build.built_unix;
    let saved = boot.keep.as_ref().and_then(crate::keep::Keep::clock);
    raise(boot, floor(built, saved));
}

fn floor(built: u64, saved: Option<u64>) -> u64 {
    match saved {
        Some(saved) if saved > built && saved - built < BELIEVED => saved,
        _ => built,
    }
}

fn raise(boot: &mut Boot, floor: u64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    if now.as_secs() >= floor {
        return;
    }
    if let Err(error) = set(Duration::from_secs(floor)) {
        boot.problem(format!(
            "The clock could not be set ({error}). Times on the page are wrong until the network \
             gives one."
        ));
    }
}

/// Sets the clock to so long after 1970.
pub(crate) fn set(since_1970: Duration) -> io::Result<()> {
    // 32 bits here end in 2038; what does not fit would be a time long ago.
    nix::libc::time_t::try_from(since_1970.as_secs()).map_err(io::Error::other)?;
    clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::from(since_1970))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_of_the_two_if_it_can_be() {
        assert_eq!(floor(1000, None), 1000);
        assert_eq!(floor(1000, Some(999)), 1000);
        assert_eq!(floor(1000, Some(5000)), 5000);
        assert_eq!(floor(1000, Some(1000 + BELIEVED)), 1000);
        assert_eq!(floor(1000, Some(u64::MAX)), 1000);
    }
}
