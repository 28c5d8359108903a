//! Names, time and few rights, in network namespaces. Needs root.

use crate::bench::{Lab, Running, bare, eventually, inside, options};
use crate::dhcpd::{Manners, Server};
use network::{Clock, Options, SetHostName};
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

const LONG: Duration = Duration::from_secs(100);

fn within(patience: Duration, what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < patience, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The answers of an old resolver's question to all on the peer's link: who, and the last four
/// bytes of what was said.
fn ask(lab: &Lab, name: &str, kind: u8) -> Vec<(Ipv4Addr, Vec<u8>)> {
    let mut question = vec![0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).unwrap());
        question.extend(label.bytes());
    }
    question.extend([0, 0, kind, 0, 1]);
    let work = move || {
        let socket = UdpSocket::bind("192.168.1.100:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        socket.send_to(&question, "224.0.0.251:5353").unwrap();
        let mut found = Vec::new();
        let mut bytes = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut bytes) {
            let std::net::IpAddr::V4(from) = from.ip() else { continue };
            let header = question.len();
            assert_eq!(bytes[..2], question[..2]);
            found.push((from, bytes[header..length].to_vec()));
        }
        found
    };
    inside(&lab.namespace("peer"), work).join().unwrap()
}

fn addresses(lab: &Lab, name: &str) -> Vec<Ipv4Addr> {
    let answers = ask(lab, name, 1).into_iter();
    let last = |(_, bytes): (Ipv4Addr, Vec<u8>)| {
        Ipv4Addr::from(<[u8; 4]>::try_from(&bytes[bytes.len() - 4..]).unwrap())
    };
    answers.map(last).collect()
}

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 1, last)
}

fn peer() -> Lab {
    let lab = Lab::new();
    lab.on("peer", "ip route add 224.0.0.0/4 dev eth0");
    lab
}

#[test]
fn names_are_answered_and_follow_the_settings_and_the_cable() {
    let lab = peer();
    let (_folder, options) = options();
    let mut node = Running::start(&lab, Options { mdns: true, ..options });
    eventually("its name", || addresses(&lab, "web01.local") == [ip(10)]);
    eventually("the shared name", || addresses(&lab, "bramble.local") == [ip(10)]);
    assert!(addresses(&lab, "web02.local").is_empty());
    let services = ask(&lab, "_bramble._tcp.local", 12);
    assert_eq!(services.len(), 1);
    let text = String::from_utf8_lossy(&services[0].1).into_owned();
    assert!(text.contains("Web01") && text.contains("path=/"), "{text:?}");
    assert!(services[0].1.windows(2).any(|w| w == 1936_u16.to_be_bytes()));

    node.change(|s| s.nodes[0].name = "Web07".parse().unwrap());
    eventually("the new name", || addresses(&lab, "web07.local") == [ip(10)]);
    assert!(addresses(&lab, "web01.local").is_empty());
    node.change(|s| s.nodes[0].eth0.address = Some("192.168.1.11/24".parse().unwrap()));
    eventually("the new address", || addresses(&lab, "web07.local") == [ip(11)]);
    lab.on("switch", "ip link set node-eth0 down");
    eventually("the radio's address", || addresses(&lab, "web07.local") == [ip(20)]);
    lab.on("switch", "ip link set node-eth0 up");
    eventually("the wire's address", || addresses(&lab, "web07.local") == [ip(11)]);
    node.stop();
    assert!(addresses(&lab, "web07.local").is_empty());
}

