//! The loop of process 1: one thread that waits for everything at once, and never for the card.

mod requests;
mod stop;

use crate::backoff::Backoff;
use crate::channel::Setup;
use crate::children::{Launch, Running, how};
use crate::cmdline::{Cmdline, Slot};
use crate::console::Console;
use crate::disk::Disk;
use crate::error::Problem;
use crate::facts::Facts;
use crate::jobs::{Finding, Jobs};
use crate::keep::{self, Keep};
use crate::led::{Blink, Rows};
use crate::modules::{self, Modules, uevent::Events};
use crate::paths::Paths;
use crate::phases::{data, entropy};
use crate::ports::BootState;
use crate::screen::Screen;
use crate::vigil::{Verdict, Vigil};
use crate::watchdog::{Dog, FEEDING};
use model::status::DataStatus;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Clock and seed are saved so often.
const SAVING: Duration = Duration::from_secs(3600);
/// Free space is looked at so often.
const LOOKING: Duration = Duration::from_secs(60);
/// Addresses on the screen are at most so old.
const DRAWING: Duration = Duration::from_secs(5);
/// Switched off in this time after the first heartbeat, a start counts as a quick one.
const QUICK: Duration = Duration::from_secs(10);

/// Said while nothing helps.
const DOES_NOT_START: &str = "The appliance does not start, not even after restarts of the board. \
                              It is tried again and again; if this does not end, write the image \
                              to the card again.";

/// What process 1 does, as far as it differs between a board and a test.
#[derive(Clone, Debug)]
pub struct Terms {
    /// This binary.
    pub program: PathBuf,
    /// Arguments that make it the appliance process.
    pub appliance: Vec<OsString>,
    /// The first argument that makes it the installer.
    pub installer: OsString,
    /// The appliance process runs as a user of its own, with few rights.
    pub confined: bool,
    /// The kernel command line.
    pub line: Cmdline,
    /// Where things are.
    pub paths: Paths,
    /// When the firmware was made, in seconds since 1970.
    pub built_unix: u64,
    /// Its version.
    pub version: String,
}

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The board is to be started again.
    Reboot,
    /// It is to be switched off.
    PowerOff,
}

/// What the start found, for the loop.
pub(crate) struct Handover {
    pub(crate) facts: Facts,
    pub(crate) console: Console,
    pub(crate) dog: Option<Dog>,
    pub(crate) jobs: Jobs,
    pub(crate) events: Option<Events>,
    pub(crate) card: Option<(Disk, Arc<dyn BootState>)>,
    pub(crate) keep: Option<Keep>,
    pub(crate) cold: bool,
    pub(crate) missed: bool,
}

/// A process that is wanted, and whether it runs.
#[derive(Debug, Default)]
struct Seat {
    wanted: bool,
    running: Option<Running>,
    backoff: Backoff,
    due: Duration,
}

impl Seat {
    fn is(&self, pid: nix::unistd::Pid) -> bool {
        self.running.as_ref().is_some_and(|running| running.pid == pid)
    }

    fn is_due(&self, now: Duration) -> bool {
        self.wanted && self.running.is_none() && now >= self.due
    }

    /// Takes the process that ended and decides when the next one starts.
    fn vacate(&mut self, now: Duration) -> Option<Running> {
        let gone = self.running.take()?;
        self.due = now + self.backoff.after(now.saturating_sub(gone.since));
        Some(gone)
    }
}

/// The LED while it blinks for somebody.
#[derive(Debug)]
struct Blinking {
    blink: Blink,
    until: Duration,
    rows: Option<Rows>,
}

/// The firmware that is being written.
#[derive(Debug)]
struct Install {
    number: u32,
    running: Running,
    failure: Option<String>,
}

/// Process 1 after the start; in tests, an ordinary process.
pub struct Supervisor {
    terms: Terms,
    facts: Facts,
    facts_changed: bool,
    console: Console,
    /// Lines of the appliance process that survive a crash (pstore).
    memory: Option<File>,
    dog: Option<Dog>,
    jobs: Jobs,
    events: Option<Events>,
    card: Option<(Disk, Arc<dyn BootState>)>,
    keep: Option<Keep>,
    began: Instant,
    signals: SignalFd,
    vigil: Vigil,
    appliance: Seat,
    supplicant: Seat,
    install: Option<Install>,
    channel: Option<OwnedFd>,
    blink: Option<Blinking>,
    lines: Vec<String>,
    setup: Option<Setup>,
    board: String,
    look_at_devices: bool,
    looking_at_devices: bool,
    /// Counting quick power cycles: when the count goes back to none.
    quick: Quick,
    next_feeding: Duration,
    next_saving: Duration,
    next_look: Duration,
    next_drawing: Duration,
    outcome: Option<Outcome>,
}

