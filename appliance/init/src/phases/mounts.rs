//! The file systems of the kernel and of memory.

use crate::error::Problem;
use crate::keep;
use crate::paths::Paths;
use crate::privileges::USER;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown, symlink};
use std::path::Path;

/// Mounts all of them. Returns what did not work.
pub(crate) fn run(paths: &Paths) -> Vec<Problem> {
    let mut problems = Vec::new();
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let plain = safe | MsFlags::MS_NODEV;
    for (kind, path, flags, options) in [
        ("devtmpfs", "/dev", safe, "mode=0755"),
        ("proc", "/proc", plain, ""),
        ("sysfs", "/sys", plain, ""),
        ("tmpfs", "/run", plain, "mode=0755"),
        // Not larger: memory that is full is a board that is down.
        ("tmpfs", "/tmp", plain, "mode=1777,size=64m"),
        ("devpts", "/dev/pts", safe, "mode=0620,ptmxmode=0666"),
        ("pstore", "/sys/fs/pstore", plain, ""),
    ] {
        // pstore has no directory of its own where the kernel has no pstore.
        if kind == "pstore" && !Path::new(path).exists() {
            continue;
        }
        let _ = fs::create_dir_all(path);
        match mount(Some(kind), path, Some(kind), flags, Some(options)) {
            // EBUSY: the kernel has mounted it itself.
            Ok(()) | Err(Errno::EBUSY) => {}
            Err(error) => problems.push(Problem::new(format_args!(
                "{path} could not be mounted ({error}). Parts of this board will not work; the \
                 firmware may be damaged. Write the image to the card again."
            ))),
        }
    }
    if let Err(error) = directories(paths) {
        problems.push(Problem::new(format_args!(
            "The directories in memory could not be made ({error}). Restart the board."
        )));
    }
    // For programs and for drivers that ask the kernel for a module.
    let _ = symlink("/proc/self/fd", "/dev/fd");
    if fs::create_dir_all("/sbin").is_ok() {
        let _ = symlink("/init", "/sbin/modprobe");
    }
    problems
}

fn directories(paths: &Paths) -> io::Result<()> {
    make(&paths.run, 0o700, USER, USER)?;
    make(&paths.uploads, 0o700, USER, USER)?;
    make(&paths.radio, 0o750, 0, USER)?;
    // The target of /etc/resolv.conf must be there before the first look-up.
    keep::replace(&paths.run.join("resolv.conf"), b"", 0o644, Some(USER))
}

/// A directory with exactly this mode and owner.
pub(crate) fn make(path: &Path, mode: u32, user: u32, group: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    chown(path, Some(user), Some(group))
}
