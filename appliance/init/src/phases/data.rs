//! The partition that keeps settings and sites.
//!
//! In this order: grown to the card's end, repaired if it says it needs to be, mounted (which
//! replays its journal), its file system grown to the partition. What cannot be used is left as
//! it is: the board then runs from memory. Only an order of the operator destroys data.

use crate::boot::Boot;
use crate::disk::Disk;
use crate::ext4::{self, Superblock};
use crate::keep::Keep;
use crate::mbr::SECTOR;
use crate::phases::boot_partition::Partition as BootPartition;
use crate::phases::mounts;
use crate::privileges::USER;
use crate::system;
use model::status::DataStatus;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::{FsFlags, statvfs};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const PARTITION: u8 = 4;
/// Repairing a large card takes its time; the watchdog is fed meanwhile.
const LIMIT: Duration = Duration::from_secs(15 * 60);
/// The order of the page to empty it.
pub(crate) const ORDER: &str = "factory-reset";
/// The appliance's own directory.
pub(crate) const APPLIANCE: &str = "bramble";
/// Process 1's.
const INIT: &str = "init";
/// Below this, the operator should know.
const LOW: u64 = 16 << 20;
/// So many quick power cycles in a row are an order to start over.
pub(crate) const CYCLES: u8 = 5;

/// How it is opened.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) disk: Disk,
    pub(crate) at: PathBuf,
    /// Empty it, for this reason.
    pub(crate) reset: Option<String>,
    pub(crate) check: PathBuf,
    pub(crate) make: PathBuf,
}

/// A data partition in use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) size: u64,
    pub(crate) free: u64,
    pub(crate) mended: Option<String>,
    pub(crate) problems: Vec<String>,
}

pub(crate) fn run(boot: &mut Boot) {
    let opened = match boot.disk.clone() {
        Some(disk) => {
            look_for_orders(boot, &disk);
            let way = Way {
                disk,
                at: boot.paths.data.clone(),
                reset: boot.reset.clone(),
                check: "/sbin/e2fsck".into(),
                make: "/sbin/mke2fs".into(),
            };
            boot.patiently(LIMIT, move || open(&way))
                .unwrap_or_else(|| Err("The card does not answer.".into()))
        }
        None => Err("There is no readable card.".into()),
    };
    match opened {
        Ok(opened) => {
            boot.facts.data_dir = boot.paths.data.join(APPLIANCE);
            boot.facts.data = Some(DataStatus::Kept {
                size: opened.size,
                free: opened.free,
                mended: opened.mended.clone(),
            });
            for line in opened.mended.iter().chain(&opened.problems) {
                boot.problem(line.clone());
            }
            boot.keep = Keep::open(&boot.paths.data.join(INIT)).ok();
        }
        Err(why) => memory(boot, &why),
    }
}

fn memory(boot: &mut Boot, why: &str) {
    let directory = boot.paths.run.join("data");
    boot.facts.data_dir.clone_from(&directory);
    let reason = format!(
        "{why} Settings live in memory and are lost when the power goes. What is on the card was \
         left as it is; take a backup of what the page shows, then write the image to a new card, \
         or ask for a factory reset."
    );
    boot.problem(format!("The data partition is not in use. {reason}"));
    boot.facts.data = Some(DataStatus::Memory { reason });
    if let Err(error) = mounts::make(&directory, 0o700, USER, USER) {
        boot.problem(format!("{} could not be made ({error}).", directory.display()));
    }
}

/// Orders other than the page's: a file on the boot partition, and quick power cycles. Each is
/// taken away before it is carried out; one that cannot be taken away would come back for ever.
fn look_for_orders(boot: &mut Boot, disk: &Disk) {
    if boot.reset.is_some() {
        let partition = BootPartition::of(disk, &boot.paths.boot);
        let forgotten = boot.patiently(Duration::from_secs(30), move || partition.forget_reset());
        if !matches!(forgotten, Some(Ok(()))) {
            boot.reset = None;
            boot.problem(
                "There is a file `factory-reset` on the boot partition, but it cannot be removed, \
                 so nothing was reset. Remove it in a computer, or write the image again."
                    .to_owned(),
            );
        }
    }
    if !boot.line.cycles {
        return;
    }
    let (state, device) = (std::sync::Arc::clone(&boot.state), disk.device.clone());
    let cycles = boot.patiently(Duration::from_secs(20), move || {
        let cycles = state.quick_cycles(&device)?;
        if cycles >= CYCLES {
            state.set_quick_cycles(&device, 0)?;
        }
        Ok::<_, String>(cycles)
    });
    match cycles {
        Some(Ok(cycles)) if cycles >= CYCLES => {
            boot.reset = Some(format!("the board was switched off and on {cycles} times quickly"));
        }
        Some(Ok(cycles)) if cycles > 1 => boot.console.say(&format!(
            "switched off soon after the start {cycles} times in a row; after {CYCLES} times \
             everything is reset to the factory state"
        )),
        Some(Err(error)) => boot.console.say(&format!("power cycles cannot be counted ({error})")),
        _ => {}
    }
}

