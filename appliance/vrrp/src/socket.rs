//! The two sockets: raw IP for adverts, AF_PACKET for gratuitous ARP.

use crate::announce::gratuitous_arp;
use crate::packet::{GROUP, PROTOCOL, TTL};
use crate::ports::Testament;
use rustix::net::RecvFlags;
use rustix::net::sockopt::set_ip_multicast_if_with_ifindex;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Network control: RFC 9568 leaves it open, keepalived sends it, switches honour it.
const TOS: u32 = 0xc0;
/// Above every queue of ordinary traffic (`TC_PRIO_CONTROL`).
const SO_PRIORITY_CONTROL: i32 = 7;

/// A raw socket that sends and receives adverts on one interface.
#[derive(Debug)]
pub(crate) struct AdvertSocket {
    socket: Socket,
    index: u32,
    source: Ipv4Addr,
}

impl AdvertSocket {
    /// Opens it and joins the group.
    pub(crate) fn open(interface: &str, index: u32) -> io::Result<Self> {
        let kind = Type::RAW.nonblocking().cloexec();
        let socket = Socket::new(Domain::IPV4, kind, Some(Protocol::from(i32::from(PROTOCOL))))?;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.set_multicast_ttl_v4(u32::from(TTL))?;
        // Other nodes of a test bed live on the same kernel, but on another interface; what
        // this node sends it never needs to hear.
        socket.set_multicast_loop_v4(false)?;
        socket.set_tos_v4(TOS)?;
        nix::sys::socket::setsockopt(
            &socket,
            nix::sys::socket::sockopt::Priority,
            &SO_PRIORITY_CONTROL,
        )?;
        socket.join_multicast_v4_n(&GROUP, &InterfaceIndexOrAddress::Index(index))?;
        Ok(Self { socket, index, source: Ipv4Addr::UNSPECIFIED })
    }

    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    /// Sends a VRRP packet to the group.
    pub(crate) fn send(&mut self, source: Ipv4Addr, pdu: &[u8]) -> io::Result<()> {
        if source != self.source {
            let any = Ipv4Addr::UNSPECIFIED;
            set_ip_multicast_if_with_ifindex(&self.socket, &any, &source, self.index)?;
            self.source = source;
        }
        let group = SockAddr::from(SocketAddrV4::new(GROUP, 0));
        self.socket.send_to(pdu, &group).map(|_| ())
    }

    /// The next datagram waiting, IP header included; None when there is none.
    pub(crate) fn receive<'b>(&self, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        // An error (say ENETDOWN) is reported once and then gone; the link tells the rest.
        let (_, length) =
            rustix::net::recv(&self.socket, &mut *buffer, RecvFlags::DONTWAIT).ok()?;
        buffer.get(..length)
    }
}

impl AsFd for AdvertSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Sends ARP frames on any interface of the network namespace; receives nothing.
#[derive(Debug)]
pub(crate) struct ArpSocket(Socket);

impl ArpSocket {
    pub(crate) fn open() -> io::Result<Self> {
        // Protocol 0: no frame is ever delivered to it (packet(7)).
        let kind = Type::RAW.nonblocking().cloexec();
        Socket::new(Domain::from(libc::AF_PACKET), kind, None).map(Self)
    }

    pub(crate) fn announce(&self, index: u32, mac: [u8; 6], address: Ipv4Addr) -> io::Result<()> {
        let frame = gratuitous_arp(mac, address);
        let failed = || io::Error::from(io::ErrorKind::InvalidInput);
        let to = libc::sockaddr_ll {
            sll_family: libc::sa_family_t::try_from(libc::AF_PACKET).map_err(|_| failed())?,
            sll_protocol: u16::to_be(0x0806),
            sll_ifindex: i32::try_from(index).map_err(|_| failed())?,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 6,
            sll_addr: [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0],
        };
        let length = libc::socklen_t::try_from(size_of_val(&to)).map_err(|_| failed())?;
        // SAFETY: the frame and the address are valid for reads of the lengths given, and both
        // outlive the call.
        let sent = unsafe {
            libc::sendto(
                self.0.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const to).cast(),
                length,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Sends the farewell of a testament, for a thread of ours that died.
pub(crate) fn farewell(testament: &Testament) -> io::Result<()> {
    AdvertSocket::open(&testament.interface, testament.index)?
        .send(testament.source, &testament.farewell)
}
