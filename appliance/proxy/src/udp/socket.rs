//! Sockets for datagrams: one for visitors, which knows where each datagram was sent to and answers
//! from there, and one for each visitor's server.

use socket2::{
    Domain, MaybeUninitSlice, MsgHdr, MsgHdrMut, Protocol, SockAddr, SockRef, Socket, Type,
};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// What waits to be read: some thousand questions, so that a burst is not lost.
const RECEIVE_BUFFER: usize = 1 << 20;
/// A `struct cmsghdr` is a `size_t` and two `int`s; what follows is aligned to a `size_t`.
const WORD: usize = size_of::<usize>();
const HEAD: usize = (WORD + 8).next_multiple_of(WORD);
/// A `struct in_pktinfo`: the interface, the address to send from, the address it was sent to.
const PKTINFO: usize = 12;
const CONTROL: usize = HEAD + PKTINFO.next_multiple_of(WORD);

/// Has the kernel say where each datagram was sent to, and makes room for bursts.
pub(crate) fn prepare(socket: &Socket) -> io::Result<()> {
    // Only root may go beyond the limit of the system, which holds a few hundred questions.
    if rustix::net::sockopt::set_socket_recv_buffer_size_force(socket, RECEIVE_BUFFER).is_err() {
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    }
    let on: libc::c_int = 1;
    let len = libc::socklen_t::try_from(size_of_val(&on)).unwrap_or(0);
    // SAFETY: the descriptor is open for as long as `socket` is borrowed, and the option is an int
    // of that length.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_PKTINFO,
            std::ptr::from_ref(&on).cast(),
            len,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A socket to a server, at a port the kernel draws.
pub(crate) fn to_server(address: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.connect(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// A datagram that came: its length, from where, and to which of our addresses.
pub(super) type Came = (usize, SocketAddrV4, Ipv4Addr);

/// Receives one datagram into `buffer`. `bound` is where the socket is bound to.
pub(super) fn receive(
    socket: &UdpSocket,
    bound: SocketAddrV4,
    buffer: &mut [u8],
) -> io::Result<Came> {
    socket.try_io(Interest::READABLE, || {
        let mut control = [0; CONTROL];
        let mut parts = [MaybeUninitSlice::new(writable(buffer))];
        let mut from = SockAddr::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
        let mut message = MsgHdrMut::new()
            .with_addr(&mut from)
            .with_buffers(&mut parts)
            .with_control(writable(&mut control));
        let n = SockRef::from(socket).recvmsg(&mut message, 0)?;
        let filled = message.control_len();
        let from = from.as_socket_ipv4().ok_or(io::ErrorKind::InvalidData)?;
        let told = control.get(..filled).and_then(sent_to);
        Ok((n, from, told.unwrap_or(*bound.ip())))
    })
}

/// Bytes as `recvmsg` takes them.
fn writable(bytes: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    // SAFETY: the same memory for as long as it is borrowed; the kernel, which is all that writes
    // there, leaves every byte initialised.
    unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len()) }
}

/// Sends an answer from the address the question was sent to.
pub(super) fn send(
    socket: &UdpSocket,
    data: &[u8],
    to: SocketAddrV4,
    from: Ipv4Addr,
) -> io::Result<usize> {
    let (to, parts) = (SockAddr::from(to), [IoSlice::new(data)]);
    let control = send_from(from);
    let message = MsgHdr::new().with_addr(&to).with_buffers(&parts).with_control(&control);
    SockRef::from(socket).sendmsg(&message, 0)
}

/// What a server's socket is waited for: a refusal (ICMP) is an error and nothing to read.
const ANSWER: Interest = Interest::READABLE.add(Interest::ERROR);

/// Waits until a server has answered or refused.
pub(crate) async fn answered(socket: &UdpSocket) {
    // It can fail only when the runtime ends, and then nothing is waited for any more.
    let _ = socket.ready(ANSWER).await;
}

/// Receives an answer, or the error that tells of a refusal.
pub(crate) fn answer(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<usize> {
    // One after the other: `try_io` knows no two at once.
    let mut receive = |why| socket.try_io(why, || SockRef::from(socket).recv(writable(buffer)));
    match receive(Interest::READABLE) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => receive(Interest::ERROR),
        done => done,
    }
}

/// Sends a question on. At once: the runtime knows nothing yet of a socket that was just opened.
pub(crate) fn ask(socket: &UdpSocket, data: &[u8]) -> io::Result<usize> {
    SockRef::from(socket).send(data)
}

fn int(n: libc::c_int) -> [u8; 4] {
    n.to_ne_bytes()
}

/// The control message that names the address to send from.
fn send_from(address: Ipv4Addr) -> [u8; CONTROL] {
    let mut out = [0; CONTROL];
    out[..WORD].copy_from_slice(&(HEAD + PKTINFO).to_ne_bytes());
    out[WORD..WORD + 4].copy_from_slice(&int(libc::IPPROTO_IP));
    out[WORD + 4..WORD + 8].copy_from_slice(&int(libc::IP_PKTINFO));
    out[HEAD + 4..HEAD + 8].copy_from_slice(&address.octets());
    out
}

/// Where a datagram was sent to, from its control message: the address of ours that was meant.
fn sent_to(control: &[u8]) -> Option<Ipv4Addr> {
    let kind = control.get(WORD..WORD + 8)?;
    if kind[..4] != int(libc::IPPROTO_IP) || kind[4..] != int(libc::IP_PKTINFO) {
        return None;
    }
    let local = <[u8; 4]>::try_from(control.get(HEAD + 4..HEAD + 8)?).ok()?;
    Some(Ipv4Addr::from(local))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let address = Ipv4Addr::new(192, 0, 2, 7);
        let control = send_from(address);
        assert_eq!(sent_to(&control), Some(address));
        for cut in 0..HEAD + 8 {
            assert_eq!(sent_to(&control[..cut]), None, "{cut}");
        }
        assert_eq!(sent_to(&[0; CONTROL]), None);
    }

    #[tokio::test]
    async fn an_answer_leaves_from_where_the_question_went() {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        prepare(&socket).unwrap();
        socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0).into()).unwrap();
        let ours = UdpSocket::from_std(socket.into()).unwrap();
        let port = ours.local_addr().unwrap().port();
        let bound = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for last in [1, 2, 77] {
            let address = Ipv4Addr::new(127, 0, 0, last);
            client.send_to(b"question", (address, port)).await.unwrap();
            ours.readable().await.unwrap();
            let mut part = [0; 64];
            let (n, from, local) = receive(&ours, bound, &mut part).unwrap();
            assert_eq!((&part[..n], local), (&b"question"[..], address));
            send(&ours, b"answer", from, local).unwrap();
            let (n, from) = client.recv_from(&mut part).await.unwrap();
            assert_eq!((&part[..n], from), (&b"answer"[..], (address, port).into()));
        }
    }
}
