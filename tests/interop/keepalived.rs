//! A real keepalived as the other balancer, with the reference cluster's configuration: whoever
//! has the higher priority holds the floating IP, whichever program that is, and the two never
//! hold it together for longer than it takes one advert to arrive.

#![allow(clippy::unwrap_used, reason = "a test states what it expects")]

use lab::network::FLOATING_IP;
use lab::{Figures, Lab, Load, Options, Plan, Stalls, site, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// keepalived in the place of one balancer.
struct Keepalived<'a> {
    lab: &'a Lab,
    node: &'static str,
    child: Option<Child>,
}

impl<'a> Keepalived<'a> {
    /// The reference configuration of this node, without what it runs HAProxy for.
    fn new(lab: &'a Lab, node: &'static str, version: u8) -> Self {
        let (state, priority) = if node == "lbmaster" { ("MASTER", 101) } else { ("BACKUP", 100) };
        let text = format!(
            "global_defs {{\n    vrrp_version {version}\n}}\n\
             vrrp_instance VI_1 {{\n    interface eth0\n    state {state}\n    \
             virtual_router_id 77\n    priority {priority}\n    advert_int 1\n    \
             virtual_ipaddress {{\n        {FLOATING_IP}/24\n    }}\n}}\n"
        );
        let this = Self { lab, node, child: None };
        fs::write(this.file("conf"), text).unwrap();
        // What the appliance does for its own node from the settings.
        let space = lab.node(node).space();
        for (address, link) in [(lab::wired(node), "eth0"), (lab::wireless(node), "wlan0")] {
            space.ip(&["addr", "replace", &format!("{address}/24"), "dev", link]).unwrap();
        }
        this
    }

    fn file(&self, extension: &str) -> PathBuf {
        self.lab.node(self.node).dir().join(format!("keepalived.{extension}"))
    }

    fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.file("log")).unwrap();
        let mut command = Command::new("keepalived");
        command.args(["--dont-fork", "--log-console", "--log-detail", "--vrrp"]);
        for (option, extension) in [("-f", "conf"), ("-p", "pid"), ("-r", "vrrp.pid")] {
            command.arg(option).arg(self.file(extension));
        }
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let space = self.lab.node(self.node).space();
        self.child = Some(lab::process::start(&space, None, command).unwrap());
    }

    fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
        child.wait().unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap_or_default()
    }
}

/// Looks at both balancers all the time: how long did both have the floating IP?
struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(Duration, u32)>,
}

impl Watch {
    fn start(lab: &Lab) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let spaces = ["lbmaster", "lbslave"].map(|n| lab.node(n).space());
        let thread = thread::spawn(move || {
            let has = |i: usize| {
                let shown = spaces[i].ip(&["-4", "-o", "addr", "show", "dev", "eth0"]);
                shown.unwrap_or_default().contains(&format!(" {FLOATING_IP}/"))
            };
            let (mut since, mut longest, mut looks) = (None, Duration::ZERO, 0);
            while !stopped.load(Ordering::Relaxed) {
                looks += 1;
                if has(0) && has(1) {
                    let start = *since.get_or_insert_with(Instant::now);
                    longest = longest.max(start.elapsed());
                } else {
                    since = None;
                }
                thread::sleep(Duration::from_millis(5));
            }
            (longest, looks)
        });
        Self { stop, thread }
    }

    /// The longest time both had it, and how many times somebody looked.
    fn end(self) -> (Duration, u32) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// The document of the reference cluster with this version of VRRP.
fn settings(version: u8) -> String {
    format!("{}\n[[vrrp]]\nname = \"VI_1\"\nversion = {version}\n", lab::reference::REFERENCE)
}

