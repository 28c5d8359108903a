//! Traffic from the client, and what came of it.
//!
//! Two shapes. [`Shape::Rate`] starts a request at a steady rate whatever becomes of the ones
//! before, as visitors do: it measures how long a service was away, to the spacing of the
//! requests. [`Shape::Workers`] keeps a number of requests under way, each started when the one
//! before is answered: it measures whether anything fails under as much traffic as there can be.

use crate::error::{Doing, Error, Result};
use crate::netns::Namespace;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Requests of [`Shape::Rate`] that may be waiting at the same time.
const MOST_WAITING: usize = 2_000;
/// A load that nobody stops ends by itself.
const LONGEST: Duration = Duration::from_secs(600);

/// How requests follow each other.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// So many new connections a second, one request each.
    Rate(u32),
    /// So many at once, each on its own connection; `keep_alive`: used for all its requests.
    Workers {
        /// How many.
        count: u32,
        /// One connection for all requests of a worker instead of one for each.
        keep_alive: bool,
    },
}

/// What traffic is made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where to.
    pub addr: SocketAddr,
    /// `GET` this path.
    pub path: String,
    /// How requests follow each other.
    pub shape: Shape,
    /// A request that takes longer has failed.
    pub timeout: Duration,
    /// The load ends after so many.
    pub most: u64,
}

impl Plan {
    /// A hundred requests a second, given up after 3 seconds.
    pub fn steady(addr: SocketAddr) -> Self {
        Self {
            addr,
            path: "/".to_owned(),
            shape: Shape::Rate(100),
            timeout: Duration::from_secs(3),
            most: 1_000_000,
        }
    }
}

/// What came of a load.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Requests that were started.
    pub started: u64,
    /// Requests that ended, one way or the other.
    pub total: u64,
    /// Without a 200 and a whole body.
    pub failed: u64,
    /// The longest time between two answers, from the first request to the last, in ms.
    pub longest_gap_ms: f64,
    /// The slowest answer, in ms.
    pub slowest_ms: f64,
    /// Why requests failed, with how many did so.
    pub reasons: BTreeMap<String, u64>,
    /// The bytes of all bodies.
    pub bytes: u64,
    /// How long it ran, in seconds.
    pub seconds: f64,
}

impl Report {
    /// Requests that have not ended yet.
    pub fn under_way(&self) -> u64 {
        self.started.saturating_sub(self.total)
    }
}

#[derive(Debug)]
struct Tally {
    report: Report,
    started: Instant,
    last_success: Instant,
    /// When the last request was started. A request that hangs on after that until its time is
    /// over says nothing about a gap: nobody asked meanwhile.
    stopped: Option<Instant>,
}

impl Tally {
    fn note(&mut self, took: Duration, result: io::Result<usize>) {
        self.report.total += 1;
        self.gap();
        match result {
            Ok(bytes) => {
                self.last_success = Instant::now();
                let took = took.as_secs_f64() * 1000.0;
                self.report.slowest_ms = self.report.slowest_ms.max(took);
                self.report.bytes += u64::try_from(bytes).unwrap_or(0);
            }
            Err(e) => {
                self.report.failed += 1;
                *self.report.reasons.entry(e.to_string()).or_default() += 1;
            }
        }
    }

    fn gap(&mut self) {
        let until = self.stopped.unwrap_or_else(Instant::now);
        let gap = until.saturating_duration_since(self.last_success).as_secs_f64() * 1000.0;
        self.report.longest_gap_ms = self.report.longest_gap_ms.max(gap);
    }
}

/// Traffic that runs until it is stopped.
#[derive(Debug)]
pub struct Load {
    tally: Arc<Mutex<Tally>>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Starts it from inside a namespace.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn start(space: &Namespace, plan: Plan) -> Result<Self> {
        let now = Instant::now();
        let report = Report::default();
        let tally =
            Arc::new(Mutex::new(Tally { report, started: now, last_success: now, stopped: None }));
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .doing(|| "starting the load".to_owned())?;
        let shared = Arc::clone(&tally);
        let thread = space.spawn(move || runtime.block_on(run(plan, shared, stopped)))?;
        Ok(Self { tally, stop, thread: Some(thread) })
    }

    /// What came of it so far. The time since the last answer counts as a gap.
    pub fn so_far(&self) -> Report {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.gap();
        tally.report.seconds = tally.started.elapsed().as_secs_f64();
        tally.report.clone()
    }

    /// Has it ended by itself (its count or its longest time is reached)?
    pub fn ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until so many requests have ended.
    ///
    /// # Errors
    /// When that takes longer than `limit`.
    pub fn reach(&self, total: u64, limit: Duration) -> Result<()> {
        crate::wait::until(limit, &format!("{total} requests"), || {
            let seen = self.so_far();
            if seen.total >= total { Ok(()) } else { Err(seen) }
        })
    }

    /// Stops starting requests, waits for those under way, and reports.
    ///
    /// # Errors
    /// When the load itself broke.
    pub fn finish(mut self) -> Result<Report> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).stopped = Some(Instant::now());
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| Error::other("the load generator broke"))?;
        }
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.report.seconds = tally.started.elapsed().as_secs_f64();
        Ok(tally.report.clone())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
    }
}

