//! A slot: kernel and root of one firmware, raw in a partition of its own.
//!
//! ```text
//!   0  "BRSL"      4  format, 1
//!   8  kernel: first sector, sectors, bytes, CRC-32
//!  24  root: the same
//!  40  version, padded with NUL      72  built, seconds since 1970 (u64)
//! 508  CRC-32 of bytes 0..508
//! ```
//! Little-endian; sectors of 512 bytes counted from the slot's beginning. The header is what is
//! written last, so that a slot with a header has been written to its end.

use crate::bytes::{SECTOR, SECTOR_BYTES, put, u32_at, u64_at};
use crate::crc::Crc32;
use crate::error::SlotFault;
use std::io::{Read, Seek, SeekFrom};

/// No slot is larger: the size of the partitions.
pub const MAX_SLOT: u64 = 64 * 1024 * 1024;
/// U-Boot reads the root to 24 MiB above the kernel (`image/boot/boot.cmd`).
pub const MAX_KERNEL: u64 = 24 * 1024 * 1024;
/// Bytes of a version.
pub const MAX_VERSION: usize = 32;

const MAGIC: &[u8; 4] = b"BRSL";
const FORMAT: u32 = 1;
const SUMMED: usize = 508;

/// One part of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its first sector, counted from the slot's beginning.
    pub first: u32,
    /// Sectors it occupies.
    pub sectors: u32,
    /// Its length in bytes.
    pub bytes: u32,
    /// CRC-32 of these bytes.
    pub crc: u32,
}

impl Part {
    fn decode(sector: &[u8; SECTOR], at: usize) -> Self {
        let word = |n: usize| u32_at(sector, at + 4 * n);
        Self { first: word(0), sectors: word(1), bytes: word(2), crc: word(3) }
    }

    fn encode(&self, sector: &mut [u8; SECTOR], at: usize) {
        for (n, word) in [self.first, self.sectors, self.bytes, self.crc].iter().enumerate() {
            put(sector, at + 4 * n, &word.to_le_bytes());
        }
    }

    fn end(&self) -> u64 {
        u64::from(self.first) + u64::from(self.sectors)
    }

    fn fits(&self, size: u64) -> bool {
        self.first >= 1
            && self.bytes > 0
            && u64::from(self.bytes).div_ceil(SECTOR_BYTES) == u64::from(self.sectors)
            && self.end() * SECTOR_BYTES <= size
    }
}

/// What is in a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The kernel.
    pub kernel: Part,
    /// Its RAM root.
    pub initrd: Part,
    /// The firmware's version.
    pub version: String,
    /// When it was built, in seconds since 1970.
    pub built_unix: u64,
}

impl Header {
    /// The first sector of the slot. None when the version is not one.
    #[must_use]
    pub fn encode(&self) -> Option<[u8; SECTOR]> {
        if !is_version(&self.version) {
            return None;
        }
        let mut sector = [0; SECTOR];
        put(&mut sector, 0, MAGIC);
        put(&mut sector, 4, &FORMAT.to_le_bytes());
        self.kernel.encode(&mut sector, 8);
        self.initrd.encode(&mut sector, 24);
        put(&mut sector, 40, self.version.as_bytes());
        put(&mut sector, 72, &self.built_unix.to_le_bytes());
        let sum = Crc32::of(&sector[..SUMMED]);
        put(&mut sector, SUMMED, &sum.to_le_bytes());
        Some(sector)
    }

    /// Reads the first sector of a slot of that size in bytes.
    ///
    /// # Errors
    /// There is none, or what it says cannot be.
    pub fn decode(sector: &[u8; SECTOR], size: u64) -> Result<Self, SlotFault> {
        if &sector[..4] != MAGIC {
            return Err(SlotFault::Empty);
        }
        if u32_at(sector, SUMMED) != Crc32::of(&sector[..SUMMED]) {
            return Err(SlotFault::Header);
        }
        let format = u32_at(sector, 4);
        if format != FORMAT {
            return Err(SlotFault::Format(format));
        }
        let text = &sector[40..40 + MAX_VERSION];
        let length = text.iter().position(|b| *b == 0).unwrap_or(MAX_VERSION);
        let version = std::str::from_utf8(&text[..length]).map_err(|_| SlotFault::Header)?;
        let header = Self {
            kernel: Part::decode(sector, 8),
            initrd: Part::decode(sector, 24),
            version: version.to_owned(),
            built_unix: u64_at(sector, 72),
        };
        if !is_version(&header.version) {
            return Err(SlotFault::Header);
        }
        if header.laid_out_within(size) { Ok(header) } else { Err(SlotFault::Layout) }
    }

