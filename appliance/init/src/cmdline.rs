//! What the boot script and the emulator say on the kernel command line.

pub use model::Slot;
use model::status::Watchdog;

/// The words of the command line that are ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cmdline {
    /// `bramble.slot`: the slot this firmware was started from.
    pub slot: Slot,
    /// `bramble.trial`: the firmware is on trial.
    pub trial: bool,
    /// `bramble.fallback`: the boot script took this slot because the other one is damaged.
    pub fallback: bool,
    /// `bramble.watchdog`: which watchdog is to be used.
    pub watchdog: Watchdog,
    /// `bramble.test`: failing on purpose is allowed.
    pub test: bool,
    /// `bramble.emulated`: the board is an emulator's.
    pub emulated: bool,
    /// `bramble.hwsim`: so many simulated radios.
    pub hwsim: u8,
    /// `bramble.cycles`: quick power cycles in a row are an order to start over. Only where
    /// somebody asked for it: a bad supply gives the same order.
    pub cycles: bool,
}

impl Default for Cmdline {
    fn default() -> Self {
        Self {
            slot: Slot::A,
            trial: false,
            fallback: false,
            watchdog: Watchdog::Hardware,
            test: false,
            emulated: false,
            hwsim: 0,
            cycles: false,
        }
    }
}

impl Cmdline {
    /// Reads `/proc/cmdline`. Unknown words are the kernel's, unknown values count as not given;
    /// the last of several counts, as for the kernel.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut line = Self::default();
        for word in text.split_ascii_whitespace() {
            let Some(word) = word.strip_prefix("bramble.") else { continue };
            let (key, value) = word.split_once('=').unwrap_or((word, "1"));
            match key {
                "slot" => line.slot = Slot::from_letter(value).unwrap_or(line.slot),
                "trial" => line.trial = value == "1",
                "watchdog" => {
                    line.watchdog = match value {
                        "soft" => Watchdog::Software,
                        "off" => Watchdog::None,
                        _ => Watchdog::Hardware,
                    }
                }
                "test" => line.test = value == "1",
                "emulated" => line.emulated = value == "1",
                "hwsim" => line.hwsim = value.parse().unwrap_or(0).min(16),
                "fallback" => line.fallback = value == "1",
                "cycles" => line.cycles = value == "1",
                _ => {}
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_understood() {
        let line = Cmdline::parse(
            "console=ttyAMA0,115200 panic=10 bramble.slot=b bramble.trial=1 \
             bramble.watchdog=soft bramble.test bramble.emulated=1 bramble.hwsim=2 bramble.cycles \
             bramble.fallback=1\n",
        );
        assert_eq!(
            line,
            Cmdline {
                slot: Slot::B,
                trial: true,
                fallback: true,
                watchdog: Watchdog::Software,
                test: true,
                emulated: true,
                hwsim: 2,
                cycles: true,
            }
        );
    }

    #[test]
    fn without_words_the_board_is_a_real_one() {
        assert_eq!(Cmdline::parse("root=/dev/ram0 quiet"), Cmdline::default());
        assert_eq!(Cmdline::default().watchdog, Watchdog::Hardware);
    }

    #[test]
    fn nonsense_changes_nothing() {
        let line = Cmdline::parse(
            "bramble.slot=c bramble.hwsim=many bramble.trial=0 bramble. bramble.test=0 bramble",
        );
        assert_eq!(line, Cmdline::default());
        assert_eq!(Cmdline::parse("bramble.hwsim=255").hwsim, 16);
    }
}