#[test]
fn a_board_is_found_by_another_one_that_looks() {
    let lab = peer();
    let device: model::DeviceId = "ab".repeat(32).parse().unwrap();
    let (_one, other) = options();
    let about = network::About {
        device: device.clone(),
        claimed: false,
        model: "Raspberry Pi 3".to_owned(),
        release: "0.1".to_owned(),
    };
    let about: Arc<dyn Fn() -> network::About + Send + Sync> = Arc::new(move || about.clone());
    let mut settings = crate::bench::settings();
    settings.nodes[0].name = "Bramble-1a2b".parse().unwrap();
    settings.nodes[0].eth0.address = Some("192.168.1.13/24".parse().unwrap());
    settings.nodes[0].wlan0.address = None;
    let options_of_peer = Options { mdns: true, about: Some(about), ..other };
    let board = Running::at(&lab, "peer", options_of_peer, settings, || {});
    board.applied();
    // Longer than its own announcements take.
    std::thread::sleep(Duration::from_secs(4));

    let seen = Arc::new(Mutex::new(Vec::new()));
    let held = seen.clone();
    let found: Arc<dyn Fn(network::ServiceSeen) + Send + Sync> =
        Arc::new(move |board| held.lock().unwrap().push(board));
    let (_two, own) = options();
    let node = Running::start(&lab, Options { mdns: true, found: Some(found), ..own });
    node.applied();
    node.handle.browse();
    eventually("the board", || !seen.lock().unwrap().is_empty());
    let board = seen.lock().unwrap()[0].clone();
    assert_eq!((board.device, board.name.as_str()), (device, "Bramble-1a2b"));
    assert_eq!((board.model.as_str(), board.claimed), ("Raspberry Pi 3", false));
    assert!(board.addresses.contains(&ip(13)), "{:?}", board.addresses);
}

#[test]
fn without_the_option_no_name_is_answered() {
    let lab = peer();
    let (_folder, options) = options();
    let node = Running::start(&lab, options);
    node.applied();
    std::thread::sleep(Duration::from_millis(1500)); // longer than probing takes
    assert!(addresses(&lab, "web01.local").is_empty());
}

/// A process that is stopped when dropped.
struct Foreign(Child);

