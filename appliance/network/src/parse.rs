//! From the kernel's messages to the [`view`](crate::view). Pure. What is of no interest, or
//! lacks what it must have, is None.

use crate::view::{Address, Interface, Route, Rule};
use model::Cidr;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::{LinkAttribute, LinkFlags};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteType};
use netlink_packet_route::rule::{RuleAction, RuleAttribute};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use std::net::{IpAddr, Ipv4Addr};

pub(crate) fn interface(message: &RouteNetlinkMessage) -> Option<Interface> {
    let RouteNetlinkMessage::NewLink(link) = message else {
        return None;
    };
    let mut name = None;
    let mut mac = [0; 6];
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            LinkAttribute::Address(bytes) => {
                mac = <[u8; 6]>::try_from(&bytes[..]).unwrap_or_default();
            }
            _ => {}
        }
    }
    Some(Interface {
        name: name?,
        index: link.header.index,
        mac,
        up: link.header.flags.contains(LinkFlags::Up),
        running: link.header.flags.contains(LinkFlags::Running),
    })
}

pub(crate) fn address(message: &RouteNetlinkMessage) -> Option<Address> {
    let RouteNetlinkMessage::NewAddress(found) = message else {
        return None;
    };
    let (mut local, mut protocol, mut metric) = (None, None, 0);
    for attribute in &found.attributes {
        match attribute {
            AddressAttribute::Local(IpAddr::V4(a)) => local = Some(*a),
            AddressAttribute::Protocol(p) => protocol = Some(u8::from(*p)),
            AddressAttribute::RoutePriority(m) => metric = *m,
            _ => {}
        }
    }
    Some(Address {
        interface: found.header.index,
        address: Cidr::new(local?, found.header.prefix_len).ok()?,
        protocol,
        metric,
    })
}

pub(crate) fn route(message: &RouteNetlinkMessage) -> Option<Route> {
    let RouteNetlinkMessage::NewRoute(found) = message else {
        return None;
    };
    let header = &found.header;
    if header.address_family != AddressFamily::Inet || header.kind != RouteType::Unicast {
        return None;
    }
    let (mut to, mut gateway, mut source, mut interface) = (None, None, None, None);
    let (mut metric, mut table) = (0, u32::from(header.table));
    for attribute in &found.attributes {
        match attribute {
            RouteAttribute::Destination(a) => to = ipv4(a),
            RouteAttribute::Gateway(a) => gateway = ipv4(a),
            RouteAttribute::PrefSource(a) => source = ipv4(a),
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::Priority(number) => metric = *number,
            RouteAttribute::Table(number) => table = *number,
            _ => {}
        }
    }
    let to = match header.destination_prefix_length {
        0 => None,
        prefix => Some(Cidr::new(to?, prefix).ok()?),
    };
    let protocol = u8::from(header.protocol);
    Some(Route { table, to, gateway, interface: interface?, source, metric, protocol })
}

pub(crate) fn rule(message: &RouteNetlinkMessage) -> Option<Rule> {
    let RouteNetlinkMessage::NewRule(found) = message else {
        return None;
    };
    let header = &found.header;
    if header.action != RuleAction::ToTable || !matches!(header.src_len, 0 | 32) {
        return None;
    }
    let mut rule = Rule { priority: 0, from: None, table: u32::from(header.table), protocol: 0 };
    for attribute in &found.attributes {
        match attribute {
            RuleAttribute::Source(IpAddr::V4(a)) => rule.from = Some(*a),
            RuleAttribute::Priority(number) => rule.priority = *number,
            RuleAttribute::Table(number) => rule.table = *number,
            RuleAttribute::Protocol(p) => rule.protocol = u8::from(*p),
            _ => {}
        }
    }
    Some(rule)
}

fn ipv4(address: &RouteAddress) -> Option<Ipv4Addr> {
    match address {
        RouteAddress::Inet(a) => Some(*a),
        _ => None,
    }
}
