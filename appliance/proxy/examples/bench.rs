//! The load balancer beside HAProxy on this machine: `make bench`.
//!
//! Both run with one thread on the first processor, the load (wrk) and the server behind them on
//! the others, in turns within each round, so that what else the machine does meets both. The
//! figure to trust is the processor time per request (`/proc/PID/stat`); requests per second are
//! capped by the load. Raw runs are kept under `target/bench`.

use model::{
    Backend, Bind, Check, Endpoint, Frontend, Mode, Node, NodeId, Revision, Role, Server, Settings,
};
use std::error::Error;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

type Done<T> = Result<T, Box<dyn Error>>;

const BACKEND: u16 = 19_480;
const OURS: u16 = 19_481;
const HAPROXY: u16 = 19_482;
const ROUNDS: usize = 3;

/// Name, port offset for mode tcp, path, more arguments for wrk.
const CASES: [(&str, u16, &str, &[&str]); 5] = [
    ("1 KiB, keep-alive", 0, "/1024", &[]),
    ("1 KiB, one connection each", 0, "/1024", &["-H", "Connection: close"]),
    ("64 KiB, keep-alive", 0, "/65536", &[]),
    ("64 KiB, mode tcp", 10, "/65536", &[]),
    ("1 MiB, mode tcp", 10, "/1048576", &[]),
];

fn main() -> Done<()> {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("serve") => serve(),
        Some("backend") => backend(),
        _ => bench(),
    }
}

/// The balancer alone, until its input ends.
fn serve() -> Done<()> {
    let id: NodeId = "lb".parse()?;
    let (front, back): (Vec<Frontend>, Vec<Backend>) = [(Mode::Http, 0), (Mode::Tcp, 10)]
        .into_iter()
        .map(|(mode, offset)| -> Done<(Frontend, Backend)> {
            let bind: Bind = format!("127.0.0.1:{}", OURS + offset).parse()?;
            let server = Server {
                name: "s1".parse()?,
                address: Some(Endpoint(SocketAddrV4::new(Ipv4Addr::LOCALHOST, BACKEND))),
                ..Server::default()
            };
            let backend = Backend {
                name: format!("back-{mode}").parse()?,
                mode,
                servers: vec![server],
                check: Check { inter: model::Millis::seconds(2), ..Check::default() },
                ..Backend::default()
            };
            let frontend = Frontend {
                name: format!("front-{mode}").parse()?,
                mode,
                bind: vec![bind],
                default_backend: backend.name.clone(),
                ..Frontend::default()
            };
            Ok((frontend, backend))
        })
        .collect::<Done<Vec<_>>>()?
        .into_iter()
        .unzip();
    let settings = Settings {
        nodes: vec![Node {
            id: id.clone(),
            name: "Lb".parse()?,
            roles: [Role::Balancer].into(),
            ..Node::default()
        }],
        frontends: front,
        backends: back,
        ..Settings::default()
    };
    let board = control::StatusBoard::new(id.clone(), "bench");
    let (_keep, receiver) = control::Snapshot::new(Revision(1), settings, &id).channel();
    let (_trigger, shutdown) = control::Shutdown::new();
    let log = Box::new(std::io::sink());
    let options = proxy::Options { threads: Some(1), access_log: Some(log) };
    let reporter = board.reporter(model::status::Subsystem::Proxy);
    let _running = proxy::start(receiver, reporter, shutdown, options)?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Answers every request for `/N` with N bytes.
fn backend() -> Done<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, BACKEND)).await?;
        loop {
            let (mut io, _) = listener.accept().await?;
            io.set_nodelay(true)?;
            tokio::spawn(async move {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                let mut input = Vec::new();
                while io.read_buf(&mut input).await.is_ok_and(|n| n > 0) {
                    while let Some(at) = input.windows(4).position(|w| w == b"\r\n\r\n") {
                        let head = String::from_utf8_lossy(&input[..at]).into_owned();
                        input.drain(..at + 4);
                        let size = head.split([' ', '/']).nth(2).and_then(|n| n.parse().ok());
                        let size: usize = size.unwrap_or(0);
                        let mut out = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n")
                            .into_bytes();
                        out.resize(out.len() + size, b'x');
                        if io.write_all(&out).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    })
}

const CONFIG: &str = "global
  nbthread 1
  maxconn 4000
  log 127.0.0.1:19499 local0
defaults
  log global
  timeout connect 5s
  timeout client 50s
  timeout server 50s
frontend http
  mode http
  option httplog
  option forwardfor
  bind 127.0.0.1:19482
  default_backend http
backend http
  mode http
  server s1 127.0.0.1:19480 check
frontend tcp
  mode tcp
  option tcplog
  bind 127.0.0.1:19492
  default_backend tcp
backend tcp
  mode tcp
  server s1 127.0.0.1:19480 check
";

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn pinned(cpu: &str, program: &Path, args: &[&str]) -> Done<Running> {
    let mut command = Command::new("taskset");
    command.args(["-c", cpu]).arg(program).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit());
    Ok(Running(command.spawn()?))
}

fn answers(port: u16) -> Done<()> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        if let Ok(mut io) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            io.set_read_timeout(Some(Duration::from_secs(1)))?;
            io.write_all(b"GET /1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")?;
            let mut start = [0; 12];
            if io.read_exact(&mut start).is_ok() && start.ends_with(b"200") {
                return Ok(());
            }
        }
        if Instant::now() > end {
            return Err(format!("nobody answers on port {port}").into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Clock ticks the process has used.
fn ticks(pid: u32) -> Done<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = after.split_whitespace().skip(11);
    let mut next = || fields.next().and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    Ok(next() + next())
}

#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    us: f64,
    rate: f64,
    p99_ms: f64,
}

fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    let at = text.find(mark)? + mark.len();
    text[at..].split_whitespace().next()
}

fn milliseconds(text: &str) -> f64 {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let number: f64 = text[..split].parse().unwrap_or(0.0);
    match &text[split..] {
        "us" => number / 1000.0,
        "s" => number * 1000.0,
        _ => number,
    }
}

fn load(port: u16, path: &str, more: &[&str], seconds: u32) -> Done<String> {
    let url = format!("http://127.0.0.1:{port}{path}");
    let out = Command::new("taskset")
        .args(["-c", "1-255", "wrk", "-t1", "-c64", "--latency", &format!("-d{seconds}s")])
        .args(more)
        .arg(url)
        .output()?;
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

fn one_run(pid: u32, port: u16, path: &str, more: &[&str]) -> Done<(Figures, String)> {
    let before = ticks(pid)?;
    let text = load(port, path, more, 4)?;
    let used = ticks(pid)? - before;
    let count = text.lines().find_map(|l| l.trim().split_once(" requests in")).map(|(n, _)| n);
    let requests: f64 = count.and_then(|n| n.parse().ok()).unwrap_or(0.0);
    if requests == 0.0 || text.contains("Non-2xx") {
        return Err(format!("this run says nothing: {text}").into());
    }
    // A clock tick is 10 ms on every Linux there is.
    let used_us = u32::try_from(used).map(f64::from)? * 10_000.0;
    let figures = Figures {
        us: used_us / requests,
        rate: after(&text, "Requests/sec:").and_then(|n| n.parse().ok()).unwrap_or(0.0),
        p99_ms: after(&text, "99%").map_or(0.0, milliseconds),
    };
    Ok((figures, text))
}

/// System calls per request, counted on a short run of its own.
fn system_calls(pid: u32, port: u16, path: &str, more: &[&str]) -> Done<f64> {
    let strace = Command::new("timeout")
        .args(["-s", "INT", "4", "strace", "-c", "-f", "-p", &pid.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    std::thread::sleep(Duration::from_millis(700));
    let text = load(port, path, more, 2)?;
    let summary = String::from_utf8_lossy(&strace.wait_with_output()?.stderr).into_owned();
    let count = text.lines().find_map(|l| l.trim().split_once(" requests in")).map(|(n, _)| n);
    let requests: f64 = count.and_then(|n| n.parse().ok()).unwrap_or(0.0);
    let total = summary.lines().find(|l| l.trim_end().ends_with("total"));
    let calls = total.and_then(|l| l.split_whitespace().nth(3)).and_then(|n| n.parse::<f64>().ok());
    Ok(calls.unwrap_or(0.0) / requests.max(1.0))
}

fn median(all: &[Figures], of: fn(&Figures) -> f64) -> f64 {
    let mut values: Vec<f64> = all.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn bench() -> Done<()> {
    let place = Path::new("target/bench");
    std::fs::create_dir_all(place)?;
    let config = place.join("haproxy.cfg");
    std::fs::write(&config, CONFIG)?;
    // Somebody has to take HAProxy's log, or it meets errors instead of costs.
    let _log = std::net::UdpSocket::bind("127.0.0.1:19499")?;
    drop(TcpListener::bind((Ipv4Addr::LOCALHOST, BACKEND))?);
    let own = std::env::current_exe()?;
    let _backend = pinned("1-255", &own, &["backend"])?;
    answers(BACKEND)?;
    let ours = pinned("0", &own, &["serve"])?;
    let haproxy = Path::new("haproxy");
    let theirs = pinned("0", haproxy, &["-db", "-f", &config.to_string_lossy()])?;
    let proxies = [("bramble", ours.0.id(), OURS), ("haproxy", theirs.0.id(), HAPROXY)];
    for (_, _, port) in proxies {
        answers(port)?;
        answers(port + 10)?;
    }
    let mut raw = String::new();
    let mut table = format!(
        "{:<28} {:>9} {:>9} {:>6}  {:>9} {:>9} {:>6}  {:>7} {:>7}  {:>7} {:>7}\n",
        "",
        "us/req",
        "haproxy",
        "ratio",
        "req/s",
        "haproxy",
        "ratio",
        "p99 ms",
        "haproxy",
        "calls",
        "haproxy"
    );
    for (case, offset, path, more) in CASES {
        let mut figures = [Vec::new(), Vec::new()];
        for round in 0..ROUNDS {
            for (at, (name, pid, port)) in proxies.into_iter().enumerate() {
                let (found, text) = one_run(pid, port + offset, path, more)?;
                writeln!(raw, "== {case}, {name}, round {round}: {found:?}\n{text}")?;
                figures[at].push(found);
            }
        }
        let mut calls = [0.0; 2];
        for (at, (_, pid, port)) in proxies.into_iter().enumerate() {
            calls[at] = system_calls(pid, port + offset, path, more)?;
        }
        let pair = |of: fn(&Figures) -> f64| (median(&figures[0], of), median(&figures[1], of));
        let ((us, their_us), (rate, their_rate), (p99, their_p99)) =
            (pair(|f| f.us), pair(|f| f.rate), pair(|f| f.p99_ms));
        let line = format!(
            "{case:<28} {us:>9.1} {their_us:>9.1} {:>6.2}  {rate:>9.0} {their_rate:>9.0} {:>6.2}  {p99:>7.1} {their_p99:>7.1}  {:>7.2} {:>7.2}\n",
            us / their_us,
            rate / their_rate,
            calls[0],
            calls[1]
        );
        print!("{line}");
        table.push_str(&line);
    }
    for (name, pid, _) in proxies {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let rss = status.lines().find(|l| l.starts_with("VmRSS")).unwrap_or_default();
        writeln!(table, "{name} {rss}")?;
    }
    std::fs::write(place.join("raw.txt"), &raw)?;
    std::fs::write(place.join("table.txt"), &table)?;
    println!("\n{table}");
    Ok(())
}