impl Foreign {
    /// Lets it say goodbye.
    fn stop(&mut self) {
        let id = nix::unistd::Pid::from_raw(self.0.id().try_into().unwrap());
        nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn avahi_has_the_names_first_and_gives_one_back() {
    if !std::path::Path::new("/usr/sbin/avahi-daemon").exists() {
        println!("avahi-daemon is not installed: not tried");
        return;
    }
    let lab = peer();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("avahi.conf");
    let start = |name: &str| {
        let text = format!(
            "[server]\nhost-name={name}\nuse-ipv4=yes\nuse-ipv6=no\nallow-interfaces=eth0\n\
             enable-dbus=no\n[publish]\npublish-workstation=no\n"
        );
        std::fs::write(&file, text).unwrap();
        // Its own /run, which this mount namespace alone sees.
        let script = format!(
            "mount -t tmpfs none /run && mkdir /run/avahi-daemon && exec avahi-daemon \
             --no-drop-root --no-chroot --no-rlimits -f {}",
            file.display()
        );
        let mut ip = Command::new("ip");
        ip.args(["netns", "exec", &lab.namespace("peer"), "unshare", "-m", "sh", "-c", &script]);
        Foreign(ip.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    };
    let theirs = ip(100);
    let is = |name: &str, who: Ipv4Addr| {
        let found = addresses(&lab, name);
        // It has two addresses there and names one or both.
        !found.is_empty() && found.iter().all(|a| *a == who || (who == theirs && *a == ip(1)))
    };
    let mut avahi = start("bramble");
    eventually("theirs", || is("bramble.local", theirs));
    let (_folder, options) = options();
    let node = Running::start(&lab, Options { mdns: true, ..options });
    eventually("ours", || is("web01.local", ip(10)));
    std::thread::sleep(Duration::from_secs(2));
    assert!(is("bramble.local", theirs), "who has it first keeps it");
    avahi.stop();
    within(LONG, "inherited", || is("bramble.local", ip(10)));

    // And one that has the node's own name.
    node.stop();
    let mut avahi = start("Web01");
    eventually("theirs", || is("web01.local", theirs));
    let (_folder, options) = crate::bench::options();
    let _node = Running::start(&lab, Options { mdns: true, ..options });
    eventually("numbered", || is("web01-2.local", ip(10)));
    assert!(is("web01.local", theirs));
    avahi.stop();
}

/// A time server in the peer's namespace that is off by so many milliseconds.
struct TimeServer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u32>>,
}

fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    since.as_millis().try_into().unwrap()
}

impl TimeServer {
    fn start(lab: &Lab, address: Ipv4Addr, off: i64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let thread = inside(&lab.namespace("peer"), move || {
            let socket = UdpSocket::bind((address, 123)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            let mut asked = 0;
            let mut bytes = [0; 64];
            while !flag.load(Ordering::Relaxed) {
                let Ok((48, from)) = socket.recv_from(&mut bytes) else { continue };
                asked += 1;
                assert_eq!(bytes[0], 0x23, "version 4, client");
                assert!(bytes[1..40].iter().all(|b| *b == 0), "it tells nothing of itself");
                let mut answer = [0; 48];
                answer[..2].copy_from_slice(&[0x24, 2]);
                answer[24..32].copy_from_slice(&bytes[40..48]);
                let now = unix_ms() + off;
                let seconds = u32::try_from(now / 1000 + 2_208_988_800).unwrap();
                let part = (u64::try_from(now % 1000).unwrap() << 32) / 1000;
                for at in [32, 40] {
                    answer[at..at + 4].copy_from_slice(&seconds.to_be_bytes());
                    let part = u32::try_from(part).unwrap();
                    answer[at + 4..at + 8].copy_from_slice(&part.to_be_bytes());
                }
                socket.send_to(&answer, from).unwrap();
            }
            asked
        });
        Self { stop, thread: Some(thread) }
    }

    /// How often it was asked.
    fn stop(mut self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for TimeServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What it was set to, as a difference to the real time.
#[derive(Default)]
struct Dial(Mutex<Vec<i64>>);

impl Clock for Dial {
    fn set(&self, unix_ms: u64) -> Result<(), String> {
        let off = i64::try_from(unix_ms).unwrap() - self::unix_ms();
        self.0.lock().unwrap().push(off);
        Ok(())
    }
}

impl Dial {
    fn seen(&self) -> Vec<i64> {
        self.0.lock().unwrap().clone()
    }
}

const HOUR: i64 = 3_600_000;

#[test]
fn the_time_is_that_of_the_server_the_dhcp_server_names() {
    let lab = Lab::new();
    let _server = Server::start(&lab, Manners::default());
    // Between the answer and the clock the machine may stand still, but not each time.
    let mut offs: Vec<i64> = Vec::new();
    while !offs.iter().any(|off| off.abs() < 200) {
        assert!(offs.len() < 4, "{offs:?} ms");
        let time = TimeServer::start(&lab, ip(1), HOUR);
        let dial = Arc::new(Dial::default());
        let (_folder, options) = options();
        let options =
            Options { dhcp: true, clock: Some(dial.clone()), time_servers: vec![], ..options };
        let node = Running::with(&lab, options, bare());
        eventually("set", || !dial.seen().is_empty());
        offs.push(dial.seen()[0] - HOUR);
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!((dial.seen().len(), time.stop()), (1, 1), "and then it is left in peace");
        node.stop();
    }
}

#[test]
fn a_server_that_lies_is_outvoted_and_one_that_is_silent_waited_for() {
    let lab = Lab::new();
    lab.on("peer", "ip addr add 192.168.1.101/24 dev eth0");
    let _true = [TimeServer::start(&lab, ip(1), -HOUR), TimeServer::start(&lab, ip(100), -HOUR)];
    let _lie = TimeServer::start(&lab, ip(101), 999 * HOUR);
    let time_servers =
        ["192.168.1.101", "192.168.1.1", "192.168.1.100:123", "192.168.1.222"].map(str::to_owned);
    let mut offs: Vec<i64> = Vec::new();
    while !offs.iter().any(|off| off.abs() < 200) {
        assert!(offs.len() < 4, "{offs:?} ms");
        let dial = Arc::new(Dial::default());
        let (_folder, options) = options();
        let time_servers = time_servers.to_vec();
        let options = Options { clock: Some(dial.clone()), time_servers, ..options };
        let node = Running::start(&lab, options);
        node.applied();
        within(LONG, "set", || !dial.seen().is_empty());
        offs.push(dial.seen()[0] + HOUR);
        node.stop();
    }
}

#[derive(Default)]
struct Names(Mutex<Vec<String>>);

impl SetHostName for Names {
    fn set(&self, name: &str) -> Result<(), String> {
        self.0.lock().unwrap().push(name.to_owned());
        Ok(())
    }
}

/// Becomes user 1936 with CAP_NET_BIND_SERVICE, CAP_NET_ADMIN and CAP_NET_RAW, this thread alone:
/// the C library's own calls would change the whole process.
fn drop_rights() {
    const KEPT: u32 = 1 << 10 | 1 << 12 | 1 << 13;
    const ID: libc::c_long = 1936;
    // SAFETY: plain system calls on values that live through them.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_KEEPCAPS, 1_u64, 0_u64, 0_u64, 0_u64), 0);
        assert_eq!(libc::syscall(libc::SYS_setgroups, 0_u64, 0_u64), 0);
        assert_eq!(libc::syscall(libc::SYS_setresgid, ID, ID, ID), 0);
        assert_eq!(libc::syscall(libc::SYS_setresuid, ID, ID, ID), 0);
        let header = [0x2008_0522_u32, 0]; // _LINUX_CAPABILITY_VERSION_3, this thread
        let data = [KEPT, KEPT, 0, 0, 0, 0_u32]; // effective, permitted, inheritable, twice
        assert_eq!(libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()), 0);
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1_u64, 0_u64, 0_u64, 0_u64), 0);
    }
    assert!(std::fs::read("/etc/shadow").is_err(), "the rights are gone");
    assert!(nix::unistd::sethostname("x").is_err());
}

