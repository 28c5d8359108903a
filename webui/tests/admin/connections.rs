//! The port itself: slow, many and broken connections.

use crate::browser::{PASSWORD, basic};
use crate::support;
use control::Shutdown;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A claimed node on a port of its own.
pub(crate) struct Served {
    pub(crate) at: SocketAddr,
    trigger: control::ShutdownTrigger,
    task: tokio::task::JoinHandle<()>,
    pub(crate) node: support::Node,
}

pub(crate) async fn served() -> Served {
    let node = support::node("lbmaster", support::demo::settings());
    let hash = webui::hash_password(PASSWORD).unwrap();
    webui::Credentials::set_password_hash(&*node.password, &hash).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (trigger, shutdown) = Shutdown::new();
    let task = tokio::spawn(webui::serve(listener, node.ports.clone(), shutdown));
    Served { at, trigger, task, node }
}

/// Sends bytes and reads until the other end closes.
async fn talk(at: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer))
        .await
        .unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn healthy(at: SocketAddr) {
    let answer = talk(at, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn garbage_is_answered_or_dropped() {
    let served = served().await;
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(1000));
    for bytes in [
        &b"\x00\x01\x02\x03\x04\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        long.as_bytes(),
        many.as_bytes(),
    ] {
        let answer = talk(served.at, bytes).await;
        assert!(!answer.contains(" 200 ") && !answer.contains(" 500 "), "{answer}");
        healthy(served.at).await;
    }
}

#[tokio::test]
async fn slow_heads_are_cut_off() {
    let served = served().await;
    let mut slow = TcpStream::connect(served.at).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n").await.unwrap();
    let started = std::time::Instant::now();
    let (mut reader, mut writer) = slow.into_split();
    let drip = tokio::spawn(async move {
        while writer.write_all(b"X: y\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    let mut answer = Vec::new();
    let ended =
        tokio::time::timeout(Duration::from_secs(20), reader.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "the connection is cut off");
    assert!(started.elapsed() < Duration::from_secs(15));
    drip.abort();
}

#[tokio::test]
async fn one_address_cannot_take_every_connection() {
    let served = served().await;
    let mut held = Vec::new();
    for _ in 0..40 {
        held.push(TcpStream::connect(served.at).await.unwrap());
    }
    // The last ones are turned away: their connection is closed at once.
    let mut closed = 0;
    for stream in &mut held {
        let mut byte = [0];
        if let Ok(Ok(0) | Err(_)) =
            tokio::time::timeout(Duration::from_millis(200), stream.read(&mut byte)).await
        {
            closed += 1;
        }
    }
    assert_eq!(closed, 8);
    drop(held);
    tokio::time::timeout(Duration::from_secs(10), async {
        while !talk(served.at, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 200 ")
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn stopping_ends_streams_and_returns() {
    let served = served().await;
    let mut kept = TcpStream::connect(served.at).await.unwrap();
    let request = format!(
        "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {}\r\n\r\n",
        basic(PASSWORD)
    );
    kept.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    kept.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    served.trigger.trigger();
    tokio::time::timeout(Duration::from_secs(5), served.task).await.unwrap().unwrap();
    assert!(TcpStream::connect(served.at).await.is_err());
}

/// Begins to send a firmware and stops in the middle.
async fn half_a_firmware(served: &Served) -> (TcpStream, std::path::PathBuf) {
    use webui::System;
    let path = served.node.system.upload();
    let mut stream = TcpStream::connect(served.at).await.unwrap();
    let head = format!(
        "PUT /api/v1/firmware HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {}\r\n\
         Content-Length: 1000000\r\n\r\n",
        basic(PASSWORD)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[7; 300_000]).await.unwrap();
    let path_there = path.clone();
    until(move || path_there.exists()).await;
    (stream, path)
}

async fn until(holds: impl Fn() -> bool) {
    let looking = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), looking).await.unwrap();
}

#[tokio::test]
async fn half_a_firmware_leaves_nothing_and_takes_no_turn() {
    let served = served().await;
    let (stream, path) = half_a_firmware(&served).await;
    drop(stream);
    let gone = path.clone();
    until(move || !gone.exists()).await;
    let (_stream, path) = half_a_firmware(&served).await;
    served.trigger.trigger();
    served.task.await.unwrap();
    let gone = path.clone();
    until(move || !gone.exists()).await;
    assert!(served.node.system.orders.lock().unwrap().is_empty());
}
