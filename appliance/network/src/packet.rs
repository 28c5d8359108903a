//! packet(7) sockets: frames of one protocol on one interface, without their Ethernet header.
//! They work before the interface has an address.

use nix::sys::socket::{MsgFlags, recv};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use tokio::io::unix::AsyncFd;

/// Frames with these protocol numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Ip,
    Arp,
}

impl Protocol {
    const fn number(self) -> u16 {
        match self {
            Self::Ip => 0x0800,
            Self::Arp => 0x0806,
        }
    }
}

/// To everybody on the link.
pub(crate) const EVERYBODY: [u8; 6] = [0xff; 6];

/// One instruction of a socket filter, as in linux/filter.h.
pub(crate) const fn op(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

/// Instruction codes (linux/bpf_common.h): loads of a word, half word and byte, the length of the
/// IP header, jumps, and the end.
pub(crate) mod bpf {
    pub(crate) const LD_WORD: u16 = 0x20;
    pub(crate) const LD_HALF: u16 = 0x28;
    pub(crate) const LD_BYTE: u16 = 0x30;
    pub(crate) const LD_HALF_X: u16 = 0x48;
    pub(crate) const LDX_IP_LENGTH: u16 = 0xb1;
    pub(crate) const IF_EQUAL: u16 = 0x15;
    pub(crate) const IF_ANY_BIT: u16 = 0x45;
    pub(crate) const RETURN: u16 = 0x06;
}

/// UDP datagrams to one port, whole ones.
pub(crate) fn udp_to(port: u16) -> Vec<libc::sock_filter> {
    use bpf::{IF_ANY_BIT, IF_EQUAL, LD_BYTE, LD_HALF, LD_HALF_X, LDX_IP_LENGTH, RETURN};
    vec![
        op(LD_BYTE, 0, 0, 9),
        op(IF_EQUAL, 0, 6, 17),
        op(LD_HALF, 0, 0, 6),
        op(IF_ANY_BIT, 4, 0, 0x1fff),
        op(LDX_IP_LENGTH, 0, 0, 0),
        op(LD_HALF_X, 0, 0, 2),
        op(IF_EQUAL, 0, 1, u32::from(port)),
        op(RETURN, 0, 0, u32::MAX),
        op(RETURN, 0, 0, 0),
    ]
}

/// A socket of one interface.
#[derive(Debug)]
pub(crate) struct Packets {
    socket: AsyncFd<OwnedFd>,
    interface: u32,
    protocol: Protocol,
}

impl Packets {
    /// Opens it. Needs CAP_NET_RAW and a tokio runtime.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn open(
        interface: u32,
        protocol: Protocol,
        filter: &[libc::sock_filter],
    ) -> io::Result<Self> {
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: a plain system call; the descriptor is new and owned right away. Without a
        // protocol it receives nothing yet, so nothing gets past the filter.
        let socket = unsafe {
            let fd = libc::socket(libc::AF_PACKET, kind, 0);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        attach(&socket, filter)?;
        let at = address(interface, protocol, [0; 6]);
        // SAFETY: the address lives through the call and has the length given.
        let bound =
            unsafe { libc::bind(socket.as_raw_fd(), (&raw const at).cast(), length_of(&at)) };
        if bound < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the AsyncFd owns the descriptor: it is closed after it is deregistered.
        let socket =
            unsafe { AsyncFd::register_with_interest(socket, tokio::io::Interest::READABLE) }?;
        Ok(Self { socket, interface, protocol })
    }

    /// Replaces the filter.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn filter(&self, filter: &[libc::sock_filter]) -> io::Result<()> {
        attach(self.socket.get_ref(), filter)
    }

    /// The next packet, cut to the length of the buffer.
    ///
    /// # Errors
    /// ENETDOWN when the interface was switched off, and others when it is gone.
    pub(crate) async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.socket.readable().await?;
            let received = ready
                .try_io(|fd| Ok(recv(fd.get_ref().as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?));
            if let Ok(result) = received {
                return result;
            }
        }
    }

    /// Sends a packet. It is small, so that it is dropped rather than waited for when the
    /// interface's queue is full.
    ///
    /// # Errors
    /// When the interface is switched off or gone.
    pub(crate) fn send(&self, to: [u8; 6], packet: &[u8]) -> io::Result<()> {
        let to = address(self.interface, self.protocol, to);
        // SAFETY: packet and address live through the call and have the lengths given.
        let sent = unsafe {
            libc::sendto(
                self.socket.get_ref().as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                0,
                (&raw const to).cast(),
                length_of(&to),
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

fn length_of<T>(value: &T) -> libc::socklen_t {
    libc::socklen_t::try_from(size_of_val(value)).unwrap_or_default()
}

fn address(interface: u32, protocol: Protocol, mac: [u8; 6]) -> libc::sockaddr_ll {
    let [a, b, c, d, e, f] = mac;
    libc::sockaddr_ll {
        sll_family: libc::sa_family_t::try_from(libc::AF_PACKET).unwrap_or_default(),
        sll_protocol: protocol.number().to_be(),
        sll_ifindex: libc::c_int::try_from(interface).unwrap_or_default(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [a, b, c, d, e, f, 0, 0],
    }
}

fn attach(socket: &OwnedFd, filter: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: libc::c_ushort::try_from(filter.len()).map_err(io::Error::other)?,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies the program, which lives through the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            length_of(&program),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
