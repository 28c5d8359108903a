//! The kernel's host name.

use crate::error::Error;
use std::io;

/// Sets it if it differs. Only the running kernel is told: the settings are what lasts.
///
/// # Errors
/// When this process may not.
pub(crate) fn apply(name: &str) -> Result<(), Error> {
    if nix::unistd::gethostname().is_ok_and(|found| found == name) {
        return Ok(());
    }
    nix::unistd::sethostname(name).map_err(|errno| Error::Kernel {
        what: format!("the host name {name} could not be set"),
        source: io::Error::from(errno),
    })
}
