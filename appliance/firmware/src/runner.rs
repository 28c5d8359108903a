//! The edge: the card and the files of the RAM root.

use crate::bundle::{KEY, Manifest, Running};
use crate::bytes::{SECTOR, SECTOR_BYTES};
use crate::device::{Block, Device, Window};
use crate::error::Error;
use crate::install::{self, Job, read_state, write_state};
use crate::state::{Slot, State};
use crate::status::{self, Present};
use crate::{board, mbr, slot};
use model::status::{FirmwareProgress, FirmwareStatus};
use rustix::fs::OFlags;
use serde::Deserialize;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What the RAM root says about the firmware that runs.
pub const BUILD: &str = "/etc/bramble/build.json";
/// The key that updates are checked with.
pub const PUBLIC_KEY: &str = "/etc/bramble/update.pub";
/// What the device tree says about the board.
pub const COMPATIBLE: &str = "/proc/device-tree/compatible";

#[derive(Deserialize)]
struct Build {
    version: String,
    built_unix: u64,
}

/// The firmware that runs, by the files of its RAM root ([`BUILD`], [`COMPATIBLE`]).
///
/// # Errors
/// The file is missing or cannot be understood.
pub fn running(build: &Path, compatible: &Path) -> Result<Running, Error> {
    let text = fs::read(build).map_err(Error::io("Reading the version of this firmware"))?;
    let build: Build = serde_json::from_slice(&text)
        .map_err(|error| Error::io("Reading the version of this firmware")(error.into()))?;
    let board = fs::read(compatible).ok();
    Ok(Running {
        version: build.version,
        built_unix: build.built_unix,
        board: board.and_then(|words| board::name(&words)).map(str::to_owned),
    })
}

/// Reads a public key ([`PUBLIC_KEY`]).
///
/// # Errors
/// It is missing, or not as long as a key.
pub fn public_key(path: &Path) -> Result<[u8; KEY], Error> {
    fs::read(path).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(Error::BadKey)
}

fn open(disk: &Path, write: bool) -> Result<Block, Error> {
    Block::open(disk, write).map_err(Error::io("Opening the card"))
}

/// The boot state of a card; the first slot without a trial when both copies are lost.
///
/// # Errors
/// The card cannot be read.
pub fn state(disk: &Path) -> Result<State, Error> {
    Ok(read_state(&mut open(disk, false)?)?.state)
}

fn change(disk: &Path, change: impl FnOnce(State) -> State) -> Result<(), Error> {
    let mut disk = open(disk, true)?;
    let state = read_state(&mut disk)?.state;
    write_state(&mut disk, change(state))
}

/// The running slot is good, and the trial over. A trial of the other slot that has not begun
/// stays announced.
///
/// # Errors
/// The card cannot be read or written, or does not keep what is written.
pub fn confirm(disk: &Path, running: Slot) -> Result<(), Error> {
    change(disk, |state| {
        let announced = state.active == running && state.trial != running;
        if announced { state } else { state.confirmed(running) }
    })
}

/// No tries are left: the active slot starts next.
///
/// # Errors
/// The card cannot be read or written, or does not keep what is written.
pub fn end_trial(disk: &Path) -> Result<(), Error> {
    change(disk, State::given_up)
}

/// Remembers how often in a row the power was cut soon after the start.
///
/// # Errors
/// The card cannot be read or written, or does not keep what is written.
pub fn set_quick_cycles(disk: &Path, count: u8) -> Result<(), Error> {
    change(disk, |state| State { quick_cycles: count, ..state })
}

/// What is in the slots. The other one counts as whole by its header, which is written last;
/// U-Boot reads all of it before it starts it.
///
/// # Errors
/// The card cannot be read, or has no slots.
pub fn status(disk: &Path, present: &Present) -> Result<FirmwareStatus, Error> {
    let mut disk = open(disk, false)?;
    let state = read_state(&mut disk)?.state;
    let mut table = [0; SECTOR];
    disk.read(0, &mut table).map_err(Error::io("Reading the card"))?;
    let extent = mbr::slot(&table, present.slot.other()).ok_or(Error::NoSlots)?;
    let other = slot::header(&mut Window::new(&mut disk, extent.start, extent.size)).ok();
    Ok(status::status(present, &state, other.as_ref()))
}

/// Where an update goes.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The whole card, for the boot state.
    pub disk: &'a Path,
    /// The partition of the slot that does not run.
    pub device: &'a Path,
    /// That slot.
    pub slot: Slot,
    /// The running firmware was started on trial.
    pub on_trial: bool,
}

/// Checks a bundle to its last byte, writes it to the slot that does not run, reads it back and
/// makes it the one to try at the next start. Steps are told to `report`, except the last one:
/// starting again is the caller's.
///
/// # Errors
/// Why not. The running firmware then stays the one that starts.
pub fn install(
    bundle: &Path,
    target: &Target<'_>,
    key: &[u8; KEY],
    running: &Running,
    report: &mut dyn FnMut(FirmwareProgress),
) -> Result<Manifest, Error> {
    let reading = || Error::io("Reading the update");
    // The name is that of a descriptor process 1 has opened (/proc/self/fd/0), and such a name is a
    // link; a pipe is not waited for.
    let flags = OFlags::NONBLOCK;
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or_default())
        .open(bundle)
        .map_err(reading())?;
    if !file.metadata().map_err(reading())?.is_file() {
        return Err(Error::NotABundle);
    }
    let mut disk = open(target.disk, true)?;
    // The partition must be the one the card's own table says, or the running slot is written over.
    let mut table = [0; SECTOR];
    disk.read(0, &mut table).map_err(Error::io("Reading the card"))?;
    let extent = mbr::slot(&table, target.slot).ok_or(Error::NoSlots)?;
    let mut device = open(target.device, true)?;
    let size = device.size().map_err(Error::io("Reading the card"))?;
    if size != extent.size || size % SECTOR_BYTES != 0 {
        return Err(Error::NoSlots);
    }
    let job = Job { key, running, on_trial: target.on_trial, target: target.slot };
    install::install(&job, &mut file, &mut device, &mut disk, report)
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
