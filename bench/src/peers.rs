//! Who is measured, and how each is set up: alike, as far as each can.

use crate::plan::Way;
use crate::process::{self, Done, Place, Running};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub(crate) const ORIGIN_PORT: u16 = 19_480;
pub(crate) const LOG_PORT: u16 = 19_499;
/// A proxy's port of mode tcp, behind its first.
pub(crate) const TCP: u16 = 1;
/// Its port of TLS.
pub(crate) const TLS: u16 = 2;

/// A proxy that runs.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    port: u16,
    ways: &'static [Way],
    process: Running,
}

impl Peer {
    /// Where it serves this way, if it can.
    pub(crate) fn port(&self, way: Way) -> Option<u16> {
        self.ways.contains(&way).then(|| {
            self.port
                + match way {
                    Way::Http => 0,
                    Way::Tcp => TCP,
                    Way::Tls | Way::Http2 => TLS,
                }
        })
    }

    /// All of its processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        process::descendants(self.process.pid())
    }

    /// Ends it and returns what it said on its error output, if that was kept.
    pub(crate) fn end(mut self, signal: rustix::process::Signal) -> Done<String> {
        self.process.ask_to_end(signal)?;
        self.process.last_words(Duration::from_secs(30))
    }
}

/// What can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bramble,
    Haproxy,
    Nginx,
    /// A minimal proxy of `bench/peers`, where it was built.
    Built(&'static str),
}

/// Their order within a round.
pub(crate) const ALL: [Kind; 5] =
    [Kind::Bramble, Kind::Haproxy, Kind::Nginx, Kind::Built("hyper"), Kind::Built("pingora")];

/// Nginx' mode tcp, where its package is installed.
const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

const ALL_WAYS: &[Way] = &[Way::Http, Way::Tcp, Way::Tls, Way::Http2];

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bramble => "bramble",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Built(name) => name,
        }
    }

    fn ways(self) -> &'static [Way] {
        match self {
            Self::Bramble | Self::Haproxy => ALL_WAYS,
            Self::Nginx if Path::new(NGINX_STREAM).exists() => ALL_WAYS,
            Self::Nginx => &[Way::Http, Way::Tls, Way::Http2],
            Self::Built(_) => &[Way::Http],
        }
    }

    /// The command that runs it in the foreground as one process (nginx: with as many workers as
    /// threads were asked for); None where it has not been built.
    pub(crate) fn arguments(
        self,
        place: &Path,
        port: u16,
        threads: usize,
        log: bool,
    ) -> Done<Option<Vec<String>>> {
        let written = |text: String| -> Done<String> {
            let path = std::path::absolute(place.join(format!("{}-{port}.cfg", self.name())))?;
            std::fs::write(&path, text)?;
            Ok(path.to_string_lossy().into_owned())
        };
        let line: Vec<String> = match self {
            Self::Bramble => {
                let own = std::env::current_exe()?.to_string_lossy().into_owned();
                let pem = pem(place)?.to_string_lossy().into_owned();
                let mut line =
                    vec![own, "serve".into(), port.to_string(), threads.to_string(), pem];
                if !log {
                    line.push("no-log".into());
                }
                line
            }
            Self::Haproxy => {
                let config = written(haproxy(&pem(place)?, port, threads, log))?;
                vec!["haproxy".into(), "-db".into(), "-f".into(), config]
            }
            Self::Nginx => {
                let config = written(nginx(
                    &std::path::absolute(place.join("nginx-temp"))?,
                    &pem(place)?,
                    port,
                    threads,
                    log,
                ))?;
                let error_log = std::path::absolute(place.join("nginx-error.log"))?;
                let error_log = error_log.to_string_lossy().into_owned();
                vec!["nginx".into(), "-e".into(), error_log, "-c".into(), config]
            }
            Self::Built(name) => {
                let program = built(place, name);
                if !program.exists() {
                    return Ok(None);
                }
                let listen = format!("127.0.0.1:{port}");
                let origin = format!("127.0.0.1:{ORIGIN_PORT}");
                let program = program.to_string_lossy().into_owned();
                vec![program, listen, origin, threads.max(1).to_string()]
            }
        };
        Ok(Some(line))
    }
}

/// The certificate of all, ECDSA P-256, with its key; made when it is not there yet.
fn pem(place: &Path) -> Done<PathBuf> {
    let path = std::path::absolute(place.join("tls.pem"))?;
    if path.exists() {
        return Ok(path);
    }
    let key = place.join("tls.key");
    let certificate = place.join("tls.crt");
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "3650", "-subj", "/CN=bench", "-addext"])
        .arg("subjectAltName=DNS:bench,IP:127.0.0.1")
        .args([Path::new("-keyout"), &key, Path::new("-out"), &certificate])
        .output()?;
    if !made.status.success() {
        return Err(String::from_utf8_lossy(&made.stderr).into());
    }
    let both = std::fs::read_to_string(&certificate)? + &std::fs::read_to_string(&key)?;
    std::fs::write(&path, both)?;
    Ok(path)
}

fn built(place: &Path, name: &str) -> PathBuf {
    place.join("peers/release").join(format!("{name}-peer"))
}

