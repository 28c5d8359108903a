//! The timer that starts the board again when nobody touches it any more.

use crate::system;
use model::status::Watchdog;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The longest the chip of the Raspberry Pi knows (bcm2835_wdt: 15.9 s).
const TIMEOUT: u16 = 15;
/// How often it is fed.
pub(crate) const FEEDING: Duration = Duration::from_secs(2);

/// An armed watchdog. Never closed: closing would, with some drivers, disarm it.
#[derive(Debug)]
pub(crate) struct Dog {
    file: File,
    pub(crate) kind: Watchdog,
}

impl Dog {
    /// Opening is arming.
    pub(crate) fn arm(path: &Path, kind: Watchdog) -> io::Result<Self> {
        let file = File::options().write(true).open(path)?;
        system::watchdog_timeout(&file, TIMEOUT);
        Ok(Self { file, kind })
    }

    pub(crate) fn feed(&self) {
        // Any byte but `V`, which would announce an orderly end.
        let _ = (&self.file).write_all(b".");
    }
}

/// Does something that may hang for as long as a broken card likes, feeding the watchdog
/// meanwhile, but not for ever: None when the time is up. Then the thread is left to itself.
pub(crate) fn patiently<T: Send + 'static>(
    dog: Option<&Dog>,
    limit: Duration,
    act: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = channel();
    let started = Instant::now();
    thread::Builder::new()
        .stack_size(512 * 1024)
        .spawn(move || {
            let _ = sender.send(act());
        })
        .ok()?;
    loop {
        if let Some(dog) = dog {
            dog.feed();
        }
        let left = limit.saturating_sub(started.elapsed());
        match receiver.recv_timeout(left.min(FEEDING)) {
            Ok(result) => return Some(result),
            Err(RecvTimeoutError::Timeout) if !left.is_zero() => {}
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_given_up() {
        let (hold, wait) = channel::<()>();
        let started = Instant::now();
        assert_eq!(patiently(None, Duration::from_millis(50), move || wait.recv().is_ok()), None);
        assert!(started.elapsed() >= Duration::from_millis(50));
        drop(hold);
        assert_eq!(patiently(None, Duration::from_secs(10), || 5), Some(5));
    }

    #[test]
    fn it_is_fed_while_waiting() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("watchdog");
        std::fs::write(&path, "").unwrap();
        let dog = Dog::arm(&path, Watchdog::Software).unwrap();
        assert_eq!(patiently(Some(&dog), Duration::from_secs(1), || ()), Some(()));
        assert_eq!(std::fs::read(&path).unwrap(), b".");
    }
}
