//! Servers known by their name in the DNS.

use crate::standing::Standing;
use model::ServerHost;
use std::net::{SocketAddr, SocketAddrV4};
use std::time::Duration;

/// An answer is asked for again after so long (HAProxy `hold valid`).
const AGAIN: Duration = Duration::from_secs(10);
/// A name without an answer is asked for again sooner.
const SOON: Duration = Duration::from_secs(2);

/// The address to use: the one in use for as long as it is among the answers.
fn choose(
    now: Option<SocketAddrV4>,
    answers: impl Iterator<Item = SocketAddr>,
) -> Option<SocketAddrV4> {
    let all: Vec<SocketAddrV4> = answers
        .filter_map(|a| match a {
            SocketAddr::V4(v4) if !v4.ip().is_unspecified() => Some(v4),
            _ => None,
        })
        .take(64)
        .collect();
    now.filter(|n| all.contains(n)).or(all.first().copied())
}

/// Keeps a server's address current. Without an answer the last good one stays. Asks one question
/// at a time and never ends.
pub(super) async fn follow(name: &ServerHost, standing: &Standing, changed: impl Fn()) {
    let mut failing = false;
    loop {
        let pause = match tokio::net::lookup_host(name.as_str()).await {
            Ok(answers) => {
                let before = standing.address();
                if let Some(next) = choose(before, answers) {
                    if before != Some(next) {
                        tracing::info!("{name} is at {}", next.ip());
                        standing.set_address(next);
                        changed();
                    }
                }
                failing = false;
                AGAIN
            }
            Err(error) => {
                if !failing {
                    tracing::warn!("the address of {name} cannot be found: {error}");
                }
                failing = true;
                SOON
            }
        };
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(now: Option<&str>, answers: &[&str]) -> Option<String> {
        let all: Vec<SocketAddr> = answers.iter().map(|a| a.parse().unwrap()).collect();
        choose(now.map(|n| n.parse().unwrap()), all.into_iter()).map(|a| a.to_string())
    }

    #[test]
    fn an_address_stays_while_it_is_an_answer() {
        let two = ["192.0.2.1:80", "192.0.2.2:80"];
        assert_eq!(chosen(None, &two).as_deref(), Some("192.0.2.1:80"));
        assert_eq!(chosen(Some("192.0.2.2:80"), &two).as_deref(), Some("192.0.2.2:80"));
        assert_eq!(chosen(Some("192.0.2.3:80"), &two).as_deref(), Some("192.0.2.1:80"));
        assert_eq!(chosen(None, &["[2001:db8::1]:80", "0.0.0.0:80"]), None);
    }

    #[tokio::test]
    async fn a_name_leads_to_an_address() {
        let standing = Standing::new("0.0.0.0:8080".parse().unwrap(), true);
        let name: ServerHost = "localhost:8080".parse().unwrap();
        let changes = std::cell::Cell::new(0);
        let follow = follow(&name, &standing, || changes.set(changes.get() + 1));
        let _ = tokio::time::timeout(Duration::from_millis(500), follow).await;
        assert_eq!(standing.address(), "127.0.0.1:8080".parse().ok());
        assert_eq!(changes.get(), 1);
    }
}
