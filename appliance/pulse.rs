//! The heartbeat of the whole process: one beat for each second in which every runtime moved.
//!
//! Process 1 listens: after ten seconds of silence it ends this process and starts it again. A
//! thread that hangs, of whichever subsystem's runtime, silences it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const BEAT: Duration = Duration::from_secs(1);
/// A runtime that needs longer for nothing at all does not count as moving. Process 1 waits
/// longer, so that one slow second costs nothing.
const PATIENCE: Duration = Duration::from_secs(3);

/// Counts up each second on a runtime.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tick(Arc<AtomicU32>);

impl Tick {
    /// Lets the current runtime count.
    pub(crate) async fn run(self) {
        loop {
            self.0.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(BEAT).await;
        }
    }

    fn now(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Beats while the admin page's runtime counts, the data runtime runs this and VRRP answers.
pub(crate) async fn run(admin: Tick, vrrp: vrrp::Handle, mut beat: impl FnMut()) {
    let mut before = admin.now();
    let mut still_since = tokio::time::Instant::now();
    loop {
        let answered = tokio::time::timeout(PATIENCE, vrrp.answers()).await;
        let now = admin.now();
        if now != before {
            before = now;
            still_since = tokio::time::Instant::now();
        }
        if matches!(answered, Ok(true)) && still_since.elapsed() < PATIENCE {
            beat();
        }
        tokio::time::sleep(BEAT).await;
    }
}
