//! When the operator should be told.

use control::StatusBoard;
use model::status::{DataStatus, SystemStatus};
use std::time::Duration;

const POWER: &str = "board.power";
const HEAT: &str = "board.heat";
const CARD: &str = "board.card";
const WEAR: &str = "board.wear";
const GONE: &str = "board.card-gone";
const DATA: &str = "board.data";
const USB: &str = "board.usb";
const FIRMWARE: &str = "board.firmware";

/// The firmware slows the processor down from 80 °C on.
const HOT: i32 = 80_000;
const COOL: i32 = 75_000;
const MIB: u64 = 1024 * 1024;
/// A weak supply is weak for moments; the notice stays for so long after the last one.
const POWER_CALM: Duration = Duration::from_secs(600);
/// A card that failed once and then never again may have had a bad contact.
const CARD_CALM: Duration = Duration::from_secs(24 * 3600);
/// eMMC: pre-end-of-life.
const WORN: u8 = 90;

/// A notice to show or to take down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Show this text, in place of an earlier one.
    Raise(&'static str, String),
    /// Take it down.
    Clear(&'static str),
}

impl Change {
    /// Does it on the status board.
    pub fn show(self, board: &StatusBoard) {
        match self {
            Self::Raise(key, text) => board.notice(key, text),
            Self::Clear(key) => board.clear_notice(key),
        }
    }
}

/// Remembers what it said, so that it says it once.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    power: Option<Duration>,
    weak: bool,
    hot: bool,
    errors: u64,
    failed: Option<Duration>,
    worn: bool,
    seen: bool,
    gone: bool,
    full: bool,
    strangers: Vec<String>,
    missing: Vec<String>,
}

impl Watch {
    /// What has to be said now; `now` is any clock that only goes forward.
    pub fn look(&mut self, now: Duration, status: &SystemStatus) -> Vec<Change> {
        let mut changes = Vec::new();
        self.power(now, status, &mut changes);
        self.heat(status, &mut changes);
        self.card(now, status, &mut changes);
        self.data(status, &mut changes);
        changes
    }

    /// The same for devices nothing drives, and for drivers whose firmware is not in the image.
    pub fn devices(&mut self, strangers: Vec<String>, missing: Vec<String>) -> Vec<Change> {
        let mut changes = Vec::new();
        if strangers != self.strangers {
            changes.push(if strangers.is_empty() {
                Change::Clear(USB)
            } else {
                Change::Raise(
                    USB,
                    format!(
                        "This firmware has no driver for a USB device: {}. If it is a Wi-Fi adapter, use another one, the built-in Wi-Fi or the cable; adapters with an Atheros AR9271 work best.",
                        strangers.join(", ")
                    ),
                )
            });
            self.strangers = strangers;
        }
        if missing != self.missing {
            changes.push(Change::Raise(
                FIRMWARE,
                format!(
                    "An adapter does not work because its own firmware is not in this image: {}. Use another adapter, the built-in Wi-Fi or the cable.",
                    missing.join(", ")
                ),
            ));
            self.missing = missing;
        }
        changes
    }

    fn power(&mut self, now: Duration, status: &SystemStatus, changes: &mut Vec<Change>) {
        // Between two looks it may have come and gone; then only the memory of it is new.
        let came = status.undervoltage_seen && !self.weak;
        self.weak |= status.undervoltage_seen;
        if status.undervoltage == Some(true) || came {
            if self.power.is_none() {
                changes.push(Change::Raise(
                    POWER,
                    "The power supply is too weak: its voltage falls below 4.63 V. The board slows down and may restart or damage its card. Use a supply made for it with a short, thick cable, and unplug USB devices that need much power.".to_owned(),
                ));
            }
            self.power = Some(now);
        } else if self.power.is_some_and(|last| now.saturating_sub(last) >= POWER_CALM) {
            self.power = None;
            changes.push(Change::Clear(POWER));
        }
    }

