//! Which disk is the card.

use crate::mbr::{Mbr, SECTOR, SIGNATURE};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Disk {
    /// The device of all of it.
    pub(crate) device: PathBuf,
}

impl Disk {
    /// The device of a partition: `sda4`, but `mmcblk0p4`.
    pub(crate) fn partition(&self, number: u8) -> PathBuf {
        let name = self.device.to_string_lossy();
        let between = if name.ends_with(|c: char| c.is_ascii_digit()) { "p" } else { "" };
        PathBuf::from(format!("{name}{between}{number}"))
    }

    /// Its partition table; None when there is none.
    pub(crate) fn table(&self) -> io::Result<Option<Mbr>> {
        let mut sector = [0; 512];
        File::open(&self.device)?.read_exact(&mut sector)?;
        Ok(Mbr::parse(sector))
    }

    pub(crate) fn sectors(&self) -> io::Result<u64> {
        Ok(File::open(&self.device)?.seek(SeekFrom::End(0))? / SECTOR)
    }
}

/// The card among the disks the kernel knows now: by the signature our images carry, or failing
/// that by its partitions.
pub(crate) fn find(names: &[String], devices: &Path) -> Option<Disk> {
    let mut names: Vec<_> = names.iter().filter(|name| is_disk(name)).collect();
    // With two that look alike, say a copy of the card in a USB reader, the one in the slot.
    names.sort_by_key(|name| (!name.starts_with("mmcblk"), (*name).clone()));
    let tables: Vec<_> = names
        .into_iter()
        .map(|name| Disk { device: devices.join(name) })
        .filter_map(|disk| Some((disk.table().ok().flatten()?, disk)))
        .collect();
    let signed = tables.iter().find(|(table, _)| table.signature() == SIGNATURE);
    let shaped = || tables.iter().find(|(table, _)| table.has_our_shape());
    signed.or_else(shaped).map(|(_, disk)| disk.clone())
}

/// The disks of `/sys/block`.
pub(crate) fn names() -> Vec<String> {
    let entries = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn is_disk(name: &str) -> bool {
    // The boot and replay areas of an eMMC are disks of their own to the kernel.
    let area = name.contains("boot") || name.contains("rpmb");
    ["mmcblk", "vd", "sd", "nvme"].iter().any(|kind| name.starts_with(kind)) && !area
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mbr::tests::card;

    const OURS: [(u8, u32, u32); 4] = [
        (0x0c, 8192, 262_144),
        (0xda, 270_336, 131_072),
        (0xda, 401_408, 131_072),
        (0x83, 532_480, 131_072),
    ];

    #[test]
    fn partitions_are_named_as_the_kernel_does() {
        let named = |name: &str| Disk { device: Path::new("/dev").join(name) }.partition(4);
        assert_eq!(named("mmcblk0"), Path::new("/dev/mmcblk0p4"));
        assert_eq!(named("vda"), Path::new("/dev/vda4"));
    }

    #[test]
    fn the_card_is_found_among_others() {
        let directory = tempfile::tempdir().unwrap();
        let put = |name: &str, sector: [u8; 512]| {
            fs::write(directory.path().join(name), sector).unwrap();
        };
        let found = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            find(&names, directory.path())
                .map(|disk| disk.device.file_name().unwrap().to_str().unwrap().to_owned())
        };
        let mut unsigned = card(OURS);
        unsigned[440..444].fill(0);
        put("sda", card([(0x0c, 8192, 100), (0x83, 9000, 5), (0, 0, 0), (0, 0, 0)]));
        put("sdb", unsigned);
        put("vda", card(OURS));
        put("mmcblk0", card(OURS));
        put("loop0", card(OURS));
        put("sdc", [0; 512]);
        let _ = fs::write(directory.path().join("sdd"), "short");
        assert_eq!(found(&["loop0", "sdc", "sdd", "gone"]), None);
        // Somebody's stick that happens to carry our signature has lost already: see below.
        assert_eq!(found(&["sdb", "sdc"]), Some("sdb".into()), "by its shape");
        assert_eq!(found(&["sdb", "vda"]), Some("vda".into()), "by its signature");
        assert_eq!(found(&["vda", "sdb", "mmcblk0"]), Some("mmcblk0".into()), "in the slot");
    }
}
