//! The kernel's view of the network and the requests that change it: plain calls, each of them a
//! few microseconds long, on a socket of their own.

use crate::netlink::{Requests, borrow};
use crate::parse;
use crate::plan::Op;
use crate::view::{Address, Interface, MARK, Route, Rule, View};
use model::Cidr;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol,
};
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkFlags, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE and RTMGRP_IPV4_RULE (linux/rtnetlink.h).
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x80;

/// What the kernel says of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceState {
    /// Its number.
    pub index: u32,
    /// Its hardware address; zero for one without.
    pub mac: [u8; 6],
    /// Switched on and with a carrier.
    pub running: bool,
    /// Its IPv4 addresses, floating ones included.
    pub addresses: Vec<Cidr>,
}

/// An rtnetlink connection to the kernel of the network namespace it was opened in. Calls are
/// synchronous and may come from any thread.
pub struct Kernel {
    requests: Mutex<Requests>,
    events: Socket,
}

impl Kernel {
    /// Opens the sockets.
    ///
    /// # Errors
    /// When the kernel has no netlink, or no descriptor is free.
    pub fn open() -> io::Result<Self> {
        let mut events = Socket::new(NETLINK_ROUTE)?;
        events.bind(&SocketAddr::new(0, GROUPS))?;
        events.set_non_blocking(true)?;
        Ok(Self { requests: Mutex::new(Requests::open()?), events })
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        // A question cut short by a panic leaves answers that the next one skips by their number.
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One interface and its addresses; None when there is no such interface.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn interface(&self, name: &str) -> io::Result<Option<InterfaceState>> {
        let mut requests = self.requests();
        let Some(found) = find(&mut requests, name)? else {
            return Ok(None);
        };
        let addresses = addresses(&mut requests, found.index)?;
        Ok(Some(InterfaceState {
            index: found.index,
            mac: found.mac,
            running: found.up && found.running,
            addresses: addresses.into_iter().map(|a| a.address).collect(),
        }))
    }

    /// Adds a floating address. It brings no route of its own, and this crate's mark is not on
    /// it: it stays until [`Self::remove`]. One that is there already is fine.
    ///
    /// # Errors
    /// When there is no such interface, or this process may not.
    pub fn add(&self, interface: &str, address: Cidr) -> io::Result<()> {
        let mut requests = self.requests();
        let index = index_of(&mut requests, interface)?;
        let mut message = address_message(index, address);
        let flags = AddressFlags::Nodad | AddressFlags::Noprefixroute;
        message.attributes.push(AddressAttribute::Flags(flags));
        let request = RouteNetlinkMessage::NewAddress(message);
        unless(libc::EEXIST, requests.act(request, NLM_F_CREATE | NLM_F_EXCL))
    }

    /// Adds an address with the route to its network, and switches the interface on. This crate's
    /// mark is not on it: it stays until [`Self::remove`]. One that is there already is fine.
    ///
    /// # Errors
    /// When there is no such interface, or this process may not.
    pub fn add_with_network(&self, interface: &str, address: Cidr) -> io::Result<()> {
        let mut requests = self.requests();
        let index = index_of(&mut requests, interface)?;
        let mut message = address_message(index, address);
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        let request = RouteNetlinkMessage::NewAddress(message);
        unless(libc::EEXIST, requests.act(request, NLM_F_CREATE | NLM_F_EXCL))?;
        requests.act(switch_on(index), 0)
    }

    /// Removes an address. One that is not there is fine.
    ///
    /// # Errors
    /// When there is no such interface, or this process may not.
    pub fn remove(&self, interface: &str, address: Cidr) -> io::Result<()> {
        let mut requests = self.requests();
        let index = index_of(&mut requests, interface)?;
        let request = RouteNetlinkMessage::DelAddress(address_message(index, address));
        unless(libc::EADDRNOTAVAIL, requests.act(request, 0))
    }

    /// Readable when an interface, an address, a route or a rule has changed: for poll(2) or an
    /// AsyncFd. What is read there says nothing: call [`Self::drain_events`] and look again.
    pub fn events(&self) -> BorrowedFd<'_> {
        borrow(&self.events)
    }

    /// Empties the event socket. True if there was anything.
    ///
    /// # Errors
    /// When the socket is unusable. Events lost because there were too many are no error.
    pub fn drain_events(&self) -> io::Result<bool> {
        let mut any = false;
        // The rest of a datagram that does not fit is dropped, which is all it is good for.
        let mut scrap = [0_u8; 64];
        loop {
            let mut space: &mut [u8] = &mut scrap;
            match self.events.recv_from(&mut space, 0) {
                Ok(_) => any = true,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(any),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => any = true,
                Err(e) => return Err(e),
            }
        }
    }

    /// Messages from the kernel that made no sense, since the start.
    pub fn garbage(&self) -> u64 {
        self.requests().garbage
    }

    /// Everything the plan looks at.
    pub(crate) fn view(&self) -> io::Result<View> {
        let mut requests = self.requests();
        let mut link = LinkMessage::default();
        link.attributes.push(skip_statistics());
        let links = requests.dump(&RouteNetlinkMessage::GetLink(link))?;
        let mut route = RouteMessage::default();
        route.header.address_family = AddressFamily::Inet;
        let routes = requests.dump(&RouteNetlinkMessage::GetRoute(route))?;
        let mut rule = RuleMessage::default();
        rule.header.family = AddressFamily::Inet;
        let rules = requests.dump(&RouteNetlinkMessage::GetRule(rule))?;
        Ok(View {
            interfaces: links.iter().filter_map(parse::interface).collect(),
            addresses: addresses(&mut requests, 0)?,
            routes: routes.iter().filter_map(parse::route).collect(),
            rules: rules.iter().filter_map(parse::rule).collect(),
        })
    }

