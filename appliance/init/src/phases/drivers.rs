//! Drivers for what is there. They load beside the rest of the start: nothing of it waits for a
//! radio.

use crate::boot::Boot;
use crate::jobs::Finding;
use crate::modules::{self, Modules, uevent::Events};
use crate::phases::watchdog;
use model::status::Watchdog;

pub(crate) fn run(boot: &mut Boot) {
    // Before the first look, so that nothing falls between the look and the listening.
    boot.events = Events::listen().ok();
    if boot.events.is_none() {
        boot.problem(
            "The kernel does not tell about new devices: an adapter that is plugged in is noticed \
             only at the next start."
                .to_owned(),
        );
    }
    let modules = match Modules::open() {
        Ok(modules) => modules,
        Err(error) => {
            boot.problem(format!(
                "The list of drivers could not be read ({error}). Wi-Fi does not work; the cable \
                 does. Write the image to the card again."
            ));
            if boot.line.watchdog == Watchdog::Software {
                watchdog::arm(boot, Watchdog::Software);
            }
            return;
        }
    };
    if boot.line.watchdog == Watchdog::Software {
        // soft_panic=0: it restarts without waiting for a dump.
        if let Err(error) = modules.load("softdog", "soft_margin=15") {
            boot.console.say(&format!("softdog could not be loaded ({error})"));
        }
        watchdog::arm(boot, Watchdog::Software);
    }
    let radios = boot.line.hwsim;
    boot.jobs.start(move || {
        let mut problems = modules.for_devices(&modules::coldplug());
        if radios > 0 {
            let loaded = modules.load("mac80211_hwsim", &format!("radios={radios}"));
            problems.extend(loaded.err().map(|error| {
                crate::Problem::new(format_args!("Simulated radios could not be made ({error})."))
            }));
        }
        Finding::Modules(problems)
    });
}
