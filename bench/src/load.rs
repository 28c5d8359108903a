//! One run: a load, and what it cost the proxy.

use crate::peers::Peer;
use crate::plan::{Case, Way};
use crate::process::{self, Done, Place, Turns};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What one run showed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Run {
    pub(crate) requests: f64,
    /// Processor time per request, in microseconds.
    pub(crate) us: f64,
    pub(crate) user_us: f64,
    /// Requests per second.
    pub(crate) rate: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// At a steady rate only.
    pub(crate) p999_ms: f64,
    /// How late the load itself was with one request of a hundred; at a steady rate only.
    pub(crate) late_ms: f64,
    /// How long the proxy's threads waited for a processor, per request, in microseconds.
    pub(crate) waited_us: f64,
    /// What its busiest thread did, as a part of what each would have done had all done the same.
    pub(crate) busiest: f64,
    /// The most memory during the run.
    pub(crate) rss_kib: f64,
    /// Broken reads, time-outs and answers other than 200.
    pub(crate) errors: f64,
    /// What took processor time besides the proxy, the load and the server behind it, as a part
    /// of one processor.
    pub(crate) others: f64,
}

/// How often visitors ask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// Each again as soon as it has been answered.
    Eager,
    /// All of them together so often a second, whatever becomes of it.
    Steady(f64),
}

/// Loads `peer` with `case`; `origin` is the process behind it.
pub(crate) fn run(case: &Case, pace: Pace, peer: &Peer, origin: u32, seconds: u32) -> Done<Run> {
    let port = peer.port(case.way).ok_or("it does not serve that way")?;
    let pids = peer.pids();
    let begun = Instant::now();
    let (used, served) = (process::time(&pids), process::time(&[origin]));
    let turns = process::threads(&pids);
    let (busy, loaded) = (process::busy(), process::time_of_children());
    let mut load = command(case, pace, port, seconds)?.spawn()?;
    let mut rss_kib = 0.0_f64;
    while load.try_wait()?.is_none() {
        rss_kib = rss_kib.max(process::memory(&pids));
        std::thread::sleep(Duration::from_millis(100));
    }
    let text = String::from_utf8_lossy(&load.wait_with_output()?.stdout).into_owned();
    let used = process::time(&pids).since(used);
    let turns = turns_since(&pids, &turns);
    let found = match pace {
        Pace::Steady(_) => steady(&text),
        Pace::Eager if case.way == Way::Http2 => h2load(&text),
        Pace::Eager => wrk(&text),
    };
    let requests = found.requests;
    if requests == 0.0 {
        return Err(format!("{}, {}: nothing was answered: {text}", case.name, peer.name).into());
    }
    let served = process::time(&[origin]).since(served).total();
    let loaded = process::time_of_children() - loaded;
    let others = process::busy() - busy - used.total() - served - loaded;
    Ok(Run {
        us: used.total() / requests,
        user_us: used.user / requests,
        waited_us: turns.iter().map(|t| t.waited).sum::<f64>() / requests,
        busiest: busiest(turns.iter().map(|t| t.ran).collect(), case.threads),
        rss_kib,
        others: others.max(0.0) / 1e6 / begun.elapsed().as_secs_f64(),
        ..found
    })
}

/// What each thread did since then.
fn turns_since(pids: &[u32], before: &BTreeMap<PathBuf, Turns>) -> Vec<Turns> {
    let all = process::threads(pids).into_iter();
    all.map(|(path, now)| now.since(before.get(&path).copied().unwrap_or_default())).collect()
}

/// How much the first of the `threads` busiest is above their mean.
fn busiest(mut ran: Vec<f64>, threads: usize) -> f64 {
    ran.sort_by(|a, b| b.total_cmp(a));
    ran.truncate(threads);
    let sum: f64 = ran.iter().sum();
    let shares = ran.iter().map(|_| 1.0).sum::<f64>();
    ran.first().map_or(0.0, |most| most * shares / sum)
}

