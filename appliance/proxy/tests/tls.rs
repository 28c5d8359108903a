//! TLS in front: who is shown which certificate, and that everything else is as without it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod common;

use common::haproxy::{Haproxy, server_line};
use common::tls::{Tls, certificate, client, modern, secure};
use common::{Conn, Proxy, Scripted, free_port, server, until};
use control::{Obstacle, Snapshot};
use model::status::SubsystemState;
use model::{Millis, Mode, Rule, Secret, TlsVersion};
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn one(web: &Scripted) -> Proxy {
    let certificates = vec![certificate("main", &["example.org"])];
    Proxy::start(secure(free_port(), vec![server("s1", web.address)], certificates))
}

#[test]
fn the_name_asked_for_chooses_the_certificate() {
    let web = Scripted::echo();
    let all = vec![
        certificate("first", &["example.org", "www.example.org"]),
        certificate("stars", &["*.example.org"]),
        certificate("other", &["example.net"]),
    ];
    let mut settings = secure(free_port(), vec![server("s1", web.address)], all.clone());
    // Nobody asks for anything here.
    settings.frontends[0].http_ignore_probes = true;
    let mut proxy = Proxy::start(settings);
    let shown = |host: &str| {
        Tls::to(proxy.port, host, &modern()).map(|t| {
            let found = all.iter().find(|c| t.was_shown(c)).unwrap();
            found.name.as_str().to_owned()
        })
    };
    for (host, want) in [
        ("example.org", "first"),
        ("www.example.org", "first"),
        ("a.example.org", "stars"),
        ("a.b.example.org", "first"),
        ("EXAMPLE.net", "other"),
        ("elsewhere.test", "first"),
        ("127.0.0.1", "first"),
    ] {
        assert_eq!(shown(host).unwrap(), want, "{host}");
    }
    let port = proxy.port;
    proxy.change(|s| s.frontends[0].strict_sni = true);
    let shown = |host: &str| Tls::to(port, host, &modern()).is_ok();
    assert!(shown("example.net") && shown("a.example.org"));
    assert!(!shown("elsewhere.test") && !shown("127.0.0.1"));
    until("failed handshakes are counted", || proxy.status().frontends[0].ereq == 2);
}

#[test]
fn the_same_certificate_is_shown_as_by_haproxy() {
    let web = Scripted::echo();
    let all = [
        certificate("first", &["example.org", "a.example.org"]),
        certificate("stars", &["*.example.org", "*.b.example.org"]),
        certificate("other", &["example.net", "a.example.org"]),
    ];
    let directory = tempfile::tempdir().unwrap();
    let files: Vec<String> = all
        .iter()
        .map(|c| {
            let file = directory.path().join(format!("{}.pem", c.name));
            std::fs::write(&file, c.chain.clone() + c.key.reveal()).unwrap();
            format!("crt {}", file.display())
        })
        .collect();
    for strict in [false, true] {
        let theirs = free_port();
        let word = if strict { "strict-sni" } else { "" };
        let bind = format!("bind 127.0.0.1:{theirs} ssl {} {word}", files.join(" "));
        let _haproxy = Haproxy::start(&[&bind], &[server_line("s1", web.address, "")]);
        let mut settings = secure(free_port(), vec![server("s1", web.address)], all.to_vec());
        settings.frontends[0].strict_sni = strict;
        let proxy = Proxy::start(settings);
        for host in [
            "example.org",
            "a.example.org",
            "b.example.org",
            "x.b.example.org",
            "x.y.example.org",
            "EXAMPLE.net",
            "nowhere.test",
            "127.0.0.1",
        ] {
            let shown = |port: u16| {
                let tls = Tls::to(port, host, &modern()).ok()?;
                all.iter().find(|c| tls.was_shown(c)).map(|c| c.name.clone())
            };
            assert_eq!(shown(proxy.port), shown(theirs), "{host}, strict: {strict}");
        }
    }
}

#[test]
fn both_versions_are_spoken_unless_one_is_too_old() {
    let web = Scripted::echo();
    let mut proxy = one(&web);
    let port = proxy.port;
    let asked = |version| -> std::io::Result<String> {
        let mut tls = Tls::to(port, "example.org", &client(&[version], &[]))?;
        Ok(String::from_utf8(tls.get("/v")?.1).unwrap())
    };
    assert_eq!(asked(&TLS12).unwrap(), "GET /v HTTP/1.1");
    assert_eq!(asked(&TLS13).unwrap(), "GET /v HTTP/1.1");
    proxy.change(|s| s.frontends[0].ssl_min_ver = TlsVersion::Tls13);
    assert!(asked(&TLS12).is_err());
    assert!(asked(&TLS13).is_ok());
}