/// One of ours as `ours`, keepalived as `other`; the higher priority is `lbmaster`'s.
fn elections(version: u8, ours: &'static str, other: &'static str) {
    let found = Command::new("keepalived").arg("--version").output();
    assert!(found.is_ok(), "keepalived is not installed: apt-get install keepalived");
    let options = Options::new(env!("CARGO_BIN_EXE_bramble")).settings(settings(version));
    let lab = Lab::start(&options.start(&["web01", "web02", ours])).unwrap();
    let mut keepalived = Keepalived::new(&lab, other, version);
    lab.wait_holder(ours, PATIENCE).unwrap();

    let (watch, stalls) = (Watch::start(&lab), Stalls::start());
    let title = format!("VRRP {version}, {ours} is ours, {other} keepalived");
    let mut figures = Figures::new(env!("CARGO_TARGET_TMPDIR"), &title);
    // Only ours has a load balancer behind the floating IP, so visitors are watched only where
    // ours gets it back.
    keepalived.start();
    if other == "lbmaster" {
        lab.wait_holder(other, PATIENCE).unwrap();
        keepalived.stop();
        lab.wait_holder(ours, PATIENCE).unwrap();
        keepalived.start();
        lab.wait_holder(other, PATIENCE).unwrap();
        let load = Load::start(&lab.client(), Plan::steady(site())).unwrap();
        keepalived.stop();
        lab.wait_holder(ours, PATIENCE).unwrap();
        lab.wait_site(PATIENCE).unwrap();
        figures.row("keepalived SIGTERM", &load.finish().unwrap());
    } else {
        wait::until_true(PATIENCE, "keepalived to be the backup", || {
            keepalived.log().contains("Entering BACKUP STATE")
        })
        .unwrap();
        lab.wait_holder(ours, PATIENCE).unwrap();
        lab.node(ours).stop().unwrap();
        lab.wait_holder(other, PATIENCE).unwrap();
        lab.node(ours).start().unwrap();
        lab.wait_holder(ours, PATIENCE).unwrap();
        lab.node(ours).kill().unwrap();
        lab.wait_holder(other, PATIENCE).unwrap();
        lab.node(ours).start().unwrap();
        lab.wait_holder(ours, PATIENCE).unwrap();
        lab.wait_site(PATIENCE).unwrap();
        lab.node(ours).power(false).unwrap();
        lab.wait_holder(other, PATIENCE).unwrap();
        lab.node(ours).power(true).unwrap();
        lab.wait_holder(ours, PATIENCE).unwrap();
        let load = Load::start(&lab.client(), Plan::steady(site())).unwrap();
        load.reach(100, PATIENCE).unwrap();
        keepalived.stop();
        load.reach(200, PATIENCE).unwrap();
        let report = load.finish().unwrap();
        assert_eq!(report.failed, 0, "a backup that goes away was noticed: {report:?}");
        figures.row("keepalived (backup) SIGTERM", &report);
    }
    let (both, looks) = watch.end();
    let stall = stalls.longest();
    figures.publish().unwrap();
    eprintln!("{title}: both held it for at most {both:?}, {looks} looks, stalls of {stall:?}");
    assert!(looks > 100, "only {looks} looks");
    // RFC 3768 6.4.3: whoever hears a higher priority lets go at once; two processes and a look
    // at each of them lie in between. Nobody hears anything while the machine stands still.
    let both = both.saturating_sub(stall);
    assert!(both < Duration::from_millis(300), "two masters for {both:?}:\n{}", keepalived.log());
    for word in ["checksum", "invalid", "incorrect", "mismatch", "bogus"] {
        let log = keepalived.log().to_ascii_lowercase();
        let line = log.lines().find(|l| l.contains(word));
        assert!(line.is_none(), "keepalived complains of our adverts: {line:?}");
    }
}

#[test]
fn ours_is_the_master_and_keepalived_the_backup() {
    elections(2, "lbmaster", "lbslave");
}

#[test]
fn keepalived_is_the_master_and_ours_the_backup() {
    elections(2, "lbslave", "lbmaster");
}

#[test]
fn ours_is_the_master_and_keepalived_the_backup_in_version_3() {
    elections(3, "lbmaster", "lbslave");
}

#[test]
fn keepalived_is_the_master_and_ours_the_backup_in_version_3() {
    elections(3, "lbslave", "lbmaster");
}
