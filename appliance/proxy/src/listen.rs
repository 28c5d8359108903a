//! Listening sockets, and who is in the way when there can be none.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::AsRawFd;
use std::path::Path;

/// Connections that wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Opens one listening socket. Each thread has one of its own at the same address; the kernel
/// spreads connections over them (`SO_REUSEPORT`). The address need not be held by this node
/// (`IP_FREEBIND`): the floating IP may be elsewhere.
pub(crate) fn open(address: SocketAddrV4) -> io::Result<TcpListener> {
    let socket = bind(address, true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Could this address be bound? `shared`: we listen on the port already.
pub(crate) fn probe(address: SocketAddrV4, shared: bool) -> io::Result<()> {
    // Without listening nobody can be taken into a queue that is then thrown away.
    bind(address, shared).map(drop)
}

fn bind(address: SocketAddrV4, share: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share)?;
    socket.set_freebind_v4(true)?;
    // Accepted connections inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
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
pub(crate) fn holder(address: SocketAddrV4) -> Holder {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let inodes: Vec<String> = table.lines().filter_map(|l| in_the_way(l, address)).collect();
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

/// The inode of a listening socket in one line of /proc/net/tcp, if it is in the way.
fn in_the_way(line: &str, address: SocketAddrV4) -> Option<String> {
    const LISTEN: &str = "0A";
    let mut columns = line.split_whitespace();
    let (local, state) = (columns.nth(1)?, columns.nth(1)?);
    let inode = columns.nth(5)?;
    let (ip, port) = local.split_once(':')?;
    // The address is printed as the host's integer of what is in network order.
    let ip = Ipv4Addr::from(u32::from_str_radix(ip, 16).ok()?.to_ne_bytes());
    let port = u16::from_str_radix(port, 16).ok()?;
    let same = ip == *address.ip() || ip.is_unspecified() || address.ip().is_unspecified();
    (state == LISTEN && port == address.port() && same).then(|| inode.to_owned())
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
pub(crate) fn explain(address: SocketAddrV4, error: &io::Error) -> String {
    let port = address.port();
    if error.kind() != io::ErrorKind::AddrInUse {
        return format!("cannot listen on {address}: {error}");
    }
    match holder(address) {
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

    fn local(port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
    }

    #[test]
    fn an_address_of_another_node_can_be_listened_at() {
        let elsewhere = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 15), 0);
        assert!(open(elsewhere).is_ok());
    }

    #[test]
    fn who_is_in_the_way_is_named() {
        let other = TcpListener::bind(local(0)).unwrap();
        let address = local(other.local_addr().unwrap().port());
        let error = probe(address, false).unwrap_err();
        assert_eq!(holder(address), Holder::Ourselves);
        assert!(explain(address, &error).contains("another part of this appliance"));
        let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, address.port());
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
        let other = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 8080);
        assert_eq!(in_the_way(&line, other), None);
        assert_eq!(in_the_way("sl  local_address", local(1)), None);
    }

    #[test]
    fn a_closing_listener_keeps_new_connections_out() {
        use std::net::TcpStream;
        use std::time::Duration;
        let listener = open(local(0)).unwrap();
        let address = listener.local_addr().unwrap();
        let early = TcpStream::connect(address).unwrap();
        refuse_new(&listener).unwrap();
        let late = TcpStream::connect_timeout(&address, Duration::from_millis(100));
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let (_accepted, peer) = listener.accept().unwrap();
        assert_eq!(peer, early.local_addr().unwrap());
    }
}
