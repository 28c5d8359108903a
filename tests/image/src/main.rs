//! `emulate`: boots the image on this machine, for people.

use emulator::virt::{Forwards, Net, Options, free_port};
use emulator::{Card, Doing, Error, Image, Machine, Result, Segment, raspi2b, virt, wait};
use lab::relay::Relay;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

const USAGE: &str = "\
usage: emulate [raspi2b|virt] [--nodes N] [--admin ADDR:PORT] [--site ADDR:PORT] [--radios N]
  raspi2b   through the card's own boot chain (the default); virt: kernel and root at once
  --nodes   boards on one segment, each with a card of its own, their pages on the ports that
            follow that of --admin; more than one needs root
  --admin   where the page is (127.0.0.1:1936; also the environment's ADMIN)
  --site    port 80 of the board, of one board only (also the environment's SITE)
  --radios  simulated Wi-Fi adapters (2)
environment: BRAMBLE_IMAGE=file (target/image/bramble.img), CARD=MiB (1024), QEMU=program";
const PATIENCE: Duration = Duration::from_secs(180);
const MOST_NODES: u16 = 8;

#[derive(Debug, PartialEq, Eq)]
struct Wish {
    through_u_boot: bool,
    nodes: u16,
    admin: SocketAddr,
    site: Option<SocketAddr>,
    radios: u32,
}

/// What the command line asks for; None when it makes no sense.
fn parse(words: &[&str], admin: Option<&str>, site: Option<&str>) -> Option<Wish> {
    let mut wish = Wish {
        through_u_boot: true,
        nodes: 1,
        admin: admin.unwrap_or("127.0.0.1:1936").parse().ok()?,
        site: site.map(str::parse).transpose().ok()?,
        radios: 2,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "raspi2b" => wish.through_u_boot = true,
            "virt" => wish.through_u_boot = false,
            "--nodes" => wish.nodes = words.next()?.parse().ok()?,
            "--admin" => wish.admin = words.next()?.parse().ok()?,
            "--site" => wish.site = Some(words.next()?.parse().ok()?),
            "--radios" => wish.radios = words.next()?.parse().ok()?,
            _ => return None,
        }
    }
    let good = (1..=MOST_NODES).contains(&wish.nodes) && (wish.nodes == 1 || wish.site.is_none());
    (good && wish.admin.port().checked_add(wish.nodes - 1).is_some()).then_some(wish)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    if let ["help" | "--help" | "-h"] = words.as_slice() {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let variable = |name| std::env::var(name).ok().filter(|v: &String| !v.is_empty());
    let (admin, site) = (variable("ADMIN"), variable("SITE"));
    let Some(wish) = parse(&words, admin.as_deref(), site.as_deref()) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(wish) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("emulate: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Everything that runs; taken down in this order.
struct Running {
    _relays: Vec<Relay>,
    _machines: Vec<Machine>,
    _segment: Option<Segment>,
}

fn run(wish: Wish) -> Result<()> {
    // Blocked before any other thread exists, so that only the wait below sees them.
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block().doing(|| "blocking signals".to_owned())?;
    let worker = thread::spawn(move || {
        let made = start(&wish);
        if made.is_err() {
            // Ends the wait below, as a signal from outside does.
            let _ = kill(Pid::this(), Signal::SIGTERM);
        }
        made
    });
    lab::parent::pass_on_interrupt();
    signals.wait().doing(|| "waiting for a signal".to_owned())?;
    wait::interrupt(true);
    let made = worker.join().map_err(|_| Error::other("the start broke"))?;
    made.map(drop)
}

fn start(wish: &Wish) -> Result<Running> {
    let image = match Image::from_environment()? {
        Some(image) => image,
        None => Image::at("target/image/bramble.img")?,
    };
    let size = std::env::var("CARD").ok().and_then(|mib| mib.parse().ok()).unwrap_or(1024);
    let several = wish.nodes > 1;
    let segment = several.then(|| Segment::new(usize::from(wish.nodes))).transpose()?;
    let (mut machines, mut relays, mut pages) = (Vec::new(), Vec::new(), Vec::new());
    for node in 0..wish.nodes {
        let options = Options::new(Card::new(&image, size)?)?.radios(wish.radios);
        let page = SocketAddr::new(wish.admin.ip(), wish.admin.port() + node);
        let options = if let Some(segment) = &segment {
            let cable = usize::from(node);
            let inside = (Segment::address(cable), 1936).into();
            relays.push(Relay::start(segment.space(), page, vec![inside])?);
            options.net(Net::cable(segment, cable)?)
        } else {
            let site = wish.site.map_or_else(free_port, Ok)?;
            let forwards = Forwards { admin: page, site: Some((site, virt::GUEST)) };
            options.net(Net::Forwarded(forwards))
        };
        let start = if wish.through_u_boot { raspi2b::start } else { virt::start };
        let machine = start(&image, options)?;
        print(&format!("serial: {}\n", machine.serial_path().display()))?;
        machines.push(machine);
        pages.push(page);
    }
    let begun = Instant::now();
    for (machine, page) in machines.iter().zip(&pages) {
        machine.wait_for_admin(PATIENCE)?;
        print(&format!("admin: http://{}\n", shown(*page)))?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    print(&format!("the page answered after {seconds:.1} s\nready\n"))?;
    Ok(Running { _relays: relays, _machines: machines, _segment: segment })
}

/// An address a browser can open.
fn shown(page: SocketAddr) -> SocketAddr {
    if page.ip().is_unspecified() {
        return (Ipv4Addr::LOCALHOST, page.port()).into();
    }
    page
}

fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).doing(|| "printing".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_understood_or_refused() {
        let wish = parse(&[], None, None).unwrap();
        assert!(wish.through_u_boot && wish.nodes == 1 && wish.admin.port() == 1936);
        let wish = parse(&["virt", "--nodes", "4", "--admin", "127.0.0.1:2000"], None, None);
        let wish = wish.unwrap();
        assert!(!wish.through_u_boot && wish.nodes == 4 && wish.admin.port() == 2000);
        assert_eq!(parse(&[], Some("127.0.0.1:7"), None).unwrap().admin.port(), 7);
        for wrong in [
            &["pi3"][..],
            &["--nodes"],
            &["--nodes", "0"],
            &["--nodes", "9"],
            &["--admin", "here"],
            &["--nodes", "2", "--admin", "127.0.0.1:65535"],
            &["--nodes", "2", "--site", "127.0.0.1:8080"],
        ] {
            assert_eq!(parse(wrong, None, None), None, "{wrong:?}");
        }
        assert_eq!(parse(&[], Some("nonsense"), None), None);
    }
}
