//! Process 1: the init crate's needs, met by the firmware crate.

use firmware::bundle::Running;
use firmware::runner::{self, BUILD, COMPATIBLE, PUBLIC_KEY, Target};
use firmware::{Error, Present};
use init::{BootState, Cmdline, Installer};
use model::Slot;
use model::status::{FirmwareProgress, FirmwareStatus};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// The life of process 1.
pub(crate) fn live() -> ! {
    init::run(Arc::new(Slots))
}

/// The life of the installer, which process 1 starts for one bundle.
pub(crate) fn install(arguments: impl Iterator<Item = String>) -> ExitCode {
    ExitCode::from(init::install::run(arguments, &Updates))
}

/// The slots of this board's card.
struct Slots;

impl BootState for Slots {
    fn firmware(
        &self,
        disk: &Path,
        running: Slot,
        on_trial: bool,
    ) -> Result<FirmwareStatus, String> {
        said(this_firmware().and_then(|own| {
            let present = Present {
                slot: running,
                on_trial,
                version: own.version,
                built_unix: own.built_unix,
            };
            runner::status(disk, &present)
        }))
    }
    fn confirm(&self, disk: &Path, running: Slot) -> Result<(), String> {
        said(runner::confirm(disk, running))
    }
    fn end_trial(&self, disk: &Path) -> Result<(), String> {
        said(runner::end_trial(disk))
    }
    fn quick_cycles(&self, disk: &Path) -> Result<u8, String> {
        said(runner::state(disk).map(|state| state.quick_cycles))
    }
    fn set_quick_cycles(&self, disk: &Path, count: u8) -> Result<(), String> {
        said(runner::set_quick_cycles(disk, count))
    }
}

/// Installs an update; in a process of its own.
struct Updates;

impl Installer for Updates {
    fn install(
        &self,
        bundle: &Path,
        target: &init::Target,
        report: &mut dyn FnMut(FirmwareProgress),
    ) -> Result<(), String> {
        let line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
        let target = Target {
            disk: &target.disk,
            device: &target.device,
            slot: target.slot,
            on_trial: Cmdline::parse(&line).trial,
        };
        let key = said(runner::public_key(Path::new(PUBLIC_KEY)))?;
        let running = said(this_firmware())?;
        said(runner::install(bundle, &target, &key, &running, report)).map(drop)
    }
}

fn this_firmware() -> Result<Running, Error> {
    runner::running(Path::new(BUILD), Path::new(COMPATIBLE))
}

fn said<T>(result: Result<T, Error>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}
