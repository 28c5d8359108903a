//! What the appliance process asks for.

use super::{Blinking, Install, Outcome, Supervisor};
use crate::channel::{MAX_MESSAGE, Numbered, Reply, Request, TestFailure};
use crate::children::{Launch, Running, how};
use crate::jobs::Finding;
use crate::led::{Blink, Rows};
use crate::phases::boot_partition::Partition;
use crate::phases::{clock, data};
use crate::validate;
use model::status::{DataStatus, FirmwareProgress};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::signal::Signal;
use nix::sys::socket::{MsgFlags, recv, send};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::sys::wait::WaitStatus;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// How long flashes in rows go on, in seconds.
const FLASHING: u16 = 30;
/// So many messages are read before everything else has its turn.
const BATCH: usize = 64;

impl Supervisor {
    pub(super) fn read_channel(&mut self) {
        let mut packet = vec![0; MAX_MESSAGE];
        for _ in 0..BATCH {
            let Some(channel) = &self.channel else { return };
            match recv(channel.as_raw_fd(), &mut packet, MsgFlags::MSG_DONTWAIT) {
                // The end of a process is noticed by its parent, not here.
                Ok(0) => self.channel = None,
                Ok(length) => self.message(packet.get(..length).unwrap_or_default()),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Err(_) => self.channel = None,
            }
        }
    }

    fn message(&mut self, packet: &[u8]) {
        match serde_json::from_slice::<Numbered<Request>>(packet) {
            Ok(Numbered { number, message }) => {
                if let Some(reply) = self.request(number, message) {
                    self.answer(number, reply);
                }
            }
            // A request of a newer kind, or nonsense: whoever waits for an answer gets one.
            Err(_) => {
                let why = "Process 1 does not understand this.".to_owned();
                if let Ok(Numbered { number, .. }) =
                    serde_json::from_slice::<Numbered<serde_json::Value>>(packet)
                {
                    self.answer(number, refused(why));
                }
            }
        }
    }

    pub(super) fn answer(&mut self, number: u32, reply: Reply) {
        let Some(channel) = &self.channel else { return };
        if let Ok(packet) = serde_json::to_vec(&Numbered { number, message: reply }) {
            // Not waited for: who does not read its answers does not get them.
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            let _ = send(channel.as_raw_fd(), &packet, flags);
        }
    }

    /// The answer, unless there is none or it comes later.
    fn request(&mut self, number: u32, request: Request) -> Option<Reply> {
        match request {
            Request::Heartbeat => self.heartbeat(),
            Request::Screen { lines, setup } => {
                self.lines = validate::lines(lines);
                self.setup = setup;
                self.next_drawing = Duration::ZERO;
            }
            Request::HostName { name } => return Some(reply(self.set_host_name(&name))),
            Request::Clock { unix_ms } => return Some(reply(self.set_clock(unix_ms))),
            Request::Reboot => return Some(self.leave(Outcome::Reboot)),
            Request::PowerOff => return Some(self.leave(Outcome::PowerOff)),
            Request::InstallFirmware { path } => {
                return self.start_install(number, &path).err().map(refused);
            }
            Request::ConfirmFirmware => return self.confirm(number),
            Request::GiveUpFirmware if self.terms.line.trial => {
                self.end_trial();
                return Some(Reply::Done);
            }
            Request::GiveUpFirmware => {
                return Some(refused("This firmware is not on trial.".into()));
            }
            Request::RewriteBootFile { text } => {
                return self.rewrite_boot_file(number, text).err().map(refused);
            }
            Request::Supplicant { run } => return Some(reply(self.want_supplicant(run))),
            Request::Blink { seconds } => {
                return Some(reply(self.start_blinking(seconds, None)));
            }
            Request::Flash { flashes } => {
                return Some(reply(self.start_blinking(FLASHING, Some(flashes))));
            }
            Request::FactoryReset => return self.factory_reset(number).err().map(refused),
            Request::Fail { how: TestFailure::Kill } if self.terms.line.test => {
                if let Some(running) = &self.appliance.running {
                    running.signal(Signal::SIGKILL);
                }
            }
            Request::Fail { how } if self.terms.line.test => fail(how),
            Request::Fail { .. } => {
                return Some(refused("This board was not started for tests.".into()));
            }
        }
        None
    }

    fn leave(&mut self, outcome: Outcome) -> Reply {
        self.outcome = Some(outcome);
        Reply::Done
    }

    fn set_host_name(&mut self, name: &str) -> Result<(), String> {
        validate::host_name(name)?;
        nix::unistd::sethostname(name)
            .map_err(|error| format!("The host name could not be set ({error})."))?;
        self.next_drawing = Duration::ZERO;
        Ok(())
    }

