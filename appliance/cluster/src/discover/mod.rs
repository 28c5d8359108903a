//! Boards find each other: calls to everybody on the segment (UDP 1937), what other means of
//! discovery heard, and addresses the operator typed. Hints only: what a board really is, it
//! proves over TLS.

mod runner;
mod table;
pub(crate) mod wire;

pub(crate) use runner::{Finder, Place, own_hint, run};
pub use wire::Hint;
pub(crate) use wire::shown;
