//! This node's network: host name, static addresses, routes and name servers.
//!
//! What the settings say is compared with what the kernel has ([`Kernel`]), a pure plan lists
//! the steps in between, and they are taken at once: after each change of the settings, and
//! whenever the kernel says that an interface, an address, a route or a rule has changed. An
//! address that somebody deletes is back within milliseconds, an interface that appears is set
//! up as it comes.
//!
//! eth0 and wlan0 may share one subnet; `plan.rs` and `sysctl.rs` say how each keeps to its own
//! addresses, routes and ARP, and how traffic moves to the other one when a cable is pulled.
//!
//! It manages only the interfaces for which the settings have an address, removes only what
//! carries its own [`MARK`], and never touches a floating IP, which belongs to the virtual
//! router. An interface that is switched off by hand stays off. There is no DHCP, no Wi-Fi
//! association and no IPv6 here, and no program is run: everything goes over netlink(7).

mod announce;
mod arp;
mod chance;
mod datagram;
mod dhcp;
mod dns;
mod error;
mod facts;
mod handle;
mod hostname;
mod kernel;
mod mdns;
mod netlink;
mod options;
mod pace;
mod packet;
mod parse;
mod plan;
mod resolv;
mod runner;
mod sysctl;
mod time;
mod uptime;
mod view;
pub mod wifi;

pub use dhcp::runner::LeaseMemory;
pub use handle::Handle;
pub use hostname::{OwnHostName, SetHostName};
pub use kernel::{InterfaceState, Kernel};
pub use options::Options;
pub use runner::start;
pub use time::Clock;
pub use view::MARK;