fn command(case: &Case, pace: Pace, port: u16, seconds: u32) -> Done<Command> {
    let place = if case.threads == 1 { Place::Others } else { Place::Anywhere };
    if let Pace::Steady(rate) = pace {
        let mut command = place.command(&std::env::current_exe()?.to_string_lossy());
        command.args(["steady", case.name]);
        command.args([port.to_string(), rate.to_string(), seconds.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        return Ok(command);
    }
    let scheme = if matches!(case.way, Way::Tls | Way::Http2) { "https" } else { "http" };
    let mut command;
    if case.way == Way::Http2 {
        command = place.command("h2load");
        command.args(["-t1", "-m10", &format!("-c{}", case.clients), &format!("-D{seconds}")]);
    } else {
        command = place.command("wrk");
        command.args(["-t1", "--latency", "--timeout", "5s"]);
        command.args([format!("-c{}", case.clients), format!("-d{seconds}s")]);
        if case.close {
            command.args(["-H", "Connection: close"]);
        }
    }
    command.arg(format!("{scheme}://127.0.0.1:{port}/{}", case.size));
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    Ok(command)
}

/// What our own load says, see [`crate::steady`].
fn steady(text: &str) -> Run {
    let all: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let number = |name: &str| all.get(name).and_then(serde_json::Value::as_f64).unwrap_or(0.0);
    if let Some(complaint) = all.get("complaint").and_then(serde_json::Value::as_str) {
        eprintln!("bench: {} requests failed: {complaint}", number("errors"));
    }
    Run {
        requests: number("requests"),
        rate: number("rate"),
        p50_ms: number("p50_ms"),
        p99_ms: number("p99_ms"),
        p999_ms: number("p999_ms"),
        late_ms: number("late_ms"),
        errors: number("errors"),
        ..Run::default()
    }
}

/// What h2load says; it measures no percentiles.
fn h2load(text: &str) -> Run {
    // "finished in 3.00s, 20000.33 req/s, 20.1MB/s"
    let line = |mark: &str| text.lines().find_map(|l| l.trim().strip_prefix(mark));
    let finished = line("finished in ").and_then(|l| l.split(", ").nth(1));
    let rate = finished.and_then(|l| l.strip_suffix(" req/s")).map_or(0.0, plain);
    // "requests: 60001 total, 60641 started, 60001 done, 60001 succeeded, 0 failed, 0 errored, …"
    let count = |word: &str| {
        let list = line("requests: ")?;
        list.split(", ").find_map(|part| part.strip_suffix(word)).map(plain)
    };
    let succeeded = count(" succeeded").unwrap_or(0.0);
    let failed = count(" failed").unwrap_or(0.0);
    Run { requests: succeeded, rate, errors: failed, ..Run::default() }
}

/// What wrk says.
fn wrk(text: &str) -> Run {
    let line = |mark: &str| text.lines().find_map(|l| l.trim().strip_prefix(mark)).map(str::trim);
    let count = text.lines().find_map(|l| l.trim().split_once(" requests in"));
    let requests = count.map_or(0.0, |(n, _)| plain(n));
    // "Socket errors: connect 0, read 1, write 0, timeout 0"
    let broken: f64 =
        line("Socket errors:").map_or(0.0, |list| list.split([' ', ',']).map(plain).sum());
    let wrong = line("Non-2xx or 3xx responses:").map_or(0.0, plain);
    Run {
        requests,
        rate: line("Requests/sec:").map_or(0.0, plain),
        p50_ms: line("50%").map_or(0.0, milliseconds),
        p99_ms: line("99%").map_or(0.0, milliseconds),
        errors: broken + wrong,
        ..Run::default()
    }
}

fn plain(text: &str) -> f64 {
    text.trim().parse().unwrap_or(0.0)
}

/// A duration as wrk writes it.
fn milliseconds(text: &str) -> f64 {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "us" => 0.001,
        "s" => 1000.0,
        "m" => 60_000.0,
        _ => 1.0,
    };
    plain(number) * factor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_thread_stands_beside_the_mean_of_those_that_work() {
        // Threads that only look after things do not count.
        let found = busiest(vec![1.0, 300.0, 2.0, 500.0], 2);
        assert!((found - 1.25).abs() < 1e-9, "{found}");
        assert!((busiest(vec![7.0, 1.0], 1) - 1.0).abs() < 1e-9);
        assert!(busiest(Vec::new(), 2).abs() < 1e-9);
    }

    #[test]
    fn what_h2load_says_is_understood() {
        let found = h2load(
            "
finished in 3.00s, 20000.33 req/s, 20.56MB/s
requests: 60001 total, 60641 started, 60001 done, 60000 succeeded, 1 failed, 0 errored, 0 timeout
status codes: 60004 2xx, 0 3xx, 0 4xx, 0 5xx
",
        );
        assert!((found.requests - 60_000.0).abs() < 0.1 && (found.errors - 1.0).abs() < 0.1);
        assert!((found.rate - 20_000.33).abs() < 0.01);
    }

    #[test]
    fn what_wrk_says_is_understood() {
        let found = wrk("Running 4s test @ http://127.0.0.1:19481/1024
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.28ms  573.09us   9.30ms   99.50%
    Req/Sec    50.81k     3.91k   57.17k    70.00%
  Latency Distribution
     50%  899.00us
     75%    1.57ms
     90%    2.01ms
     99%    1.02s
  202196 requests in 4.00s, 213.44MB read
  Socket errors: connect 0, read 3, write 0, timeout 2
  Non-2xx or 3xx responses: 7
Requests/sec:  50512.58
Transfer/sec:     53.32MB
");
        assert!((found.requests - 202_196.0).abs() < 0.1);
        assert!((found.rate - 50_512.58).abs() < 0.1);
        assert!((found.p50_ms - 0.899).abs() < 0.001);
        assert!((found.p99_ms - 1020.0).abs() < 0.001);
        assert!((found.errors - 12.0).abs() < 0.001);
    }
}