#[test]
fn three_capabilities_are_enough() {
    let lab = peer();
    let _server = Server::start(&lab, Manners::default());
    let _time = TimeServer::start(&lab, ip(1), HOUR);
    let (folder, options) = options();
    nix::unistd::chown(folder.path(), Some(1936.into()), Some(1936.into())).unwrap();
    let (dial, names) = (Arc::new(Dial::default()), Arc::new(Names::default()));
    let options = Options {
        dhcp: true,
        mdns: true,
        clock: Some(dial.clone()),
        host_name: Some(names.clone()),
        ..options
    };
    let mut settings = bare();
    settings.nodes[0].wlan0.address = Some("192.168.1.20/24".parse().unwrap());
    let node = Running::at(&lab, "node", options, settings, drop_rights);
    node.applied();
    eventually("a lease", || lab.addresses("eth0").contains("192.168.1.50/24"));
    node.applied();
    let sysctl = lab.on("node", "cat /proc/sys/net/ipv4/conf/eth0/arp_ignore");
    assert_eq!(sysctl.trim(), "1");
    eventually("a name", || addresses(&lab, "web01.local") == [ip(50)]);
    eventually("the time", || !dial.seen().is_empty());
    eventually("a host name", || names.0.lock().unwrap().first().is_some_and(|n| n == "Web01"));
    eventually("its name server", || {
        let resolv = std::fs::read_to_string(folder.path().join("resolv.conf"));
        resolv.is_ok_and(|resolv| resolv.contains("nameserver 192.168.1.1"))
    });
    node.handle.open_setup("wlan0", "192.168.19.36/24".parse().unwrap(), "http://192.168.19.36/");
    eventually("setup", || lab.addresses("wlan0").contains("192.168.19.36/24"));
    let bound = || lab.on("node", "ss -lnu");
    eventually("its services", || {
        let bound = bound();
        bound.contains("%wlan0:67 ") && bound.contains("%wlan0:53 ")
    });
    node.handle.close_setup("wlan0");
    eventually("as before", || lab.addresses("wlan0").contains("192.168.1.20/24"));
}
