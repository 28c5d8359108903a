//! Gratuitous ARP: telling the network which machine has a floating IP now.

use std::net::Ipv4Addr;

/// An ARP packet in an Ethernet frame, unpadded (the driver pads).
pub(crate) const FRAME: usize = 42;
const BROADCAST: [u8; 6] = [0xff; 6];

/// The bytes keepalived sends: an ARP *request* with the floating IP as sender and target
/// (RFC 5227 3, an ARP announcement), to everyone.
pub(crate) fn gratuitous_arp(mac: [u8; 6], address: Ipv4Addr) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    let ip = address.octets();
    let parts: [&[u8]; 11] = [
        &BROADCAST,
        &mac,
        &[0x08, 0x06], // EtherType ARP
        &[0, 1],       // hardware type Ethernet
        &[0x08, 0x00], // protocol type IPv4
        &[6, 4],       // address lengths
        &[0, 1],       // request
        &mac,
        &ip,
        &BROADCAST,
        &ip,
    ];
    for (to, from) in frame.iter_mut().zip(parts.into_iter().flatten()) {
        *to = *from;
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_is_keepalived_s() {
        let frame = gratuitous_arp([2, 0, 0, 0, 0, 7], Ipv4Addr::new(192, 168, 1, 15));
        let expected: [u8; FRAME] = [
            255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 7, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0,
            0, 0, 7, 192, 168, 1, 15, 255, 255, 255, 255, 255, 255, 192, 168, 1, 15,
        ];
        assert_eq!(frame, expected);
    }
}
