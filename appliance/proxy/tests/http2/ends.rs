//! How streams and connections end, and what of it anybody notices.

use crate::common::tls::client;
use crate::common::{Proxy, Scripted, free_port, until};
use crate::visit::{ask, body, get, one, open, over, run, try_open};
use h2::Reason;
use model::Millis;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio_rustls::TlsConnector;

#[test]
fn what_breaks_off_is_reset_and_never_looks_whole() {
    let seen: Arc<AtomicBool> = Arc::default();
    let head_seen = Arc::clone(&seen);
    let web = Scripted::new(move |peer| {
        while let Some(request) = peer.request() {
            let path = request.split(' ').nth(1).unwrap().to_owned();
            match path.as_str() {
                "/length" => peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"),
                "/chunked" => {
                    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf")
                }
                "/close" => {
                    peer.send("HTTP/1.1 200 OK\r\n\r\nhalf");
                    until("the visitor has the head", || head_seen.load(Ordering::SeqCst));
                    peer.reset();
                }
                "/nothing" => {}
                _ => {
                    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                    continue;
                }
            }
            return;
        }
    });
    let proxy = one(&web);
    run(async {
        let (send, _driver) = open(proxy.port).await;
        for path in ["/length", "/chunked", "/close"] {
            let mut ready = send.clone().ready().await.unwrap();
            let (response, _) = ready.send_request(get(path).body(()).unwrap(), true).unwrap();
            let error = match response.await {
                Ok(response) => {
                    seen.store(true, Ordering::SeqCst);
                    body(response.into_body()).await.unwrap_err()
                }
                // All of it was over before the head could leave.
                Err(error) => error,
            };
            assert!(error.is_reset(), "{path}: {error}");
            assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR), "{path}");
            // The connection and its other streams go on.
            assert_eq!(ask(&send, get("/fine")).await.unwrap().1, b"ok");
        }
        let (response, _) = ask(&send, get("/nothing").method("POST")).await.unwrap();
        assert_eq!(response.status().as_u16(), 502);
    });
    assert_eq!(proxy.status().backends[0].servers[0].srv_abrt, 4);
}

#[test]
fn a_refusing_server_is_passed_over() {
    let (dead, web) = (Scripted::echo(), Scripted::named("alive"));
    let mut settings = over(&[&dead, &web]);
    settings.backends[0].redispatch = true;
    dead.stop();
    until("nobody listens there", || TcpStream::connect(dead.address).is_err());
    let proxy = Proxy::start(settings);
    run(async {
        let (send, _driver) = open(proxy.port).await;
        for _ in 0..6 {
            assert_eq!(ask(&send, get("/")).await.unwrap().1, b"alive");
        }
    });
    assert!(proxy.status().backends[0].servers[0].wretr > 0);
}