/// Where the counting of quick power cycles stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quick {
    /// This start counts, once everything is up: crashes on the way must not be taken for orders.
    Pending,
    /// Counted; taken back then.
    Until(Duration),
    Over,
}

impl Supervisor {
    /// Blocks the signals it is going to read: to be called before there are threads.
    ///
    /// # Errors
    /// When the kernel refuses what every kernel grants.
    pub(crate) fn new(terms: Terms, found: Handover) -> io::Result<Self> {
        let resets = found.keep.as_ref().map_or(u8::MAX, Keep::resets);
        let vigil = Vigil::new(terms.line.trial, resets);
        let board = std::fs::read("/proc/device-tree/model").unwrap_or_default();
        let board = String::from_utf8_lossy(&board).trim_end_matches('\0').to_owned();
        Ok(Self {
            signals: signals()?,
            facts: found.facts,
            facts_changed: true,
            console: found.console,
            memory: File::options().write(true).open("/dev/pmsg0").ok(),
            dog: found.dog,
            jobs: found.jobs,
            events: found.events,
            quick: if terms.line.cycles && found.cold && found.card.is_some() {
                Quick::Pending
            } else {
                Quick::Over
            },
            card: found.card,
            keep: found.keep,
            began: Instant::now(),
            vigil,
            appliance: Seat { wanted: true, ..Seat::default() },
            supplicant: Seat::default(),
            install: None,
            channel: None,
            blink: None,
            lines: Vec::new(),
            setup: None,
            board,
            look_at_devices: found.missed,
            looking_at_devices: false,
            next_feeding: Duration::ZERO,
            next_saving: SAVING,
            next_look: LOOKING,
            next_drawing: Duration::ZERO,
            outcome: None,
            terms,
        })
    }

    /// A supervisor without a board: nothing is mounted, fed or written but the facts.
    ///
    /// # Errors
    /// As for the kernel's refusals.
    pub fn without_board(terms: Terms, console: File) -> io::Result<Self> {
        let found = Handover {
            facts: Facts::default(),
            console: Console::over(console),
            dog: None,
            jobs: Jobs::new()?,
            events: None,
            card: None,
            keep: None,
            cold: false,
            missed: false,
        };
        Self::new(terms, found)
    }

    /// Runs until the board is to stop, and stops everything in order.
    pub fn run(&mut self) -> Outcome {
        loop {
            let now = self.began.elapsed();
            self.tick(now);
            if let Some(outcome) = self.outcome {
                self.stop(outcome);
                return outcome;
            }
            self.wait(now);
        }
    }

    /// Everything that is due.
    fn tick(&mut self, now: Duration) {
        if now >= self.next_feeding {
            if let Some(dog) = &self.dog {
                dog.feed();
            }
            self.next_feeding = now + FEEDING;
        }
        self.judge(now);
        if self.facts_changed {
            self.write_facts();
        }
        if self.appliance.is_due(now) {
            self.start_appliance(now);
        }
        if self.supplicant.is_due(now) {
            self.start_supplicant(now);
        }
        if self.blink.as_ref().is_some_and(|blinking| now >= blinking.until) {
            self.blink = None;
        }
        if let Some(Blinking { blink, rows: Some(rows), .. }) = &self.blink {
            blink.light(rows.at(now).0);
        }
        if self.look_at_devices && !self.looking_at_devices {
            self.look_for_drivers();
        }
        if let Quick::Until(end) = self.quick {
            if now >= end {
                self.count_cycles(|_| 0);
                self.quick = Quick::Over;
            }
        }
        if now >= self.next_saving {
            self.next_saving = now + SAVING;
            self.save();
        }
        if now >= self.next_look {
            self.next_look = now + LOOKING;
            self.look_at_data();
        }
        if now >= self.next_drawing {
            self.next_drawing = now + DRAWING;
            self.draw();
        }
    }

