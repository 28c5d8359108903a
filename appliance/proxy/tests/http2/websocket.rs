//! WebSocket over HTTP/2 (RFC 8441): the server sees an upgrade of HTTP/1.1.

use crate::common::haproxy::{Haproxy, server_line};
use crate::common::{Peer, Scripted, free_port, until};
use crate::raw::Raw;
use crate::visit::{ask, body, get, one, open, run};
use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use http::Response;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// `SETTINGS_ENABLE_CONNECT_PROTOCOL` (RFC 8441 3).
const OFFERED: (u16, u32) = (8, 1);

/// Sends back what it is sent.
fn echo(peer: &mut Peer) {
    let mut part = [0_u8; 1024];
    while let Ok(n) = peer.io.read(&mut part) {
        if n == 0 || peer.io.write_all(&part[..n]).is_err() {
            return;
        }
    }
}

fn server(ended: Arc<AtomicUsize>) -> Scripted {
    Scripted::new(move |peer| {
        while let Some(request) = peer.request() {
            if request.starts_with("GET /ws ") {
                peer.send("HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: x\r\nX: y\r\n\r\nhello, ");
                echo(peer);
                ended.fetch_add(1, Ordering::SeqCst);
                return;
            }
            let status = if request.starts_with("GET /no ") { "403 No" } else { "200 OK" };
            peer.send(&format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno"));
        }
    })
}

type Opened = (Response<h2::RecvStream>, h2::SendStream<Bytes>);

async fn connect(send: &SendRequest<Bytes>, path: &str, protocol: &'static str) -> Opened {
    let mut ready = send.clone().ready().await.unwrap();
    let request = get(path)
        .method("CONNECT")
        .extension(Protocol::from_static(protocol))
        .header("sec-websocket-version", "13")
        .body(())
        .unwrap();
    let (response, out) = ready.send_request(request, false).unwrap();
    (response.await.unwrap(), out)
}

#[test]
fn bytes_go_both_ways_until_both_sides_have_ended() {
    let ended: Arc<AtomicUsize> = Arc::default();
    let web = server(ended.clone());
    let proxy = one(&web);
    run(async {
        let (send, _driver) = open(proxy.port).await;
        // By now the settings have arrived.
        ask(&send, get("/")).await.unwrap();
        assert!(send.is_extended_connect_protocol_enabled());
        let (response, mut out) = connect(&send, "/ws", "websocket").await;
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["x"], "y");
        for name in ["upgrade", "connection", "sec-websocket-accept", "content-length"] {
            assert!(!response.headers().contains_key(name), "{name}");
        }
        let mut stream = response.into_body();
        let mut got = Vec::new();
        for (part, all) in [("", "hello, "), ("wor", "hello, wor"), ("ld", "hello, world")] {
            out.send_data(Bytes::from(part), false).unwrap();
            while got.len() < all.len() {
                let piece = stream.data().await.unwrap().unwrap();
                stream.flow_control().release_capacity(piece.len()).unwrap();
                got.extend_from_slice(&piece);
            }
            assert_eq!(got, all.as_bytes());
        }
        // Others go on meanwhile.
        assert_eq!(ask(&send, get("/")).await.unwrap().1, b"no");
        out.send_data(Bytes::new(), true).unwrap();
        assert_eq!(body(stream).await.unwrap().0, b"");
    });
    until("the server has seen the end", || ended.load(Ordering::SeqCst) == 1);
    let seen = web.requests().into_iter().find(|r| r.starts_with("GET /ws ")).unwrap();
    for line in ["host: a.example", "upgrade: websocket", "sec-websocket-version: 13"] {
        assert!(seen.to_lowercase().contains(&format!("\r\n{line}\r\n")), "{seen}");
    }
    let key = seen.lines().find_map(|l| l.strip_prefix("sec-websocket-key: ")).unwrap();
    assert_eq!(key.len(), 24);
    let logged =
        |l: &String| l.contains(" 101 ") && l.contains("\"GET https://a.example/ws HTTP/2.0\"");
    until("it is logged", || proxy.handle.recent_log().iter().any(logged));
}

#[test]
fn only_a_change_of_protocol_is_a_success() {
    let web = server(Arc::default());
    let proxy = one(&web);
    run(async {
        let (send, _driver) = open(proxy.port).await;
        ask(&send, get("/")).await.unwrap();
        for (path, protocol, status) in
            [("/no", "websocket", 403), ("/", "websocket", 502), ("/ws", "other", 405)]
        {
            let (response, _out) = connect(&send, path, protocol).await;
            assert_eq!(response.status().as_u16(), status, "{path} {protocol}");
        }
    });
}

#[test]
fn a_visitor_who_breaks_off_ends_the_servers_connection() {
    let ended: Arc<AtomicUsize> = Arc::default();
    let web = server(ended.clone());
    let proxy = one(&web);
    run(async {
        let (send, _driver) = open(proxy.port).await;
        ask(&send, get("/")).await.unwrap();
        let (_response, mut out) = connect(&send, "/ws", "websocket").await;
        out.send_reset(h2::Reason::CANCEL);
        while ended.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    });
    until("nobody is there", || proxy.status().backends[0].servers[0].traffic.scur == 0);
}

#[test]
fn it_is_offered_as_haproxy_offers_it() {
    let web = Scripted::echo();
    let proxy = one(&web);
    let port = free_port();
    let bind = format!("bind 127.0.0.1:{port} proto h2");
    let _haproxy = Haproxy::start(&[&bind], &[server_line("s1", web.address, "")]);
    for mut raw in [Raw::secure(proxy.port), Raw::plain(port)] {
        raw.greet();
        assert!(raw.read(|raw| raw.settings.contains(&OFFERED)), "{:?}", raw.settings);
    }
}
