//! The RAM root as a cpio archive (newc), the same for the same files whoever packs them.

use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER: u32 = 0o020_000;

/// What the kernel needs before devtmpfs is mounted: without a console process 1 starts without
/// standard input and output.
const DEVICES: [(&str, u32, u32, u32); 2] =
    [("dev/console", 0o600, 5, 1), ("dev/null", 0o666, 1, 3)];

struct Entry {
    mode: u32,
    content: Content,
}

enum Content {
    Nothing,
    Device { major: u32, minor: u32 },
    Link { target: Vec<u8> },
    File { path: PathBuf, size: u64, identity: (u64, u64) },
}

/// Names sort by their parts, so that a directory comes right before what is in it.
type Name = Vec<Vec<u8>>;

pub(crate) fn write(root: &Path, time: u32, out: &mut impl Write) -> Result<()> {
    let mut entries = BTreeMap::new();
    collect(root, &Name::new(), &mut entries)?;
    for (name, permissions, major, minor) in DEVICES {
        let name: Name = name.split('/').map(|part| part.as_bytes().to_vec()).collect();
        entries
            .entry(name[..1].to_vec())
            .or_insert(Entry { mode: DIRECTORY | 0o755, content: Content::Nothing });
        let mode = CHARACTER | permissions;
        entries.insert(name, Entry { mode, content: Content::Device { major, minor } });
    }
    let mut archive = Archive { out, time, written: 0 };
    // Of a file with several names the last one carries the bytes, as cpio itself does it.
    let mut names: BTreeMap<(u64, u64), (u32, u32)> = BTreeMap::new();
    for entry in entries.values() {
        if let Content::File { identity, .. } = &entry.content {
            names.entry(*identity).or_insert((0, 0)).0 += 1;
        }
    }
    let mut inodes: BTreeMap<(u64, u64), u32> = BTreeMap::new();
    let mut next = 1_u32;
    for (name, entry) in &entries {
        let name = name.join(&b'/');
        let mut inode = next;
        let mut links = 1;
        let mut last = true;
        match &entry.content {
            Content::File { identity, .. } => {
                inode = *inodes.entry(*identity).or_insert(next);
                if let Some((all, seen)) = names.get_mut(identity) {
                    *seen += 1;
                    (links, last) = (*all, seen == all);
                }
            }
            Content::Nothing => links = 2,
            Content::Device { .. } | Content::Link { .. } => {}
        }
        next += u32::from(inode == next);
        archive
            .entry(&name, entry, inode, links, last)
            .with_context(|| format!("{}", String::from_utf8_lossy(&name)))?;
    }
    archive.end()
}

fn collect(directory: &Path, name: &Name, entries: &mut BTreeMap<Name, Entry>) -> Result<()> {
    let list = fs::read_dir(directory)
        .with_context(|| format!("cannot read the directory {}", directory.display()))?;
    for item in list {
        let item = item.with_context(|| format!("cannot read {}", directory.display()))?;
        let path = item.path();
        let mut name = name.clone();
        name.push(item.file_name().into_vec());
        let entry = read_entry(&path).with_context(|| format!("{}", path.display()))?;
        let below = matches!(entry.content, Content::Nothing);
        entries.insert(name.clone(), entry);
        if below {
            collect(&path, &name, entries)?;
        }
    }
    Ok(())
}

fn read_entry(path: &Path) -> Result<Entry> {
    let meta = fs::symlink_metadata(path)?;
    let permissions = meta.mode() & 0o7777;
    let kind = meta.file_type();
    if kind.is_symlink() {
        let target = fs::read_link(path)?.as_os_str().as_bytes().to_vec();
        return Ok(Entry { mode: SYMLINK | 0o777, content: Content::Link { target } });
    }
    ensure!(permissions & 0o6000 == 0, "is setuid or setgid, which nothing in the image may be");
    if kind.is_dir() {
        return Ok(Entry { mode: DIRECTORY | permissions, content: Content::Nothing });
    }
    if !kind.is_file() {
        bail!("is neither file, directory nor symbolic link");
    }
    let content = Content::File {
        path: path.to_owned(),
        size: meta.len(),
        identity: (meta.dev(), meta.ino()),
    };
    Ok(Entry { mode: REGULAR | permissions, content })
}

struct Archive<'a, W> {
    out: &'a mut W,
    time: u32,
    written: u64,
}

impl<W: Write> Archive<'_, W> {
    fn entry(
        &mut self,
        name: &[u8],
        entry: &Entry,
        ino: u32,
        links: u32,
        last: bool,
    ) -> Result<()> {
        let (size, device) = match &entry.content {
            Content::Nothing => (0, (0, 0)),
            Content::Device { major, minor } => (0, (*major, *minor)),
            Content::Link { target } => (u32::try_from(target.len())?, (0, 0)),
            Content::File { size, .. } if last => {
                (u32::try_from(*size).context("is larger than an archive can hold")?, (0, 0))
            }
            Content::File { .. } => (0, (0, 0)),
        };
        self.header(name, entry.mode, ino, links, size, device)?;
        match &entry.content {
            Content::Link { target } => self.bytes(target)?,
            Content::File { path, size, .. } if last => {
                let mut file = File::open(path)?.take(*size);
                let copied = std::io::copy(&mut file, self.out)?;
                ensure!(copied == *size, "changed while it was packed");
                self.written += copied;
            }
            _ => {}
        }
        self.pad(4)
    }

    fn header(
        &mut self,
        name: &[u8],
        mode: u32,
        ino: u32,
        links: u32,
        size: u32,
        (major, minor): (u32, u32),
    ) -> Result<()> {
        let length = u32::try_from(name.len() + 1)?;
        let mut header = b"070701".to_vec();
        // Owner and group are root's; the device a file was packed from is nobody's business.
        for field in [ino, mode, 0, 0, links, self.time, size, 0, 0, major, minor, length, 0] {
            header.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        header.extend_from_slice(name);
        header.push(0);
        self.bytes(&header)?;
        self.pad(4)
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes)?;
        self.written += u64::try_from(bytes.len())?;
        Ok(())
    }

    fn pad(&mut self, to: u64) -> Result<()> {
        let missing = usize::try_from(self.written.next_multiple_of(to) - self.written)?;
        self.bytes(&vec![0; missing])
    }

    fn end(&mut self) -> Result<()> {
        self.time = 0;
        self.header(b"TRAILER!!!", 0, 0, 1, 0, (0, 0))?;
        self.pad(512)
    }
}

#[cfg(test)]
#[path = "cpio_tests.rs"]
mod tests;
