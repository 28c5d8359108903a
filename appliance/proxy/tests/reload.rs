//! Changing everything while requests run: none may fail.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use common::{Conn, Proxy, Scripted, free_port, frontend, server, settings, until};
use model::{Balance, Millis, Role, ServerState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Clients that never stop asking: some keep their connection, some open one per request.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    fn on(port: u16) -> Self {
        let (stop, done): (Arc<AtomicBool>, Arc<AtomicUsize>) = Default::default();
        let threads = (0..6).map(|kind| {
            let (stop, done) = (stop.clone(), done.clone());
            std::thread::spawn(move || ask(port, kind % 2 == 0, &stop, &done))
        });
        Self { threads: threads.collect(), stop, done }
    }

    /// Waits for so many more requests.
    fn more(&self, n: usize) {
        let goal = self.done.load(Ordering::SeqCst) + n;
        until("enough requests are through", || self.done.load(Ordering::SeqCst) >= goal);
    }

    fn end(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::SeqCst);
        let failures = self.threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
        (self.done.load(Ordering::SeqCst), failures)
    }
}

fn ask(port: u16, keep: bool, stop: &AtomicBool, done: &AtomicUsize) -> Vec<String> {
    let mut failures = Vec::new();
    let mut kept: Option<Conn> = None;
    while !stop.load(Ordering::SeqCst) {
        let mut conn = match kept.take() {
            Some(conn) => conn,
            None => Conn::to(port),
        };
        match conn.get("/load") {
            Ok(answer) if answer.status == 200 => {
                done.fetch_add(1, Ordering::SeqCst);
                if keep && !answer.head.contains("Connection: close") {
                    kept = Some(conn);
                }
            }
            other => failures.push(format!("{other:?}")),
        }
    }
    failures
}

#[test]
fn nothing_fails_while_everything_changes() {
    let servers: Vec<Scripted> = (0..4).map(|_| Scripted::echo()).collect();
    let list = servers.iter().enumerate().map(|(i, s)| server(&format!("s{i}"), s.address));
    let mut proxy = Proxy::start(settings(free_port(), list.collect()));
    let load = Load::on(proxy.port);
    load.more(200);
    for round in 0..6_u64 {
        proxy.change(|s| s.backends[0].servers[0].weight = model::Weight::new(round * 7).unwrap());
        load.more(50);
        for algorithm in Balance::examples() {
            proxy.change(|s| s.backends[0].balance = algorithm.clone());
            load.more(50);
        }
        for state in [ServerState::Drain, ServerState::Maint, ServerState::Ready] {
            proxy.change(|s| s.backends[0].servers[1].state = state);
            load.more(50);
        }
        proxy.change(|s| {
            s.backends[0].servers.pop();
        });
        load.more(50);
        let last = server("s3", servers[3].address);
        proxy.change(|s| s.backends[0].servers.push(last));
        proxy.change(|s| s.frontends[0].timeout_client = Millis(40_000));
        load.more(50);
        let extra = free_port();
        proxy.change(|s| s.frontends.push(frontend("extra", extra)));
        assert_eq!(Conn::to(extra).get("/").unwrap().status, 200);
        proxy.change(|s| {
            s.frontends.pop();
        });
        load.more(50);
        // Checks coming and going.
        proxy.change(|s| s.backends[0].check.enabled = !s.backends[0].check.enabled);
        load.more(50);
    }
    let (done, failures) = load.end();
    assert!(failures.is_empty(), "{} of {done} failed: {:?}", failures.len(), failures.first());
    assert!(done > 3000, "{done}");
    until("all are counted", || proxy.status().backends[0].traffic.scur == 0);
    let status = proxy.status();
    // Counters have survived all of it.
    assert_eq!(status.frontends[0].req_tot, u64::try_from(done).unwrap());
    // Six more came through the frontends that came and went.
    assert_eq!(status.backends[0].http.hrsp_2xx, status.frontends[0].http.hrsp_2xx + 6);
    assert_eq!(status.backends[0].traffic.scur, 0);
    assert!(status.backends[0].servers.iter().all(|s| s.traffic.scur == 0));
}

/// Connections to this port of 127.0.0.1 that are there for the kernel, accepted or not.
fn established(port: u16) -> usize {
    let wanted = format!("0100007F:{port:04X}");
    let all = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    all.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words[1] == wanted && words[3] == "01")
        .count()
}