    /// Takes one step of a plan.
    pub(crate) fn apply(&self, op: &Op) -> io::Result<()> {
        let mut requests = self.requests();
        match op {
            Op::SwitchOn(index) => requests.act(switch_on(*index), 0),
            Op::AddAddress { interface, address, metric } => {
                let mut message = address_message(*interface, *address);
                message.attributes.extend([
                    AddressAttribute::Flags(AddressFlags::Nodad),
                    AddressAttribute::Protocol(AddressProtocol::from(MARK)),
                    AddressAttribute::RoutePriority(*metric),
                ]);
                let request = RouteNetlinkMessage::NewAddress(message);
                requests.act(request, NLM_F_CREATE | NLM_F_REPLACE)
            }
            Op::RemoveAddress { interface, address } => {
                let message = address_message(*interface, *address);
                let request = RouteNetlinkMessage::DelAddress(message);
                unless(libc::EADDRNOTAVAIL, requests.act(request, 0))
            }
            Op::AddRoute { route, replace } => {
                let request = RouteNetlinkMessage::NewRoute(route_message(route));
                let how = if *replace { NLM_F_REPLACE } else { NLM_F_EXCL };
                requests.act(request, NLM_F_CREATE | how)
            }
            Op::RemoveRoute(route) => {
                let request = RouteNetlinkMessage::DelRoute(route_message(route));
                unless(libc::ESRCH, requests.act(request, 0))
            }
            Op::AddRule(rule) => {
                let request = RouteNetlinkMessage::NewRule(rule_message(rule));
                unless(libc::EEXIST, requests.act(request, NLM_F_CREATE | NLM_F_EXCL))
            }
            Op::RemoveRule(rule) => {
                let request = RouteNetlinkMessage::DelRule(rule_message(rule));
                unless(libc::ENOENT, requests.act(request, 0))
            }
        }
    }
}

/// An error that says that the thing is done already is none.
fn unless(done: i32, result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.raw_os_error() == Some(done) => Ok(()),
        other => other,
    }
}

fn switch_on(index: u32) -> RouteNetlinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    RouteNetlinkMessage::SetLink(link)
}

fn skip_statistics() -> LinkAttribute {
    LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])
}

fn find(requests: &mut Requests, name: &str) -> io::Result<Option<Interface>> {
    let mut link = LinkMessage::default();
    link.attributes = vec![LinkAttribute::IfName(name.to_owned()), skip_statistics()];
    let found = requests.get(RouteNetlinkMessage::GetLink(link))?;
    Ok(found.as_ref().and_then(parse::interface))
}

fn index_of(requests: &mut Requests, name: &str) -> io::Result<u32> {
    let found = find(requests, name)?.map(|i| i.index);
    found.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
}

/// The addresses of one interface, or of all with number 0.
fn addresses(requests: &mut Requests, interface: u32) -> io::Result<Vec<Address>> {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.index = interface;
    let found = requests.dump(&RouteNetlinkMessage::GetAddress(message))?;
    let found = found.iter().filter_map(parse::address);
    Ok(found.filter(|a| interface == 0 || a.interface == interface).collect())
}

fn address_message(interface: u32, address: Cidr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = address.prefix();
    message.header.index = interface;
    message.attributes = vec![
        AddressAttribute::Local(IpAddr::V4(address.addr())),
        AddressAttribute::Address(IpAddr::V4(address.addr())),
    ];
    // A /31 or /32 has no broadcast address (RFC 3021 2.1).
    if address.prefix() < 31 {
        message.attributes.push(AddressAttribute::Broadcast(address.broadcast()));
    }
    message
}

fn route_message(route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = AddressFamily::Inet;
    header.table = u8::try_from(route.table).unwrap_or_default();
    header.protocol = RouteProtocol::from(route.protocol);
    header.kind = RouteType::Unicast;
    header.scope = if route.gateway.is_some() { RouteScope::Universe } else { RouteScope::Link };
    header.destination_prefix_length = route.to.map_or(0, Cidr::prefix);
    let address = |a| RouteAddress::Inet(a);
    message.attributes = vec![
        RouteAttribute::Table(route.table),
        RouteAttribute::Oif(route.interface),
        RouteAttribute::Priority(route.metric),
    ];
    message.attributes.extend(
        [
            route.to.map(|to| RouteAttribute::Destination(address(to.network()))),
            route.gateway.map(|a| RouteAttribute::Gateway(address(a))),
            route.source.map(|a| RouteAttribute::PrefSource(address(a))),
        ]
        .into_iter()
        .flatten(),
    );
    message
}

fn rule_message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.table = u8::try_from(rule.table).unwrap_or_default();
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::Table(rule.table),
        RuleAttribute::Priority(rule.priority),
        RuleAttribute::Protocol(RouteProtocol::from(rule.protocol)),
    ];
    if let Some(from) = rule.from {
        message.header.src_len = 32;
        message.attributes.push(RuleAttribute::Source(IpAddr::V4(from)));
    }
    message
}
