//! The reference project's own test list, on the lab: each web server by its own addresses, a
//! file that follows, and every single failure of a board under traffic.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test states what it expects")]

use lab::{Api, Drill, Figures, Lab, Options, Step, http, wait, wired, wireless};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::time::{Duration, SystemTime};

const PATIENCE: Duration = Duration::from_secs(30);

fn start() -> Lab {
    let options = Options::new(env!("CARGO_BIN_EXE_bramble")).password(PASSWORD);
    let lab = Lab::start(&options).unwrap();
    lab.wait_ready(PATIENCE).unwrap();
    lab
}

const PASSWORD: &str = "correct horse battery";

#[test]
fn each_web_server_answers_on_its_own_addresses() {
    let lab = start();
    let mut answered_by: BTreeMap<Ipv4Addr, String> = BTreeMap::new();
    for node in ["web01", "web02"] {
        for (link, address) in [("eth0", wired(node)), ("wlan0", wireless(node))] {
            let at = SocketAddr::from((address, 80));
            // Web02 has the page only once it was mirrored.
            lab.wait_ok(at, "/", PATIENCE).unwrap();
            let page = http::request(&lab.client(), at, &http::Request::get("/")).unwrap();
            assert_eq!(page.text(), lab::reference::DEMO_PAGE, "{node} {link}");

            // Two interfaces in one subnet: Linux answers ARP for either address on both, unless
            // it is told not to. Then pulling one cable would take both addresses away.
            let neighbours = lab.exec("client", "ip", &["neigh", "show", &address.to_string()]);
            let neighbours = neighbours.unwrap();
            let mac = fs_in(&lab, node, &format!("/sys/class/net/{link}/address"));
            assert!(neighbours.contains(mac.trim()), "{address}: {neighbours}, not {mac}");
            answered_by.insert(address, mac);
        }
    }
    let macs: std::collections::BTreeSet<_> = answered_by.values().collect();
    assert_eq!(macs.len(), 4, "{answered_by:?}");
}

fn fs_in(lab: &Lab, node: &str, path: &str) -> String {
    lab.exec(node, "cat", &[path]).unwrap()
}

#[test]
fn one_cable_of_a_web_server_is_enough() {
    let lab = start();
    for (down, up, left) in
        [("eth0", "wlan0", wireless("web02")), ("wlan0", "eth0", wired("web02"))]
    {
        lab.node("web02").link(down, false).unwrap();
        lab.wait_ok(SocketAddr::from((left, 80)), "/", PATIENCE).unwrap();
        lab.node("web02").link(down, true).unwrap();
        assert_eq!(lab.node("web02").addresses(up).len(), 1);
    }
}

/// What rsync -a keeps.
fn kept(path: &Path) -> (u64, u32, u32, u32, i64, i64) {
    let m = fs::symlink_metadata(path).unwrap();
    (m.len(), m.permissions().mode(), m.uid(), m.gid(), m.mtime(), m.mtime_nsec())
}

#[test]
fn a_file_made_on_web01_appears_on_web02_as_it_is() {
    let lab = start();
    let (here, there) = (lab.node("web01").site(), lab.node("web02").site());
    wait::until_true(PATIENCE, "the first copy", || there.join("index.html").exists()).unwrap();

    // Made complete under an excluded name first, so that there is one moment it appears.
    let made = here.join("stats.new");
    fs::create_dir_all(here.join("news/2024")).unwrap();
    fs::write(&made, vec![b'x'; 300_000]).unwrap();
    fs::set_permissions(&made, fs::Permissions::from_mode(0o654)).unwrap();
    chown(&made, Some(1234), Some(5678)).unwrap();
    let past = SystemTime::UNIX_EPOCH + Duration::new(1_400_000_000, 123_456_789);
    File::options().write(true).open(&made).unwrap().set_modified(past).unwrap();
    let (file, copy) = (here.join("news/2024/page.html"), there.join("news/2024/page.html"));
    fs::rename(&made, &file).unwrap();

    wait::until_true(PATIENCE, "the file on web02", || copy.exists()).unwrap();
    assert_eq!(kept(&copy), kept(&file));
    assert_eq!(kept(&copy).4, 1_400_000_000);
    let at = SocketAddr::from((wired("web02"), 80));
    wait::until(PATIENCE, "the file served by web02", || {
        let answer = http::request(&lab.client(), at, &http::Request::get("/news/2024/page.html"));
        match answer {
            Ok(r) if r.status == 200 && r.body.len() == 300_000 => Ok(()),
            other => Err(format!("{:?}", other.map(|r| (r.status, r.body.len())))),
        }
    })
    .unwrap();

    // Only its mode changes.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o604)).unwrap();
    wait::until(PATIENCE, "the new mode", || {
        let (seen, wanted) = (kept(&copy), kept(&file));
        if seen == wanted { Ok(()) } else { Err((seen, wanted)) }
    })
    .unwrap();

    // What the patterns exclude is neither sent nor deleted.
    for dir in ["stats", "news/error", "files/pictures"] {
        fs::create_dir_all(here.join(dir)).unwrap();
        fs::write(here.join(dir).join("mine"), "origin").unwrap();
    }
    fs::create_dir_all(there.join("files/pictures")).unwrap();
    fs::write(there.join("files/pictures/own"), "mirror").unwrap();
    fs::write(here.join("after"), "a mark that comes after them").unwrap();
    wait::until_true(PATIENCE, "the mark", || there.join("after").exists()).unwrap();
    for gone in ["stats", "news/error", "files/pictures/mine"] {
        assert!(!there.join(gone).exists(), "{gone} was sent although it is excluded");
    }
    fs::remove_file(&file).unwrap();
    wait::until_true(PATIENCE, "the deletion", || !copy.exists()).unwrap();
    fs::remove_dir_all(here.join("news")).unwrap();
    wait::until_true(PATIENCE, "the directory's deletion", || !there.join("news").exists())
        .unwrap();
    assert_eq!(fs::read_to_string(there.join("files/pictures/own")).unwrap(), "mirror");
}

