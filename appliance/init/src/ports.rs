//! What process 1 needs of the firmware crate; joined in the composition root.

use crate::cmdline::Slot;
use model::status::{FirmwareProgress, FirmwareStatus};
use std::path::{Path, PathBuf};

/// The state sectors and the slots of the card. Every method may block on the card and is called
/// off process 1's main thread. Errors are sentences for the operator.
pub trait BootState: Send + Sync {
    /// What is in the slots.
    ///
    /// # Errors
    /// When the card cannot be read or what is on it makes no sense.
    fn firmware(
        &self,
        disk: &Path,
        running: Slot,
        on_trial: bool,
    ) -> Result<FirmwareStatus, String>;
    /// The running slot is the one to start from now on, and the trial is over.
    ///
    /// # Errors
    /// When it cannot be written.
    fn confirm(&self, disk: &Path, running: Slot) -> Result<(), String>;
    /// The trial has failed: no tries are left, the next start takes the other slot.
    ///
    /// # Errors
    /// When it cannot be written.
    fn end_trial(&self, disk: &Path) -> Result<(), String>;
    /// How often in a row the board was switched off shortly after its start.
    ///
    /// # Errors
    /// When it cannot be read.
    fn quick_cycles(&self, disk: &Path) -> Result<u8, String>;
    /// Remembers it.
    ///
    /// # Errors
    /// When it cannot be written.
    fn set_quick_cycles(&self, disk: &Path, count: u8) -> Result<(), String>;
}

/// Where a firmware goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The whole card, for the state sectors.
    pub disk: PathBuf,
    /// The partition to write.
    pub device: PathBuf,
    /// Its slot.
    pub slot: Slot,
}

/// Checks a bundle and writes it. Lives in a process of its own: process 1 parses no bundle.
pub trait Installer {
    /// Verifies the bundle, writes it, reads it back, and makes its slot the one on trial.
    ///
    /// # Errors
    /// Why not, for the operator; then nothing has changed, or only a slot that is not started.
    fn install(
        &self,
        bundle: &Path,
        target: &Target,
        report: &mut dyn FnMut(FirmwareProgress),
    ) -> Result<(), String>;
}
