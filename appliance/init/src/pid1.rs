//! Process 1 from its first moment to its last.

use crate::boot::{Boot, Build};
use crate::cmdline::Cmdline;
use crate::console::Console;
use crate::facts::Facts;
use crate::jobs::Jobs;
use crate::paths::Paths;
use crate::phases::{self, mounts};
use crate::ports::BootState;
use crate::runner::{Handover, Outcome, Supervisor, Terms};
use crate::watchdog::FEEDING;
use nix::sys::reboot::{RebootMode, reboot, set_cad_enabled};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// The argument by which the binary becomes the installer; see [`crate::install`].
pub const INSTALLER: &str = "install-firmware";
/// The whole way out takes no longer, or the board is restarted in the middle of it.
const WAY_OUT: Duration = Duration::from_secs(20);
/// The exit code that the kernel names when it panics over the end of process 1.
const PANICKED: i32 = 101;

/// The life of process 1. To be called when the process id is 1, before anything else, with no
/// other thread running. The card's state sectors are reached through `state`.
pub fn run(state: Arc<dyn BootState>) -> ! {
    let error = match live(state) {
        Ok(outcome) => leave(outcome),
        Err(error) => error,
    };
    // Only what every kernel grants was refused; a fresh start may help, and there is no more
    // that could be done here.
    shout(&format!("process 1 cannot work ({error}); the board starts again"));
    thread::sleep(Duration::from_secs(10));
    leave(Outcome::Reboot)
}

fn live(state: Arc<dyn BootState>) -> io::Result<Outcome> {
    let began = Instant::now();
    std::panic::set_hook(Box::new(panicked));
    let paths = Paths::default();
    let problems = mounts::run(&paths);
    // Ctrl-Alt-Del asks process 1 instead of restarting at once.
    let _ = set_cad_enabled(false);
    let mut boot = Boot {
        line: Cmdline::parse(&fs::read_to_string("/proc/cmdline").unwrap_or_default()),
        build: build(),
        facts: Facts::default(),
        console: Console::open(),
        dog: None,
        jobs: Jobs::new()?,
        events: None,
        disk: None,
        keep: None,
        state,
        cold: true,
        missed: false,
        reset: None,
        paths,
    };
    boot.facts.emulated = boot.line.emulated;
    for problem in problems {
        boot.problem(problem);
    }
    let version = boot.build.version.clone();
    for (name, phase) in phases::ALL {
        let before = Instant::now();
        phase(&mut boot);
        if let Some(dog) = &boot.dog {
            dog.feed();
        }
        if before.elapsed() > FEEDING / 4 {
            let took = before.elapsed().as_millis();
            boot.console.say(&format!("{name} took {took} ms"));
        }
    }
    let (slot, took) = (boot.line.slot.letter(), began.elapsed().as_millis());
    boot.console.say(&format!("Bramble {version}, slot {slot}, started in {took} ms"));
    let terms = Terms {
        program: "/init".into(),
        appliance: vec!["run".into(), "--data".into(), boot.facts.data_dir.clone().into()],
        installer: OsString::from(INSTALLER),
        confined: true,
        line: boot.line,
        paths: boot.paths,
        built_unix: boot.build.built_unix,
        version,
    };
    let found = Handover {
        facts: boot.facts,
        console: boot.console,
        dog: boot.dog,
        jobs: boot.jobs,
        events: boot.events,
        card: boot.disk.map(|disk| (disk, boot.state)),
        keep: boot.keep,
        cold: boot.cold,
        missed: boot.missed,
    };
    let mut supervisor = Supervisor::new(terms, found)?;
    let outcome = supervisor.run();
    Ok(outcome)
}

/// reboot(2), which does not return.
fn leave(outcome: Outcome) -> ! {
    loop {
        let _ = reboot(match outcome {
            Outcome::Reboot => RebootMode::RB_AUTOBOOT,
            Outcome::PowerOff => RebootMode::RB_POWER_OFF,
        });
        // A board that cannot switch itself off stays here, at rest.
        thread::sleep(Duration::from_secs(1));
    }
}

/// Restarts the board if the way out takes too long, whatever holds it up.
pub(crate) fn last_net() {
    let _ = thread::Builder::new().stack_size(64 * 1024).spawn(|| {
        thread::sleep(WAY_OUT);
        let _ = reboot(RebootMode::RB_AUTOBOOT);
    });
}

fn build() -> Build {
    let read = fs::read("/etc/bramble/build.json").unwrap_or_default();
    let mut build: Build = serde_json::from_slice(&read).unwrap_or_default();
    if build.version.is_empty() {
        build.version = env!("CARGO_PKG_VERSION").into();
    }
    build
}

/// A panic of the loop is the end of process 1, over which the kernel panics, and restarts the
/// board after ten seconds. One of a job is only that job's.
fn panicked(info: &PanicHookInfo<'_>) {
    shout(&format!("process 1 failed: {info}"));
    let main = thread::current().name() == Some("main");
    if main {
        // SAFETY: ends the process without running any code of it.
        unsafe { nix::libc::_exit(PANICKED) };
    }
}

fn shout(text: &str) {
    for place in ["/dev/kmsg", "/dev/console"] {
        if let Ok(mut file) = File::options().write(true).open(place) {
            let _ = file.write_all(format!("<2>bramble: {text}\n").as_bytes());
        }
    }
}
