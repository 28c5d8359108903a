//! Programs of Debian that do a part of the work.

use lab::{Doing, Result, netns};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

/// A command by name, also where `/usr/sbin` is not in the path.
pub(crate) fn tool(name: &str) -> Command {
    let beside = ["/usr/sbin", "/sbin"].map(|dir| PathBuf::from(dir).join(name));
    match beside.into_iter().find(|path| path.exists()) {
        Some(path) => Command::new(path),
        None => Command::new(name),
    }
}

/// Runs it to its end; what it printed.
pub(crate) fn run<I: AsRef<OsStr>>(
    name: &str,
    args: impl IntoIterator<Item = I>,
) -> Result<String> {
    netns::run(tool(name).args(args))
}

/// Runs it to its end; whether it succeeded, and everything it printed.
pub(crate) fn look<I: AsRef<OsStr>>(
    name: &str,
    args: impl IntoIterator<Item = I>,
) -> Result<(i32, String)> {
    let output = tool(name).args(args).output().doing(|| format!("starting {name}"))?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Ok((output.status.code().unwrap_or(-1), text))
}

/// The emulator; `QEMU` names another one.
pub(crate) fn qemu() -> Command {
    let other = std::env::var_os("QEMU").filter(|name| !name.is_empty());
    Command::new(other.unwrap_or_else(|| "qemu-system-arm".into()))
}