#[test]
fn openssl_gets_through_with_either_version_and_resumes() {
    let web = Scripted::echo();
    let proxy = one(&web);
    for version in ["-tls1_2", "-tls1_3"] {
        let mut child = Command::new("openssl")
            .args(["s_client", "-reconnect", version, "-servername", "example.org", "-connect"])
            .arg(format!("127.0.0.1:{}", proxy.port))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("the package openssl must be installed: {e}"));
        drop(child.stdin.take());
        let out = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        assert!(out.contains("CN = rcgen self signed cert"), "{out}");
        let resumed = out.matches("Reused, ").count();
        // With TLS 1.3 the tickets come after openssl has reconnected.
        assert!(resumed == 5 || version == "-tls1_3", "{resumed} of 5 resumed: {out}");
    }
}

#[test]
fn sessions_are_resumed_by_every_thread_and_over_changes() {
    let web = Scripted::echo();
    let mut proxy = one(&web);
    for versions in [&[&TLS13][..], &[&TLS12]] {
        let config = client(versions, &[]);
        for round in 0..8 {
            let mut tls = Tls::to(proxy.port, "example.org", &config).unwrap();
            tls.get("/").unwrap();
            let kind = tls.io.conn.handshake_kind().unwrap();
            let resumed = kind == HandshakeKind::Resumed;
            assert_eq!(resumed, round > 0, "{kind:?} in round {round} of {versions:?}");
            proxy.change(|s| s.backends[0].retries = 3 + u8::from(round % 2 == 0));
        }
    }
}

