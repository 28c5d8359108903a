//! Port 80 while nothing else needs it: plain HTTP that leads to the admin page.
//!
//! A phone that joined the setup network asks a known address whether this is the internet
//! (captive portal detection). Every name leads here, the answer is not the expected one, and the
//! phone opens the page. Nothing is read but a request's head, nothing is remembered, no cookie is
//! set.

use axum::body::Body;
use control::Shutdown;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use model::SETUP_ADDRESS;
use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Connections at a time.
const CONNECTIONS: usize = 32;
/// How long one may last altogether.
const LIFE: Duration = Duration::from_secs(10);
/// Largest head.
const HEAD_BYTES: usize = 8192;

/// Answers until it is time to stop. The port is free again when this returns.
pub async fn serve(listener: TcpListener, shutdown: Shutdown) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // In this order: connections that have ended must not count against newcomers.
            biased;
            () = shutdown.requested() => break,
            _ = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                // At the limit a newcomer is turned away at once.
                Ok((stream, _)) if connections.len() < CONNECTIONS => {
                    connections.spawn(connection(stream));
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!("a connection to port 80 could not be accepted: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
}

async fn connection(stream: TcpStream) {
    let Ok(local) = stream.local_addr() else { return };
    let local = local.ip().to_canonical();
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (parts, _) = request.into_parts();
        let answer = answer(&parts.method, &parts.uri, &parts.headers, local);
        async move { Ok::<_, Infallible>(answer) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(LIFE)
        .max_header_size(HEAD_BYTES)
        .max_headers(64)
        .keep_alive(false);
    // What goes wrong on a connection is its other end's affair.
    let _ = tokio::time::timeout(LIFE, http.serve_connection(TokioIo::new(stream), service)).await;
}

fn answer(method: &Method, uri: &Uri, headers: &HeaderMap, local: IpAddr) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let head = response.headers_mut();
    // A phone must ask again once it is in another network.
    head.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    head.insert(header::CONNECTION, HeaderValue::from_static("close"));
    if !matches!(*method, Method::GET | Method::HEAD) {
        head.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        return response;
    }
    let host = target(uri, headers, local);
    let to = format!("http://{host}:{}/", model::ADMIN_PORT);
    if let Ok(to) = HeaderValue::from_str(&to) {
        response.headers_mut().insert(header::LOCATION, to);
    }
    *response.status_mut() = StatusCode::FOUND;
    response
}

/// Under which name the page is to be opened.
fn target(uri: &Uri, headers: &HeaderMap, local: IpAddr) -> String {
    // In the setup network every name of the world leads here; the page knows only its own.
    if local == IpAddr::V4(SETUP_ADDRESS) {
        return SETUP_ADDRESS.to_string();
    }
    let named = crate::host::authority(uri, headers).map(crate::host::name_of);
    let plain = |n: &&str| {
        let good = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        (1..=253).contains(&n.len()) && n.bytes().all(good)
    };
    match (named.filter(plain), named.and_then(|n| n.parse().ok()), local) {
        (Some(name), ..) => name.to_owned(),
        (None, Some(v6), _) => bracketed(IpAddr::V6(v6)),
        (None, None, local) => bracketed(local),
    }
}

fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn location(uri: &str, host: Option<&str>, local: &str) -> String {
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            headers.insert(header::HOST, HeaderValue::from_bytes(host.as_bytes()).unwrap());
        }
        let answer = answer(&Method::GET, &uri.parse().unwrap(), &headers, local.parse().unwrap());
        assert_eq!(answer.status(), StatusCode::FOUND);
        assert!(answer.headers().get(header::SET_COOKIE).is_none());
        answer.headers()[header::LOCATION].to_str().unwrap().to_owned()
    }

    #[test]
    fn phones_are_led_to_the_setup_page() {
        for (path, host) in [
            ("/generate_204", "connectivitycheck.gstatic.com"),
            ("/gen_204", "www.google.com"),
            ("/hotspot-detect.html", "captive.apple.com"),
            ("/library/test/success.html", "www.apple.com"),
            ("/ncsi.txt", "www.msftncsi.com"),
            ("/connecttest.txt", "www.msftconnecttest.com"),
            ("/canonical.html", "detectportal.firefox.com"),
            ("/success.txt", "detectportal.firefox.com"),
            ("/anything", "example.org"),
        ] {
            assert_eq!(location(path, Some(host), "192.168.19.36"), "http://192.168.19.36:1936/");
        }
        let absolute = "http://captive.apple.com/hotspot-detect.html";
        let to = location(absolute, Some("captive.apple.com"), "192.168.19.36");
        assert_eq!(to, "http://192.168.19.36:1936/");
    }

    #[test]
    fn others_keep_the_name_they_used() {
        for (host, to) in [
            (Some("web01.local"), "http://web01.local:1936/"),
            (Some("192.168.1.10:80"), "http://192.168.1.10:1936/"),
            (Some("[fe80::1]:80"), "http://[fe80::1]:1936/"),
            (None, "http://10.0.0.5:1936/"),
            (Some(""), "http://10.0.0.5:1936/"),
            (Some("evil.example/@x"), "http://10.0.0.5:1936/"),
            (Some("a b"), "http://10.0.0.5:1936/"),
            (Some("\u{e4}"), "http://10.0.0.5:1936/"),
        ] {
            assert_eq!(location("/", host, "10.0.0.5"), to, "{host:?}");
        }
    }

    async fn exchange(address: std::net::SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // A server that has answered already may have closed its side.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn it_answers_and_lets_the_port_go() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (trigger, shutdown) = Shutdown::new();
        let server = tokio::spawn(serve(listener, shutdown));
        let got =
            exchange(address, b"GET /generate_204 HTTP/1.1\r\nhost: bramble.local\r\n\r\n").await;
        assert!(
            got.starts_with("HTTP/1.1 302 ") && got.contains("http://bramble.local:1936/"),
            "{got}"
        );
        let post =
            exchange(address, b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc").await;
        assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
        let rubbish = exchange(address, &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).await;
        assert!(!rubbish.contains(" 302 "), "{rubbish}");
        let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(64 * 1024));
        assert!(!exchange(address, long.as_bytes()).await.contains(" 302 "));
        trigger.trigger();
        server.await.unwrap();
        assert!(TcpListener::bind(address).await.is_ok(), "the port is free");
    }
}
