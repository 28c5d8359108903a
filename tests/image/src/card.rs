//! A copy of the image as a card of some size, to boot from, to look into and to damage.

use crate::image::Image;
use crate::state::{BootState, Slot};
use crate::tools::{look, run};
use lab::{Doing, Error, Result};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const SECTOR: u64 = 512;
const MIB: u64 = 1024 * 1024;
/// Where the table of partitions lies in the first sector.
const TABLE: usize = 446;

/// One of the four partitions, in sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its first sector.
    pub start: u64,
    /// How many it has.
    pub sectors: u64,
}

/// A card. The file is sparse, so its size costs nothing; it goes when the value is dropped.
#[derive(Debug)]
pub struct Card {
    path: PathBuf,
    dir: TempDir,
}

impl Card {
    /// A copy of the image on a card of `mib` MiB, which must be a power of two as QEMU's card
    /// reader wants it.
    ///
    /// # Errors
    /// When it does not fit or cannot be written.
    pub fn new(image: &Image, mib: u64) -> Result<Self> {
        if !mib.is_power_of_two() {
            return Err(Error::other(format!("no card has {mib} MiB")));
        }
        let card = Self::copied(image.img())?;
        let file = card.open()?;
        let length = file.metadata().doing(|| "reading the card's size".to_owned())?.len();
        if length > mib * MIB {
            return Err(Error::other(format!("an image of {length} bytes on {mib} MiB")));
        }
        file.set_len(mib * MIB).doing(|| "making the card larger".to_owned())?;
        Ok(card)
    }

