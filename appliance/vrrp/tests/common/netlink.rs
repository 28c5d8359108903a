//! [`Addresses`] over netlink, just enough for tests.

use model::Cidr;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use vrrp::{Addresses, InterfaceState};

pub(crate) struct Netlink {
    requests: Socket,
    events: Socket,
    sequence: u32,
}

impl Netlink {
    pub(crate) fn new() -> io::Result<Self> {
        let mut requests = Socket::new(NETLINK_ROUTE)?;
        requests.bind_auto()?;
        requests.connect(&SocketAddr::new(0, 0))?;
        let mut events = Socket::new(NETLINK_ROUTE)?;
        events.bind(&SocketAddr::new(0, 0x1 | 0x10))?; // RTMGRP_LINK, RTMGRP_IPV4_IFADDR
        events.set_non_blocking(true)?;
        Ok(Self { requests, events, sequence: 0 })
    }

    fn ask(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence += 1;
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags;
        request.header.sequence_number = self.sequence;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.requests.send(&bytes, 0)?;
        let mut answers = Vec::new();
        loop {
            let (datagram, _) = self.requests.recv_from_full()?;
            let mut rest = &datagram[..];
            while rest.len() >= 16 {
                let reply = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                    .map_err(io::Error::other)?;
                let length = usize::try_from(reply.header.length).unwrap().next_multiple_of(4);
                rest = rest.get(length..).unwrap_or_default();
                match reply.payload {
                    NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::Error(e) => {
                        return if e.code.is_none() { Ok(answers) } else { Err(e.to_io()) };
                    }
                    NetlinkPayload::InnerMessage(inner) => {
                        answers.push(inner);
                        if flags & NLM_F_DUMP != NLM_F_DUMP {
                            return Ok(answers);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    fn link(&mut self, name: &str) -> io::Result<Option<LinkMessage>> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        match self.ask(RouteNetlinkMessage::GetLink(message), 0) {
            Ok(answers) => Ok(answers.into_iter().find_map(|a| match a {
                RouteNetlinkMessage::NewLink(link) => Some(link),
                _ => None,
            })),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn change(&mut self, interface: &str, address: Cidr, add: bool) -> io::Result<()> {
        let Some(link) = self.link(interface)? else {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        };
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.prefix_len = address.prefix();
        message.header.index = link.header.index;
        let ip = IpAddr::V4(address.addr());
        message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
        let (message, flags, harmless) = if add {
            let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
            (RouteNetlinkMessage::NewAddress(message), flags, libc::EEXIST)
        } else {
            (RouteNetlinkMessage::DelAddress(message), NLM_F_ACK, libc::EADDRNOTAVAIL)
        };
        match self.ask(message, flags) {
            Err(error) if error.raw_os_error() != Some(harmless) => Err(error),
            _ => Ok(()),
        }
    }
}

impl Addresses for Netlink {
    fn interface(&mut self, name: &str) -> io::Result<Option<InterfaceState>> {
        let Some(link) = self.link(name)? else { return Ok(None) };
        let index = link.header.index;
        let mac = link.attributes.iter().find_map(|a| match a {
            LinkAttribute::Address(bytes) => <[u8; 6]>::try_from(bytes.as_slice()).ok(),
            _ => None,
        });
        let mut dump = AddressMessage::default();
        dump.header.family = AddressFamily::Inet;
        let answers = self.ask(RouteNetlinkMessage::GetAddress(dump), NLM_F_DUMP)?;
        let addresses = answers.into_iter().filter_map(|a| match a {
            RouteNetlinkMessage::NewAddress(a) if a.header.index == index => {
                let local = a.attributes.iter().find_map(|x| match x {
                    AddressAttribute::Local(IpAddr::V4(ip)) => Some(*ip),
                    _ => None,
                })?;
                Cidr::new(local, a.header.prefix_len).ok()
            }
            _ => None,
        });
        Ok(Some(InterfaceState {
            index,
            mac: mac.unwrap_or_default(),
            running: link.header.flags.contains(LinkFlags::Up | LinkFlags::Running),
            addresses: addresses.collect(),
        }))
    }

    fn add(&mut self, interface: &str, address: Cidr) -> io::Result<()> {
        self.change(interface, address, true)
    }

    fn remove(&mut self, interface: &str, address: Cidr) -> io::Result<()> {
        self.change(interface, address, false)
    }

    fn events(&self) -> Option<BorrowedFd<'_>> {
        // SAFETY: the descriptor lives as long as self.
        Some(unsafe { BorrowedFd::borrow_raw(self.events.as_raw_fd()) })
    }

    fn drain_events(&mut self) {
        let mut buffer = Vec::with_capacity(8192);
        // ENOBUFS: some were lost, but something has happened all the same.
        while self.events.recv(&mut buffer, 0).is_ok() {
            buffer.clear();
        }
    }
}