    fn heat(&mut self, status: &SystemStatus, changes: &mut Vec<Change>) {
        let Some(temperature) = status.temperature_millic else { return };
        if !self.hot && temperature > HOT {
            self.hot = true;
            changes.push(Change::Raise(
                HEAT,
                format!(
                    "The processor has {} °C and slows down. Give the board more air, or a heat sink.",
                    temperature / 1000
                ),
            ));
        } else if self.hot && temperature < COOL {
            self.hot = false;
            changes.push(Change::Clear(HEAT));
        }
    }

    fn card(&mut self, now: Duration, status: &SystemStatus, changes: &mut Vec<Change>) {
        let Some(card) = &status.card else {
            if self.seen && !self.gone {
                self.gone = true;
                changes.push(Change::Raise(
                    GONE,
                    "The SD card is gone. The board goes on working from memory, but changes are not kept and it will not start again without the card. Put it back and restart the board; if it is in its place, replace it.".to_owned(),
                ));
            }
            return;
        };
        self.seen = true;
        if self.gone {
            self.gone = false;
            changes.push(Change::Clear(GONE));
        }
        if card.errors > self.errors {
            self.errors = card.errors;
            self.failed = Some(now);
            let times =
                if card.errors == 1 { "once".to_owned() } else { format!("{} times", card.errors) };
            changes.push(Change::Raise(
                CARD,
                format!("The SD card failed {times} since the start: it could not be read or written. Download a backup of the settings and replace the card soon."),
            ));
        } else if self.failed.is_some_and(|last| now.saturating_sub(last) >= CARD_CALM) {
            self.failed = None;
            changes.push(Change::Clear(CARD));
        }
        if let (false, Some(wear)) = (self.worn, card.wear_percent.filter(|w| *w >= WORN)) {
            self.worn = true;
            changes.push(Change::Raise(
                WEAR,
                format!("The card says that {wear} % of its life is used up. Download a backup of the settings and replace it."),
            ));
        }
    }