#[test]
fn who_speaks_no_tls_is_turned_away_and_counted() {
    let web = Scripted::echo();
    let proxy = one(&web);
    for bytes in [&b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"[..], b"\x16\x03\x01\xff\xffgarbage", b"\0"]
    {
        let mut conn = Conn::to(proxy.port);
        conn.send(bytes);
        conn.io.shutdown(Shutdown::Write).unwrap();
        let said = conn.rest(Duration::from_secs(5));
        assert!(!said.contains("HTTP/1.1") && !said.contains("[open]"), "{said}");
    }
    until("they are counted", || proxy.status().frontends[0].ereq == 3);
    assert!(web.requests().is_empty());
    assert!(Tls::to(proxy.port, "example.org", &modern()).unwrap().get("/").is_ok());
}

#[test]
fn a_slow_handshake_is_cut_off() {
    let web = Scripted::echo();
    let certificates = vec![certificate("main", &["example.org"])];
    let mut settings = secure(free_port(), vec![server("s1", web.address)], certificates);
    settings.frontends[0].timeout_http_request = Millis(400);
    let proxy = Proxy::start(settings);
    let mut conn = Conn::to(proxy.port);
    let start = Instant::now();
    // The head of a record that never comes.
    conn.send(b"\x16\x03\x01\x02\x00");
    assert_eq!(conn.rest(Duration::from_secs(5)), "[closed]");
    assert!((300..3000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    // So is one who shakes hands and asks for nothing, and with one who says only half of it.
    for half in [&b""[..], b"GET / HT"] {
        let mut tls = Tls::to(proxy.port, "example.org", &modern()).unwrap();
        tls.io.write_all(half).unwrap();
        let said = String::from_utf8(tls.rest().unwrap()).unwrap();
        assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    }
}

#[test]
fn certificates_are_swapped_under_load_without_a_failure() {
    let web = Scripted::echo();
    let mut proxy = one(&web);
    let (stop, done): (Arc<AtomicBool>, Arc<AtomicUsize>) = Default::default();
    let threads: Vec<_> = (0..4)
        .map(|kind| {
            let (stop, done, port) = (stop.clone(), done.clone(), proxy.port);
            std::thread::spawn(move || {
                let mut failures = Vec::new();
                let mut kept: Option<Tls> = None;
                let config = modern();
                while !stop.load(Ordering::SeqCst) {
                    let asked = match kept.take() {
                        Some(tls) => Ok(tls),
                        None => Tls::to(port, "example.org", &config),
                    };
                    let asked = asked.and_then(|mut tls| tls.get("/load").map(|a| (tls, a)));
                    match asked {
                        Ok((tls, (head, _))) if head.starts_with("HTTP/1.1 200") => {
                            done.fetch_add(1, Ordering::SeqCst);
                            kept = (kind % 2 == 0).then_some(tls);
                        }
                        other => failures.push(format!("{:?}", other.map(|(_, a)| a))),
                    }
                }
                failures
            })
        })
        .collect();
    let mut long_lived = Tls::to(proxy.port, "example.org", &modern()).unwrap();
    for round in 0..20 {
        let goal = done.load(Ordering::SeqCst) + 20;
        until("requests are through", || done.load(Ordering::SeqCst) >= goal);
        let next = certificate("main", &["example.org"]);
        proxy.change(|s| s.certificates[0] = next.clone());
        // Without a ticket: the new one is shown at once.
        let tls = Tls::to(proxy.port, "example.org", &modern()).unwrap();
        assert!(tls.was_shown(&next), "round {round}");
    }
    stop.store(true, Ordering::SeqCst);
    let failures: Vec<String> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
    assert!(failures.is_empty(), "{failures:?}");
    assert!(long_lived.get("/still").is_ok());
}

#[test]
fn a_certificate_that_cannot_be_used_is_named_and_the_others_go_on() {
    let web = Scripted::echo();
    let good = certificate("good", &["example.org"]);
    let mut bad = certificate("bad", &["example.net"]);
    bad.key = good.key.clone();
    let settings = secure(free_port(), vec![server("s1", web.address)], vec![bad, good.clone()]);
    let proxy = Proxy::start(settings);
    match proxy.state() {
        SubsystemState::Degraded { reason: why } => {
            assert!(why.contains("certificate bad") && why.contains("does not belong"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    for host in ["example.org", "example.net"] {
        let mut tls = Tls::to(proxy.port, host, &modern()).unwrap();
        assert!(tls.was_shown(&good) && tls.get("/").is_ok());
    }
    assert!(*proxy.handle.ready().borrow());
}

#[test]
fn rules_know_who_speaks_tls() {
    let web = Scripted::echo();
    let certificates = vec![certificate("main", &["example.org"])];
    let mut settings = secure(free_port(), vec![server("s1", web.address)], certificates);
    let plain = free_port();
    let front = &mut settings.frontends[0];
    front.bind.push(format!("127.0.0.1:{plain}").parse().unwrap());
    front.rules = [
        "http-request redirect scheme https code 301 unless { ssl_fc }",
        "http-request set-header X-Forwarded-Proto https if { ssl_fc }",
    ]
    .map(|r| r.parse::<Rule>().unwrap())
    .into();
    let proxy = Proxy::start(settings);
    let answer = Conn::to(plain).get("/a?b=c").unwrap();
    assert_eq!(answer.status, 301);
    assert!(
        answer.head.to_lowercase().contains("location: https://h/a?b=c\r\n"),
        "{}",
        answer.head
    );
    assert!(web.requests().is_empty());
    Tls::to(proxy.port, "example.org", &modern()).unwrap().get("/").unwrap();
    assert!(web.requests()[0].contains("\r\nX-Forwarded-Proto: https\r\n"), "{:?}", web.requests());
    // HAProxy marks the frontend in the log.
    until("it is logged", || proxy.handle.recent_log().len() == 2);
    let log = proxy.handle.recent_log();
    assert!(log[0].contains("] front front/<NOSRV> "), "{log:?}");
    assert!(log[1].contains("] front~ back/s1 "), "{log:?}");
}

#[test]
fn a_websocket_passes_through() {
    let web = Scripted::new(|peer| {
        if peer.request().is_some() {
            peer.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\nfirst");
            let mut part = [0_u8; 1024];
            while let Ok(n @ 1..) = peer.io.read(&mut part) {
                let _ = peer.io.write_all(&part[..n]);
            }
            peer.send("last");
        }
    });
    let proxy = one(&web);
    let config = client(rustls::ALL_VERSIONS, &["h2", "http/1.1"]);
    // A browser that wants wss offers HTTP/1.1 alone.
    assert_eq!(
        Tls::to(proxy.port, "example.org", &config).unwrap().io.conn.alpn_protocol(),
        Some(&b"h2"[..])
    );
    let config = client(rustls::ALL_VERSIONS, &["http/1.1"]);
    let mut tls = Tls::to(proxy.port, "example.org", &config).unwrap();
    tls.io.write_all(b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n").unwrap();
    let (head, rest) = tls.answer().unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let mut first = rest;
    while first.len() < 5 {
        let mut part = [0_u8; 16];
        let n = tls.io.read(&mut part).unwrap();
        first.extend_from_slice(&part[..n]);
    }
    assert_eq!(first, b"first");
    let sent: Vec<u8> = (0..200_000_u32).map(|i| i.to_le_bytes()[0]).collect();
    let mut back = vec![0; sent.len()];
    for (piece, back) in sent.chunks(10_000).zip(back.chunks_mut(10_000)) {
        tls.io.write_all(piece).unwrap();
        tls.io.read_exact(back).unwrap();
    }
    assert!(sent == back);
    // Each side may end before the other.
    tls.io.conn.send_close_notify();
    tls.io.flush().unwrap();
    assert_eq!(tls.rest().unwrap(), b"last");
}

#[test]
fn large_bodies_pass_both_ways() {
    let body: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251).to_le_bytes()[0]).collect();
    let web = Scripted::new({
        let body = body.clone();
        move |peer| {
            while let Some(request) = peer.request() {
                let sent = request.split_once("\r\n\r\n").unwrap().1.chars().count();
                peer.send(&format!(
                    "HTTP/1.1 200 OK\r\nX-Sent: {sent}\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                ));
                let _ = peer.io.write_all(&body);
            }
        }
    });
    let proxy = one(&web);
    let mut tls = Tls::to(proxy.port, "example.org", &modern()).unwrap();
    for _ in 0..3 {
        let upload = vec![b'u'; 2_000_000];
        let head =
            format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", upload.len());
        tls.io.write_all(head.as_bytes()).unwrap();
        tls.io.write_all(&upload).unwrap();
        let (head, got) = tls.answer().unwrap();
        assert!(head.contains("X-Sent: 2000000"), "{head}");
        assert!(got == body);
    }
}

#[test]
fn only_what_is_whole_ends_with_a_farewell() {
    let web = Scripted::new(|peer| {
        if let Some(request) = peer.request() {
            peer.send("HTTP/1.1 200 OK\r\n\r\nhalf of it");
            if request.starts_with("GET /reset") {
                std::thread::sleep(Duration::from_millis(100));
                peer.reset();
            }
        }
    });
    let proxy = one(&web);
    let asked = |path: &str| {
        let mut tls = Tls::to(proxy.port, "example.org", &modern()).unwrap();
        tls.io.write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).unwrap();
        tls.rest()
    };
    let whole = String::from_utf8(asked("/whole").unwrap()).unwrap();
    assert!(whole.ends_with("\r\n\r\nhalf of it"), "{whole}");
    assert!(asked("/reset").is_err());
}

#[test]
fn mode_tcp_takes_tls_off() {
    let web = Scripted::new(|peer| {
        let mut all = Vec::new();
        let _ = peer.io.read_to_end(&mut all);
        let _ = peer.io.write_all(format!("{} bytes", all.len()).as_bytes());
    });
    let certificates = vec![certificate("main", &["example.org"])];
    let mut settings = secure(free_port(), vec![server("s1", web.address)], certificates);
    settings.frontends[0].mode = Mode::Tcp;
    settings.backends[0].mode = Mode::Tcp;
    let proxy = Proxy::start(settings);
    let config = client(rustls::ALL_VERSIONS, &["whatever"]);
    let mut tls = Tls::to(proxy.port, "example.org", &config).unwrap();
    tls.io.write_all(&vec![7; 1_000_000]).unwrap();
    tls.io.conn.send_close_notify();
    tls.io.flush().unwrap();
    assert_eq!(tls.rest().unwrap(), b"1000000 bytes");
}

#[test]
fn the_proxy_header_comes_before_tls() {
    let web = Scripted::echo();
    let certificates = vec![certificate("main", &["example.org"])];
    let mut settings = secure(free_port(), vec![server("s1", web.address)], certificates);
    settings.frontends[0].accept_proxy = true;
    settings.frontends[0].forwardfor = true;
    let proxy = Proxy::start(settings);
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).unwrap();
    socket.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n").unwrap();
    let mut tls = Tls::over(socket, "example.org", &modern()).unwrap();
    tls.get("/").unwrap();
    assert!(web.requests()[0].contains("X-Forwarded-For: 192.0.2.7\r\n"), "{:?}", web.requests());
    // Both in one piece: the hello of TLS is in what was read for the header.
    let host = rustls::pki_types::ServerName::try_from("example.org").unwrap();
    let mut conn = rustls::ClientConnection::new(modern(), host).unwrap();
    let mut piece = b"PROXY TCP4 192.0.2.8 192.0.2.1 4711 443\r\n".to_vec();
    conn.write_tls(&mut piece).unwrap();
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).unwrap();
    socket.set_read_timeout(Some(common::PATIENCE)).unwrap();
    socket.write_all(&piece).unwrap();
    let mut tls = Tls { io: rustls::StreamOwned::new(conn, socket) };
    tls.get("/").unwrap();
    assert!(web.requests()[1].contains("X-Forwarded-For: 192.0.2.8\r\n"), "{:?}", web.requests());
}

#[test]
fn draining_lets_the_first_request_of_a_new_visitor_in() {
    let web = Scripted::echo();
    let proxy = one(&web);
    let mut late = Tls::to(proxy.port, "example.org", &modern()).unwrap();
    let mut old = Tls::to(proxy.port, "example.org", &modern()).unwrap();
    old.get("/").unwrap();
    let handle = proxy.handle.clone();
    let draining = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(handle.drain(Duration::from_secs(5)));
    });
    std::thread::sleep(Duration::from_millis(300));
    let (head, _) = late.get("/late").unwrap();
    assert!(head.contains("Connection: close"), "{head}");
    assert_eq!(late.rest().unwrap(), b"");
    assert_eq!(old.rest().unwrap(), b"");
    draining.join().unwrap();
}

#[test]
fn a_certificate_that_ends_soon_is_told_and_shown_all_the_same() {
    let web = Scripted::echo();
    let mut parameters = rcgen::CertificateParams::new(vec!["example.org".to_owned()]).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let now = time::OffsetDateTime::now_utc();
    let mut with = |days: i64| {
        parameters.not_before = now - time::Duration::days(100);
        parameters.not_after = now + time::Duration::days(days) + time::Duration::hours(1);
        let chain = parameters.self_signed(&key).unwrap().pem();
        model::Certificate {
            name: common::name("main"),
            chain,
            key: Secret::new(key.serialize_pem()),
        }
    };
    let old = with(-2);
    let settings = secure(free_port(), vec![server("s1", web.address)], vec![old.clone()]);
    let mut proxy = Proxy::start(settings);
    let told = |proxy: &Proxy| {
        proxy.board.own().notices.iter().map(|n| n.text.clone()).collect::<Vec<_>>()
    };
    assert!(told(&proxy)[0].contains("Certificate main has expired"), "{:?}", told(&proxy));
    assert_eq!(proxy.state(), SubsystemState::Applied);
    let mut tls = Tls::to(proxy.port, "example.org", &modern()).unwrap();
    assert!(tls.was_shown(&old) && tls.get("/").is_ok());
    let soon = with(5);
    proxy.change(|s| s.certificates[0] = soon.clone());
    assert!(told(&proxy)[0].contains("expires in 5 days"), "{:?}", told(&proxy));
    let good = with(60);
    proxy.change(|s| s.certificates[0] = good.clone());
    assert_eq!(told(&proxy), Vec::<String>::new());
}

#[test]
fn before_a_change_its_certificates_are_looked_at() {
    let (good, other) = (certificate("good", &["example.org"]), certificate("other", &["b"]));
    let settings = secure(free_port(), Vec::new(), vec![good.clone()]);
    let proxy = Proxy::start(settings.clone());
    let id = "lb".parse().unwrap();
    let snapshot =
        |number, s: &model::Settings| Snapshot::new(model::Revision(number), s.clone(), &id);
    let prepare = |next: &model::Settings| {
        let (now, next) = (snapshot(1, &settings), snapshot(2, next));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let preflight = proxy.handle.preflight();
        runtime.block_on(async { preflight.prepare(&now, &next).await })
    };
    let mut next = settings.clone();
    next.certificates.push(other.clone());
    assert_eq!(prepare(&next), Ok(()));
    next.certificates[1].key = good.key.clone();
    match prepare(&next) {
        Err(Obstacle::Settings(problems)) => {
            assert_eq!(problems.len(), 1);
            assert_eq!(problems[0].path, "certificates[1].key");
            assert!(problems[0].problem.contains("does not belong"), "{problems:?}");
        }
        found => panic!("{found:?}"),
    }
    next.certificates[1].chain = good.chain.clone() + &other.chain;
    next.certificates[1].key = other.key;
    match prepare(&next) {
        Err(Obstacle::Settings(problems)) => assert_eq!(problems[0].path, "certificates[1].chain"),
        found => panic!("{found:?}"),
    }
}

#[test]
fn no_key_is_ever_shown() {
    let one = certificate("main", &["example.org"]);
    let text = format!("{one:?}");
    assert!(text.contains("Secret(***)") && !text.contains("PRIVATE KEY"), "{text}");
    let settings = secure(8443, Vec::new(), vec![one.clone()]);
    assert_eq!(settings.masked().certificates[0].key.reveal(), model::MASK);
    let mut back = settings.masked();
    back.unmask(&settings);
    assert_eq!(back, settings);
    back.certificates[0].key = Secret::new(model::MASK);
    back.certificates[0].name = common::name("renamed");
    assert!(model::check(&back).iter().any(|p| p.path == "certificates[0].key"));
}
