//! Every write a board made to its card, in order, so that a power cut can be played at any of
//! them. Killing QEMU alone loses nothing: what it has written, this machine keeps. A real card
//! that loses its power forgets what it had not been told to keep (a flush), and may have kept
//! some of it all the same.

use crate::card::Card;
use lab::{Doing, Error, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// How the log begins: Linux's dm-log-writes.
const MAGIC: u64 = 0x006a_7366_7773_6872;
const SECTOR: u64 = 512;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// One entry of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    /// Its first sector on the card.
    sector: u64,
    sectors: u64,
    flags: u64,
    /// Where its data are in the log.
    data: u64,
    /// Where the next entry begins.
    end: u64,
}

/// The writes of one run.
#[derive(Debug)]
pub struct Writes {
    log: File,
    entries: Vec<Entry>,
}

impl Writes {
    /// Reads what QEMU has logged.
    ///
    /// # Errors
    /// When it is no such log.
    pub fn read(path: &Path) -> Result<Self> {
        let what = || format!("reading {}", path.display());
        let log = File::open(path).doing(what)?;
        let length = log.metadata().doing(what)?.len();
        let word = |at: u64| -> Result<u64> {
            let mut bytes = [0; 8];
            log.read_exact_at(&mut bytes, at).doing(what)?;
            Ok(u64::from_le_bytes(bytes))
        };
        if word(0)? != MAGIC {
            return Err(Error::other(format!("{} is no log of writes", path.display())));
        }
        let (mut at, mut entries) = (SECTOR, Vec::new());
        // The superblock's number of entries may be old; the file's end is not.
        while at + SECTOR <= length {
            let (sector, sectors, flags) = (word(at)?, word(at + 8)?, word(at + 16)?);
            let data = at + SECTOR;
            let stored = if flags & DISCARD == 0 { sectors * SECTOR } else { 0 };
            let end = data + stored;
            if end > length {
                break;
            }
            entries.push(Entry { sector, sectors, flags, data, end });
            at = end;
        }
        Ok(Self { log, entries })
    }

    /// How many writes and how many flushes there are.
    pub fn count(&self) -> (usize, usize) {
        let flushes = self.entries.iter().filter(|e| e.flags & FLUSH != 0).count();
        (self.entries.iter().filter(|e| e.sectors > 0).count(), flushes)
    }

    /// Where the entry with this number ends, in bytes of the log; the last one's end for more.
    pub fn position(&self, number: usize) -> u64 {
        let entry = self.entries.get(number).or(self.entries.last());
        entry.map_or(0, |e| e.end)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Was nothing written?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The card as it may be when the power goes at this position of the log: with everything
    /// that a flush had made sure of, and of the rest what `kept` says, sector by sector.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn cut(
        &self,
        before: &Card,
        position: u64,
        mut kept: impl FnMut() -> bool,
    ) -> Result<Card> {
        let card = before.duplicate()?;
        let seen: Vec<&Entry> = self.entries.iter().filter(|e| e.end <= position).collect();
        let sure = seen.iter().rposition(|e| e.flags & FLUSH != 0).unwrap_or(0);
        for (number, entry) in seen.into_iter().enumerate() {
            let certain = number < sure || entry.flags & FUA != 0;
            self.apply(entry, &card, || certain || kept())?;
        }
        Ok(card)
    }

    fn apply(&self, entry: &Entry, card: &Card, mut wanted: impl FnMut() -> bool) -> Result<()> {
        for number in 0..entry.sectors {
            if !wanted() {
                continue;
            }
            let mut bytes = [0; 512];
            if entry.flags & DISCARD == 0 {
                let at = entry.data + number * SECTOR;
                self.log.read_exact_at(&mut bytes, at).doing(|| "reading a log".to_owned())?;
            }
            card.write(entry.sector + number, &bytes)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(entries: &[(u64, u64, &[u8])]) -> tempfile::NamedTempFile {
        let mut bytes = MAGIC.to_le_bytes().to_vec();
        bytes.resize(512, 0);
        for (sector, flags, data) in entries {
            let sectors = u64::try_from(data.len()).unwrap() / SECTOR;
            let head = [*sector, sectors, *flags, 0].map(u64::to_le_bytes).concat();
            bytes.extend(head);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
            bytes.extend_from_slice(data);
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn a_flush_makes_sure_of_what_is_before_it() {
        let file = log(&[
            (1, 0, &[1; 512]),
            (2, 0, &[2; 1024]),
            (0, FLUSH, &[]),
            (1, 0, &[9; 512]),
            (4, FUA, &[4; 512]),
        ]);
        let writes = Writes::read(file.path()).unwrap();
        assert_eq!((writes.len(), writes.count()), (5, (4, 1)));
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(8 << 20).unwrap();
        let image = crate::Image::at(image.path()).unwrap();
        let card = Card::new(&image, 8).unwrap();
        let cut = |position, kept: bool| {
            let card = writes.cut(&card, position, || kept).unwrap();
            [1, 2, 3, 4].map(|sector| card.read(sector, 1).unwrap()[511])
        };
        assert_eq!(cut(u64::MAX, false), [1, 2, 2, 4]);
        assert_eq!(cut(u64::MAX, true), [9, 2, 2, 4]);
        assert_eq!(cut(writes.position(2), false), [1, 2, 2, 0]);
        assert_eq!(cut(writes.position(1), false), [0, 0, 0, 0]);
        assert_eq!(cut(writes.position(0), true), [1, 0, 0, 0]);
    }

    #[test]
    fn half_an_entry_is_none_and_noise_is_an_error() {
        let file = log(&[(1, 0, &[1; 512]), (2, 0, &[2; 512])]);
        let length = file.as_file().metadata().unwrap().len();
        file.as_file().set_len(length - 1).unwrap();
        assert_eq!(Writes::read(file.path()).unwrap().len(), 1);
        std::fs::write(file.path(), [7; 2000]).unwrap();
        assert!(Writes::read(file.path()).is_err());
    }
}
