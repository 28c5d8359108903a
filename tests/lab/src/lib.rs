//! The reference cluster in network namespaces, for `make run`, the tests and the benchmarks.
//!
//! [`Lab`] builds the network ([`network`]), gives each node the same settings document, starts
//! `bramble run` in each node's namespace, and takes everything down again, also what a killed
//! lab left behind ([`registry`]). A test drives the nodes ([`Node`]), watches the site from the
//! client ([`http`], [`load`], [`Drill`]) and uses a node's API ([`Api`]). `lab up` adds forwarded ports
//! ([`relay`]) and a socket for the `lab` command ([`orders`]).
//!
//! What it is not: a model of a radio or of a slow board. Both links are virtual cables on one
//! switch, and a node is as fast as this machine.

mod api;
mod drill;
mod error;
mod figures;
pub mod http;
mod lab;
pub mod load;
pub mod netns;
pub mod network;
pub mod orders;
pub mod parent;
pub mod process;
pub mod reference;
pub mod registry;
pub mod relay;
mod stalls;
pub mod wait;

pub use api::Api;
pub use drill::{Drill, Step};
pub use error::{Doing, Error, Result};
pub use figures::Figures;
pub use lab::{Lab, Node, Options, admin, site, wired, wireless};
pub use load::{Load, Plan, Report, Shape};
pub use stalls::Stalls;