    fn set_clock(&mut self, unix_ms: u64) -> Result<(), String> {
        validate::clock(unix_ms, self.terms.built_unix)?;
        clock::set(Duration::from_millis(unix_ms))
            .map_err(|error| format!("The clock could not be set ({error})."))?;
        // The first time is worth a write; later ones are saved each hour.
        if !self.facts.clock_set {
            self.facts.clock_set = true;
            self.facts_changed = true;
            self.save();
        }
        Ok(())
    }

    fn want_supplicant(&mut self, run: bool) -> Result<(), String> {
        if run && !self.terms.paths.supplicant.exists() {
            return Err("This firmware has no wpa_supplicant; Wi-Fi does not work.".into());
        }
        self.supplicant.wanted = run;
        self.supplicant.due = Duration::ZERO;
        if let (false, Some(running)) = (run, &self.supplicant.running) {
            running.signal(Signal::SIGTERM);
        }
        Ok(())
    }

    fn start_blinking(&mut self, seconds: u16, flashes: Option<u8>) -> Result<(), String> {
        validate::blink(seconds)?;
        flashes.map_or(Ok(()), validate::flashes)?;
        let now = self.began.elapsed();
        // One that blinks already still knows what it did before.
        let blink = match self.blink.take() {
            Some(blinking) => blinking.blink,
            None => Blink::start(&self.terms.paths.leds).map_err(|error| error.to_string())?,
        };
        let rows = match flashes {
            Some(flashes) => {
                blink.by_hand().map_err(|error| error.to_string())?;
                Some(Rows { flashes, began: now })
            }
            None => {
                blink.by_itself().map_err(|error| error.to_string())?;
                None
            }
        };
        let until = now + Duration::from_secs(seconds.into());
        self.blink = Some(Blinking { blink, until, rows });
        Ok(())
    }

    fn rewrite_boot_file(&mut self, number: u32, text: String) -> Result<(), String> {
        validate::boot_file(&text)?;
        let (disk, _) = self.card.as_ref().ok_or("There is no card.")?;
        let partition = Partition::of(disk, &self.terms.paths.boot);
        self.jobs.start(move || {
            let written = partition.rewrite(&text).map_err(|error| {
                format!("The settings file on the boot partition could not be written ({error}).")
            });
            Finding::BootFile(number, written.map(|()| text))
        });
        Ok(())
    }

    pub(super) fn boot_file_written(&mut self, number: u32, result: Result<String, String>) {
        let result = result.map(|text| {
            self.facts.boot_file = Some(text);
            self.facts_changed = true;
        });
        self.answer(number, reply(result));
    }

    fn factory_reset(&mut self, number: u32) -> Result<(), String> {
        let (disk, _) = self.card.as_ref().ok_or("There is no card to reset.")?;
        let boot = Partition::of(disk, &self.terms.paths.boot);
        let at = self.terms.paths.data.clone();
        let kept = matches!(self.facts.data, Some(DataStatus::Kept { .. }));
        self.jobs.start(move || {
            let ordered = if kept { data::order_reset(&at) } else { boot.order_reset() };
            let ordered = ordered.map_err(|error| {
                format!("The card cannot be written to ({error}). Write the image to a new card.")
            });
            Finding::Reset(number, ordered)
        });
        Ok(())
    }

    pub(super) fn reset_ordered(&mut self, number: u32, result: Result<(), String>) {
        if result.is_ok() {
            self.outcome = Some(Outcome::Reboot);
        }
        self.answer(number, reply(result));
    }

    fn confirm(&mut self, number: u32) -> Option<Reply> {
        let Some((disk, state)) = self.card.clone() else {
            return Some(refused("There is no card.".into()));
        };
        let slot = self.terms.line.slot;
        self.jobs.start(move || Finding::Confirmed(number, state.confirm(&disk.device, slot)));
        None
    }

    pub(super) fn confirmed(&mut self, number: u32, result: Result<(), String>) {
        if result.is_ok() {
            self.vigil.confirmed();
            self.terms.line.trial = false;
            if let Some(firmware) = &mut self.facts.firmware {
                firmware.on_trial = false;
            }
            self.facts_changed = true;
        }
        self.answer(number, reply(result));
    }

