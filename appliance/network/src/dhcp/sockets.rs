//! What the client of one interface sends and receives through.

use crate::arp::{self, Arp};
use crate::datagram::{self, Ends};
use crate::dhcp::client::Output;
use crate::dhcp::message::{CLIENT_PORT, Message, SERVER_PORT};
use crate::packet::{EVERYBODY, Packets, Protocol, bpf, op, udp_to};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

/// No DHCP message is longer: we say so in option 57.
const LONGEST: usize = 1500;

/// Open while the interface has a carrier.
#[derive(Debug)]
pub(crate) struct Sockets {
    datagrams: Packets,
    arp: Packets,
    /// Asks a server directly. It is never read: the answers come through the packet socket as
    /// well, and this one is what keeps the kernel from calling the port unreachable.
    direct: Socket,
}

/// One received thing.
#[derive(Debug)]
pub(crate) enum Received {
    Message(Box<Message>),
    Arp(Arp),
    /// Nothing that makes sense.
    Garbage,
}

impl Sockets {
    /// Opens them. Needs CAP_NET_RAW and CAP_NET_BIND_SERVICE.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn open(name: &str, index: u32) -> io::Result<Self> {
        let datagrams = Packets::open(index, Protocol::Ip, &udp_to(CLIENT_PORT))?;
        let arp = Packets::open(index, Protocol::Arp, &about(&[]))?;
        let direct = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        direct.set_nonblocking(true)?;
        // The one of a moment ago may not be closed yet.
        direct.set_reuse_address(true)?;
        direct.bind_device(Some(name.as_bytes()))?;
        direct.set_recv_buffer_size(1)?; // the kernel's least
        let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, CLIENT_PORT);
        direct.bind(&SockAddr::from(any))?;
        Ok(Self { datagrams, arp, direct })
    }

    /// Lets through only ARP packets about these.
    pub(crate) fn watch(&self, addresses: &[Ipv4Addr]) -> io::Result<()> {
        self.arp.filter(&about(addresses))
    }

    pub(crate) async fn receive(&self) -> io::Result<Received> {
        let (mut packet, mut small) = ([0; LONGEST], [0; arp::LENGTH]);
        tokio::select! {
            length = self.datagrams.receive(&mut packet) => {
                let packet = packet.get(..length?).unwrap_or_default();
                let payload = datagram::parse(packet)
                    .filter(|(ends, _)| ends.source.1 == SERVER_PORT);
                let message = payload.and_then(|(_, payload)| Message::parse(payload));
                Ok(message.map_or(Received::Garbage, |m| Received::Message(Box::new(m))))
            }
            length = self.arp.receive(&mut small) => {
                let packet = small.get(..length?).unwrap_or_default();
                Ok(Arp::parse(packet).map_or(Received::Garbage, Received::Arp))
            }
        }
    }

    pub(crate) fn send(&self, output: &Output) -> io::Result<()> {
        match output {
            Output::Broadcast(message) => {
                let ends = Ends {
                    source: (message.ciaddr, CLIENT_PORT),
                    destination: (Ipv4Addr::BROADCAST, SERVER_PORT),
                };
                let packet = datagram::packet(ends, &message.bytes());
                self.datagrams.send(EVERYBODY, &packet.unwrap_or_default())
            }
            Output::Unicast(message, server) => {
                let to = SockAddr::from(SocketAddrV4::new(*server, SERVER_PORT));
                self.direct.send_to(&message.bytes(), &to).map(|_| ())
            }
            Output::Arp(packet) => self.arp.send(EVERYBODY, &packet.bytes()),
        }
    }
}

/// ARP packets from one of these addresses, and probes for one of them. At most 8.
pub(crate) fn about(addresses: &[Ipv4Addr]) -> Vec<libc::sock_filter> {
    use bpf::{IF_EQUAL, LD_WORD, RETURN};
    let numbers: Vec<u32> = addresses.iter().take(8).map(|a| u32::from(*a)).collect();
    let count = u8::try_from(numbers.len()).unwrap_or(0);
    // ld sender; one jump each to the end; jump to "no" unless 0; ld target; one jump each; no; yes
    let mut filter = vec![op(LD_WORD, 0, 0, 14)];
    for (place, number) in (0..).zip(&numbers) {
        filter.push(op(IF_EQUAL, 2 * count - place + 2, 0, *number));
    }
    filter.push(op(IF_EQUAL, 0, count + 1, 0));
    filter.push(op(LD_WORD, 0, 0, 24));
    for (place, number) in (0..).zip(&numbers) {
        filter.push(op(IF_EQUAL, count - place, 0, *number));
    }
    filter.extend([op(RETURN, 0, 0, 0), op(RETURN, 0, 0, u32::MAX)]);
    filter
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datagram;

    /// What the kernel would do (the instructions used here).
    fn passes(filter: &[libc::sock_filter], packet: &[u8]) -> bool {
        let (mut a, mut x, mut at) = (0_u32, 0_usize, 0_usize);
        loop {
            let i = filter[at];
            let k = usize::try_from(i.k).unwrap_or(usize::MAX);
            let load = |from: usize, length: usize| {
                packet[from..from + length].iter().fold(0, |n, b| n << 8 | u32::from(*b))
            };
            at += 1;
            match i.code {
                bpf::LD_WORD => a = load(k, 4),
                bpf::LD_HALF => a = load(k, 2),
                bpf::LD_BYTE => a = load(k, 1),
                bpf::LD_HALF_X => a = load(x + k, 2),
                bpf::LDX_IP_LENGTH => x = usize::from(packet[k] & 0xf) * 4,
                bpf::IF_EQUAL => at += usize::from(if a == i.k { i.jt } else { i.jf }),
                bpf::IF_ANY_BIT => at += usize::from(if a & i.k != 0 { i.jt } else { i.jf }),
                bpf::RETURN => return i.k != 0,
                other => panic!("{other:#x}"),
            }
        }
    }

    #[test]
    fn the_filter_lets_through_what_is_of_interest() {
        let a = |last| Ipv4Addr::new(10, 0, 0, last);
        for watched in [&[][..], &[a(1)], &[a(1), a(2)], &[a(1), a(2), a(3), a(4)]] {
            for last in 1..=6 {
                let wanted = watched.contains(&a(last));
                let said = Arp::announcement([2; 6], a(last)).bytes();
                assert_eq!(passes(&about(watched), &said), wanted, "{watched:?} {last}");
                let probe = Arp::probe([2; 6], a(last)).bytes();
                assert_eq!(passes(&about(watched), &probe), wanted, "{watched:?} {last}");
                let question = Arp { sender: a(9), ..Arp::probe([2; 6], a(last)) }.bytes();
                assert!(!passes(&about(watched), &question), "the kernel answers these");
            }
        }
    }

    #[test]
    fn only_datagrams_to_the_port_come_through() {
        let to = |port| {
            let ends = Ends {
                source: (Ipv4Addr::new(10, 0, 0, 1), SERVER_PORT),
                destination: (Ipv4Addr::BROADCAST, port),
            };
            datagram::packet(ends, b"payload").unwrap()
        };
        let filter = udp_to(CLIENT_PORT);
        assert!(passes(&filter, &to(68)));
        assert!(!passes(&filter, &to(67)));
        let mut fragment = to(68);
        fragment[7] = 1;
        assert!(!passes(&filter, &fragment));
        let mut tcp = to(68);
        tcp[9] = 6;
        assert!(!passes(&filter, &tcp));
    }
}
