//! What reads the network, for those who feed it anything. Not an interface.

use crate::arp::Arp;
use crate::dhcp::message::Message as Dhcp;
use crate::dns::Message as Dns;
use crate::setup::answers;
use crate::time::packet;
use crate::{datagram, mdns};
use std::net::Ipv4Addr;
use std::time::Duration;

/// A packet as a raw socket gives it, and each protocol's payload.
pub fn datagram(bytes: &[u8]) {
    let payload = datagram::parse(bytes).map_or(bytes, |(_, payload)| payload);
    let _ = Arp::parse(bytes);
    let _ = Dhcp::parse(payload);
    if let Some(message) = Dns::parse(payload) {
        let _ = mdns::browse::seen(&message, Ipv4Addr::LOCALHOST);
        let _ = message.bytes();
    }
    let _ = answers::answer(payload, Ipv4Addr::LOCALHOST);
    let _ = packet::answer(payload, [0; 8], Duration::from_millis(5));
}
