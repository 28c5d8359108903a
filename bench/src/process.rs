//! Processes: starting, pinning, and what the system says of them.

use crate::idle;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeMap;
use std::error::Error;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) type Done<T> = Result<T, Box<dyn Error>>;

/// Microseconds of a clock tick of `/proc/PID/stat`: `USER_HZ` is 100 on every Linux there is.
const TICK_US: f64 = 10_000.0;

/// A process that ends when this does.
#[derive(Debug)]
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Asks it to end: closes its input and sends a signal.
    pub(crate) fn ask_to_end(&mut self, signal: rustix::process::Signal) -> Done<()> {
        drop(self.0.stdin.take());
        let pid = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.ok_or("no such process")?, signal)?;
        Ok(())
    }

    /// Waits for its end and returns what it said on its error output.
    pub(crate) fn last_words(mut self, patience: Duration) -> Done<String> {
        use std::io::Read as _;
        let end = Instant::now() + patience;
        let mut words = String::new();
        while self.0.try_wait()?.is_none() {
            if Instant::now() > end {
                return Err("a process did not end when it was asked to".into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        if let Some(mut errors) = self.0.stderr.take() {
            errors.read_to_string(&mut words)?;
        }
        Ok(words)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let children = descendants(self.0.id());
        let _ = self.0.kill();
        let _ = self.0.wait();
        // Workers of a killed master.
        for pid in children {
            let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
            if let Some(pid) = pid {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

/// Where a process may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On the first processor alone.
    First,
    /// On all but the first.
    Others,
    /// Wherever it likes.
    Anywhere,
}

impl Place {
    /// The start of a command line that runs there.
    pub(crate) fn command(self, program: &str) -> Command {
        let several = std::thread::available_parallelism().is_ok_and(|n| n.get() > 1);
        let processors = match self {
            Self::First if several => "0",
            Self::Others if several => "1-1023",
            _ => return Command::new(program),
        };
        let mut command = Command::new("taskset");
        command.args(["-c", processors, program]);
        command
    }
}

/// Starts a process in the background; what it complains about is heard unless it is `kept`.
pub(crate) fn start(mut command: Command, kept: bool) -> Done<Running> {
    let errors = if kept { Stdio::piped() } else { Stdio::inherit() };
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(errors);
    let started = command.spawn().map_err(|e| format!("{:?}: {e}", command.get_program()))?;
    Ok(Running(started))
}

/// Waits until somebody takes connections on this port.
pub(crate) fn listens(port: u16, patience: Duration) -> Done<()> {
    let end = Instant::now() + patience;
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if Instant::now() > end {
            return Err(format!("nobody listens on port {port}").into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// A process and all it has started.
pub(crate) fn descendants(root: u32) -> Vec<u32> {
    let mut all = vec![root];
    let mut at = 0;
    while let Some(pid) = all.get(at) {
        let path = format!("/proc/{pid}/task/{pid}/children");
        let children = std::fs::read_to_string(path).unwrap_or_default();
        all.extend(children.split_whitespace().filter_map(|p| p.parse::<u32>().ok()));
        at += 1;
    }
    all
}

/// Processor time in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Time {
    pub(crate) user: f64,
    pub(crate) system: f64,
}

impl Time {
    pub(crate) fn total(self) -> f64 {
        self.user + self.system
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self { user: self.user - before.user, system: self.system - before.system }
    }
}

/// What these processes have used (`utime` and `stime`, proc(5)).
pub(crate) fn time(pids: &[u32]) -> Time {
    let mut sum = Time::default();
    for pid in pids {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after = text.rsplit_once(')').map_or("", |(_, rest)| rest);
        let mut fields = after.split_whitespace().skip(11).map(number);
        sum.user += fields.next().unwrap_or(0.0) * TICK_US;
        sum.system += fields.next().unwrap_or(0.0) * TICK_US;
    }
    sum
}

/// A thread's time on processors and its time waiting for one, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turns {
    pub(crate) ran: f64,
    pub(crate) waited: f64,
}

impl Turns {
    pub(crate) fn since(self, before: Self) -> Self {
        Self { ran: self.ran - before.ran, waited: self.waited - before.waited }
    }
}

/// All threads of these processes (`/proc/PID/task/TID/schedstat`).
pub(crate) fn threads(pids: &[u32]) -> BTreeMap<PathBuf, Turns> {
    const NS: f64 = 1000.0;
    let tasks = pids.iter().filter_map(|pid| std::fs::read_dir(format!("/proc/{pid}/task")).ok());
    let paths = tasks.flatten().flatten().map(|task| task.path());
    let turns = |path: PathBuf| {
        let text = std::fs::read_to_string(path.join("schedstat")).ok()?;
        let mut fields = text.split_whitespace().map(number);
        let (ran, waited) = (fields.next()? / NS, fields.next()? / NS);
        Some((path, Turns { ran, waited }))
    };
    paths.filter_map(turns).collect()
}

/// What children of this process used that have ended.
pub(crate) fn time_of_children() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    after.split_whitespace().skip(13).take(2).map(number).sum::<f64>() * TICK_US
}

/// Time all processors together were busy, in microseconds (`/proc/stat` less idle and waiting).
pub(crate) fn busy() -> f64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let fields: Vec<f64> = fields.take(8).map(number).collect();
    let idle: f64 = fields.iter().skip(3).take(2).sum();
    (fields.iter().sum::<f64>() - idle) * TICK_US
}

/// Memory in use (`VmRSS`), in KiB, of all these processes together.
pub(crate) fn memory(pids: &[u32]) -> f64 {
    pids.iter()
        .filter_map(|pid| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
            line.split_whitespace().next().map(number)
        })
        .sum()
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or(0.0)
}

/// Descriptors kept free for everything that is no connection.
const RESERVE: u32 = 200;

/// Visitors a proxy is set up for: those who sit idle, and some more for checks and for what is
/// asked in between.
const VISITORS: u32 = idle::CONNECTIONS + idle::SPARE;

/// Ten thousand connections need as many descriptors at both ends, and a proxy two for each. Takes
/// them, or what it may: only root gets more than the system allows everybody.
pub(crate) fn raise_limits() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = u64::from(2 * VISITORS + RESERVE);
    let enough = |limit: Option<u64>| limit.map(|limit| limit.max(wanted));
    let more = Rlimit { current: enough(limit.maximum), maximum: enough(limit.maximum) };
    if setrlimit(Resource::Nofile, more).is_err() {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
}

/// How many visitors this system lets a proxy have, with a connection to a server for each.
pub(crate) fn most_connections() -> u32 {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let files = u32::try_from(files).unwrap_or(u32::MAX);
    (files.saturating_sub(RESERVE) / 2).clamp(100, VISITORS)
}
