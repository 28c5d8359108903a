//! System calls per request, counted by strace in a short run of its own.

use crate::load::{self, Pace};
use crate::peers::Peer;
use crate::plan::{Case, Way, cases};
use crate::process::Done;
use std::fs::File;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What was found at one proxy.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    pub(crate) name: &'static str,
    /// Per request of 1 KiB and of 64 KiB, on kept connections.
    pub(crate) each: Vec<f64>,
}

pub(crate) fn count(peers: &[Peer], origin: u32, raw: &mut File) -> Done<Vec<Calls>> {
    let wanted = |c: &Case| c.way == Way::Http && c.clients == 64 && !c.close;
    let cases: Vec<Case> = cases(1).filter(wanted).take(2).collect();
    let mut all = Vec::new();
    for peer in peers {
        let mut each = Vec::new();
        for case in &cases {
            let found = one(peer, case, origin)?;
            let line = serde_json::json!({
                "calls": peer.name, "case": case.name, "per_request": found,
            });
            writeln!(raw, "{line}")?;
            each.push(found);
        }
        all.push(Calls { name: peer.name, each });
    }
    Ok(all)
}

fn one(peer: &Peer, case: &Case, origin: u32) -> Done<f64> {
    let mut command = Command::new("timeout");
    command.args(["-s", "INT", "5", "strace", "-c", "-f"]);
    for pid in peer.pids() {
        command.args(["-p", &pid.to_string()]);
    }
    let strace = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let strace = strace.spawn()?;
    std::thread::sleep(Duration::from_millis(1000));
    let run = load::run(case, Pace::Eager, peer, origin, 2)?;
    let text = String::from_utf8_lossy(&strace.wait_with_output()?.stderr).into_owned();
    Ok(total(&text).ok_or("strace has counted nothing")? / run.requests)
}

/// The number of calls in strace's summary.
fn total(summary: &str) -> Option<f64> {
    let line = summary.lines().find(|l| l.trim_end().ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_found() {
        let text = "% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 51.56    0.150713           3     42161           writev
------ ----------- ----------- --------- --------- ----------------
100.00    0.292305           3     85025       140 total
";
        assert_eq!(total(text), Some(85025.0));
        assert_eq!(total("nothing"), None);
    }
}
