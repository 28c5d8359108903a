//! Before a change: are the addresses it asks for free?

use crate::listener::is_free;
use crate::runner::Running;
use control::{Obstacle, Preflight, Snapshot};
use model::Role;
use std::fmt;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::pin::Pin;
use std::sync::Arc;

/// The web server's say.
pub(crate) struct Asked(pub(crate) Arc<Running>);

impl Preflight for Asked {
    fn name(&self) -> &'static str {
        "the web server"
    }

    fn prepare<'a>(
        &'a self,
        current: &'a Snapshot,
        next: &'a Snapshot,
    ) -> Pin<Box<dyn Future<Output = Result<(), Obstacle>> + Send + 'a>> {
        let ours = self.0.addresses();
        let new: Vec<SocketAddrV4> = listens(next)
            .into_iter()
            .filter(|address| !ours.iter().any(|o| overlap(o, address)))
            // Another part of this node lets go of it with the same change, or the check of the
            // settings would have said so.
            .filter(|address| !balanced(current).iter().any(|o| overlap(o, address)))
            .collect();
        Box::pin(async move {
            let looked = tokio::task::spawn_blocking(move || new.into_iter().try_for_each(look));
            Ok(looked.await.unwrap_or(Ok(()))?)
        })
    }
}

fn listens(snapshot: &Snapshot) -> Vec<SocketAddrV4> {
    let mut all = Vec::new();
    if snapshot.effective.is(Role::Web) {
        for address in snapshot.effective.sites.iter().flat_map(|s| &s.listen) {
            if !all.contains(address) {
                all.push(*address);
            }
        }
    }
    all
}

fn balanced(snapshot: &Snapshot) -> Vec<SocketAddrV4> {
    if snapshot.effective.is(Role::Balancer) {
        snapshot.effective.frontends.iter().flat_map(|f| f.listen.iter().copied()).collect()
    } else {
        Vec::new()
    }
}

/// Would one be in the other's way?
fn overlap(a: &SocketAddrV4, b: &SocketAddrV4) -> bool {
    a.port() == b.port() && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

fn look(address: SocketAddrV4) -> Result<(), String> {
    let Err(error) = is_free(address) else { return Ok(()) };
    if error.kind() != std::io::ErrorKind::AddrInUse {
        return Err(format!("{address} cannot be opened: {error}"));
    }
    let who = match holder(address) {
        // What the settings ask of this node twice, their check has refused. So it lets go of the
        // address with this very change or has been told to before; or it is the web server
        // itself, which opens its addresses at this moment: a node that has only just started.
        Some(holder) if holder.pid == std::process::id() => return Ok(()),
        Some(holder) => holder.to_string(),
        None => "another program".to_owned(),
    };
    Err(format!("{who} already listens on {address}; stop it or choose another port"))
}

/// A program that listens somewhere. Written as `name (process 123)`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    name: String,
    pid: u32,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

/// The program that listens on an address.
pub(crate) fn holder(address: SocketAddrV4) -> Option<Holder> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, address))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(descriptors) = std::fs::read_dir(process.path().join("fd")) else { continue };
        let holds = descriptors.flatten().any(|fd| {
            let target = std::fs::read_link(fd.path());
            target.is_ok_and(|t| inodes.iter().any(|inode| t.as_os_str() == inode.as_str()))
        });
        if holds {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(Holder { name: name.trim().to_owned(), pid });
        }
    }
    None
}

/// The inodes of listening sockets in the way of `address`, out of a table of /proc/net.
fn listening_inodes(table: &str, address: SocketAddrV4) -> Vec<String> {
    const LISTEN: &str = "0A";
    let mut found = Vec::new();
    for line in table.lines().skip(1) {
        let mut fields = line.split_ascii_whitespace();
        let (local, state, inode) = (fields.nth(1), fields.nth(1), fields.nth(5));
        let (Some(local), Some(LISTEN), Some(inode)) = (local, state, inode) else { continue };
        let Some((ip, port)) = local.split_once(':') else { continue };
        if u16::from_str_radix(port, 16) != Ok(address.port()) {
            continue;
        }
        // The table has addresses as the machine holds them in memory; of an IPv6 one (which
        // may stand for IPv4 too) only "any" is of interest.
        let ip = match u32::from_str_radix(ip, 16) {
            Ok(bits) => Ipv4Addr::from(bits.to_ne_bytes()),
            Err(_) if ip.bytes().all(|b| b == b'0') => Ipv4Addr::UNSPECIFIED,
            Err(_) => continue,
        };
        if overlap(&SocketAddrV4::new(ip, address.port()), &address) {
            found.push(inode.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_port_is_found() {
        let held = std::net::TcpListener::bind("127.91.0.1:0").unwrap();
        let std::net::SocketAddr::V4(address) = held.local_addr().unwrap() else { unreachable!() };
        let who = holder(address).unwrap();
        assert_eq!(who.pid, std::process::id());
        // Nothing of this process is in its way.
        assert_eq!(look(address), Ok(()));
        drop(held);
        assert_eq!(holder(address), None);
        assert_eq!(look(address), Ok(()));
    }

    #[test]
    fn tables() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0\n\
            1: 00000000:1F91 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0\n\
            rubbish\n\
            2: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 333 1 0\n";
        let at = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        assert_eq!(listening_inodes(table, at(8080)), ["111", "333"]);
        assert!(listening_inodes(table, at(8081)).is_empty());
    }
}
