//! When requests are due, and how to be there in time.

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Moments at random, as those of visitors who know nothing of each other (a Poisson process);
/// the same ones every time.
#[derive(Debug)]
pub(super) struct Schedule {
    /// Seconds between two, on average.
    gap: f64,
    at: f64,
    state: u64,
}

impl Schedule {
    /// `rate`: per second.
    pub(super) fn new(rate: f64) -> Self {
        Self { gap: rate.max(1.0).recip(), at: 0.0, state: 0x9e37_79b9_7f4a_7c15 }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        // xorshift64* (Marsaglia, Vigna); its upper half is the better one.
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let upper = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        let upper = f64::from(u32::try_from(upper).unwrap_or(u32::MAX));
        let uniform = (upper + 1.0) / (f64::from(u32::MAX) + 1.0);
        self.at -= uniform.ln() * self.gap;
        Some(Duration::from_secs_f64(self.at))
    }
}

/// A timer of the kernel: those of tokio are good to a millisecond only.
#[derive(Debug)]
pub(super) struct Alarm(AsyncFd<OwnedFd>);

impl Alarm {
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // SAFETY: the descriptor is owned by the `AsyncFd` and never lent mutably, so it stays the
        // same one as long as it is registered.
        Ok(Self(unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }?))
    }

    /// Waits until then; others get their turn in any case.
    pub(super) async fn until(&self, due: Instant) -> io::Result<()> {
        let mut left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            tokio::task::yield_now().await;
        }
        while !left.is_zero() {
            let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
            let it_value = Timespec::try_from(left).unwrap_or(zero);
            let once = Itimerspec { it_interval: zero, it_value };
            // Setting it also makes the expiry before forgotten, so that nobody has to read it.
            timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
            self.0.readable().await?.clear_ready();
            left = due.saturating_duration_since(Instant::now());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_due_each_second_and_the_same_ones_every_time() {
        let second = || Schedule::new(50_000.0).take_while(|due| *due < Duration::from_secs(1));
        let all: Vec<Duration> = second().collect();
        // Five standard deviations of a Poisson process.
        assert!((48_882..=51_118).contains(&all.len()), "{}", all.len());
        assert!(all.windows(2).all(|w| w[0] <= w[1]));
        assert!(second().eq(all));
        // Gaps are spread as those of chance: e^-2 of them are longer than two on average.
        let long = Schedule::new(1000.0).take(10_001).collect::<Vec<_>>();
        let long = long.windows(2).filter(|w| w[1] - w[0] > Duration::from_millis(2)).count();
        assert!((1180..=1530).contains(&long), "{long}");
    }

    #[test]
    fn nobody_is_woken_too_early() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let alarm = Alarm::new().unwrap();
            for micros in [0, 50, 700, 3000] {
                let due = Instant::now() + Duration::from_micros(micros);
                alarm.until(due).await.unwrap();
                assert!(Instant::now() >= due);
            }
        });
    }
}
