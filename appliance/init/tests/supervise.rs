//! The loop of process 1 as an ordinary process, with a small stand-in for the appliance process.
//!
//! No test harness: the loop reaps every child of its process and reads its signals, so that each
//! case has a supervisor of its own, which is this same binary with another argument.

#![expect(clippy::unwrap_used, reason = "a test states what it expects")]

use init::channel::{Request, TestFailure};
use init::facts::Facts;
use init::{Client, Cmdline, Outcome, Paths, Supervisor, Terms, USER};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["supervisor", directory, mode] => supervisor(Path::new(directory), mode),
        ["run", directory, mode] => appliance(Path::new(directory), mode),
        ["brief"] => thread::sleep(Duration::from_millis(100)),
        words => cases(words.iter().find(|word| !word.starts_with('-')).unwrap_or(&"")),
    }
}

/// Those whose name contains the word.
fn cases(word: &str) {
    let cases: [(&str, fn()); 8] = [
        ("a killed process is back at once", a_killed_process_is_back_at_once),
        ("a process that keeps crashing is held back", a_crashing_process_is_held_back),
        ("orphans are reaped", orphans_are_reaped),
        ("a silent process is killed", a_silent_process_is_killed),
        ("questions are answered", questions_are_answered),
        ("an orderly end", an_orderly_end),
        ("an end that is refused", an_end_that_is_refused),
        ("few rights", few_rights),
    ];
    let wanted = cases.into_iter().filter(|(name, _)| name.contains(word));
    let threads: Vec<_> = wanted.map(|(name, case)| (name, thread::spawn(case))).collect();
    let mut failed = false;
    for (name, thread) in threads {
        let ok = thread.join().is_ok();
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
        failed |= !ok;
    }
    if failed {
        std::process::exit(1);
    }
}

/// A supervisor, and where its stand-ins report.
struct Board {
    directory: tempfile::TempDir,
    reports: UnixDatagram,
    process: Child,
}

impl Board {
    fn start(mode: &str) -> Self {
        // In memory, as on a board: a card's pauses are no part of this.
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let at = directory.path().join("reports");
        let reports = UnixDatagram::bind(&at).unwrap();
        fs::set_permissions(&at, fs::Permissions::from_mode(0o777)).unwrap();
        reports.set_read_timeout(Some(LIMIT)).unwrap();
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["supervisor", directory.path().to_str().unwrap(), mode])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self { directory, reports, process }
    }

    fn report(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.reports.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// The process id of a stand-in that has just started.
    fn started(&self) -> Pid {
        let report = self.report();
        Pid::from_raw(report.strip_prefix("started ").unwrap().parse().unwrap())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.process.id()).unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    fn facts(&self) -> Facts {
        serde_json::from_slice(&fs::read(self.directory.path().join("facts.json")).unwrap())
            .unwrap()
    }

    fn console(&self) -> String {
        fs::read_to_string(self.directory.path().join("console")).unwrap()
    }

    /// What it says at its end, and how long that took.
    fn end(mut self) -> (String, Duration) {
        let began = Instant::now();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut self.process.stdout.take().unwrap(), &mut text).unwrap();
        assert!(self.process.wait().unwrap().success());
        (text, began.elapsed())
    }

    /// Processes whose parent it is.
    fn children(&self) -> Vec<i32> {
        let path = format!("/proc/{0}/task/{0}/children", self.process.id());
        let list = fs::read_to_string(path).unwrap();
        list.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // Its stand-ins first, which it would otherwise start again.
        if self.process.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = kill(self.pid(), Signal::SIGSTOP);
            for child in self.children() {
                let _ = kill(Pid::from_raw(child), Signal::SIGKILL);
            }
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

fn a_killed_process_is_back_at_once() {
    // The first is started at once; later ones are held back. Whoever reads the clock may be kept
    // from it meanwhile, so the best of a few boards counts.
    let mut times = Vec::new();
    let (board, next) = loop {
        let board = Board::start("beat");
        let pid = board.started();
        let killed = Instant::now();
        kill(pid, Signal::SIGKILL).unwrap();
        let next = board.started();
        times.push(killed.elapsed());
        assert_ne!(next, pid);
        let good = times.iter().any(|took| *took < Duration::from_millis(500));
        if good || times.len() == 4 {
            break (board, next);
        }
    };
    println!("a killed process was back after {times:?}");
    assert!(times.iter().any(|took| *took < Duration::from_millis(500)), "{times:?}");
    let facts = board.facts();
    assert_eq!(facts.restarts, 1);
    assert!(facts.last_exit.unwrap().contains("by SIGKILL"));
    assert!(board.children().contains(&next.as_raw()));
    board.signal(Signal::SIGTERM);
    board.end();
}

fn a_crashing_process_is_held_back() {
    let board = Board::start("crash");
    let began = Instant::now();
    for _ in 0..5 {
        board.started();
    }
    // At once, then after 100, 200 and 400 ms.
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(700), "{took:?}");
    let exit = board.facts().last_exit.unwrap();
    assert!(exit.contains("with exit code 3") && exit.contains("the last line"), "{exit}");
    assert!(board.console().contains("the last line"));
    board.signal(Signal::SIGPWR);
    assert_eq!(board.end().0, "PowerOff\n");
}