#[test]
fn a_removed_frontend_lets_nobody_down() {
    let backend = Scripted::echo();
    let mut proxy = Proxy::start(settings(free_port(), vec![server("s1", backend.address)]));
    let mut gone = Vec::new();
    for _ in 0..20 {
        let extra = free_port();
        proxy.change(|s| s.frontends.push(frontend("extra", extra)));
        let mut kept = Conn::to(extra);
        kept.get("/").unwrap();
        // In the queue, perhaps not yet accepted when the frontend goes. The kernel may be late
        // with the end of a handshake that is over for the visitor.
        let mut queued: Vec<Conn> = (0..20).map(|_| Conn::to(extra)).collect();
        until("the handshakes are over", || established(extra) == 21);
        proxy.change(|s| {
            s.frontends.pop();
        });
        for conn in &mut queued {
            assert_eq!(conn.get("/queued").unwrap().status, 200);
        }
        let last = kept.get("/last").unwrap();
        assert_eq!(last.status, 200);
        assert!(last.head.contains("Connection: close\r\n"));
        assert_eq!(kept.rest(Duration::from_secs(5)), "[closed]");
        gone.push(extra);
    }
    for port in gone {
        until("nobody listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}

#[test]
fn a_frontend_that_changes_its_port_moves() {
    let backend = Scripted::echo();
    let mut proxy = Proxy::start(settings(free_port(), vec![server("s1", backend.address)]));
    proxy.connect().get("/").unwrap();
    let next = free_port();
    proxy.change(|s| s.frontends[0].bind = vec![format!("*:{next}").parse().unwrap()]);
    assert_eq!(Conn::to(next).get("/").unwrap().status, 200);
    assert_eq!(proxy.status().frontends[0].req_tot, 2);
    // Turned off and on again, it still knows what it counted.
    proxy.change(|s| s.nodes[0].roles = [Role::Web].into());
    assert!(proxy.handle.status().is_none());
    assert!(!*proxy.handle.ready().borrow());
    until("the port is closed", || std::net::TcpStream::connect(("127.0.0.1", next)).is_err());
    proxy.change(|s| s.nodes[0].roles = [Role::Balancer].into());
    until("it answers again", || std::net::TcpStream::connect(("127.0.0.1", next)).is_ok());
    assert_eq!(Conn::to(next).get("/").unwrap().status, 200);
}

#[test]
fn servers_in_drain_and_maintenance_get_nothing_new() {
    let servers = [Scripted::named("a"), Scripted::named("b")];
    let list = vec![server("a", servers[0].address), server("b", servers[1].address)];
    let mut proxy = Proxy::with(settings(free_port(), list), 1, None);
    let mut conn = proxy.connect();
    let mut ask = |n: usize| -> String {
        (0..n).map(|_| String::from_utf8(conn.get("/").unwrap().body).unwrap()).collect()
    };
    assert_eq!(ask(4), "abab");
    for state in [ServerState::Drain, ServerState::Maint] {
        proxy.change(|s| s.backends[0].servers[0].state = state);
        assert_eq!(ask(4), "bbbb");
        if state == ServerState::Maint {
            until("its idle connections are closed", || {
                proxy.status().backends[0].servers[0].srv_icur == 0
            });
        }
        proxy.change(|s| s.backends[0].servers[0].state = ServerState::Ready);
        assert_eq!(ask(4).len(), 4);
    }
    proxy.change(|s| s.backends[0].servers[0].weight = model::Weight::new(0).unwrap());
    assert_eq!(ask(4), "bbbb");
}

#[test]
fn a_running_request_survives_its_servers_removal() {
    let slow = Scripted::new(|peer| {
        while peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
            std::thread::sleep(Duration::from_millis(500));
            peer.send("half");
        }
    });
    let mut proxy = Proxy::start(settings(free_port(), vec![server("slow", slow.address)]));
    let mut conn = proxy.connect();
    conn.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    until("it runs", || proxy.status().backends[0].servers[0].traffic.scur == 1);
    proxy.change(|s| s.backends[0].servers.clear());
    assert_eq!(conn.answer(false).unwrap().body, b"halfhalf");
}

#[test]
fn draining_lets_running_requests_finish() {
    let slow = Scripted::new(|peer| {
        while peer.request().is_some() {
            std::thread::sleep(Duration::from_millis(400));
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let proxy = Proxy::start(settings(free_port(), vec![server("slow", slow.address)]));
    let mut idle = proxy.connect();
    idle.get("/").unwrap();
    let mut running = proxy.connect();
    running.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    until("it runs", || proxy.status().backends[0].servers[0].traffic.scur == 1);
    let handle = proxy.handle.clone();
    let draining = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(handle.drain(Duration::from_secs(20)));
    });
    let answer = running.answer(false).unwrap();
    assert_eq!(answer.body, b"ok");
    assert_eq!(idle.rest(Duration::from_secs(5)), "[closed]");
    draining.join().unwrap();
    assert!(!*proxy.handle.ready().borrow());
    assert!(std::net::TcpStream::connect(("127.0.0.1", proxy.port)).is_err());
}

#[test]
fn a_drain_ends_at_its_deadline() {
    let silent = Scripted::new(|peer| while peer.request().is_some() {});
    let proxy = Proxy::start(settings(free_port(), vec![server("s1", silent.address)]));
    let mut conn = proxy.connect();
    conn.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    until("it runs", || proxy.status().backends[0].servers[0].traffic.scur == 1);
    let begun = std::time::Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(proxy.handle.drain(Duration::from_millis(300)));
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn the_port_of_another_program_is_refused_beforehand() {
    use control::{Obstacle, Snapshot};
    use model::{NodeId, Revision};
    let backend = Scripted::echo();
    let proxy = Proxy::start(settings(free_port(), vec![server("s1", backend.address)]));
    let id: NodeId = "lb".parse().unwrap();
    let current = Snapshot::new(Revision(1), proxy.settings.clone(), &id);
    let preflight = proxy.handle.preflight();
    let prepare = |port: u16| {
        let mut next = proxy.settings.clone();
        next.frontends.push(frontend("second", port));
        let next = Snapshot::new(Revision(2), next, &id);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(preflight.prepare(&current, &next))
    };
    assert_eq!(prepare(free_port()), Ok(()));
    let port = free_port();
    let mut python = std::process::Command::new("python3")
        .args(["-c", &format!("import socket,sys\ns=socket.create_server(('127.0.0.1',{port}))\nprint('up',flush=True)\nsys.stdin.read()")])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = [0_u8; 2];
    std::io::Read::read_exact(python.stdout.as_mut().unwrap(), &mut up).unwrap();
    let refused = prepare(port).unwrap_err();
    drop(python.stdin.take());
    python.wait().unwrap();
    let Obstacle::Circumstances(refused) = refused else { unreachable!() };
    assert!(refused.contains(&format!("port {port} is taken by python3 (process ")), "{refused}");
    assert_eq!(prepare(port), Ok(()));
}