#[test]
fn a_drain_loses_no_request() {
    let web = Scripted::new(|peer| {
        while peer.request().is_some() {
            std::thread::sleep(Duration::from_millis(20));
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let mut proxy = one(&web);
    let second = free_port();
    // The visitors' port is taken from the frontend, while requests are on their way: whoever is
    // told to go asks the other address.
    proxy.change(|s| {
        s.frontends[0].bind.insert(0, format!("127.0.0.1:{second} ssl").parse().unwrap());
    });
    let first = proxy.port;
    let (stop, done): (Arc<AtomicBool>, Arc<AtomicUsize>) = Default::default();
    let gone: Arc<AtomicBool> = Arc::default();
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (stop, done, gone) = (stop.clone(), done.clone(), gone.clone());
            std::thread::spawn(move || run(visit(first, second, stop, done, gone)))
        })
        .collect();
    until("requests are through", || done.load(Ordering::SeqCst) > 100);
    gone.store(true, Ordering::SeqCst);
    proxy.change(|s| s.frontends[0].bind.truncate(1));
    let goal = done.load(Ordering::SeqCst) + 100;
    until("requests go on", || done.load(Ordering::SeqCst) > goal);
    stop.store(true, Ordering::SeqCst);
    let (mut moved, mut failures) = (0, Vec::new());
    for thread in threads {
        let (m, f) = thread.join().unwrap();
        moved += m;
        failures.extend(f);
    }
    assert!(failures.is_empty(), "{failures:?}");
    assert!(moved > 0, "nobody was told to go");
}

/// Asks with ten requests at once; how often it was told to go, and what went wrong.
async fn visit(
    first: u16,
    second: u16,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    gone: Arc<AtomicBool>,
) -> (usize, Vec<String>) {
    let (mut moved, mut failures) = (0, Vec::new());
    let mut opened = open(first).await;
    while !stop.load(Ordering::SeqCst) {
        let asked: Vec<_> = (0..10)
            .map(|_| {
                let send = opened.0.clone();
                tokio::spawn(async move { ask(&send, get("/")).await })
            })
            .collect();
        let mut again = false;
        for answer in asked {
            match answer.await.unwrap() {
                Ok((response, _)) if response.status() == 200 => {
                    done.fetch_add(1, Ordering::SeqCst);
                }
                // Never sent, or said not to have been looked at: no request is lost.
                Err(e) if e.is_go_away() && e.reason() == Some(Reason::NO_ERROR) => again = true,
                Err(e) if e.is_reset() && e.reason() == Some(Reason::REFUSED_STREAM) => {
                    again = true
                }
                other => failures.push(format!("{other:?}")),
            }
        }
        if again || opened.1.is_finished() {
            assert!(gone.load(Ordering::SeqCst), "told to go although nothing changed");
            moved += 1;
            opened = open(second).await;
        }
    }
    (moved, failures)
}

/// What is under way gets so long when we stop.
const DEADLINE: Duration = Duration::from_secs(10);

#[test]
fn stopping_finishes_what_is_under_way() {
    let web = Scripted::new(|peer| {
        while peer.request().is_some() {
            std::thread::sleep(Duration::from_millis(700));
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let proxy = one(&web);
    run(async {
        let (send, driver) = open(proxy.port).await;
        let (_idle, idle_driver) = open(proxy.port).await;
        let asked: Vec<_> = (0..10)
            .map(|_| {
                let send = send.clone();
                tokio::spawn(async move { ask(&send, get("/")).await.unwrap().1 })
            })
            .collect();
        while web.requests().len() < asked.len() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let start = Instant::now();
        let handle = proxy.handle.clone();
        let draining = tokio::spawn(async move { handle.drain(DEADLINE).await });
        for answer in asked {
            assert_eq!(answer.await.unwrap(), b"ok");
        }
        driver.await.unwrap().unwrap();
        idle_driver.await.unwrap().unwrap();
        draining.await.unwrap();
        assert!(start.elapsed() < DEADLINE, "{:?}", start.elapsed());
    });
}

#[test]
fn a_visitor_who_wants_no_answer_any_more_is_not_waited_for() {
    let closed: Arc<AtomicUsize> = Arc::default();
    let web = Scripted::new({
        let closed = closed.clone();
        move |peer| {
            if peer.request().is_some() {
                // Silent until the balancer gives it up.
                let mut byte = [0];
                if let Ok(0) | Err(_) = peer.io.read(&mut byte) {
                    closed.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
    });
    let proxy = one(&web);
    run(async {
        let (send, _driver) = open(proxy.port).await;
        let mut ready = send.clone().ready().await.unwrap();
        let (response, mut out) = ready.send_request(get("/").body(()).unwrap(), true).unwrap();
        while web.requests().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        out.send_reset(Reason::CANCEL);
        assert!(response.await.is_err());
        while closed.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let server = || proxy.status().backends[0].servers[0].clone();
    until("it is counted", || server().cli_abrt == 1 && server().traffic.scur == 0);
    until("it is logged", || !proxy.handle.recent_log().is_empty());
    assert!(proxy.handle.recent_log()[0].contains(" CH-- "), "{:?}", proxy.handle.recent_log());
}

#[test]
fn who_does_not_read_holds_up_only_its_own_server() {
    let written: Arc<AtomicUsize> = Arc::default();
    let web = Scripted::new({
        let written = written.clone();
        move |peer| {
            while let Some(request) = peer.request() {
                if request.starts_with("GET /small ") {
                    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                    continue;
                }
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
                let piece = vec![0; 100_000];
                for _ in 0..1000 {
                    if peer.io.write_all(&piece).is_err() {
                        return;
                    }
                    written.fetch_add(piece.len(), Ordering::SeqCst);
                }
            }
        }
    });
    let mut settings = over(&[&web]);
    settings.frontends[0].timeout_client = Millis(2500);
    let proxy = Proxy::start(settings);
    run(async {
        let mut builder = h2::client::Builder::new();
        // It may be sent much on all streams together, so that each stream is its own limit.
        builder.initial_connection_window_size(1 << 30);
        let (send, _driver) = try_open(proxy.port, builder).await.unwrap();
        let mut ready = send.clone().ready().await.unwrap();
        let (response, _) = ready.send_request(get("/large").body(()).unwrap(), true).unwrap();
        let response = response.await.unwrap();
        let mut before = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = written.load(Ordering::SeqCst);
            if now == before {
                break;
            }
            before = now;
        }
        // What is on its way is in the sockets' buffers, not in ours.
        assert!(before < 20_000_000, "{before} bytes taken from the server");
        assert_eq!(ask(&send, get("/small")).await.unwrap().1, b"ok");
        // In the end it was silent for too long.
        let mut stream = response.into_body();
        let error = loop {
            match stream.data().await.unwrap() {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(error.is_reset(), "{error}");
    });
    assert_eq!(proxy.status().backends[0].servers[0].cli_abrt, 1);
}

#[test]
fn an_idle_connection_is_told_to_go() {
    let web = Scripted::echo();
    let mut settings = over(&[&web]);
    settings.frontends[0].timeout_http_keep_alive = Millis(500);
    settings.frontends[0].timeout_http_request = Millis(900);
    let proxy = Proxy::start(settings);
    run(async {
        let start = Instant::now();
        let (send, driver) = open(proxy.port).await;
        ask(&send, get("/")).await.unwrap();
        driver.await.unwrap().unwrap();
        // Without a word about it, ten seconds would be waited.
        assert!((400..8000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
        let (_silent, driver) = open(proxy.port).await;
        driver.await.unwrap().unwrap();
        // One who agrees on HTTP/2 and does not speak it.
        let socket = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port));
        let connector = TlsConnector::from(client(rustls::ALL_VERSIONS, &["h2"]));
        let host = rustls::pki_types::ServerName::try_from("a.example").unwrap();
        let mut tls = connector.connect(host, socket.await.unwrap()).await.unwrap();
        let mut all = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut tls, &mut all).await;
    });
    until("no connection is left", || proxy.status().curr_conns == 0);
}
