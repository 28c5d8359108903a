//! 127.0.0.1.

use crate::boot::Boot;
use crate::system;

pub(crate) fn run(boot: &mut Boot) {
    if let Err(error) = system::loopback_up() {
        boot.problem(format!(
            "The loopback interface could not be started ({error}). Programs on this board cannot \
             talk to each other. Restart the board."
        ));
    }
}