    fn start_install(&mut self, number: u32, path: &Path) -> Result<(), String> {
        if self.install.is_some() {
            return Err("A firmware is being written already. Wait for it.".into());
        }
        if self.terms.line.trial {
            return Err("The running firmware is still on trial; the other one is needed in case \
                        it fails. Try again in a few minutes."
                .into());
        }
        let (disk, _) = self.card.as_ref().ok_or("There is no card to write to.")?;
        let bundle = open_upload(path, &self.terms.paths.uploads)?;
        let slot = self.other_slot();
        let arguments = [
            self.terms.installer.clone(),
            // The very file that was opened, whatever its name means by now.
            OsString::from("/proc/self/fd/0"),
            disk.device.clone().into_os_string(),
            disk.partition(slot.partition()).into_os_string(),
            OsString::from(slot.letter()),
        ];
        let launch = Launch {
            program: &self.terms.program,
            arguments: &arguments,
            channel: None,
            input: Some(bundle),
            confined: false,
        };
        let running = Running::start(launch, self.began.elapsed())
            .map_err(|error| format!("The installer could not be started ({error})."))?;
        self.install = Some(Install { number, running, failure: None });
        Ok(())
    }

    pub(super) fn read_install(&mut self) {
        let Some(install) = &mut self.install else { return };
        let number = install.number;
        let mut steps = Vec::new();
        for line in install.running.said() {
            match serde_json::from_str(&line) {
                Ok(FirmwareProgress::Failed { reason }) => install.failure = Some(reason),
                Ok(step) => steps.push(step),
                // Whatever else it says is for the log.
                Err(_) => self.console.say(&format!("installer: {line}")),
            }
        }
        for progress in steps {
            self.answer(number, Reply::Progress { progress });
        }
    }

    pub(super) fn finish_install(&mut self, status: WaitStatus) {
        let Some(install) = self.install.take() else { return };
        let result = match (status, install.failure) {
            (WaitStatus::Exited(_, 0), None) => Ok(()),
            (_, Some(reason)) => Err(reason),
            (status, None) => Err(format!(
                "The installer ended {}; the running firmware is as it was. Try again.",
                how(status)
            )),
        };
        self.answer(install.number, reply(result));
        if let Some((disk, state)) = self.card.clone() {
            let line = self.terms.line.clone();
            self.jobs.start(move || {
                Finding::Firmware(state.firmware(&disk.device, line.slot, line.trial))
            });
        }
    }
}

fn reply(result: Result<(), String>) -> Reply {
    match result {
        Ok(()) => Reply::Done,
        Err(why) => refused(why),
    }
}

fn refused(why: String) -> Reply {
    Reply::Refused { why }
}

/// Opens a file below the directory for uploads, which belongs to the asking process: neither a
/// link nor a device may lead this one elsewhere.
fn open_upload(path: &Path, uploads: &Path) -> Result<File, String> {
    let below = validate::upload(path, uploads)?;
    let opened = open(
        uploads,
        OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_PATH | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
    .and_then(|directory| {
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        openat2(directory, below, how)
    });
    let file = opened.map_err(|error| format!("The firmware could not be opened ({error})."))?;
    let kind = fstat(&file).map(|found| found.st_mode & SFlag::S_IFMT.bits());
    if kind != Ok(SFlag::S_IFREG.bits()) {
        return Err("The firmware is not a file.".into());
    }
    Ok(File::from(file))
}

/// Fails on purpose.
#[expect(clippy::panic, reason = "a panic of process 1 is what is asked for")]
fn fail(how: TestFailure) {
    match how {
        TestFailure::Panic => panic!("asked for by a test"),
        TestFailure::Hang | TestFailure::Kill => loop {
            thread::sleep(Duration::from_secs(3600));
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_plain_files_of_the_directory_are_opened() {
        let root = tempfile::tempdir().unwrap();
        let uploads = root.path().join("uploads");
        fs::create_dir(&uploads).unwrap();
        fs::write(root.path().join("secret"), "secret").unwrap();
        fs::write(uploads.join("good"), "good").unwrap();
        symlink("../secret", uploads.join("link")).unwrap();
        symlink("..", uploads.join("up")).unwrap();
        nix::unistd::mkfifo(&uploads.join("pipe"), Mode::S_IRWXU).unwrap();
        let mut text = String::new();
        open_upload(&uploads.join("good"), &uploads).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "good");
        for bad in ["link", "up/secret", "pipe", "none", "../secret", ""] {
            assert!(open_upload(&uploads.join(bad), &uploads).is_err(), "{bad}");
        }
        // The directory itself replaced by a link.
        symlink(root.path(), root.path().join("elsewhere")).unwrap();
        let elsewhere = root.path().join("elsewhere");
        assert!(open_upload(&elsewhere.join("secret"), &elsewhere).is_err());
    }
}