async fn run(plan: Plan, tally: Arc<Mutex<Tally>>, mut stop: watch::Receiver<bool>) {
    let plan = Arc::new(plan);
    let mut under_way = tokio::task::JoinSet::new();
    let note = {
        let tally = Arc::clone(&tally);
        move |took, result| tally.lock().unwrap_or_else(PoisonError::into_inner).note(took, result)
    };
    let begin = move || {
        tally.lock().unwrap_or_else(PoisonError::into_inner).report.started += 1;
        Instant::now()
    };
    match plan.shape {
        Shape::Rate(rate) => {
            let mut tick = interval(Duration::from_secs(1) / rate.max(1));
            tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut started = 0;
            let deadline = tokio::time::sleep(LONGEST);
            tokio::pin!(deadline);
            while started < plan.most {
                tokio::select! {
                    _ = stop.changed() => break,
                    () = &mut deadline => break,
                    Some(_) = under_way.join_next() => {}
                    _ = tick.tick(), if under_way.len() < MOST_WAITING => {
                        started += 1;
                        let (plan, note) = (Arc::clone(&plan), note.clone());
                        let begun = begin();
                        under_way.spawn(async move {
                            let result = next(&plan, &mut None, false).await;
                            note(begun.elapsed(), result);
                        });
                    }
                }
            }
        }
        Shape::Workers { count, keep_alive } => {
            for _ in 0..count {
                let (plan, note, stop) = (Arc::clone(&plan), note.clone(), stop.clone());
                let begin = begin.clone();
                let share = plan.most / u64::from(count.max(1));
                under_way.spawn(async move {
                    let end = Instant::now() + LONGEST;
                    let mut kept = None;
                    for _ in 0..share {
                        if *stop.borrow() || Instant::now() > end {
                            break;
                        }
                        let begun = begin();
                        let result = next(&plan, &mut kept, keep_alive).await;
                        note(begun.elapsed(), result);
                    }
                });
            }
        }
    }
    while under_way.join_next().await.is_some() {}
}

/// One request, on the kept connection or on a new one.
async fn next(plan: &Plan, kept: &mut Option<TcpStream>, keep: bool) -> io::Result<usize> {
    let exchange = async {
        // A server may close an idle connection at any time; a kept one that gives nothing at
        // all is replaced once, as browsers do (RFC 9110 9.2.2).
        if let Some(mut stream) = kept.take() {
            match exchange(&mut stream, plan, keep).await {
                Ok((bytes, open)) => {
                    *kept = open.then_some(stream);
                    return Ok(bytes);
                }
                Err(e) if e.get_ref().is_some_and(|e| e.is::<NothingAtAll>()) => {}
                Err(e) => return Err(e),
            }
        }
        let mut stream = TcpStream::connect(plan.addr).await.map_err(|e| plainly("connect", &e))?;
        let _ = stream.set_nodelay(true);
        let (bytes, open) = exchange(&mut stream, plan, keep).await?;
        *kept = open.then_some(stream);
        Ok(bytes)
    };
    match timeout(plan.timeout, exchange).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("closed without an answer")]
struct NothingAtAll;

fn plainly(what: &str, e: &io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("{what}: {}", e.kind()))
}

fn broken(text: impl Into<String>) -> io::Error {
    io::Error::other(text.into())
}

/// Sends the request and reads the whole answer; also says whether the connection stays open.
async fn exchange(stream: &mut TcpStream, plan: &Plan, keep: bool) -> io::Result<(usize, bool)> {
    let connection = if keep { "keep-alive" } else { "close" };
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: {connection}\r\n\r\n",
        plan.path,
        plan.addr.ip()
    );
    let nothing = || io::Error::new(io::ErrorKind::UnexpectedEof, NothingAtAll);
    if stream.write_all(request.as_bytes()).await.is_err() {
        return Err(nothing());
    }
    let mut seen = Vec::with_capacity(4096);
    let (head_end, length, closes) = loop {
        let n = match stream.read_buf(&mut seen).await {
            Ok(n) => n,
            Err(_) if seen.is_empty() => return Err(nothing()),
            Err(e) => return Err(plainly("read", &e)),
        };
        if n == 0 {
            return Err(if seen.is_empty() { nothing() } else { broken("a cut head") });
        }
        if let Some(at) = seen.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(seen.get(..at).unwrap_or_default());
            break read_head(&head).map(|(length, closes)| (at + 4, length, closes))?;
        }
        if seen.len() > 64 * 1024 {
            return Err(broken("a head without end"));
        }
    };
    let whole = head_end + length;
    while seen.len() < whole {
        let n = stream.read_buf(&mut seen).await.map_err(|e| plainly("read body", &e))?;
        if n == 0 {
            return Err(broken("a cut body"));
        }
    }
    if seen.len() > whole {
        return Err(broken("more bytes than announced"));
    }
    Ok((length, keep && !closes))
}

/// Length of the body, and whether the server closes the connection after it.
fn read_head(head: &str) -> io::Result<(usize, bool)> {
    let status = head.get(9..12).unwrap_or_default();
    if !head.starts_with("HTTP/1.") || status != "200" {
        return Err(broken(format!("status {status}")));
    }
    let field = |name: &str| {
        head.lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.trim())
    };
    let length = field("content-length").and_then(|v| v.parse().ok());
    let closes = field("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
    Ok((length.ok_or_else(|| broken("no Content-Length"))?, closes))
}

#[cfg(test)]
mod gap_tests {
    use super::*;

    #[test]
    fn a_request_that_hangs_on_after_the_end_is_no_gap() {
        let now = Instant::now();
        let before = |seconds| now.checked_sub(Duration::from_secs(seconds)).unwrap();
        let mut tally = Tally {
            report: Report::default(),
            started: before(20),
            last_success: before(10),
            stopped: Some(before(9)),
        };
        tally.note(Duration::from_secs(12), Err(io::ErrorKind::TimedOut.into()));
        assert_eq!(tally.report.failed, 1);
        assert!((tally.report.longest_gap_ms - 1000.0).abs() < 1.0);
        // While requests are still started, silence counts up to this moment.
        tally.stopped = None;
        tally.note(Duration::ZERO, Ok(1));
        assert!(tally.report.longest_gap_ms >= 10_000.0);
    }
}
