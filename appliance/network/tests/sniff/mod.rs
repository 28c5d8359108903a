//! Looks at frames on a packet(7) socket, in the namespace of the calling thread.

use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

const ETH_P_IP: u16 = 0x0800;
const ETH_P_ARP: u16 = 0x0806;

/// A socket for whole frames of one protocol on one interface.
fn open(interface: &str, protocol: u16) -> OwnedFd {
    // SAFETY: plain system calls on values that live through the call; the descriptor is new.
    unsafe {
        let name = CString::new(interface).unwrap();
        let index = libc::if_nametoindex(name.as_ptr());
        assert_ne!(index, 0, "no {interface}");
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, i32::from(protocol.to_be()));
        assert!(fd >= 0);
        let socket = OwnedFd::from_raw_fd(fd);
        let mut at: libc::sockaddr_ll = std::mem::zeroed();
        at.sll_family = libc::AF_PACKET.try_into().unwrap();
        at.sll_protocol = protocol.to_be();
        at.sll_ifindex = index.try_into().unwrap();
        let length = size_of::<libc::sockaddr_ll>().try_into().unwrap();
        let bound = libc::bind(socket.as_raw_fd(), (&raw const at).cast(), length);
        assert_eq!(bound, 0);
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(100)).unwrap();
        socket
    }
}

fn receive(socket: &OwnedFd) -> Option<Vec<u8>> {
    let mut frame = vec![0; 2048];
    let length =
        nix::sys::socket::recv(socket.as_raw_fd(), &mut frame, nix::sys::socket::MsgFlags::empty());
    frame.truncate(length.ok()?);
    Some(frame)
}

fn mac(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":")
}

/// Asks for an address and returns everyone who answers (RFC 826).
pub(crate) fn arp(interface: &str, source: Ipv4Addr, target: Ipv4Addr) -> BTreeSet<String> {
    let socket = open(interface, ETH_P_ARP);
    // A made-up sender: the answer to it is a frame for another host, which a veth delivers and a
    // packet socket sees all the same.
    let me = [2, 0, 0, 0xaa, 0xbb, 0xcc];
    let mut frame = vec![0xff; 6];
    frame.extend(me);
    frame.extend(ETH_P_ARP.to_be_bytes());
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]); // Ethernet, IPv4, request
    frame.extend(me);
    frame.extend(source.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame.resize(60, 0);
    nix::sys::socket::send(socket.as_raw_fd(), &frame, nix::sys::socket::MsgFlags::empty())
        .unwrap();
    let mut answers = BTreeSet::new();
    let begun = Instant::now();
    // Long enough for a second answer to come, if there is one.
    while begun.elapsed() < Duration::from_millis(400) {
        if let Some(frame) = receive(&socket) {
            let reply = frame.get(20..22) == Some(&[0, 2]);
            if reply && frame.get(28..32) == Some(&target.octets()) {
                answers.insert(mac(&frame[22..28]));
            }
        }
    }
    answers
}

/// The hardware address that the first IPv4 packet from `source` comes from.
pub(crate) fn source_of_packets(interface: &str, source: Ipv4Addr, ready: &Sender<()>) -> String {
    let socket = open(interface, ETH_P_IP);
    ready.send(()).unwrap();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        if let Some(frame) = receive(&socket) {
            if frame.get(26..30) == Some(&source.octets()) {
                return mac(&frame[6..12]);
            }
        }
    }
    panic!("no packet from {source}");
}
