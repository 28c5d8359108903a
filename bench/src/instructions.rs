//! Instructions in user space per request, counted by valgrind's callgrind: the one figure that is
//! the same on every machine. What few and many requests differ by is what requests cost.

use crate::peers::{ALL, Kind, ORIGIN_PORT, Peer, start_counted};
use crate::plan::Way;
use crate::process::{self, Done, Place};
use rustix::process::Signal;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const FEW: u32 = 1000;
const MANY: u32 = 5000;
const PORT: u16 = 19_560;

/// What was found at one proxy.
#[derive(Clone, Debug)]
pub(crate) struct Instructions {
    pub(crate) name: &'static str,
    pub(crate) log: bool,
    pub(crate) per_request: f64,
}

pub(crate) fn count(place: &Path, raw: &mut File) -> Done<Vec<Instructions>> {
    let own = std::env::current_exe()?;
    let mut origin = Place::Anywhere.command(&own.to_string_lossy());
    origin.arg("origin");
    let _origin = process::start(origin, false)?;
    process::listens(ORIGIN_PORT, Duration::from_secs(10))?;
    let mut all = Vec::new();
    for kind in ALL {
        for log in [false, true] {
            if log && matches!(kind, Kind::Built(_)) {
                // They have none.
                continue;
            }
            let per_request = match per_request(place, kind, log) {
                Ok(Some(found)) => found,
                Ok(None) => continue,
                Err(error) => {
                    eprintln!("bench: no instructions were counted: {error}");
                    continue;
                }
            };
            let line = serde_json::json!({
                "instructions": kind.name(), "log": log, "per_request": per_request,
            });
            writeln!(raw, "{line}")?;
            all.push(Instructions { name: kind.name(), log, per_request });
        }
    }
    Ok(all)
}

fn per_request(place: &Path, kind: Kind, log: bool) -> Done<Option<f64>> {
    let few = counted(place, kind, log, FEW)?;
    let many = counted(place, kind, log, MANY)?;
    Ok(few.zip(many).map(|(few, many)| (many - few) / f64::from(MANY - FEW)))
}

/// Instructions of a proxy's whole life with so many requests.
fn counted(place: &Path, kind: Kind, log: bool, requests: u32) -> Done<Option<f64>> {
    let out = format!("--callgrind-out-file={}", place.join("callgrind.out").display());
    let tool = ["valgrind", "--tool=callgrind", &out];
    let Some(peer) = start_counted(place, kind, PORT, log, &tool)? else { return Ok(None) };
    ask(&peer, requests)?;
    // Bramble ends with its input; pingora takes minutes to end on TERM.
    let signal = match kind {
        Kind::Bramble => Signal::CONT,
        Kind::Haproxy | Kind::Nginx => Signal::TERM,
        Kind::Built(_) => Signal::INT,
    };
    let words = peer.end(signal)?;
    let found = collected(&words);
    found.map(Some).ok_or_else(|| format!("{}: valgrind says: {words}", kind.name()).into())
}

/// So many requests for 1 KiB on sixteen kept connections.
fn ask(peer: &Peer, requests: u32) -> Done<()> {
    let port = peer.port(Way::Http).ok_or("it serves no HTTP")?;
    let out = Command::new("timeout")
        .args(["60", "h2load", "--h1", "-c16", &format!("-n{requests}")])
        .arg(format!("http://127.0.0.1:{port}/1024"))
        .stdin(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&out.stdout);
    let all = format!("{requests} succeeded");
    if text.contains(&all) { Ok(()) } else { Err(format!("{}: {text}", peer.name).into()) }
}

/// "Collected : N" of callgrind's farewell.
fn collected(words: &str) -> Option<f64> {
    let line = words.lines().rev().find_map(|l| l.split_once("Collected :"))?;
    line.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_farewell_is_read() {
        assert_eq!(collected("==12== Events    : Ir\n==12== Collected : 5120\n"), Some(5120.0));
        assert_eq!(collected("nothing"), None);
    }
}
