//! `lab`: starts the reference cluster on this machine, and drives the one that runs.

use lab::netns::Namespace;
use lab::orders::{Order, Reply, give, serve};
use lab::process::{enter_fresh, enter_like};
use lab::registry::{self, Record};
use lab::relay::Relay;
use lab::{Doing, Error, Lab, Options, Result, admin, site, wait};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const USAGE: &str = "\
usage: lab up                              start the reference cluster; ends with SIGINT or SIGTERM
       lab status                          what runs, and who has which address
       lab exec NODE -- CMD...             run a command there (also: client, router)
       lab kill|stop|start NODE            SIGKILL, SIGTERM or start its appliance
       lab power NODE off|on               pull its plug, or put it back
       lab link NODE eth0|wlan0 down|up    pull a cable, or put it back
       lab partition NODE,... NODE,...     cut the second group off from everything else
       lab heal                            one network again
NODE: web01, web02, lbmaster, lbslave
environment: ADMIN=addr:port (127.0.0.1:1936), SITE=addr:port (127.0.0.1:8080),
             STATE=dir (data kept there; a temporary directory without it),
             BRAMBLE=file (the program; beside this one without it)";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match parse(&words) {
        Some(What::Up) => up(),
        Some(What::Order(order)) => running().and_then(|lab| {
            let reply = give(&lab.socket(), &order)?;
            print(&reply.text)
        }),
        Some(What::Exec { place, command }) => match exec(&place, &command) {
            Ok(code) => return code,
            Err(e) => Err(e),
        },
        Some(What::Help) => print(&format!("{USAGE}\n")),
        None => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("lab: {e}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    Up,
    Help,
    Order(Order),
    Exec { place: String, command: Vec<String> },
}

fn parse(words: &[&str]) -> Option<What> {
    let list = |names: &str| names.split(',').map(str::to_owned).collect();
    let order = match words {
        ["up"] => return Some(What::Up),
        ["help" | "--help" | "-h"] => return Some(What::Help),
        ["exec", place, "--", command @ ..] if !command.is_empty() => {
            let command = command.iter().map(|word| (*word).to_owned()).collect();
            return Some(What::Exec { place: (*place).to_owned(), command });
        }
        ["status"] => Order::Status,
        ["kill", node] => Order::Kill { node: (*node).to_owned() },
        ["stop", node] => Order::Stop { node: (*node).to_owned() },
        ["start", node] => Order::Start { node: (*node).to_owned() },
        ["power", node, on @ ("on" | "off")] => {
            Order::Power { node: (*node).to_owned(), on: *on == "on" }
        }
        ["link", node, link, up @ ("up" | "down")] => {
            Order::Link { node: (*node).to_owned(), link: (*link).to_owned(), up: *up == "up" }
        }
        ["partition", near, far] => Order::Partition { near: list(near), far: list(far) },
        ["heal"] => Order::Heal,
        _ => return None,
    };
    Some(What::Order(order))
}

