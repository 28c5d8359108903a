//! The edge: asks time servers, first often, then rarely.

use crate::chance::Chance;
use crate::facts::Facts;
use crate::time::Clock;
use crate::time::packet::{self, Useless};
use crate::time::vote::vote;
use control::Shutdown;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::net::{UdpSocket, lookup_host};
use tokio::sync::watch;
use tokio::task::JoinSet;

const PORT: u16 = 123;
/// At most so many servers are asked at a time.
const SERVERS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(3);
/// Names are looked up by the C library, which may take its time when there is no way out.
const LOOK_UP: Duration = Duration::from_secs(15);
/// After no server was of use; doubled each time. RFC 4330 10 wants at least 15 s in the long run.
const FIRST: Duration = Duration::from_secs(4);
const LONGEST: Duration = Duration::from_secs(300);
/// After one was. A quartz is off by less than 0.1 s in this time.
const PEACE: Duration = Duration::from_secs(34 * 60);
/// A server that does not want to be asked is left alone for so long (RFC 4330 10.2).
const REFUSED: Duration = Duration::from_secs(24 * 3600);
/// An error smaller than this is left, in milliseconds.
const TOLERANCE: u64 = 50;

/// Asks until shutdown.
pub(crate) async fn run(
    clock: Arc<dyn Clock>,
    names: Vec<String>,
    mut facts: watch::Receiver<Facts>,
    shutdown: Shutdown,
) {
    let mut asker =
        Asker { clock, names, chance: Chance::new(), refused: BTreeMap::new(), set: false };
    let mut pause = FIRST;
    loop {
        let (links, servers) = {
            let facts = facts.borrow_and_update();
            (facts.links.clone(), facts.time.clone())
        };
        let wait = if links.is_empty() {
            LONGEST
        } else {
            let asked = tokio::select! {
                good = asker.ask(&servers) => good,
                () = shutdown.requested() => return,
            };
            let next = if asked { PEACE } else { pause };
            pause = if asked { FIRST } else { (pause * 2).min(LONGEST) };
            next + asker.chance.between(Duration::ZERO, next / 8)
        };
        let until = tokio::time::Instant::now() + wait;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => break,
                changed = facts.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    // With another way out, or other servers, it is worth asking at once; that
                    // an address was renewed is not.
                    let facts = facts.borrow_and_update();
                    let new = facts.links.iter().any(|link| !links.contains(link));
                    if new || facts.time != servers {
                        pause = FIRST;
                        break;
                    }
                }
                () = shutdown.requested() => return,
            }
        }
    }
}

struct Asker {
    clock: Arc<dyn Clock>,
    names: Vec<String>,
    chance: Chance,
    refused: BTreeMap<SocketAddr, Instant>,
    set: bool,
}

impl Asker {
    /// True when the time is known now.
    async fn ask(&mut self, groups: &[Vec<String>]) -> bool {
        self.refused.retain(|_, at| at.elapsed() < REFUSED);
        let names = self.names.clone();
        for group in groups.iter().chain([&names]) {
            let found = tokio::time::timeout(LOOK_UP, look_up(group)).await.unwrap_or_default();
            if self.poll(found).await {
                return true;
            }
        }
        false
    }

    async fn poll(&mut self, mut servers: Vec<SocketAddr>) -> bool {
        servers.sort_unstable();
        servers.dedup();
        servers.retain(|server| !self.refused.contains_key(server));
        servers.truncate(SERVERS);
        let mut questions = JoinSet::new();
        for server in servers {
            let [a, b, c, d] = self.chance.number().to_be_bytes();
            let [e, f, g, h] = self.chance.number().to_be_bytes();
            questions.spawn(ask_one(server, [a, b, c, d, e, f, g, h]));
        }
        let mut offsets = Vec::new();
        while let Some(asked) = questions.join_next().await {
            match asked {
                Ok((_, Ok(offset))) => offsets.push(offset),
                Ok((server, Err(Some(Useless::Refused)))) => {
                    self.refused.insert(server, Instant::now());
                }
                Ok((server, Err(why))) => tracing::debug!("the time server {server}: {why:?}"),
                Err(_) => {}
            }
        }
        let Some(offset) = vote(&offsets) else {
            return false;
        };
        if self.set && offset.unsigned_abs() < TOLERANCE {
            return true;
        }
        let time = u64::try_from(unix_ms() + offset).unwrap_or_default();
        let clock = self.clock.clone();
        match tokio::task::spawn_blocking(move || clock.set(time)).await {
            Ok(Ok(())) => {
                if !self.set || offset.unsigned_abs() > 1000 {
                    tracing::info!("the clock was off by {offset} ms and is set");
                }
                self.set = true;
                true
            }
            Ok(Err(why)) => {
                tracing::warn!("the clock could not be set: {why}");
                false
            }
            Err(_) => false,
        }
    }
}

/// The addresses of these servers; those that have none are left out.
pub(crate) async fn look_up(names: &[String]) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for name in names {
        let (host, port) = match name.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().unwrap_or(PORT)),
            None => (name.as_str(), PORT),
        };
        match lookup_host((host, port)).await {
            // One each: those of one name are one operator's.
            Ok(mut all) => found.extend(all.find(|a| a.is_ipv4())),
            Err(error) => tracing::debug!("the time server {host}: {error}"),
        }
    }
    found
}

/// How far this clock is behind the server's, in milliseconds.
pub(crate) async fn ask_one(
    server: SocketAddr,
    cookie: [u8; 8],
) -> (SocketAddr, Result<i64, Option<Useless>>) {
    let ask = async {
        let socket = UdpSocket::bind("0.0.0.0:0").await.map_err(|_| None)?;
        // Connected, the kernel drops what others send.
        socket.connect(server).await.map_err(|_| None)?;
        let asked = Instant::now();
        socket.send(&packet::question(cookie)).await.map_err(|_| None)?;
        let mut bytes = [0; 128];
        loop {
            let length = socket.recv(&mut bytes).await.map_err(|_| None)?;
            let received = bytes.get(..length).unwrap_or_default();
            match packet::answer(received, cookie, asked.elapsed()) {
                Err(Useless::NotOurs) => {}
                other => return Ok(other.map_err(Some)? - unix_ms()),
            }
        }
    };
    let answer = tokio::time::timeout(PATIENCE, ask).await;
    (server, answer.unwrap_or(Err(None)))
}

fn unix_ms() -> i64 {
    match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms: i64| -ms),
    }
}
