//! Addresses as the settings write them.

use crate::error::BadValue;
use crate::units::Port;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::str::FromStr;

macro_rules! by_text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = BadValue;
            fn try_from(text: String) -> Result<Self, BadValue> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }
    };
}

/// An interface's address with the length of its network's prefix: `192.168.1.10/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    addr: Ipv4Addr,
    prefix: u8,
}

impl Cidr {
    /// An address and a prefix length of 1 to 32.
    pub fn new(addr: Ipv4Addr, prefix: u8) -> Result<Self, BadValue> {
        if (1..=32).contains(&prefix) {
            Ok(Self { addr, prefix })
        } else {
            Err(BadValue::new(format!("a network's prefix is /1 to /32, not /{prefix}")))
        }
    }
    /// The address.
    pub const fn addr(self) -> Ipv4Addr {
        self.addr
    }
    /// The prefix length in bits.
    pub const fn prefix(self) -> u8 {
        self.prefix
    }
    /// The prefix as a mask.
    pub fn mask(self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0)
    }
    /// The network's own address, with all host bits zero.
    pub fn network(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.addr) & self.mask())
    }
    /// The network's broadcast address.
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.addr) | !self.mask())
    }
    /// Does the network hold this address?
    pub fn contains(self, addr: Ipv4Addr) -> bool {
        u32::from(addr) & self.mask() == u32::from(self.network())
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = BadValue;
    fn from_str(text: &str) -> Result<Self, BadValue> {
        let bad = || {
            BadValue::new(format!(
                "{text:?} is no address with a prefix; write for example 192.168.1.10/24"
            ))
        };
        let (addr, prefix) = text.trim().split_once('/').ok_or_else(bad)?;
        let addr = addr.parse().map_err(|_| bad())?;
        let prefix = prefix.parse().map_err(|_| bad())?;
        Self::new(addr, prefix)
    }
}
by_text!(Cidr);

/// A server's address and port: `192.168.1.10:80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint(pub SocketAddrV4);

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Endpoint {
    type Err = BadValue;
    fn from_str(text: &str) -> Result<Self, BadValue> {
        text.trim().parse().map(Self).ok().filter(|e| e.0.port() != 0).ok_or_else(|| {
            BadValue::new(format!(
                "{text:?} is no address with a port; write for example 192.168.1.10:80"
            ))
        })
    }
}
by_text!(Endpoint);

/// Which addresses a frontend listens on (HAProxy `bind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BindAddress {
    /// Every floating IP, wherever it moves: `floating:80`.
    Floating,
    /// Every address of the node: `*:80` or `:80`.
    Any,
    /// This address, whether the node holds it yet or not: `192.168.1.15:80`.
    Ip(Ipv4Addr),
}

/// A frontend's `bind`: where and on which port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bind {
    /// Where.
    pub address: BindAddress,
    /// On which port.
    pub port: Port,
    /// TLS is spoken there (HAProxy `ssl`).
    pub ssl: bool,
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            BindAddress::Floating => write!(f, "floating:{}", self.port),
            BindAddress::Any => write!(f, "*:{}", self.port),
            BindAddress::Ip(ip) => write!(f, "{ip}:{}", self.port),
        }?;
        f.write_str(if self.ssl { " ssl" } else { "" })
    }
}

impl FromStr for Bind {
    type Err = BadValue;
    fn from_str(text: &str) -> Result<Self, BadValue> {
        let bad = || {
            BadValue::new(format!(
                "{text:?} is nothing to listen on; write floating:80, *:80 or 192.168.1.15:80, and ssl behind it where TLS is spoken"
            ))
        };
        let mut words = text.split_whitespace();
        let (address, port) = words.next().and_then(|w| w.rsplit_once(':')).ok_or_else(bad)?;
        let mut ssl = false;
        for word in words {
            if ssl || word != "ssl" {
                return Err(BadValue::new(format!(
                    "behind an address only ssl can stand, once, not {word:?}; certificates and the rest have settings of their own"
                )));
            }
            ssl = true;
        }
        let address = match address {
            "floating" => BindAddress::Floating,
            "" | "*" => BindAddress::Any,
            ip => BindAddress::Ip(ip.parse().map_err(|_| bad())?),
        };
        Ok(Self { address, port: port.parse().map_err(|_| bad())?, ssl })
    }
}
by_text!(Bind);
