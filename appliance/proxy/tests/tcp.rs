//! Mode tcp: bytes as they come, whole connections balanced.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use common::{Proxy, Scripted, free_port, server, settings, times, until};
use model::{Millis, Mode, SendProxy, Settings};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::time::{Duration, Instant};

fn tcp(servers: Vec<model::Server>) -> Settings {
    let mut all = settings(free_port(), servers);
    all.frontends[0].mode = Mode::Tcp;
    all.backends[0].mode = Mode::Tcp;
    all
}

/// Sends back what it gets, until the end.
fn mirror() -> Scripted {
    Scripted::new(|peer| {
        let mut part = [0; 65536];
        while let Ok(n) = peer.io.read(&mut part) {
            if n == 0 || peer.io.write_all(&part[..n]).is_err() {
                return;
            }
        }
    })
}

#[test]
fn bytes_pass_unchanged_both_ways() {
    let backend = mirror();
    let proxy = Proxy::start(tcp(vec![server("m", backend.address)]));
    // Far more than the pipes and buffers on the way hold, in a pattern that shows gaps. Made before
    // anybody waits for it.
    let sent: Vec<u8> = (0..4_u32 << 20).flat_map(u32::to_le_bytes).collect();
    let io = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).unwrap();
    let (mut reader, mut writer, all) = (io.try_clone().unwrap(), io, sent.clone());
    let sender = std::thread::spawn(move || {
        writer.write_all(&all).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
        writer
    });
    let mut got = Vec::new();
    reader.read_to_end(&mut got).unwrap();
    assert!(got == sent, "{} bytes of {}", got.len(), sent.len());
    drop(sender.join().unwrap());
    until("it is counted", || proxy.status().backends[0].servers[0].traffic.bout > 0);
    let status = proxy.status();
    let bytes = u64::try_from(sent.len()).unwrap();
    let s = &status.backends[0].servers[0];
    assert_eq!((s.traffic.bin, s.traffic.bout, s.traffic.stot), (bytes, bytes, 1));
    assert_eq!(status.frontends[0].traffic.bout, bytes);
    until("it is logged", || proxy.handle.recent_log().len() == 1);
    let line = &proxy.handle.recent_log()[0];
    assert!(line.contains(" front back/m ") && line.contains(" -- "), "{line}");
    assert!(times(line)[0] == 0 && times(line).iter().all(|t| *t >= 0), "{line}");
    assert!(line.ends_with("/0 0/0"), "{line}");
}

#[test]
fn a_refusing_server_is_passed_over_and_limits_hold() {
    let nowhere = SocketAddrV4::new(Ipv4Addr::LOCALHOST, free_port());
    let backend = mirror();
    let mut good = server("good", backend.address);
    good.maxconn = 1;
    let mut all = tcp(vec![server("bad", nowhere), good]);
    all.backends[0].timeout_connect = Millis(200);
    let proxy = Proxy::with(all, 1, None);
    let mut first = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).unwrap();
    let mut part = [0; 5];
    first.write_all(b"hello").unwrap();
    first.read_exact(&mut part).unwrap();
    // The only place is taken: the second waits until it is free.
    let mut second = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).unwrap();
    second.write_all(b"world").unwrap();
    second.set_read_timeout(Some(Duration::from_millis(60))).unwrap();
    assert!(second.read_exact(&mut part).is_err());
    drop(first);
    let mut third = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).unwrap();
    third.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    second.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    if second.read_exact(&mut part).is_ok() {
        assert_eq!(&part, b"world");
    }
    drop(second);
    third.write_all(b"third").unwrap();
    if third.read_exact(&mut part).is_ok() {
        assert_eq!(&part, b"third");
    }
    drop(third);
    until("all are logged", || proxy.handle.recent_log().len() == 3);
    assert_eq!(proxy.status().backends[0].servers[1].traffic.smax, 1);
}

#[test]
fn one_side_may_end_before_the_other() {
    // Answers only once the client has said all it had to say.
    let backend = Scripted::new(|peer| {
        let mut all = Vec::new();
        peer.io.read_to_end(&mut all).unwrap();
        peer.send(&format!("{} bytes", all.len()));
    });
    let proxy = Proxy::start(tcp(vec![server("s", backend.address)]));
    let mut io = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).unwrap();
    io.write_all(&[7; 100_000]).unwrap();
    io.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    io.read_to_string(&mut text).unwrap();
    assert_eq!(text, "100000 bytes");
}

#[test]
fn silence_ends_a_connection() {
    let backend = mirror();
    let mut all = tcp(vec![server("m", backend.address)]);
    all.backends[0].timeout_tunnel = Millis(300);
    let proxy = Proxy::start(all);
    let mut io = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).unwrap();
    io.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let begun = Instant::now();
    assert_eq!(io.read(&mut [0; 1]).unwrap(), 0);
    assert!(begun.elapsed() >= Duration::from_millis(250), "{:?}", begun.elapsed());
    until("it is logged", || proxy.handle.recent_log().iter().any(|l| l.contains(" cD ")));
}

#[test]
fn the_visitor_is_told_first() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let std::net::SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!() };
    let mut s = server("s", address);
    s.send_proxy = SendProxy::V1;
    let proxy = Proxy::start(tcp(vec![s]));
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).unwrap();
    let (mut io, _) = listener.accept().unwrap();
    let mut part = [0; 200];
    let n = io.read(&mut part).unwrap();
    let from = client.local_addr().unwrap();
    let want = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", from.port(), proxy.port);
    assert_eq!(String::from_utf8_lossy(&part[..n]), want);
}
