//! What this crate needs from others: addresses on interfaces, and somebody to act after us.

use model::Cidr;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;

/// An interface as the kernel has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceState {
    /// Its number.
    pub index: u32,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// It is up and has a carrier (`IFF_UP` and `IFF_RUNNING`).
    pub running: bool,
    /// Its IPv4 addresses, in the kernel's order.
    pub addresses: Vec<Cidr>,
}

/// Sets addresses on interfaces. Called from the VRRP thread only, which waits for the answer:
/// an implementation talks to the kernel directly and at once.
pub trait Addresses: Send {
    /// How an interface is; None when there is no such interface.
    ///
    /// # Errors
    /// When the kernel does not say.
    fn interface(&mut self, name: &str) -> io::Result<Option<InterfaceState>>;

    /// Sets an address. One that is there already is a success.
    ///
    /// # Errors
    /// When it is not there afterwards.
    fn add(&mut self, interface: &str, address: Cidr) -> io::Result<()>;

    /// Takes an address off. One that is not there is a success.
    ///
    /// # Errors
    /// When it is still there afterwards.
    fn remove(&mut self, interface: &str, address: Cidr) -> io::Result<()>;

    /// A descriptor that becomes readable when a link or an address changes; always the same.
    /// None: interfaces are looked at once a second instead.
    fn events(&self) -> Option<BorrowedFd<'_>>;

    /// Reads and forgets everything waiting at [`Self::events`], without blocking.
    fn drain_events(&mut self);
}

/// What somebody else can do in this process's place after it was killed, without knowing VRRP:
/// send [`Self::farewell`] as IP protocol 112 from [`Self::source`] to 224.0.0.18 on the
/// interface with TTL 255, then take [`Self::addresses`] off it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Testament {
    /// The virtual router, for a log.
    pub name: String,
    /// The interface.
    pub interface: String,
    /// Its number.
    pub index: u32,
    /// The address adverts are sent from.
    pub source: Ipv4Addr,
    /// The complete VRRP packet with priority 0, without an IP header.
    pub farewell: Vec<u8>,
    /// The floating IPs to take off, each as a /32.
    pub addresses: Vec<Cidr>,
}

/// Keeps the newest testaments where they outlive this process.
pub trait LastWill: Send {
    /// Replaces everything said before; empty: there is nothing to do. Must not block.
    fn write(&mut self, will: &[Testament]);
}

/// Nobody acts after us: for tests and for nodes without a guardian.
impl LastWill for () {
    fn write(&mut self, _will: &[Testament]) {}
}
