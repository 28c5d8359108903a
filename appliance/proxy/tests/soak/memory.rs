//! How much memory is in use.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts what is in use: what the process keeps from the system also depends on what the clients'
/// threads have torn it into.
struct Counted;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTED: Counted = Counted;

/// What was in use, and kept by the process, at one moment; in KiB.
pub(crate) type Sample = [f64; 2];

/// Now.
pub(crate) fn sample() -> Sample {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    let used = u32::try_from(IN_USE.load(Ordering::Relaxed) / 1024).unwrap();
    [f64::from(used), line.split_whitespace().next().unwrap().parse().unwrap()]
}

/// The mean of what was sampled between these tenths of the run.
pub(crate) fn mean(samples: &[Sample], which: usize, from: usize, to: usize) -> f64 {
    let part = &samples[samples.len() * from / 10..samples.len() * to / 10];
    part.iter().map(|s| s[which]).sum::<f64>() / f64::from(u32::try_from(part.len()).unwrap())
}
