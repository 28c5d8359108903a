//! The green LED, so that somebody can find the board among others.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The names kernels have given it.
const NAMES: [&str; 2] = ["ACT", "led0"];

/// How long a flash of a row is, and as long the dark after it.
const FLASH: Duration = Duration::from_millis(300);
/// The dark between two rows, besides.
const PAUSE: Duration = Duration::from_millis(1500);

/// An LED that blinks, and what it did before.
#[derive(Debug)]
pub(crate) struct Blink {
    led: PathBuf,
    before: String,
}

/// Flashes in rows that can be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    /// In a row.
    pub(crate) flashes: u8,
    /// When the first row began.
    pub(crate) began: Duration,
}

impl Rows {
    /// Is there light now, and when does that change?
    pub(crate) fn at(self, now: Duration) -> (bool, Duration) {
        let row = FLASH * 2 * u32::from(self.flashes) + PAUSE;
        let since = now.saturating_sub(self.began).as_millis();
        let within = u64::try_from(since % row.as_millis()).unwrap_or_default();
        let (within, begun) = (Duration::from_millis(within), FLASH * 2);
        let flash = u32::try_from(within.as_millis() / begun.as_millis()).unwrap_or_default();
        if flash >= u32::from(self.flashes) {
            return (false, now + (row - within));
        }
        let within = within - begun * flash;
        if within < FLASH {
            (true, now + (FLASH - within))
        } else {
            (false, now + (begun - within))
        }
    }
}

impl Blink {
    /// Blinks by itself until dropped.
    pub(crate) fn start(leds: &Path) -> io::Result<Self> {
        let blink = Self::take(leds)?;
        blink.by_itself()?;
        Ok(blink)
    }

    /// Takes the LED from what it does.
    fn take(leds: &Path) -> io::Result<Self> {
        let led = NAMES
            .iter()
            .map(|name| leds.join(name))
            .find(|led| led.exists())
            .ok_or_else(|| io::Error::other("This board has no LED that can blink."))?;
        let before = chosen(&fs::read_to_string(led.join("trigger"))?).to_owned();
        Ok(Self { led, before })
    }

    /// Has the kernel let it blink.
    pub(crate) fn by_itself(&self) -> io::Result<()> {
        fs::write(self.led.join("trigger"), "timer")?;
        // The files are there once the trigger is chosen; without them it blinks once a second.
        let _ = fs::write(self.led.join("delay_on"), "100");
        let _ = fs::write(self.led.join("delay_off"), "100");
        Ok(())
    }

    /// Dark, and lit by [`Self::light`] alone.
    pub(crate) fn by_hand(&self) -> io::Result<()> {
        fs::write(self.led.join("trigger"), "none")?;
        self.light(false);
        Ok(())
    }

    /// Lights it or not. More than the LED can is as much as it can.
    pub(crate) fn light(&self, on: bool) {
        let _ = fs::write(self.led.join("brightness"), if on { "255" } else { "0" });
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
    fn flashes_can_be_counted() {
        let rows = Rows { flashes: 3, began: Duration::from_secs(5) };
        let (mut now, mut seen) = (rows.began, Vec::new());
        for _ in 0..14 {
            let (light, next) = rows.at(now);
            assert!(next > now);
            seen.push((light, (next - now).as_millis()));
            now = next;
        }
        let flash = [(true, 300), (false, 300)];
        let row: Vec<_> =
            [flash, flash, flash].concat().into_iter().chain([(false, 1500)]).collect();
        assert_eq!(seen, [row.clone(), row].concat());
    }

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