    fn judge(&mut self, now: Duration) {
        match self.vigil.verdict(now) {
            Verdict::Well => {}
            Verdict::Kill => {
                if let Some(running) = &self.appliance.running {
                    self.console.say("the appliance process hangs; it is started again");
                    running.signal(Signal::SIGKILL);
                }
                // Asked once: until it is reaped there is nobody to judge.
                self.vigil.ended();
            }
            Verdict::Reset => {
                let counted = self
                    .keep
                    .as_ref()
                    .is_some_and(|keep| keep.set_resets(keep.resets().saturating_add(1)).is_ok());
                if counted {
                    self.console.say("the appliance does not start; the board starts again");
                    self.outcome = Some(Outcome::Reboot);
                } else {
                    // What cannot be counted could go on for ever.
                    self.vigil.no_more_resets();
                }
            }
            Verdict::StayUp => self.problem(Problem::new(DOES_NOT_START)),
            Verdict::EndTrial => self.end_trial(),
        }
    }

    fn end_trial(&mut self) {
        self.console.say("the firmware on trial does not work; back to the one before");
        if let Some((disk, state)) = &self.card {
            let _ = state.end_trial(&disk.device);
        }
        self.outcome = Some(Outcome::Reboot);
    }

    fn wait(&mut self, now: Duration) {
        let mut wake = self.next_feeding.min(self.next_saving).min(self.next_look);
        wake = wake.min(self.next_drawing);
        for seat in [&self.appliance, &self.supplicant] {
            if seat.wanted && seat.running.is_none() {
                wake = wake.min(seat.due);
            }
        }
        if let Some(blinking) = &self.blink {
            wake = wake.min(blinking.until);
            if let Some(rows) = blinking.rows {
                wake = wake.min(rows.at(now).1);
            }
        }
        let ready = {
            let mut sources =
                vec![(Source::Signals, self.signals.as_fd()), (Source::Jobs, self.jobs.fd())];
            sources.extend(self.events.as_ref().map(|events| (Source::Devices, events.fd())));
            sources.extend(self.channel.as_ref().map(|fd| (Source::Channel, fd.as_fd())));
            for (source, running) in [
                (Source::Appliance, self.appliance.running.as_ref()),
                (Source::Supplicant, self.supplicant.running.as_ref()),
                (Source::Install, self.install.as_ref().map(|install| &install.running)),
            ] {
                sources.extend(running.and_then(Running::fd).map(|fd| (source, fd)));
            }
            let mut polled: Vec<_> =
                sources.iter().map(|(_, fd)| PollFd::new(*fd, PollFlags::POLLIN)).collect();
            // Rounded up: waking a moment early would only be waking twice.
            let pause = wake.saturating_sub(now) + Duration::from_millis(1);
            let timeout = PollTimeout::try_from(pause).unwrap_or(PollTimeout::ZERO);
            let _ = poll(&mut polled, timeout);
            let ready = sources.iter().zip(&polled).filter(|(_, fd)| fd.any().unwrap_or(false));
            ready.map(|((source, _), _)| *source).collect::<Vec<_>>()
        };
        for source in ready {
            self.handle(source);
        }
    }

    fn handle(&mut self, source: Source) {
        match source {
            Source::Signals => self.read_signals(),
            Source::Jobs => {
                while let Some(finding) = self.jobs.next() {
                    self.found(finding);
                }
            }
            Source::Devices => self.read_events(),
            Source::Channel => self.read_channel(),
            Source::Appliance => self.pass_on_appliance(),
            Source::Supplicant => {
                if let Some(running) = &mut self.supplicant.running {
                    // Kept for when it ends; it speaks of every network in reach.
                    let _ = running.said();
                }
            }
            Source::Install => self.read_install(),
        }
    }

