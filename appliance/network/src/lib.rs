//! This node's network: host name, addresses, routes, name servers, and how it is found.
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
//! On a board of its own the crate does more, each of it only when [`Options`] ask for it, because
//! on somebody else's Linux all this is theirs:
//!
//! - `dhcp`: an interface without an address in the settings gets one from a DHCP server, or
//!   helps itself to a link-local one. A lease is a second source for the same plan; what the
//!   settings say always wins.
//! - `mdns`: `NAME.local`, `bramble.local` and the page as a service are answered on every link.
//! - `time`: time servers are asked, and [`Clock`] is told.
//! - [`setup`]: addresses and names for the phones on a setup access point, on an interface that
//!   was lent to it by [`Handle::open_setup`].
//! - [`wifi`]: joining networks, and the access point itself.
//!
//! A static address is used once nobody else was heard to have it (`neighbours`), and a change
//! of addresses or routers holds once somebody has got through ([`trial`]).
//!
//! CAP_NET_ADMIN, CAP_NET_RAW and CAP_NET_BIND_SERVICE are enough; the host name and the clock
//! are set through ports ([`SetHostName`], [`Clock`]) by whoever has the right to.
//!
//! It manages only the interfaces for which there is an address, removes only what carries its
//! own [`MARK`], and never touches a floating IP, which belongs to the virtual router. An
//! interface that is switched off by hand stays off. There is no IPv6 here, and no program is
//! run: everything goes over netlink(7) and sockets.

mod announce;
mod arp;
mod chance;
mod check;
mod datagram;
mod dhcp;
mod dns;
mod error;
mod facts;
#[doc(hidden)]
pub mod fuzzing;
mod handle;
mod hostname;
mod kernel;
mod mdns;
mod neighbours;
mod netlink;
mod options;
mod pace;
mod packet;
mod parse;
mod plan;
mod resolv;
mod runner;
mod servers;
pub mod setup;
mod sysctl;
mod time;
pub mod trial;
mod uptime;
mod view;
pub mod wifi;

pub use dhcp::runner::LeaseMemory;
pub use handle::Handle;
pub use hostname::{OwnHostName, SetHostName};
pub use kernel::{InterfaceState, Kernel};
pub use mdns::browse::ServiceSeen;
pub use mdns::names::About;
pub use options::Options;
pub use runner::start;
pub use time::Clock;
pub use view::MARK;
