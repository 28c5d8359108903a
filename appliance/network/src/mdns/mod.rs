//! Answers to this node's name on every link (RFC 6762), and says where its page is (RFC 6763).
//!
//! Each node answers to `NAME.local`, its host name; to one that somebody else has already, it
//! adds `-2`, `-3` and so on. `bramble.local` is there for whoever knows no name yet: it belongs
//! to the node that had it first, and the others answer to their own name only. They look from
//! time to time whether it is free, and at once when its holder says goodbye. It is never
//! numbered: a `bramble-2.local` would tell nobody which board it is.
//!
//! Where two interfaces of this node are in one subnet only the wired one speaks: RFC 6762 14
//! warns of the confusion when both claim one name with different addresses. Floating IPs are
//! never announced, they have a name of their own in the customer's DNS if any.
//!
//! A board says with its service which board it is and whether it is somebody's, and hears what
//! others say of themselves; while somebody looks for boards they are asked for.
//!
//! `names.rs`, `responder.rs` and `browse.rs` are pure; `runner.rs` has the sockets.

pub(crate) mod browse;
pub(crate) mod names;
pub(crate) mod responder;
pub(crate) mod runner;
