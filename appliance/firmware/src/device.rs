//! A block device, read and written past the page cache.
//!
//! What is read back must come from the card and not from memory, and a boot state must be written
//! as one sector: through the page cache the kernel writes pages, which hold both copies.

use rustix::fs::{Advice, OFlags, fadvise, fcntl_getfl, fcntl_setfl};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// What is read or written at once: cards are fast with large pieces. Tests cut the power after
/// each of them.
pub(crate) const PIECE: usize = if cfg!(test) { 32 * 1024 } else { 1024 * 1024 };
/// Memory for direct access begins at a multiple of this.
const ALIGN: usize = 4096;

/// Where bytes are kept. Offsets and lengths are multiples of a sector.
pub(crate) trait Device {
    fn size(&self) -> io::Result<u64>;
    fn read(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<()>;
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;
    /// Returns when everything written is on the card, and later reads come from there.
    fn sync(&mut self) -> io::Result<()>;
}

/// A device of the kernel, or a file in its place.
#[derive(Debug)]
pub(crate) struct Block {
    file: File,
    buffer: Vec<u8>,
    start: usize,
}

impl Block {
    pub(crate) fn open(path: &Path, write: bool) -> io::Result<Self> {
        let open = |flags: OFlags| {
            let flags = i32::try_from(flags.bits()).unwrap_or_default();
            OpenOptions::new().read(true).write(write).custom_flags(flags).open(path)
        };
        let file = match open(OFlags::DIRECT) {
            // A file system that knows no direct access.
            Err(error) if error.kind() == ErrorKind::InvalidInput => open(OFlags::empty())?,
            file => file?,
        };
        let buffer = vec![0_u8; PIECE + ALIGN];
        let start = buffer.as_ptr().align_offset(ALIGN).min(ALIGN);
        Ok(Self { file, buffer, start })
    }

    /// Runs a transfer; where the device refuses direct access to single sectors (those of 4 KiB
    /// do), it goes through the page cache from then on.
    fn transfer(file: &File, mut transfer: impl FnMut(&File) -> io::Result<()>) -> io::Result<()> {
        match transfer(file) {
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                let flags = fcntl_getfl(file)?;
                if !flags.contains(OFlags::DIRECT) {
                    return Err(error);
                }
                fcntl_setfl(file, flags - OFlags::DIRECT)?;
                transfer(file)
            }
            done => done,
        }
    }
}

impl Device for Block {
    fn size(&self) -> io::Result<u64> {
        (&self.file).seek(SeekFrom::End(0))
    }

    fn read(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut at = at;
        for piece in buffer.chunks_mut(PIECE) {
            let bounce = &mut self.buffer[self.start..self.start + piece.len()];
            Self::transfer(&self.file, |file| file.read_exact_at(bounce, at))?;
            piece.copy_from_slice(bounce);
            at += u64::try_from(piece.len()).unwrap_or_default();
        }
        Ok(())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut at = at;
        for piece in bytes.chunks(PIECE) {
            let bounce = &mut self.buffer[self.start..self.start + piece.len()];
            bounce.copy_from_slice(piece);
            Self::transfer(&self.file, |file| file.write_all_at(bounce, at))?;
            at += u64::try_from(piece.len()).unwrap_or_default();
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        // Clean pages are dropped; with direct access there are none.
        fadvise(&self.file, 0, None, Advice::DontNeed)?;
        Ok(())
    }
}

/// A part of a device as something to read, sectors at a time.
pub(crate) struct Window<'a, D> {
    device: &'a mut D,
    start: u64,
    size: u64,
    at: u64,
}

impl<'a, D: Device> Window<'a, D> {
    pub(crate) fn new(device: &'a mut D, start: u64, size: u64) -> Self {
        Self { device, start, size, at: 0 }
    }
}

impl<D: Device> Read for Window<'_, D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        const SECTOR: u64 = crate::bytes::SECTOR_BYTES;
        let rest = self.size.saturating_sub(self.at);
        let wanted = usize::try_from(rest).unwrap_or(PIECE).min(buffer.len()).min(PIECE);
        if wanted == 0 {
            return Ok(0);
        }
        // Whoever wants less than a sector gets what is left of one.
        let inside = usize::try_from(self.at % SECTOR).unwrap_or_default();
        let from = self.start + (self.at - self.at % SECTOR);
        let read = if inside == 0 && wanted >= crate::SECTOR {
            let whole = wanted - wanted % crate::SECTOR;
            self.device.read(from, &mut buffer[..whole])?;
            whole
        } else {
            let mut sector = [0; crate::SECTOR];
            self.device.read(from, &mut sector)?;
            let count = wanted.min(crate::SECTOR - inside);
            buffer[..count].copy_from_slice(&sector[inside..inside + count]);
            count
        };
        self.at += u64::try_from(read).unwrap_or_default();
        Ok(read)
    }
}

impl<D: Device> Seek for Window<'_, D> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(back) => self.size.saturating_add_signed(back),
            SeekFrom::Current(by) => self.at.saturating_add_signed(by),
        };
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use noise::Noise;

    #[test]
    fn what_is_written_is_read() {
        let mut random = Noise::new(5);
        let mut content = vec![0; 3 * PIECE + 512];
        random.fill(&mut content);
        for directory in [std::env::temp_dir(), std::path::PathBuf::from("/dev/shm")] {
            let file = tempfile::NamedTempFile::new_in(directory).unwrap();
            file.as_file().set_len(u64::try_from(content.len()).unwrap()).unwrap();
            let mut block = Block::open(file.path(), true).unwrap();
            assert_eq!(block.size().unwrap(), u64::try_from(content.len()).unwrap());
            block.write(0, &content[..512]).unwrap();
            block.write(512, &content[512..]).unwrap();
            block.sync().unwrap();
            assert!(std::fs::read(file.path()).unwrap() == content);
            let mut read = vec![0; 2 * PIECE];
            Block::open(file.path(), false).unwrap().read(1024, &mut read).unwrap();
            assert!(read == content[1024..1024 + 2 * PIECE]);
            let mut behind = [0; 512];
            assert!(block.read(u64::try_from(content.len()).unwrap(), &mut behind).is_err());
            assert!(Block::open(file.path(), false).unwrap().write(0, &behind).is_err());
            let mut window = Window::new(&mut block, 512, 5000);
            let mut text = Vec::new();
            window.seek(SeekFrom::Start(7)).unwrap();
            let mut small = [0; 3];
            window.read_exact(&mut small).unwrap();
            assert_eq!(small, content[519..522]);
            window.read_to_end(&mut text).unwrap();
            assert!(text == content[522..5512]);
        }
    }
}
