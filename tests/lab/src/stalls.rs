//! How long this machine itself stood still, so that its pauses are not taken for the cluster's.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often a processor is asked to do next to nothing.
const LOOK: Duration = Duration::from_millis(5);

/// A thread on each processor that wants to run every few milliseconds, and notes how late it does:
/// the machine was paused, or others kept it from running. Ends when dropped.
#[derive(Debug)]
pub struct Stalls {
    stop: Arc<AtomicBool>,
    longest_us: Arc<AtomicU64>,
}

impl Stalls {
    /// Begins to look.
    pub fn start() -> Self {
        let this = Self { stop: Arc::default(), longest_us: Arc::default() };
        let all = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
        for cpu in (0..CpuSet::count()).filter(|cpu| all.is_set(*cpu).unwrap_or(false)) {
            let (stop, longest) = (Arc::clone(&this.stop), Arc::clone(&this.longest_us));
            thread::spawn(move || {
                let mut own = CpuSet::new();
                // Where it may not stay there, it looks from wherever it runs.
                let _ = own.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &own));
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    thread::sleep(LOOK);
                    let late = begun.elapsed().saturating_sub(LOOK);
                    let late = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
                    longest.fetch_max(late, Ordering::Relaxed);
                }
            });
        }
        this
    }

    /// The longest time since the start that a processor did nothing for us.
    pub fn longest(&self) -> Duration {
        Duration::from_micros(self.longest_us.load(Ordering::Relaxed))
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_is_looked_at_is_never_exactly_on_time() {
        let stalls = Stalls::start();
        let end = Instant::now() + Duration::from_secs(10);
        while stalls.longest().is_zero() {
            assert!(Instant::now() < end, "nobody looked");
            thread::sleep(LOOK);
        }
    }
}