    /// Another card with the same content.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn duplicate(&self) -> Result<Self> {
        Self::copied(&self.path)
    }

    fn copied(from: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("bramble-card-").tempdir();
        let dir = dir.doing(|| "making a directory for a card".to_owned())?;
        let path = dir.path().join("card.img");
        // cp finds the holes of a sparse file and keeps them.
        let args: [OsString; 4] =
            ["--sparse=always".into(), "--reflink=auto".into(), from.into(), path.clone().into()];
        run("cp", args)?;
        Ok(Self { path, dir })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A directory that goes with the card.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn open(&self) -> Result<File> {
        let file = OpenOptions::new().read(true).write(true).open(&self.path);
        file.doing(|| format!("opening {}", self.path.display()))
    }

    /// Reads `count` sectors.
    ///
    /// # Errors
    /// When they are not there.
    pub fn read(&self, sector: u64, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count * 512];
        let read = self.open()?.read_exact_at(&mut bytes, sector * SECTOR);
        read.doing(|| format!("reading sector {sector}"))?;
        Ok(bytes)
    }

    /// Writes bytes from the beginning of a sector on.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn write(&self, sector: u64, bytes: &[u8]) -> Result<()> {
        let written = self.open()?.write_all_at(bytes, sector * SECTOR);
        written.doing(|| format!("writing sector {sector}"))
    }

    /// Flips one bit of a byte of a partition.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn flip(&self, number: usize, byte: u64) -> Result<()> {
        let at = self.partition(number)?.start * SECTOR + byte;
        let (file, mut one) = (self.open()?, [0_u8]);
        file.read_exact_at(&mut one, at).doing(|| format!("reading byte {at}"))?;
        one[0] ^= 0x10;
        file.write_all_at(&one, at).doing(|| format!("writing byte {at}"))
    }

    /// Partition 1 to 4 of the table.
    ///
    /// # Errors
    /// When there is no such partition.
    pub fn partition(&self, number: usize) -> Result<Partition> {
        let sector = self.read(0, 1)?;
        parse_partition(&sector, number)
            .ok_or_else(|| Error::other(format!("the card has no partition {number}")))
    }

    /// How the boot state counts, as U-Boot reads it; None: neither copy is valid.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn boot_state(&self) -> Result<Option<BootState>> {
        self.read(64, 2).map(|sectors| BootState::newest(&sectors))
    }

    /// Writes both copies of the boot state anew.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn set_boot_state(&self, state: &BootState) -> Result<()> {
        self.write(64, &[state.sector(), state.sector()].concat())
    }

    /// The header of a slot; None: there is no valid one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn slot(&self, name: char) -> Result<Option<Slot>> {
        let partition = self.partition(if name == 'b' { 3 } else { 2 })?;
        self.read(partition.start, 1).map(|sector| Slot::parse(&sector))
    }

    fn fat(&self) -> Result<OsString> {
        let mut name = self.path.clone().into_os_string();
        name.push(format!("@@{}", self.partition(1)?.start * SECTOR));
        Ok(name)
    }

    /// A file of the boot partition; None: there is none.
    ///
    /// # Errors
    /// When the partition cannot be read.
    pub fn boot_file(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let to = self.dir.path().join("out");
        let args: [OsString; 5] =
            ["-n".into(), "-i".into(), self.fat()?, format!("::/{name}").into(), to.clone().into()];
        let (code, text) = look("mcopy", args)?;
        if code != 0 {
            let missing = text.contains("not found");
            return if missing { Ok(None) } else { Err(Error::other(text)) };
        }
        let bytes = std::fs::read(&to).doing(|| format!("reading {}", to.display()))?;
        std::fs::remove_file(&to).doing(|| format!("removing {}", to.display()))?;
        Ok(Some(bytes))
    }

    /// Puts a file on the boot partition.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn put_boot_file(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let from = self.dir.path().join("in");
        std::fs::write(&from, bytes).doing(|| format!("writing {}", from.display()))?;
        let args: [OsString; 5] =
            ["-o".into(), "-i".into(), self.fat()?, from.into(), format!("::/{name}").into()];
        run("mcopy", args).map(drop)
    }

    /// The names on the boot partition.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn boot_files(&self) -> Result<Vec<String>> {
        let args: [OsString; 4] = ["-b".into(), "-i".into(), self.fat()?, "::/".into()];
        let text = run("mdir", args)?;
        Ok(text.lines().map(|line| line.trim_start_matches("::/").to_owned()).collect())
    }

    /// Words for U-Boot's script to put behind the kernel's command line.
    ///
    /// # Errors
    /// As [`Self::put_boot_file`].
    pub fn extra_args(&self, words: &str) -> Result<()> {
        self.put_boot_file("emulator.txt", format!("extra_args={words}\n").as_bytes())
    }

    fn data(&self) -> Result<OsString> {
        let mut name = self.path.clone().into_os_string();
        name.push(format!("?offset={}", self.partition(4)?.start * SECTOR));
        Ok(name)
    }

    /// What `e2fsck` finds wrong with the data partition after its journal was replayed, as
    /// mounting does it; None: nothing.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn check_data(&self) -> Result<Option<String>> {
        let copy = self.duplicate()?;
        let name = copy.data()?;
        // RECOVER among the incompatible features: there is a journal to replay. Without it even
        // this would mend a little.
        let superblock = self.read(self.partition(4)?.start + 2, 1)?;
        if superblock.get(0x60).is_some_and(|features| features & 4 != 0) {
            look("e2fsck", ["-p".into(), "-E".into(), "journal_only".into(), name.clone()])?;
        }
        let (code, text) = look("e2fsck", ["-f".into(), "-n".into(), name])?;
        Ok(if code == 0 { None } else { Some(text) })
    }

    /// One command of `debugfs` on the data partition; what it printed.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn debugfs(&self, command: &str) -> Result<String> {
        let args: [OsString; 4] = ["-w".into(), "-R".into(), command.into(), self.data()?];
        look("debugfs", args).map(|(_, text)| text)
    }

    /// A file of the data partition; None: there is none.
    ///
    /// # Errors
    /// When the partition cannot be read.
    pub fn data_file(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let to = self.dir.path().join("dump");
        let text = self.debugfs(&format!("dump {path} {}", to.display()))?;
        match std::fs::read(&to) {
            Ok(bytes) => {
                std::fs::remove_file(&to).doing(|| format!("removing {}", to.display()))?;
                let missing = text.contains("File not found");
                Ok((!missing).then_some(bytes))
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).doing(|| format!("reading {}", to.display())),
        }
    }

    /// The size of the file system on the data partition, in bytes.
    ///
    /// # Errors
    /// When there is none.
    pub fn data_size(&self) -> Result<u64> {
        let superblock = self.read(self.partition(4)?.start + 2, 2)?;
        let number = |at: usize| {
            superblock.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
        };
        if superblock.get(0x38..0x3a) != Some(&[0x53, 0xef]) {
            return Err(Error::other("there is no ext4 on the data partition"));
        }
        Ok(u64::from(number(4)) * (1024 << number(0x18)))
    }
}

fn parse_partition(sector: &[u8], number: usize) -> Option<Partition> {
    let at = TABLE + 16 * number.checked_sub(1)?;
    if number > 4 || sector.get(510..512)? != [0x55, 0xaa] {
        return None;
    }
    let entry = sector.get(at..at + 16)?;
    let word = |at: usize| entry.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let found = Partition { start: word(8)?.into(), sectors: word(12)?.into() };
    (found.sectors > 0).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_table_of_partitions() {
        let mut sector = vec![0; 512];
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        sector[446 + 16 + 8..446 + 16 + 16].copy_from_slice(&[0, 32, 0, 0, 1, 0, 2, 0]);
        let second = parse_partition(&sector, 2);
        assert_eq!(second, Some(Partition { start: 8192, sectors: 131_073 }));
        for none in [0, 1, 3, 4, 5] {
            assert_eq!(parse_partition(&sector, none), None, "{none}");
        }
        sector[511] = 0;
        assert_eq!(parse_partition(&sector, 2), None);
    }
}
