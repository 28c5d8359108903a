//! What reads the network, for those who feed it anything. Not an interface.

use crate::packet::{Advert, Datagram};
use model::VrrpVersion;

/// A packet of IP protocol 112 as a raw socket gives it.
pub fn packet(bytes: &[u8]) {
    let Some(datagram) = Datagram::parse(bytes) else { return };
    let _ = Advert::virtual_router(datagram.payload);
    for version in [VrrpVersion::V2, VrrpVersion::V3] {
        let _ = Advert::decode(&datagram, version, None);
        let _ = Advert::decode(&datagram, version, Some(b"password"));
    }
}
