//! Two balancers and a client on a bridge, each in a network namespace of its own.

use super::balancer;
use super::netlink::Netlink;
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use vrrp::Addresses;

pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 100);
pub(crate) const A: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 11);
pub(crate) const B: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 12);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 50);
const PROBE: u16 = 7000;
/// Of the network namespace of the thread that writes it.
const LINKDOWN: &str = "/proc/sys/net/ipv4/conf/eth0/ignore_routes_with_linkdown";

static LABS: AtomicU32 = AtomicU32::new(0);

/// What measures must not wait behind what else the machine does.
fn hurry() {
    // SAFETY: all fields are integers; zero is a value of each.
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = 30;
    // SAFETY: the parameters are valid for reads; pthread_self is this very thread.
    unsafe {
        libc::pthread_setschedparam(libc::pthread_self(), libc::SCHED_RR, &raw const parameters);
    }
}

fn run(command: &str) {
    let words: Vec<&str> = command.split_whitespace().collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {error}");
}

/// The lab; its namespaces go with it.
pub(crate) struct Lab {
    pub(crate) name: String,
    pub(crate) directory: tempfile::TempDir,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    probes: Arc<Mutex<Probes>>,
}

#[derive(Default)]
struct Probes {
    /// When the client got an answer, and from whom.
    answers: Vec<(Instant, Ipv4Addr)>,
    sent: usize,
    /// Who had the floating IP, one row per look.
    held: Vec<(Instant, bool, bool)>,
}

/// What the client saw in a stretch of time.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Longest time between two answers.
    pub(crate) gap: Duration,
    pub(crate) lost: usize,
    /// Longest time both nodes had the floating IP.
    pub(crate) both: Duration,
}