fn orphans_are_reaped() {
    let board = Board::start("parent");
    let pid = board.started();
    kill(pid, Signal::SIGKILL).unwrap();
    let next = board.started();
    let began = Instant::now();
    // The first one's child has become the supervisor's; a zombie would stay in the list.
    while board.children() != [next.as_raw()] {
        assert!(began.elapsed() < LIMIT, "{:?}", board.children());
        thread::sleep(Duration::from_millis(5));
    }
    board.signal(Signal::SIGTERM);
    board.end();
}

fn a_silent_process_is_killed() {
    let board = Board::start("silent");
    let first = board.started();
    let began = Instant::now();
    let second = board.started();
    assert_ne!(first, second);
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(10) && took < Duration::from_secs(20), "{took:?}");
    assert!(board.console().contains("hangs"));
    board.signal(Signal::SIGTERM);
    board.end();
}

fn questions_are_answered() {
    let board = Board::start("ask");
    board.started();
    let answers = board.report();
    let answers: Vec<_> = answers.lines().collect();
    for (answer, part) in answers.iter().zip([
        "letters, digits and hyphens",
        "There is no card",
        "There is no card",
        "There is no card",
        "not started for tests",
        "1 to 600 seconds",
        "ok",
        "before this firmware was made",
        "no wpa_supplicant",
    ]) {
        assert!(answer.contains(part), "{answer:?}: {part}");
    }
    assert_eq!(answers.len(), 9, "{answers:?}");
    // Then it has asked for a restart.
    let trigger = board.directory.path().join("leds/ACT/trigger");
    let began = Instant::now();
    while fs::read_to_string(&trigger).unwrap() != "mmc0" {
        assert!(began.elapsed() < LIMIT, "the LED still blinks");
        thread::sleep(Duration::from_millis(5));
    }
    let shown = board.console();
    assert!(shown.contains("setup: Wi-Fi Net?[2J, passphrase secret123"), "{shown}");
    assert_eq!(board.end().0, "Reboot\n");
}

fn an_orderly_end() {
    let board = Board::start("beat");
    let pid = board.started();
    board.signal(Signal::SIGTERM);
    let (said, took) = board.end();
    assert_eq!(said, "Reboot\n");
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert!(kill(pid, None).is_err(), "the stand-in outlived its supervisor");
}

fn an_end_that_is_refused() {
    let board = Board::start("stubborn");
    let pid = board.started();
    board.signal(Signal::SIGINT);
    let (_, took) = board.end();
    assert!(took >= Duration::from_millis(4900) && took < Duration::from_secs(12), "{took:?}");
    assert!(kill(pid, None).is_err(), "the stand-in outlived its supervisor");
}

