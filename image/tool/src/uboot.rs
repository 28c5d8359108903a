//! Files that U-Boot reads.

use anyhow::{Result, ensure};
use firmware::Crc32;

/// An environment of that size: CRC-32 of the rest, `NAME=VALUE` strings each with a NUL, and one
/// more NUL.
pub(crate) fn environment(size: usize, variables: &[String]) -> Result<Vec<u8>> {
    let mut names = Vec::new();
    let mut strings = Vec::new();
    for variable in variables {
        let name = variable.split_once('=').map(|(name, _)| name).unwrap_or_default();
        ensure!(!name.is_empty(), "\"{variable}\" is not NAME=VALUE");
        ensure!(!variable.contains('\0'), "{name} contains a NUL");
        ensure!(!names.contains(&name), "{name} is there twice");
        names.push(name);
        strings.extend_from_slice(variable.as_bytes());
        strings.push(0);
    }
    strings.push(0);
    let room = size.saturating_sub(4);
    ensure!(
        strings.len() <= room,
        "the variables take {} bytes and an environment of {size} has room for {room}",
        strings.len()
    );
    strings.resize(room, 0);
    let mut blob = Crc32::of(&strings).to_le_bytes().to_vec();
    blob.append(&mut strings);
    Ok(blob)
}

/// A script as a legacy image, as `mkimage -A arm -O linux -T script -C none` makes it.
pub(crate) fn script(text: &[u8]) -> Result<Vec<u8>> {
    const MAGIC: u32 = 0x2705_1956;
    const LINUX_ARM_SCRIPT_PLAIN: [u8; 4] = [5, 2, 6, 0];
    ensure!(!text.is_empty(), "there is nothing in it");
    ensure!(!text.contains(&0), "a NUL in it would end the script there");
    // A list of lengths, ended by zero, then the one text.
    let mut data = u32::try_from(text.len())?.to_be_bytes().to_vec();
    data.extend_from_slice(&[0; 4]);
    data.extend_from_slice(text);
    let length = u32::try_from(data.len())?;
    let header = |sum: u32| {
        let mut header = Vec::with_capacity(64 + data.len());
        // Time, load address and entry point mean nothing to a script.
        for word in [MAGIC, sum, 0, length, 0, 0, Crc32::of(&data)] {
            header.extend_from_slice(&word.to_be_bytes());
        }
        header.extend_from_slice(&LINUX_ARM_SCRIPT_PLAIN);
        header.extend_from_slice(b"boot script");
        header.resize(64, 0);
        header
    };
    let mut image = header(Crc32::of(&header(0)));
    image.append(&mut data);
    Ok(image)
}

#[cfg(test)]
#[path = "uboot_tests.rs"]
mod tests;