impl Lab {
    pub(crate) fn new() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "network namespaces need root: run as root");
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let name = format!("vrrp{}x{number}", std::process::id());
        for (part, address) in [("s", None), ("a", Some(A)), ("b", Some(B)), ("c", Some(CLIENT))] {
            let ns = format!("{name}{part}");
            run(&format!("ip netns add {ns}"));
            run(&format!("ip -n {ns} link set lo up"));
            let Some(address) = address else {
                run(&format!("ip -n {ns} link add br0 type bridge"));
                run(&format!("ip -n {ns} link set br0 up"));
                continue;
            };
            run(&format!("ip -n {ns} link add eth0 type veth peer name p{part} netns {name}s"));
            run(&format!("ip -n {name}s link set p{part} master br0 up"));
            run(&format!("ip -n {ns} addr add {address}/24 dev eth0"));
            run(&format!("ip -n {ns} link set eth0 up"));
        }
        let mut lab = Self {
            name,
            directory: tempfile::tempdir().unwrap(),
            stop: Arc::default(),
            threads: Vec::new(),
            probes: Arc::default(),
        };
        lab.answer("a");
        lab.answer("b");
        lab.probe();
        lab.watch();
        lab
    }

    pub(crate) fn ns(&self, part: &str) -> String {
        format!("{}{part}", self.name)
    }

    /// Runs `body` on a thread in that namespace until the lab ends.
    fn within(&mut self, part: &str, body: impl FnOnce(Arc<AtomicBool>) + Send + 'static) {
        let path = format!("/run/netns/{}", self.ns(part));
        let stop = Arc::clone(&self.stop);
        self.threads.push(std::thread::spawn(move || {
            setns(File::open(path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            hurry();
            body(stop);
        }));
    }

    /// Answers the client's probes with the node's own address as source.
    fn answer(&mut self, part: &str) {
        self.within(part, |stop| {
            // As on a node, where the network sets it. Without it an answer on its way when the
            // carrier goes has the kernel ask in vain for the client's hardware address, and not
            // again for a second, however soon the carrier is back.
            std::fs::write(LINKDOWN, "1").unwrap();
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PROBE)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            let mut buffer = [0; 8];
            while !stop.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(&buffer[..length], from);
                }
            }
        });
    }

    fn probe(&mut self) {
        let probes = Arc::clone(&self.probes);
        self.within("c", move |stop| {
            let socket = UdpSocket::bind((CLIENT, 0)).unwrap();
            socket.set_nonblocking(true).unwrap();
            let mut buffer = [0; 8];
            while !stop.load(Ordering::Relaxed) {
                let _ = socket.send_to(b"?", (VIP, PROBE));
                std::thread::sleep(Duration::from_millis(1));
                let mut probes = probes.lock().unwrap();
                probes.sent += 1;
                while let Ok((_, SocketAddr::V4(from))) = socket.recv_from(&mut buffer) {
                    probes.answers.push((Instant::now(), *from.ip()));
                }
            }
        });
    }

    /// Looks a thousand times a second who has the floating IP.
    fn watch(&mut self) {
        let eyes: Arc<Mutex<BTreeMap<&str, Netlink>>> = Arc::default();
        let probes = Arc::clone(&self.probes);
        for part in ["a", "b"] {
            let eyes = Arc::clone(&eyes);
            self.within(part, move |_| {
                eyes.lock().unwrap().insert(part, Netlink::new().unwrap());
            });
        }
        for opener in self.threads.split_off(self.threads.len() - 2) {
            opener.join().unwrap();
        }
        let stop = Arc::clone(&self.stop);
        self.threads.push(std::thread::spawn(move || {
            hurry();
            let mut eyes = eyes.lock().unwrap();
            let mut has = |part: &str| {
                let state = eyes.get_mut(part).unwrap().interface("eth0").unwrap();
                let state = state.unwrap_or_default();
                state.running && state.addresses.iter().any(|a| a.addr() == VIP)
            };
            while !stop.load(Ordering::Relaxed) {
                let row = (Instant::now(), has("a"), has("b"));
                probes.lock().unwrap().held.push(row);
                std::thread::sleep(Duration::from_millis(1));
            }
        }));
    }

    pub(crate) fn holder(&self) -> (bool, bool) {
        self.probes.lock().unwrap().held.last().map(|(_, a, b)| (*a, *b)).unwrap_or_default()
    }

    /// Waits until exactly this one holds the floating IP and answers the client.
    pub(crate) fn wait_for(&self, holder: Ipv4Addr, limit: Duration) {
        let expected = (holder == A, holder == B);
        let start = Instant::now();
        loop {
            let last = self.probes.lock().unwrap().answers.last().copied();
            let fresh = last.is_some_and(|(at, from)| {
                from == holder && at >= start && at.elapsed() < Duration::from_millis(20)
            });
            if self.holder() == expected && fresh {
                return;
            }
            let seen = (self.holder(), last.map(|(at, from)| (at.elapsed(), from)));
            assert!(start.elapsed() < limit, "waited for {holder}, saw {seen:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until this one answers the client, whoever else believes to hold the floating IP.
    pub(crate) fn wait_for_answer(&self, from: Ipv4Addr, limit: Duration) {
        let start = Instant::now();
        let answers = || self.probes.lock().unwrap().answers.last().is_some_and(|l| l.1 == from);
        while !answers() {
            assert!(start.elapsed() < limit, "{from} does not answer");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Runs a command in a node's namespace.
    pub(crate) fn exec(&self, part: &str, command: &str) {
        run(&format!("ip netns exec {} {command}", self.ns(part)));
    }

    /// Stays so for a while.
    pub(crate) fn stays(&self, holder: Ipv4Addr, span: Duration) {
        let start = Instant::now();
        std::thread::sleep(span);
        let expected = (holder == A, holder == B);
        let probes = self.probes.lock().unwrap();
        let odd = probes.held.iter().find(|(at, a, b)| *at > start && (*a, *b) != expected);
        assert!(odd.is_none(), "{holder} did not stay the holder: {odd:?}");
    }

    /// What the client and the watcher saw since then.
    pub(crate) fn seen_since(&self, start: Instant) -> Seen {
        let probes = self.probes.lock().unwrap();
        let answers: Vec<Instant> =
            probes.answers.iter().map(|(at, _)| *at).filter(|at| *at >= start).collect();
        let first = answers.first().map(|at| at.duration_since(start)).unwrap_or_default();
        let between = answers.windows(2).map(|pair| pair[1].duration_since(pair[0]));
        let gap = between.max().unwrap_or_default().max(first);
        let mut both = Duration::ZERO;
        let mut since = None;
        for (at, a, b) in probes.held.iter().filter(|(at, _, _)| *at >= start) {
            if *a && *b {
                both = both.max(at.duration_since(*since.get_or_insert(*at)));
            } else {
                since = None;
            }
        }
        let elapsed = start.elapsed().as_millis();
        let lost = usize::try_from(elapsed).unwrap().saturating_sub(answers.len());
        Seen { gap, lost, both }
    }

    /// Pulls the plug at the switch or puts it back.
    pub(crate) fn cable(&self, part: &str, plugged: bool) {
        let state = if plugged { "up" } else { "down" };
        run(&format!("ip -n {} link set p{part} {state}", self.ns("s")));
    }

    /// The switch drops everything from and to the node, which does not notice.
    pub(crate) fn port(&self, part: &str, works: bool) {
        let master = if works { "master br0" } else { "nomaster" };
        run(&format!("ip -n {} link set p{part} {master}", self.ns("s")));
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn settings(&self, name: &str, instance: &str) -> PathBuf {
        let text = format!(
            r#"
            [cluster]
            floating_ip = "{VIP}/24"
            [[nodes]]
            id = "a"
            name = "a"
            roles = ["balancer"]
            eth0.address = "{A}/24"
            [[nodes]]
            id = "b"
            name = "b"
            roles = ["balancer"]
            eth0.address = "{B}/24"
            [[vrrp]]
            name = "VI_1"
            {instance}
            "#
        );
        self.file(name, &text)
    }

    pub(crate) fn keepalived(&self, part: &str, instance: &str) -> Keepalived {
        let conf = self.file(
            "keepalived.conf",
            &format!(
                "vrrp_instance VI_1 {{\n interface eth0\n virtual_router_id 77\n \
                 virtual_ipaddress {{\n {VIP}\n }}\n {instance}\n}}\n"
            ),
        );
        Keepalived::start(self, part, &conf)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        for part in ["a", "b", "c", "s"] {
            let _ = Command::new("ip").args(["netns", "del", &self.ns(part)]).status();
        }
    }
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

fn wait(child: &mut Child) {
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > Duration::from_secs(8) {
            let _ = child.kill();
            panic!("a process did not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A balancer's VRRP alone, as a process.
pub(crate) struct Balancer {
    child: Child,
    input: ChildStdin,
    lines: mpsc::Receiver<String>,
    pid: Pid,
}

impl Balancer {
    pub(crate) fn start(lab: &Lab, node: &str, settings: &PathBuf, guarded: bool) -> Self {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &lab.ns(node)]);
        command.arg(std::env::current_exe().unwrap()).args(balancer::ARGUMENTS);
        command.env("BALANCER", node).env("SETTINGS", settings);
        if guarded {
            command.env("GUARDED", "1");
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut balancer =
            Self { input: child.stdin.take().unwrap(), child, lines, pid: Pid::from_raw(0) };
        let pid = balancer.expect("pid ");
        balancer.pid = Pid::from_raw(pid.parse().unwrap());
        balancer
    }

    /// The rest of the next line that starts so.
    pub(crate) fn expect(&mut self, start: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(10));
            let line = line.unwrap_or_else(|_| panic!("no line {start:?}"));
            if let Some(rest) = line.strip_prefix(start) {
                return rest.to_owned();
            }
        }
    }

    pub(crate) fn tell(&mut self, command: &str) {
        writeln!(self.input, "{command}").unwrap();
    }

    pub(crate) fn status(&mut self) -> serde_json::Value {
        self.tell("status");
        let line = self.expect("status ");
        serde_json::from_str::<serde_json::Value>(&line).unwrap()[0].clone()
    }

    pub(crate) fn terminate(&mut self) {
        kill(self.pid, Signal::SIGTERM).unwrap();
    }

    /// Ends in good order.
    pub(crate) fn stop(mut self) {
        self.terminate();
        self.expect("stopped");
        wait(&mut self.child);
    }

    pub(crate) fn kill(mut self) {
        kill(self.pid, Signal::SIGKILL).unwrap();
        wait(&mut self.child);
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The real one.
pub(crate) struct Keepalived {
    child: Child,
    log: PathBuf,
}

impl Keepalived {
    fn start(lab: &Lab, part: &str, conf: &PathBuf) -> Self {
        let at = |name: &str| lab.directory.path().join(format!("{name}.{part}"));
        let log = at("keepalived.log");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let child = Command::new("ip")
            .args(["netns", "exec", &lab.ns(part), "keepalived", "-n", "-l", "-D", "-P", "-f"])
            .arg(conf)
            .arg("-p")
            .arg(at("keepalived.pid"))
            .arg("-r")
            .arg(at("vrrp.pid"))
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { child, log }
    }

    pub(crate) fn terminate(&mut self) {
        signal(&self.child, Signal::SIGTERM);
    }

    pub(crate) fn stop(mut self) {
        self.terminate();
        wait(&mut self.child);
    }

    /// It must have had nothing to complain about.
    pub(crate) fn assert_content(&self) {
        let log = std::fs::read_to_string(&self.log).unwrap();
        let bad = ["bogus", "checksum", "invalid", "mismatch", "incorrect", "dropped", "Unknown"];
        for line in log.lines() {
            let complains = bad.iter().any(|word| line.contains(word));
            assert!(!complains, "keepalived complains: {line}");
        }
        assert!(log.contains("Entering BACKUP STATE"), "{log}");
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            signal(&self.child, Signal::SIGTERM);
            let _ = self.child.wait();
        }
    }
}
