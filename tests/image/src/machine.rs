//! A running QEMU.

use crate::card::Card;
use crate::client::Client;
use crate::monitor::Monitor;
use lab::netns::Namespace;
use lab::{Doing, Error, Result, process, wait};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How QEMU is told to end before it is killed.
const FAREWELL: Duration = Duration::from_secs(5);
/// Lines of the serial log that go with a failure.
const TAIL: usize = 40;

/// A machine under power. Dropping it pulls the plug.
#[derive(Debug)]
pub struct Machine {
    child: Child,
    started: Instant,
    dir: TempDir,
    card: Option<Card>,
    admin: SocketAddr,
    space: Option<Namespace>,
}

/// What the two kinds of machines have in common.
pub(crate) struct Start {
    /// QEMU with everything but serial line, monitor and display.
    pub(crate) command: Command,
    pub(crate) dir: TempDir,
    pub(crate) card: Card,
    /// Where the node's page is reached, from the outside or from inside `space`.
    pub(crate) admin: SocketAddr,
    pub(crate) space: Option<Namespace>,
}

/// A directory for what one machine needs, with a path short enough for a socket's name.
pub(crate) fn directory() -> Result<TempDir> {
    let dir = tempfile::Builder::new().prefix("bramble-emu-").tempdir();
    dir.doing(|| "making a directory for a machine".to_owned())
}

impl Machine {
    pub(crate) fn start(start: Start) -> Result<Self> {
        let Start { mut command, dir, card, admin, space } = start;
        let said = dir.path().join("qemu.log");
        let file = File::create(&said).doing(|| format!("making {}", said.display()))?;
        let twice = file.try_clone().doing(|| format!("sharing {}", said.display()))?;
        command
            .args(["-display", "none", "-monitor", "none", "-chardev"])
            .arg(format!("file,id=line,append=on,path={}", dir.path().join("serial.log").display()))
            .args(["-serial", "chardev:line", "-qmp"])
            .arg(format!("unix:{},server=on,wait=off", dir.path().join("qmp").display()))
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(twice);
        let child = match &space {
            Some(space) => process::start(space, None, command)?,
            None => process::start_here(command)?,
        };
        let card = Some(card);
        let mut machine = Self { child, started: Instant::now(), dir, card, admin, space };
        let ready = machine.dir.path().join("qmp");
        wait::until(Duration::from_secs(20), "QEMU", || {
            if ready.exists() {
                return Ok(());
            }
            let over = machine.child.try_wait().ok().flatten();
            let said = fs::read_to_string(&said).unwrap_or_default();
            Err(over.map_or_else(|| "not there yet".to_owned(), |s| format!("{s}: {said}")))
        })?;
        Ok(machine)
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// When its power was switched on.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Where its serial line is written to.
    pub fn serial_path(&self) -> PathBuf {
        self.dir.path().join("serial.log")
    }

    /// What came over its serial line so far.
    pub fn serial(&self) -> String {
        let bytes = fs::read(self.serial_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines of it, and what QEMU itself said.
    pub fn tail(&self) -> String {
        let text = self.serial();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default().join("\n");
        let said = fs::read_to_string(self.dir.path().join("qemu.log")).unwrap_or_default();
        format!("--- serial line\n{last}\n--- QEMU\n{said}")
    }

    /// Waits until `text` has come over the serial line `times` times.
    ///
    /// # Errors
    /// After `limit`, with the end of what did come.
    pub fn wait_serial(&self, text: &str, times: usize, limit: Duration) -> Result<()> {
        let enough = || self.serial().matches(text).count() >= times;
        wait::until_true(limit, &format!("{text:?} on the serial line"), enough)
            .map_err(|e| Error::other(format!("{e}\n{}", self.tail())))
    }

    /// Its page, not signed in.
    pub fn client(&self) -> Client {
        match &self.space {
            Some(space) => Client::inside(space.clone(), self.admin),
            None => Client::new(self.admin),
        }
    }

    /// Waits until the page answers, and says how long that took from power on.
    ///
    /// # Errors
    /// After `limit`, with the end of the serial log.
    pub fn wait_for_admin(&self, limit: Duration) -> Result<Duration> {
        match self.client().wait_for_admin(limit) {
            Ok(()) => Ok(self.started.elapsed()),
            Err(e) => Err(Error::other(format!("{e}\n{}", self.tail()))),
        }
    }

    /// QEMU's own control.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn monitor(&self) -> Result<Monitor> {
        Monitor::connect(&self.dir.path().join("qmp"))
    }

    /// Presses reset.
    ///
    /// # Errors
    /// When QEMU does not answer.
    pub fn reset(&self) -> Result<()> {
        self.monitor()?.order("system_reset", &Value::Null).map(drop)
    }

    /// What is on the screen, as a PPM picture.
    ///
    /// # Errors
    /// When QEMU refuses.
    pub fn screen(&self, to: &Path) -> Result<()> {
        self.monitor()?.order("screendump", &json!({ "filename": to })).map(drop)
    }

    /// Pulls the plug: QEMU is killed in the middle of whatever it does.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn power_cut(mut self) -> Result<Card> {
        self.kill();
        self.card.take().ok_or_else(|| Error::other("a machine without a card"))
    }

    /// Waits until QEMU ends by itself, as it does when the board is switched off.
    ///
    /// # Errors
    /// After `limit`.
    pub fn wait_off(mut self, limit: Duration) -> Result<Card> {
        let child = &mut self.child;
        let over = wait::until_true(limit, "the board to switch off", || {
            child.try_wait().is_ok_and(|status| status.is_some())
        });
        over.map_err(|e| Error::other(format!("{e}\n{}", self.tail())))?;
        self.card.take().ok_or_else(|| Error::other("a machine without a card"))
    }

    /// The card while the machine uses it: to be read only.
    ///
    /// # Errors
    /// Never while the machine lives.
    pub fn card(&self) -> Result<&Card> {
        self.card.as_ref().ok_or_else(|| Error::other("a machine without a card"))
    }

    /// Seconds of processor time QEMU has used.
    ///
    /// # Errors
    /// When it is gone.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.pid());
        let text = fs::read_to_string(&path).doing(|| format!("reading {path}"))?;
        // The second field is a name in brackets and may hold blanks.
        let fields: Vec<&str> =
            text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
        Ok((ticks(11) + ticks(12)) / 100.0)
    }

    /// Bytes of memory QEMU has touched.
    ///
    /// # Errors
    /// When it is gone.
    pub fn resident(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.pid());
        let text = fs::read_to_string(&path).doing(|| format!("reading {path}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|l| l.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        Ok(kib.unwrap_or(0) * 1024)
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let end = Instant::now() + FAREWELL;
        while Instant::now() < end && self.child.try_wait().is_ok_and(|s| s.is_none()) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
        }
    }
}
