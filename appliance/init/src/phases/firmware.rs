//! What is in the slots.

use crate::boot::Boot;
use model::status::FirmwareStatus;
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn run(boot: &mut Boot) {
    let plain = FirmwareStatus {
        slot: boot.line.slot.letter().into(),
        version: boot.build.version.clone(),
        on_trial: boot.line.trial,
        ..FirmwareStatus::default()
    };
    boot.facts.firmware = Some(plain);
    if boot.line.fallback {
        let (runs, other) = (boot.line.slot.letter(), boot.line.slot.other().letter());
        boot.problem(format!(
            "The firmware in slot {other} is missing or damaged, so this board started from slot \
             {runs}. Upload the firmware again on the Firmware page."
        ));
    }
    let Some(disk) = boot.disk.clone() else { return };
    let (state, slot, trial) = (Arc::clone(&boot.state), boot.line.slot, boot.line.trial);
    let found =
        boot.patiently(Duration::from_secs(20), move || state.firmware(&disk.device, slot, trial));
    match found {
        Some(Ok(status)) => boot.facts.firmware = Some(status),
        Some(Err(error)) => boot.problem(format!(
            "What firmware is on the card could not be read ({error}). This one runs; an update \
             may not be possible."
        )),
        None => boot.problem(
            "The card does not answer. The board runs from memory; nothing can be saved. Put in \
             another card."
                .to_owned(),
        ),
    }
}
