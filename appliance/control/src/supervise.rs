//! Keeping one subsystem's fault its own.

use crate::board::Reporter;
use crate::shutdown::Shutdown;
use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;

/// The first pause before a subsystem is started again; doubled each time, up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);
/// A subsystem that ran so long has recovered: the next pause is the first one again.
const RECOVERED: Duration = Duration::from_secs(60);

/// Runs `start()` on the current runtime until shutdown. When it panics or returns early, says so
/// on the board and starts it again after a pause.
pub async fn supervise<F, R>(reporter: Reporter, shutdown: Shutdown, mut start: F)
where
    F: FnMut() -> R,
    R: Future<Output = ()> + Send + 'static,
{
    let mut pause = FIRST;
    loop {
        let begun = Instant::now();
        let ended = tokio::spawn(start()).await;
        if shutdown.is_requested() {
            return;
        }
        let reason = match ended {
            Ok(()) => "it ended by itself".to_owned(),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => panic_text(panic.as_ref()),
                Err(_) => return, // the runtime is going down
            },
        };
        if begun.elapsed() >= RECOVERED {
            pause = FIRST;
        }
        tracing::error!("a subsystem failed and is started again: {reason}");
        reporter.failed(format!("{reason}; it is started again in {} ms", pause.as_millis()));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.requested() => return,
        }
        pause = (pause * 2).min(LONGEST);
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it hit a fault of its own ({})", text.unwrap_or("no message"))
}
