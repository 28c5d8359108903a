//! What may block, done beside process 1's loop: the card, and drivers that start up.

use crate::error::Problem;
use model::status::{DataStatus, FirmwareStatus};
use nix::fcntl::OFlag;
use nix::unistd::{pipe2, read, write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::{io, thread};

/// What came of a job.
#[derive(Debug)]
pub(crate) enum Finding {
    /// The new settings file of the boot partition, for the request of this number.
    BootFile(u32, Result<String, String>),
    /// The order to reset has been left, for the request of this number.
    Reset(u32, Result<(), String>),
    /// The trial is over, for the request of this number.
    Confirmed(u32, Result<(), String>),
    /// Drivers have been looked for.
    Modules(Vec<Problem>),
    /// The slots have been looked at.
    Firmware(Result<FirmwareStatus, String>),
    /// The data partition has been looked at.
    Data(Option<DataStatus>),
    /// Something was saved, or why not.
    Saved(Result<(), String>),
    /// It failed in a way nobody has thought of.
    Panicked,
}

/// Jobs that run, and their findings.
#[derive(Debug)]
pub(crate) struct Jobs {
    sender: Sender<Finding>,
    findings: Receiver<Finding>,
    bell: Arc<OwnedFd>,
    woken: OwnedFd,
}

impl Jobs {
    pub(crate) fn new() -> io::Result<Self> {
        let (sender, findings) = channel();
        let (woken, bell) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        Ok(Self { sender, findings, bell: Arc::new(bell), woken })
    }

    /// Starts one; its finding comes later.
    pub(crate) fn start(&self, act: impl FnOnce() -> Finding + Send + 'static) {
        let (sender, bell) = (self.sender.clone(), Arc::clone(&self.bell));
        let started = thread::Builder::new().stack_size(512 * 1024).spawn(move || {
            let finding = catch_unwind(AssertUnwindSafe(act)).unwrap_or(Finding::Panicked);
            let _ = sender.send(finding);
            // A full pipe wakes as well as another byte would.
            let _ = write(&*bell, b".");
        });
        if started.is_err() {
            let _ = self.sender.send(Finding::Panicked);
            let _ = write(&*self.bell, b".");
        }
    }

    /// The next finding, if there is one.
    pub(crate) fn next(&self) -> Option<Finding> {
        let _ = read(&self.woken, &mut [0; 64]);
        self.findings.try_recv().ok()
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }
}
