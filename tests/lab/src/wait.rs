//! Waiting for a condition with a deadline, so that no test sleeps for luck.

use crate::error::{Error, Result};
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(20);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Makes every wait of this process end with an error, until it is taken back.
pub fn interrupt(on: bool) {
    INTERRUPTED.store(on, Ordering::Relaxed);
}

/// An error once somebody has interrupted.
///
/// # Errors
/// Then.
pub fn go_on() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        return Err(Error::other("interrupted"));
    }
    Ok(())
}

/// Looks at `probe` until it gives a value, at most for `limit`. `Err` holds what was seen
/// instead, for the message.
///
/// # Errors
/// After `limit`, with what was seen last.
pub fn until<T, E: Debug>(
    limit: Duration,
    what: &str,
    mut probe: impl FnMut() -> Result<T, E>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        let last = match probe() {
            Ok(value) => return Ok(value),
            Err(seen) => format!("{seen:?}"),
        };
        if start.elapsed() >= limit {
            let seconds = start.elapsed().as_secs_f64();
            return Err(Error::Timeout { what: what.to_owned(), seconds, last });
        }
        go_on()?;
        thread::sleep(STEP);
    }
}

/// Looks at `probe` until it is true, at most for `limit`.
///
/// # Errors
/// After `limit`.
pub fn until_true(limit: Duration, what: &str, mut probe: impl FnMut() -> bool) -> Result<()> {
    until(limit, what, || if probe() { Ok(()) } else { Err("not so") })
}