    fn read_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
            match Signal::try_from(number) {
                // Ctrl-Alt-Del reaches process 1 as SIGINT.
                Ok(Signal::SIGTERM | Signal::SIGINT) => self.outcome = Some(Outcome::Reboot),
                Ok(Signal::SIGPWR | Signal::SIGUSR2) => self.outcome = Some(Outcome::PowerOff),
                _ => {}
            }
        }
        self.reap();
    }

    /// The one place where processes are waited for: ours, and whatever lost its parent.
    fn reap(&mut self) {
        loop {
            match waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG) {
                Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::ECHILD) => return,
                Ok(status) => self.ended(status),
                Err(nix::errno::Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }

    fn ended(&mut self, status: WaitStatus) {
        let Some(pid) = status.pid() else { return };
        let now = self.began.elapsed();
        if self.appliance.is(pid) {
            self.pass_on_appliance();
            self.channel = None;
            self.vigil.ended();
            self.setup = None;
            self.lines.clear();
            if let Some(gone) = self.appliance.vacate(now) {
                let text = format!("The appliance process ended {}.", how(status));
                self.console.say(&text);
                self.facts.last_exit = Some(format!("{text}\n{}", gone.last_lines().join("\n")));
                self.facts.restarts = self.facts.restarts.saturating_add(1);
                self.facts_changed = true;
            }
        } else if self.supplicant.is(pid) {
            if let Some(gone) = self.supplicant.vacate(now) {
                if self.supplicant.wanted {
                    let last = gone.last_lines().pop().unwrap_or_default();
                    self.console.say(&format!("wpa_supplicant ended {}: {last}", how(status)));
                }
            }
        } else if self.install.as_ref().is_some_and(|install| install.running.pid == pid) {
            self.read_install();
            self.finish_install(status);
        }
    }

    fn start_appliance(&mut self, now: Duration) {
        let started =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .map_err(io::Error::from)
                .and_then(|(ours, theirs)| {
                    nix::fcntl::fcntl(
                        &ours,
                        nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK),
                    )?;
                    let launch = Launch {
                        program: &self.terms.program,
                        arguments: &self.terms.appliance,
                        channel: Some(theirs),
                        input: None,
                        confined: self.terms.confined,
                    };
                    Ok((ours, Running::start(launch, now)?))
                });
        match started {
            Ok((ours, running)) => {
                self.channel = Some(ours);
                self.appliance.running = Some(running);
                self.vigil.started(now);
            }
            Err(error) => {
                self.appliance.due = now + self.appliance.backoff.after(Duration::ZERO);
                self.console.say(&format!("the appliance process could not be started ({error})"));
            }
        }
    }

    fn start_supplicant(&mut self, now: Duration) {
        let socket = self.terms.paths.radio.join("global");
        // One that was killed leaves its socket, and the next one its place.
        let _ = std::fs::remove_file(&socket);
        let group = crate::privileges::USER.to_string();
        let arguments =
            [OsString::from("-g"), socket.into_os_string(), OsString::from("-G"), group.into()];
        let launch = Launch {
            program: &self.terms.paths.supplicant,
            arguments: &arguments,
            channel: None,
            input: None,
            confined: false,
        };
        match Running::start(launch, now) {
            Ok(running) => self.supplicant.running = Some(running),
            Err(error) => {
                self.supplicant.due = now + self.supplicant.backoff.after(Duration::ZERO);
                self.console.say(&format!("wpa_supplicant could not be started ({error})"));
            }
        }
    }

    fn pass_on_appliance(&mut self) {
        let Some(running) = &mut self.appliance.running else { return };
        for line in running.said() {
            if let Some(memory) = &mut self.memory {
                let _ = memory.write_all(format!("{line}\n").as_bytes());
            }
            self.console.pass_on(&line);
        }
    }

    fn read_events(&mut self) {
        let Some(events) = &self.events else { return };
        while let Some(event) = events.next() {
            // What a device wants is read from /sys: a message may be late or lost.
            self.look_at_devices |= event.added;
        }
    }

    fn look_for_drivers(&mut self) {
        self.look_at_devices = false;
        self.looking_at_devices = true;
        self.jobs.start(|| {
            let devices: BTreeSet<String> = modules::coldplug();
            let loaded = Modules::open().map(|modules| modules.for_devices(&devices));
            Finding::Modules(loaded.unwrap_or_default())
        });
    }

    fn found(&mut self, finding: Finding) {
        match finding {
            Finding::BootFile(number, result) => self.boot_file_written(number, result),
            Finding::Reset(number, result) => self.reset_ordered(number, result),
            Finding::Confirmed(number, result) => self.confirmed(number, result),
            Finding::Modules(problems) => {
                self.looking_at_devices = false;
                for problem in problems {
                    self.problem(problem);
                }
            }
            Finding::Firmware(Ok(status)) => {
                self.facts.firmware = Some(status);
                self.facts_changed = true;
            }
            Finding::Firmware(Err(why)) | Finding::Saved(Err(why)) => self.console.say(&why),
            Finding::Data(status) => self.data_is(status),
            Finding::Saved(Ok(())) => {}
            Finding::Panicked => self.console.say("something process 1 tried has failed"),
        }
    }

    /// Known once is enough.
    fn problem(&mut self, Problem(text): Problem) {
        if !self.facts.problems.contains(&text) {
            self.console.say(&text);
            self.facts.problems.push(text);
            self.facts_changed = true;
            self.next_drawing = Duration::ZERO;
        }
    }

    fn write_facts(&mut self) {
        self.facts_changed = false;
        let written = serde_json::to_vec(&self.facts).map_err(io::Error::other).and_then(|bytes| {
            // For the appliance process alone: secrets of the boot partition may be in there.
            let owner = self.terms.confined.then_some(crate::privileges::USER);
            keep::replace(&self.terms.paths.facts, &bytes, 0o600, owner)
        });
        if let Err(error) = written {
            self.console.say(&format!("the facts could not be written ({error})"));
        }
    }

    fn heartbeat(&mut self) {
        let now = self.began.elapsed();
        if self.vigil.heartbeat(now) {
            self.facts.problems.retain(|problem| problem != DOES_NOT_START);
            self.facts_changed = true;
            if let Some(keep) = self.keep.clone() {
                self.jobs.start(move || {
                    Finding::Saved(keep.set_resets(0).map_err(|error| error.to_string()))
                });
            }
        }
        if self.quick == Quick::Pending {
            self.quick = Quick::Until(now + QUICK);
            self.count_cycles(|count| count.saturating_add(1));
        }
    }

    fn count_cycles(&self, next: impl FnOnce(u8) -> u8 + Send + 'static) {
        let Some((disk, state)) = self.card.clone() else { return };
        self.jobs.start(move || {
            let counted = state.quick_cycles(&disk.device).and_then(|count| {
                let next = next(count);
                if next == count { Ok(()) } else { state.set_quick_cycles(&disk.device, next) }
            });
            Finding::Saved(counted)
        });
    }

    fn save(&self) {
        let Some(keep) = self.keep.clone() else { return };
        let built = self.terms.built_unix;
        self.jobs.start(move || {
            let saved = keep.save_clock(built).and_then(|()| entropy::save(&keep));
            Finding::Saved(saved.map_err(|error| format!("the time could not be saved ({error})")))
        });
    }

    fn look_at_data(&self) {
        let Some(DataStatus::Kept { mended, .. }) = self.facts.data.clone() else { return };
        let at = self.terms.paths.data.clone();
        self.jobs.start(move || {
            let kept = |(size, free)| DataStatus::Kept { size, free, mended };
            Finding::Data(data::space_to_write(&at).ok().map(kept))
        });
    }

    fn data_is(&mut self, status: Option<DataStatus>) {
        match status {
            Some(status) => {
                self.facts_changed |= self.facts.data.as_ref() != Some(&status);
                self.facts.data = Some(status);
            }
            None => self.problem(Problem::new(
                "The data partition cannot be written to any more; the card is probably worn out. \
                 Everything goes on, but changes are lost at the next start. Take a backup and \
                 put in another card.",
            )),
        }
    }

    fn draw(&mut self) {
        let host_name = nix::unistd::gethostname().unwrap_or_default();
        let screen = Screen {
            board: self.board.clone(),
            version: self.terms.version.clone(),
            host_name: host_name.to_string_lossy().into_owned(),
            addresses: addresses(self.setup.as_ref()),
            setup: self.setup.clone(),
            lines: self.lines.clone(),
            problems: self.facts.problems.clone(),
        };
        self.console.show(&screen);
    }

    fn other_slot(&self) -> Slot {
        self.terms.line.slot.other()
    }
}