fn up() -> Result<()> {
    // Blocked before any other thread exists, so that only the wait below sees them.
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block().doing(|| "blocking signals".to_owned())?;
    let worker = thread::spawn(|| {
        let made = start();
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
    wait::interrupt(false);
    let (lab, forwards) = made?;
    drop(forwards);
    lab.shut_down()
}

fn start() -> Result<(Arc<Lab>, [Relay; 2])> {
    let mut options = Options::new(bramble()?);
    options.for_people = true;
    options.state = std::env::var_os("STATE").filter(|s| !s.is_empty()).map(PathBuf::from);
    let admin_at = address("ADMIN", "127.0.0.1:1936")?;
    let site_at = address("SITE", "127.0.0.1:8080")?;
    let lab = Arc::new(Lab::start(&options)?);
    match open(&lab, admin_at, site_at) {
        Ok(forwards) => Ok((lab, forwards)),
        Err(e) => {
            // Whoever serves orders still shares it, so it would not be dropped.
            wait::interrupt(false);
            lab.shut_down()?;
            Err(e)
        }
    }
}

fn open(lab: &Arc<Lab>, admin_at: SocketAddr, site_at: SocketAddr) -> Result<[Relay; 2]> {
    let client = lab.client();
    let balancers = vec![admin("lbmaster"), admin("lbslave")];
    let forwards = [
        Relay::start(&client, admin_at, balancers)?,
        Relay::start(&client, site_at, vec![site()])?,
    ];
    let [admin_at, site_at] = [&forwards[0], &forwards[1]].map(Relay::addr);
    let about = format!("admin: http://{admin_at}\nsite:  http://{site_at}\n");
    serve(Arc::clone(lab), about)?;
    lab.wait_ready(Duration::from_secs(60))?;
    for (what, at) in [("site", site_at), ("admin page", admin_at)] {
        let request = lab::http::Request::get("/").timeout(Duration::from_secs(3));
        wait::until(Duration::from_secs(20), &format!("the {what} on {at}"), || {
            match lab::http::send(at, &request) {
                Ok(r) if r.status == 200 || (what != "site" && r.status < 500) => Ok(()),
                Ok(r) => Err(format!("status {}", r.status)),
                Err(e) => Err(e.to_string()),
            }
        })?;
    }
    print(&format!("admin: http://{admin_at}\nsite: http://{site_at}\nready\n"))?;
    Ok(forwards)
}

fn bramble() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("BRAMBLE") {
        return Ok(PathBuf::from(path));
    }
    let own = std::env::current_exe().doing(|| "finding this program".to_owned())?;
    Ok(own.with_file_name("bramble"))
}

fn address(variable: &str, default: &str) -> Result<SocketAddr> {
    let text = std::env::var(variable).ok().filter(|t| !t.is_empty());
    let text = text.as_deref().unwrap_or(default);
    text.parse().map_err(|_| {
        Error::other(format!("{variable}={text} is no address and port, such as {default}"))
    })
}

/// The lab that `lab up` runs: the one with its data in STATE, or the only one.
fn running() -> Result<Record> {
    let mut labs = registry::all();
    labs.retain(|r| r.for_people && r.alive());
    if let Some(state) = std::env::var_os("STATE").filter(|s| !s.is_empty()) {
        let state = PathBuf::from(&state).canonicalize().unwrap_or_else(|_| state.into());
        labs.retain(|r| r.state == state);
    }
    match labs.as_slice() {
        [lab] => Ok(lab.clone()),
        [] => Err(Error::other("no lab runs here; start one with `make run`")),
        several => {
            let dirs: Vec<_> = several.iter().map(|r| r.state.display().to_string()).collect();
            let text = format!("several labs run; choose one with STATE=dir: {}", dirs.join(", "));
            Err(Error::Other(text))
        }
    }
}

fn exec(place: &str, words: &[String]) -> Result<ExitCode> {
    let lab = running()?;
    let Reply { space, pid, .. } = give(&lab.socket(), &Order::Place { name: place.to_owned() })?;
    let (program, args) = words.split_first().ok_or_else(|| Error::other("no command"))?;
    let mut command = Command::new(program);
    command.args(args).arg0(program);
    match (pid, space) {
        (Some(pid), _) => enter_like(pid, &mut command)?,
        (None, Some(space)) => enter_fresh(&Namespace::named(space), None, &mut command)?,
        (None, None) => return Err(Error::other("the lab did not say where that is")),
    }
    let status = command.status().doing(|| format!("starting {program} in {place}"))?;
    let code = status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// A reader that went away (`lab status | head -1`) is no failure.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.doing(|| "writing".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_understood() {
        let order = Order::Power { node: "web01".to_owned(), on: false };
        assert_eq!(parse(&["power", "web01", "off"]), Some(What::Order(order)));
        let far = vec!["web02".to_owned(), "lbslave".to_owned()];
        let order = Order::Partition { near: vec!["web01".to_owned()], far };
        assert_eq!(parse(&["partition", "web01", "web02,lbslave"]), Some(What::Order(order)));
        let Some(What::Exec { place, command }) =
            parse(&["exec", "client", "--", "ping", "-c1", "x"])
        else {
            panic!("not understood");
        };
        assert_eq!((place.as_str(), command.join(" ").as_str()), ("client", "ping -c1 x"));
        for bad in
            [&["power", "web01"][..], &[], &["exec", "web01", "ls"], &["link", "a", "b", "c"]]
        {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
