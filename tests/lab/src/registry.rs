//! What labs have made on this machine, so that one that was killed can be cleaned up and the
//! `lab` command finds the one that runs.

use crate::error::{Doing, Result};
use crate::network::Network;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// On a file system that a restart of the machine empties, as it ends all namespaces.
const DIRECTORY: &str = "/run/bramble-lab";

/// One lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// What the names of its namespaces begin with.
    pub prefix: String,
    /// The process that owns it.
    pub pid: u32,
    /// When that process started, in clock ticks since boot: a process id alone may be somebody
    /// else's by now.
    pub started: u64,
    /// Where the nodes keep their data.
    pub state: PathBuf,
    /// The lab made that directory and removes it.
    pub temporary: bool,
    /// Made by `lab up`, for people; otherwise by a test.
    pub for_people: bool,
}

impl Record {
    /// A record of this process, with a prefix no other lab has.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn register(state: &Path, temporary: bool, for_people: bool) -> Result<Self> {
        fs::create_dir_all(DIRECTORY).doing(|| format!("making {DIRECTORY}"))?;
        let pid = std::process::id();
        let mut number = 0_u32;
        loop {
            let record = Self {
                prefix: format!("lab{pid}{}", letters(number)),
                pid,
                started: start_time(pid).unwrap_or(0),
                state: state.to_owned(),
                temporary,
                for_people,
            };
            let text = serde_json::to_vec(&record).map_err(std::io::Error::from);
            let text = text.doing(|| "writing the lab's record".to_owned())?;
            let made = fs::OpenOptions::new().write(true).create_new(true).open(record.path());
            match made {
                Ok(mut file) => {
                    std::io::Write::write_all(&mut file, &text)
                        .doing(|| format!("writing {}", record.path().display()))?;
                    return Ok(record);
                }
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(e) => return Err(e).doing(|| format!("making {}", record.path().display())),
            }
        }
    }

    fn path(&self) -> PathBuf {
        Path::new(DIRECTORY).join(format!("{}.json", self.prefix))
    }

    /// The socket its `lab up` listens on.
    pub fn socket(&self) -> PathBuf {
        Path::new(DIRECTORY).join(format!("{}.sock", self.prefix))
    }

    /// Does its owner still run?
    pub fn alive(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    /// Removes everything the lab made. What is gone already is fine.
    ///
    /// # Errors
    /// When a process or a namespace cannot be removed; the record then stays.
    pub fn clean(&self) -> Result<()> {
        Network::named(&self.prefix).remove()?;
        if self.temporary {
            remove(fs::remove_dir_all(&self.state), &self.state)?;
        }
        remove(fs::remove_file(self.socket()), &self.socket())?;
        remove(fs::remove_file(self.path()), &self.path())
    }
}

fn remove(result: std::io::Result<()>, path: &Path) -> Result<()> {
    match result {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.doing(|| format!("removing {}", path.display())),
    }
}

/// All labs on record.
pub fn all() -> Vec<Record> {
    let Ok(entries) = fs::read_dir(DIRECTORY) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|e| e.path().extension().is_some_and(|x| x == "json"))
        .filter_map(|e| serde_json::from_slice(&fs::read(e.path()).ok()?).ok())
        .collect()
}

/// Cleans up after labs whose owner was killed.
///
/// # Errors
/// When something they left cannot be removed.
pub fn clean_stale() -> Result<()> {
    for record in all().iter().filter(|r| !r.alive()) {
        record.clean()?;
    }
    Ok(())
}

/// Field 22 of proc(5) stat, counted after the name, which may hold anything.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    // A process that has ended and was not waited for is gone for us.
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn letters(mut number: u32) -> String {
    let mut text = String::new();
    loop {
        text.push(char::from(b'a' + u8::try_from(number % 26).unwrap_or(0)));
        number /= 26;
        if number == 0 {
            return text;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_process_is_alive_and_another_start_time_is_not() {
        let pid = std::process::id();
        let mut record = Record {
            prefix: "t".to_owned(),
            pid,
            started: start_time(pid).unwrap(),
            state: PathBuf::new(),
            temporary: false,
            for_people: false,
        };
        assert!(record.alive());
        record.started += 1;
        assert!(!record.alive());
    }

    #[test]
    fn letters_differ() {
        let all: std::collections::BTreeSet<_> = (0..700).map(letters).collect();
        assert_eq!(all.len(), 700);
    }
}
