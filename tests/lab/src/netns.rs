//! Network namespaces by name, as iproute2 keeps them, so that `ip netns` shows them too.

use crate::error::{Doing, Error, Result};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Where iproute2 keeps its names.
const DIRECTORY: &str = "/var/run/netns";

/// A named network namespace. Dropping the value leaves the namespace alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// One that exists, or may.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// Makes a new one, with its loopback interface up.
    ///
    /// # Errors
    /// When `ip` refuses, for example without root.
    pub fn create(name: impl Into<String>) -> Result<Self> {
        let space = Self::named(name);
        ip(&["netns", "add", &space.name])?;
        space.ip(&["link", "set", "lo", "up"])?;
        Ok(space)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(DIRECTORY).join(&self.name)
    }

    /// Is it there?
    pub fn exists(&self) -> bool {
        self.path().exists()
    }

    /// A handle for `setns`.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn open(&self) -> Result<File> {
        File::open(self.path()).doing(|| format!("opening network namespace {}", self.name))
    }

    /// `ip -n NAME …`, with what it printed.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn ip(&self, args: &[&str]) -> Result<String> {
        let mut all = vec!["-n", &self.name];
        all.extend_from_slice(args);
        ip(&all)
    }

    /// Runs `work` on a thread of its own inside the namespace: every socket it makes belongs
    /// there, wherever it is used afterwards.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let file = self.open()?;
        thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(file, CloneFlags::CLONE_NEWNET)
                    .doing(|| format!("entering network namespace {}", self.name))?;
                Ok(work())
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// As [`Self::within`], for a thread that goes on by itself.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn spawn(&self, work: impl FnOnce() + Send + 'static) -> Result<thread::JoinHandle<()>> {
        let file = self.open()?;
        let name = self.name.clone();
        let (entered, wait) = std::sync::mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("lab-inside".to_owned())
            .spawn(move || {
                let result = setns(file, CloneFlags::CLONE_NEWNET)
                    .doing(|| format!("entering network namespace {name}"));
                let good = result.is_ok();
                let _ = entered.send(result);
                if good {
                    work();
                }
            })
            .doing(|| "starting a thread".to_owned())?;
        wait.recv().map_err(|_| Error::other("a thread of the lab died at its start"))??;
        Ok(thread)
    }

    /// The processes that live in it.
    pub fn pids(&self) -> Vec<i32> {
        let Ok(own) = fs::metadata(self.path()) else {
            return Vec::new();
        };
        let Ok(entries) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        entries
            .flatten()
            .filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok())
            .filter(|pid| {
                fs::metadata(format!("/proc/{pid}/ns/net"))
                    .is_ok_and(|m| (m.dev(), m.ino()) == (own.dev(), own.ino()))
            })
            .collect()
    }

    /// Kills every process that lives in it, and waits until none is left.
    ///
    /// # Errors
    /// When one is still there after 10 seconds.
    pub fn kill_all(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let left = self.pids();
            for pid in &left {
                let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            // A process that was killed and not yet waited for has no namespaces any more.
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let text = format!("processes {left:?} in {} cannot be killed", self.name);
                return Err(Error::other(text));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Kills what lives in it and removes it. One that is not there is fine.
    ///
    /// # Errors
    /// When something in it cannot be killed or `ip` refuses.
    pub fn remove(&self) -> Result<()> {
        if !self.exists() {
            return Ok(());
        }
        self.kill_all()?;
        ip(&["netns", "del", &self.name]).map(drop)
    }
}

/// Runs `ip` and returns what it printed.
///
/// # Errors
/// When it is missing or fails.
pub fn ip(args: &[&str]) -> Result<String> {
    run(Command::new("ip").args(args))
}

/// Runs a command to its end and returns what it printed.
///
/// # Errors
/// When it cannot be started or fails; the error holds what it wrote.
pub fn run(command: &mut Command) -> Result<String> {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|w| w.to_string_lossy().into_owned())
        .collect();
    let line = words.join(" ");
    let output = command.output().doing(|| format!("starting `{line}`"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(Error::Command {
        command: line,
        status: output.status.to_string(),
        output: format!("{}{}", text.trim(), errors.trim()),
    })
}
