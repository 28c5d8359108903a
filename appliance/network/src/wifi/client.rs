//! The edge to wpa_supplicant: its global control socket, through which every interface can be
//! asked (`IFNAME=`) and from which the events of all of them come.

use super::command::{Ask, Command};
use super::error::Error;
use super::event::{self, Event};
use super::reply::{self, Bss};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram as StdDatagram};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::net::UnixDatagram;
use tokio::time::timeout;

/// It answers within milliseconds, except while a driver keeps it: loading firmware onto a USB
/// dongle takes seconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// Answers of 2.10 have at most 4 KiB, those of later ones 8.
const ANSWER: usize = 16 * 1024;
/// More access points than this are not read.
const MOST_SEEN: usize = 512;
/// Nor more stations.
const MOST_STATIONS: u32 = 64;

/// For questions.
#[derive(Debug)]
pub(crate) struct Client {
    socket: UnixDatagram,
}

/// For what wpa_supplicant says of its own accord. A socket of its own: an event must not be
/// taken for an answer.
#[derive(Debug)]
pub(crate) struct Monitor {
    socket: UnixDatagram,
}

/// Connects, and sees whether somebody is there.
pub(crate) async fn connect(path: &Path) -> Result<(Client, Monitor), Error> {
    let client = Client { socket: open(path)? };
    client.ask(&Command::Ping).await?;
    let monitor = Client { socket: open(path)? };
    monitor.ask(&Command::Attach).await?;
    Ok((client, Monitor { socket: monitor.socket }))
}

/// The socket has an abstract address (unix(7)), which leaves no file behind; connected, it takes
/// datagrams from nobody else.
fn open(path: &Path) -> io::Result<UnixDatagram> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("bramble-wifi-{}-{number}", std::process::id());
    let socket = StdDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
    socket.connect(path)?;
    socket.set_nonblocking(true)?;
    UnixDatagram::from_std(socket)
}

impl Client {
    /// After an error of the kind [`Error::Gone`] the connection must not be used any more: a
    /// late answer would be taken for that to the next question.
    pub(crate) async fn ask(&self, command: &Command) -> Result<String, Error> {
        let line = command.line()?;
        let exchange = async {
            self.socket.send(line.as_bytes()).await?;
            let mut buffer = vec![0; ANSWER];
            let length = self.socket.recv(&mut buffer).await?;
            buffer.truncate(length);
            Ok::<_, io::Error>(buffer)
        };
        let answer = match timeout(PATIENCE, exchange).await {
            Ok(answer) => answer?,
            Err(_) => return Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        };
        let answer = String::from_utf8_lossy(&answer).into_owned();
        match answer.trim_end() {
            "FAIL-NO-IFNAME-MATCH" => Err(Error::NoInterface),
            "FAIL" | "FAIL-BUSY" | "UNKNOWN COMMAND" => Err(Error::Refused(command.word())),
            _ => Ok(answer),
        }
    }

    pub(crate) async fn to(&self, interface: &str, ask: Ask) -> Result<String, Error> {
        self.ask(&Command::To(interface.to_owned(), ask)).await
    }

    /// The number of a new, empty network.
    pub(crate) async fn add_network(&self, interface: &str) -> Result<u32, Error> {
        let answer = self.to(interface, Ask::AddNetwork).await?;
        answer.trim_end().parse().map_err(|_| Error::Nonsense)
    }

    /// The access points of the last scans.
    pub(crate) async fn seen(&self, interface: &str) -> Result<Vec<Bss>, Error> {
        let mut all: Vec<Bss> = Vec::new();
        let mut from = 0;
        while all.len() < MOST_SEEN {
            let answer = self.to(interface, Ask::Seen { from }).await?;
            let (part, last) = reply::seen(&answer);
            let Some(highest) = part.iter().map(|b| b.id).max() else { break };
            all.extend(part);
            if last || highest < from {
                break;
            }
            from = highest.saturating_add(1);
        }
        Ok(all)
    }

    /// How many stations an access point has.
    pub(crate) async fn stations(&self, interface: &str) -> Result<u32, Error> {
        let mut count = 0;
        let mut ask = Ask::FirstStation;
        while count < MOST_STATIONS {
            let mac = match self.to(interface, ask).await {
                Ok(answer) => reply::station(&answer),
                Err(Error::Refused(_)) => None,
                Err(error) => return Err(error),
            };
            let Some(mac) = mac else { break };
            count += 1;
            ask = Ask::NextStation(mac);
        }
        Ok(count)
    }
}

impl Monitor {
    /// The next event and the interface it came from. May be dropped at any time.
    pub(crate) async fn next(&self) -> io::Result<(Option<String>, Event)> {
        let mut buffer = vec![0; ANSWER];
        let length = self.socket.recv(&mut buffer).await?;
        Ok(event::parse(buffer.get(..length).unwrap_or_default()))
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
