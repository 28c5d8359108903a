//! A real HAProxy on loopback, to compare with.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use super::{Conn, PATIENCE, free_port};
use std::io::{Read, Write};
use std::net::{SocketAddrV4, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Haproxy {
    pub port: u16,
    child: Child,
    directory: PathBuf,
}

impl Haproxy {
    /// Starts HAProxy with a frontend of these lines and a backend `back` of those.
    pub fn start(frontend: &[&str], backend: &[String]) -> Self {
        let port = free_port();
        let directory = std::env::temp_dir().join(format!("haproxy-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let mut text = format!(
            "global\n  nbthread 1\n  stats socket {}/sock level admin\ndefaults\n  mode http\n  timeout connect 2s\n  timeout client 20s\n  timeout server 20s\nfrontend front\n  bind 127.0.0.1:{port}\n",
            directory.display()
        );
        for line in frontend {
            text += &format!("  {line}\n");
        }
        text += "  default_backend back\nbackend back\n";
        for line in backend {
            // A line of a section stands at its start.
            let indent = if line.starts_with("backend ") { "" } else { "  " };
            text += &format!("{indent}{line}\n");
        }
        let file = directory.join("haproxy.cfg");
        std::fs::write(&file, text).unwrap();
        let child = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| unreachable!("the package haproxy must be installed: {e}"));
        let mut this = Self { port, child, directory };
        let end = Instant::now() + PATIENCE;
        // It binds its command socket after the others. One connection finds it there, no more:
        // tests that count know of one.
        let there = |this: &Self| {
            this.directory.join("sock").exists()
                && std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        };
        while !there(&this) {
            let ended = this.child.try_wait().unwrap();
            let mut why = String::new();
            if ended.is_some() {
                this.child.stderr.take().unwrap().read_to_string(&mut why).unwrap();
            }
            assert!(ended.is_none(), "haproxy ended: {why}");
            assert!(Instant::now() < end, "haproxy does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        this
    }

    pub fn connect(&self) -> Conn {
        Conn::to(self.port)
    }

    /// What the runtime API says.
    pub fn ask(&self, command: &str) -> String {
        let mut socket = UnixStream::connect(self.directory.join("sock")).unwrap();
        socket.write_all(format!("{command}\n").as_bytes()).unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        text
    }

    /// How many connections the frontend has.
    pub fn visitors(&self) -> u64 {
        let all = self.ask("show stat");
        let line = all.lines().find(|l| l.starts_with("front,FRONTEND,")).unwrap();
        line.split(',').nth(4).unwrap().parse().unwrap()
    }

    /// Is this server up, as HAProxy sees it?
    pub fn is_up(&self, server: &str) -> bool {
        let all = self.ask("show stat");
        let line = all.lines().find(|l| l.starts_with(&format!("back,{server},"))).unwrap();
        line.split(',').nth(17).unwrap().starts_with("UP")
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Where HAProxy's access log goes.
pub struct Logs(UdpSocket);

impl Logs {
    pub fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    /// The line of a frontend that has it write there.
    pub fn directive(&self) -> String {
        format!("log {} local0", self.0.local_addr().unwrap())
    }

    /// The next line.
    pub fn next(&self) -> String {
        let mut part = [0; 4096];
        let n = self.0.recv(&mut part).unwrap();
        String::from_utf8_lossy(&part[..n]).into_owned()
    }
}

impl Default for Logs {
    fn default() -> Self {
        Self::new()
    }
}

/// `server s1 127.0.0.1:1234 …`
pub fn server_line(name: &str, address: SocketAddrV4, rest: &str) -> String {
    format!("server {name} {address} {rest}")
}