/// The server behind all, and all proxies with so many threads.
pub(crate) fn start(place: &Path, threads: usize) -> Done<(Running, Vec<Peer>)> {
    // With one thread, a proxy has a processor for itself.
    let (proxies, others) = match threads {
        1 => (Place::First, Place::Others),
        _ => (Place::Anywhere, Place::Anywhere),
    };
    let own = std::env::current_exe()?;
    let mut command = others.command(&own.to_string_lossy());
    command.arg("origin");
    let origin = process::start(command, false)?;
    process::listens(ORIGIN_PORT, Duration::from_secs(10))?;
    let mut peers = Vec::new();
    for (kind, port) in ALL.into_iter().zip((19_500..).step_by(10)) {
        if threads > 1 && matches!(kind, Kind::Built(_)) {
            // Two more would take minutes more; with one thread they have shown what they cost.
            continue;
        }
        let Some(line) = kind.arguments(place, port, threads, true)? else {
            eprintln!("bench: {} is not measured: it has not been built here.", kind.name());
            continue;
        };
        let [program, arguments @ ..] = line.as_slice() else { continue };
        let mut command = proxies.command(program);
        command.args(arguments);
        let process = process::start(command, false)?;
        process::listens(port, Duration::from_secs(10))
            .map_err(|e| format!("{}: {e}", kind.name()))?;
        peers.push(Peer { name: kind.name(), port, ways: kind.ways(), process });
    }
    // Until the first checks are through.
    std::thread::sleep(Duration::from_millis(500));
    Ok((origin, peers))
}

/// One proxy under a tool that counts its instructions.
pub(crate) fn start_counted(
    place: &Path,
    kind: Kind,
    port: u16,
    log: bool,
    tool: &[&str],
) -> Done<Option<Peer>> {
    let Some(line) = kind.arguments(place, port, 0, log)? else { return Ok(None) };
    let [tool, arguments @ ..] = tool else { return Err("which tool?".into()) };
    let mut command = Place::Anywhere.command(tool);
    command.args(arguments).args(line);
    let process = process::start(command, true)?;
    let peer = Peer { name: kind.name(), port, ways: kind.ways(), process };
    process::listens(port, Duration::from_secs(60)).map_err(|e| format!("{}: {e}", peer.name))?;
    Ok(Some(peer))
}

fn haproxy(pem: &Path, port: u16, threads: usize, log: bool) -> String {
    let pem = pem.display();
    let maxconn = process::most_connections();
    let threads = threads.max(1);
    let (log, httplog, tcplog) = if log {
        (
            format!("  log 127.0.0.1:{LOG_PORT} local0\n"),
            "  log global\n  option httplog\n",
            "  log global\n  option tcplog\n",
        )
    } else {
        (String::new(), "", "")
    };
    format!(
        "global
  nbthread {threads}
  maxconn {maxconn}
{log}defaults
  timeout connect 5s
  timeout client 50s
  timeout server 50s
  timeout http-request 10s
  timeout http-keep-alive 50s
frontend http
  mode http
{httplog}  option forwardfor
  bind 127.0.0.1:{port}
  bind 127.0.0.1:{} ssl crt {pem} alpn h2,http/1.1 ssl-min-ver TLSv1.2
  default_backend http
backend http
  mode http
  server s1 127.0.0.1:{ORIGIN_PORT} check inter 2s
frontend tcp
  mode tcp
{tcplog}  bind 127.0.0.1:{}
  default_backend tcp
backend tcp
  mode tcp
  server s1 127.0.0.1:{ORIGIN_PORT} check inter 2s
",
        port + TLS,
        port + TCP
    )
}

/// Nginx has no active checks. Its log is buffered, as its users have it who care.
fn nginx(temp: &Path, pem: &Path, port: u16, threads: usize, log: bool) -> String {
    let (temp, pem) = (temp.display(), pem.display());
    let (tls, tcp) = (port + TLS, port + TCP);
    // Zero: one process, for a tool that follows one.
    let master = if threads == 0 { "master_process off;\n" } else { "" };
    let threads = threads.max(1);
    let connections = process::most_connections() * 2;
    let (log, tcplog) = if log {
        ("/dev/null combined buffer=64k flush=1s", "/dev/null session buffer=64k flush=1s")
    } else {
        ("off", "off")
    };
    let (module, stream) = if Path::new(NGINX_STREAM).exists() {
        (
            format!("load_module {NGINX_STREAM};\n"),
            format!(
                "stream {{
  log_format session '$remote_addr [$time_local] $protocol $status $bytes_sent $session_time';
  access_log {tcplog};
  server {{
    listen 127.0.0.1:{tcp} backlog=4096 reuseport;
    proxy_timeout 50s;
    proxy_pass 127.0.0.1:{ORIGIN_PORT};
  }}
}}
"
            ),
        )
    } else {
        (String::new(), String::new())
    };
    format!(
        "{module}daemon off;
{master}pid {temp}.pid;
worker_processes {threads};
events {{ worker_connections {connections}; }}
{stream}http {{
  access_log {log};
  keepalive_timeout 50s;
  keepalive_requests 1000000000;
  client_body_temp_path {temp}; proxy_temp_path {temp}; fastcgi_temp_path {temp};
  uwsgi_temp_path {temp}; scgi_temp_path {temp};
  upstream back {{
    server 127.0.0.1:{ORIGIN_PORT};
    keepalive 256;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096 reuseport;
    listen 127.0.0.1:{tls} backlog=4096 reuseport ssl http2;
    ssl_certificate {pem};
    ssl_certificate_key {pem};
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:tls:10m;
    location / {{
      proxy_pass http://back;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
  }}
}}
"
    )
}