/// Where something has come from.
#[derive(Clone, Copy, Debug)]
enum Source {
    Signals,
    Jobs,
    Devices,
    Channel,
    Appliance,
    Supplicant,
    Install,
}

fn signals() -> io::Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in [
        Signal::SIGCHLD,
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGPWR,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGHUP,
    ] {
        set.add(signal);
    }
    set.thread_block()?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// Addresses the admin page can be reached at, but for the one of the setup access point, which
/// is shown with it.
fn addresses(setup: Option<&Setup>) -> Vec<(String, std::net::IpAddr)> {
    let all = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let mut found: Vec<(String, std::net::IpAddr)> = all
        .filter_map(|entry| {
            let address = entry.address?;
            let v4 = address.as_sockaddr_in().map(|a| std::net::IpAddr::from(a.ip()));
            let v6 = address.as_sockaddr_in6().map(|a| std::net::IpAddr::from(a.ip()));
            Some((entry.interface_name, v4.or(v6)?))
        })
        .filter(|(_, address)| match address {
            std::net::IpAddr::V4(v4) => !v4.is_loopback(),
            std::net::IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
        })
        .filter(|(_, address)| {
            setup.is_none_or(|setup| !setup.url.contains(&format!("//{address}:")))
        })
        .collect();
    found.sort_by_key(|(interface, address)| (address.is_ipv6(), interface.clone(), *address));
    found
}
