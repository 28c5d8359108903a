//! One packet to a multicast group, with the properties a link-local protocol demands.

use crate::guardian::Deed;
use nix::libc;
use std::io;
use std::mem;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Internetwork control, as RFC 9568 routers send.
const TOS: libc::c_int = 0xc0;

pub(crate) fn send(deed: &Deed) -> io::Result<()> {
    // SAFETY: plain system call; the descriptor is owned right away.
    let socket = unsafe {
        let fd = checked(libc::socket(
            libc::AF_INET,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            libc::c_int::from(deed.protocol),
        ))?;
        OwnedFd::from_raw_fd(fd)
    };
    option(&socket, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, deed.interface.as_bytes())?;
    option(&socket, libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, &255_i32.to_ne_bytes())?;
    option(&socket, libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP, &0_i32.to_ne_bytes())?;
    option(&socket, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &deed.source.octets())?;
    option(&socket, libc::IPPROTO_IP, libc::IP_TOS, &TOS.to_ne_bytes())?;
    let from = address(deed.source);
    let to = address(deed.group);
    let length = socklen(size_of::<libc::sockaddr_in>());
    // SAFETY: both addresses and the packet live through the calls and have the lengths given.
    unsafe {
        checked(libc::bind(socket.as_raw_fd(), (&raw const from).cast(), length))?;
        let sent = libc::sendto(
            socket.as_raw_fd(),
            deed.packet.as_ptr().cast(),
            deed.packet.len(),
            0,
            (&raw const to).cast(),
            length,
        );
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

fn option(socket: &OwnedFd, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    // SAFETY: `value` lives through the call and has the length given.
    unsafe {
        checked(libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            value.as_ptr().cast(),
            socklen(value.len()),
        ))?;
    }
    Ok(())
}

fn address(ip: Ipv4Addr) -> libc::sockaddr_in {
    // SAFETY: all zeroes is a valid sockaddr_in.
    let mut address: libc::sockaddr_in = unsafe { mem::zeroed() };
    address.sin_family = libc::sa_family_t::try_from(libc::AF_INET).unwrap_or_default();
    address.sin_addr.s_addr = u32::from(ip).to_be();
    address
}

fn socklen(length: usize) -> libc::socklen_t {
    libc::socklen_t::try_from(length).unwrap_or(0)
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