    fn laid_out_within(&self, size: u64) -> bool {
        let (kernel, initrd) = (&self.kernel, &self.initrd);
        let size = size.min(MAX_SLOT);
        kernel.fits(size)
            && initrd.fits(size)
            && u64::from(kernel.bytes) <= MAX_KERNEL
            && (kernel.end() <= u64::from(initrd.first) || initrd.end() <= u64::from(kernel.first))
    }
}

/// A version is shown, compared and printed by U-Boot: plain characters only.
#[must_use]
pub fn is_version(text: &str) -> bool {
    (1..=MAX_VERSION).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Reads the header alone, which tells what is in the slot and that it was written to its end.
///
/// # Errors
/// Nothing can be started from it.
pub fn header<R: Read + Seek>(slot: &mut R) -> Result<Header, SlotFault> {
    let size = slot.seek(SeekFrom::End(0)).map_err(|_| SlotFault::Unreadable)?;
    let mut sector = [0; SECTOR];
    slot.rewind().map_err(|_| SlotFault::Unreadable)?;
    match slot.read_exact(&mut sector) {
        Ok(()) => Header::decode(&sector, size),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(SlotFault::Empty),
        Err(_) => Err(SlotFault::Unreadable),
    }
}

/// Reads all of it, as U-Boot does before it starts it.
///
/// # Errors
/// It cannot be started.
pub fn check<R: Read + Seek>(slot: &mut R) -> Result<Header, SlotFault> {
    let header = header(slot)?;
    for (part, fault) in [(&header.kernel, SlotFault::Kernel), (&header.initrd, SlotFault::Initrd)]
    {
        let sum = sum(slot, part).map_err(|_| SlotFault::Unreadable)?;
        if sum != part.crc {
            return Err(fault);
        }
    }
    Ok(header)
}

fn sum<R: Read + Seek>(slot: &mut R, part: &Part) -> std::io::Result<u32> {
    slot.seek(SeekFrom::Start(u64::from(part.first) * SECTOR_BYTES))?;
    let mut rest = slot.take(u64::from(part.bytes));
    let mut buffer = vec![0; 64 * 1024];
    let mut crc = Crc32::default();
    loop {
        match rest.read(&mut buffer) {
            Ok(0) => return Ok(crc.finish()),
            Ok(n) => crc.update(&buffer[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Puts a slot together. None when it becomes larger than a slot may be, a part is empty or the
/// version is not one.
#[must_use]
pub fn compose(kernel: &[u8], initrd: &[u8], version: &str, built_unix: u64) -> Option<Vec<u8>> {
    // Parts begin at 4 KiB, in which cards are fast.
    const ALIGN: usize = 4096;
    let mut image = vec![0; ALIGN];
    let mut add = |bytes: &[u8]| -> Option<Part> {
        let first = u32::try_from(image.len() / SECTOR).ok()?;
        image.extend_from_slice(bytes);
        image.resize(image.len().next_multiple_of(ALIGN), 0);
        Some(Part {
            first,
            sectors: u32::try_from(bytes.len().div_ceil(SECTOR)).ok()?,
            bytes: u32::try_from(bytes.len()).ok()?,
            crc: Crc32::of(bytes),
        })
    };
    let (kernel, initrd) = (add(kernel)?, add(initrd)?);
    let header = Header { kernel, initrd, version: version.to_owned(), built_unix };
    if !header.laid_out_within(u64::try_from(image.len()).ok()?) {
        return None;
    }
    image[..SECTOR].copy_from_slice(&header.encode()?);
    Some(image)
}

#[cfg(test)]
mod tests {
    use super::*;
    use noise::Noise;
    use std::io::Cursor;

    fn image() -> Vec<u8> {
        compose(&[0x11; 5000], &[0x22; 9001], "0.1.0", 1_700_000_000).unwrap()
    }

    #[test]
    fn fields_are_where_the_boot_script_looks() {
        let image = image();
        assert_eq!(image.len(), 4096 + 8192 + 12288);
        assert_eq!(&image[..8], b"BRSL\x01\0\0\0");
        assert_eq!(image[8..20], [8, 0, 0, 0, 10, 0, 0, 0, 0x88, 0x13, 0, 0]);
        assert_eq!(image[20..24], Crc32::of(&[0x11; 5000]).to_le_bytes());
        assert_eq!(image[24..36], [24, 0, 0, 0, 18, 0, 0, 0, 0x29, 0x23, 0, 0]);
        assert_eq!(&image[40..46], b"0.1.0\0");
        assert_eq!(image[72..80], 1_700_000_000_u64.to_le_bytes());
        assert!(image[80..508].iter().all(|b| *b == 0));
        assert_eq!(image[508..512], Crc32::of(&image[..508]).to_le_bytes());
        assert_eq!(&image[24 * 512..24 * 512 + 9001], [0x22; 9001]);
    }

    #[test]
    fn what_was_composed_is_whole() {
        let header = check(&mut Cursor::new(image())).unwrap();
        assert_eq!((header.version.as_str(), header.built_unix), ("0.1.0", 1_700_000_000));
        // In a partition there is more behind it.
        let mut partition = image();
        partition.resize(1 << 20, 0xff);
        assert_eq!(check(&mut Cursor::new(partition)).unwrap(), header);
    }

    #[test]
    fn each_damage_has_its_name() {
        let fault = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut image = image();
            change(&mut image);
            check(&mut Cursor::new(image)).unwrap_err()
        };
        let resum = |image: &mut Vec<u8>| {
            let sum = Crc32::of(&image[..508]).to_le_bytes();
            image[508..512].copy_from_slice(&sum);
        };
        assert_eq!(fault(&|i| i.clear()), SlotFault::Empty);
        assert_eq!(fault(&|i| i.truncate(511)), SlotFault::Empty);
        assert_eq!(fault(&|i| i[0] = 0), SlotFault::Empty);
        assert_eq!(fault(&|i| i[100] = 1), SlotFault::Header);
        assert_eq!(fault(&|i| i[8 * 512 + 4999] ^= 1), SlotFault::Kernel);
        assert_eq!(fault(&|i| i[24 * 512 + 9000] ^= 1), SlotFault::Initrd);
        assert_eq!(fault(&|i| i.truncate(24 * 512 + 512)), SlotFault::Layout);
        let with = |at: usize, byte: u8| {
            fault(&|i| {
                i[at] = byte;
                resum(i);
            })
        };
        assert_eq!(with(4, 2), SlotFault::Format(2));
        assert_eq!(with(8, 0), SlotFault::Layout); // the kernel in the header's place
        assert_eq!(with(8, 15), SlotFault::Layout); // over the root
        assert_eq!(with(12, 9), SlotFault::Layout); // fewer sectors than bytes
        assert_eq!(with(27, 0xff), SlotFault::Layout); // far behind the end
        assert_eq!(with(31, 0xff), SlotFault::Layout);
        assert_eq!(with(40, b' '), SlotFault::Header);
        assert_eq!(with(40, 0), SlotFault::Header);
        assert_eq!(with(40, 0xc3), SlotFault::Header);
    }

    #[test]
    fn what_cannot_be_is_not_composed() {
        assert!(compose(&[], &[1], "1", 0).is_none());
        assert!(compose(&[1], &[], "1", 0).is_none());
        assert!(compose(&[1], &[1], "", 0).is_none());
        assert!(compose(&[1], &[1], "with space", 0).is_none());
        assert!(compose(&[1], &[1], &"1".repeat(33), 0).is_none());
        assert!(compose(&[1], &[1], &"1".repeat(32), 0).is_some());
        assert!(compose(&vec![1; (24 << 20) + 1], &[1], "1", 0).is_none());
        assert!(compose(&[1], &vec![1; 64 << 20], "1", 0).is_none());
    }

    #[test]
    fn random_bytes_are_refused_or_understood() {
        let mut random = Noise::new(2);
        let good = image();
        for round in 0..3_000 {
            let mut image = good.clone();
            if round % 2 == 0 {
                random.fill(&mut image[4..512]);
            } else {
                let at = 4 + random.below(504);
                random.fill(&mut image[at..512]);
            }
            let sum = Crc32::of(&image[..508]).to_le_bytes();
            image[508..512].copy_from_slice(&sum);
            // Whatever it says: no panic, nothing read outside, and what is accepted is whole.
            if let Ok(header) = check(&mut Cursor::new(&image)) {
                assert!(header.laid_out_within(u64::try_from(image.len()).unwrap()));
            }
        }
    }
}