/// Makes the partition usable, or says why it is not. May block for long.
pub(crate) fn open(way: &Way) -> Result<Opened, String> {
    let mut opened = Opened::default();
    if let Err(error) = grow_partition(&way.disk) {
        opened.problems.push(format!(
            "The data partition could not be grown to the end of the card ({error}). It works, \
             but is smaller than it could be."
        ));
    }
    let device = way.disk.partition(PARTITION);
    if let Err(why) = check_and_mount(way, &device, &mut opened) {
        remake(way, &device, &why, &mut opened)?;
    }
    finish(way, &device, &mut opened).inspect_err(|_| {
        let _ = umount2(&way.at, MntFlags::MNT_DETACH);
    })?;
    Ok(opened)
}

fn check_and_mount(way: &Way, device: &Path, opened: &mut Opened) -> Result<(), String> {
    let before = superblock(device)
        .map_err(|error| format!("The data partition could not be read ({error})."))?;
    let can_check = way.check.exists();
    match before {
        Some(before) if before.errors && !can_check => opened.problems.push(
            "The data partition has seen errors. It is in use, but make a backup and write the \
             image to a new card soon."
                .into(),
        ),
        Some(before) if before.errors => opened.mended = Some(check(way, device)?),
        Some(_) => {}
        // The tool finds copies of a superblock that was lost; where there is none it does nothing.
        None if can_check => {
            opened.mended = Some(
                check(way, device)
                    .map_err(|_| "The data partition holds no file system any more.".to_owned())?,
            );
        }
        None => return Err("The data partition holds no file system any more.".into()),
    }
    match attach(device, &way.at) {
        Ok(()) => Ok(()),
        Err(error) if can_check && opened.mended.is_none() => {
            opened.mended = Some(check(way, device)?);
            attach(device, &way.at).map_err(|_| {
                format!(
                    "The data partition could not be mounted ({error}), not even after a repair."
                )
            })
        }
        Err(error) => Err(format!("The data partition could not be mounted ({error}).")),
    }
}

/// On the operator's order, and only then, an unusable file system is made anew.
fn remake(way: &Way, device: &Path, why: &str, opened: &mut Opened) -> Result<(), String> {
    let (Some(reason), true) = (&way.reset, way.make.exists()) else { return Err(why.into()) };
    let made = Command::new(&way.make)
        .args(["-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-L", "data"])
        .arg(device)
        .stdin(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        return Err(format!("{why} It could not be made anew either."));
    }
    attach(device, &way.at)
        .map_err(|error| format!("{why} Made anew, it still fails ({error})."))?;
    opened.mended = Some(format!("The data partition was made anew, because {reason}."));
    Ok(())
}

fn finish(way: &Way, device: &Path, opened: &mut Opened) -> Result<(), String> {
    if let Err(error) = grow_file_system(device, &way.at) {
        opened.problems.push(format!(
            "The file system of the data partition could not be grown ({error}). It works, but is \
             smaller than it could be."
        ));
    }
    let unusable = |error: io::Error| format!("The data partition cannot be written to ({error}).");
    let order = way.at.join(ORDER);
    let reason = way
        .reset
        .clone()
        .or_else(|| order.exists().then(|| "it was asked for on the admin page".to_owned()));
    if let Some(reason) = reason {
        empty(&way.at, &order).map_err(unusable)?;
        opened.mended =
            Some(format!("Everything was reset to the factory state, because {reason}."));
    }
    let status = statvfs(&way.at).map_err(|error| unusable(error.into()))?;
    if status.flags().contains(FsFlags::ST_RDONLY) {
        return Err("The data partition became read-only while it was mounted.".into());
    }
    let (size, free) = space(&way.at).map_err(unusable)?;
    (opened.size, opened.free) = (size, free);
    // Directories of a full file system that are there already need no room.
    mounts::make(&way.at.join(APPLIANCE), 0o700, USER, USER).map_err(unusable)?;
    mounts::make(&way.at.join(INIT), 0o700, 0, 0).map_err(unusable)?;
    if free < LOW {
        opened.problems.push(format!(
            "The data partition is full: {} MiB are free. Settings may not be saved. Remove files \
             of sites, or use a larger card.",
            free >> 20
        ));
    }
    Ok(())
}

