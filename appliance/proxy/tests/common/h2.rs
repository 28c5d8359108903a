//! Visitors who speak HTTP/2.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use super::tls::client;
use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response};
use std::net::Ipv4Addr;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

/// A connection, and the task that drives it until it ends.
pub type Opened = (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>);

/// Shakes hands with TLS and HTTP/2.
pub async fn try_open(port: u16, builder: h2::client::Builder) -> std::io::Result<Opened> {
    let socket = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let connector = TlsConnector::from(client(rustls::ALL_VERSIONS, &["h2"]));
    let host = rustls::pki_types::ServerName::try_from("a.example").unwrap();
    let tls = connector.connect(host, socket).await?;
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (send, connection) = builder.handshake(tls).await.map_err(std::io::Error::other)?;
    Ok((send, tokio::spawn(connection)))
}

pub async fn open(port: u16) -> Opened {
    try_open(port, h2::client::Builder::new()).await.unwrap()
}

/// A request for this path.
pub fn get(path: &str) -> http::request::Builder {
    Request::builder().uri(format!("https://a.example{path}"))
}

/// All content, and the trailers.
pub async fn body(mut stream: RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut all = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        stream.flow_control().release_capacity(piece.len())?;
        all.extend_from_slice(&piece);
    }
    Ok((all, stream.trailers().await?))
}

/// One request without content, and its whole answer.
pub async fn ask(
    send: &SendRequest<Bytes>,
    request: http::request::Builder,
) -> Result<(Response<()>, Vec<u8>), h2::Error> {
    let mut send = send.clone().ready().await?;
    let (response, _) = send.send_request(request.body(()).unwrap(), true)?;
    let (parts, stream) = response.await?.into_parts();
    let (all, _) = body(stream).await?;
    Ok((Response::from_parts(parts, ()), all))
}
