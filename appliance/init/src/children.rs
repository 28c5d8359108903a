//! Starting processes, and what they say.

use crate::channel::FD_VARIABLE;
use crate::privileges;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::unistd::{Pid, pipe2, read, setsid};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// So many of its last lines are kept of a process.
const LINES: usize = 20;
/// A line is cut here.
const LONGEST: usize = 512;
/// Connections of visitors are file descriptors, and there are many.
const FILES: nix::libc::rlim_t = 65_536;

/// How a process is started.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    pub(crate) program: &'a Path,
    pub(crate) arguments: &'a [OsString],
    /// Its end of the channel.
    pub(crate) channel: Option<OwnedFd>,
    /// Its standard input.
    pub(crate) input: Option<File>,
    /// As the appliance's own user, with few rights.
    pub(crate) confined: bool,
}

/// A process that runs. Only the one place that reaps knows when it has ended.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) pid: Pid,
    pub(crate) since: Duration,
    output: Option<OwnedFd>,
    lines: Lines,
}

impl Running {
    pub(crate) fn start(launch: Launch<'_>, now: Duration) -> io::Result<Self> {
        let (output, theirs) = pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let mut command = Command::new(launch.program);
        command.args(launch.arguments).env_clear().current_dir("/");
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/");
        for name in ["BRAMBLE_LOG", "RUST_BACKTRACE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.stdin(launch.input.map_or_else(Stdio::null, Stdio::from));
        command.stdout(theirs.try_clone()?).stderr(theirs);
        let channel = launch.channel.as_ref().map(AsRawFd::as_raw_fd);
        if let Some(channel) = channel {
            command.env(FD_VARIABLE, channel.to_string());
        }
        let confined = launch.confined;
        // SAFETY: between fork and exec only system calls are made, and no memory is allocated.
        unsafe {
            command.pre_exec(move || {
                setsid()?;
                // Blocked signals are inherited; process 1 blocks those it reads.
                sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
                if let Some(channel) = channel {
                    let channel = BorrowedFd::borrow_raw(channel);
                    fcntl(channel, FcntlArg::F_SETFD(FdFlag::empty()))?;
                }
                if confined {
                    // As many as there may be where the limit cannot be raised.
                    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
                    setrlimit(Resource::RLIMIT_NOFILE, FILES, FILES)
                        .or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, most, most))?;
                    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
                    privileges::drop_all_but_ours()?;
                } else {
                    privileges::no_new_privileges()?;
                }
                Ok(())
            });
        }
        let child = command.spawn()?;
        let pid = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
        Ok(Self { pid, since: now, output: Some(output), lines: Lines::default() })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let _ = kill(self.pid, signal);
    }

    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.output.as_ref().map(AsFd::as_fd)
    }

    /// Whole lines that have come; at most a few pages at a time, so that a process that talks
    /// without end does not keep process 1 from everything else.
    pub(crate) fn said(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        let mut buffer = [0; 4096];
        for _ in 0..4 {
            let Some(output) = &self.output else { break };
            match read(output, &mut buffer) {
                Ok(0) => {
                    self.output = None;
                    said.extend(self.lines.end());
                }
                Ok(length) => {
                    self.lines.take(buffer.get(..length).unwrap_or_default(), &mut said);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Err(_) => self.output = None,
            }
        }
        said
    }

    /// The last of what it said.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        self.lines.last.iter().cloned().collect()
    }
}

/// Bytes into lines.
#[derive(Debug, Default)]
struct Lines {
    part: Vec<u8>,
    last: VecDeque<String>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8], said: &mut Vec<String>) {
        for byte in bytes {
            if *byte == b'\n' {
                said.extend(self.end());
            } else if self.part.len() < LONGEST {
                self.part.push(*byte);
            }
        }
    }

    fn end(&mut self) -> Option<String> {
        if self.part.is_empty() {
            return None;
        }
        let line = String::from_utf8_lossy(&self.part).trim_end().to_owned();
        self.part.clear();
        self.last.push_back(line.clone());
        if self.last.len() > LINES {
            self.last.pop_front();
        }
        Some(line)
    }
}

/// How a process ended, in words.
pub(crate) fn how(status: nix::sys::wait::WaitStatus) -> String {
    match status {
        nix::sys::wait::WaitStatus::Exited(_, code) => format!("with exit code {code}"),
        nix::sys::wait::WaitStatus::Signaled(_, signal, _) => format!("by {}", signal.as_str()),
        _ => "in an unknown way".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_and_the_last_are_kept() {
        let mut lines = Lines::default();
        let mut said = Vec::new();
        lines.take(b"one\r\ntw", &mut said);
        lines.take(b"o\n\n\xff\n", &mut said);
        assert_eq!(said, ["one", "two", "\u{fffd}"]);
        lines.take(&vec![b'x'; 100_000], &mut said);
        assert_eq!(lines.end().unwrap().len(), LONGEST);
        for n in 0..100 {
            lines.take(format!("{n}\n").as_bytes(), &mut said);
        }
        assert_eq!(lines.last.len(), LINES);
        assert_eq!(lines.last.back().unwrap(), "99");
    }
}