fn master(lab: &Lab) {
    lab.wait_holder("lbmaster", PATIENCE).unwrap();
}

fn slave(lab: &Lab) {
    lab.wait_holder("lbslave", PATIENCE).unwrap();
}

#[test]
fn every_single_board_may_fail_under_traffic() {
    let lab = start();
    master(&lab);
    let servers = |count: usize| {
        move |lab: &Lab| {
            Api::new(lab, "lbmaster", PASSWORD).wait_servers(count, PATIENCE).unwrap();
        }
    };
    servers(4)(&lab);
    let figures = Figures::new(env!("CARGO_TARGET_TMPDIR"), "under 100 requests a second");
    let mut drill = Drill::new(&lab, figures);
    let off = |node: &'static str| move |lab: &Lab| lab.node(node).power(false).unwrap();
    let on = |node: &'static str| move |lab: &Lab| lab.node(node).power(true).unwrap();
    let again = |lab: &Lab| lab.node("lbmaster").start().unwrap();

    // This machine may pause for a moment; a gap of a quarter of a second is not the cluster's.
    const QUIET: f64 = 250.0;
    drill.run(&[Step::new("nothing happens", (0, QUIET), &|_| (), &|_| ())]).unwrap();
    // Three checks of 500 ms until its servers are down; until then requests that meet one of
    // them wait for a connection and then go to another server, so all are answered, except those
    // whose answer was under way when the plug was pulled.
    drill
        .run(&[
            Step::new("Web01 without power", (3, 500.0), &off("web01"), &servers(2)),
            Step::new("Web01 back", (0, QUIET), &on("web01"), &servers(4)),
        ])
        .unwrap();

    // Version 2, adverts every second: three are missed, and (256 - 100) / 256 s of skew for the
    // backup (RFC 3768 6.1), 3.61 s after the last one was heard. The rest is for the first
    // answers. Whoever comes in that time waits for TCP's next attempt, and loses at most what
    // 12 s of patience cannot bridge.
    drill
        .run(&[
            Step::new("LbMaster without power", (10, 4500.0), &off("lbmaster"), &slave),
            // It takes over by preemption: both announce, the backup lets go. A connection in the
            // hands of the backup at that moment is cut.
            Step::new("LbMaster back, takes over", (3, 1000.0), &on("lbmaster"), &master),
        ])
        .unwrap();

    // The guardian says farewell for the dead process, and the only other balancer need not wait
    // for anybody else's claim. What the dead process was answering is lost.
    let kill = |lab: &Lab| drop(lab.node("lbmaster").kill());
    drill
        .run(&[
            Step::new("LbMaster SIGKILL", (5, 500.0), &kill, &slave),
            Step::new("LbMaster started, takes over", (3, 1000.0), &again, &master),
        ])
        .unwrap();

    // It lets go once the backup has announced itself, and answers what it has accepted.
    let stop = |lab: &Lab| drop(lab.node("lbmaster").stop());
    drill
        .run(&[
            Step::new("LbMaster SIGTERM", (2, 500.0), &stop, &slave),
            Step::new("LbMaster started, takes over", (3, 1000.0), &again, &master),
        ])
        .unwrap();

    drill
        .run(&[
            Step::new("LbSlave without power", (0, QUIET), &off("lbslave"), &master),
            Step::new("LbSlave back", (0, QUIET), &on("lbslave"), &master),
        ])
        .unwrap();

    if let Err(missed) = drill.finish() {
        panic!("{missed}");
    }
}
