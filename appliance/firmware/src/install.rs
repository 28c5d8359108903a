//! Writing an update to the slot that does not run.
//!
//! Power may go at any moment, so the order is everything: nothing is written before the bundle
//! was read and found good to its last byte; the slot has no header while it is not whole; and it
//! becomes the one to try only when what the card holds was read back. Until that last write the
//! firmware that runs is the only one that can start.

use crate::bundle::{self, Checked, KEY, Running};
use crate::bytes::{SECTOR, SECTOR_BYTES};
use crate::device::{Device, PIECE};
use crate::error::Error;
use crate::state::{Copies, LBA, Slot, State};
use model::status::FirmwareProgress;
use sha2::{Digest, Sha256};
use std::io::{Read, Seek, SeekFrom};

/// Reads the boot state of a card.
pub(crate) fn read_state(disk: &mut impl Device) -> Result<Copies, Error> {
    let mut sectors = [[0; SECTOR]; 2];
    for (sector, lba) in sectors.iter_mut().zip(LBA) {
        disk.read(lba * SECTOR_BYTES, sector).map_err(Error::io("Reading the boot state"))?;
    }
    Ok(Copies::read(&sectors))
}

/// Writes a boot state if it is another than the card has, and reads it back.
pub(crate) fn write_state(disk: &mut impl Device, state: State) -> Result<(), Error> {
    let writing = || Error::io("Writing the boot state");
    let copies = read_state(disk)?;
    if copies.state == state && !copies.lost {
        return Ok(());
    }
    let (index, sector) = copies.next(&state);
    let lba = if index == 0 { LBA[0] } else { LBA[1] };
    disk.write(lba * SECTOR_BYTES, &sector).map_err(writing())?;
    disk.sync().map_err(writing())?;
    if read_state(disk)?.state == state { Ok(()) } else { Err(Error::ReadBack) }
}

/// What an update is held against and where it goes.
pub(crate) struct Job<'a> {
    pub(crate) key: &'a [u8; KEY],
    pub(crate) running: &'a Running,
    /// The running firmware is on trial, as the kernel was told.
    pub(crate) on_trial: bool,
    /// The slot to write: not the one that runs.
    pub(crate) target: Slot,
}

/// Checks a bundle, writes it and makes it the one to try.
pub(crate) fn install<B: Read + Seek>(
    job: &Job<'_>,
    bundle: &mut B,
    slot: &mut impl Device,
    disk: &mut impl Device,
    report: &mut dyn FnMut(FirmwareProgress),
) -> Result<bundle::Manifest, Error> {
    let running = job.target.other();
    report(FirmwareProgress::Verifying);
    let state = read_state(disk)?.state;
    if job.on_trial && state.active != running {
        return Err(Error::OnTrial);
    }
    let checked = bundle::check(bundle, job.key, job.running)?;
    let size = checked.manifest.size;
    let room = slot.size().map_err(Error::io("Reading the card"))?;
    if size > room {
        return Err(Error::TooLarge { size, limit: room });
    }
    // U-Boot may have taken the running slot for want of a better one; from here on it is the
    // only one. A trial that was announced and not begun is off.
    if state.active != running || state.left > 0 {
        write_state(disk, state.confirmed(running))?;
    }
    let header = write_slot(&checked, bundle, slot, report)?;
    report(FirmwareProgress::Checking);
    if read_back(&header, size, slot)? != checked.sha256 {
        return Err(Error::ReadBack);
    }
    let writing = || Error::io("Writing the other slot");
    slot.write(0, &header).map_err(writing())?;
    slot.sync().map_err(writing())?;
    let mut written = [0; SECTOR];
    slot.read(0, &mut written).map_err(Error::io("Reading back the other slot"))?;
    if written != header {
        return Err(Error::ReadBack);
    }
    let state = read_state(disk)?.state;
    write_state(disk, state.trying(job.target))?;
    Ok(checked.manifest)
}

/// Writes everything but the header, which is returned. The file may be another by now than the
/// one that was checked; reading back finds that out.
fn write_slot<B: Read + Seek>(
    checked: &Checked,
    bundle: &mut B,
    slot: &mut impl Device,
    report: &mut dyn FnMut(FirmwareProgress),
) -> Result<[u8; SECTOR], Error> {
    let reading = || Error::io("Reading the update");
    let writing = || Error::io("Writing the other slot");
    let total = checked.manifest.size;
    bundle.seek(SeekFrom::Start(checked.payload_at)).map_err(reading())?;
    let mut header = [0; SECTOR];
    bundle.read_exact(&mut header).map_err(reading())?;
    slot.write(0, &[0; SECTOR]).map_err(writing())?;
    slot.sync().map_err(writing())?;
    let mut buffer = vec![0; PIECE];
    let mut done = SECTOR_BYTES;
    while done < total {
        report(FirmwareProgress::Writing { done, total });
        let piece = piece(&mut buffer, done, total);
        bundle.read_exact(piece).map_err(reading())?;
        slot.write(done, piece).map_err(writing())?;
        done += u64::try_from(piece.len()).unwrap_or(total);
    }
    slot.sync().map_err(writing())?;
    report(FirmwareProgress::Writing { done, total });
    Ok(header)
}

fn read_back(header: &[u8; SECTOR], total: u64, slot: &mut impl Device) -> Result<[u8; 32], Error> {
    let mut sum = Sha256::new();
    sum.update(header);
    let mut buffer = vec![0; PIECE];
    let mut done = SECTOR_BYTES;
    while done < total {
        let piece = piece(&mut buffer, done, total);
        slot.read(done, piece).map_err(Error::io("Reading back the other slot"))?;
        sum.update(&*piece);
        done += u64::try_from(piece.len()).unwrap_or(total);
    }
    Ok(sum.finalize().into())
}

/// As much as there is up to the next multiple of a piece.
fn piece(buffer: &mut [u8], done: u64, total: u64) -> &mut [u8] {
    let length = u64::try_from(buffer.len()).unwrap_or(SECTOR_BYTES);
    let count = (length - done % length).min(total - done);
    let count = usize::try_from(count).unwrap_or(buffer.len()).min(buffer.len());
    &mut buffer[..count]
}

#[cfg(test)]
#[path = "install_tests.rs"]
mod tests;
