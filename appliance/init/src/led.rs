//! The green LED, so that somebody can find the board among others.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The names kernels have given it.
const NAMES: [&str; 2] = ["ACT", "led0"];

/// An LED that blinks, and what it did before.
#[derive(Debug)]
pub(crate) struct Blink {
    led: PathBuf,
    before: String,
}

impl Blink {
    pub(crate) fn start(leds: &Path) -> io::Result<Self> {
        let led = NAMES
            .iter()
            .map(|name| leds.join(name))
            .find(|led| led.exists())
            .ok_or_else(|| io::Error::other("This board has no LED that can blink."))?;
        let before = chosen(&fs::read_to_string(led.join("trigger"))?).to_owned();
        fs::write(led.join("trigger"), "timer")?;
        // The files are there once the trigger is chosen; without them it blinks once a second.
        let _ = fs::write(led.join("delay_on"), "100");
        let _ = fs::write(led.join("delay_off"), "100");
        Ok(Self { led, before })
    }
}

impl Drop for Blink {
    fn drop(&mut self) {
        let _ = fs::write(self.led.join("trigger"), &self.before);
    }
}

/// The file lists all triggers, the chosen one in brackets.
fn chosen(triggers: &str) -> &str {
    triggers
        .split_ascii_whitespace()
        .find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))
        .unwrap_or("none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_afterwards_what_it_did_before() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Blink::start(directory.path()).is_err());
        let led = directory.path().join("ACT");
        fs::create_dir(&led).unwrap();
        fs::write(led.join("trigger"), "none timer [mmc0] heartbeat\n").unwrap();
        let blink = Blink::start(directory.path()).unwrap();
        assert_eq!(fs::read_to_string(led.join("trigger")).unwrap(), "timer");
        drop(blink);
        assert_eq!(fs::read_to_string(led.join("trigger")).unwrap(), "mmc0");
        assert_eq!(chosen(""), "none");
    }
}
