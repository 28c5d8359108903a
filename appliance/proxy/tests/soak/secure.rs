//! Visitors who speak TLS, with HTTP/1.1 and with HTTP/2, while certificates are swapped.

use crate::common::tls::{Tls, client};
use crate::common::{PATIENCE, h2};
use crate::run::{Failure, Run, count};
use ::h2::Reason;
use noise::Noise;
use std::time::Duration;

/// The name all certificates are for.
pub(crate) const HOST: &str = "a.example";
/// Requests over one connection, and at once over one that speaks HTTP/2.
const REQUESTS: usize = 20;
const AT_ONCE: usize = 5;
/// The largest page.
const PAGE: usize = 40_000;

/// HTTP/1.1: so many requests over each connection. A session may be taken up again, as browsers
/// do it, or every handshake be a whole one.
pub(crate) fn visitor(port: u16, requests: usize, resume: bool, run: &Run) -> Vec<Failure> {
    let mut noise = Noise::new(u64::from(resume));
    let mut failures = Vec::new();
    let new = || client(rustls::ALL_VERSIONS, &["http/1.1"]);
    let mut config = new();
    while run.goes_on() && failures.len() < 10 {
        if !resume {
            config = new();
        }
        let failed = |what: &str, text: String| {
            run.failure(format!("TLS, {requests} requests, resume: {resume}: {what}: {text}"))
        };
        let mut tls = match Tls::to(port, HOST, &config) {
            Ok(tls) => tls,
            Err(e) => {
                failures.push(failed("the handshake", e.to_string()));
                continue;
            }
        };
        count(&run.handshakes);
        for _ in 0..requests {
            let size = noise.below(PAGE);
            match tls.get(&format!("/{size}")) {
                Ok((head, body)) if head.starts_with("HTTP/1.1 200") && body.len() == size => {
                    count(&run.secure);
                    if head.contains("Connection: close") {
                        break;
                    }
                }
                other => {
                    failures.push(failed("a request", format!("{:?}", other.map(|(h, _)| h))));
                    break;
                }
            }
        }
    }
    failures
}

/// HTTP/2: a few requests at once, one connection after the other.
pub(crate) fn streams(port: u16, run: &Run) -> Vec<Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut noise = Noise::new(2);
    let mut failures = Vec::new();
    while run.goes_on() && failures.len() < 10 {
        let connection = connection(port, run, &mut noise);
        let ended =
            runtime.block_on(async { tokio::time::timeout(PATIENCE * 3, connection).await });
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(text)) => failures.push(run.failure(format!("HTTP/2: {text}"))),
            Err(_) => failures.push(run.failure("HTTP/2: no end".to_owned())),
        }
    }
    failures
}

/// One connection. A request that was said not to have been looked at, because the connection is
/// to end, is nobody's failure (RFC 9113 8.7).
async fn connection(port: u16, run: &Run, noise: &mut Noise) -> Result<(), String> {
    let opened = h2::try_open(port, ::h2::client::Builder::new()).await;
    let (send, driver) = opened.map_err(|e| format!("the handshake: {e}"))?;
    count(&run.handshakes);
    for _ in 0..REQUESTS / AT_ONCE {
        let asked: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let (send, size) = (send.clone(), noise.below(PAGE));
                let asked =
                    tokio::spawn(async move { h2::ask(&send, h2::get(&format!("/{size}"))).await });
                (size, asked)
            })
            .collect();
        for (size, answer) in asked {
            match answer.await.unwrap() {
                Ok((response, body)) if response.status() == 200 && body.len() == size => {
                    count(&run.secure);
                }
                Err(e) if e.is_go_away() && e.reason() == Some(Reason::NO_ERROR) => {
                    count(&run.farewells);
                }
                Err(e) if e.is_reset() && e.reason() == Some(Reason::REFUSED_STREAM) => {
                    count(&run.refused);
                }
                other => return Err(format!("{:?}", other.map(|(head, body)| (head, body.len())))),
            }
        }
        if driver.is_finished() {
            return Ok(());
        }
    }
    drop(send);
    match tokio::time::timeout(Duration::from_secs(10), driver).await {
        Ok(ended) => ended.unwrap().map_err(|e| format!("the end: {e}")),
        Err(_) => Err("the connection does not end".to_owned()),
    }
}