fn few_rights() {
    let board = Board::start("rights");
    board.started();
    let status = board.report();
    let line = |name: &str| {
        let found = status.lines().find_map(|line| line.strip_prefix(name));
        found.unwrap().split_whitespace().collect::<Vec<_>>()
    };
    let user = USER.to_string();
    assert_eq!(line("Uid:"), [user.as_str(); 4]);
    assert_eq!(line("Gid:"), [user.as_str(); 4]);
    assert!(line("Groups:").is_empty());
    // Bits 10, 12, 13 and 23.
    let few = "0000000000803400";
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(line(set), [few], "{set}");
    }
    assert_eq!(line("NoNewPrivs:"), ["1"]);
    assert_eq!(line("SigBlk:"), ["0000000000000000"], "no signal stays blocked");
    let facts = fs::metadata(board.directory.path().join("facts.json")).unwrap();
    assert_eq!(facts.permissions().mode() & 0o777, 0o600);
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&facts), USER);
    board.signal(Signal::SIGTERM);
    board.end();
}

/// Process 1 of a board that is a directory.
fn supervisor(directory: &Path, mode: &str) {
    set_child_subreaper(true).unwrap();
    let confined = mode == "rights";
    if confined {
        chown(directory, Some(USER), Some(USER)).unwrap();
    }
    let leds = directory.join("leds");
    fs::create_dir_all(leds.join("ACT")).unwrap();
    fs::write(leds.join("ACT/trigger"), "none [mmc0] timer").unwrap();
    let terms = Terms {
        program: std::env::current_exe().unwrap(),
        appliance: vec!["run".into(), directory.into(), mode.into()],
        installer: "install".into(),
        confined,
        line: Cmdline::default(),
        paths: Paths {
            run: directory.into(),
            uploads: directory.join("uploads"),
            facts: directory.join("facts.json"),
            data: directory.join("data"),
            boot: directory.join("boot"),
            leds,
            radio: directory.into(),
            supplicant: PathBuf::from("/nowhere/wpa_supplicant"),
        },
        built_unix: 4_000_000_000_000,
        version: "0".into(),
    };
    let console = File::create(directory.join("console")).unwrap();
    let outcome = Supervisor::without_board(terms, console).unwrap().run();
    let text = match outcome {
        Outcome::Reboot => "Reboot",
        Outcome::PowerOff => "PowerOff",
    };
    println!("{text}");
}

/// A stand-in for the appliance process.
fn appliance(directory: &Path, mode: &str) {
    let client = Client::from_environment().unwrap();
    let reports = UnixDatagram::unbound().unwrap();
    let report = |text: &str| {
        reports.send_to(text.as_bytes(), directory.join("reports")).unwrap();
    };
    if mode == "stubborn" {
        // SAFETY: ignoring a signal installs no handler.
        unsafe { signal(Signal::SIGTERM, SigHandler::SigIgn) }.unwrap();
    }
    if mode == "parent" {
        #[expect(clippy::zombie_processes, reason = "an orphan is what is wanted")]
        let _orphan = Command::new(std::env::current_exe().unwrap()).arg("brief").spawn().unwrap();
    }
    report(&format!("started {}", std::process::id()));
    client.heartbeat();
    match mode {
        "crash" => {
            println!("the last line");
            std::process::exit(3);
        }
        "silent" => thread::sleep(Duration::from_secs(600)),
        "ask" => ask(&client, &report),
        "rights" => report(&fs::read_to_string("/proc/self/status").unwrap()),
        _ => {}
    }
    loop {
        client.heartbeat();
        thread::sleep(Duration::from_millis(200));
    }
}

fn ask(client: &Client, report: &dyn Fn(&str)) {
    client.screen(
        vec!["a line".into()],
        Some(init::channel::Setup {
            ssid: "Net\x1b[2J".into(),
            passphrase: "secret123".into(),
            url: "http://192.168.19.36:1936/".into(),
        }),
    );
    let mut answers = Vec::new();
    for request in [
        Request::HostName { name: "no name".into() },
        Request::InstallFirmware { path: "/etc/passwd".into() },
        Request::RewriteBootFile { text: "a".into() },
        Request::FactoryReset,
        Request::Fail { how: TestFailure::Panic },
        Request::Blink { seconds: 601 },
        Request::Blink { seconds: 60 },
        Request::Clock { unix_ms: 1 },
        Request::Supplicant { run: true },
    ] {
        answers.push(client.ask(&request).err().unwrap_or_else(|| "ok".into()));
    }
    report(&answers.join("\n"));
    // No more than an answer can be expected after this.
    let _ = client.ask(&Request::Reboot);
}
