//! What the operator is told about the slots.

use crate::slot::Header;
use crate::state::{Slot, State};
use model::status::FirmwareStatus;

/// The firmware that runs, as the kernel and the RAM root say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// Its slot.
    pub slot: Slot,
    /// It was started on trial.
    pub on_trial: bool,
    /// Its version.
    pub version: String,
    /// When it was built, in seconds since 1970.
    pub built_unix: u64,
}

pub(crate) fn status(present: &Present, state: &State, other: Option<&Header>) -> FirmwareStatus {
    let on_trial = present.on_trial && state.active != present.slot;
    FirmwareStatus {
        slot: present.slot.letter().to_owned(),
        version: present.version.clone(),
        other_version: other.map(|header| header.version.clone()),
        on_trial,
        last_update: last_update(present, on_trial, state, other),
        progress: None,
    }
}

fn last_update(
    present: &Present,
    on_trial: bool,
    state: &State,
    other: Option<&Header>,
) -> Option<String> {
    let version = other.map(|header| header.version.as_str());
    if on_trial {
        return Some(
            "This version is being tried. It is kept once everything works; otherwise the \
             version before comes back by itself."
                .to_owned(),
        );
    }
    if state.active != present.slot {
        return Some(
            "The other copy of the firmware could not be started, so this one was. Install an \
             update, to have two again; if this comes back, replace the card."
                .to_owned(),
        );
    }
    let tried = state.trial != present.slot;
    match (tried, state.left, version) {
        (true, 1.., Some(version)) => {
            Some(format!("Version {version} is installed and is tried at the next start."))
        }
        (true, 0, Some(version)) => Some(format!(
            "Version {version} was tried and not kept, because it did not start or not everything \
             worked. Version {} runs again; nothing else has changed.",
            present.version
        )),
        (true, _, None) => Some(
            "The last update is not whole on the card and cannot be started. Install it again."
                .to_owned(),
        ),
        (false, _, Some(version)) if other.is_some_and(|o| o.built_unix < present.built_unix) => {
            Some(format!("Updated from version {version}."))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::Part;

    fn other(built_unix: u64) -> Header {
        let part = Part { first: 8, sectors: 1, bytes: 1, crc: 0 };
        let initrd = Part { first: 16, ..part };
        Header { kernel: part, initrd, version: format!("0.{built_unix}"), built_unix }
    }

    fn present(slot: Slot, on_trial: bool) -> Present {
        Present { slot, on_trial, version: "0.5".to_owned(), built_unix: 5 }
    }

    fn told(present: &Present, state: State, other: Option<&Header>) -> String {
        status(present, &state, other).last_update.unwrap_or_default()
    }

    #[test]
    fn a_card_fresh_from_the_maker() {
        let found = status(&present(Slot::A, false), &State::default(), None);
        let wanted = FirmwareStatus {
            slot: "a".to_owned(),
            version: "0.5".to_owned(),
            ..FirmwareStatus::default()
        };
        assert_eq!(found, wanted);
    }

    #[test]
    fn each_end_of_an_update_is_told() {
        let fresh = State::default();
        let (newer, older) = (other(6), other(4));
        let a = present(Slot::A, false);
        let waiting = fresh.trying(Slot::B);
        assert!(told(&a, waiting, Some(&newer)).contains("0.6 is installed and is tried"));
        assert!(told(&a, waiting.given_up(), Some(&newer)).contains("0.6 was tried and not kept"));
        assert!(told(&a, waiting, None).contains("is not whole"));
        let trial = present(Slot::B, true);
        assert!(told(&trial, waiting, Some(&older)).contains("being tried"));
        assert!(status(&trial, &waiting, Some(&older)).on_trial);
        // The last try: no more are left, and it is still one.
        assert!(status(&trial, &waiting.given_up(), Some(&older)).on_trial);
        let kept = waiting.confirmed(Slot::B);
        assert!(!status(&trial, &kept, Some(&older)).on_trial);
        assert_eq!(told(&trial, kept, Some(&older)), "Updated from version 0.4.");
        assert_eq!(told(&a, fresh, Some(&newer)), "");
    }

    #[test]
    fn a_slot_taken_for_want_of_the_other() {
        let state = State::default();
        assert!(told(&present(Slot::B, false), state, None).contains("could not be started"));
        assert!(!status(&present(Slot::B, false), &state, None).on_trial);
    }
}
