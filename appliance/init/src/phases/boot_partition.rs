//! The FAT partition that any computer can write: read once at the start, and mounted again only
//! while its settings file is replaced.

use crate::boot::Boot;
use crate::channel::MAX_BOOT_FILE;
use crate::keep;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

const PARTITION: u8 = 1;
const SETTINGS: &str = "bramble.toml";
/// The order to empty the data partition. Windows hides the ending it adds.
const RESET: [&str; 2] = ["factory-reset", "factory-reset.txt"];
/// The order to let the admin password be chosen anew; everything else stays.
const NEW_PASSWORD: [&str; 2] = ["reset-admin", "reset-admin.txt"];
const LIMIT: Duration = Duration::from_secs(30);

/// What was on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Found {
    settings: Option<String>,
    problem: Option<String>,
    reset: bool,
    new_password: bool,
}

pub(crate) fn run(boot: &mut Boot) {
    let Some(disk) = &boot.disk else { return };
    let partition = Partition { device: disk.partition(PARTITION), at: boot.paths.boot.clone() };
    let again = partition.clone();
    let found = boot.patiently(LIMIT, move || partition.look());
    let found = found.unwrap_or_else(|| Err(io::Error::other("it does not answer")));
    match found {
        Ok(found) => {
            boot.facts.boot_file = found.settings;
            if let Some(problem) = found.problem {
                boot.problem(problem);
            }
            if found.reset {
                boot.reset = Some("the file `factory-reset` was on the boot partition".into());
            }
            if found.new_password {
                // Taken away before it is carried out: it counts once.
                let gone = boot.patiently(LIMIT, move || again.forget(&NEW_PASSWORD));
                boot.facts.new_password = matches!(gone, Some(Ok(())));
                if !boot.facts.new_password {
                    boot.problem(
                        "There is a file `reset-admin` on the boot partition, but it cannot be \
                         removed, so the password stays as it is. Remove it in a computer, or use \
                         another card."
                            .to_owned(),
                    );
                }
            }
        }
        Err(error) => boot.problem(format!(
            "The boot partition could not be read ({error}): a settings file on it is not used. \
             Check the card in a computer."
        )),
    }
}

/// The partition.
#[derive(Clone, Debug)]
pub(crate) struct Partition {
    pub(crate) device: PathBuf,
    pub(crate) at: PathBuf,
}

impl Partition {
    pub(crate) fn of(disk: &crate::disk::Disk, at: &Path) -> Self {
        Self { device: disk.partition(PARTITION), at: at.into() }
    }

    fn look(&self) -> io::Result<Found> {
        self.mounted(MsFlags::MS_RDONLY, || {
            let (settings, problem) = match settings(&self.at) {
                Ok(settings) => (settings, None),
                Err(error) => (
                    None,
                    Some(format!(
                        "The settings file `{SETTINGS}` on the boot partition is not used: {error}."
                    )),
                ),
            };
            let there = |names: [&str; 2]| names.iter().any(|name| self.at.join(name).exists());
            let (reset, new_password) = (there(RESET), there(NEW_PASSWORD));
            Ok(Found { settings, problem, reset, new_password })
        })
    }

    /// Replaces the settings file.
    pub(crate) fn rewrite(&self, text: &str) -> io::Result<()> {
        self.mounted(MsFlags::empty(), || {
            keep::replace(&self.at.join(SETTINGS), text.as_bytes(), 0o600, None)?;
            File::open(&self.at)?.sync_all()
        })
    }

    /// Leaves the order that the next start finds.
    pub(crate) fn order_reset(&self) -> io::Result<()> {
        self.mounted(MsFlags::empty(), || {
            File::create(self.at.join(RESET[0]))?.sync_all()?;
            File::open(&self.at)?.sync_all()
        })
    }

    /// Takes the order to empty the data partition away; it counts once.
    pub(crate) fn forget_reset(&self) -> io::Result<()> {
        self.forget(&RESET)
    }

    fn forget(&self, names: &[&str]) -> io::Result<()> {
        self.mounted(MsFlags::empty(), || remove(&self.at, names))
    }

    fn mounted<T>(&self, flags: MsFlags, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        fs::create_dir_all(&self.at)?;
        let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        // What is on it are secrets until they are replaced by their hashes.
        let options = Some("umask=0077,errors=remount-ro");
        mount(Some(&self.device), &self.at, Some("vfat"), flags | safe, options)?;
        let result = act();
        umount2(&self.at, MntFlags::empty())
            .or_else(|_| umount2(&self.at, MntFlags::MNT_DETACH))?;
        result
    }
}

/// Removes those of these files that are there, for good.
fn remove(directory: &Path, names: &[&str]) -> io::Result<()> {
    for name in names {
        match fs::remove_file(directory.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    File::open(directory)?.sync_all()
}

fn settings(directory: &Path) -> io::Result<Option<String>> {
    let file = match File::open(directory.join(SETTINGS)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let limit = u64::try_from(MAX_BOOT_FILE).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_BOOT_FILE {
        return Err(io::Error::other(format!("it is longer than {} KiB", MAX_BOOT_FILE / 1024)));
    }
    // Editors on Windows like to begin a file with this.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").map_or(bytes.clone(), <[u8]>::to_vec);
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_| io::Error::other("it is not text in UTF-8; save it as UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_taken_away_whatever_their_ending() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        for name in ["reset-admin.txt", "factory-reset", "bramble.toml"] {
            fs::write(at.join(name), "any content").unwrap();
        }
        remove(at, &NEW_PASSWORD).unwrap();
        assert!(!at.join("reset-admin.txt").exists() && at.join("factory-reset").exists());
        remove(at, &NEW_PASSWORD).unwrap();
        remove(at, &RESET).unwrap();
        let left: Vec<_> = fs::read_dir(at).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["bramble.toml"]);
        // A directory of that name is no order that could be taken away.
        fs::create_dir(at.join("reset-admin")).unwrap();
        assert!(remove(at, &NEW_PASSWORD).is_err());
    }

    #[test]
    fn a_settings_file_is_text_of_some_length() {
        let directory = tempfile::tempdir().unwrap();
        let put = |bytes: &[u8]| {
            fs::write(directory.path().join(SETTINGS), bytes).unwrap();
            settings(directory.path()).map_err(|error| error.to_string())
        };
        assert_eq!(put(b"a = 1\n"), Ok(Some("a = 1\n".into())));
        assert_eq!(put(b"\xef\xbb\xbfa = 1\r\n"), Ok(Some("a = 1\r\n".into())));
        assert_eq!(put(b""), Ok(Some(String::new())));
        assert!(put(b"\xff\xfea\0").unwrap_err().contains("UTF-8"));
        assert!(put(&vec![b'#'; MAX_BOOT_FILE]).is_ok());
        assert!(put(&vec![b'#'; MAX_BOOT_FILE + 1]).unwrap_err().contains("64 KiB"));
        fs::remove_file(directory.path().join(SETTINGS)).unwrap();
        assert_eq!(settings(directory.path()).unwrap(), None);
    }
}
