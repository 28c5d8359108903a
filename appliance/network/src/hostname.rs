//! The kernel's host name.

use std::io;

/// Sets the kernel's host name. It takes CAP_SYS_ADMIN, which a process need not have when
/// another one does this for it.
pub trait SetHostName: Send + Sync {
    /// Called when the name differs from the one the kernel has. May block for a moment.
    ///
    /// # Errors
    /// When it could not be set: why, for the operator.
    fn set(&self, name: &str) -> Result<(), String>;
}

/// This process does it by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnHostName;

impl SetHostName for OwnHostName {
    fn set(&self, name: &str) -> Result<(), String> {
        nix::unistd::sethostname(name).map_err(|errno| match errno {
            nix::errno::Errno::EPERM => {
                "this takes root (CAP_SYS_ADMIN): start bramble as root".to_owned()
            }
            other => io::Error::from(other).to_string(),
        })
    }
}

/// Sets it if it differs. Only the running kernel is told: the settings are what lasts.
///
/// # Errors
/// When that was not possible.
pub(crate) fn apply(name: &str, port: &dyn SetHostName) -> Result<(), String> {
    if nix::unistd::gethostname().is_ok_and(|found| found == name) {
        return Ok(());
    }
    port.set(name).map_err(|why| format!("the host name {name} could not be set: {why}"))
}
