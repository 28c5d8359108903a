//! The one way out. Each step has a limit, and together they stay below twenty seconds.

use super::{Outcome, Supervisor};
use crate::children::Running;
use crate::phases::entropy;
use crate::phases::last_words::ORDERLY;
use crate::watchdog::patiently;
use model::status::DataStatus;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, getpid, sync};
use std::io::Write;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// For visitors' requests that still run.
const APPLIANCE: Duration = Duration::from_secs(5);
/// For a process that was killed to be gone.
const KILLED: Duration = Duration::from_millis(500);
/// For wpa_supplicant to leave its networks.
const SUPPLICANT: Duration = Duration::from_secs(1);
/// For farewells of processes without a parent.
const ORPHANS: Duration = Duration::from_secs(1);
/// For the card.
const SAVING: Duration = Duration::from_secs(3);
const UNMOUNTING: Duration = Duration::from_secs(3);
const SYNCING: Duration = Duration::from_secs(3);

impl Supervisor {
    pub(super) fn stop(&mut self, outcome: Outcome) {
        self.console.say(match outcome {
            Outcome::Reboot => "stopping, to start again",
            Outcome::PowerOff => "stopping, to be switched off",
        });
        if getpid() == Pid::from_raw(1) {
            crate::pid1::last_net();
        }
        self.appliance.wanted = false;
        self.supplicant.wanted = false;
        self.blink = None;
        self.end(|all| all.appliance.running.as_ref().map(|one| one.pid), APPLIANCE);
        self.end(|all| all.supplicant.running.as_ref().map(|one| one.pid), SUPPLICANT);
        self.end(|all| all.install.as_ref().map(|one| one.running.pid), KILLED);
        if getpid() == Pid::from_raw(1) {
            end_orphans();
        }
        self.last_save();
        self.console.say(ORDERLY);
        if let Some(memory) = &mut self.memory {
            let _ = memory.write_all(format!("bramble: {ORDERLY}\n").as_bytes());
        }
        if matches!(self.facts.data, Some(DataStatus::Kept { .. })) {
            self.unmount();
        }
        let _ = patiently(self.dog.as_ref(), SYNCING, sync);
    }

    /// Asks a process to end, waits, and ends it.
    fn end(&mut self, who: fn(&Self) -> Option<Pid>, limit: Duration) {
        for (signal, limit) in [(Signal::SIGTERM, limit), (Signal::SIGKILL, KILLED)] {
            let Some(pid) = who(self) else { return };
            let _ = kill(pid, signal);
            let began = Instant::now();
            while who(self).is_some() && began.elapsed() < limit {
                if let Some(dog) = &self.dog {
                    dog.feed();
                }
                self.wait_for_an_end(limit.saturating_sub(began.elapsed()));
            }
        }
    }

    fn wait_for_an_end(&mut self, limit: Duration) {
        // Its last lines are read meanwhile: a full pipe would keep it from ending.
        let output = self.appliance.running.as_ref().and_then(Running::fd);
        let mut polled = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        polled.extend(output.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::ZERO);
        let _ = poll(&mut polled, timeout);
        self.pass_on_appliance();
        self.read_signals();
    }

    /// The time, a seed, and that nobody pulled the plug.
    fn last_save(&mut self) {
        let (keep, card, built) = (self.keep.clone(), self.card.clone(), self.terms.built_unix);
        let _ = patiently(self.dog.as_ref(), SAVING, move || {
            if let Some(keep) = keep {
                let _ = keep.save_clock(built);
                let _ = entropy::save(&keep);
            }
            if let Some((disk, state)) = card {
                if state.quick_cycles(&disk.device).is_ok_and(|count| count > 0) {
                    let _ = state.set_quick_cycles(&disk.device, 0);
                }
            }
        });
    }

    fn unmount(&mut self) {
        let at = self.terms.paths.data.clone();
        let unmounted = patiently(self.dog.as_ref(), UNMOUNTING, move || {
            umount2(&at, MntFlags::empty()).or_else(|_| {
                let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
                mount(None::<&str>, &at, None::<&str>, read_only, None::<&str>)
            })
        });
        if !matches!(unmounted, Some(Ok(()))) {
            self.console.say("the data partition could not be unmounted in time");
        }
    }
}

/// Whatever lost its parent, first of all guardians, which have a farewell to say.
fn end_orphans() {
    let everyone = Pid::from_raw(-1);
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let _ = kill(everyone, signal);
        let began = Instant::now();
        while began.elapsed() < ORPHANS {
            match waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG) {
                Err(Errno::ECHILD) => return,
                Ok(WaitStatus::StillAlive) | Err(_) => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Ok(_) => {}
            }
        }
    }
}
