//! Listening sockets, and who is in the way when there can be none.

use model::Mode;
use socket2::{Domain, Protocol, Socket, Type};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::Path;

/// Connections that wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// What arrives at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

/// A place to listen at. The ports of TCP and UDP are not the same ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddrV4,
}

impl Place {
    pub(crate) const fn new(mode: Mode, address: SocketAddrV4) -> Self {
        let kind = match mode {
            Mode::Udp => Kind::Udp,
            Mode::Http | Mode::Tcp => Kind::Tcp,
        };
        Self { kind, address }
    }

    /// Do they share a port?
    pub(crate) fn shares_port(&self, other: &Self) -> bool {
        self.kind == other.kind && self.address.port() == other.address.port()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.kind == Kind::Udp { " (UDP)" } else { "" };
        write!(f, "{}{kind}", self.address)
    }
}

/// A socket that visitors arrive at.
#[derive(Debug)]
pub(crate) enum Listening {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

/// Opens one listening socket. Each thread has one of its own at the same address; the kernel
/// spreads connections over them (`SO_REUSEPORT`). The address need not be held by this node
/// (`IP_FREEBIND`): the floating IP may be elsewhere.
pub(crate) fn open(place: Place) -> io::Result<Listening> {
    let socket = bind(place, true)?;
    if place.kind == Kind::Udp {
        return Ok(Listening::Udp(socket.into()));
    }
    socket.listen(BACKLOG)?;
    Ok(Listening::Tcp(socket.into()))
}

/// Could this address be bound? `shared`: we listen on the port already.
pub(crate) fn probe(place: Place, shared: bool) -> io::Result<()> {
    // Without listening nobody can be taken into a queue that is then thrown away. Datagrams come
    // to any socket that is bound: of those we have, this one takes some for a moment.
    bind(place, shared).map(drop)
}

fn bind(place: Place, share: bool) -> io::Result<Socket> {
    let (kind, protocol) = match place.kind {
        Kind::Tcp => (Type::STREAM, Protocol::TCP),
        Kind::Udp => (Type::DGRAM, Protocol::UDP),
    };
    let socket = Socket::new(Domain::IPV4, kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_port(share)?;
    socket.set_freebind_v4(true)?;
    match place.kind {
        Kind::Tcp => {
            socket.set_reuse_address(true)?;
            // Accepted connections inherit it.
            socket.set_tcp_nodelay(true)?;
        }
        Kind::Udp => crate::udp::socket::prepare(&socket)?,
    }
    socket.bind(&place.address.into())?;
    Ok(socket)
}

/// Has the kernel drop the first packet of new connections to this listener, while handshakes
/// under way go on: a filter that sees each segment from its TCP header on.
pub(crate) fn refuse_new(listener: &impl AsRawFd) -> io::Result<()> {
    const SYN: u32 = 0x02;
    const FLAGS_AT: u32 = 13;
    let ins = |code: u32, jt, jf, k| -> io::Result<libc::sock_filter> {
        let code = u16::try_from(code).map_err(|_| io::ErrorKind::InvalidInput)?;
        Ok(libc::sock_filter { code, jt, jf, k })
    };
    let mut program = [
        ins(code(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS), 0, 0, FLAGS_AT)?,
        ins(code(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K), 0, 1, SYN)?,
        ins(code(libc::BPF_RET | libc::BPF_K), 0, 0, 0)?,
        ins(code(libc::BPF_RET | libc::BPF_K), 0, 0, u32::MAX)?,
    ];
    let filter = libc::sock_fprog { len: 4, filter: program.as_mut_ptr() };
    let len = libc::socklen_t::try_from(size_of::<libc::sock_fprog>());
    // SAFETY: the descriptor is open for as long as `listener` is borrowed, and `filter` points
    // to a program of four instructions that outlives the call; the kernel copies it.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            std::ptr::from_ref(&filter).cast(),
            len.unwrap_or(0),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn code(bits: impl TryInto<u32>) -> u32 {
    bits.try_into().unwrap_or(0)
}

/// Who holds a listening socket that is in the way of this address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// This process.
    Ourselves,
    /// Another one.
    Process {
        /// Its name.
        name: String,
        /// Its id.
        pid: u32,
    },
    /// It could not be found out.
    Unknown,
}

/// Looks in /proc for who listens where this address would.
pub(crate) fn holder(place: Place) -> Holder {
    let table = match place.kind {
        Kind::Tcp => "/proc/net/tcp",
        Kind::Udp => "/proc/net/udp",
    };
    let table = std::fs::read_to_string(table).unwrap_or_default();
    let inodes: Vec<String> = table.lines().filter_map(|l| in_the_way(l, place)).collect();
    let mut found = Holder::Unknown;
    if inodes.is_empty() {
        return found;
    }
    let Ok(processes) = std::fs::read_dir("/proc") else { return found };
    for process in processes.flatten() {
        let name = process.file_name();
        let Some(pid) = name.to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        if !holds(&process.path(), &inodes) {
            continue;
        }
        if pid == std::process::id() {
            found = Holder::Ourselves;
            continue;
        }
        let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        return Holder::Process { name: name.trim().to_owned(), pid };
    }
    found
}

/// The inode of a listening socket in one line of /proc/net/tcp or udp, if it is in the way.
fn in_the_way(line: &str, place: Place) -> Option<String> {
    // The states LISTEN, and CLOSE for a socket of datagrams that is connected to nobody.
    let listens = if place.kind == Kind::Udp { "07" } else { "0A" };
    let address = place.address;
    let mut columns = line.split_whitespace();
    let (local, state) = (columns.nth(1)?, columns.nth(1)?);
    let inode = columns.nth(5)?;
    let (ip, port) = local.split_once(':')?;
    // The address is printed as the host's integer of what is in network order.
    let ip = Ipv4Addr::from(u32::from_str_radix(ip, 16).ok()?.to_ne_bytes());
    let port = u16::from_str_radix(port, 16).ok()?;
    let same = ip == *address.ip() || ip.is_unspecified() || address.ip().is_unspecified();
    (state == listens && port == address.port() && same).then(|| inode.to_owned())
}

fn holds(process: &Path, inodes: &[String]) -> bool {
    let Ok(files) = std::fs::read_dir(process.join("fd")) else { return false };
    files.flatten().filter_map(|f| std::fs::read_link(f.path()).ok()).any(|target| {
        let target = target.to_string_lossy();
        let inode = target.strip_prefix("socket:[").and_then(|t| t.strip_suffix(']'));
        inode.is_some_and(|i| inodes.iter().any(|known| known == i))
    })
}

/// Why this address cannot be listened at, for the operator.
pub(crate) fn explain(place: Place, error: &io::Error) -> String {
    let (address, port) = (place, place.address.port());
    if error.kind() != io::ErrorKind::AddrInUse {
        return format!("cannot listen on {address}: {error}");
    }
    match holder(place) {
        Holder::Process { name, pid } => format!(
            "port {port} is taken by {name} (process {pid}), so nothing can listen on {address}; \
             stop it or choose another port"
        ),
        Holder::Ourselves => format!(
            "port {port} is taken by another part of this appliance, so the balancer cannot \
             listen on {address}; choose another port or another address"
        ),
        Holder::Unknown => format!(
            "port {port} is taken by another program, so nothing can listen on {address}; stop \
             it or choose another port"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ip: Ipv4Addr, port: u16) -> Place {
        Place::new(Mode::Http, SocketAddrV4::new(ip, port))
    }

    fn local(port: u16) -> Place {
        at(Ipv4Addr::LOCALHOST, port)
    }

    fn listener(place: Place) -> io::Result<TcpListener> {
        match open(place)? {
            Listening::Tcp(listener) => Ok(listener),
            Listening::Udp(_) => panic!("datagrams"),
        }
    }

    #[test]
    fn an_address_of_another_node_can_be_listened_at() {
        let elsewhere = at(Ipv4Addr::new(192, 0, 2, 15), 0);
        assert!(listener(elsewhere).is_ok());
    }

    #[test]
    fn who_is_in_the_way_is_named() {
        let other = TcpListener::bind(local(0).address).unwrap();
        let address = local(other.local_addr().unwrap().port());
        let error = probe(address, false).unwrap_err();
        assert_eq!(holder(address), Holder::Ourselves);
        assert!(explain(address, &error).contains("another part of this appliance"));
        let any = at(Ipv4Addr::UNSPECIFIED, address.address.port());
        assert_eq!(holder(any), Holder::Ourselves);
        drop(other);
        assert!(probe(address, false).is_ok());
        assert_eq!(holder(address), Holder::Unknown);
    }

    #[test]
    fn a_line_of_the_kernels_table() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0 100 0 0 10 0";
        let line = if cfg!(target_endian = "little") {
            line.to_owned()
        } else {
            line.replace("0100007F", "7F000001")
        };
        assert_eq!(in_the_way(&line, local(8080)), Some("12345".to_owned()));
        assert_eq!(in_the_way(&line, local(8081)), None);
        let other = at(Ipv4Addr::new(10, 0, 0, 1), 8080);
        assert_eq!(in_the_way(&line, other), None);
        assert_eq!(in_the_way("sl  local_address", local(1)), None);
    }

    #[test]
    fn a_closing_listener_keeps_new_connections_out() {
        use std::net::TcpStream;
        use std::time::Duration;
        let listener = listener(local(0)).unwrap();
        let address = listener.local_addr().unwrap();
        let early = TcpStream::connect(address).unwrap();
        refuse_new(&listener).unwrap();
        let late = TcpStream::connect_timeout(&address, Duration::from_millis(100));
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let (_accepted, peer) = listener.accept().unwrap();
        assert_eq!(peer, early.local_addr().unwrap());
    }
}
