//! When, and from where, a node that has no password may be given its first one. Pure.
//!
//! Whoever claims a node owns it. So the door is open only for a while after somebody gave the
//! board its power, which proves that they can touch it, and only to the network it stands in.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// The door is open for so long.
pub(crate) const OPEN: Duration = Duration::from_secs(30 * 60);

/// Why it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The power came too long ago.
    TooLate,
    /// Not from this network.
    FromAfar,
}

/// May somebody at this address claim the node? `up`: since it got its power, or since the program
/// was started where the machine is somebody else's.
pub(crate) fn judge(up: Duration, from: IpAddr) -> Result<(), Closed> {
    if !is_near(from) {
        Err(Closed::FromAfar)
    } else if up >= OPEN {
        Err(Closed::TooLate)
    } else {
        Ok(())
    }
}

/// An address that is not routed on the internet (RFC 1918, 3927, 4193, 4291). The shared addresses
/// of an internet provider (RFC 6598) are strangers'.
fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_private() || v4.is_link_local() || v4.is_loopback(),
        IpAddr::V6(v6) => {
            let first = v6.segments().into_iter().next().unwrap_or_default();
            v6 == Ipv6Addr::LOCALHOST || first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_from_nearby() {
        for near in [
            "192.168.1.50",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "169.254.7.7",
            "127.0.0.1",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:192.168.1.5",
        ] {
            assert_eq!(judge(Duration::ZERO, near.parse().unwrap()), Ok(()), "{near}");
        }
        for far in [
            "100.64.0.1",
            "172.32.0.1",
            "192.169.0.1",
            "8.8.8.8",
            "0.0.0.0",
            "2001:db8::1",
            "::ffff:8.8.8.8",
            "::",
            "fec0::1",
        ] {
            assert_eq!(judge(Duration::ZERO, far.parse().unwrap()), Err(Closed::FromAfar), "{far}");
        }
    }

    #[test]
    fn only_for_half_an_hour() {
        let from = IpAddr::from([10, 0, 0, 1]);
        assert_eq!(judge(OPEN - Duration::from_millis(1), from), Ok(()));
        assert_eq!(judge(OPEN, from), Err(Closed::TooLate));
    }
}
