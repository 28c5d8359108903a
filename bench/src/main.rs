//! The load balancer beside HAProxy, nginx and other proxies on this machine: `make bench`.
//!
//! The proxies of one kind run at the same time and are loaded in turns within each round
//! (A B C, A B C, …), so that what else the machine does meets all of them. Those with one thread
//! have the first processor for themselves; the load and the server behind them have the others.
//! The figure to trust is the processor time per request of all of a proxy's processes; requests
//! per second are capped by the load. Then some are asked again at one steady rate for all, which
//! shows what the slowest requests take. Checks, timers, statistics and logs are on at Bramble and at
//! HAProxy. Raw runs are kept under `target/bench`.
//!
//! `plan` says what is measured and what is aimed at; `peers` who takes part and how it is set up;
//! `serve` is Bramble's balancer alone and `origin` the server behind all; `load` drives one run;
//! `steady` is the load at a given rate;
//! `idle`, `calls` and `instructions` measure what a run under load does not show; `table` prints.

mod calls;
mod idle;
mod instructions;
mod load;
mod origin;
mod peers;
mod plan;
mod process;
mod serve;
mod steady;
mod table;

use load::Pace;
use peers::Peer;
use plan::{Case, Limits};
use process::Done;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use table::{Findings, Row};

/// Where the raw runs and the table go.
pub(crate) const PLACE: &str = "target/bench";

fn main() -> Done<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    process::raise_limits();
    match args.as_slice() {
        ["serve", rest @ ..] => serve::run(rest),
        ["origin"] => origin::run(),
        ["steady", rest @ ..] => steady::run(rest),
        [] => compare(),
        _ => Err("usage: bench (what to measure is said by BENCH_SECONDS, BENCH_ROUNDS, \
                  BENCH_ONLY)"
            .into()),
    }
}

fn compare() -> Done<()> {
    let place = Path::new(PLACE);
    std::fs::create_dir_all(place)?;
    let limits = Limits::from_environment()?;
    let mut raw = File::create(place.join("runs.jsonl"))?;
    let mut findings = Findings::default();
    // Somebody has to take HAProxy's log, or it meets errors instead of costs.
    let _log = std::net::UdpSocket::bind(("127.0.0.1", peers::LOG_PORT))?;
    let measured = measure(place, &limits, &mut raw, &mut findings);
    // What came before a failure counts.
    findings.summary();
    std::fs::write(place.join("table.txt"), findings.everything())?;
    println!("Raw runs: {PLACE}/runs.jsonl, all tables: {PLACE}/table.txt");
    measured
}

fn measure(place: &Path, limits: &Limits, raw: &mut File, findings: &mut Findings) -> Done<()> {
    if limits.wants("idle") {
        // Before anything else: buffers of a load before would hide what these need.
        let (_origin, peers) = peers::start(place, 1)?;
        findings.idle(&idle::measure(&peers, raw)?);
    }
    for threads in [1, 2] {
        let cases: Vec<Case> = plan::cases(threads).filter(|c| limits.wants(c.name)).collect();
        let calls = threads == 1 && limits.wants("calls");
        if cases.is_empty() && !calls {
            continue;
        }
        let (origin, peers) = peers::start(place, threads)?;
        for case in cases {
            let takers: Vec<&Peer> = peers.iter().filter(|p| p.port(case.way).is_some()).collect();
            let run = |pace, takers: &[&Peer], raw: &mut File| {
                one_case(&case, pace, takers, origin.pid(), limits, raw)
            };
            let rows = run(Pace::Eager, &takers, raw)?;
            findings.case(&case, &rows);
            let rate = table::rate_of_theirs(&rows)
                .map(|rate| (rate * plan::steady_part(threads)).round());
            if let (true, Some(rate)) = (case.steady, rate) {
                let known = |p: &&&Peer| plan::STEADY_PEERS.contains(&p.name);
                let takers: Vec<&Peer> = takers.iter().filter(known).copied().collect();
                findings.steady(&case, rate, &run(Pace::Steady(rate), &takers, raw)?);
            }
        }
        if calls {
            findings.calls(&calls::count(&peers, origin.pid(), raw)?);
        }
    }
    if limits.wants("instructions") {
        findings.instructions(&instructions::count(place, raw)?);
    }
    Ok(())
}

/// All rounds of one case.
fn one_case(
    case: &Case,
    pace: Pace,
    takers: &[&Peer],
    origin: u32,
    limits: &Limits,
    raw: &mut File,
) -> Done<Vec<Row>> {
    let (seconds, asked) = match pace {
        Pace::Eager => (limits.seconds, None),
        Pace::Steady(rate) => (limits.seconds.saturating_sub(1).max(1), Some(rate)),
    };
    let mut rows: Vec<Row> = takers.iter().map(|p| Row::of(p.name)).collect();
    for round in 0..limits.rounds {
        for (peer, row) in takers.iter().zip(&mut rows) {
            let run = load::run(case, pace, peer, origin, seconds)?;
            let line = serde_json::json!({
                "case": case.name, "threads": case.threads, "proxy": peer.name, "round": round,
                "us_per_request": run.us, "user_us": run.user_us, "requests_per_second": run.rate,
                "p50_ms": run.p50_ms, "p99_ms": run.p99_ms, "rss_kib": run.rss_kib,
                "asked_per_second": asked, "p999_ms": run.p999_ms, "waited_us": run.waited_us, "busiest_thread": run.busiest,
                "load_late_ms": run.late_ms,
                "errors": run.errors, "others_cpu_share": run.others,
            });
            writeln!(raw, "{line}")?;
            row.runs.push(run);
        }
    }
    Ok(rows)
}
