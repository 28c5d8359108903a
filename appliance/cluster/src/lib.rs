//! The channel between the nodes of one cluster, and the exchange of their status over it.
//!
//! Every node listens on TCP port 1937 and calls every other one at the addresses the settings
//! give it, the wired address first. Both ends show the key of their board ([`Identity`]); the
//! settings say which node a board is ([`model::Node::device`]). A node whose board the settings
//! do not know yet proves that it knows the cluster's key instead, and is pinned. What follows is
//! encrypted ([`SecureStream`]). [`Handle::open`] and [`Handle::on`] give other subsystems
//! streams of their own.
//!
//! Over one such stream to each of the others a node reports how it is: at once when something
//! changes, and with a sign of life every second. At most 16 nodes tell each other directly: no
//! gossip is needed for that. Who is a member is what the settings say, who is alive is whoever
//! was heard; neither decides a failover.
//!
//! Another stream between each two keeps the settings the same on all of them ([`replicate`]); three
//! more carry sessions of the admin page, audit logs and the load balancers' stick tables. What one node asks another to do goes
//! over a stream of its own ([`Handle::ask`]).
//!
//! Boards that are nobody's are found by what they call out on the segment ([`Handle::found`]) and
//! taken in by one of the nodes ([`Handle::begin`], [`Handle::confirm`]).
//!
//! A change of members takes effect at once: connections that lost their ground are cut. No clock
//! decides anything here.

mod action;
mod adopt;
mod alarms;
mod audit;
mod channel;
mod counters;
mod discover;
mod error;
mod exchange;
#[doc(hidden)]
pub mod fuzzing;
mod hello;
mod identity;
mod members;
mod places;
mod proof;
mod report;
mod runner;
mod sessions;
mod status;
mod stream;
mod sync;
mod tls;
mod visits;

pub use action::Actions;
pub use adopt::{AdoptError, Answer, Gift, Household, NewBoard, Verified};
pub use audit::{AuditCopies, share_audit};
pub use channel::{Handler, Pins, Service};
pub use counters::Counters;
pub use discover::Hint;
pub use hello::Versions;
pub use identity::{Identity, IdentityError};
pub use runner::{Handle, Options, start};
pub use sessions::{SharedSessions, share_sessions};
pub use stream::SecureStream;
pub use sync::{Dialogue, Say, State, replicate};
pub use visits::{SharedVisits, share_visits};
