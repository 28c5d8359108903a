//! The channel between the nodes of one cluster, and the exchange of their status over it.
//!
//! Every node listens on TCP port 1937 and calls every other one at the addresses the settings
//! give it, the wired address first. Both ends prove that they know the cluster's key and say
//! which node they are; what follows is encrypted ([`SecureStream`]). [`Handle::open`] and
//! [`Handle::on`] give other subsystems streams of their own.
//!
//! Over one such stream to each of the others a node reports how it is: at once when something
//! changes, and with a sign of life every second.
//!
//! A change of key or of members takes effect at once: connections that lost their ground are
//! cut. There is no adoption of new nodes and no replication of settings here, and every holder
//! of the key is trusted to be the node it says it is.

mod action;
mod audit;
mod channel;
mod counters;
mod error;
mod exchange;
mod members;
mod noise;
mod report;
mod runner;
mod sessions;
mod status;
mod stream;

pub use action::Actions;
pub use audit::{AuditCopies, share_audit};
pub use channel::{Handler, SecureStream, Service};
pub use counters::Counters;
pub use runner::{Handle, Options, start};
pub use sessions::{SharedSessions, share_sessions};