/// Size and free bytes.
pub(crate) fn space(at: &Path) -> io::Result<(u64, u64)> {
    // The C library's types differ between the boards' 32 bits and others.
    fn wide(value: impl Into<u64>) -> u64 {
        value.into()
    }
    let status = statvfs(at)?;
    let bytes = |blocks: u64| blocks.saturating_mul(wide(status.fragment_size()));
    Ok((bytes(wide(status.blocks())), bytes(wide(status.blocks_available()))))
}

/// The same of a partition that can be written to.
pub(crate) fn space_to_write(at: &Path) -> io::Result<(u64, u64)> {
    if statvfs(at)?.flags().contains(FsFlags::ST_RDONLY) {
        return Err(io::ErrorKind::ReadOnlyFilesystem.into());
    }
    space(at)
}

fn attach(device: &Path, at: &Path) -> io::Result<()> {
    fs::create_dir_all(at)?;
    let flags = MsFlags::MS_NOATIME | MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let options = Some("errors=remount-ro,commit=5");
    Ok(mount(Some(device), at, Some("ext4"), flags, options)?)
}

fn superblock(device: &Path) -> io::Result<Option<Superblock>> {
    let mut bytes = [0; ext4::LENGTH];
    let mut file = File::open(device)?;
    file.seek(SeekFrom::Start(ext4::OFFSET))?;
    file.read_exact(&mut bytes)?;
    Ok(Superblock::parse(&bytes))
}

/// First what can be mended without a loss, then whatever it takes, at last from the copies that
/// a file system of more than 128 MiB keeps of its most important blocks.
fn check(way: &Way, device: &Path) -> Result<String, String> {
    const REPAIRED: &str = "The data partition had errors and was repaired.";
    const DAMAGED: &str = "The data partition was damaged and was repaired; files may be missing. \
                           Look through sites and settings, and replace the card soon.";
    let attempts: [(&[&str], &str); 3] =
        [(&["-p"], REPAIRED), (&["-y"], DAMAGED), (&["-y", "-b", "32768", "-B", "4096"], DAMAGED)];
    for (how, said) in attempts {
        let status = Command::new(&way.check)
            .args(how)
            .arg(device)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        // e2fsck(8): 1 and 2 mean that errors were corrected.
        if status.is_ok_and(|status| status.code().is_some_and(|code| code < 4)) {
            return Ok(said.into());
        }
    }
    Err("The data partition is damaged and could not be repaired.".into())
}

/// A card that was just written holds a small data partition; it gets what is behind it.
fn grow_partition(disk: &Disk) -> io::Result<()> {
    let Some(mut table) = disk.table()? else { return Ok(()) };
    let before = table.partition(PARTITION).map_or(0, |partition| partition.sectors);
    let Some(sectors) = table.grow_last(disk.sectors()?) else { return Ok(()) };
    let start = table.partition(PARTITION).map_or(0, |partition| partition.start);
    let mut file = File::options().read(true).write(true).open(&disk.device)?;
    // The kernel first: a length it refuses must not be in the table.
    let bytes = |sectors: u32| u64::from(sectors) * SECTOR;
    system::resize_partition(&file, PARTITION, bytes(start), bytes(sectors))?;
    file.write_all(table.bytes()).and_then(|()| file.sync_all()).inspect_err(|_| {
        // A file system that grew beyond what the table says could not be mounted next time.
        let _ = system::resize_partition(&file, PARTITION, bytes(start), bytes(before));
    })
}

fn grow_file_system(device: &Path, at: &Path) -> io::Result<()> {
    let Some(found) = superblock(device)? else { return Ok(()) };
    let room = File::open(device)?.seek(SeekFrom::End(0))?;
    // Less than a megabyte is what alignment leaves over.
    if room.saturating_sub(found.size()) < 1 << 20 {
        return Ok(());
    }
    system::resize_ext4(&File::open(at)?, room / u64::from(found.block_size))
}

/// Removes everything; the order last, so that a power cut leaves it standing.
fn empty(at: &Path, order: &Path) -> io::Result<()> {
    File::create(order)?.sync_all()?;
    File::open(at)?.sync_all()?;
    for entry in fs::read_dir(at)? {
        let entry = entry?;
        let path = entry.path();
        if path == order || entry.file_name() == "lost+found" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(&path)?;
        } else {
            fs::remove_file(&path)?;
        }
    }
    File::open(at)?.sync_all()?;
    fs::remove_file(order)?;
    File::open(at)?.sync_all()
}

/// Leaves the order that the next start finds.
pub(crate) fn order_reset(at: &Path) -> io::Result<()> {
    File::create(at.join(ORDER))?.sync_all()?;
    File::open(at)?.sync_all()
}

#[cfg(test)]
#[path = "data_tests.rs"]
mod tests;