    fn data(&mut self, status: &SystemStatus, changes: &mut Vec<Change>) {
        let Some(DataStatus::Kept { size, free, .. }) = &status.data else { return };
        if *size == 0 {
            return;
        }
        let (low, enough) = ((size / 10).min(512 * MIB), (size / 8).min(640 * MIB));
        if !self.full && *free < low {
            self.full = true;
            changes.push(Change::Raise(
                DATA,
                format!("The card is nearly full: {} MiB of {} MiB are free. When it is full, sites cannot be updated and settings cannot be changed. Remove files from the sites, or use a larger card.", free / MIB, size / MIB),
            ));
        } else if self.full && *free >= enough {
            self.full = false;
            changes.push(Change::Clear(DATA));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::status::CardStatus;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn raised(changes: &[Change]) -> Vec<&'static str> {
        changes
            .iter()
            .filter_map(|c| if let Change::Raise(key, _) = c { Some(*key) } else { None })
            .collect()
    }

    #[test]
    fn a_healthy_board_says_nothing() {
        let status = SystemStatus {
            temperature_millic: Some(54_000),
            undervoltage: Some(false),
            card: Some(CardStatus { wear_percent: Some(10), ..CardStatus::default() }),
            data: Some(DataStatus::Kept { size: 1000 * MIB, free: 900 * MIB, mended: None }),
            ..SystemStatus::default()
        };
        let mut watch = Watch::default();
        assert_eq!(watch.look(at(1), &status), []);
        assert_eq!(
            watch.look(at(2), &SystemStatus { card: None, ..SystemStatus::default() }).len(),
            1
        );
        assert_eq!(Watch::default().look(at(1), &SystemStatus::default()), []);
    }

    #[test]
    fn a_weak_supply_is_told_once_until_it_has_been_calm() {
        let mut watch = Watch::default();
        let weak = SystemStatus { undervoltage: Some(true), ..SystemStatus::default() };
        let fine = SystemStatus { undervoltage: Some(false), ..SystemStatus::default() };
        assert_eq!(raised(&watch.look(at(5), &weak)), [POWER]);
        assert_eq!(watch.look(at(10), &weak), []);
        assert_eq!(watch.look(at(15), &fine), []);
        assert_eq!(watch.look(at(300), &weak), []);
        assert_eq!(watch.look(at(899), &fine), []);
        assert_eq!(watch.look(at(900), &fine), [Change::Clear(POWER)]);
        assert_eq!(watch.look(at(905), &fine), []);
    }

    #[test]
    fn a_weak_moment_between_two_looks_is_told_too() {
        let mut watch = Watch::default();
        let was = SystemStatus {
            undervoltage: Some(false),
            undervoltage_seen: true,
            ..SystemStatus::default()
        };
        assert_eq!(raised(&watch.look(at(5), &was)), [POWER]);
        assert_eq!(watch.look(at(604), &was), []);
        assert_eq!(watch.look(at(605), &was), [Change::Clear(POWER)]);
        assert_eq!(watch.look(at(610), &was), []);
    }

    #[test]
    fn heat_does_not_flicker() {
        let mut watch = Watch::default();
        let mut look = |t| {
            watch.look(
                at(1),
                &SystemStatus { temperature_millic: Some(t), ..SystemStatus::default() },
            )
        };
        assert_eq!(look(80_000), []);
        assert_eq!(raised(&look(83_400)), [HEAT]);
        assert_eq!(look(79_000), []);
        assert_eq!(look(85_000), []);
        assert_eq!(look(74_900), [Change::Clear(HEAT)]);
    }

    #[test]
    fn errors_of_the_card_are_counted_and_forgotten_after_a_day() {
        let mut watch = Watch::default();
        let card = |errors| SystemStatus {
            card: Some(CardStatus { errors, ..CardStatus::default() }),
            ..SystemStatus::default()
        };
        assert_eq!(watch.look(at(1), &card(0)), []);
        let first = watch.look(at(2), &card(1));
        assert!(
            matches!(&first[..], [Change::Raise(CARD, text)] if text.contains("failed once")),
            "{first:?}"
        );
        assert_eq!(watch.look(at(3), &card(1)), []);
        let more = watch.look(at(4), &card(7));
        assert!(
            matches!(&more[..], [Change::Raise(CARD, text)] if text.contains("7 times")),
            "{more:?}"
        );
        assert_eq!(watch.look(at(4 + 86_399), &card(7)), []);
        assert_eq!(watch.look(at(4 + 86_400), &card(7)), [Change::Clear(CARD)]);
        assert_eq!(raised(&watch.look(at(90_000), &card(8))), [CARD]);
    }

    #[test]
    fn a_card_that_was_pulled_is_told_and_comes_back() {
        let mut watch = Watch::default();
        let with = SystemStatus { card: Some(CardStatus::default()), ..SystemStatus::default() };
        watch.look(at(1), &with);
        assert_eq!(raised(&watch.look(at(2), &SystemStatus::default())), [GONE]);
        assert_eq!(watch.look(at(3), &SystemStatus::default()), []);
        assert_eq!(watch.look(at(4), &with), [Change::Clear(GONE)]);
    }

    #[test]
    fn a_worn_card_and_a_full_one() {
        let mut watch = Watch::default();
        let worn = CardStatus { wear_percent: Some(90), ..CardStatus::default() };
        let status = |free| SystemStatus {
            card: Some(worn.clone()),
            data: Some(DataStatus::Kept { size: 1000 * MIB, free, mended: None }),
            ..SystemStatus::default()
        };
        assert_eq!(raised(&watch.look(at(1), &status(99 * MIB))), [WEAR, DATA]);
        assert_eq!(watch.look(at(2), &status(110 * MIB)), []);
        assert_eq!(watch.look(at(3), &status(130 * MIB)), [Change::Clear(DATA)]);
        // On a large card a tenth would be plenty.
        let large = SystemStatus {
            data: Some(DataStatus::Kept { size: 30_000 * MIB, free: 600 * MIB, mended: None }),
            ..SystemStatus::default()
        };
        assert_eq!(Watch::default().look(at(1), &large), []);
    }
}
