//! The board's own timer, from here on fed or the board starts again.

use crate::boot::Boot;
use crate::watchdog::Dog;
use model::status::Watchdog;
use std::path::Path;

pub(crate) const DEVICE: &str = "/dev/watchdog";

pub(crate) fn run(boot: &mut Boot) {
    // The kernel's own timer is a module: see the phase of the drivers.
    if boot.line.watchdog == Watchdog::Hardware {
        arm(boot, Watchdog::Hardware);
    }
}

pub(crate) fn arm(boot: &mut Boot, kind: Watchdog) {
    match Dog::arm(Path::new(DEVICE), kind) {
        Ok(dog) => {
            boot.facts.watchdog = dog.kind;
            boot.dog = Some(dog);
        }
        Err(error) => boot.problem(format!(
            "No watchdog ({error}): if this board ever hangs, it stays so until it is switched \
             off and on."
        )),
    }
}
